//! Every long-lived task of a service, and how the service ends.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use basilica_ports::{BoxError, Clock, Entropy};
use basilica_types::Millis;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::panic::CatchPanic;
use crate::signals::{Signal, Signals, UnixSignals};
use crate::{Backoff, ErrorChain, Metrics, Stop, within};

/// How long aborted tasks may take to be dropped. A task that blocks its thread cannot be; it must not hold the exit.
const ABORT_LIMIT: Millis = Millis(1_000);

/// What happens when a task returns an error or panics before the stop is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The service cannot live without it: everything stops, with this failure as the result.
    Shutdown,
    /// It is started again after a jittered pause that doubles from `initial` to `max`. A run longer than `max`
    /// counts as a recovery: the next pause is short again.
    Restart {
        /// First pause.
        initial: Millis,
        /// Longest pause.
        max: Millis,
    },
}

/// Why a service did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum TaskFailure {
    /// A task that the service cannot live without returned an error.
    #[error("task {task} failed")]
    Failed {
        /// Its name.
        task: &'static str,
        /// What it returned.
        #[source]
        source: BoxError,
    },
    /// A task that the service cannot live without panicked.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// Its name.
        task: &'static str,
        /// What the panic said.
        message: String,
    },
    /// Tasks were still running when the grace period was over.
    #[error("aborted after {grace} of waiting for an orderly end: {}", tasks.join(", "))]
    Overran {
        /// Their names.
        tasks: Vec<&'static str>,
        /// The time that they were given.
        grace: Millis,
    },
    /// The process cannot be told of signals.
    #[error("install the handlers of SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
}

/// Owner of a service's long-lived tasks. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    stop: Stop,
    started: Duration,
    tracker: TaskTracker,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    next_id: u64,
    running: BTreeMap<u64, (&'static str, AbortHandle)>,
    restarts: BTreeMap<&'static str, u64>,
    failure: Option<TaskFailure>,
}

/// How [`Supervisor::run`] ended.
enum Ended {
    /// The stop was carried out.
    Stopped(Result<(), TaskFailure>),
    /// A second signal came while tasks were still coming to their end.
    Interrupted(Signal),
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<_> = self.shared.lock().running.values().map(|(name, _)| *name).collect();
        f.debug_struct("Supervisor").field("running", &running).field("stop", &self.shared.stop).finish()
    }
}

impl Supervisor {
    /// Without tasks. Uptime counts from here.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let started = clock.monotonic();
        Self {
            shared: Arc::new(Shared {
                clock,
                entropy,
                stop: Stop::new(),
                started,
                tracker: TaskTracker::new(),
                ledger: Mutex::default(),
            }),
        }
    }

    /// The request that ends the service; whoever holds it may make it.
    pub fn stop(&self) -> Stop {
        self.shared.stop.clone()
    }

    /// Starts a task in a span of its own. `task` is called with the stop request, and again for each restart.
    ///
    /// `Ok(())` means that its work is done; it is not started again. Once the stop is requested it should return
    /// soon: what then still runs after the grace period is aborted. Must be called inside a tokio runtime.
    pub fn spawn<F, Fut>(&self, name: &'static str, on_failure: OnFailure, task: F)
    where
        F: FnMut(Stop) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let mut ledger = self.shared.lock();
        let id = ledger.next_id;
        ledger.next_id += 1;
        // Entered under the lock: a task that ends at once waits for its entry before it removes it.
        let handle = self.shared.tracker.spawn(
            async move {
                let _listed = Listed { shared: Arc::clone(&shared), id };
                shared.drive(name, on_failure, task).await;
            }
            .instrument(info_span!("task", task.name = name)),
        );
        ledger.running.insert(id, (name, handle.abort_handle()));
    }

    /// Starts a task that owns what cannot be made twice, such as a bound port: the service ends with its failure.
    pub fn spawn_once<F, Fut>(&self, name: &'static str, task: F)
    where
        F: FnOnce(Stop) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let mut task = Some(task);
        self.spawn(name, OnFailure::Shutdown, move |stop| {
            (task.take().expect("a task under OnFailure::Shutdown is started once"))(stop)
        });
    }

    /// Adds `{prefix}_uptime_seconds`, `{prefix}_tasks_running` and `{prefix}_task_restarts_total{task}` to the
    /// metrics of the process. Task names are few and fixed, and so are the label's values.
    pub fn observe(&self, metrics: &Metrics, prefix: &str) {
        let collector = Box::new(SupervisorCollector(Arc::clone(&self.shared)));
        metrics.register(|registry| registry.sub_registry_with_prefix(prefix).register_collector(collector));
    }

    /// Runs until SIGTERM, SIGINT, a requested stop, a failure under [`OnFailure::Shutdown`] or the end of the last
    /// task; then requests the stop, gives the tasks `grace` to end, and aborts the rest.
    ///
    /// A signal before this call ends the process by itself, as that of any program that has not started yet.
    /// A second signal ends the process on the spot, with the exit code that shells expect of it. Fails with the
    /// first failure of a task under [`OnFailure::Shutdown`], or else with the tasks that had to be aborted.
    pub async fn run_until_stopped(self, grace: Millis) -> Result<(), TaskFailure> {
        let mut signals = UnixSignals::install().map_err(TaskFailure::Signals)?;
        info!("running");
        match self.run(&mut signals, grace).await {
            Ended::Stopped(result) => result,
            // Not through `main`: blocking threads would hold it up, and the operator said "now".
            Ended::Interrupted(signal) => std::process::exit(signal.exit_code()),
        }
    }

    async fn run(self, signals: &mut impl Signals, grace: Millis) -> Ended {
        let shared = &self.shared;
        shared.tracker.close();
        tokio::select! {
            biased;
            () = shared.stop.requested() => info!(grace_ms = grace.0, "stopping on request"),
            signal = signals.next() => info!(signal = signal.name(), grace_ms = grace.0, "stopping on signal"),
            () = shared.tracker.wait() => info!("every task is done"),
        }
        shared.stop.request();
        tokio::select! {
            biased;
            () = shared.tracker.wait() => {}
            signal = signals.next() => {
                warn!(signal = signal.name(), "second signal: not waiting for tasks");
                return Ended::Interrupted(signal);
            }
            () = shared.clock.sleep(grace) => shared.abort_all(grace).await,
        }
        info!("stopped");
        Ended::Stopped(shared.lock().failure.take().map_or(Ok(()), Err))
    }
}

