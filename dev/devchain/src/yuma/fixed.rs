//! The number that consensus is computed in: unsigned, 32 fractional bits, every operation rounding down.
//!
//! The public chain computes in a signed number with 32 fractional bits whose products and quotients are truncated. No
//! value of consensus is negative, so truncation is rounding down and an unsigned number gives the same bits. The
//! crates `fixed` and `substrate-fixed` were rejected: of their surface five operations are needed, and the rounding, which
//! is what has to equal the public chain's, is the whole of this file.

/// A non-negative number with 32 fractional bits. Operations saturate instead of wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fixed(u64);

impl Fixed {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The whole.
    pub const ONE: Self = Self(1 << 32);

    /// The number with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All bits: the number times 2³².
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A whole number.
    #[must_use]
    pub fn from_u16(whole: u16) -> Self {
        Self(u64::from(whole) << 32)
    }

    /// `part` / `whole`, rounded down; zero of a whole of zero.
    #[must_use]
    pub fn ratio(part: u64, whole: u128) -> Self {
        (u128::from(part) << 32).checked_div(whole).map_or(Self::ZERO, Self::saturated)
    }

    /// A stored share: `stored` / 65,535.
    #[must_use]
    pub fn from_share(stored: u16) -> Self {
        Self::ratio(u64::from(stored), u128::from(u16::MAX))
    }

    /// The share as it is stored, in parts of 65,535, rounded down; more than the whole is stored as the whole.
    #[must_use]
    pub fn to_share(self) -> u16 {
        u16::try_from(self.of(u64::from(u16::MAX))).unwrap_or(u16::MAX)
    }

    /// This share of an amount, rounded down.
    #[must_use]
    pub fn of(self, amount: u64) -> u64 {
        u64::try_from((u128::from(self.0) * u128::from(amount)) >> 32).unwrap_or(u64::MAX)
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, zero where it would be negative.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The product, rounded down.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self::saturated((u128::from(self.0) * u128::from(other.0)) >> 32)
    }

    /// The quotient, rounded down; zero of a divisor of zero.
    #[must_use]
    pub fn over(self, divisor: Self) -> Self {
        (u128::from(self.0) << 32).checked_div(u128::from(divisor.0)).map_or(Self::ZERO, Self::saturated)
    }

    fn saturated(bits: u128) -> Self {
        Self(u64::try_from(bits).unwrap_or(u64::MAX))
    }
}

impl std::iter::Sum for Fixed {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Self::plus)
    }
}
