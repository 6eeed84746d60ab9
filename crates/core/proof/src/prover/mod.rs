//! The prover's side: per device a chain of committed rounds, then the openings. What a device is made of hides
//! behind [`Backend`]; the CPU one is here, a GPU one joins it without touching the protocol.

mod cpu;

pub use cpu::{Block, CpuBackend, ExactProduct, Product};

use basilica_types::Digest;

use crate::PROTOCOL_VERSION;
use crate::challenge::Challenge;
use crate::merkle::Leaf;
use crate::opening;
use crate::params::ProofParams;
use crate::seed::Seed;
use crate::wire::{Accept, Message, Opening, RefusalCode, Root, frame};

/// One device that can do rounds and open what it committed.
pub trait Backend {
    /// Computes the product under `seed` and commits it. Calls come in round order; the backend keeps what it
    /// needs to open any of them, which is trees and seeds, not products (RULES R13).
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError>;

    /// Recomputes a leaf of an earlier round and gives its path.
    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError>;
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
    /// A leaf or round that was never committed.
    #[error("leaf {leaf} of round {round} was not committed")]
    NotCommitted {
        /// Round.
        round: u32,
        /// Leaf.
        leaf: u32,
    },
}

impl BackendError {
    /// How the validator is told.
    pub const fn refusal(&self) -> RefusalCode {
        match self {
            Self::TooLarge { .. } => RefusalCode::TooLarge,
            Self::NotCommitted { .. } => RefusalCode::Device,
        }
    }
}

/// One challenged device: its chain of seeds and roots.
#[derive(Debug)]
pub struct DeviceProver<B> {
    position: u16,
    params: ProofParams,
    seed: Seed,
    roots: Vec<Digest>,
    backend: B,
}

impl<B: Backend> DeviceProver<B> {
    /// One prover per device of the challenge; `backend` makes the device at a position.
    pub fn all<E>(
        challenge: &Challenge,
        mut backend: impl FnMut(u16) -> Result<B, E>,
    ) -> Result<Vec<Self>, E> {
        (0u16..)
            .zip(challenge.devices())
            .map(|(position, device)| {
                let seed = Seed::first(challenge.binding(), device);
                let backend = backend(position)?;
                Ok(Self { position, params: device.params, seed, roots: Vec::new(), backend })
            })
            .collect()
    }

    /// Does the next round and returns its framed root; nothing when all are done.
    pub fn next_root(&mut self) -> Result<Option<Vec<u8>>, BackendError> {
        let round = u32::try_from(self.roots.len()).expect("at most 4,096 rounds");
        if round == self.params.rounds() {
            return Ok(None);
        }
        let root = self.backend.commit(&self.seed, &self.params)?;
        self.roots.push(root);
        self.seed = self.seed.next(round + 1, &root);
        Ok(Some(frame(&Message::Root(Root { device: self.position, round, root }).encode())))
    }
}

/// The framed acceptance, sent before the first round.
pub fn accept(challenge: &Challenge) -> Vec<u8> {
    frame(&Message::Accept(Accept { version: PROTOCOL_VERSION, challenge: challenge.digest() }).encode())
}

/// Answers the opening nonce: the framed openings in the order asked, given one by one to `send`.
pub fn open_all<B: Backend, E: From<BackendError>>(
    challenge: &Challenge,
    devices: &mut [DeviceProver<B>],
    nonce: &[u8; 32],
    mut send: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let roots: Vec<Vec<Digest>> = devices.iter().map(|device| device.roots.clone()).collect();
    for query in opening::queries(challenge, &roots, nonce) {
        let device = &mut devices[usize::from(query.device)];
        let (cells, siblings) = device.backend.open(query.round, query.leaf)?;
        let opening = Opening { device: query.device, round: query.round, leaf: query.leaf, cells, siblings };
        send(&frame(&Message::Opening(opening).encode()))?;
    }
    Ok(())
}
