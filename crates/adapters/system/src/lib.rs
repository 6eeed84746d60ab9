//! The real clock, the operating system's randomness and its accounts of the process: the one place that reads them.

mod disks;
mod files;
mod usage;

use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{Clock, Entropy};
use basilica_types::{Millis, Timestamp};

pub use disks::HostDisks;
pub use files::raise_file_limit;
pub use usage::UsageMetrics;

/// The host's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic time counts from now.
    #[expect(clippy::disallowed_methods, reason = "this is the adapter that the ban points to")]
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter that the ban points to")]
    fn now(&self) -> Timestamp {
        let to_millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp(to_millis(since)),
            Err(before) => Timestamp(-to_millis(before.duration())),
        }
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep(&self, span: Millis) {
        tokio::time::sleep(span.as_duration()).await;
    }
}

/// The kernel's random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("getrandom(2) does not fail on a kernel that we support (>= 3.17)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_reads_this_century_and_never_goes_back() {
        let clock = SystemClock::new();
        assert!(clock.now() > Timestamp::from_secs(1_700_000_000));
        let earlier = clock.monotonic();
        assert!(clock.monotonic() >= earlier);
    }

    #[test]
    fn entropy_fills_every_byte() {
        let entropy: &dyn Entropy = &OsEntropy;
        let drawn: Vec<[u8; 32]> = (0..64).map(|_| entropy.array()).collect();
        // The chance that some position is zero in all 64 draws is 32 * 2^-512.
        assert!((0..32).all(|i| drawn.iter().any(|d| d[i] != 0)));
    }
}
