//! SplitMix64 (Steele, Lea, Flood 2014): small, seedable, and good enough to choose which request fails.

#[derive(Debug, Clone)]
pub(super) struct SplitMix64 {
    state: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix64 {
    /// The stream of a number under a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self { state: seed ^ stream.wrapping_mul(GOLDEN) };
        Self { state: mixed.next() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the limit; its bias is below one in four billion.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        let scaled = (u128::from(self.next()) * u128::from(limit)) >> 64;
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }
}
