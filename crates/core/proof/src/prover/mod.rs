//! The prover's side: per device a chain of committed rounds, then walks through memory, then the openings. What a
//! device is made of hides behind [`Backend`]; the CPU one is here, a GPU one joins it without touching the protocol.
//!
//! [`DeviceProver`] makes the messages of one device, [`Run`] keeps the digest that is signed. Threads and streams are
//! the caller's: all devices work at once, and what they make is sent in the order in which it comes.

mod cpu;
mod meetings;
mod memory;
mod tracing;
mod walks;

use std::sync::Arc;

use basilica_types::Digest;

pub use cpu::{Block, CpuBackend, ExactProduct, Product};
pub use meetings::{Meetings, go_alone};
pub use memory::{Memory, Ram, Resident, first_items};
pub use tracing::Tracing;

use crate::PROTOCOL_VERSION;
use crate::challenge::Challenge;
use crate::merkle::Leaf;
use crate::opening::{self, CellQuery, Query, StepQuery};
use crate::params::ProofParams;
use crate::residency::{Cache, Region, ResidencyParams, Space, Walk, segment_tree};
use crate::run::RunDigest;
use crate::seed::Seed;
use crate::signature::RunKey;
use crate::wire::{Accept, LaneState, Message, Opening, RefusalCode, Root, SegmentRoot, WalkOpening, frame};

/// One device that can do rounds, hold memory, walk through it, and open what it committed.
pub trait Backend {
    /// Computes the product under `seed` and commits it. Calls come in round order; the backend keeps what it
    /// needs to open any of them, which is trees and seeds, not products (RULES R13).
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError>;

    /// Recomputes a leaf of an earlier round and gives its path.
    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError>;

    /// Makes the items of a region resident in its space, beside those of earlier spaces.
    fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError>;

    /// Walks through a region that is filled: `on_root` takes the root of every step in order, and says how to go on. At a
    /// barrier it returns when all devices are there. Keeps nothing.
    fn walk(&mut self, walk: &Walk, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError>;

    /// Walks again and keeps what opens `picks`; the answers are in their order. Memory is bounded by the picks: two
    /// trees for each step among them.
    fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError>;
}

/// How a walk goes on after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// With the same key.
    Go,
    /// With this key: the step was the last of its segment.
    Rekey([u8; 32]),
    /// Not at all: nobody waits for it any more.
    Stop,
}

impl<B: Backend + ?Sized> Backend for Box<B> {
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError> {
        (**self).commit(seed, params)
    }

    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError> {
        (**self).open(round, leaf)
    }

    fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError> {
        (**self).fill(region, cache)
    }

    fn walk(&mut self, walk: &Walk, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError> {
        (**self).walk(walk, on_root)
    }

    fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
        (**self).trace(walk, picks)
    }
}

/// A step of a lane that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    /// Step, from 0.
    pub step: u32,
    /// Lane, from 0.
    pub lane: u32,
}

/// What opens a [`Pick`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The state after the step before, with its path to that step's root; nothing for step 0.
    pub before: Option<LaneState>,
    /// The state after the step, likewise.
    pub after: LaneState,
}

/// Why a device could not do its part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The work does not fit.
    #[error("matrix side {side} or inner dimension {inner} exceeds this backend's {limit}")]
    TooLarge {
        /// Side asked for.
        side: u32,
        /// Inner dimension asked for.
        inner: u32,
        /// Largest of either.
        limit: u32,
    },
    /// The memory asked for is not there.
    #[error("{asked} bytes of {space} memory are asked for, and there are {available}")]
    Memory {
        /// The space.
        space: Space,
        /// Bytes asked for.
        asked: u64,
        /// Bytes that this backend can fill.
        available: u64,
    },
    /// A leaf or round that was never committed.
    #[error("leaf {leaf} of round {round} was not committed")]
    NotCommitted {
        /// Round.
        round: u32,
        /// Leaf.
        leaf: u32,
    },
    /// A walk through memory that was never filled.
    #[error("the {0} memory was not filled")]
    NotFilled(Space),
    /// The device, its driver or its memory failed.
    #[error("{0}")]
    Device(String),
}

