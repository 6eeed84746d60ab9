//! Bounds over all probes of one process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::transfer::TRANSFERS;

/// Bytes of proof answers that are held at a time, in KiB: each may hold as many as its whole answer has, until it is stored.
const PROOF_MEMORY_KIB: u32 = 1024 * 1024;

/// Places for transfers, cores for openings and memory for answers.
#[derive(Debug)]
pub struct Room {
    pub(crate) transfers: Semaphore,
    pub(crate) checkers: Semaphore,
    memory: Arc<Semaphore>,
}

impl Default for Room {
    /// As much as one process has.
    fn default() -> Self {
        Self {
            transfers: Semaphore::new(TRANSFERS),
            checkers: Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get)),
            memory: Arc::new(Semaphore::new(PROOF_MEMORY_KIB as usize)),
        }
    }
}

impl Room {
    /// Waits until so many bytes of an answer may be held. An answer larger than the whole bound gets all of it.
    pub async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(PROOF_MEMORY_KIB);
        // Closed never; without a permit a proof would still be right.
        Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()
    }

    /// Bytes of answers that may be held beside those that are.
    pub fn left(&self) -> u64 {
        u64::try_from(self.memory.available_permits()).unwrap_or(u64::MAX).saturating_mul(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_wait_for_memory_and_the_largest_fits_alone() {
        let room = Room::default();
        let all = room.reserve(u64::MAX).await.unwrap();
        assert_eq!(room.left(), 0);
        drop(all);
        let some = room.reserve(1025).await.unwrap();
        assert_eq!(room.left(), u64::from(PROOF_MEMORY_KIB - 2) * 1024);
        drop(some);
    }
}
