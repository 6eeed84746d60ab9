use std::backtrace::BacktraceStatus;
use std::io::IsTerminal;

use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How much is logged, and how. Logs go to standard error; standard output belongs to the program's results.
#[derive(Clone, Debug, Default)]
pub struct TracingOptions {
    /// One JSON object per line, for machines.
    pub json: bool,
    /// Levels above `info` as the command line counted them: 1 is `debug`, 2 and more is `trace`.
    pub verbosity: u8,
    /// Filter directives such as `info,russh=warn`, usually the value of `RUST_LOG`; decides over `verbosity`.
    pub filter: Option<String>,
}

impl TracingOptions {
    /// Options with the filter that the user set as `RUST_LOG`, if any.
    pub fn from_env(json: bool, verbosity: u8) -> Self {
        Self { json, verbosity, filter: std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()) }
    }

    fn env_filter(&self) -> Result<EnvFilter, TelemetryError> {
        let directives = match (&self.filter, self.verbosity) {
            (Some(filter), _) => filter,
            // Libraries repeat at `info` and `debug` what our own lines already say.
            (None, 0) => "info,russh=warn,sqlx=warn,h2=warn,hyper=warn,jsonrpsee=warn",
            (None, 1) => "debug,russh=info,sqlx=info,h2=info,hyper=info,jsonrpsee=info",
            (None, _) => "trace",
        };
        EnvFilter::try_new(directives)
            .map_err(|source| TelemetryError::Filter { filter: directives.to_owned(), source })
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log filter `{filter}` is not valid; write it like `info,russh=warn` (RUST_LOG)")]
    Filter {
        /// What was given.
        filter: String,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// Something in this process already logs.
    #[error("logging is already set up")]
    Twice(#[source] TryInitError),
}

/// Starts logging for the whole process; call once, first thing in `main`.
///
/// Colours only on a terminal, and not where `NO_COLOR` is set. From here on panics are logged as errors too. A line that
/// cannot be written, because its reader has gone or the disk is full, is lost; the service goes on.
pub fn init_tracing(options: &TracingOptions) -> Result<(), TelemetryError> {
    let filter = options.env_filter()?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Its words about a line that could not be written go to the same closed pipe by `eprintln!`, which panics.
        .log_internal_errors(false);
    let started = if options.json {
        builder.json().flatten_event(true).finish().try_init()
    } else {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        builder.with_ansi(colour).with_target(false).finish().try_init()
    };
    started.map_err(TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Panics go where everything else goes: a log in JSON stays JSON.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(
        panic.message = panic.payload_as_str(),
        panic.location = location,
        panic.backtrace = backtrace,
        "panic"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_answered_with_an_example() {
        let options =
            TracingOptions { filter: Some("info,=,what=loud".to_owned()), ..TracingOptions::default() };
        let error = init_tracing(&options).expect_err("not a filter");
        assert_eq!(
            error.to_string(),
            "log filter `info,=,what=loud` is not valid; write it like `info,russh=warn` (RUST_LOG)"
        );
    }

    #[test]
    fn every_verbosity_has_a_valid_filter() {
        for verbosity in 0..=3 {
            TracingOptions { verbosity, ..TracingOptions::default() }.env_filter().expect("built-in filter");
        }
    }
}
