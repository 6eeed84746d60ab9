//! Whose fault a run of failed tries is (RULES R4).
//!
//! A failed try that proves nothing by itself opens a series: the same check is tried again on a new connection, at
//! least [`RetryRules::retries`] times over at least [`RetryRules::span`], and beside each try the service asks whether a
//! control target answers. All failed while the control target answered each time: the node is at fault, confirmed. The
//! control target was silent even once: we cannot tell our own uplink from the node. A success at any point ends the
//! series without a trace. A series whose last try lies far back ends too: the failures of last week and one glitch of
//! today are not one outage.
//!
//! Missing, and said so in every verdict by what its evidence holds: confirmation by a second validator, which under the
//! miner's `highest_stake` assignment has no access.

use basilica_types::{Millis, Timestamp};

use crate::knocking::LOCKOUT;
use crate::{Blame, Control, Fault, Reason};

/// When a failure is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRules {
    /// Tries after the first.
    pub retries: u8,
    /// Between two tries.
    pub interval: Millis,
    /// Least time from the first failed try to the one that confirms.
    pub span: Millis,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl RetryRules {
    /// Five retries over at least five minutes: RULES R4 asks for three over two, which bans honest nodes whose routes are gone
    /// for a minute now and then (`docs/policy.md`).
    pub const DEFAULT: Self =
        Self { retries: 5, interval: Millis::from_secs(60), span: Millis::from_secs(300) };

    /// What a retry is put off by beyond the interval: up to half of it, by a number drawn at random.
    ///
    /// Two validators whose proofs met on one card would meet again at every retry if both waited equally long.
    pub fn jitter(&self, chance: u64) -> Millis {
        let most = u128::from(self.interval.0 / 2);
        Millis(u64::try_from((u128::from(chance) * most) >> 64).expect("below half of an interval"))
    }
}

/// The failed tries of one scheduled check so far. Stored, so that a restart goes on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// When the first try failed.
    pub since: Timestamp,
    /// When the last try failed.
    pub last: Timestamp,
    /// Failed tries, at least 1.
    pub failed: u8,
    /// The control target answered beside every failed try.
    pub controlled: bool,
    /// The control target was silent beside at least one.
    pub silent: bool,
}

/// A series that was not continued for so many retry intervals is over.
const STALE_INTERVALS: u64 = 5;
/// And never before this: a session that must be opened again takes a while, and who is locked out knocks again when that is over
/// ([`crate::knocking`]), however short the configured interval.
const STALE_LEAST: Millis = Millis(LOCKOUT[1].0 + 60_000);

impl Series {
    /// Whether a try that begins now is one of this series, or the first of a new one.
    pub fn is_continued(&self, now: Timestamp, rules: &RetryRules) -> bool {
        let stale = Millis(rules.interval.0.saturating_mul(STALE_INTERVALS)).max(STALE_LEAST);
        now.since(self.last) <= stale
    }
}

/// What follows from a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is decided: try again on a new connection.
    Retry {
        /// The series so far.
        series: Series,
        /// When at the earliest, see [`RetryRules::jitter`].
        at: Timestamp,
    },
    /// The check has failed by this fault.
    Conclude {
        /// Whose.
        fault: Fault,
        /// How many tries it took.
        tries: u8,
    },
}

