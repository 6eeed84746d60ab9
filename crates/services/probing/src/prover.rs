//! The prover as the validator holds it: its bytes and both of its hashes.

use std::fmt;
use std::sync::Arc;

use basilica_types::Digest;
use sha2::Digest as _;

/// The file that is uploaded to nodes (RULES R17).
#[derive(Clone)]
pub struct ProverFile {
    bytes: Arc<[u8]>,
    name: Digest,
    checksum: Digest,
}

impl ProverFile {
    /// Hashes the file's bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        let name = Digest::from_bytes(*blake3::hash(&bytes).as_bytes());
        let checksum = Digest::from_bytes(sha2::Sha256::digest(&bytes).into());
        Self { bytes: bytes.into(), name, checksum }
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// BLAKE3: what is published, what the file is called on a node, and what the prover itself checks.
    pub const fn name(&self) -> Digest {
        self.name
    }

    /// SHA-256: what any node can check with the tools that it has.
    pub const fn checksum(&self) -> Digest {
        self.checksum
    }
}

impl fmt::Debug for ProverFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProverFile({}, {} bytes)", self.name, self.bytes.len())
    }
}
