//! Public randomness for challenges, and the cache of memory proofs that belongs to it.
//!
//! The beacon is made of the newest finalised block (its height and hash) whose number is a multiple of
//! [`BEACON_BLOCKS`](basilica_verification::asked::BEACON_BLOCKS), so that one cache serves every node for an hour. A cache takes
//! a core for seconds (256 MiB) and is made off the async threads, by one task, while the others wait for it; two
//! sizes at most are held: that of cards, and the small one of simulated devices. While the chain cannot be read the last
//! beacon goes on: the validator's nonce, not the beacon, is what makes a challenge fresh.

use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{Chain, ChainError};
use basilica_proof::residency::Cache;
use basilica_runtime_service::ErrorChain;
use basilica_types::BlockNumber;
use basilica_verification::Break;
use basilica_verification::asked::beacon_block;
use basilica_verification::fleet::Beacon;
use tokio::sync::Mutex;
use tracing::{debug, info};

/// Where a challenge's public randomness comes from.
#[async_trait]
pub trait BeaconSource: Send + Sync {
    /// The beacon of now, and its cache if one of this size is needed.
    async fn draw(&self, cache_log2: Option<u8>) -> Result<Drawn, Break>;
}

/// The beacon and its caches. The lock is held while a cache is made: whoever comes meanwhile needs the same.
#[derive(Debug, Default)]
pub struct Beacons(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    block: BlockNumber,
    beacon: [u8; 32],
    caches: Vec<(u8, Arc<Cache>)>,
}

/// What a challenge is made with.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Known to everybody once its block is final, and to nobody before.
    pub beacon: [u8; 32],
    /// The memory proof's cache, if one was asked for.
    pub cache: Option<Arc<Cache>>,
}

impl Beacons {
    /// The beacon of this chain now, and its cache if one of this size is needed.
    ///
    /// # Errors
    /// If the chain cannot be read and no beacon is held yet.
    pub async fn draw(&self, chain: &dyn Chain, cache_log2: Option<u8>) -> Result<Drawn, Break> {
        let known = self.0.lock().await.as_ref().map(|held| held.block);
        // Without the lock: an endpoint that answers slowly is waited for by each check on its own, not by all in a row.
        let newest = newest(chain, known).await;
        let mut held = self.0.lock().await;
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
}

/// The newest beacon, if it is another than that of block `held`.
async fn newest(chain: &dyn Chain, held: Option<BlockNumber>) -> Result<Option<Beacon>, ChainError> {
    let height = beacon_block(chain.head().await?);
    if held == Some(height) {
        return Ok(None);
    }
    Ok(Some(Beacon { height, hash: chain.block_hash(height).await? }))
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
