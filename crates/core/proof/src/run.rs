//! The digest of a run as it grows: what openings are drawn from and what the prover signs.
//!
//! Both sides feed it the same bytes in the same order: everything that the prover sends, frame headers included, and
//! between them the validator's nonces. Hashing what was sent, and not what it means, leaves no second reading.

use basilica_types::Digest;

use crate::challenge::Challenge;
use crate::seed::Fields;

const TAG: &[u8] = b"basilica-proof/v2/run";

/// See the module.
#[derive(Clone, Debug)]
pub struct RunDigest {
    turns: Fields,
    turn: blake3::Hasher,
}

impl RunDigest {
    /// The run of a challenge, before the prover's first byte.
    pub fn new(challenge: &Challenge) -> Self {
        let mut turns = Fields::new(TAG);
        turns.add(challenge.digest().as_bytes());
        Self { turns, turn: blake3::Hasher::new() }
    }

    /// The prover sent bytes.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.turn.update(bytes);
    }

    /// The validator sent a nonce.
    pub fn nonce(&mut self, nonce: &[u8; 32]) {
        self.turns.add(self.turn.finalize().as_bytes());
        self.turns.add(nonce);
        self.turn.reset();
    }

    /// The digest of the run so far.
    pub fn digest(&self) -> Digest {
        let mut turns = self.turns.clone();
        turns.add(self.turn.finalize().as_bytes());
        Digest::from_bytes(*turns.hash().as_bytes())
    }
}
