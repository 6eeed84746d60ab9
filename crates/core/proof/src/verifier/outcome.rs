//! What a verifier is given and what it says.

use std::time::Duration;

use basilica_types::Digest;

use crate::claim::DeviceClaim;
use crate::params::ProofParams;
use crate::residency::{ResidencyParams, Space};

/// Time limits, as data: the caller chooses them per class and measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the challenge to its acceptance and the last echo: drivers start and compile. Nothing can be worked out ahead in it, but
    /// hardware can be fetched.
    pub accept: Duration,
    /// From the start nonce to the last root of all devices' products.
    pub work: Duration,
    /// From there until all memory is filled.
    pub fill: Duration,
    /// From a walk's nonce to the last root of all devices' walks.
    pub walk: Duration,
    /// How much of [`Deadlines::walk`] the network and the hosts may take: the roots of the segments must come at an even pace but
    /// for so much, see [`Deadlines::pace`].
    pub walk_slack: Duration,
    /// From the opening nonce to the signature.
    pub openings: Duration,
}

impl Deadlines {
    /// No limits: for transcripts, whose times have passed.
    pub const UNLIMITED: Self = Self::all(Duration::MAX);

    /// The same limit for every stage.
    pub const fn all(limit: Duration) -> Self {
        Self { accept: limit, work: limit, fill: limit, walk: limit, walk_slack: limit, openings: limit }
    }

    /// Of each limit the tighter one.
    pub(super) fn tightest(self, other: Self) -> Self {
        Self {
            accept: self.accept.min(other.accept),
            work: self.work.min(other.work),
            fill: self.fill.min(other.fill),
            walk: self.walk.min(other.walk),
            walk_slack: self.walk_slack.min(other.walk_slack),
            openings: self.openings.min(other.openings),
        }
    }

    /// When the root of segment `segment` of `segments` must be there, from the nonce on: the slack, and the segment's share of the rest.
    ///
    /// With a deadline for the last root alone, one card could serve two nodes one after the other: fast cards walk in
    /// half of a slow card's time.
    pub fn pace(&self, segment: u32, segments: u32) -> Duration {
        match self.walk.checked_sub(self.walk_slack) {
            None | Some(Duration::ZERO) => self.walk,
            Some(even) => {
                let share = even.as_nanos() * (u128::from(segment) + 1) / u128::from(segments.max(1));
                self.walk_slack.saturating_add(Duration::from_nanos_u128(share))
            }
        }
    }
}

/// What the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read on.
    More,
    /// Draw 32 fresh random bytes and call [`Verifier::send_nonce`](super::Verifier::send_nonce).
    DrawNonce(NonceUse),
    /// The proof holds.
    Done(Outcome),
}

/// What a nonce is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceUse {
    /// A round trip, to be measured. The nonce keeps the prover from answering before it comes.
    Echo,
    /// When the work starts: from here on the seeds are known.
    Start,
    /// Where the walks through a space start.
    Walk(Space),
    /// What is opened: from here on the prover knows what it has to show.
    Openings,
}

/// A proof that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What each device proved, in the challenge's order.
    pub devices: Vec<ProvenDevice>,
    /// When each device's roots arrived, since the start nonce, by the caller's clock.
    pub rounds: Vec<Vec<Duration>>,
    /// How long all devices took to fill their memory; nothing if none was asked for.
    pub fill: Option<Duration>,
    /// From a walk's nonce to its last root, for every walk in the order of [`crate::Challenge::spaces`], then devices.
    pub walks: Vec<WalkTime>,
    /// From the opening nonce to the signature.
    pub openings: Duration,
}

/// How long a walk took, by the caller's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkTime {
    /// Position in the challenge's device list.
    pub device: u16,
    /// What was walked through.
    pub params: ResidencyParams,
    /// From the nonce to the last root.
    pub took: Duration,
}

/// The work and the memory that one device proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenDevice {
    /// The claim that was challenged.
    pub claim: DeviceClaim,
    /// The work.
    pub params: ProofParams,
    /// The memory, by space.
    pub residency: Vec<ResidencyParams>,
    /// The root of its last round, which all earlier ones lead to.
    pub last_root: Digest,
}

/// [`Verifier::send_nonce`](super::Verifier::send_nonce) was called when no nonce was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no nonce is due")]
pub struct NonceNotDue;

/// The cache given is not the challenge's: missing, needless, of another beacon or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cache is not the one that the challenge needs")]
pub struct WrongCache;
