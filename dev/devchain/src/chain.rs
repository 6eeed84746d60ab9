//! The chain's history in memory: the best state, what undoes recent blocks, recent bodies, and hashes.
//!
//! There is one branch. A reorganisation takes blocks off its end ([`Chain::pop`]) and puts others there; blocks taken
//! off stay readable by hash for a while, their states do not. Memory is bounded: [`STATES`] blocks back a state can be
//! read (by undoing changes from the best one), [`BODIES`] blocks and [`BODY_BYTES`] back headers and bodies are kept,
//! [`HASHES`] blocks back a number has its hash. What is older answers with an error that says so.
//!
//! Rejected: a tree of forks. Clients see one best chain and its retractions; a second living branch would only be
//! memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use codec::{Decode, Encode};

use crate::executor::{self, Changes, State};
use crate::runtime::{Hash, Header};

/// How many blocks back a state can be read.
pub const STATES: usize = 256;
/// How many blocks back headers and bodies are kept.
pub const BODIES: usize = 4_096;
/// How many bytes of bodies are kept; at least the best block's.
pub const BODY_BYTES: usize = 64 << 20;
/// How many bytes of undoing are kept; at least the best block's.
pub const UNDO_BYTES: usize = 64 << 20;
/// How many blocks back a number has its hash.
pub const HASHES: usize = 1 << 17;
/// Retracted blocks that stay readable by hash.
pub const STALE: usize = 256;
/// How many bytes of their bodies are kept.
pub const STALE_BYTES: usize = 16 << 20;
/// Past states that were asked for and are kept ready.
const READY_STATES: usize = 8;

/// A block as it is stored and served.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoredBlock {
    /// The header.
    pub header: Header,
    /// The body, each extrinsic with its length prefix inside.
    pub extrinsics: Vec<Vec<u8>>,
    /// What the block did to the state.
    pub changes: Changes,
}

/// A block with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBlock {
    /// The block's hash.
    pub hash: Hash,
    /// The header.
    pub header: Header,
    /// The body.
    pub extrinsics: Vec<Vec<u8>>,
}

/// Why a block's state cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateUnavailable {
    /// No kept block has this hash.
    #[error("header was not found in the database: {0:?}")]
    UnknownBlock(Hash),
    /// The block is too old.
    #[error("state already discarded for {0:?}")]
    Discarded(Hash),
}

/// The history up to the best block.
#[derive(Debug, Clone)]
pub struct Chain {
    state: Arc<State>,
    blocks: VecDeque<Arc<KnownBlock>>,
    body_bytes: usize,
    undo: VecDeque<Arc<Changes>>,
    undo_bytes: usize,
    hashes: VecDeque<Hash>,
    /// The numbers of the kept blocks.
    numbers: HashMap<Hash, u32>,
    genesis: Arc<KnownBlock>,
    ready: VecDeque<(Hash, Arc<State>)>,
    stale: VecDeque<Arc<KnownBlock>>,
}

/// All of a chain that a snapshot keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChainImage {
    /// The best state.
    pub state: Vec<(Vec<u8>, Vec<u8>)>,
    /// Recent headers and bodies, the best one last.
    pub blocks: Vec<(Header, Vec<Vec<u8>>)>,
    /// What undoes recent blocks, the best one last.
    pub undo: Vec<Changes>,
    /// Hashes of recent numbers, the best one last.
    pub hashes: Vec<Hash>,
    /// The first block's header.
    pub genesis: Header,
}

/// The header of block 0 on a state: its state root is the state's, so that every difference shows in the genesis hash.
///
/// # Panics
/// The root of a state that the runtime itself wrote cannot fail to compute.
#[must_use]
pub fn genesis_header(state: &State) -> Header {
    use sp_runtime::traits::Header as _;
    let root = executor::read(state, || sp_io::storage::root(sp_runtime::StateVersion::V1))
        .expect("a trie root exists for every state");
    Header::new(0, Default::default(), Hash::from_slice(&root), Hash::default(), Default::default())
}

