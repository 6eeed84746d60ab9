//! Numbers of the Bittensor chain.

use std::fmt;

use crate::text::number_id;
use crate::units::decimal;
use crate::{Digest, UnitError};

number_id! {
    /// A subnet: 39 on the main network, 387 on the test network.
    NetUid(u16)
}
number_id! {
    /// One of a subnet's mechanisms, each with weights of its own; 0 is the one that every subnet has.
    MechanismId(u8)
}
number_id! {
    /// A neuron's slot within one subnet; reused after deregistration, so never an identity on its own.
    Uid(u16)
}
number_id! {
    /// Height of a block.
    BlockNumber(u64)
}
number_id! {
    /// A weight as the chain stores it, 0..=65,535.
    Weight(u16)
}
number_id! {
    /// The chain's smallest unit of money: 10^9 rao are one TAO.
    Rao(u64)
}

const RAO_PER_TAO: u64 = 1_000_000_000;

impl Rao {
    /// Parses a decimal amount of TAO such as `12000.5` exactly; no sign, no exponent, at most nine decimals.
    ///
    /// # Errors
    /// [`UnitError::Tao`] for any other text, [`UnitError::Range`] above 2^64 − 1 rao.
    pub fn parse_tao(text: &str) -> Result<Self, UnitError> {
        decimal(text, 9, UnitError::Tao).map(Self)
    }

    /// The amount in TAO for people, exact and without needless zeros: `12000.5`.
    pub fn tao(self) -> impl fmt::Display {
        struct Tao(u64);
        impl fmt::Display for Tao {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (whole, rest) = (self.0 / RAO_PER_TAO, self.0 % RAO_PER_TAO);
                if rest == 0 {
                    return write!(f, "{whole}");
                }
                let rest = format!("{rest:09}");
                write!(f, "{whole}.{}", rest.trim_end_matches('0'))
            }
        }
        Tao(self.0)
    }
}

/// Hash of a block, blake2-256 of its header.
pub type BlockHash = Digest;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tao_are_exact() {
        for (text, rao) in [("12000.0", 12_000 * RAO_PER_TAO), ("0.000000001", 1), ("7", 7 * RAO_PER_TAO)] {
            assert_eq!(Rao::parse_tao(text), Ok(Rao(rao)), "{text}");
        }
        for bad in ["", ".", "1.", "-1", "+1", "1e3", "0.0000000001", "NaN", "1,5"] {
            assert_eq!(Rao::parse_tao(bad), Err(UnitError::Tao), "{bad}");
        }
        assert_eq!(Rao::parse_tao("18446744073.709551615"), Ok(Rao(u64::MAX)));
        assert_eq!(Rao::parse_tao("18446744073.709551616"), Err(UnitError::Range));
    }

    proptest! {
        #[test]
        fn tao_are_read_as_they_are_written(rao: u64) {
            prop_assert_eq!(Rao::parse_tao(&Rao(rao).tao().to_string()), Ok(Rao(rao)));
        }
    }
}
