//! What a developer does to the chain from outside: blocks on demand, time, snapshots, reorganisations, storage, upgrades.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::produce::{self, Order, ProduceError};
use super::{Node, Writer};
use crate::chain::{Chain, KnownBlock};
use crate::clock::ChainClock;
use crate::executor::{self, Operation};
use crate::faults::{FaultError, Kind, SpecError};
use crate::pool::{PER_BLOCK, Status};
use crate::runtime::Hash;
use crate::upgrade::{self, Change, UpgradeError};

/// Snapshots at a time.
pub const MAX_SNAPSHOTS: usize = 16;
/// Blocks of one order.
pub const MAX_BLOCKS: u32 = 10_000;
/// The last millisecond of the year 9999, in milliseconds since 1970. A clock at the end of its numbers could not go on.
pub const MAX_TIME_MS: u64 = 253_402_300_799_999;

/// Why a control does not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No blocks, or too many at once.
    #[error("one call makes 1 to {MAX_BLOCKS} blocks, not {0}")]
    BlockCount(u32),
    /// A block would have the time of the one before.
    #[error("advance_ms must be at least 1: each block is later than the one before")]
    NoAdvance,
    /// Nothing to replace.
    #[error("a reorganisation replaces at least 1 block")]
    NoDepth,
    /// Time would go back.
    #[error(
        "the time {asked} is not after the best block's, {last}; blocks never go back in time (restore a snapshot)"
    )]
    TimeBack {
        /// Milliseconds since 1970.
        asked: u64,
        /// Milliseconds since 1970.
        last: u64,
    },
    /// Time would go on where nothing can be after it.
    #[error("the chain's time ends with the year 9999, at {MAX_TIME_MS} ms; {asked} is later")]
    TimeOver {
        /// Milliseconds since 1970.
        asked: u64,
    },
    /// Fewer blocks are unfinalised.
    #[error(
        "{asked} blocks cannot be replaced: {unfinalised} are not final; \
         start with --finality-lag, or stall finality with dev_fault"
    )]
    TooDeep {
        /// How many were to be.
        asked: u32,
        /// How many can be.
        unfinalised: u32,
    },
    /// A bound is reached.
    #[error("there are {MAX_SNAPSHOTS} snapshots already; drop some with dev_dropSnapshot")]
    TooManySnapshots,
    /// No snapshot has this number.
    #[error("there is no snapshot {0}")]
    UnknownSnapshot(u32),
    /// The upgrade does not fit.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The runtime cannot live with what was set.
    #[error("the runtime breaks with this in its storage; nothing was changed")]
    Breaks,
    /// The chain cannot go on.
    #[error("the chain cannot go on and is stopping")]
    Stopping,
}

/// What becomes of the extrinsics in replaced blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extrinsics {
    /// They go back to the pool, and may be in the new branch.
    Pool,
    /// They are gone.
    Drop,
}

/// The chain at some time, to go back to.
#[derive(Debug, Clone)]
struct Snapshot {
    chain: Chain,
    finalized: u32,
    clock: ChainClock,
}

/// All snapshots.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    taken: BTreeMap<u32, Snapshot>,
    last: u32,
}

fn in_time(asked: u64) -> Result<u64, ControlError> {
    if asked > MAX_TIME_MS { Err(ControlError::TimeOver { asked }) } else { Ok(asked) }
}

impl Node {
    /// Ends the chain if an order without operations failed, which no later one would survive.
    fn or_stop<T>(&self, outcome: Result<T, ProduceError>) -> Result<T, ControlError> {
        outcome.map_err(|error| {
            self.fail(error);
            ControlError::Stopping
        })
    }

    /// Makes so many blocks, each `advance_ms` (the block time if `None`) after the one before by the chain's clock. The
    /// last one.
    ///
    /// # Errors
    /// None or too many, or the chain cannot go on.
    pub fn new_blocks(&self, count: u32, advance_ms: Option<u64>) -> Result<Arc<KnownBlock>, ControlError> {
        if !(1..=MAX_BLOCKS).contains(&count) {
            return Err(ControlError::BlockCount(count));
        }
        if advance_ms == Some(0) {
            return Err(ControlError::NoAdvance);
        }
        let advance_ms = advance_ms.unwrap_or(self.rules.block_time_ms);
        in_time(self.now_ms().saturating_add(advance_ms.saturating_mul(count.into())))?;
        let advance_ms = Some(advance_ms);
        for _ in 0..count {
            let mut writer = self.writer();
            self.or_stop(self.produce_as(&mut writer, Order { advance_ms, ..Order::default() }))?;
            self.or_stop(self.reorganise_by_fault(&mut writer))?;
        }
        Ok(self.best())
    }

