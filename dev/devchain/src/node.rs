//! The running chain: what requests read and blocks change, behind one lock that is held only for look-ups.
//!
//! Blocks are built without the lock on a snapshot of the state; only [`Node::produce`] moves the chain on, so what it
//! built still fits when it takes the lock again. A block is on disk before it is visible.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc};

use crate::chain::{Chain, KnownBlock, StateUnavailable, StoredBlock};
use crate::executor::{self, CallError, Panicked, Refusal, State};
use crate::persist::{PersistError, Store};
use crate::pool::{Pool, PoolRefusal, Pooled, Status};
use crate::runtime::{AccountId, Hash, Nonce};

/// Blocks a subscriber may be behind before it skips to newer ones.
const HEADS_BEHIND: usize = 64;
/// Metadata answers kept ready; there are three versions and a few ways to ask.
const METADATA_ANSWERS: usize = 16;

/// Why an extrinsic is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It is not valid.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is valid but the pool does not take it.
    #[error(transparent)]
    Pool(#[from] PoolRefusal),
}

/// Why no block could be made; the chain cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The runtime broke.
    #[error("the runtime cannot build a block")]
    Runtime(#[from] Panicked),
    /// The block cannot be written.
    #[error("a block cannot be kept")]
    Persist(#[from] PersistError),
}

#[derive(Debug)]
struct Inner {
    chain: Chain,
    pool: Pool,
    last_timestamp_ms: u64,
    /// The metadata answers of this process, which depend on nothing that changes.
    metadata: HashMap<(String, Vec<u8>), Vec<u8>>,
}

/// The running chain.
#[derive(Debug)]
pub struct Node {
    inner: Mutex<Inner>,
    heads: broadcast::Sender<Arc<KnownBlock>>,
}

impl Node {
    /// A node on a chain.
    #[must_use]
    pub fn new(chain: Chain) -> Self {
        let last_timestamp_ms = executor::timestamp_of(&chain.best_state());
        let inner = Inner { chain, pool: Pool::default(), last_timestamp_ms, metadata: HashMap::new() };
        Self { inner: Mutex::new(inner), heads: broadcast::channel(HEADS_BEHIND).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock is left half done by a panic: every step replaces whole values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// News of blocks from now on, in order.
    #[must_use]
    pub fn heads(&self) -> broadcast::Receiver<Arc<KnownBlock>> {
        self.heads.subscribe()
    }

    /// The best block, which is final.
    #[must_use]
    pub fn best(&self) -> Arc<KnownBlock> {
        Arc::clone(self.lock().chain.best())
    }

    /// The first block's hash.
    #[must_use]
    pub fn genesis(&self) -> Hash {
        self.lock().chain.genesis()
    }

    /// The hash of a number.
    #[must_use]
    pub fn hash_of(&self, number: u32) -> Option<Hash> {
        self.lock().chain.hash_of(number)
    }

    /// A kept block; the best one for `None`.
    #[must_use]
    pub fn block(&self, hash: Option<&Hash>) -> Option<Arc<KnownBlock>> {
        let inner = self.lock();
        match hash {
            None => Some(Arc::clone(inner.chain.best())),
            Some(hash) => inner.chain.block(hash).cloned(),
        }
    }

    /// The state after a block; after the best one for `None`.
    ///
    /// # Errors
    /// The block is unknown or too old.
    pub fn state(&self, hash: Option<&Hash>) -> Result<Arc<State>, StateUnavailable> {
        let mut inner = self.lock();
        match hash {
            None => Ok(inner.chain.best_state()),
            Some(hash) => inner.chain.state_at(hash),
        }
    }

    /// Calls a runtime API on a state.
    ///
    /// # Errors
    /// As [`executor::call`].
    pub fn call(&self, state: &State, method: &str, arguments: &[u8]) -> Result<Vec<u8>, CallError> {
        if !method.starts_with("Metadata_") {
            return executor::call(state, method, arguments);
        }
        let key = (method.to_owned(), arguments.to_vec());
        let known = self.lock().metadata.get(&key).cloned();
        if let Some(answer) = known {
            return Ok(answer);
        }
        let answer = executor::call(state, method, arguments)?;
        let mut inner = self.lock();
        if inner.metadata.len() < METADATA_ANSWERS {
            inner.metadata.insert(key, answer.clone());
        }
        Ok(answer)
    }

    /// Takes an extrinsic into the pool.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn submit(&self, bytes: Vec<u8>, watcher: Option<mpsc::Sender<Status>>) -> Result<Hash, SubmitError> {
        let signer = executor::signer_of(&bytes)?;
        let (state, best) = {
            let inner = self.lock();
            (inner.chain.best_state(), Arc::clone(inner.chain.best()))
        };
        let valid = executor::validate(&state, &bytes, best.hash)?;
        let hash = executor::extrinsic_hash(&bytes);
        let valid_until = u64::from(best.header.number).saturating_add(valid.longevity);
        let nonce = executor::nonce_of(&state, &signer.account);
        let pooled = Pooled { hash, bytes, signer, priority: valid.priority, valid_until, watcher };
        self.lock().pool.add(pooled, nonce)?;
        Ok(hash)
    }

    /// The account's next nonce, counting what waits.
    #[must_use]
    pub fn next_nonce(&self, account: &AccountId) -> Nonce {
        let inner = self.lock();
        let nonce = executor::nonce_of(&inner.chain.best_state(), account);
        inner.pool.next_nonce(account, nonce)
    }

    /// The extrinsics that wait.
    #[must_use]
    pub fn pending(&self) -> Vec<Vec<u8>> {
        self.lock().pool.pending()
    }

    /// Makes the next block, keeps it and tells everyone. Only one caller may do this at a time.
    ///
    /// # Errors
    /// The chain cannot go on.
    pub fn produce(
        &self,
        now_ms: u64,
        mut store: Option<&mut Store>,
    ) -> Result<Arc<KnownBlock>, ProduceError> {
        let (state, parent, timestamp, candidates) = {
            let mut inner = self.lock();
            let timestamp = now_ms.max(inner.last_timestamp_ms.saturating_add(1));
            inner.last_timestamp_ms = timestamp;
            let best = inner.chain.best();
            let parent = (best.hash, best.header.number);
            let state = inner.chain.best_state();
            let candidates = inner.pool.candidates(|account| executor::nonce_of(&state, account));
            (state, parent, timestamp, candidates)
        };
        let (hashes, bytes): (Vec<Hash>, Vec<Vec<u8>>) = candidates.into_iter().unzip();
        let built = executor::build_block(&state, parent, timestamp, &bytes)?;
        let changes = executor::changes(&state, &built.state);
        let block = StoredBlock { header: built.header, extrinsics: built.extrinsics, changes };
        if let Some(store) = store.as_deref_mut() {
            store.append(&block)?;
        }
        let outcomes: Vec<_> = hashes.into_iter().zip(built.inclusions).collect();
        let mut inner = self.lock();
        let known = inner.chain.push(block);
        inner.pool.settle(&outcomes, known.hash, known.header.number);
        if let Some(store) = store
            && store.snapshot_due()
        {
            store.snapshot(&inner.chain)?;
        }
        drop(inner);
        // Nobody listening is fine.
        let _ = self.heads.send(Arc::clone(&known));
        Ok(known)
    }
}