impl BackendError {
    /// How the validator is told.
    pub const fn refusal(&self) -> RefusalCode {
        match self {
            Self::TooLarge { .. } => RefusalCode::TooLarge,
            // What is asked follows from the device's size: whoever has the rest of it is what is in the way.
            Self::Memory { .. } => RefusalCode::Busy,
            Self::NotCommitted { .. } | Self::NotFilled(_) | Self::Device(_) => RefusalCode::Device,
        }
    }
}

/// One challenged device: its chain of seeds and roots, and its walks.
#[derive(Debug)]
pub struct DeviceProver<B> {
    position: u16,
    params: ProofParams,
    residency: Vec<ResidencyParams>,
    first: Seed,
    seed: Seed,
    round: u32,
    walks: Vec<Committed>,
    backend: B,
}

/// A walk that was taken, with the roots of all its steps.
#[derive(Debug)]
struct Committed {
    walk: Walk,
    steps: Vec<Digest>,
}

impl<B: Backend> DeviceProver<B> {
    /// One prover per device of the challenge, from the start nonce on; `backend` gives the device at a position.
    pub fn all<E>(
        challenge: &Challenge,
        start: &[u8; 32],
        mut backend: impl FnMut(u16) -> Result<B, E>,
    ) -> Result<Vec<Self>, E> {
        (0u16..)
            .zip(challenge.devices())
            .map(|(position, device)| {
                let first = Seed::first(challenge.binding(), device, start);
                Ok(Self {
                    position,
                    params: device.params,
                    residency: device.residency.clone(),
                    first,
                    seed: first,
                    round: 0,
                    walks: Vec::new(),
                    backend: backend(position)?,
                })
            })
            .collect()
    }

    /// Does the next round and returns its framed root; nothing when all are done.
    pub fn next_root(&mut self) -> Result<Option<Vec<u8>>, BackendError> {
        if self.round == self.params.rounds() {
            return Ok(None);
        }
        let root = self.backend.commit(&self.seed, &self.params)?;
        let message = Message::Root(Root { device: self.position, round: self.round, root });
        self.round += 1;
        self.seed = self.seed.next(self.round, &root);
        Ok(Some(frame(&message.encode())))
    }

    fn region(&self, space: Space) -> Option<Region> {
        let params = self.residency.iter().find(|params| params.space() == space)?;
        Some(Region::new(&self.first, *params))
    }

    /// Fills all memory that it is asked for; the framed message that says so, nothing if none is asked for.
    pub fn fill(&mut self, cache: &Arc<Cache>) -> Result<Option<Vec<u8>>, BackendError> {
        if self.residency.is_empty() {
            return Ok(None);
        }
        for params in &self.residency {
            self.backend.fill(&Region::new(&self.first, *params), cache)?;
        }
        Ok(Some(frame(&Message::Filled(self.position).encode())))
    }

    /// Walks from a nonce through the memory that it was asked for in a space, if any. `send` takes the framed roots of the segments in
    /// order and stops the walk by `false`; `meet` takes the device's position, the barrier's number (from 1) and the
    /// root of the segment that ends there, waits for the other devices, and gives the [`meeting`](crate::residency::meeting) of all, or nothing to stop.
    pub fn walk(
        &mut self,
        space: Space,
        nonce: &[u8; 32],
        mut send: impl FnMut(Vec<u8>) -> bool,
        mut meet: impl FnMut(u16, u32, Digest) -> Option<Digest>,
    ) -> Result<(), BackendError> {
        let Some(region) = self.region(space) else { return Ok(()) };
        let mut walk = Walk::new(region, nonce);
        let (begun, device) = (walk.clone(), self.position);
        let mut steps = Vec::new();
        self.backend.walk(&begun, &mut |root| {
            steps.push(root);
            let Some((segment, root)) = ended(&walk, &steps) else { return Advance::Go };
            if !send(frame(&Message::SegmentRoot(SegmentRoot { device, segment, root }).encode())) {
                return Advance::Stop;
            }
            if segment + 1 == region.params().walk().segments() {
                return Advance::Go;
            }
            meet(device, segment + 1, root)
                .map_or(Advance::Stop, |meeting| Advance::Rekey(walk.pass(&meeting)))
        })?;
        self.walks.push(Committed { walk, steps });
        // The order of the queries, which is not that of the walks.
        self.walks.sort_by_key(|committed| committed.walk.region().params().space());
        Ok(())
    }

