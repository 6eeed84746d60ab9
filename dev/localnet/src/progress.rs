//! Progress lines: what is being done, then how long it took.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use basilica_ports::Clock;
use basilica_system::SystemClock;

/// Prints the steps of a start on standard error, so that standard output holds the report alone.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    clock: SystemClock,
}

impl Progress {
    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }

    /// One finished step.
    pub(crate) fn line(&self, text: impl Display) {
        let elapsed = self.elapsed();
        let (seconds, tenths) = (elapsed.as_secs(), elapsed.subsec_millis() / 100);
        // A closed standard error must not end the localnet.
        let _ = writeln!(std::io::stderr(), "[{seconds:>3}.{tenths} s] {text}");
    }
}
