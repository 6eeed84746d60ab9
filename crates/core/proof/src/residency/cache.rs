//! The cache that items are made from: one per beacon, for all nodes and validators.
//!
//! A block depends on the one before it and, in two further passes, on one elsewhere that its own old value names
//! (as Ethash's cache by RandMemoHash): it is made in order, on one core, in about two seconds for 256 MiB, and it
//! has to be held whole. It belongs to the beacon alone, so that a validator builds it once for all nodes of an epoch.

use super::block::{BLOCK_BYTES, Block, compress, key_words};
use crate::challenge::Challenge;
use crate::seed::Fields;

const TAG: &[u8] = b"basilica-proof/v2/cache";
const PASSES: u64 = 2;

/// Smallest cache: 64 KiB.
pub const CACHE_LOG2_MIN: u8 = 10;
/// Largest: 512 MiB, which also bounds what a hostile transcript can make its reader build.
pub const CACHE_LOG2_MAX: u8 = 23;
/// 256 MiB, above the second-level cache of any GPU of its time (RULES R15).
pub const CACHE_LOG2_DEFAULT: u8 = 22;

/// Blocks that every item is made from. Memory: 64 bytes per block.
pub struct Cache {
    beacon: [u8; 32],
    log2: u8,
    blocks: Vec<Block>,
}

impl Cache {
    /// Makes the cache of 2^`log2` blocks of a beacon. Sequential: about two seconds for 256 MiB.
    ///
    /// # Panics
    /// If `log2` is out of bounds; no [`Challenge`] has such a one.
    pub fn new(beacon: [u8; 32], log2: u8) -> Self {
        assert!((CACHE_LOG2_MIN..=CACHE_LOG2_MAX).contains(&log2), "a cache of 2^{log2} blocks");
        let mut fields = Fields::new(TAG);
        fields.add(&beacon);
        fields.add(&[log2]);
        let key = key_words(fields.hash().as_bytes());
        let count = 1usize << log2;
        let mut blocks = Vec::with_capacity(count);
        let mut last = compress(&key, &[0; 16], 0);
        blocks.push(last);
        for i in 1..count as u64 {
            last = compress(&key, &last, i);
            blocks.push(last);
        }
        for pass in 1..=PASSES {
            for i in 0..count {
                let elsewhere = blocks[blocks[i][0] as usize & (count - 1)];
                let mixed = std::array::from_fn(|word| last[word] ^ elsewhere[word]);
                last = compress(&key, &mixed, pass * count as u64 + i as u64);
                blocks[i] = last;
            }
        }
        Self { beacon, log2, blocks }
    }

    /// The cache that a challenge needs, if it asks for memory.
    pub fn for_challenge(challenge: &Challenge) -> Option<Self> {
        Some(Self::new(challenge.binding().beacon, challenge.cache_log2()?))
    }

    /// Whether this is the cache that `challenge` needs.
    pub fn serves(&self, challenge: &Challenge) -> bool {
        challenge.cache_log2() == Some(self.log2) && challenge.binding().beacon == self.beacon
    }

    /// The blocks, a power of two of them.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Bytes held.
    pub const fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// The block that a word selects.
    #[inline]
    pub(super) fn pick(&self, word: u32) -> &Block {
        &self.blocks[word as usize & (self.blocks.len() - 1)]
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("log2", &self.log2).finish_non_exhaustive()
    }
}