fn known(header: Header, extrinsics: Vec<Vec<u8>>) -> Arc<KnownBlock> {
    Arc::new(KnownBlock { hash: executor::hash_of(&header), header, extrinsics })
}

impl KnownBlock {
    fn size(&self) -> usize {
        self.extrinsics.iter().map(Vec::len).sum()
    }
}

fn size_of_changes(changes: &Changes) -> usize {
    changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
}

impl Chain {
    /// A chain of block 0 alone.
    #[must_use]
    pub fn new(state: State) -> Self {
        let block = known(genesis_header(&state), Vec::new());
        Self {
            state: Arc::new(state),
            body_bytes: 0,
            undo: VecDeque::new(),
            undo_bytes: 0,
            hashes: VecDeque::from([block.hash]),
            numbers: HashMap::from([(block.hash, 0)]),
            genesis: Arc::clone(&block),
            blocks: VecDeque::from([block]),
            ready: VecDeque::new(),
            stale: VecDeque::new(),
        }
    }

    /// The best block.
    ///
    /// # Panics
    /// Never: a chain has at least one block.
    #[must_use]
    pub fn best(&self) -> &Arc<KnownBlock> {
        self.blocks.back().expect("a chain has at least its first block")
    }

    /// The first block's hash.
    #[must_use]
    pub fn genesis(&self) -> Hash {
        self.genesis.hash
    }

    /// The state after the best block.
    #[must_use]
    pub fn best_state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// How many blocks can be taken off the end.
    #[must_use]
    pub fn poppable(&self) -> usize {
        self.undo.len().min(self.blocks.len().saturating_sub(1))
    }

    /// The hash of a number that is not too old; block 0 always has one.
    #[must_use]
    pub fn hash_of(&self, number: u32) -> Option<Hash> {
        if number == 0 {
            return Some(self.genesis.hash);
        }
        let back = self.best().header.number.checked_sub(number)?;
        let position = self.hashes.len().checked_sub(1 + back as usize)?;
        self.hashes.get(position).copied()
    }

    /// A kept block by hash, a retracted one too; block 0 is always kept.
    #[must_use]
    pub fn block(&self, hash: &Hash) -> Option<&Arc<KnownBlock>> {
        if *hash == self.genesis.hash {
            return Some(&self.genesis);
        }
        let Some(number) = self.numbers.get(hash) else {
            return self.stale.iter().find(|block| block.hash == *hash);
        };
        let back = self.best().header.number.checked_sub(*number)?;
        let position = self.blocks.len().checked_sub(1 + back as usize)?;
        self.blocks.get(position)
    }

    /// The state after a block.
    ///
    /// # Errors
    /// The block is unknown or its state is no longer kept.
    pub fn state_at(&mut self, hash: &Hash) -> Result<Arc<State>, StateUnavailable> {
        if *hash == self.best().hash {
            return Ok(self.best_state());
        }
        if let Some((_, state)) = self.ready.iter().find(|(ready, _)| ready == hash) {
            return Ok(Arc::clone(state));
        }
        let Some(number) = self.numbers.get(hash) else {
            // Rare enough to look through all: the hash of a block whose body is gone, or of none.
            let seen = self.block(hash).is_some() || self.hashes.contains(hash);
            return Err(match seen {
                true => StateUnavailable::Discarded(*hash),
                false => StateUnavailable::UnknownBlock(*hash),
            });
        };
        let back = (self.best().header.number - number) as usize;
        if back > self.undo.len() {
            return Err(StateUnavailable::Discarded(*hash));
        }
        let mut state = State::clone(&self.state);
        for changes in self.undo.iter().rev().take(back) {
            executor::apply(&mut state, changes);
        }
        let state = Arc::new(state);
        self.ready.push_back((*hash, Arc::clone(&state)));
        if self.ready.len() > READY_STATES {
            self.ready.pop_front();
        }
        Ok(state)
    }

