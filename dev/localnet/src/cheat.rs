//! The ways in which a localnet's dishonest owners cheat, and the reason that each must meet.

use serde::{Deserialize, Serialize};

/// One way to cheat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cheat {
    /// Guesses three tenths of the work.
    SkipWork,
    /// Holds half of the memory that it claims.
    InflateVram,
    /// Registers one GPU as two nodes, of both miners.
    ShareGpu,
    /// Works once and sends the recording from then on.
    Replay,
    /// Calls a card by a dearer one's name.
    FakeModel,
}

impl Cheat {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::SkipWork, Self::InflateVram, Self::ShareGpu, Self::Replay, Self::FakeModel];

    /// The name in `--cheaters`, in JSON, and of the tampered prover's `--as`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SkipWork => "skip-work",
            Self::InflateVram => "inflate-vram",
            Self::ShareGpu => "share-gpu",
            Self::Replay => "replay",
            Self::FakeModel => "fake-model",
        }
    }

    /// What the owner does, for the progress line.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::SkipWork => "its prover skips work",
            Self::InflateVram => "its gpu has half of the memory",
            Self::ShareGpu => "its gpu is registered twice",
            Self::Replay => "its prover replays its first answer",
            Self::FakeModel => "its gpu is called a dearer one",
        }
    }

    /// The reason's code with which a validator must refuse it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::SkipWork => "proof_opening_mismatch",
            Self::InflateVram => "proof_walk_mismatch",
            Self::ShareGpu => "gpu_claimed_elsewhere",
            Self::Replay => "proof_challenge_mismatch",
            Self::FakeModel => "gpu_claims_contradict_class",
        }
    }

    /// How many nodes it takes.
    pub(crate) const fn nodes(self) -> usize {
        match self {
            Self::ShareGpu => 2,
            Self::SkipWork | Self::InflateVram | Self::Replay | Self::FakeModel => 1,
        }
    }

    /// The simulated card behind the node.
    pub(crate) const fn card(self) -> &'static str {
        match self {
            Self::FakeModel => "simulated-A100",
            Self::SkipWork | Self::InflateVram | Self::ShareGpu | Self::Replay => "simulated-H100",
        }
    }

    /// Whether its owner runs another prover; one who registers a card twice runs the honest one.
    pub(crate) const fn tampers(self) -> bool {
        !matches!(self, Self::ShareGpu)
    }
}
