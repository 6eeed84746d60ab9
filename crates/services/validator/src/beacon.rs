//! Public randomness for challenges, and the cache of memory proofs that belongs to it.
//!
//! The beacon is made of the newest finalised block (its height and hash) whose number is a multiple of
//! [`BEACON_BLOCKS`](basilica_verification::asked::BEACON_BLOCKS), so that one cache serves every node for an hour. A cache takes
//! a core for seconds (256 MiB) and is made off the async threads, by one task, while the others wait for it; two
//! sizes at most are held: that of cards, and the small one of simulated devices. While the chain cannot be read the last
//! beacon goes on: the validator's nonce, not the beacon, is what makes a challenge fresh.

use std::sync::Arc;

use basilica_proof::residency::Cache;
use basilica_runtime_service::ErrorChain;
use basilica_types::BlockNumber;
use basilica_verification::Break;
use basilica_verification::asked::beacon_block;
use basilica_verification::fleet::Beacon;
use tokio::sync::Mutex;
use tracing::{debug, info};

use crate::shared::Shared;

/// The beacon and its caches. The lock is held while a cache is made: whoever comes meanwhile needs the same.
#[derive(Debug, Default)]
pub(crate) struct Beacons(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    block: BlockNumber,
    beacon: [u8; 32],
    caches: Vec<(u8, Arc<Cache>)>,
}

/// What a challenge is made with.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) beacon: [u8; 32],
    pub(crate) cache: Option<Arc<Cache>>,
}

impl Shared {
    /// The beacon of now, and its cache if one of this size is needed.
    pub(crate) async fn beacon(&self, cache_log2: Option<u8>) -> Result<Drawn, Break> {
        let known = self.beacons.0.lock().await.as_ref().map(|held| held.block);
        // Without the lock: an endpoint that answers slowly is waited for by each check on its own, not by all in a row.
        let newest = self.newest_beacon(known).await;
        let mut held = self.beacons.0.lock().await;
        match newest {
            Ok(Some(Beacon { height, hash })) if held.as_ref().is_none_or(|held| held.block < height) => {
                let beacon = *Beacon { height, hash }.digest().as_bytes();
                *held = Some(Held { block: height, beacon, caches: Vec::new() });
            }
            Ok(_) => {}
            Err(error) => {
                debug!(target: "validator::verification", { error = %ErrorChain(&error), held = held.is_some() }, "beacon not read");
            }
        }
        let held = held.as_mut().ok_or(Break::Internal)?;
        let cache = match cache_log2 {
            None => None,
            Some(log2) => Some(held.cache(log2).await?),
        };
        Ok(Drawn { beacon: held.beacon, cache })
    }

    /// The newest beacon, if it is another than that of block `held`.
    async fn newest_beacon(
        &self,
        held: Option<BlockNumber>,
    ) -> Result<Option<Beacon>, basilica_ports::ChainError> {
        let height = beacon_block(self.ports.chain.head().await?);
        if held == Some(height) {
            return Ok(None);
        }
        Ok(Some(Beacon { height, hash: self.ports.chain.block_hash(height).await? }))
    }
}

impl Held {
    async fn cache(&mut self, log2: u8) -> Result<Arc<Cache>, Break> {
        if let Some((_, cache)) = self.caches.iter().find(|(held, _)| *held == log2) {
            return Ok(Arc::clone(cache));
        }
        let beacon = self.beacon;
        let made = tokio::task::spawn_blocking(move || Cache::new(beacon, log2)).await;
        let cache = Arc::new(made.map_err(|_panicked| Break::Internal)?);
        info!(target: "validator::verification", { block = self.block.0, bytes = cache.bytes() }, "cache of the beacon made");
        self.caches.push((log2, Arc::clone(&cache)));
        Ok(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set_weights::tests::World;
    use basilica_verification::asked::BEACON_BLOCKS;

    #[tokio::test]
    async fn one_beacon_and_one_cache_serve_until_the_next_span_of_blocks() {
        let world = World::new();
        let shared = world.boot().await;
        let first = shared.beacon(Some(10)).await.unwrap();
        world.chain.advance();
        let again = shared.beacon(Some(10)).await.unwrap();
        assert_eq!(again.beacon, first.beacon);
        assert!(Arc::ptr_eq(again.cache.as_ref().unwrap(), first.cache.as_ref().unwrap()));
        assert!(shared.beacon(None).await.unwrap().cache.is_none());
        assert_ne!(
            shared.beacon(Some(11)).await.unwrap().cache.unwrap().bytes(),
            first.cache.unwrap().bytes()
        );
        (0..BEACON_BLOCKS).for_each(|_| world.chain.advance());
        assert_ne!(shared.beacon(None).await.unwrap().beacon, first.beacon);
    }

    #[tokio::test]
    async fn a_silent_chain_leaves_the_last_beacon_and_without_one_no_challenge_is_made() {
        let world = World::new();
        let shared = world.boot().await;
        let held = shared.beacon(None).await.unwrap();
        world.chain.fall_silent();
        assert_eq!(shared.beacon(None).await.unwrap().beacon, held.beacon);
        let started_blind = world.boot().await;
        assert!(matches!(started_blind.beacon(None).await, Err(Break::Internal)));
    }
}
