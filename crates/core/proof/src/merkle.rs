//! The commitment to a round's product: a full binary tree over leaves of 256 int32.
//!
//! Leaves and nodes are hashed by BLAKE3 under two fixed keys, so neither can be passed for the other. A leaf is
//! exactly one BLAKE3 chunk (16 compressions per 256 cells), a node exactly one compression.

use std::sync::LazyLock;

use basilica_types::Digest;

use crate::params::{LEAF_BYTES, LEAF_CELLS};

static LEAF_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| *blake3::hash(b"basilica-proof/v1/leaf").as_bytes());
static NODE_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| *blake3::hash(b"basilica-proof/v1/node").as_bytes());

/// The key that leaves are hashed under, for backends with a hash of their own.
pub fn leaf_key() -> &'static [u8; 32] {
    &LEAF_KEY
}

/// The key that nodes are hashed under, likewise.
pub fn node_key() -> &'static [u8; 32] {
    &NODE_KEY
}

/// The cells of one leaf in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf(pub [i32; LEAF_CELLS]);

impl Leaf {
    /// Little-endian cells, as hashed and sent.
    pub fn to_bytes(&self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        for (slot, cell) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(&self.0) {
            *slot = cell.to_le_bytes();
        }
        bytes
    }

    /// The reverse of [`Leaf::to_bytes`].
    pub fn from_bytes(bytes: &[u8; LEAF_BYTES]) -> Self {
        let mut cells = [0; LEAF_CELLS];
        for (cell, slot) in cells.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *cell = i32::from_le_bytes(*slot);
        }
        Self(cells)
    }

    /// The leaf's hash.
    pub fn hash(&self) -> Digest {
        Digest::from_bytes(*blake3::keyed_hash(&LEAF_KEY, &self.to_bytes()).as_bytes())
    }
}

/// The hash of two children.
pub fn hash_node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(left.as_bytes());
    bytes[32..].copy_from_slice(right.as_bytes());
    Digest::from_bytes(*blake3::keyed_hash(&NODE_KEY, &bytes).as_bytes())
}

/// The root that a leaf's hash and its siblings, from the leaf upwards, lead to.
pub fn climb(leaf: Digest, index: u64, siblings: &[Digest]) -> Digest {
    siblings.iter().enumerate().fold(leaf, |below, (level, sibling)| match (index >> level) & 1 {
        0 => hash_node(&below, sibling),
        _ => hash_node(sibling, &below),
    })
}

/// A whole tree in memory: 64 bytes per leaf.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Levels from the leaves up; the last holds the root alone.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// Builds the tree over hashed leaves.
    ///
    /// # Panics
    /// If the number of leaves is no power of two; [`crate::ProofParams`] admits no other.
    pub fn new(leaves: Vec<Digest>) -> Self {
        assert!(leaves.len().is_power_of_two(), "a tree is full");
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let pairs = below.as_chunks::<2>().0;
            levels.push(pairs.iter().map(|[left, right]| hash_node(left, right)).collect());
        }
        Self { levels }
    }

    /// The root.
    pub fn root(&self) -> Digest {
        self.levels.last().and_then(|top| top.first()).copied().expect("a tree has a root")
    }

    /// The siblings of a leaf from the leaf upwards, or nothing for a leaf that does not exist.
    pub fn siblings(&self, leaf: u32) -> Option<Vec<Digest>> {
        let below_root = self.levels.split_last().map_or(&[][..], |(_, below)| below);
        below_root
            .iter()
            .enumerate()
            .map(|(level, row)| row.get((leaf as usize >> level) ^ 1).copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_climbs_to_the_root_and_no_other_does() {
        let leaves: Vec<Digest> = (0..16).map(|i| Leaf([i; LEAF_CELLS]).hash()).collect();
        let tree = Tree::new(leaves.clone());
        for (index, leaf) in (0u32..).zip(&leaves) {
            let siblings = tree.siblings(index).unwrap();
            assert_eq!(climb(*leaf, index.into(), &siblings), tree.root());
            assert_ne!(climb(*leaf, u64::from(index) ^ 1, &siblings), tree.root());
        }
        assert_eq!(tree.siblings(16), None);
    }

    #[test]
    fn a_node_cannot_be_passed_for_a_leaf() {
        let (left, right) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let plain = blake3::hash(&[[1u8; 32], [2; 32]].concat());
        assert_ne!(hash_node(&left, &right).as_bytes(), plain.as_bytes());
        assert_ne!(*LEAF_KEY, *NODE_KEY);
    }

    #[test]
    fn leaf_bytes_round_trip() {
        let leaf = Leaf(std::array::from_fn(|i| i32::MIN + i32::try_from(i).unwrap() * 8_421_504));
        assert_eq!(Leaf::from_bytes(&leaf.to_bytes()), leaf);
    }
}
