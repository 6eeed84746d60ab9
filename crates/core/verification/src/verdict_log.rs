//! The log of verdicts: what a validator concluded on a day, under one signed root (decision D5).
//!
//! Chains of verdicts show that nothing was taken out of one node's past, to whoever knows the newest verdict of that node. They do not
//! show that everybody is told the same. So a validator ends each UTC day with a record: how many verdicts it stored since the record
//! before, the root of the Merkle tree over their digests in the order in which they were stored, and the digest of that
//! record. Whoever holds a verdict gets the path from it to the root ([`Inclusion`]) and needs nobody to check it; whoever
//! compares records with others sees whether the validator keeps two books.
//!
//! The tree is that of RFC 9162 (2.1) with BLAKE3 under keys of its own for leaves and nodes. Trees are kept as the roots of their
//! blocks of [`BLOCK`] leaves, of which each is a subtree of it: a path then costs one block and not a day of a million verdicts.
//! Rejected: a tree over all days with consistency proofs, as certificate logs have. A day is final when it is signed, so that
//! links between days do the same with less; and light clients that follow a log's every head are not who asks here.

mod tree;

use std::fmt;
use std::str::FromStr;

use basilica_types::{Digest, NetUid, Timestamp};
use basilica_wire::{Domain, EnvelopeError, Signed};
use codec::{Decode, DecodeAll, Encode};

use self::tree::Frontier;

/// Leaves of a block.
pub const BLOCK: usize = 1024;
/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Largest [`Inclusion`] in bytes.
pub const INCLUSION_BYTES_MAX: usize = 4_096;
/// Longest path: more leaves than 2^48 no validator ever has.
const PATH_MAX: usize = 48;

/// A day in UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Day(pub u32);

impl Day {
    /// The day of a moment; of one before 1970 the first.
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.0.div_euclid(DAY).max(0)).unwrap_or(u32::MAX))
    }

    /// The day before.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// As `2026-01-31`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = Timestamp(i64::from(self.0) * DAY).rfc3339();
        f.write_str(moment.split_once('T').map_or(moment.as_str(), |(day, _)| day))
    }
}

/// A text that is not a day as it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a day such as 2026-01-31")]
pub struct DayError;

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let mut parts = text.split('-').map(|part| part.parse::<u32>().map_err(|_| DayError));
        let mut next = || parts.next().unwrap_or(Err(DayError));
        let (year, month, day) = (next()?, next()?, next()?);
        if !(1970..=9999).contains(&year) || month > 12 || day > 31 {
            return Err(DayError);
        }
        // A first guess that is never too late, and at most some days too early.
        let guess = (year - 1970) * 365 + month.saturating_sub(1) * 28 + day.saturating_sub(1);
        let found = (guess..=guess + 3_000).map(Self).find(|day| day.to_string() == text);
        found.ok_or(DayError)
    }
}

/// What a validator stored since its record before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DayRecord {
    netuid: u16,
    day: Day,
    count: u64,
    root: [u8; 32],
    previous: Option<[u8; 32]>,
}

impl Domain for DayRecord {
    const TAG: &'static str = "basilica/verdict-day/v1";
}

/// A record as its validator signed it.
pub type SignedDay = Signed<DayRecord>;

impl DayRecord {
    /// The record of a day that ended, after the one with this digest.
    pub fn new(netuid: NetUid, day: Day, tree: &DayTree, previous: Option<Digest>) -> Self {
        let previous = previous.map(|digest| *digest.as_bytes());
        Self { netuid: netuid.0, day, count: tree.count(), root: *tree.root().as_bytes(), previous }
    }

    /// On which subnet.
    pub const fn netuid(&self) -> NetUid {
        NetUid(self.netuid)
    }

    /// The day that had ended. Verdicts that were stored after it and before the record are in the record as well.
    pub const fn day(&self) -> Day {
        self.day
    }

    /// How many verdicts.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Of the tree over their digests.
    pub const fn root(&self) -> Digest {
        Digest::from_bytes(self.root)
    }

    /// Digest of the signed record before this one; none for a log's first.
    pub fn previous(&self) -> Option<Digest> {
        self.previous.map(Digest::from_bytes)
    }
}

