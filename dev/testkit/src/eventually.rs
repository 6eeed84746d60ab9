use std::time::Duration;

/// Returns once `condition` holds; panics with `what` if it does not within 20 s.
pub async fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(Duration::from_secs(20), condition).await, "not within 20 s: {what}");
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