    /// Answers this device's share of the queries: framed openings in the order asked.
    pub fn open(&mut self, queries: &[Query]) -> Result<Vec<Vec<u8>>, BackendError> {
        let mut messages = Vec::new();
        for query in queries {
            if let Query::Cell(CellQuery { device, round, leaf, .. }) = *query
                && device == self.position
            {
                let (cells, siblings) = self.backend.open(round, leaf)?;
                messages.push(Message::Opening(Opening { device, round, leaf, cells, siblings }));
            }
        }
        for Committed { walk, steps } in &self.walks {
            let space = walk.region().params().space();
            let pick = |query: &Query| match *query {
                Query::Step(StepQuery { device, space: asked, step, lane })
                    if (device, asked) == (self.position, space) =>
                {
                    Some(Pick { step, lane })
                }
                _ => None,
            };
            let picks: Vec<Pick> = queries.iter().filter_map(pick).collect();
            let traced = self.backend.trace(walk, &picks)?;
            let device = self.position;
            for (Pick { step, lane }, Traced { before, after }) in picks.iter().copied().zip(traced) {
                let before =
                    before.zip(step.checked_sub(1)).map(|(state, step)| in_segment(walk, steps, step, state));
                let before = before.transpose()?;
                let after = in_segment(walk, steps, step, after)?;
                let opening = WalkOpening { device, space, step, lane, before, after };
                messages.push(Message::WalkOpening(opening));
            }
        }
        Ok(messages.iter().map(|message| frame(&message.encode())).collect())
    }
}

/// The segment that the last of these steps ends, and its root.
fn ended(walk: &Walk, steps: &[Digest]) -> Option<(u32, Digest)> {
    let shape = walk.region().params().walk();
    let step = u32::try_from(steps.len()).ok()?.checked_sub(1).filter(|step| shape.ends_segment(*step))?;
    let segment = shape.segment(step);
    let roots = steps[shape.segment_start(segment) as usize..].to_vec();
    Some((segment, segment_tree(shape, roots).root()))
}

/// A state with its path to the root of its step, led on to the root of the step's segment.
fn in_segment(
    walk: &Walk,
    steps: &[Digest],
    step: u32,
    mut state: LaneState,
) -> Result<LaneState, BackendError> {
    let shape = walk.region().params().walk();
    let segment = shape.segment(step);
    let [first, end] = [segment, segment + 1].map(|segment| shape.segment_start(segment));
    let roots = steps.get(first as usize..end as usize).map(<[Digest]>::to_vec);
    let path = roots.and_then(|roots| segment_tree(shape, roots).siblings(step - first));
    let path = path.ok_or_else(|| BackendError::Device(format!("step {step} was not walked")))?;
    state.siblings.extend(path);
    Ok(state)
}

/// The prover's record of one run: its key, and the digest that is signed at its end.
#[derive(Debug)]
pub struct Run {
    key: RunKey,
    challenge: Digest,
    digest: RunDigest,
}

impl Run {
    /// The run of a challenge under a fresh key.
    pub fn new(challenge: &Challenge, key: RunKey) -> Self {
        Self { key, challenge: challenge.digest(), digest: RunDigest::new(challenge) }
    }

    /// The framed acceptance, to be sent, and given to [`Run::sent`], before anything else.
    pub fn accept(&self) -> Vec<u8> {
        let accept = Accept { version: PROTOCOL_VERSION, challenge: self.challenge, key: self.key.public() };
        frame(&Message::Accept(accept).encode())
    }

    /// Bytes were sent; in the order of sending.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.digest.sent(bytes);
    }

    /// An echo's nonce came: the framed answer, which is to be sent.
    pub fn on_echo(&mut self, nonce: &[u8; 32]) -> Vec<u8> {
        self.digest.nonce(nonce);
        frame(&Message::Echoed(*nonce).encode())
    }

    /// The start nonce or a walk's came.
    pub fn on_nonce(&mut self, nonce: &[u8; 32]) {
        self.digest.nonce(nonce);
    }

    /// The opening nonce came: what is asked.
    pub fn on_opening_nonce(&mut self, challenge: &Challenge, nonce: &[u8; 32]) -> Vec<Query> {
        let queries = opening::queries(challenge, &self.digest.digest(), nonce);
        self.digest.nonce(nonce);
        queries
    }

    /// The framed signature over everything sent, the run's last message.
    pub fn signature(&self) -> Vec<u8> {
        frame(&Message::Signature(self.key.sign(&self.digest.digest())).encode())
    }
}
