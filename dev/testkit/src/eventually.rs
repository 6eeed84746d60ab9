use std::time::Duration;

/// Returns once `condition` holds; panics with `what` if it does not within 20 s.
pub async fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(Duration::from_secs(20), condition).await, "not within 20 s: {what}");
}

/// The same for a condition that waits for answers itself.
pub async fn eventually_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), holds).await.is_ok(), "not within 20 s: {what}");
}

/// Whether `condition` comes to hold before `limit`.
pub async fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(limit, holds).await.is_ok()
}
