//! Where a CPU backend holds the items of a region.

use std::fmt;

use super::BackendError;
use crate::residency::{BLOCK_BYTES, Block, Cache, Items, Region, Space};

/// Items that were filled.
pub type Resident = Box<dyn Items<Error = BackendError> + Send + Sync>;

/// Fills regions. Honest backends use [`Ram`]; the attacks of the tests and the localnet put something smaller here and must
/// be caught for it.
pub trait Memory: Send + Sync {
    /// Makes a region's items on `threads` threads (at least one) and holds them.
    fn fill(&self, region: &Region, cache: &Cache, threads: usize) -> Result<Resident, BackendError>;
}

/// The process' own memory, for the device's and the host's space alike: a CPU has no link between the two.
#[derive(Clone, Copy, Debug)]
pub struct Ram {
    /// Most bytes of one region.
    pub limit: u64,
}

impl Ram {
    /// 1 GiB: what a validator asks of a simulated device is far below.
    pub const DEFAULT: Self = Self { limit: 1 << 30 };
}

impl Memory for Ram {
    fn fill(&self, region: &Region, cache: &Cache, threads: usize) -> Result<Resident, BackendError> {
        let params = region.params();
        let (space, asked) = (params.space(), params.bytes());
        let available = if space == Space::Disk { 0 } else { self.limit };
        let count = usize::try_from(params.items()).ok().filter(|_| asked <= available);
        let count = count.ok_or(BackendError::Memory { space, asked, available })?;
        Ok(Box::new(Held(first_items(region, cache, count, threads))))
    }
}

/// The first `count` items of a region (at least one), made on `threads` threads (at least one).
pub fn first_items(region: &Region, cache: &Cache, count: usize, threads: usize) -> Vec<Block> {
    let mut items = vec![[0; BLOCK_BYTES / 4]; count];
    let share = count.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        for (first, items) in (0u64..).step_by(share).zip(items.chunks_mut(share)) {
            scope.spawn(move || {
                for (index, item) in (first..).zip(items) {
                    *item = region.item(cache, index);
                }
            });
        }
    });
    items
}

/// All items of a region.
struct Held(Vec<Block>);

impl Items for Held {
    type Error = BackendError;

    fn item(&self, index: u64) -> Result<Block, BackendError> {
        let item = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        item.copied().ok_or_else(|| BackendError::Device(format!("there is no item {index}")))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items", self.0.len())
    }
}
