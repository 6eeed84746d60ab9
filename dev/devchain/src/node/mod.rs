//! The running chain: what requests read and blocks change, behind one lock that is held only for look-ups.
//!
//! Blocks are built without that lock on a snapshot of the state. Everything that moves the chain ([`produce`],
//! [`controls`]) holds the writer's lock meanwhile, so what it built still fits when it takes the other lock. A step is
//! on disk before it is visible, and the news of it are sent in the order in which it becomes visible.

pub mod controls;
pub mod mine;
pub mod produce;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast, mpsc, watch};

use crate::chain::{Chain, KnownBlock, StateUnavailable};
use crate::clock::ChainClock;
use crate::executor::{self, CallError, Refusal, State};
use crate::faults::{Faults, Kind, Late};
use crate::persist::Store;
use crate::pool::{Pool, PoolRefusal, Pooled, Status};
use crate::runtime::{AccountId, Hash, Nonce, RuntimeCall, UncheckedExtrinsic};
use crate::upgrade;
use controls::Snapshots;
use mine::Mining;
use produce::ProduceError;

/// Blocks a subscriber may be behind before it skips to newer ones.
const HEADS_BEHIND: usize = 64;
/// Metadata answers kept ready; there are three versions, a few ways to ask, and upgrades.
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

/// A new block.
#[derive(Debug, Clone)]
pub struct News {
    /// The block.
    pub block: Arc<KnownBlock>,
    /// Whether it is the best one; blocks inside of a new branch are not.
    pub best: bool,
}

/// How a chain behaves from outside of its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// When blocks are made.
    pub mining: Mining,
    /// Milliseconds that a block made on demand takes by the chain's clock.
    pub block_time_ms: u64,
    /// Blocks that the best one is ahead of the final one.
    pub finality_lag: u32,
    /// Where the chance of faults begins.
    pub fault_seed: u64,
}

/// A metadata answer: the upgrades of its state, the method, its arguments, the answer.
type MetadataAnswer = (Option<Vec<u8>>, String, Vec<u8>, Vec<u8>);

#[derive(Debug)]
struct Inner {
    chain: Chain,
    pool: Pool,
    finalized: u32,
    metadata: VecDeque<MetadataAnswer>,
}

/// What only one at a time may use.
#[derive(Debug)]
struct Writer {
    store: Option<Store>,
    clock: ChainClock,
    last_timestamp_ms: u64,
    snapshots: Snapshots,
}

/// The running chain.
#[derive(Debug)]
pub struct Node {
    inner: Mutex<Inner>,
    writer: Mutex<Writer>,
    heads: broadcast::Sender<News>,
    finality: watch::Sender<Hash>,
    mining: watch::Sender<Mining>,
    /// Something was submitted.
    submitted: Notify,
    /// The chain cannot go on, and why.
    failure: Mutex<Option<ProduceError>>,
    failed: Notify,
    /// What goes wrong on order.
    pub faults: Faults,
    rules: Rules,
}

