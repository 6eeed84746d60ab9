use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use basilica_schedule::{Expiry, WeightRules, WeightsCall, WeightsOrder};
use basilica_types::{
    BlockHash, BlockNumber, Coldkey, Digest, Hotkey, MechanismId, Millis, NetUid, Rao, Timestamp, Uid, Weight,
};

use crate::{BoxError, FailureClass, dispatch_advice};

/// Which chain this is. Read once per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainIdentity {
    /// Hash of block 0.
    pub genesis: BlockHash,
    /// Runtime name, such as `node-subtensor`.
    pub spec_name: String,
    /// Runtime version; for logs only, features are read from metadata (decision D2).
    pub spec_version: u32,
    /// The chain carries the development chain's marker constant (RULES R18).
    pub development: bool,
}

/// Where a neuron listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axon {
    /// Address and port as served on chain.
    pub address: SocketAddr,
}

impl Axon {
    /// Whether the chain takes the address, and whoever reads it there takes it for one. The chain refuses 127.0.0.1, ::1 and
    /// the broadcast address; it keeps an unspecified one, which says that there is none.
    pub fn has_usable_ip(&self) -> bool {
        let is_refused = match self.address.ip() {
            IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST || ip == Ipv4Addr::BROADCAST,
            IpAddr::V6(ip) => ip.is_loopback() || u128::from(ip) == u128::MAX,
        };
        !is_refused && !self.address.ip().is_unspecified()
    }
}

/// One participant of the subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neuron {
    /// Slot in the subnet.
    pub uid: Uid,
    /// Identity.
    pub hotkey: Hotkey,
    /// Its owner.
    pub coldkey: Coldkey,
    /// Stake weight as the chain reports it.
    pub stake: Rao,
    /// May set weights and be assigned nodes.
    pub validator_permit: bool,
    /// Absent until served.
    pub axon: Option<Axon>,
    /// Block of its last registration or weights.
    pub last_update: BlockNumber,
}

/// The subnet at one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metagraph {
    /// Which subnet.
    pub netuid: NetUid,
    /// At which block.
    pub block: BlockNumber,
    /// When that was, by the clock of the block's author (`Timestamp.Now`).
    pub at: Timestamp,
    /// Blocks per epoch.
    pub tempo: u16,
    /// Hotkey of the subnet's owner, where the chain tells.
    pub owner_hotkey: Option<Hotkey>,
    /// In order of uid, without gaps.
    pub neurons: Vec<Neuron>,
}

impl Metagraph {
    /// The neuron of a hotkey.
    pub fn neuron(&self, hotkey: &Hotkey) -> Option<&Neuron> {
        self.neurons.iter().find(|n| n.hotkey == *hotkey)
    }
}

/// A value with its age.
#[derive(Debug)]
pub struct Aged<T> {
    /// Shared with other callers.
    pub value: Arc<T>,
    /// Since the answer came.
    pub age: Millis,
}

/// What `serve_axon` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxonOutcome {
    /// The chain already says so: nothing was sent.
    Unchanged,
    /// Finalised in this block.
    Served(BlockNumber),
}

/// What a call leaves on the chain, by which its end can be told when its block no longer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Weights set or committed: the mechanism's `LastUpdate` of the signer becomes the call's block.
    Weights,
    /// Weights revealed: they are there, and nothing says since when.
    Reveal,
    /// Nothing to do with weights.
    Other,
}

impl From<&WeightsCall> for Effect {
    fn from(call: &WeightsCall) -> Self {
        match call {
            WeightsCall::Set { .. }
            | WeightsCall::CommitHash { .. }
            | WeightsCall::CommitTimelocked { .. } => Self::Weights,
            WeightsCall::Reveal { .. } => Self::Reveal,
        }
    }
}

/// A signed weight call, built once and submitted as often as it takes (RULES R28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedWeights {
    /// The extrinsic's bytes.
    pub extrinsic: Vec<u8>,
    /// blake2-256 of the bytes: how the chain and its explorers name it.
    pub hash: Digest,
    /// Account nonce inside.
    pub nonce: u64,
    /// For which subnet.
    pub netuid: NetUid,
    /// For which of its mechanisms.
    pub mechanism: MechanismId,
    /// What it leaves behind.
    pub effect: Effect,
    /// Signed for the chain with this first block.
    pub genesis: BlockHash,
    /// Built on this block.
    pub born: BlockNumber,
    /// Its hash, which the signature covers: a chain with another one there can never include the extrinsic.
    pub born_hash: BlockHash,
    /// After this block it can never be included.
    pub dies: BlockNumber,
}

/// What became of a prepared extrinsic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightsOutcome {
    /// Finalised and successful.
    Set {
        /// In this block.
        block: BlockNumber,
    },
    /// Finalised, but the chain refused the call; nothing was set. The nonce is used up.
    Failed {
        /// In this block.
        block: BlockNumber,
        /// The chain's name of the error, such as `SubtensorModule.SettingWeightsTooFast`.
        error: String,
    },
    /// It was not included and never can be; prepare a new one. Of a reveal ([`Effect::Reveal`]) also: its block tells no
    /// more, and whether it did its work is to be seen in the commits and weights that the chain holds.
    Expired(Expiry),
}

