//! A task whose panic does not cost what its owner knows about it.

use basilica_runtime_service::{TaskPanic, TaskSet};

/// Runs `work` so that its panic is a value. The owner's task survives and can say which work it was; dropping it ends
/// the work.
pub(crate) async fn isolated<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, TaskPanic> {
    let mut alone = TaskSet::new();
    alone.spawn(name, work);
    alone.next().await.expect("the set has the one task that was just spawned")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_value_that_says_what_panicked() {
        assert_eq!(isolated("good", async { 1 }).await, Ok(1));
        let panic = isolated("bad", async { panic!("no such node") }).await.map(|()| 0).unwrap_err();
        assert_eq!((panic.task, panic.message.as_str()), ("bad", "no such node"));
    }
}
