use basilica_ports::Entropy;
use basilica_types::Millis;

/// Pauses between attempts: doubling, capped, jittered.
///
/// The n-th pause is drawn evenly from the upper half of `min(initial · 2ⁿ, max)`: long enough to help, spread enough
/// that a fleet which lost its peer at one moment does not come back at one moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Millis,
    max: Millis,
    doublings: u32,
}

impl Backoff {
    /// Pauses from `initial` up to `max`; both count as at least 1 ms, so that no loop spins.
    pub fn new(initial: Millis, max: Millis) -> Self {
        let initial = Millis(initial.0.max(1));
        Self { initial, max: Millis(max.0.max(initial.0)), doublings: 0 }
    }

    /// The next pause.
    pub fn next(&mut self, entropy: &dyn Entropy) -> Millis {
        let factor = 1u64.checked_shl(self.doublings).unwrap_or(u64::MAX);
        let ceiling = self.initial.0.saturating_mul(factor).min(self.max.0);
        self.doublings = self.doublings.saturating_add(1);
        let floor = ceiling.div_ceil(2);
        let span = ceiling - floor + 1;
        // The bias of the remainder is below 2^-20 for every pause below half a year.
        Millis(floor + u64::from_le_bytes(entropy.array()) % span)
    }

    /// Starts over: the attempt worked.
    pub const fn reset(&mut self) {
        self.doublings = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::SeededEntropy;

    proptest! {
        #[test]
        fn pauses_stay_in_the_upper_half_of_a_capped_doubling(
            initial in 0u64..=10_000, max in 0u64..=10_000_000, seed: u64,
        ) {
            let entropy = SeededEntropy::new(seed);
            let mut backoff = Backoff::new(Millis(initial), Millis(max));
            for n in 0..70u32 {
                let ceiling = initial.max(1).saturating_mul(1u64.checked_shl(n).unwrap_or(u64::MAX)).min(max.max(initial).max(1));
                let pause = backoff.next(entropy.as_ref()).0;
                prop_assert!(pause >= ceiling.div_ceil(2) && pause <= ceiling, "{pause} for {ceiling}");
            }
            backoff.reset();
            prop_assert!(backoff.next(entropy.as_ref()).0 <= initial.max(1));
        }
    }

    #[test]
    fn the_largest_spans_do_not_overflow() {
        let mut backoff = Backoff::new(Millis(u64::MAX), Millis(u64::MAX));
        assert!(backoff.next(SeededEntropy::new(1).as_ref()).0 > u64::MAX / 2);
    }
}
