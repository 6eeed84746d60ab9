use std::collections::HashMap;

use tokio::task::{Id, JoinSet};
use tracing::Instrument;

use crate::panic;

/// A child task panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task} panicked: {message}")]
pub struct TaskPanic {
    /// Its name.
    pub task: &'static str,
    /// What the panic said.
    pub message: String,
}

/// Short child tasks inside a component, which owns and joins them. Dropping the set aborts them.
///
/// The only other legal way than [`crate::Supervisor::spawn`] to run something beside oneself. The bound is the
/// component's: it asks [`TaskSet::len`] before it adds one more.
#[derive(Debug)]
pub struct TaskSet<T> {
    tasks: JoinSet<T>,
    names: HashMap<Id, &'static str>,
}

impl<T: Send + 'static> TaskSet<T> {
    /// Without tasks.
    pub fn new() -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, future: impl Future<Output = T> + Send + 'static) {
        let span = tracing::debug_span!("task", task.name = name);
        let handle = self.tasks.spawn(future.instrument(span));
        self.names.insert(handle.id(), name);
    }

    /// What the next task to end returned; none where no task is left. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<T, TaskPanic>> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let task = self.names.remove(&id).expect("every task of the set was named when it was spawned");
        Some(match ended {
            Ok((_, value)) => Ok(value),
            Err(error) => Err(TaskPanic {
                task,
                // Only dropping the set aborts its tasks, and then nobody asks for the next one; what can still come
                // here is the end of the whole tokio runtime.
                message: error.try_into_panic().map_or_else(
                    |_| "aborted with its runtime".to_owned(),
                    |payload| panic::message(payload.as_ref()),
                ),
            }),
        })
    }

    /// How many tasks have not been joined yet.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether every task was joined.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl<T: Send + 'static> Default for TaskSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn values_and_panics_come_back_under_their_names() {
        let mut set = TaskSet::new();
        set.spawn("good", async { 1 });
        set.spawn("bad", async { panic!("no such node") });
        assert_eq!(set.len(), 2);
        let mut ended = vec![set.next().await, set.next().await];
        ended.sort_by_key(|e| matches!(e, Some(Err(_))));
        let bad = TaskPanic { task: "bad", message: "no such node".to_owned() };
        assert_eq!(ended, [Some(Ok(1)), Some(Err(bad))]);
        assert_eq!(set.next().await, None);
        assert!(set.is_empty());
    }

    #[tokio::test]
    async fn dropping_the_set_ends_its_tasks() {
        let (held, dropped) = oneshot::channel::<()>();
        let mut set = TaskSet::new();
        set.spawn("endless", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(set);
        assert!(dropped.await.is_err());
    }
}
