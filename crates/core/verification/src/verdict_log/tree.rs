//! Merkle trees of any number of leaves (RFC 9162, 2.1): the left side of a node is the largest full tree that leaves something for
//! the right side.

use std::sync::LazyLock;

use basilica_types::Digest;

static LEAF: LazyLock<[u8; 32]> = LazyLock::new(|| *blake3::hash(b"basilica-verdict-log/v1/leaf").as_bytes());
static NODE: LazyLock<[u8; 32]> = LazyLock::new(|| *blake3::hash(b"basilica-verdict-log/v1/node").as_bytes());

/// The hash of a leaf.
pub(super) fn leaf(content: &Digest) -> Digest {
    Digest::from_bytes(*blake3::keyed_hash(&LEAF, content.as_bytes()).as_bytes())
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(left.as_bytes());
    bytes[32..].copy_from_slice(right.as_bytes());
    Digest::from_bytes(*blake3::keyed_hash(&NODE, &bytes).as_bytes())
}

/// The right edge of a tree that grows: roots of its full subtrees, the largest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontier {
    count: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Adds a hash, which may be a full subtree's if all before it are such of the same size.
    pub(super) fn push(&mut self, hash: Digest) {
        let mut grown = hash;
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                grown = node(&left, &grown);
            }
        }
        self.peaks.push(grown);
        self.count += 1;
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Of nothing: the hash of no bytes under the nodes' key, which no node has.
    pub(super) fn root(&self) -> Digest {
        let rightmost_first = self.peaks.iter().rev().copied();
        let root = rightmost_first.reduce(|right, left| node(&left, &right));
        root.unwrap_or_else(|| Digest::from_bytes(*blake3::keyed_hash(&NODE, &[]).as_bytes()))
    }
}

/// The root over hashes.
pub(super) fn root(hashes: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    for hash in hashes {
        frontier.push(*hash);
    }
    frontier.root()
}

/// What is hashed with a leaf on its way to the root, from the leaf on. Linear in the number of hashes.
pub(super) fn path(hashes: &[Digest], index: usize) -> Vec<Digest> {
    let (mut path, mut rest, mut index) = (Vec::new(), hashes, index);
    while rest.len() > 1 {
        let (left, right) = rest.split_at(rest.len().next_power_of_two() / 2);
        if index < left.len() {
            path.push(root(right));
            rest = left;
        } else {
            path.push(root(left));
            index -= left.len();
            rest = right;
        }
    }
    path.reverse();
    path
}

/// Whether a path leads from a leaf's hash at `index` to the root of a tree of `count` leaves (RFC 9162, 2.1.3.2).
pub(super) fn leads(leaf: Digest, index: u64, count: u64, path: &[Digest], root: Digest) -> bool {
    if index >= count {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, count - 1, leaf);
    for beside in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            hash = node(beside, &hash);
            while at.is_multiple_of(2) && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root
}
