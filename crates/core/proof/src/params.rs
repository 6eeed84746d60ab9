//! How much work is asked of one device, and the bounds that make every other size finite.

use crate::wire::{DecodeError, Reader, Writer};

/// Cells of the product bound by one Merkle leaf: 256 int32 are 1 KiB, which is exactly one BLAKE3 chunk.
pub const LEAF_CELLS: usize = 256;
/// Bytes of a leaf as hashed and sent: its cells as little-endian int32.
pub const LEAF_BYTES: usize = LEAF_CELLS * 4;
/// Smallest and largest side of the product. Sides are powers of two, so that every tree is full.
pub const SIDE_MIN: u32 = 64;
/// See [`SIDE_MIN`].
pub const SIDE_MAX: u32 = 65_536;
/// Granularity of the inner dimension: one PRF block.
pub const INNER_STEP: u32 = 64;
/// Largest inner dimension. Exact int32 sums would allow 131,071 (`k · 2^14 < 2^31`); RULES R12 halves it.
pub const INNER_MAX: u32 = 65_536;
/// Most rounds per device.
pub const ROUNDS_MAX: u32 = 4_096;
/// Most openings per device.
pub const OPENINGS_MAX: u32 = 4_096;
/// Openings per device unless a policy asks for more: skipping 5 % then passes with probability 2·10⁻⁶.
pub const OPENINGS_DEFAULT: u32 = 256;

/// The work asked of one device. Values are in bounds by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProofParams {
    side: u32,
    inner: u32,
    rounds: u32,
    openings: u32,
}

/// A parameter outside the bounds of this protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The side is no power of two within bounds.
    #[error("matrix side {0} is not a power of two from {SIDE_MIN} to {SIDE_MAX}")]
    Side(u32),
    /// The inner dimension is no multiple of 64 within bounds.
    #[error("inner dimension {0} is not a multiple of {INNER_STEP} from {INNER_STEP} to {INNER_MAX}")]
    Inner(u32),
    /// The number of rounds is out of bounds.
    #[error("{0} rounds are not from 1 to {ROUNDS_MAX}")]
    Rounds(u32),
    /// The number of openings is out of bounds.
    #[error("{0} openings are not from 1 to {OPENINGS_MAX}")]
    Openings(u32),
}

impl ProofParams {
    /// What a validator asks of a simulated device: large enough that skipped work shows, small enough for a
    /// shared laptop core (about 34 billion multiplications per device).
    pub const SIMULATED: Self = Self { side: 2_048, inner: 2_048, rounds: 4, openings: OPENINGS_DEFAULT };

    /// Checks every bound.
    pub const fn new(side: u32, inner: u32, rounds: u32, openings: u32) -> Result<Self, ParamsError> {
        if !side.is_power_of_two() || side < SIDE_MIN || side > SIDE_MAX {
            return Err(ParamsError::Side(side));
        }
        if inner == 0 || !inner.is_multiple_of(INNER_STEP) || inner > INNER_MAX {
            return Err(ParamsError::Inner(inner));
        }
        if rounds == 0 || rounds > ROUNDS_MAX {
            return Err(ParamsError::Rounds(rounds));
        }
        if openings == 0 || openings > OPENINGS_MAX {
            return Err(ParamsError::Openings(openings));
        }
        Ok(Self { side, inner, rounds, openings })
    }

    /// Rows and columns of the product (n).
    pub const fn side(&self) -> u32 {
        self.side
    }

    /// Length of each dot product (k).
    pub const fn inner(&self) -> u32 {
        self.inner
    }

    /// Sequential products, chained by their roots.
    pub const fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Cells that the verifier recomputes.
    pub const fn openings(&self) -> u32 {
        self.openings
    }

    /// Leaves of one round's tree; a power of two of at most 2²⁴.
    pub const fn leaves(&self) -> u32 {
        1 << self.depth()
    }

    /// Siblings on a path from leaf to root.
    pub const fn depth(&self) -> u32 {
        2 * self.side.trailing_zeros() - LEAF_CELLS.trailing_zeros()
    }

    /// Multiplications asked over all rounds.
    pub const fn multiplications(&self) -> u64 {
        self.side as u64 * self.side as u64 * self.inner as u64 * self.rounds as u64
    }

    /// Where a cell of a leaf lies in the product: leaves cover the row-major cells in order.
    pub const fn position(&self, leaf: u32, cell: u32) -> (u32, u32) {
        let flat = leaf as u64 * LEAF_CELLS as u64 + cell as u64;
        let side = self.side as u64;
        // Both are below the side, which is below 2^17.
        #[expect(clippy::cast_possible_truncation, reason = "quotient and remainder are below the side")]
        ((flat / side) as u32, (flat % side) as u32)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        for value in [self.side, self.inner, self.rounds, self.openings] {
            writer.u32(value);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [side, inner, rounds, openings] = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        Ok(Self::new(side, inner, rounds, openings)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_refused_by_name() {
        assert_eq!(ProofParams::new(96, 64, 1, 1), Err(ParamsError::Side(96)));
        assert_eq!(ProofParams::new(32, 64, 1, 1), Err(ParamsError::Side(32)));
        assert_eq!(ProofParams::new(131_072, 64, 1, 1), Err(ParamsError::Side(131_072)));
        assert_eq!(ProofParams::new(64, 0, 1, 1), Err(ParamsError::Inner(0)));
        assert_eq!(ProofParams::new(64, 65_600, 1, 1), Err(ParamsError::Inner(65_600)));
        assert_eq!(ProofParams::new(64, 100, 1, 1), Err(ParamsError::Inner(100)));
        assert_eq!(ProofParams::new(64, 64, 0, 1), Err(ParamsError::Rounds(0)));
        assert_eq!(ProofParams::new(64, 64, 1, 4_097), Err(ParamsError::Openings(4_097)));
    }

    #[test]
    fn leaves_tile_the_product_in_row_major_order() {
        let small = ProofParams::new(64, 64, 1, 1).unwrap();
        assert_eq!((small.depth(), small.leaves()), (4, 16));
        assert_eq!(small.position(1, 0), (4, 0));
        assert_eq!(small.position(15, 255), (63, 63));
        let full = ProofParams::new(32_768, 32_768, 1, 256).unwrap();
        assert_eq!((full.depth(), full.leaves()), (22, 1 << 22));
        assert_eq!(full.position(128, 3), (1, 3));
        assert_eq!(full.position(full.leaves() - 1, 255), (32_767, 32_767));
    }
}
