//! The commitment to a lane's state: a leaf of its step's tree, under a key of its own.

use std::sync::LazyLock;

use basilica_types::Digest;

use super::block::{Block, to_bytes};

static LANE_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| *blake3::hash(b"basilica-proof/v2/lane").as_bytes());

/// The key that states are hashed under, for backends with a hash of their own.
pub fn lane_key() -> &'static [u8; 32] {
    &LANE_KEY
}

/// The leaf of a lane: one compression. Nodes above it are those of [`crate::merkle`].
pub fn lane_hash(state: &Block) -> Digest {
    Digest::from_bytes(*blake3::keyed_hash(&LANE_KEY, &to_bytes(state)).as_bytes())
}
