//! How a service starts, is supervised, is configured and stops.
//!
//! Promises: every task has a name, a span, a failure policy and a counter; a failure is never lost (an error or a
//! panic either restarts its task after a jittered pause or stops the whole service with that failure as its result);
//! SIGTERM and SIGINT stop the service in order, within a grace period, and a second signal at once; an operator sees
//! on the admin endpoint why the service is not ready; a wrong configuration is answered with file, line, key and a
//! suggestion before anything starts.
//!
//! Why so: the seeds start tasks with `tokio::spawn`, drop the handles and abort them at the end, so that a dead loop
//! looks like a healthy service. Rejected: an actor framework (our services are a few loops, not a tree of actors)
//! and a supervisor that restarts by default (a task whose failure nobody thought about should end the process, and
//! systemd starts it again with a clean state).

mod admin;
mod backoff;
mod config;
mod deadline;
mod http;
mod metrics;
mod panic;
mod readiness;
mod signals;
mod stop;
mod supervisor;
mod task_set;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod threads;

pub use admin::{AdminListener, AdminPage, AdminPages, AdminRoutes, AdminState, BindError};
pub use backoff::Backoff;
pub use basilica_types::ErrorChain;
pub use config::{
    ConfigError, ConfigSource, Diagnostic, DurationSetting, InvalidDuration, Loaded, Notice, Place, Problem,
    Shown, load, process_environment,
};
pub use deadline::{Elapsed, within};
pub use http::{HttpLimits, HttpListener, Pace};
pub use metrics::Metrics;
pub use readiness::{Condition, Readiness};
pub use stop::Stop;
pub use supervisor::{OnFailure, Supervisor, TaskFailure};
pub use task_set::{TaskPanic, TaskSet};
pub use telemetry::{LogLevel, TelemetryError, TracingOptions, init_tracing, init_tracing_in_words};
pub use threads::OwnThreads;
