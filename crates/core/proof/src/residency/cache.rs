//! The cache that items are made from: one per beacon, for all nodes and validators.
//!
//! Eight columns are made side by side. A block depends on the one before it in its column and, in two further passes, on one
//! anywhere that its own old value names (as Ethash's cache by RandMemoHash): a column is made in order, and all have to be held whole.
//! Eight and not one, so that a core makes eight blocks with one stream of vector instructions and waits for eight reads at once:
//! a single chain took 7.6 s for 256 MiB where the columns take 1.1 s (docs/benchmarks.md). It belongs to the beacon alone, so that a validator builds it once for all nodes of an epoch.

use super::block::{BLOCK_BYTES, Block, compress_eight, key_words};
use crate::challenge::Challenge;
use crate::seed::Fields;

const TAG: &[u8] = b"basilica-proof/v2/cache";
/// Passes over all blocks after the first.
const PASSES: u64 = 2;
const COLUMNS: usize = 8;

/// Smallest cache: 64 KiB.
pub const CACHE_LOG2_MIN: u8 = 10;
/// 256 MiB, above the second-level cache of any GPU of its time (RULES R15).
pub const CACHE_LOG2_DEFAULT: u8 = 22;
/// Largest: no more than is asked for, because it bounds what a hostile transcript makes its reader build.
pub const CACHE_LOG2_MAX: u8 = CACHE_LOG2_DEFAULT;

/// Blocks that every item is made from. Memory: 64 bytes per block.
pub struct Cache {
    beacon: [u8; 32],
    log2: u8,
    blocks: Vec<Block>,
}

/// One pass over all columns, side by side.
fn make_pass(key: &[u32; 8], pass: u64, blocks: &mut [Block]) {
    let (count, height) = (blocks.len(), blocks.len() / COLUMNS);
    // The last block of a column is the one before its first, in every pass but the first.
    let mut last: [Block; COLUMNS] = match pass {
        0 => [[0; BLOCK_BYTES / 4]; COLUMNS],
        _ => std::array::from_fn(|column| blocks[(column + 1) * height - 1]),
    };
    for row in 0..height {
        if pass > 0 {
            let named = std::array::from_fn::<_, COLUMNS, _>(|column| {
                blocks[column * height + row][0] as usize & (count - 1)
            });
            for (last, named) in last.iter_mut().zip(named) {
                for (word, other) in last.iter_mut().zip(&blocks[named]) {
                    *word ^= other;
                }
            }
        }
        let counters = std::array::from_fn(|column| pass * count as u64 + (column * height + row) as u64);
        last = compress_eight(key, &last, &counters);
        for (column, last) in last.iter().enumerate() {
            blocks[column * height + row] = *last;
        }
    }
}

impl Cache {
    /// Makes the cache of 2^`log2` blocks of a beacon, on this thread.
    ///
    /// # Panics
    /// If `log2` is out of bounds; no [`Challenge`] has such a one.
    pub fn new(beacon: [u8; 32], log2: u8) -> Self {
        assert!((CACHE_LOG2_MIN..=CACHE_LOG2_MAX).contains(&log2), "a cache of 2^{log2} blocks");
        let mut fields = Fields::new(TAG);
        fields.add(&beacon);
        fields.add(&[log2]);
        let key = key_words(fields.hash().as_bytes());
        let mut blocks = vec![[0; BLOCK_BYTES / 4]; 1 << log2];
        for pass in 0..=PASSES {
            make_pass(&key, pass, &mut blocks);
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
