//! A randomness beacon: when it publishes its rounds, and how far the chain follows it.

use basilica_types::{Millis, Timestamp};

/// When a beacon publishes its rounds: round 1 at `genesis`, then one each `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeaconClock {
    /// Publication of round 1.
    pub genesis: Timestamp,
    /// Time between two rounds; 0 counts as 1 ms.
    pub period: Millis,
}

impl BeaconClock {
    /// drand's quicknet.
    pub const QUICKNET: Self = Self { genesis: Timestamp(1_692_803_367_000), period: Millis(3_000) };

    fn period_ms(&self) -> u64 {
        self.period.0.max(1)
    }

    /// The latest round published at `at`; none before the genesis.
    pub fn latest(&self, at: Timestamp) -> Option<u64> {
        let whole = at.since(self.genesis).0.checked_div(self.period_ms())?;
        (at >= self.genesis).then(|| whole.saturating_add(1))
    }

    /// When `round` is published; saturates at the end of time.
    pub fn published(&self, round: u64) -> Timestamp {
        let after = round.saturating_sub(1).saturating_mul(self.period_ms());
        self.genesis.saturating_add(Millis(after))
    }

    /// Rounds until at least `span` has passed.
    pub(crate) fn rounds_in(&self, span: Millis) -> u64 {
        span.0.div_ceil(self.period_ms())
    }
}

/// A randomness beacon as the chain follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Compressed public key in G2, 96 bytes.
    pub public_key: Vec<u8>,
    /// When it publishes.
    pub clock: BeaconClock,
    /// `LastStoredRound`: the newest round whose signature the chain has; none before the first.
    pub last_round: Option<u64>,
}

impl Beacon {
    /// A newest round older than this is that of a beacon that stalls; finality and an endpoint that is behind take part
    /// of it.
    const STALLED: Millis = Millis::from_secs(300);

    /// The newest round, if the chain has had no newer one for so long that the beacon must be stalled.
    pub(crate) fn stalled(&self, now: Timestamp) -> Option<u64> {
        self.last_round.filter(|last| now.since(self.clock.published(*last)) > Self::STALLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_follow_the_beacons_clock() {
        let quicknet = BeaconClock::QUICKNET;
        assert_eq!(quicknet.latest(Timestamp(1_692_803_366_999)), None);
        assert_eq!(quicknet.latest(Timestamp(1_692_803_367_000)), Some(1));
        assert_eq!(quicknet.latest(Timestamp(1_692_803_369_999)), Some(1));
        assert_eq!(quicknet.latest(Timestamp(1_692_803_370_000)), Some(2));
        assert_eq!(quicknet.published(2), Timestamp(1_692_803_370_000));
        assert_eq!(quicknet.rounds_in(Millis(3_001)), 2);
        let stopped = BeaconClock { period: Millis(0), ..quicknet };
        assert_eq!(stopped.latest(Timestamp(1_692_803_367_009)), Some(10), "no division by nothing");
        assert_eq!(stopped.published(u64::MAX).0, i64::MAX);
    }
}
