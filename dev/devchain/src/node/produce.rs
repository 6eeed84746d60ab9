//! Making blocks, and what follows from a new one: the disk, the pool, finality, the news.

use std::sync::{Arc, MutexGuard};

use super::{Inner, News, Node, Writer};
use crate::chain::{Chain, KnownBlock, StoredBlock};
use crate::executor::{self, Inclusion, Operation, Panicked, State};
use crate::faults::{Kind, Late};
use crate::persist::PersistError;
use crate::pool::PER_BLOCK;
use crate::runtime::Hash;

/// Why no block could be made.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The runtime broke.
    #[error("the runtime cannot build a block")]
    Runtime(#[from] Panicked),
    /// The block cannot be written.
    #[error("a block cannot be kept")]
    Persist(#[from] PersistError),
}

/// What a block shall be.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Extrinsics tried at most.
    pub extrinsics: usize,
    /// By how much its time is after the last block's at least; the chain's clock is put forward for it.
    pub advance_ms: Option<u64>,
    /// What happens in it besides extrinsics.
    pub operations: &'a [Operation],
}

impl Default for Order<'_> {
    fn default() -> Self {
        Self { extrinsics: PER_BLOCK, advance_ms: None, operations: &[] }
    }
}

/// A block that is built and not visible yet.
pub(super) struct Built {
    pub(super) block: StoredBlock,
    pub(super) state: Arc<State>,
    outcomes: Vec<(Hash, Inclusion)>,
}

impl Writer {
    /// The time of the next block.
    fn timestamp(&mut self, advance_ms: Option<u64>) -> u64 {
        let now = self.clock.now_ms();
        let earliest = self.last_timestamp_ms.saturating_add(advance_ms.unwrap_or(1).max(1));
        if advance_ms.is_some() && earliest > now {
            self.clock.set(earliest);
        }
        self.last_timestamp_ms = now.max(earliest);
        self.last_timestamp_ms
    }

    pub(super) fn snapshot_if_due(&mut self, node: &Node) -> Result<(), PersistError> {
        match &mut self.store {
            Some(store) if store.snapshot_due() => {
                let (chain, finalized) = node.chain_and_finality();
                store.snapshot(&chain, finalized)
            }
            _ => Ok(()),
        }
    }
}

impl Node {
    /// Makes the next block, keeps it and tells everyone.
    ///
    /// # Errors
    /// No block could be made; without operations in it the chain cannot go on.
    pub fn produce(&self, order: Order<'_>) -> Result<Arc<KnownBlock>, ProduceError> {
        self.produce_as(&mut self.writer(), order).map(|(block, _)| block)
    }

    /// As [`Self::produce`], also with how many extrinsics left the pool.
    pub(super) fn produce_as(
        &self,
        writer: &mut Writer,
        order: Order<'_>,
    ) -> Result<(Arc<KnownBlock>, usize), ProduceError> {
        let (chain_state, parent, candidates) = {
            let mut inner = self.lock();
            self.drop_refused(&mut inner);
            let state = inner.chain.best_state();
            let candidates =
                inner.pool.candidates(order.extrinsics, |account| executor::nonce_of(&state, account));
            let best = inner.chain.best();
            ((state), (best.hash, best.header.number), candidates)
        };
        let built =
            build(&chain_state, parent, writer.timestamp(order.advance_ms), candidates, order.operations)?;
        let finalized = self.finality_at(built.block.header.number);
        if let Some(store) = &mut writer.store {
            store.append(&built.block, finalized)?;
        }
        let mut inner = self.lock();
        let known = inner.chain.push_with(built.block, built.state);
        let left = inner.pool.settle(&built.outcomes, known.hash, known.header.number);
        self.announce(&inner, &known, true);
        self.advance_finality(inner, finalized);
        writer.snapshot_if_due(self)?;
        Ok((known, left))
    }