    /// Makes a block the best one. It must be the child of the best block.
    pub fn push(&mut self, block: StoredBlock) -> Arc<KnownBlock> {
        let mut state = State::clone(&self.state);
        executor::apply(&mut state, &block.changes);
        self.push_with(block, Arc::new(state))
    }

    /// As [`Self::push`], with the state that the block's changes lead to, for who has it already.
    pub fn push_with(&mut self, block: StoredBlock, state: Arc<State>) -> Arc<KnownBlock> {
        let undo = executor::inverse(&self.state, &block.changes);
        self.undo_bytes += size_of_changes(&undo);
        self.undo.push_back(Arc::new(undo));
        self.state = state;
        let block = known(block.header, block.extrinsics);
        self.numbers.insert(block.hash, block.header.number);
        self.hashes.push_back(block.hash);
        self.body_bytes += block.size();
        self.blocks.push_back(Arc::clone(&block));
        self.forget();
        block
    }

    /// Takes the best block off; `None` if what undoes it is not kept.
    pub fn pop(&mut self) -> Option<Arc<KnownBlock>> {
        if self.poppable() == 0 {
            return None;
        }
        let undo = self.undo.pop_back()?;
        let block = self.blocks.pop_back()?;
        self.undo_bytes -= size_of_changes(&undo);
        self.body_bytes -= block.size();
        self.hashes.pop_back();
        self.numbers.remove(&block.hash);
        self.ready.retain(|(hash, _)| *hash != block.hash);
        let mut state = State::clone(&self.state);
        executor::apply(&mut state, &undo);
        self.state = Arc::new(state);
        self.stale.push_back(Arc::clone(&block));
        let size = |stale: &VecDeque<Arc<KnownBlock>>| stale.iter().map(|block| block.size()).sum::<usize>();
        while self.stale.len() > STALE || (size(&self.stale) > STALE_BYTES && self.stale.len() > 1) {
            self.stale.pop_front();
        }
        Some(block)
    }

    fn forget(&mut self) {
        while self.undo.len() > STATES || (self.undo_bytes > UNDO_BYTES && self.undo.len() > 1) {
            if let Some(undo) = self.undo.pop_front() {
                self.undo_bytes -= size_of_changes(&undo);
            }
        }
        while self.blocks.len() > BODIES || (self.body_bytes > BODY_BYTES && self.blocks.len() > 1) {
            if let Some(block) = self.blocks.pop_front() {
                self.body_bytes -= block.size();
                self.numbers.remove(&block.hash);
            }
        }
        if self.hashes.len() > HASHES {
            self.hashes.pop_front();
        }
    }

    /// All that a restart needs.
    #[must_use]
    pub fn image(&self) -> ChainImage {
        ChainImage {
            state: self.state.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            blocks: self
                .blocks
                .iter()
                .map(|block| (block.header.clone(), block.extrinsics.clone()))
                .collect(),
            undo: self.undo.iter().map(|undo| Changes::clone(undo)).collect(),
            hashes: self.hashes.iter().copied().collect(),
            genesis: self.genesis.header.clone(),
        }
    }

    /// The chain of an image; `None` if the image has no block.
    #[must_use]
    pub fn from_image(image: ChainImage) -> Option<Self> {
        let blocks: VecDeque<_> =
            image.blocks.into_iter().map(|(header, extrinsics)| known(header, extrinsics)).collect();
        blocks.back()?;
        Some(Self {
            state: Arc::new(image.state.into_iter().collect()),
            body_bytes: blocks.iter().map(|block| block.size()).sum(),
            numbers: blocks.iter().map(|block| (block.hash, block.header.number)).collect(),
            blocks,
            undo_bytes: image.undo.iter().map(size_of_changes).sum(),
            undo: image.undo.into_iter().map(Arc::new).collect(),
            hashes: image.hashes.into(),
            genesis: known(image.genesis, Vec::new()),
            ready: VecDeque::new(),
            stale: VecDeque::new(),
        })
    }
}

#[cfg(test)]
mod tests;
