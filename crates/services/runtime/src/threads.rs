//! Threads of their own for a part of a service.
//!
//! Tokio's tasks take turns on a handful of threads. A part whose load strangers decide, such as a public API, gets threads of its own,
//! so that the system's scheduler shares the processor between it and the rest, whatever it is asked.

use std::fmt;
use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::TaskPanic;
use crate::panic;

/// Threads with a tokio runtime of their own. What runs on them ends with this.
pub struct OwnThreads {
    name: &'static str,
    runtime: Option<Runtime>,
}

impl fmt::Debug for OwnThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnThreads").field(&self.name).finish()
    }
}

impl OwnThreads {
    /// Starts so many, at least one.
    ///
    /// # Errors
    /// If the system has no more.
    pub fn start(name: &'static str, threads: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads.max(1)).thread_name(name).enable_all().build()?;
        Ok(Self { name, runtime: Some(runtime) })
    }

    /// Runs something on them, and whatever that starts, from now on. When what is returned is dropped, it ends there as well.
    ///
    /// # Errors
    /// If it panics.
    pub fn run<F>(&self, future: F) -> impl Future<Output = Result<F::Output, TaskPanic>> + Send + use<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("it is taken out only when this is dropped");
        let (task, running) = (self.name, AbortOnDropHandle::new(runtime.spawn(future)));
        async move {
            running.await.map_err(|error| TaskPanic {
                task,
                message: error.try_into_panic().map_or_else(
                    |_| "aborted with its runtime".to_owned(),
                    |payload| panic::message(payload.as_ref()),
                ),
            })
        }
    }
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        // Waiting for its threads, as a runtime does when it is dropped, is not allowed on another's.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_runs_there_runs_beside_a_blocked_caller_and_its_panic_comes_back() {
        let threads = OwnThreads::start("apart", 1).unwrap();
        let name = threads.run(async { std::thread::current().name().map(str::to_owned) }).await.unwrap();
        assert_eq!(name.as_deref(), Some("apart"));
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let running = threads.run(async move { ask.send(()).unwrap() });
        // This thread waits without giving way to tasks.
        asked.recv().unwrap();
        running.await.unwrap();
        let panic = threads.run(async { panic!("asked to") }).await.unwrap_err();
        assert_eq!((panic.task, panic.message.as_str()), ("apart", "asked to"));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends() {
        let threads = OwnThreads::start("apart", 1).unwrap();
        let (held, dropped) = oneshot::channel::<()>();
        let (started, start) = oneshot::channel::<()>();
        let endless = threads.run(async move {
            let _held = held;
            started.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        tokio::select! {
            _ = endless => unreachable!("it has no end"),
            started = start => started.unwrap(),
        }
        assert!(dropped.await.is_err());
    }
}
