use basilica_types::{BlockNumber, Digest};

use crate::order::Salt;

/// How a window's weights reach the chain; chosen once, when the window is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowForm {
    /// One call in the open.
    Open,
    /// A hash now, the weights by a second call of our own in the reveal epoch.
    Hash {
        /// The committed hash.
        hash: Digest,
        /// Without it nothing can be revealed, so it is stored before the hash is submitted.
        salt: Salt,
    },
    /// A timelocked commit, which the chain opens by itself.
    Timelocked {
        /// blake2-256 of the ciphertext, by which the chain's entry is known again.
        digest: Digest,
        /// The round that opens it.
        round: u64,
    },
}

impl WindowForm {
    /// For storing and showing.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Hash { .. } => "hash",
            Self::Timelocked { .. } => "timelocked",
        }
    }
}

/// How far a window has come. It only ever goes forward, except that a reveal that no block took goes back to
/// [`WindowState::Committed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowState {
    /// Its first call is stored and perhaps submitted; that call's end is not known yet.
    Prepared,
    /// Its commit is final.
    Committed {
        /// In this block.
        block: BlockNumber,
    },
    /// Its reveal is stored and perhaps submitted.
    Revealing {
        /// Of the commit.
        block: BlockNumber,
    },
    /// Over.
    Ended(WindowEnd),
}

/// How a window ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowEnd {
    /// Set in the open, finally.
    Set {
        /// In this block.
        block: BlockNumber,
    },
    /// Committed and revealed, finally.
    Revealed {
        /// The commit's block.
        committed: BlockNumber,
        /// The reveal's block; for the chain's own reveals the block at which it was seen.
        block: BlockNumber,
    },
    /// A block took a call of the window and the chain refused it.
    Refused {
        /// In this block.
        block: BlockNumber,
        /// The chain's name of the error, such as `SubtensorModule.SettingWeightsTooFast`.
        error: String,
    },
    /// No block took its first call, and none can any more.
    Expired(Expiry),
    /// It was committed, and the commit will never be weights.
    Lost(Lost),
}

/// Why a signed call can never be included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Expiry {
    /// Its mortal era ended.
    #[error("no block took the call before its era ended; the next window follows at once")]
    EraOver,
    /// Another call of the same account used its nonce up.
    #[error(
        "another call of this hotkey used the nonce; run one validator per hotkey, and nothing else that signs with it"
    )]
    NonceTaken,
    /// The chain has another block where it was signed: a wiped or another chain.
    #[error("the chain is not the one that the call was signed for")]
    OtherChain,
}

impl Expiry {
    /// For storing.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EraOver => "era_over",
            Self::NonceTaken => "nonce_taken",
            Self::OtherChain => "other_chain",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::EraOver, Self::NonceTaken, Self::OtherChain].into_iter().find(|why| why.as_str() == text)
    }
}

/// Why a commit will never be weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The one epoch in which it could be revealed is over.
    #[error("the epoch of the reveal passed before a block took the reveal")]
    EpochPassed,
    /// Commit-reveal was switched off, and the chain takes reveals of hashes no more.
    #[error("commit-reveal was switched off between commit and reveal; the weights are set in the open")]
    SwitchedOff,
    /// The chain has forgotten it.
    #[error(
        "the chain no longer holds the commit, as after a new registration of the hotkey or another chain"
    )]
    Gone,
    /// On a chain that counts epochs by block height, a longer tempo lowers the count, and the reveal's epoch is far away.
    #[error("the subnet's tempo changed, and the epoch of the reveal is out of reach")]
    OutOfReach,
    /// The chain dropped a timelocked commit without taking its weights.
    #[error(
        "the chain dropped the commit unrevealed: the beacon's round came too late, or the chain's rules no longer took the weights"
    )]
    NotRevealed,
}

impl Lost {
    /// For storing.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EpochPassed => "epoch_passed",
            Self::SwitchedOff => "switched_off",
            Self::Gone => "gone",
            Self::OutOfReach => "out_of_reach",
            Self::NotRevealed => "not_revealed",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::EpochPassed, Self::SwitchedOff, Self::Gone, Self::OutOfReach, Self::NotRevealed];
        all.into_iter().find(|why| why.as_str() == text)
    }
}
