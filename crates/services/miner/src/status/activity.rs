//! What happened in the last hour, from counters that only grow.

use std::collections::VecDeque;

use basilica_status::Activity;
use basilica_types::{Millis, Timestamp};

/// How far back is looked.
const WINDOW: Millis = Millis::from_secs(3_600);
/// Between two samples that are kept.
const STEP: Millis = Millis::from_secs(60);

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) logins: u64,
    pub(super) granted: u64,
    pub(super) rounds: u64,
    pub(super) rounds_failed: u64,
    pub(super) discoveries: u64,
    pub(super) discoveries_refused: u64,
}

/// Samples of the last hour, a minute apart.
#[derive(Debug)]
pub(super) struct History {
    samples: VecDeque<(Timestamp, Counted)>,
    granted: u64,
    seen: Option<Timestamp>,
}

impl History {
    pub(super) fn new(now: Timestamp, counted: Counted) -> Self {
        Self { samples: VecDeque::from([(now, counted)]), granted: counted.granted, seen: None }
    }

    /// Takes the counters of now and says what they make of the last hour.
    pub(super) fn activity(&mut self, now: Timestamp, counted: Counted) -> Activity {
        if counted.granted > self.granted {
            (self.granted, self.seen) = (counted.granted, Some(now));
        }
        // The oldest kept is the last that is at least an hour old, so that the window is never shorter than it could be.
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
        let newest = self.samples.back().map(|(at, _)| *at);
        // After a jump of the clock into the past nothing would be kept until it has caught up.
        if newest.is_some_and(|newest| newest > now) {
            self.samples.clear();
        }
        if newest.is_none_or(|newest| now.abs_diff(newest) >= STEP) {
            self.samples.push_back((now, counted));
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, counted));
        Activity {
            window: now.since(since),
            logins: counted.logins.saturating_sub(before.logins),
            logins_granted: counted.granted.saturating_sub(before.granted),
            rounds: counted.rounds.saturating_sub(before.rounds),
            rounds_failed: counted.rounds_failed.saturating_sub(before.rounds_failed),
            discoveries: counted.discoveries.saturating_sub(before.discoveries),
            discoveries_refused: counted.discoveries_refused.saturating_sub(before.discoveries_refused),
            validator_seen: self.seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn counted(n: u64) -> Counted {
        Counted { logins: 2 * n, granted: n, rounds: 3 * n, rounds_failed: n, ..Counted::default() }
    }

    #[test]
    fn an_hour_is_looked_back_and_no_further() {
        let mut history = History::new(Timestamp(0), Counted::default());
        for minute in 1..=300_i64 {
            let told = history.activity(Timestamp(minute * MINUTE), counted(minute.unsigned_abs()));
            let window = minute.unsigned_abs().min(60);
            assert_eq!(told.window, Millis::from_secs(window * 60), "minute {minute}");
            assert_eq!((told.logins, told.logins_granted), (2 * window, window));
            assert_eq!((told.rounds, told.rounds_failed), (3 * window, window));
            assert!(history.samples.len() <= 62);
        }
    }

    #[test]
    fn a_validator_was_seen_when_the_count_grew() {
        let mut history = History::new(Timestamp(0), counted(5));
        assert_eq!(history.activity(Timestamp(1), counted(5)).validator_seen, None);
        assert_eq!(history.activity(Timestamp(2), counted(6)).validator_seen, Some(Timestamp(2)));
        assert_eq!(history.activity(Timestamp(3), counted(6)).validator_seen, Some(Timestamp(2)));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_new_hour() {
        let mut history = History::new(Timestamp(100 * MINUTE), counted(1));
        let told = history.activity(Timestamp(10 * MINUTE), counted(2));
        assert_eq!((told.window, told.logins), (Millis(0), 0));
        let told = history.activity(Timestamp(11 * MINUTE), counted(3));
        assert_eq!((told.window, told.logins), (Millis::from_secs(60), 2));
    }
}
