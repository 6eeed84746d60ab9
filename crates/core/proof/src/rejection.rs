//! Why a proof was rejected: one named check per reason, with a stable code.

use std::time::Duration;

use crate::residency::Space;
use crate::wire::{DecodeError, FrameTooLarge, Kind, Refusal, RefusalCode};

/// The part of the protocol that was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the prover to accept.
    Accept,
    /// Waiting for the roots of products.
    Roots,
    /// Waiting for memory to be filled.
    Fill,
    /// Waiting for the roots of the walks' segments.
    Walk,
    /// Waiting for what was asked to be opened.
    Openings,
    /// Waiting for the run's signature.
    Signature,
}

/// What a rejection says about its cause (RULES R4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionClass {
    /// The arithmetic or the commitments are wrong: confirmed by the transcript's own bytes.
    Proof,
    /// The bytes are not the protocol's. Reproducible from the transcript too, but a login shell that prints a
    /// greeting does the same.
    Malformed,
    /// Late by the validator's clock: enters the sequential test, proves nothing alone.
    Late,
    /// The stream ended early: reachability, to be retried.
    Incomplete,
    /// The prover said that it cannot.
    Refused,
}

/// The check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The prover speaks another version.
    #[error("prover speaks protocol version {0}")]
    WrongVersion(u16),
    /// The prover accepted another challenge: a replayed or misdirected answer.
    #[error("prover answered another challenge")]
    ChallengeMismatch,
    /// A frame is longer than anything that may come at this point.
    #[error("oversized frame")]
    TooLarge(#[from] FrameTooLarge),
    /// A frame is no message.
    #[error("malformed frame")]
    Malformed(#[from] DecodeError),
    /// A message that may not come now.
    #[error("unexpected {0:?} message")]
    UnexpectedMessage(Kind),
    /// A root for a device that was not challenged.
    #[error("root for unknown device {0}")]
    UnknownDevice(u16),
    /// A root out of turn.
    #[error("device {device} sent the root of round {round} where round {expected} is due")]
    RootOrder {
        /// Position in the challenge.
        device: u16,
        /// The round sent.
        round: u32,
        /// The round due.
        expected: u32,
    },
    /// More roots than rounds.
    #[error("device {device} sent more than {rounds} roots")]
    RootCountMismatch {
        /// Position in the challenge.
        device: u16,
        /// Rounds asked.
        rounds: u32,
    },
    /// A device's memory was reported as filled again, or was not asked for.
    #[error("device {device} reports its memory as filled where that is not due")]
    FillRepeated {
        /// Position in the challenge.
        device: u16,
    },
    /// A segment's root out of turn, or one too many.
    #[error("device {device} sent the root of segment {segment} where segment {expected} is due")]
    SegmentOrder {
        /// Position in the challenge.
        device: u16,
        /// The segment sent.
        segment: u32,
        /// The segment due; the number of segments if all have come.
        expected: u32,
    },
    /// Bytes where the validator's nonce is due.
    #[error("bytes before the nonce was sent")]
    UnsolicitedBytes,
    /// Bytes after the last message.
    #[error("bytes after the last message")]
    TrailingBytes,
    /// Another leaf or step than the one asked for.
    #[error("opening {position} is not the one that was asked for")]
    OpeningOrder {
        /// Position in the list of queries.
        position: u32,
    },
    /// A leaf does not belong to the committed root.
    #[error("leaf {leaf} of round {round} on device {device} does not lead to the committed root")]
    MerklePath {
        /// Position in the challenge.
        device: u16,
        /// Round.
        round: u32,
        /// Leaf.
        leaf: u32,
    },
    /// A committed cell is not the product: work was skipped or done wrongly.
    #[error("cell ({row}, {col}) of round {round} on device {device} is not the product")]
    OpeningMismatch {
        /// Position in the challenge.
        device: u16,
        /// Round.
        round: u32,
        /// Row of the product.
        row: u32,
        /// Column of the product.
        col: u32,
    },
    /// A lane's state does not belong to the committed root of its segment.
    #[error(
        "lane {lane} at step {step} of the {space} memory on device {device} does not lead to the committed root"
    )]
    WalkPath {
        /// Position in the challenge.
        device: u16,
        /// The space.
        space: Space,
        /// The step opened.
        step: u32,
        /// The lane.
        lane: u32,
    },
    /// A step is not what the items give: the memory was not there.
    #[error("step {step} of lane {lane} is not what the {space} memory of device {device} gives")]
    WalkMismatch {
        /// Position in the challenge.
        device: u16,
        /// The space.
        space: Space,
        /// The step opened.
        step: u32,
        /// The lane.
        lane: u32,
    },
    /// The signature is not that of the key which the run began with, over this run.
    #[error("the run is not signed by the key that it began with")]
    Signature,
    /// The prover gave up.
    #[error("prover refused: {}", .0.text())]
    Refused(Refusal),
    /// The stage was not complete in time.
    #[error("{stage:?} not complete within {limit:?}")]
    DeadlineMissed {
        /// The stage.
        stage: Stage,
        /// Its limit since the start of the run or since the nonce or message that the stage began with.
        limit: Duration,
    },
    /// The stream ended early.
    #[error("stream ended during {stage:?} after {received} of {expected} messages")]
    Incomplete {
        /// The stage.
        stage: Stage,
        /// Messages received in the stage.
        received: u64,
        /// Messages that make the stage complete.
        expected: u64,
    },
}