/// Why the chain did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answers.
    #[error("chain endpoint {endpoint} cannot be reached")]
    Unreachable {
        /// The URL tried last.
        endpoint: String,
        /// The transport's error.
        #[source]
        source: BoxError,
    },
    /// The endpoint answered too late.
    #[error("chain call {call} took longer than its deadline")]
    Deadline {
        /// What was asked.
        call: &'static str,
    },
    /// The endpoint answered with an error or with something that cannot be understood.
    #[error("chain call {call} failed")]
    Call {
        /// What was asked.
        call: &'static str,
        /// The client's error.
        #[source]
        source: BoxError,
    },
    /// The runtime lacks an item that this program needs, or has it in an unknown shape.
    #[error("the chain's runtime (spec {spec_version}) has no usable {item}")]
    Unsupported {
        /// Such as `SubtensorModule.Weights`.
        item: &'static str,
        /// For the report.
        spec_version: u32,
    },
    /// Our own check of the chain's rules says that the call would fail; nothing was sent.
    #[error("the chain would refuse this call: {rule}")]
    Preflight {
        /// The rule broken, with its numbers.
        rule: String,
        /// Whether waiting can help (rate limits, a permit at the next epoch).
        class: FailureClass,
    },
    /// The node's pool refused the extrinsic.
    #[error("the chain's pool refused the extrinsic: {reason}")]
    Pool {
        /// In words, with the code.
        reason: String,
        /// Whether waiting can help.
        class: FailureClass,
    },
    /// Included, but the call failed.
    #[error("the chain refused the call: {error}; {}", dispatch_advice(.error).action)]
    Dispatch {
        /// The chain's name of the error, such as `SubtensorModule.NotRegistered`.
        error: String,
    },
}

impl ChainError {
    /// What an operator should do about it, in words. Refusals carry their own advice in their message.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "check the chain endpoints and the network; it is tried again",
            Self::Deadline { .. } => "nothing, unless it stays: then configure a faster endpoint",
            Self::Call { .. } => "nothing, unless it stays: then read the cause in the log",
            Self::Unsupported { .. } => {
                "update this program, or use an endpoint whose chain has the item; it is taken up when an upgrade brings it"
            }
            Self::Preflight { .. } | Self::Pool { .. } => "follow the message",
            Self::Dispatch { error } => dispatch_advice(error).action,
        }
    }

    /// What a caller can do about it.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Unreachable { .. } | Self::Deadline { .. } | Self::Call { .. } => FailureClass::Transient,
            Self::Unsupported { .. } => FailureClass::Permanent,
            Self::Preflight { class, .. } | Self::Pool { class, .. } => *class,
            Self::Dispatch { error } => dispatch_advice(error).class,
        }
    }
}

/// The Bittensor chain, as far as a validator or miner needs it. Every call has a deadline of its own.
#[async_trait]
pub trait Chain: Send + Sync + 'static {
    /// Which chain this is.
    async fn identity(&self) -> Result<ChainIdentity, ChainError>;

    /// Height of the newest finalised block.
    async fn head(&self) -> Result<BlockNumber, ChainError>;

    /// The hash of a finalised block, which public randomness is made of.
    async fn block_hash(&self, number: BlockNumber) -> Result<BlockHash, ChainError>;

    /// The subnet at the newest finalised block.
    async fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, ChainError>;

    /// The subnet as it was at most `max_age` ago: from memory if it was read since, else as [`Self::metagraph`].
    async fn metagraph_within(&self, netuid: NetUid, max_age: Millis) -> Result<Aged<Metagraph>, ChainError> {
        let _ = max_age;
        Ok(Aged { value: Arc::new(self.metagraph(netuid).await?), age: Millis(0) })
    }

    /// Publishes where the own hotkey listens, unless the chain already says so.
    async fn serve_axon(&self, netuid: NetUid, axon: Axon) -> Result<AxonOutcome, ChainError>;

    /// Everything that the chain says about setting weights for the own hotkey, at the newest finalised block.
    async fn weight_rules(&self, netuid: NetUid, mechanism: MechanismId) -> Result<WeightRules, ChainError>;

    /// Checks the chain's rules and builds the extrinsic that does `order`; sends nothing.
    async fn prepare_weights(&self, order: &WeightsOrder) -> Result<PreparedWeights, ChainError>;

    /// Sees a prepared extrinsic to its end: submits it if it is not yet included, follows it to finality.
    /// Safe to call again after any interruption; never sends other bytes.
    async fn conclude_weights(&self, prepared: &PreparedWeights) -> Result<WeightsOutcome, ChainError>;

    /// The weights that a hotkey has set for a mechanism, as the chain stores them, and the finalised block that says so.
    ///
    /// The chain keeps them under a uid, which may be another's at any block: uid and weights are of the same one. None where
    /// the hotkey has no uid in that block, and with it no weights.
    async fn weights_of(
        &self,
        netuid: NetUid,
        mechanism: MechanismId,
        hotkey: &Hotkey,
    ) -> Result<(BlockNumber, Option<Vec<(Uid, Weight)>>), ChainError>;
}