    /// Lets a fault take extrinsics out of the pool that were accepted.
    fn drop_refused(&self, inner: &mut Inner) {
        let late =
            self.faults.list_has(|kind| matches!(kind, Kind::RefuseExtrinsic { late: Late::Dropped, .. }));
        if !late {
            return;
        }
        let state = inner.chain.best_state();
        inner.pool.drop_where(|pooled| {
            executor::extrinsic(&state, &pooled.bytes)
                .is_ok_and(|extrinsic| self.refused_class(&extrinsic.function, Late::Dropped).is_some())
        });
    }

    /// Tells the news of a block; to be called under the lock that made it visible.
    pub(super) fn announce(&self, _inner: &Inner, block: &Arc<KnownBlock>, best: bool) {
        // Nobody listening is fine.
        let _ = self.heads.send(News { block: Arc::clone(block), best });
    }

    /// The last final block once this one is the best: what the lag allows, unless a fault holds it up. To be asked once for
    /// each step and before it is on disk, since a fault counts and who was told of finality must find it after a restart.
    pub(super) fn finality_at(&self, best: u32) -> u32 {
        let known = self.lock().finalized;
        let target = best.saturating_sub(self.rules.finality_lag);
        if target <= known
            || self.faults.strike(|kind| matches!(kind, Kind::StallFinality {}).then_some(())).is_some()
        {
            return known;
        }
        target
    }

    /// Makes final what [`Self::finality_at`] said.
    pub(super) fn advance_finality(&self, mut inner: MutexGuard<'_, Inner>, finalized: u32) {
        if finalized > inner.finalized {
            self.finalize(&mut inner, finalized);
        }
    }

    pub(super) fn finalize(&self, inner: &mut Inner, number: u32) {
        inner.finalized = number;
        inner.pool.finalize(number);
        self.finality.send_replace(inner.chain.hash_of(number).unwrap_or_else(|| inner.chain.genesis()));
    }

    /// The chain as it is.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.lock().chain.clone()
    }

    /// The chain as it is, and its last final block.
    pub(super) fn chain_and_finality(&self) -> (Chain, u32) {
        let inner = self.lock();
        (inner.chain.clone(), inner.finalized)
    }

    /// Hands what is kept to the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&self) -> Result<(), PersistError> {
        match &mut self.writer().store {
            Some(store) => store.sync(),
            None => Ok(()),
        }
    }
}

/// Builds a block on a state.
fn build(
    state: &State,
    parent: (Hash, u32),
    timestamp_ms: u64,
    candidates: Vec<(Hash, Vec<u8>)>,
    operations: &[Operation],
) -> Result<Built, ProduceError> {
    let (hashes, bytes): (Vec<Hash>, Vec<Vec<u8>>) = candidates.into_iter().unzip();
    let built = executor::build_block_with(state, parent, timestamp_ms, &bytes, operations)?;
    if !operations.is_empty() {
        // What was set may break the runtime only in the block after, and then nothing would help.
        let hash = executor::hash_of(&built.header);
        let next = timestamp_ms.saturating_add(1);
        executor::build_block(&built.state, (hash, built.header.number), next, &[])?;
    }
    let changes = executor::changes(state, &built.state);
    let block = StoredBlock { header: built.header, extrinsics: built.extrinsics, changes };
    Ok(Built {
        block,
        state: Arc::new(built.state),
        outcomes: hashes.into_iter().zip(built.inclusions).collect(),
    })
}

/// A block of a branch: as the chain knows it, as it is stored, and what became of its candidates.
type Branched = (Arc<KnownBlock>, StoredBlock, Vec<(Hash, Inclusion)>);

/// A branch that replaces the end of a chain: so many blocks more, the first with the candidates.
pub(super) fn branch(
    writer: &mut Writer,
    chain: &mut Chain,
    blocks: u32,
    mut candidates: Vec<(Hash, Vec<u8>)>,
) -> Result<Vec<Branched>, ProduceError> {
    let mut made = Vec::new();
    for _ in 0..blocks {
        let parent = (chain.best().hash, chain.best().header.number);
        let state = chain.best_state();
        let built = build(&state, parent, writer.timestamp(None), std::mem::take(&mut candidates), &[])?;
        let known = chain.push_with(built.block.clone(), built.state);
        made.push((known, built.block, built.outcomes));
    }
    Ok(made)
}
