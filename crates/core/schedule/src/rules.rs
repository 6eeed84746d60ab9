use std::collections::BTreeMap;

use basilica_types::{BlockNumber, Digest, Hotkey, MechanismId, Millis, NetUid, Rao, Uid};

use crate::beacon::Beacon;

/// Everything that the chain says about setting weights for one hotkey, read at one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightRules {
    /// The newest finalised block, at which all of this was read.
    pub block: BlockNumber,
    /// Which subnet.
    pub netuid: NetUid,
    /// Which of its mechanisms.
    pub mechanism: MechanismId,
    /// Subnet and mechanism are there.
    pub mechanism_exists: bool,
    /// Neurons of the subnet.
    pub neurons: u16,
    /// Who they are: whom a weight for a uid would reach.
    pub uids: BTreeMap<Hotkey, Uid>,
    /// The own neuron; none if the hotkey is not registered.
    pub own: Option<OwnNeuron>,
    /// Least stake weight that may set weights.
    pub stake_threshold: Rao,
    /// `WeightsVersionKey`; 0 admits any.
    pub version_key: u64,
    /// `WeightsSetRateLimit`: blocks between two settings or commits.
    pub rate_limit: u64,
    /// Fewest weights of one setting.
    pub min_weights: u16,
    /// Largest share of one weight, of 65,535; that value itself means no limit.
    pub max_weight: u16,
    /// How the subnet comes to its consensus.
    pub consensus: Consensus,
    /// Weights must be committed first; none: they are set in the open.
    pub commit_reveal: Option<CommitReveal>,
    /// `RevealPeriodEpochs`: a commit is revealed exactly so many epochs after its own. Holds for what is committed already,
    /// even while `commit_reveal` is off.
    pub reveal_period: u64,
    /// Commits of this hotkey that the chain still holds, oldest first. They can outlive `commit_reveal`.
    pub open_commits: Vec<OpenCommit>,
    /// Where the subnet stands in its epochs.
    pub epochs: EpochClock,
    /// The randomness beacon that opens timelocked commits; none where the chain follows none.
    pub beacon: Option<Beacon>,
    /// Time between two blocks.
    pub block_time: Millis,
}

/// The own neuron, as far as weights go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNeuron {
    /// Its slot.
    pub uid: Uid,
    /// Stake weight as the chain reports it; none where it tells only a part of it, which no threshold is for.
    pub stake: Option<Rao>,
    /// The hotkey is the subnet owner's: excepted from the threshold and, under Yuma, from the permit.
    pub is_owner: bool,
    /// `ValidatorPermit`.
    pub permit: bool,
    /// `LastUpdate` of the mechanism: the last setting or commit, or the registration; 0 is never.
    pub last_update: BlockNumber,
}

/// How a subnet comes to its consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consensus {
    /// Stake-weighted and clipped; chains without the choice have only this.
    Yuma,
    /// Only a permit counts: owners and self-weights have no exception.
    Null,
}

/// How weights must be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitReveal {
    /// `CommitRevealWeightsVersion`; none where the chain has no such item.
    pub version: Option<u16>,
    /// The chain has the calls that commit and reveal a hash.
    pub by_hash: bool,
    /// The chain has the call that commits timelocked.
    pub timelocked: bool,
}

/// A commit that the chain still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCommit {
    /// Which.
    pub form: OpenCommitForm,
    /// The epoch it was made in, as the chain counts it now.
    pub epoch: u64,
    /// The block it was made in.
    pub block: BlockNumber,
}

/// What a held commit is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenCommitForm {
    /// The committed hash.
    Hash(Digest),
    /// A timelocked one.
    Timelocked {
        /// blake2-256 of the ciphertext.
        digest: Digest,
        /// The round that opens it.
        round: u64,
    },
}

/// Where a subnet stands in its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochClock {
    /// The chain keeps the clock in storage (since May 2026).
    Stateful {
        /// `LastEpochBlock`.
        last_epoch: BlockNumber,
        /// `PendingEpochAt`; 0: none was asked for.
        pending_at: BlockNumber,
        /// `SubnetEpochIndex`.
        index: u64,
        /// `BlocksSinceLastStep`.
        since_last_step: u64,
        /// Blocks per epoch; 0: epochs never run.
        tempo: u16,
    },
    /// An epoch ends where `(block + netuid + 1) % (tempo + 1)` is 0, on chains without the items above.
    Modular {
        /// Blocks per epoch, less one.
        tempo: u16,
    },
}
