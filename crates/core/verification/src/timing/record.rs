//! What all of a node's checks say together, as it is stored.

use basilica_types::Timestamp;
use codec::{Decode, Encode};

use super::{Observed, Punctuality, Rates, Standing, Weighed, Weights};
use crate::{Reason, RetryRules};

/// The weights of both tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tests {
    /// Of missed deadlines.
    pub deadlines: Weights,
    /// Of proofs that were broken off.
    pub breaks: Weights,
}

impl Default for Tests {
    /// Those of [`Rates::default`] and [`Rates::breaks`].
    fn default() -> Self {
        let breaks = Rates::breaks().weights().expect("the rates are within bounds; a test holds them");
        Self { deadlines: Weights::default(), breaks }
    }
}

/// One test's state, and when what speaks against the node began.
///
/// A test takes its observations for independent; those of one short outage are not. So what it finds counts only once
/// they are spread over the span that any confirmation of timing takes (RULES R4): they stay in the record until then,
/// whatever passes in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Spread {
    punctuality: Punctuality,
    /// Milliseconds; none while nothing speaks against the node.
    since: Option<i64>,
}

impl Spread {
    fn after(self, weighed: Weighed, weights: &Weights, now: Timestamp) -> Self {
        let punctuality = self.punctuality.after(weighed, weights);
        let since = (punctuality.evidence() > 0).then(|| self.since.unwrap_or(now.0));
        Self { punctuality, since }
    }

    fn standing(&self, weights: &Weights, rules: &RetryRules, now: Timestamp) -> Standing {
        let spread = self.since.is_some_and(|since| now.since(Timestamp(since)) >= rules.span);
        match self.punctuality.standing(weights) {
            Standing::Late if !spread => Standing::Suspected,
            standing => standing,
        }
    }
}

/// Missed deadlines and broken-off proofs of one node, over all of its checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct DeadlineRecord {
    missed: Spread,
    broken: Spread,
}

impl DeadlineRecord {
    /// Takes one more observation, made at `now`.
    ///
    /// A check that broke off met no deadline and missed none. One that came to its end, late or not, did not break off.
    #[must_use]
    pub fn after(self, observed: Observed, tests: &Tests, now: Timestamp) -> Self {
        let missed = |weighed| self.missed.after(weighed, &tests.deadlines, now);
        let broken = |weighed| self.broken.after(weighed, &tests.breaks, now);
        match observed {
            Observed::Met => Self { missed: missed(Weighed::For), broken: broken(Weighed::For) },
            Observed::Missed(control) => {
                Self { missed: missed(Weighed::Against(control)), broken: broken(Weighed::For) }
            }
            Observed::Broken(control) => Self { broken: broken(Weighed::Against(control)), ..self },
        }
    }

    /// What follows at `now`.
    pub fn standing(&self, tests: &Tests, rules: &RetryRules, now: Timestamp) -> Standing {
        let missed = self.missed.standing(&tests.deadlines, rules, now);
        let broken = self.broken.standing(&tests.breaks, rules, now);
        match (missed, broken) {
            (Standing::Late, _) => Standing::Late,
            (_, Standing::Late) => Standing::BrokenOff,
            (Standing::Clear, Standing::Clear) => Standing::Clear,
            _ => Standing::Suspected,
        }
    }