    /// The chain's time in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.writer().clock.now_ms()
    }

    /// Sets the chain's clock; the next block has this time or a later one. What it shows now.
    ///
    /// # Errors
    /// The best block is later.
    pub fn set_time(&self, now_ms: u64) -> Result<u64, ControlError> {
        let mut writer = self.writer();
        let last = executor::timestamp_of(&self.lock().chain.best_state());
        if now_ms <= last {
            return Err(ControlError::TimeBack { asked: now_ms, last });
        }
        in_time(now_ms)?;
        writer.clock.set(now_ms);
        Ok(writer.clock.now_ms())
    }

    /// Puts the chain's clock forward. What it shows now.
    ///
    /// # Errors
    /// It would be beyond its end.
    pub fn travel(&self, ms: u64) -> Result<u64, ControlError> {
        let mut writer = self.writer();
        let now = in_time(writer.clock.now_ms().saturating_add(ms))?;
        writer.clock.set(now);
        Ok(now)
    }

    /// Remembers the chain as it is: state, history, finality and clock. What waits in the pool is not part of it.
    ///
    /// # Errors
    /// There are too many.
    pub fn snapshot(&self) -> Result<u32, ControlError> {
        let mut writer = self.writer();
        if writer.snapshots.taken.len() >= MAX_SNAPSHOTS {
            return Err(ControlError::TooManySnapshots);
        }
        let (chain, finalized) = self.chain_and_finality();
        let clock = writer.clock;
        writer.snapshots.last += 1;
        let id = writer.snapshots.last;
        writer.snapshots.taken.insert(id, Snapshot { chain, finalized, clock });
        Ok(id)
    }

    /// Forgets a snapshot.
    ///
    /// # Errors
    /// There is none of this number.
    pub fn drop_snapshot(&self, id: u32) -> Result<(), ControlError> {
        self.writer().snapshots.taken.remove(&id).map(|_| ()).ok_or(ControlError::UnknownSnapshot(id))
    }

    /// Goes back to a snapshot, which stays. The pool is emptied.
    ///
    /// # Errors
    /// There is none of this number, or the chain cannot go on.
    pub fn restore(&self, id: u32) -> Result<Arc<KnownBlock>, ControlError> {
        let mut writer = self.writer();
        let snapshot = writer.snapshots.taken.get(&id).cloned().ok_or(ControlError::UnknownSnapshot(id))?;
        if let Some(store) = &mut writer.store {
            self.or_stop(store.snapshot(&snapshot.chain, snapshot.finalized).map_err(ProduceError::from))?;
        }
        writer.clock = snapshot.clock;
        writer.last_timestamp_ms = executor::timestamp_of(&snapshot.chain.best_state());
        let mut inner = self.lock();
        inner.pool.abandon(|number, block| snapshot.chain.hash_of(number) == Some(*block));
        inner.pool.drop_where(|_| true);
        inner.chain = snapshot.chain;
        let best = Arc::clone(inner.chain.best());
        self.announce(&inner, &best, true);
        self.finalize(&mut inner, snapshot.finalized);
        Ok(best)
    }

    /// Replaces the last `depth` blocks by `depth + 1` others.
    ///
    /// # Errors
    /// So many are not unfinalised, or the chain cannot go on.
    pub fn reorganise(&self, depth: u32, extrinsics: Extrinsics) -> Result<Arc<KnownBlock>, ControlError> {
        let mut writer = self.writer();
        let unfinalised = self.unfinalised();
        if depth == 0 {
            return Err(ControlError::NoDepth);
        }
        if depth > unfinalised {
            return Err(ControlError::TooDeep { asked: depth, unfinalised });
        }
        self.or_stop(self.reorganise_as(&mut writer, depth, extrinsics))
    }

    /// As [`Self::reorganise`], with as many blocks as are unfinalised at most; nothing where none is.
    pub(super) fn reorganise_at_most(
        &self,
        writer: &mut Writer,
        depth: u32,
        extrinsics: Extrinsics,
    ) -> Result<(), ProduceError> {
        match depth.min(self.unfinalised()) {
            0 => Ok(()),
            depth => self.reorganise_as(writer, depth, extrinsics).map(|_| ()),
        }
    }

    /// Adds a fault as `dev_fault` describes it; its number. `served` are the methods that faults can touch.
    ///
    /// # Errors
    /// It is not described well, could never strike, or there are too many.
    pub fn add_fault(&self, spec: serde_json::Value, served: &[String]) -> Result<u64, FaultError> {
        let stalls = self.faults.list_has(|kind| matches!(kind, Kind::StallFinality {}));
        let unfinalised = self.rules.finality_lag.max(self.unfinalised());
        self.faults.add_if(spec, |kind| match kind {
            Kind::Reorg { depth, .. } if *depth > unfinalised && !stalls => {
                Err(SpecError::TooDeep { depth: *depth, unfinalised })
            }
            kind => match kind.methods().and_then(|methods| methods.outside(served)) {
                Some(name) => Err(SpecError::Method(name.to_owned())),
                None => Ok(()),
            },
        })
    }

    fn unfinalised(&self) -> u32 {
        let inner = self.lock();
        let poppable = u32::try_from(inner.chain.poppable()).unwrap_or(u32::MAX);
        (inner.chain.best().header.number - inner.finalized).min(poppable)
    }

    /// The old branch stays visible until the new one is complete and longer, as with a node that hears of one.
    fn reorganise_as(
        &self,
        writer: &mut Writer,
        depth: u32,
        extrinsics: Extrinsics,
    ) -> Result<Arc<KnownBlock>, ProduceError> {
        let mut chain = self.chain();
        let mut bodies = Vec::new();
        for _ in 0..depth {
            // The caller made sure that so many can be taken off.
            bodies.extend(chain.pop());
        }
        let above = chain.best().header.number;
        let candidates = self.give_back(&chain, &bodies, above, extrinsics);
        let made = produce::branch(writer, &mut chain, depth + 1, candidates)?;
        let finalized = self.finality_at(chain.best().header.number);
        if let Some(store) = &mut writer.store {
            store.replace(depth, made.iter().map(|(_, block, _)| block.clone()).collect(), finalized)?;
        }
        let mut inner = self.lock();
        inner.chain = chain;
        let last = made.len() - 1;
        for (position, (known, _, outcomes)) in made.iter().enumerate() {
            inner.pool.settle(outcomes, known.hash, known.header.number);
            self.announce(&inner, known, position == last);
        }
        let best = Arc::clone(inner.chain.best());
        self.advance_finality(inner, finalized);
        writer.snapshot_if_due(self)?;
        Ok(best)
    }

    /// Tells the watchers of retracted blocks and gives their extrinsics back to the pool. The candidates for the branch.
    fn give_back(
        &self,
        chain: &Chain,
        retracted: &[Arc<KnownBlock>],
        above: u32,
        extrinsics: Extrinsics,
    ) -> Vec<(Hash, Vec<u8>)> {
        let (state, best) = (chain.best_state(), Arc::clone(chain.best()));
        let mut watchers = self.lock().pool.retract(above);
        // Oldest first, without the inherent that begins each body.
        let bodies = retracted.iter().rev().flat_map(|block| block.extrinsics.iter().skip(1));
        for bytes in bodies {
            let watcher = watchers.remove(&executor::extrinsic_hash(bytes));
            let returned = (extrinsics == Extrinsics::Pool)
                .then(|| executor::extrinsic(&state, bytes).ok())
                .flatten()
                .map(|decoded| super::checked(&state, &best, decoded, bytes.clone(), watcher.clone()));
            let status = match returned {
                None => Status::Dropped,
                Some(Err(_)) => Status::Invalid,
                Some(Ok((pooled, nonce))) => match self.lock().pool.add(pooled, nonce) {
                    Ok(()) => continue,
                    // What the pool does not take back is dropped like what shall be.
                    Err(_) => Status::Dropped,
                },
            };
            if let Some(watcher) = watcher {
                // A watcher that went away or does not read loses only its own news.
                let _ = watcher.try_send(status);
            }
        }
        self.lock().pool.candidates(PER_BLOCK, |account| executor::nonce_of(&state, account))
    }

    /// Makes a block in which these keys get these values, or lose theirs.
    ///
    /// # Errors
    /// The runtime breaks with them, or the chain cannot go on.
    pub fn set_storage(
        &self,
        changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<Arc<KnownBlock>, ControlError> {
        let operations: Vec<_> = changes.into_iter().map(|(key, value)| Operation::Set(key, value)).collect();
        self.operate(&operations)
    }

    /// Makes a block that puts another runtime in place.
    ///
    /// # Errors
    /// The changes do not fit the metadata, or the chain cannot go on.
    pub fn upgrade(&self, spec_versions: u32, changes: Vec<Change>) -> Result<Arc<KnownBlock>, ControlError> {
        let state = self.lock().chain.best_state();
        let fifteen = codec::Encode::encode(&15u32);
        let metadata = self
            .call(&state, "Metadata_metadata_at_version", &fifteen)
            .map_err(|_| UpgradeError::Undecodable)?;
        let upgrades = upgrade::of(&state).unwrap_or_default().and(spec_versions, changes, &metadata)?;
        self.operate(&[Operation::Upgrade(upgrades)])
    }

    fn operate(&self, operations: &[Operation]) -> Result<Arc<KnownBlock>, ControlError> {
        match self.produce(Order { operations, ..Order::default() }) {
            Err(ProduceError::Runtime(_)) => Err(ControlError::Breaks),
            outcome => self.or_stop(outcome),
        }
    }
}
