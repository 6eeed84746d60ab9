use std::time::Duration;

/// Returns once `condition` holds; panics with `what` if it does not within 20 s.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), holds).await.is_ok(), "not within 20 s: {what}");
}