    /// The reason by which the node is at fault at `now`, and the record that it goes on with: each finding takes
    /// observations of its own.
    pub fn found(&self, tests: &Tests, rules: &RetryRules, now: Timestamp) -> Option<(Reason, Self)> {
        match self.standing(tests, rules, now) {
            Standing::Late => {
                Some((Reason::ProofDeadlineMissed, Self { missed: Spread::default(), ..*self }))
            }
            Standing::BrokenOff => {
                Some((Reason::ProofBrokenOff, Self { broken: Spread::default(), ..*self }))
            }
            Standing::Clear | Standing::Suspected => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Control;
    use basilica_types::Millis;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);
    const MISS: Observed = Observed::Missed(Control::Reachable);
    const BREAK: Observed = Observed::Broken(Control::Reachable);

    fn standing(record: DeadlineRecord, after: Millis) -> Standing {
        record.standing(&Tests::default(), &RetryRules::default(), START + after)
    }

    fn after(observed: &[(Observed, Millis)]) -> DeadlineRecord {
        let tests = Tests::default();
        observed.iter().fold(DeadlineRecord::default(), |record, (observed, at)| {
            record.after(*observed, &tests, START + *at)
        })
    }

    #[test]
    fn misses_of_one_short_outage_find_nothing_yet_and_are_not_forgotten() {
        let three = [(MISS, Millis(0)), (MISS, Millis(40_000)), (MISS, Millis(80_000))];
        assert_eq!(standing(after(&three), Millis(80_000)), Standing::Suspected);
        let span = RetryRules::DEFAULT.span;
        let passed_then = [&three[..], &[(Observed::Met, span)]].concat();
        assert_eq!(standing(after(&passed_then), span), Standing::Late, "a pass erases nothing");
    }

    #[test]
    fn misses_hours_apart_add_up_between_passes() {
        let hour = |n: u64| Millis(n * 3_600_000);
        let missed: Vec<_> =
            (0..9).map(|n| (if n % 3 == 0 { MISS } else { Observed::Met }, hour(n))).collect();
        assert_eq!(standing(after(&missed), hour(8)), Standing::Late);
        assert_eq!(standing(after(&missed[..4]), hour(3)), Standing::Suspected);
        let ours: Vec<_> = (0..20).map(|n| (Observed::Missed(Control::Silent), hour(n))).collect();
        assert_eq!(standing(after(&ours), hour(20)), Standing::Suspected, "our own uplink convicts nobody");
    }

    #[test]
    fn a_record_reads_back() {
        let record = after(&[(MISS, Millis(5)), (Observed::Met, Millis(9))]);
        assert_eq!(DeadlineRecord::decode(&mut &record.encode()[..]).unwrap(), record);
        assert_eq!(after(&[(Observed::Met, Millis(9))]).missed.since, None);
    }

    #[test]
    fn breaks_add_up_whatever_passes_in_between_and_are_told_from_misses() {
        let hour = |n: u64| Millis(n * 3_600_000);
        let broke: Vec<_> =
            (0..8).map(|n| (if n % 2 == 0 { BREAK } else { Observed::Met }, hour(n))).collect();
        let found = after(&broke);
        assert_eq!(standing(found, hour(7)), Standing::BrokenOff);
        let (reason, anew) = found.found(&Tests::default(), &RetryRules::default(), START + hour(7)).unwrap();
        assert_eq!(
            (reason, anew.broken, anew.missed),
            (Reason::ProofBrokenOff, Spread::default(), found.missed)
        );
        assert_eq!(standing(after(&broke[..5]), hour(5)), Standing::Suspected, "three are not enough");
        let ours: Vec<_> = (0..20).map(|n| (Observed::Broken(Control::Silent), hour(n))).collect();
        assert_eq!(standing(after(&ours), hour(20)), Standing::Suspected, "our own uplink convicts nobody");
    }

    #[test]
    fn breaks_of_one_short_outage_find_nothing_yet() {
        let four: Vec<_> = (0..4).map(|n| (BREAK, Millis(20_000 * n))).collect();
        assert_eq!(standing(after(&four), Millis(60_000)), Standing::Suspected);
        assert_eq!(standing(after(&four), RetryRules::DEFAULT.span), Standing::BrokenOff);
    }

    fn observations() -> impl Strategy<Value = Vec<Observed>> {
        let one = prop_oneof![4 => Just(Observed::Met), 1 => Just(MISS), 1 => Just(BREAK)];
        proptest::collection::vec(one, 0..60)
    }

    proptest! {
        /// RULES R4: one more break anywhere never lowers what is known later, and says nothing about deadlines.
        #[test]
        fn a_later_pass_never_erases_a_break(observed in observations(), at in 0usize..60) {
            let timed = |(n, observed): (u64, Observed)| (observed, Millis(n * 60_000));
            let without: Vec<_> = (0..).zip(observed.clone()).map(timed).collect();
            let mut observed = observed;
            observed.insert(at.min(observed.len()), BREAK);
            let with: Vec<_> = (0..).zip(observed).map(timed).collect();
            let (with, without) = (after(&with), after(&without));
            prop_assert!(with.broken.punctuality.evidence() >= without.broken.punctuality.evidence());
            prop_assert_eq!(with.missed.punctuality, without.missed.punctuality);
        }
    }
}
