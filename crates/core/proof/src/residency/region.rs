//! Items, and walks through them.

use basilica_types::Digest;

use super::block::{Block, compress, key_words, mix};
use super::cache::Cache;
use super::params::ResidencyParams;
use crate::seed::{Fields, Seed};
use crate::wire::Writer;

const REGION_TAG: &[u8] = b"basilica-proof/v2/residency";
const WALK_TAG: &[u8] = b"basilica-proof/v2/walk";
const NEXT_TAG: &[u8] = b"basilica-proof/v2/walk-next";
const MEETING_TAG: &[u8] = b"basilica-proof/v2/barrier";

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
///
/// Barriers cut it into segments, each with a key of its own that the roots of all devices at the barrier go into
/// ([`meeting`]): no device's walk is ahead of another's by more than a segment, so their regions have to be resident
/// at the same time. Without them one card could walk through one region after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Of each segment that has begun.
    keys: Vec<[u8; 32]>,
    region: Region,
}

/// What all devices of a node that walk through a space have in common at a barrier (from 1): the roots of the segments that end
/// there, in the order of the challenge.
pub fn meeting<'a>(barrier: u32, roots: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut fields = Fields::new(MEETING_TAG);
    fields.add(&barrier.to_le_bytes());
    roots.for_each(|root| fields.add(root.as_bytes()));
    Digest::from_bytes(*fields.hash().as_bytes())
}

impl Walk {
    /// The walk that a nonce starts.
    pub fn new(region: Region, nonce: &[u8; 32]) -> Self {
        let mut fields = Fields::new(WALK_TAG);
        fields.add(&region.key);
        fields.add(nonce);
        Self { keys: vec![*fields.hash().as_bytes()], region }
    }

    /// Passes the next barrier; the key of the segment after it.
    pub fn pass(&mut self, meeting: &Digest) -> [u8; 32] {
        let mut fields = Fields::new(NEXT_TAG);
        fields.add(self.keys.last().expect("a walk has a first key"));
        fields.add(meeting.as_bytes());
        let key = *fields.hash().as_bytes();
        self.begin(key);
        key
    }

    /// Begins the next segment with its key.
    pub fn begin(&mut self, key: [u8; 32]) {
        self.keys.push(key);
    }

    /// Segments that have begun.
    pub const fn segments(&self) -> usize {
        self.keys.len()
    }

    /// The key of the segment that a step belongs to.
    ///
    /// # Panics
    /// If the barrier before it was not passed.
    pub fn key(&self, step: u32) -> &[u8; 32] {
        &self.keys[self.region.params.walk().segment(step) as usize]
    }

    /// What it walks through.
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// The state of a lane before its first step.
    pub fn start(&self, lane: u32) -> Block {
        let mut input = [0; 16];
        input[0] = lane;
        compress(&key_words(&self.keys[0]), &input, 0)
    }

    /// Takes step `step` of lane `lane`.
    ///
    /// Key and lane go into every step, not into the first state alone. Else a prover could walk before the nonce comes, or merge
    /// all lanes of a window into one, and have one step wrong, the one at the seam.
    pub fn step<I: Items + ?Sized>(
        &self,
        items: &I,
        lane: u32,
        step: u32,
        state: &mut Block,
    ) -> Result<(), I::Error> {
        let [a, b, c, d, e, f, g, h] = key_words(self.key(step));
        mix(state, &[a, b, c, d, e, f, g, h, step, lane, 0, 0, 0, 0, 0, 0]);
        let window = self.window(lane, step);
        for _ in 0..self.region.params.walk().reads {
            let item = items.item(window.index(state))?;
            mix(state, &item);
        }
        Ok(())
    }

    /// The part of the region that a lane reads at a step.
    ///
    /// Cards read at full speed only within what their translation buffers reach (64 GB on an A100, arXiv 2405.11425), so
    /// a large region is read in windows. A lane changes its window at every step: else a card with a part of the memory
    /// would walk the lanes of one window to their end, swap, and go on with the next.
    pub fn window(&self, lane: u32, step: u32) -> Window {
        let (items, windows) = (self.region.params.items(), u64::from(self.region.params.walk().windows));
        // At most 64 windows of 2³⁴ items: nothing overflows.
        let border = |window: u64| window * items / windows;
        let window = (u64::from(lane) + u64::from(step)) % windows;
        let first = border(window);
        Window { first, items: border(window + 1) - first }
    }
}

/// A part of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first item.
    pub first: u64,
    /// How many it has.
    pub items: u64,
}

impl Window {
    /// The item that a lane's state names: its first 64 bits as a share of the window.
    pub fn index(&self, state: &Block) -> u64 {
        let [low, high, ..] = state.map(u64::from);
        let scaled = (u128::from(low | high << 32) * u128::from(self.items)) >> 64;
        self.first + u64::try_from(scaled).expect("a share of a u64")
    }
}
