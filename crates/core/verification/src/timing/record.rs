//! A node's deadlines over all of its checks, as they are stored.

use basilica_types::Timestamp;
use codec::{Decode, Encode};

use super::{Observed, Punctuality, Standing, Weights};
use crate::RetryRules;

/// Punctuality, and when the misses that speak against the node began.
///
/// The test takes misses for independent; those of one short outage are not. So what it finds counts only once its misses
/// are spread over the span that any confirmation of timing takes (RULES R4): they stay in the record until then, whatever
/// passes in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct DeadlineRecord {
    punctuality: Punctuality,
    /// Milliseconds; none while nothing speaks against the node.
    since: Option<i64>,
}

impl DeadlineRecord {
    /// Takes one more observation, made at `now`.
    #[must_use]
    pub fn after(self, observed: Observed, weights: &Weights, now: Timestamp) -> Self {
        let punctuality = self.punctuality.after(observed, weights);
        let since = (punctuality.evidence() > 0).then(|| self.since.unwrap_or(now.0));
        Self { punctuality, since }
    }

    /// What follows at `now`.
    pub fn standing(&self, weights: &Weights, rules: &RetryRules, now: Timestamp) -> Standing {
        let spread = self.since.is_some_and(|since| now.since(Timestamp(since)) >= rules.span);
        match self.punctuality.standing(weights) {
            Standing::Late if !spread => Standing::Suspected,
            standing => standing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Control;
    use basilica_types::Millis;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);
    const MISS: Observed = Observed::Missed(Control::Reachable);

    fn standing(record: DeadlineRecord, after: Millis) -> Standing {
        record.standing(&Weights::default(), &RetryRules::default(), START + after)
    }

    fn after(observed: &[(Observed, Millis)]) -> DeadlineRecord {
        let weights = Weights::default();
        observed.iter().fold(DeadlineRecord::default(), |record, (observed, at)| {
            record.after(*observed, &weights, START + *at)
        })
    }

    #[test]
    fn misses_of_one_short_outage_find_nothing_yet_and_are_not_forgotten() {
        let three = [(MISS, Millis(0)), (MISS, Millis(40_000)), (MISS, Millis(80_000))];
        assert_eq!(standing(after(&three), Millis(80_000)), Standing::Suspected);
        let passed_then = [&three[..], &[(Observed::Met, Millis(120_000))]].concat();
        assert_eq!(standing(after(&passed_then), Millis(120_000)), Standing::Late, "a pass erases nothing");
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
        assert_eq!(after(&[(Observed::Met, Millis(9))]).since, None);
    }
}
