//! Items, and walks through them.

use super::block::{Block, compress, key_words, mix};
use super::cache::Cache;
use super::params::ResidencyParams;
use crate::seed::{Fields, Seed};
use crate::wire::Writer;

const REGION_TAG: &[u8] = b"basilica-proof/v2/residency";
const WALK_TAG: &[u8] = b"basilica-proof/v2/walk";

/// The items of one device in one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    key: [u8; 32],
    params: ResidencyParams,
}

impl Region {
    /// The region of the device whose first seed this is.
    pub fn new(seed: &Seed, params: ResidencyParams) -> Self {
        let mut bytes = Writer::new();
        params.write(&mut bytes);
        let mut fields = Fields::new(REGION_TAG);
        fields.add(seed.as_bytes());
        fields.add(&[params.space() as u8]);
        fields.add(&bytes.finish());
        Self { key: *fields.hash().as_bytes(), params }
    }

    /// The key that its items are made with.
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Its size and walk.
    pub const fn params(&self) -> &ResidencyParams {
        &self.params
    }

    /// Makes item `index` from the cache: `parents` reads, each of which the one before names.
    pub fn item(&self, cache: &Cache, index: u64) -> Block {
        let key = key_words(&self.key);
        let mut input = [0; 16];
        [input[0], input[1]] = halves(index);
        let mut state = compress(&key, &input, 0);
        for parent in 0..usize::from(self.params.parents()) {
            let block = cache.pick(state[parent % 16]);
            mix(&mut state, block);
        }
        compress(&key, &state, 1)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a counter")]
const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// Where the items of a region come from.
pub trait Items {
    /// Why an item cannot be had.
    type Error;

    /// The item at `index`, below the region's number of items.
    fn item(&self, index: u64) -> Result<Block, Self::Error>;
}

/// Items made anew, one by one: what a verifier reads.
#[derive(Clone, Copy, Debug)]
pub struct LightItems<'a> {
    /// The region.
    pub region: &'a Region,
    /// The beacon's cache.
    pub cache: &'a Cache,
}

impl Items for LightItems<'_> {
    type Error = std::convert::Infallible;

    fn item(&self, index: u64) -> Result<Block, Self::Error> {
        Ok(self.region.item(self.cache, index))
    }
}

/// A walk through a region from one nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    key: [u8; 32],
    region: Region,
}

impl Walk {
    /// The walk that a nonce starts.
    pub fn new(region: Region, nonce: &[u8; 32]) -> Self {
        let mut fields = Fields::new(WALK_TAG);
        fields.add(&region.key);
        fields.add(nonce);
        Self { key: *fields.hash().as_bytes(), region }
    }

    /// The key that its lanes start from.
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// What it walks through.
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// The state of a lane before its first step.
    pub fn start(&self, lane: u32) -> Block {
        let mut input = [0; 16];
        input[0] = lane;
        compress(&key_words(&self.key), &input, 0)
    }

    /// Takes step `step` of lane `lane`.
    ///
    /// The walk's key goes into every step, not into the first state alone: else a prover could walk before the nonce comes and
    /// have one step wrong, the one at the seam.
    pub fn step<I: Items + ?Sized>(
        &self,
        items: &I,
        lane: u32,
        step: u32,
        state: &mut Block,
    ) -> Result<(), I::Error> {
        let [a, b, c, d, e, f, g, h] = key_words(&self.key);
        mix(state, &[a, b, c, d, e, f, g, h, step, 0, 0, 0, 0, 0, 0, 0]);
        for _ in 0..self.region.params.walk().reads {
            let item = items.item(self.index(lane, state))?;
            mix(state, &item);
        }
        Ok(())
    }

    /// The item that a lane's state names: its first 64 bits as a share of the lane's window.
    ///
    /// Cards read at full speed only within what their translation buffers reach (64 GB on an A100, arXiv 2405.11425), so a large
    /// region is walked in windows, each by the lanes whose number has its remainder.
    pub fn index(&self, lane: u32, state: &Block) -> u64 {
        let (items, windows) = (self.region.params.items(), u64::from(self.region.params.walk().windows));
        // At most 64 windows of 2³⁴ items: nothing overflows.
        let border = |window: u64| window * items / windows;
        let window = u64::from(lane) % windows;
        let (first, end) = (border(window), border(window + 1));
        let [low, high, ..] = state.map(u64::from);
        let scaled = (u128::from(low | high << 32) * u128::from(end - first)) >> 64;
        first + u64::try_from(scaled).expect("a share of a u64")
    }
}