/// Decides about one failed try. `series` holds the failed tries before it.
pub fn after_failure(
    series: Option<Series>,
    reason: Reason,
    control: Control,
    rules: &RetryRules,
    now: Timestamp,
) -> Next {
    let tries = series.map_or(1, |s| s.failed.saturating_add(1));
    match reason.blame() {
        Blame::Proven => return Next::Conclude { fault: Fault::Node { confirmed: true }, tries },
        Blame::Elsewhere(fault) => return Next::Conclude { fault, tries },
        Blame::Suspected => {}
    }
    let before =
        series.unwrap_or(Series { since: now, failed: 0, controlled: true, silent: false, last: now });
    let series = Series {
        last: now,
        failed: tries,
        controlled: before.controlled && control == Control::Reachable,
        silent: before.silent || control == Control::Silent,
        ..before
    };
    let retried = tries.saturating_sub(1) >= rules.retries;
    if !retried || now.since(series.since) < rules.span {
        return Next::Retry { series, at: now + rules.interval };
    }
    let fault = match (series.controlled, series.silent) {
        (true, _) => Fault::Node { confirmed: true },
        (false, true) => Fault::Validator,
        (false, false) => Fault::Unknown,
    };
    Next::Conclude { fault, tries }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);
    /// The first and all retries.
    const TRIES: usize = RetryRules::DEFAULT.retries as usize + 1;

    /// Fails every try with the given controls until a conclusion; its time and fault.
    fn run(reason: Reason, controls: &[Control]) -> (Timestamp, Fault, u8) {
        let rules = RetryRules::default();
        let (mut series, mut now) = (None, START);
        for control in controls.iter().chain(std::iter::repeat(&Control::Absent)) {
            match after_failure(series, reason, *control, &rules, now) {
                Next::Retry { series: next, at } => (series, now) = (Some(next), at),
                Next::Conclude { fault, tries } => return (now, fault, tries),
            }
        }
        unreachable!("the controls repeat for ever")
    }

    #[test]
    fn an_unreachable_node_is_confirmed_by_all_retries_over_the_span_beside_a_control() {
        let (at, fault, tries) = run(Reason::ConnectionTimeout, &[Control::Reachable; TRIES]);
        assert_eq!((fault, usize::from(tries)), (Fault::Node { confirmed: true }, TRIES));
        assert!(at.since(START) >= RetryRules::DEFAULT.span);
    }

    #[test]
    fn the_default_asks_for_no_less_than_the_rules_do() {
        let RetryRules { retries, interval, span } = RetryRules::DEFAULT;
        assert!(retries >= 3 && span >= Millis::from_secs(120));
        assert!(interval.0 * u64::from(retries) >= span.0, "the last retry is not made in vain");
    }

    #[test]
    fn a_silent_control_target_clears_the_node() {
        use Control::{Reachable, Silent};
        for position in 0..TRIES {
            let mut controls = [Reachable; TRIES];
            controls[position] = Silent;
            assert_eq!(run(Reason::ConnectionTimeout, &controls).1, Fault::Validator);
        }
        assert_eq!(run(Reason::ConnectionTimeout, &[]).1, Fault::Unknown);
    }

    #[test]
    fn an_old_series_and_one_new_glitch_are_not_one_outage() {
        let rules = RetryRules::default();
        let series = Series {
            since: START,
            last: START + Millis::from_secs(80),
            failed: 3,
            controlled: true,
            silent: false,
        };
        assert!(series.is_continued(series.last + rules.interval, &rules));
        assert!(!series.is_continued(series.last + Millis::from_secs(3600), &rules));
        let short = RetryRules { interval: Millis::from_secs(1), ..rules };
        assert!(
            series.is_continued(series.last + LOCKOUT[1], &short),
            "a session is opened again, a lockout is waited for"
        );
    }

    #[test]
    fn a_rejected_transcript_needs_no_second_try() {
        let next =
            after_failure(None, Reason::ProofOpeningMismatch, Control::Absent, &RetryRules::default(), START);
        assert_eq!(next, Next::Conclude { fault: Fault::Node { confirmed: true }, tries: 1 });
    }

    #[test]
    fn retries_of_two_validators_drift_apart_and_stay_in_the_series() {
        let rules = RetryRules::default();
        assert_eq!(rules.jitter(0), Millis(0));
        assert_eq!(rules.jitter(u64::MAX), Millis(rules.interval.0 / 2 - 1));
        let apart = rules.jitter(u64::MAX / 4).0.abs_diff(rules.jitter(u64::MAX / 2).0);
        assert_eq!(apart, rules.interval.0 / 8, "as far apart as what was drawn");
        let failed = Series { since: START, last: START, failed: 1, controlled: true, silent: false };
        assert!(failed.is_continued(START + rules.interval + rules.jitter(u64::MAX), &rules));
    }

    #[test]
    fn a_lockout_is_never_the_nodes_fault() {
        let next = after_failure(None, Reason::LockedOut, Control::Reachable, &RetryRules::default(), START);
        assert_eq!(next, Next::Conclude { fault: Fault::Unknown, tries: 1 });
    }

    proptest! {
        #[test]
        fn a_suspicion_is_confirmed_only_beside_a_control_at_every_try(
            answers in proptest::collection::vec(0..3u8, TRIES),
            position in 0..Reason::ALL.len(),
        ) {
            let reason = Reason::ALL[position];
            let control = |a: &u8| [Control::Reachable, Control::Silent, Control::Absent][usize::from(*a)];
            let controls: Vec<Control> = answers.iter().map(control).collect();
            let (at, fault, tries) = run(reason, &controls);
            if reason.blame() == Blame::Suspected {
                let confirmed = fault == Fault::Node { confirmed: true };
                prop_assert_eq!(confirmed, controls.iter().all(|c| *c == Control::Reachable));
                prop_assert!(usize::from(tries) >= TRIES && at.since(START) >= RetryRules::DEFAULT.span);
            } else {
                prop_assert_eq!((at, tries), (START, 1));
            }
        }
    }
}
