use std::fmt;

use basilica_types::{Digest, MechanismId, NetUid, Uid, Weight};
use zeroize::Zeroizing;

/// One weight call, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsOrder {
    /// On which subnet.
    pub netuid: NetUid,
    /// For which of its mechanisms.
    pub mechanism: MechanismId,
    /// What is asked.
    pub call: WeightsCall,
}

/// What a weight call asks the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightsCall {
    /// Set now, in the open: subnets without commit-reveal.
    Set {
        /// In order of uid, no uid twice.
        weights: Vec<(Uid, Weight)>,
        /// At least the subnet's `WeightsVersionKey`.
        version_key: u64,
    },
    /// Say only the hash now; the reveal is a call of our own in a later epoch.
    CommitHash {
        /// blake2-256 of the committed tuple.
        hash: Digest,
    },
    /// Show what was committed by its hash.
    Reveal {
        /// As committed.
        weights: Vec<(Uid, Weight)>,
        /// As committed.
        salt: Salt,
        /// As committed.
        version_key: u64,
    },
    /// Say it now to nobody: the chain opens it by itself once the beacon has signed the round.
    CommitTimelocked {
        /// The timelocked payload, at most 5,000 bytes.
        ciphertext: Vec<u8>,
        /// The beacon's round that opens it.
        reveal_round: u64,
        /// Must equal the chain's `CommitRevealWeightsVersion`.
        version: u16,
    },
}

impl WeightsCall {
    /// Blocks from the one it is signed on in which a block may take a timelocked commit. The shortest era that leaves the
    /// pool a few blocks after the usual lag of finality.
    pub(crate) const TIMELOCKED_ERA: u64 = 8;

    /// The mortal era to sign this with, in blocks, where calls have one of `usual`.
    ///
    /// The chain dates a timelocked commit by the block that takes it, and its round was chosen for a commit of now: one
    /// that waited into the next epoch would be public an epoch before the chain opens it.
    pub const fn era(&self, usual: u64) -> u64 {
        match self {
            Self::CommitTimelocked { .. } if usual > Self::TIMELOCKED_ERA => Self::TIMELOCKED_ERA,
            _ => usual,
        }
    }
}

/// What keeps a committed hash from being guessed: whoever has it can try vectors until one matches. Never shown before
/// the reveal, so it prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(Zeroizing<Vec<u16>>);

impl Salt {
    /// Takes the numbers.
    pub fn new(numbers: Vec<u16>) -> Self {
        Self(Zeroizing::new(numbers))
    }

    /// For hashing, revealing and storing, nothing else.
    pub fn expose(&self) -> &[u16] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}
