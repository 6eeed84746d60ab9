use std::backtrace::BacktraceStatus;
use std::io::{self, IsTerminal, Write};

use serde::{Deserialize, Serialize};
use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How much is logged, and how. Logs go to standard error; standard output belongs to the program's results.
#[derive(Clone, Debug, Default)]
pub struct TracingOptions {
    /// One JSON object per line, for machines.
    pub json: bool,
    /// What is logged if there is no filter.
    pub level: LogLevel,
    /// Filter directives such as `info,russh=warn`, usually the value of `RUST_LOG`; decides over `level`.
    pub filter: Option<String>,
}

/// From which weight on lines are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed for good.
    Error,
    /// And what needs somebody's eye.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And everything that libraries say.
    Trace,
}

impl LogLevel {
    /// As a command line counts `-v`; none where it has none.
    pub const fn of_verbosity(verbosity: u8) -> Option<Self> {
        match verbosity {
            0 => None,
            1 => Some(Self::Debug),
            _ => Some(Self::Trace),
        }
    }

    /// The filter's directives. Libraries repeat at `info` and `debug` what our own lines already say.
    const fn directives(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info,russh=warn,sqlx=warn,h2=warn,hyper=warn,jsonrpsee=warn",
            Self::Debug => "debug,russh=info,sqlx=info,h2=info,hyper=info,jsonrpsee=info",
            Self::Trace => "trace",
        }
    }
}

impl TracingOptions {
    /// Options with the filter that the user set as `RUST_LOG`, if any.
    pub fn from_env(json: bool, level: LogLevel) -> Self {
        Self { json, level, filter: std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()) }
    }

    fn env_filter(&self) -> Result<EnvFilter, TelemetryError> {
        let directives = self.filter.as_deref().unwrap_or(self.level.directives());
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
///
/// # Errors
/// The filter is none, or something in this process already logs.
pub fn init_tracing(options: &TracingOptions) -> Result<(), TelemetryError> {
    init_tracing_in_words(options, str::to_owned)
}

/// The same for a program that has words of its own for parts that know nothing of it: each line, an object where the log is JSON, is
/// written as `in_words` makes it.
///
/// # Errors
/// Those of [`init_tracing`].
pub fn init_tracing_in_words(
    options: &TracingOptions,
    in_words: impl Fn(&str) -> String + Clone + Send + Sync + 'static,
) -> Result<(), TelemetryError> {
    let filter = options.env_filter()?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Worded(in_words.clone()))
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

/// Standard error, in a program's own words. It is given whole lines.
struct Worded<F>(F);

impl<F: Fn(&str) -> String> Write for Worded<F> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => io::stderr().write_all((self.0)(text).as_bytes())?,
            Err(_) => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
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
    fn every_level_has_a_valid_filter_and_every_verbosity_a_level() {
        let levels = (0..=3).map(|verbosity| LogLevel::of_verbosity(verbosity).unwrap_or_default());
        for level in levels.chain([LogLevel::Error, LogLevel::Warn]) {
            TracingOptions { level, ..TracingOptions::default() }.env_filter().expect("built-in filter");
        }
    }
}