impl Shared {
    /// The ledger is whole after every statement, so that a poisoned lock is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one task to its last end.
    async fn drive<F, Fut>(&self, name: &'static str, on_failure: OnFailure, mut task: F)
    where
        F: FnMut(Stop) -> Fut + Send,
        Fut: Future<Output = Result<(), BoxError>> + Send,
    {
        let mut backoff = match on_failure {
            OnFailure::Shutdown => None,
            OnFailure::Restart { initial, max } => Some((Backoff::new(initial, max), max)),
        };
        loop {
            let began = self.clock.monotonic();
            debug!("task started");
            let failure = match CatchPanic::new(async { task(self.stop.clone()).await }).await {
                Ok(Ok(())) => return debug!("task finished"),
                Ok(Err(source)) => TaskFailure::Failed { task: name, source },
                Err(message) => TaskFailure::Panicked { task: name, message },
            };
            let Some((backoff, max)) = &mut backoff else {
                return self.fail(failure);
            };
            if self.stop.is_requested() {
                return warn!(error = %ErrorChain(&failure), "task failed while stopping");
            }
            if self.clock.monotonic().saturating_sub(began) > max.as_duration() {
                backoff.reset();
            }
            let pause = backoff.next(self.entropy.as_ref());
            *self.lock().restarts.entry(name).or_default() += 1;
            warn!(error = %ErrorChain(&failure), retry_in_ms = pause.0, "task failed, starting it again");
            tokio::select! {
                biased;
                () = self.stop.requested() => return,
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    /// Records the failure that ends the service; the first one wins, the others are only logged.
    fn fail(&self, failure: TaskFailure) {
        error!(error = %ErrorChain(&failure), "task failed, stopping the service");
        self.lock().failure.get_or_insert(failure);
        self.stop.request();
    }

    async fn abort_all(&self, grace: Millis) {
        let tasks: Vec<&'static str> = {
            let ledger = self.lock();
            ledger.running.values().for_each(|(_, handle)| handle.abort());
            ledger.running.values().map(|(name, _)| *name).collect()
        };
        let overrun = TaskFailure::Overran { tasks, grace };
        error!(error = %overrun, "grace period over");
        self.lock().failure.get_or_insert(overrun);
        if within(self.clock.as_ref(), ABORT_LIMIT, self.tracker.wait()).await.is_err() {
            error!("an aborted task blocks its thread; leaving it behind");
        }
    }
}

/// A task's place in the ledger; given up however the task ends.
struct Listed {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.lock().running.remove(&self.id);
    }
}

struct SupervisorCollector(Arc<Shared>);

impl fmt::Debug for SupervisorCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SupervisorCollector")
    }
}

impl Collector for SupervisorCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let uptime = self.0.clock.monotonic().saturating_sub(self.0.started).as_secs_f64();
        let gauge = ConstGauge::new(uptime);
        gauge.encode(encoder.encode_descriptor(
            "uptime_seconds",
            "Time since the service started",
            None,
            gauge.metric_type(),
        )?)?;
        let ledger = self.0.lock();
        let running = ConstGauge::new(i64::try_from(ledger.running.len()).map_err(|_| fmt::Error)?);
        running.encode(encoder.encode_descriptor(
            "tasks_running",
            "Supervised tasks that have not ended",
            None,
            running.metric_type(),
        )?)?;
        let mut family = encoder.encode_descriptor(
            "task_restarts",
            "Restarts after a failure",
            None,
            MetricType::Counter,
        )?;
        for (task, restarts) in &ledger.restarts {
            ConstCounter::new(*restarts).encode(family.encode_family(&[("task", *task)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
