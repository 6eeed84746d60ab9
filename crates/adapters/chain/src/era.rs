//! How long a signed extrinsic lives.

/// Blocks that may contain an extrinsic signed on block `born` with an era of `period` blocks, which is a power of
/// two.
///
/// The chain knows only `born` modulo `period`: from the current block it reckons the birth back, so the extrinsic is
/// good while that gives `born`, and its life ends with the block before `born + period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// The block whose hash the signature covers.
    pub(crate) born: u64,
    /// The last block that may contain the extrinsic.
    pub(crate) dies: u64,
}

impl Life {
    pub(crate) const fn new(born: u64, period: u64) -> Self {
        Self { born, dies: born.saturating_add(period - 1) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use subxt::ext::codec::Encode as _;
    use subxt::utils::Era;

    use super::*;

    /// `sp_runtime::generic::Era::birth`, from its description.
    fn birth(period: u64, phase: u64, current: u64) -> u64 {
        (current.max(phase) - phase) / period * period + phase
    }

    proptest! {
        #[test]
        fn an_extrinsic_lives_exactly_while_the_chain_reckons_its_birth(
            born in 0u64..1 << 40, exponent in 2u32..=12, ahead in 0u64..10_000,
        ) {
            let period = 1u64 << exponent;
            let Era::Mortal { period: encoded, phase } = Era::mortal(period, born) else {
                return Err(TestCaseError::fail("mortal"));
            };
            prop_assert_eq!(encoded, period);
            let alive = birth(period, phase, born + ahead) == born;
            prop_assert_eq!(alive, born + ahead <= Life::new(born, period).dies);
        }
    }

    #[test]
    fn eras_encode_as_the_chain_reads_them() {
        // Substrate's documented example: period 64, phase 42.
        assert_eq!(Era::mortal(64, 42).encode(), [165, 2]);
        assert_eq!(Life::new(42, 64), Life { born: 42, dies: 105 });
        assert_eq!(Era::mortal(32, 100).encode(), [0x44, 0x00]);
        assert_eq!(Life::new(100, 32).dies, 131);
    }
}