impl Rejection {
    /// The stable reason code, as verdicts, metrics and tables show it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongVersion(_) => "proof_wrong_version",
            Self::ChallengeMismatch => "proof_challenge_mismatch",
            Self::TooLarge(_) => "proof_too_large",
            Self::Malformed(_) => "proof_malformed",
            Self::UnexpectedMessage(_) => "proof_unexpected_message",
            Self::UnknownDevice(_) => "proof_unknown_device",
            Self::RootOrder { .. } => "proof_root_order",
            Self::RootCountMismatch { .. } => "proof_root_count_mismatch",
            Self::FillRepeated { .. } => "proof_fill_repeated",
            Self::SegmentOrder { .. } => "proof_segment_order",
            Self::UnsolicitedBytes => "proof_unsolicited_bytes",
            Self::TrailingBytes => "proof_trailing_bytes",
            Self::OpeningOrder { .. } => "proof_opening_order",
            Self::MerklePath { .. } => "proof_merkle_path",
            Self::OpeningMismatch { .. } => "proof_opening_mismatch",
            Self::WalkPath { .. } => "proof_walk_path",
            Self::WalkMismatch { .. } => "proof_walk_mismatch",
            Self::Signature => "proof_signature",
            Self::Refused(refusal) if matches!(refusal.code(), RefusalCode::Busy) => "proof_busy",
            Self::Refused(_) => "proof_refused",
            Self::DeadlineMissed { .. } => "proof_deadline_missed",
            Self::Incomplete { .. } => "proof_incomplete",
        }
    }

    /// What it says about the cause.
    pub const fn class(&self) -> RejectionClass {
        match self {
            Self::ChallengeMismatch
            | Self::RootCountMismatch { .. }
            | Self::OpeningOrder { .. }
            | Self::MerklePath { .. }
            | Self::OpeningMismatch { .. }
            | Self::WalkPath { .. }
            | Self::WalkMismatch { .. }
            | Self::Signature => RejectionClass::Proof,
            Self::WrongVersion(_)
            | Self::TooLarge(_)
            | Self::Malformed(_)
            | Self::UnexpectedMessage(_)
            | Self::UnknownDevice(_)
            | Self::RootOrder { .. }
            | Self::FillRepeated { .. }
            | Self::SegmentOrder { .. }
            | Self::UnsolicitedBytes
            | Self::TrailingBytes => RejectionClass::Malformed,
            Self::Refused(_) => RejectionClass::Refused,
            Self::DeadlineMissed { .. } => RejectionClass::Late,
            Self::Incomplete { .. } => RejectionClass::Incomplete,
        }
    }
}
