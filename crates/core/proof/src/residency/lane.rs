//! What a walk commits to: a lane's state is a leaf of its step's tree, under a key of its own, and a step's root a leaf of its
//! segment's tree. One root for a segment, because one for every step of eight cards would be megabytes within seconds.

use std::sync::LazyLock;

use basilica_types::Digest;

use super::block::{Block, to_bytes};
use super::params::WalkParams;
use crate::merkle::Tree;

static LANE_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| *blake3::hash(b"basilica-proof/v2/lane").as_bytes());

/// The key that states are hashed under, for backends with a hash of their own.
pub fn lane_key() -> &'static [u8; 32] {
    &LANE_KEY
}

/// The leaf of a lane: one compression. Nodes above it are those of [`crate::merkle`].
pub fn lane_hash(state: &Block) -> Digest {
    Digest::from_bytes(*blake3::keyed_hash(&LANE_KEY, &to_bytes(state)).as_bytes())
}

/// The tree over the roots of a segment's steps, in order. Segments may differ by a step; what they lack to the power of two that all
/// of them have is zeros, which no opening can ask for.
///
/// # Panics
/// If there are more roots than a segment of such a walk has steps.
pub fn segment_tree(walk: &WalkParams, mut roots: Vec<Digest>) -> Tree {
    let leaves = 1 << walk.segment_depth();
    assert!(roots.len() <= leaves, "{} steps in a segment of at most {leaves}", roots.len());
    roots.resize(leaves, Digest::from_bytes([0; 32]));
    Tree::new(roots)
}
