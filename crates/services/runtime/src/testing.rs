//! A clock that stands still until it is told to go on, and randomness that repeats: for tests of services.
//!
//! A test waits for a condition, never for time: it waits until the code under test sleeps ([`VirtualClock::sleepers`]),
//! then moves the clock. Nothing here moves by itself, so that a test on one thread runs the same way every time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{Clock, Entropy};
use basilica_types::{Millis, Timestamp};
use tokio::sync::{Notify, oneshot};

/// 2025-01-01T00:00:00Z, where every [`VirtualClock`] starts.
const START: Timestamp = Timestamp::from_secs(1_735_689_600);

/// A clock that a test moves.
#[derive(Debug, Default)]
pub struct VirtualClock {
    state: Mutex<ClockState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct ClockState {
    elapsed: Millis,
    /// How far the wall clock was set away from the monotonic one.
    wall_shift_ms: i64,
    sleeping: BTreeMap<(Millis, u64), oneshot::Sender<()>>,
    next_sleep: u64,
}

impl VirtualClock {
    /// A clock at 2025-01-01T00:00:00Z.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Moves the clock; sleeps that end within `span` end in the order of their ends.
    pub fn advance(&self, span: Millis) {
        let mut state = self.lock();
        let target = Millis(state.elapsed.0.saturating_add(span.0));
        while let Some(first) = state.sleeping.first_entry().filter(|first| first.key().0 <= target) {
            let ((end, _), wake) = first.remove_entry();
            state.elapsed = state.elapsed.max(end);
            // A sleeper that was dropped in the meantime no longer waits.
            let _ = wake.send(());
        }
        state.elapsed = target;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Sets the wall clock away from the monotonic one, as an operator or NTP does.
    pub fn set_wall_clock(&self, shift_ms: i64) {
        self.lock().wall_shift_ms = shift_ms;
    }

    /// Moves the clock to the end of the next sleep and says how far that was; none where nobody sleeps.
    pub fn advance_to_next(&self) -> Option<Millis> {
        let span = self.next_sleep_ends_in()?;
        self.advance(span);
        Some(span)
    }

    /// Time until the end of the next sleep; none where nobody sleeps.
    pub fn next_sleep_ends_in(&self) -> Option<Millis> {
        let mut state = self.lock();
        state.sleeping.retain(|_, wake| !wake.is_closed());
        let (end, _) = *state.sleeping.first_key_value()?.0;
        Some(end.saturating_sub(state.elapsed))
    }

    /// Returns once at least `count` sleeps are under way.
    pub async fn sleepers(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                state.sleeping.retain(|_, wake| !wake.is_closed());
                if state.sleeping.len() >= count {
                    return;
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, ClockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let state = self.lock();
        Timestamp((START + state.elapsed).0.saturating_add(state.wall_shift_ms))
    }

    fn monotonic(&self) -> Duration {
        self.lock().elapsed.as_duration()
    }

    async fn sleep(&self, span: Millis) {
        if span == Millis(0) {
            return;
        }
        let (wake, woken) = oneshot::channel();
        {
            let mut state = self.lock();
            let key = (Millis(state.elapsed.0.saturating_add(span.0)), state.next_sleep);
            state.next_sleep += 1;
            state.sleeping.insert(key, wake);
        }
        self.changed.notify_waiters();
        woken.await.expect("only `advance` takes a sender out of the map, and it sends");
    }
}

/// Randomness that repeats: SplitMix64 over a seed. Fit for tests only.
pub struct SeededEntropy {
    state: Mutex<u64>,
}

impl fmt::Debug for SeededEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededEntropy")
    }
}

impl SeededEntropy {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(seed) })
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeps_end_in_order_when_the_clock_moves() {
        let clock = VirtualClock::new();
        let log = Mutex::new(Vec::new());
        let sleep = async |ms: u64| {
            clock.sleep(Millis(ms)).await;
            log.lock().unwrap().push(ms);
        };
        tokio::join!(sleep(30), sleep(10), async {
            clock.sleepers(2).await;
            assert_eq!(clock.advance_to_next(), Some(Millis(10)));
            tokio::task::yield_now().await;
            assert_eq!(*log.lock().unwrap(), [10]);
            clock.advance(Millis(20));
        });
        assert_eq!(*log.lock().unwrap(), [10, 30]);
        assert_eq!(clock.monotonic(), Duration::from_millis(30));
        assert_eq!(clock.now(), START + Millis(30));
        assert_eq!(clock.next_sleep_ends_in(), None);
    }

    #[test]
    fn the_wall_clock_can_jump_without_the_monotonic_one() {
        let clock = VirtualClock::new();
        clock.set_wall_clock(-5_000);
        assert_eq!((clock.now(), clock.monotonic()), (START - Millis(5_000), Duration::ZERO));
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let draw = |seed: u64| {
            let mut bytes = [0u8; 19];
            SeededEntropy::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // The first output of SplitMix64 with seed 0, from the reference implementation.
        assert_eq!(draw(0)[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }
}
