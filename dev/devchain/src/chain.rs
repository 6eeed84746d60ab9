//! The chain's history in memory: the best state, what undoes recent blocks, recent bodies, and hashes.
//!
//! Every block is final when it is made, so there are no forks. Memory is bounded: [`STATES`] blocks back a state can be
//! read (by undoing changes from the best one), [`BODIES`] blocks back headers and bodies are kept, [`HASHES`] blocks
//! back a number has its hash. What is older answers with an error that says so.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use codec::{Decode, Encode};

use crate::executor::{self, Changes, State};
use crate::runtime::{Hash, Header};

/// How many blocks back a state can be read.
pub const STATES: usize = 256;
/// How many blocks back headers and bodies are kept.
pub const BODIES: usize = 4_096;
/// How many blocks back a number has its hash.
pub const HASHES: usize = 1 << 18;
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
#[derive(Debug)]
pub struct Chain {
    state: Arc<State>,
    blocks: VecDeque<Arc<KnownBlock>>,
    undo: VecDeque<Changes>,
    hashes: VecDeque<Hash>,
    numbers: HashMap<Hash, u32>,
    genesis: Hash,
    ready: VecDeque<(Hash, Arc<State>)>,
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
    /// The first block's hash.
    pub genesis: Hash,
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

impl Chain {
    /// A chain of block 0 alone.
    #[must_use]
    pub fn new(state: State) -> Self {
        let header = genesis_header(&state);
        let hash = executor::hash_of(&header);
        let block = Arc::new(KnownBlock { hash, header, extrinsics: Vec::new() });
        Self {
            state: Arc::new(state),
            blocks: VecDeque::from([block]),
            undo: VecDeque::new(),
            hashes: VecDeque::from([hash]),
            numbers: HashMap::from([(hash, 0)]),
            genesis: hash,
            ready: VecDeque::new(),
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
        self.genesis
    }

    /// The state after the best block.
    #[must_use]
    pub fn best_state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// The hash of a number that is not too old; block 0 always has one.
    #[must_use]
    pub fn hash_of(&self, number: u32) -> Option<Hash> {
        if number == 0 {
            return Some(self.genesis);
        }
        let back = self.best().header.number.checked_sub(number)?;
        let position = self.hashes.len().checked_sub(1 + back as usize)?;
        self.hashes.get(position).copied()
    }

    /// A kept block by hash.
    #[must_use]
    pub fn block(&self, hash: &Hash) -> Option<&Arc<KnownBlock>> {
        let number = self.numbers.get(hash)?;
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
        let number = *self.numbers.get(hash).ok_or(StateUnavailable::UnknownBlock(*hash))?;
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
        self.undo.push_back(executor::inverse(&state, &block.changes));
        executor::apply(&mut state, &block.changes);
        self.state = Arc::new(state);
        let hash = executor::hash_of(&block.header);
        self.numbers.insert(hash, block.header.number);
        self.hashes.push_back(hash);
        let known = Arc::new(KnownBlock { hash, header: block.header, extrinsics: block.extrinsics });
        self.blocks.push_back(Arc::clone(&known));
        self.forget();
        known
    }

    fn forget(&mut self) {
        if self.undo.len() > STATES {
            self.undo.pop_front();
        }
        if self.blocks.len() > BODIES {
            self.blocks.pop_front();
        }
        if self.hashes.len() > HASHES
            && let Some(hash) = self.hashes.pop_front()
            && hash != self.genesis
        {
            self.numbers.remove(&hash);
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
            undo: self.undo.iter().cloned().collect(),
            hashes: self.hashes.iter().copied().collect(),
            genesis: self.genesis,
        }
    }

    /// The chain of an image; `None` if the image has no block.
    #[must_use]
    pub fn from_image(image: ChainImage) -> Option<Self> {
        let best = image.blocks.last()?.0.number;
        let mut numbers: HashMap<Hash, u32> =
            image.hashes.iter().rev().zip((0..=best).rev()).map(|(hash, number)| (*hash, number)).collect();
        numbers.insert(image.genesis, 0);
        let known = |(header, extrinsics): (Header, Vec<Vec<u8>>)| {
            Arc::new(KnownBlock { hash: executor::hash_of(&header), header, extrinsics })
        };
        Some(Self {
            state: Arc::new(image.state.into_iter().collect()),
            blocks: image.blocks.into_iter().map(known).collect(),
            undo: image.undo.into(),
            hashes: image.hashes.into(),
            numbers,
            genesis: image.genesis,
            ready: VecDeque::new(),
        })
    }
}
