//! The chain's time: the machine's and what was added to it. The one place that reads the machine's.

/// Milliseconds since 1970.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the development chain's only clock; blocks are stamped with real time"
)]
fn wall_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// A clock that can be put forward and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChainClock {
    offset_ms: i64,
}

impl ChainClock {
    /// Milliseconds since 1970, by this clock.
    #[must_use]
    pub(crate) fn now_ms(&self) -> u64 {
        wall_ms().saturating_add_signed(self.offset_ms)
    }

    /// Makes it show this time now; from here on it runs as the machine's does.
    pub(crate) fn set(&mut self, now_ms: u64) {
        let wall = wall_ms();
        self.offset_ms = match now_ms.checked_sub(wall) {
            Some(ahead) => i64::try_from(ahead).unwrap_or(i64::MAX),
            None => i64::try_from(wall - now_ms).map_or(i64::MIN, |behind| -behind),
        };
    }
}
