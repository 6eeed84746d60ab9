//! Holds half of the memory that it claims and guesses what would lie in the rest.

use basilica_proof::prover::{BackendError, Memory, Resident, first_items};
use basilica_proof::residency::{Block, Cache, Items, Region};

#[derive(Clone, Copy)]
pub(crate) struct Half;

impl Memory for Half {
    fn fill(&self, region: &Region, cache: &Cache, threads: usize) -> Result<Resident, BackendError> {
        let count = usize::try_from(region.params().items() / 2)
            .map_err(|_| BackendError::Device("half of the items do not fit".to_owned()))?;
        Ok(Box::new(Holding(first_items(region, cache, count, threads))))
    }
}

struct Holding(Vec<Block>);

impl Items for Holding {
    type Error = BackendError;

    /// The item if it is held; else something that looks like one, the same each time.
    fn item(&self, index: u64) -> Result<Block, BackendError> {
        let held = usize::try_from(index).ok().and_then(|index| self.0.get(index)).copied();
        Ok(held.unwrap_or_else(|| {
            let mut word = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            std::array::from_fn(|_| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                word.to_le_bytes().first_chunk().copied().map_or(0, u32::from_le_bytes)
            })
        }))
    }
}
