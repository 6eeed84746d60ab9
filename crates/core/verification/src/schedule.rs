//! When a node is checked next (decision D7): a light check often, a full check rarely, always a known time.

use basilica_types::{Millis, Timestamp};

use crate::{CheckKind, Outcome, Reason};

/// How often each check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Between light checks.
    pub light: Millis,
    /// Between full checks.
    pub full: Millis,
    /// From a failed full check to the next (RULES R3).
    pub full_after_fault: Millis,
    /// Between attempts while a node cannot be reached (RULES R2).
    pub while_failing: Millis,
}

impl Default for Intervals {
    /// 10 min, 6 h, 30 min and 2 min.
    fn default() -> Self {
        Self {
            light: Millis::from_secs(600),
            full: Millis::from_secs(6 * 3600),
            full_after_fault: Millis::from_secs(1800),
            while_failing: Millis::from_secs(120),
        }
    }
}

/// When each check of a node is next due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The light check; also while full checks fail, because the SSH half of the score is its.
    pub light: Timestamp,
    /// The full check.
    pub full: Timestamp,
}

impl Due {
    /// A node just discovered, or one that must pass a full check again: as soon as possible.
    pub const fn at_once(now: Timestamp) -> Self {
        Self { light: now, full: now }
    }

    /// The earlier of the two.
    pub fn next(&self) -> Timestamp {
        self.light.min(self.full)
    }

    /// Which check to run now, if any. A due full check stands for the light one.
    pub fn kind(&self, now: Timestamp) -> Option<CheckKind> {
        if self.full <= now {
            Some(CheckKind::Full)
        } else if self.light <= now {
            Some(CheckKind::Light)
        } else {
            None
        }
    }

    /// The times after a concluded check.
    ///
    /// A failed check that was about reaching the node is repeated soon, with the kind that failed; one about content
    /// after [`Intervals::full_after_fault`]. After a failed full one light checks go on meanwhile: the SSH half of the score is theirs.
    #[must_use]
    pub fn after(self, kind: CheckKind, outcome: &Outcome, intervals: &Intervals, now: Timestamp) -> Self {
        match (kind, outcome) {
            (CheckKind::Light, Outcome::Passed) => Self { light: now + intervals.light, ..self },
            (CheckKind::Full, Outcome::Passed) => {
                Self { light: now + intervals.light, full: now + intervals.full }
            }
            (CheckKind::Light, Outcome::Failed { reason, .. }) => {
                let wait = if reason.needs_distance() || reason.is_service() {
                    intervals.light
                } else if reason.is_reachability() {
                    intervals.while_failing.min(intervals.light)
                } else {
                    // Each is an event (RULES R3): a broken driver must not be banned for twelve hours within half of one.
                    intervals.full_after_fault.max(intervals.light)
                };
                Self { light: now + wait, ..self }
            }
            (CheckKind::Full, Outcome::Failed { reason, .. }) => {
                let soon = reason.is_reachability() && !reason.needs_distance();
                let wait = match reason {
                    _ if soon => intervals.while_failing,
                    // Nothing is gained by asking again soon, and a proof takes all of the node's cards.
                    Reason::GpuClassUncalibrated => intervals.full,
                    _ => intervals.full_after_fault,
                };
                Self { light: now + intervals.light, full: now + wait.min(intervals.full) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn failed(reason: Reason) -> Outcome {
        Outcome::Failed { reason, fault: Fault::Node { confirmed: true } }
    }

    #[test]
    fn a_new_node_gets_its_full_check_first() {
        assert_eq!(Due::at_once(NOW).kind(NOW), Some(CheckKind::Full));
    }

    #[test]
    fn light_checks_fill_the_time_between_full_ones() {
        let intervals = Intervals::default();
        let (mut due, mut now, mut light, mut full) = (Due::at_once(NOW), NOW, 0, 0);
        while now.since(NOW) < Millis::from_secs(24 * 3600) {
            let kind = due.kind(now).expect("simulated time jumps to the next due time");
            match kind {
                CheckKind::Light => light += 1,
                CheckKind::Full => full += 1,
            }
            due = due.after(kind, &Outcome::Passed, &intervals, now);
            now = due.next();
        }
        assert_eq!((light, full), (144 - 4, 4));
    }

    #[test]
    fn a_rejected_proof_is_repeated_after_half_an_hour_and_an_unreachable_node_after_two_minutes() {
        let intervals = Intervals::default();
        let after = |reason| Due::at_once(NOW).after(CheckKind::Full, &failed(reason), &intervals, NOW);
        assert_eq!(after(Reason::ProofOpeningMismatch).full, NOW + Millis::from_secs(1800));
        assert_eq!(after(Reason::ConnectionFailed).full, NOW + Millis::from_secs(120));
        assert_eq!(after(Reason::GpuClassUncalibrated).full, NOW + intervals.full);
        for reason in [Reason::PortUnreachable, Reason::ContainerRuntimeDown] {
            assert_eq!(after(reason).full, NOW + Millis::from_secs(1800), "{reason}: dear to ask");
        }
    }

    #[test]
    fn a_light_check_that_fails_by_content_is_repeated_no_sooner_than_a_full_one() {
        let intervals = Intervals::default();
        let after = |reason| Due::at_once(NOW).after(CheckKind::Light, &failed(reason), &intervals, NOW);
        assert_eq!(after(Reason::ConnectionFailed).light, NOW + Millis::from_secs(120));
        for reason in [Reason::ProverFailed, Reason::ClaimsInvalid, Reason::NonceMismatch] {
            assert_eq!(after(reason).light, NOW + Millis::from_secs(1800));
        }
    }

    #[test]
    fn the_next_time_is_always_in_the_future() {
        let intervals = Intervals::default();
        for kind in [CheckKind::Light, CheckKind::Full] {
            for reason in Reason::ALL {
                let due = Due { light: NOW, full: NOW + Millis(1) };
                let due = due.after(kind, &failed(*reason), &intervals, NOW + Millis(2));
                let concluded = if kind == CheckKind::Light { due.light } else { due.full };
                assert!(concluded > NOW + Millis(2));
            }
        }
    }
}
