//! Tier T3: that a device holds as much memory as it claims (RULES R15).
//!
//! # What is proved
//! A [`Region`] is an array of 64-byte items that follow from a key of the device and the [`Cache`] of the beacon. One
//! item costs `parents` reads of the cache, each of which names the next, so it can be made anew, but slowly. After the
//! region is filled the validator sends a nonce, and the device makes a [`Walk`] from it: many lanes of dependent reads, each
//! of which names the next item. After every step (of several reads) the states of all lanes are committed to by a
//! Merkle root, and after every segment of steps the roots of its steps by another, which is sent at once and must come in time. Then the
//! final nonce picks steps and lanes, and the verifier makes the few items of each over again from its own cache.
//!
//! # Why it holds
//! - *Reading what is not there.* With a share m of the items missing and guessed, a step of r reads is right with
//!   probability (1 − m)^r; s opened steps all pass with (1 − m)^(r·s): below 10⁻³⁵ for 1 % at r = 16, s = 512
//!   ([`ResidencyParams::evasion`]).
//! - *Making it anew.* Each missing read costs `parents` reads of the cache, which is larger than any second-level cache:
//!   the walk takes 1 + m·(parents − 1) times as long where memory is the limit, and less for who fetches
//!   a part over a link at the same time. Deadlines tell, as finely as their margins are narrow.
//! - *Walking one lane for all.* Its number goes into every step of a lane: lanes that were made equal part again.
//! - *Walking ahead.* The nonce comes after the region is filled and goes into every step: no step can be taken
//!   before it, and none before the one before it. A seam where a lane jumps is a wrong step; skipping a share of the steps in all lanes
//!   passes with (1 − share)^picks and saves that share of the time.
//! - *Another device's memory.* The key holds the device's seed: node, host key, UUID, nonce.
//!
//! # Why a step has several reads
//! Committing to a lane's state costs two compressions, 1,600 operations. Once per read, that would make the walk wait for
//! arithmetic and not for memory; once per 16 reads it is 100. A missing item spoils its whole step, so nothing is lost.
//!
//! # What it does not prove
//! *Where* the memory is: other memory that is as fast serves as well, and a read that crosses a slower link is told by
//! the deadline only. Bandwidth: bytes read by the validator's clock are a lower bound for reads of 64 bytes at random places,
//! which is below what a device streams. Rejected: filling by a plain counter-mode stream or by products of matrices (both
//! are made anew at streaming speed), and keeping all states to open them (80 GB of memory would need as much
//! again; the prover walks once more and keeps only the steps picked).

mod block;
mod cache;
mod lane;
mod params;
mod region;

pub use block::{BLOCK_BYTES, Block, compress, from_bytes, mix, to_bytes};
pub use cache::{CACHE_LOG2_DEFAULT, CACHE_LOG2_MAX, CACHE_LOG2_MIN, Cache};
pub use lane::{lane_hash, lane_key, segment_tree};
pub use params::{
    BARRIERS_MAX, CHECK_READS_MAX, ITEMS_MAX, ITEMS_MIN, LANES_MAX, LANES_PER_PICK_MAX, PARENTS_DEFAULT,
    PARENTS_MAX, PICKS_MAX, READS_DEFAULT, READS_MAX, ResidencyError, ResidencyParams, STEPS_MAX, Space,
    WINDOWS_MAX, WalkParams,
};
pub use region::{Items, LightItems, Region, Walk, Window, meeting};