/// The tree of a day while it grows, and what is kept of it.
#[derive(Clone, Debug, Default)]
pub struct DayTree {
    blocks: Vec<Block>,
    open: Frontier,
    first: i64,
}

/// Up to [`BLOCK`] leaves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Block {
    /// Place of its first leaf in the validator's store.
    pub first: i64,
    root: [u8; 32],
}

impl DayTree {
    /// Adds the next verdict, which stands at this place of the store.
    pub fn push(&mut self, place: i64, verdict: &Digest) {
        if self.open.count() == 0 {
            self.first = place;
        }
        self.open.push(tree::leaf(verdict));
        if self.open.count() == BLOCK as u64 {
            let root = *self.open.root().as_bytes();
            self.blocks.push(Block { first: self.first, root });
            self.open = Frontier::default();
        }
    }

    /// Leaves so far.
    pub fn count(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK as u64 + self.open.count()
    }

    /// The blocks, of which only the last may have fewer leaves than [`BLOCK`].
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = self.blocks.clone();
        if self.open.count() > 0 {
            blocks.push(Block { first: self.first, root: *self.open.root().as_bytes() });
        }
        blocks
    }

    /// The root of all.
    pub fn root(&self) -> Digest {
        let mut frontier = Frontier::default();
        for block in self.blocks() {
            frontier.push(Digest::from_bytes(block.root));
        }
        frontier.root()
    }
}

/// That a verdict is in a day's record: its place and the path to the root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Inclusion {
    day: SignedDay,
    index: u64,
    path: Vec<[u8; 32]>,
}

/// Why a verdict is not shown to be in a record.
#[derive(Debug, thiserror::Error)]
pub enum NotIncluded {
    /// The bytes are no inclusion.
    #[error("decode the inclusion")]
    Decode(#[source] codec::Error),
    /// More than one has.
    #[error("the inclusion is larger than any is")]
    TooLarge,
    /// The day's record is not signed.
    #[error("the day's record")]
    Day(#[from] EnvelopeError),
    /// The path does not lead from this verdict to the root.
    #[error("the path does not lead from this verdict to the root of {day}")]
    Path {
        /// Of which record.
        day: Day,
    },
}

impl Inclusion {
    /// The path of one verdict of a day: the `leaf`th of block `block`, whose verdicts are `leaves`. None where these are not the
    /// block's, or there is no such leaf: old verdicts are removed at some time, and paths through their blocks with them.
    pub fn new(
        day: SignedDay,
        blocks: &[Block],
        block: usize,
        leaves: &[Digest],
        leaf: usize,
    ) -> Option<Self> {
        let hashes: Vec<Digest> = leaves.iter().map(tree::leaf).collect();
        let roots: Vec<Digest> = blocks.iter().map(|block| Digest::from_bytes(block.root)).collect();
        if leaf >= hashes.len() || *roots.get(block)? != tree::root(&hashes) {
            return None;
        }
        let mut path = tree::path(&hashes, leaf);
        path.extend(tree::path(&roots, block));
        let index = (block * BLOCK + leaf) as u64;
        Some(Self { day, index, path: path.iter().map(|hash| *hash.as_bytes()).collect() })
    }

    /// Reads a stranger's bytes; whether they show anything says [`Inclusion::verify`].
    ///
    /// # Errors
    /// If they are none.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, NotIncluded> {
        if bytes.len() > INCLUSION_BYTES_MAX {
            return Err(NotIncluded::TooLarge);
        }
        let read = Self::decode_all(&mut &bytes[..]).map_err(NotIncluded::Decode)?;
        if read.path.len() > PATH_MAX { Err(NotIncluded::TooLarge) } else { Ok(read) }
    }

    /// The day's record, if it is signed and the verdict with this digest is in it.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn verify(&self, verdict: &Digest) -> Result<&SignedDay, NotIncluded> {
        self.day.verify()?;
        let record = self.day.content();
        let path: Vec<Digest> = self.path.iter().copied().map(Digest::from_bytes).collect();
        if tree::leads(tree::leaf(verdict), self.index, record.count, &path, record.root()) {
            Ok(&self.day)
        } else {
            Err(NotIncluded::Path { day: record.day })
        }
    }

    /// The verdict's place among those of the day, from 0.
    pub const fn index(&self) -> u64 {
        self.index
    }
}

#[cfg(test)]
mod tests;