impl Node {
    /// A node on a chain, which it keeps in the store if there is one.
    #[must_use]
    pub fn new(chain: Chain, store: Option<Store>, rules: Rules) -> Self {
        let last_timestamp_ms = executor::timestamp_of(&chain.best_state());
        let mut clock = ChainClock::default();
        if last_timestamp_ms > clock.now_ms() {
            // The chain was put forward before it was stopped; its time goes on from there.
            clock.set(last_timestamp_ms);
        }
        let finalized = match &store {
            // What is on disk already, since clients will be told it.
            Some(store) => store.finalized(),
            None => chain.best().header.number.saturating_sub(rules.finality_lag),
        };
        let final_hash = chain.hash_of(finalized).unwrap_or_else(|| chain.genesis());
        let inner = Inner { chain, pool: Pool::default(), finalized, metadata: VecDeque::new() };
        let writer = Writer { store, clock, last_timestamp_ms, snapshots: Snapshots::default() };
        Self {
            inner: Mutex::new(inner),
            writer: Mutex::new(writer),
            heads: broadcast::channel(HEADS_BEHIND).0,
            finality: watch::channel(final_hash).0,
            mining: watch::channel(rules.mining).0,
            submitted: Notify::new(),
            failure: Mutex::new(None),
            failed: Notify::new(),
            faults: Faults::new(rules.fault_seed),
            rules,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock is left half done by a panic: every step replaces whole values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // As above; a step that is on disk but not visible is read again after a restart.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The best block, and the news of blocks after it in order.
    #[must_use]
    pub fn follow(&self) -> (Arc<KnownBlock>, broadcast::Receiver<News>) {
        // News are sent under this lock, so none is missed and none comes twice.
        let inner = self.lock();
        (Arc::clone(inner.chain.best()), self.heads.subscribe())
    }

    /// The hash of the last final block, now and as it changes.
    #[must_use]
    pub fn follow_finality(&self) -> watch::Receiver<Hash> {
        self.finality.subscribe()
    }

    /// The best block.
    #[must_use]
    pub fn best(&self) -> Arc<KnownBlock> {
        Arc::clone(self.lock().chain.best())
    }

    /// The number and hash of the last final block.
    #[must_use]
    pub fn finalized(&self) -> (u32, Hash) {
        let inner = self.lock();
        let hash = inner.chain.hash_of(inner.finalized).unwrap_or_else(|| inner.chain.genesis());
        (inner.finalized, hash)
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
        let upgrades = state.get(upgrade::KEY).cloned();
        let known = self
            .lock()
            .metadata
            .iter()
            .find(|known| (&known.0, known.1.as_str(), known.2.as_slice()) == (&upgrades, method, arguments))
            .map(|known| known.3.clone());
        if let Some(answer) = known {
            return Ok(answer);
        }
        let answer = executor::call(state, method, arguments)?;
        let mut inner = self.lock();
        inner.metadata.push_back((upgrades, method.to_owned(), arguments.to_vec(), answer.clone()));
        if inner.metadata.len() > METADATA_ANSWERS {
            inner.metadata.pop_front();
        }
        Ok(answer)
    }

    /// Takes an extrinsic into the pool.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn submit(&self, bytes: Vec<u8>, watcher: Option<mpsc::Sender<Status>>) -> Result<Hash, SubmitError> {
        let (state, best) = {
            let inner = self.lock();
            (inner.chain.best_state(), Arc::clone(inner.chain.best()))
        };
        let extrinsic = executor::extrinsic(&state, &bytes).map_err(Refusal::Undecodable)?;
        if let Some(code) = self.refused_class(&extrinsic.function, Late::Never) {
            use sp_runtime::transaction_validity::InvalidTransaction;
            return Err(Refusal::Invalid(InvalidTransaction::Custom(code).into()).into());
        }
        let hash = executor::extrinsic_hash(&bytes);
        let (pooled, nonce) = checked(&state, &best, extrinsic, bytes, watcher)?;
        self.lock().pool.add(pooled, nonce)?;
        self.submitted.notify_one();
        Ok(hash)
    }

    /// The code by which a fault turns this call away at this point, if one does.
    fn refused_class(&self, function: &RuntimeCall, point: Late) -> Option<u8> {
        use frame_support::traits::GetCallMetadata as _;
        let metadata = function.get_call_metadata();
        self.faults.strike(|kind| match kind {
            Kind::RefuseExtrinsic { pallet, call, code, late } => (pallet == metadata.pallet_name
                && *late == point
                && call.as_ref().is_none_or(|call| call == metadata.function_name))
            .then_some(*code),
            _ => None,
        })
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

    /// Takes extrinsics out of the pool; the hashes of those that were there.
    #[must_use]
    pub fn remove(&self, hashes: &[Hash]) -> Vec<Hash> {
        let mut removed = Vec::new();
        self.lock().pool.drop_where(|pooled| {
            let leaves = hashes.contains(&pooled.hash);
            if leaves {
                removed.push(pooled.hash);
            }
            leaves
        });
        removed
    }
}

/// Checks an extrinsic on a state and makes it ready for the pool; also its account's nonce by that state.
fn checked(
    state: &State,
    best: &KnownBlock,
    extrinsic: UncheckedExtrinsic,
    bytes: Vec<u8>,
    watcher: Option<mpsc::Sender<Status>>,
) -> Result<(Pooled, Nonce), Refusal> {
    let signer = executor::signer_of(&extrinsic)?;
    let valid = executor::validate(state, extrinsic, best.hash)?;
    let nonce = executor::nonce_of(state, &signer.account);
    let valid_until = u64::from(best.header.number).saturating_add(valid.longevity);
    let hash = executor::extrinsic_hash(&bytes);
    Ok((Pooled { hash, bytes, signer, priority: valid.priority, valid_until, watcher }, nonce))
}
