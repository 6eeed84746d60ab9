use std::collections::BTreeMap;

use async_trait::async_trait;
use basilica_types::{BlockNumber, Coldkey, Digest, Hotkey, NetUid, Rao};

use crate::ChainError;

/// A subnet's settings by the chain's names for them, such as `tempo` or `weights_rate_limit`. Runtimes add and drop
/// some: what is not here, this chain does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hyperparameters(pub BTreeMap<String, Hyperparameter>);

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hyperparameter {
    /// Blocks, shares, rao: as the chain counts it.
    Number(u128),
    /// On or off.
    Flag(bool),
}

impl Hyperparameters {
    /// The number of this name.
    pub fn number(&self, name: &str) -> Option<u128> {
        match self.0.get(name) {
            Some(Hyperparameter::Number(number)) => Some(*number),
            Some(Hyperparameter::Flag(_)) | None => None,
        }
    }

    /// The flag of this name.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(Hyperparameter::Flag(flag)) => Some(*flag),
            Some(Hyperparameter::Number(_)) | None => None,
        }
    }
}

/// What a hotkey has published on a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// In this block.
    pub block: BlockNumber,
    /// In the order given.
    pub fields: Vec<CommittedField>,
}

/// One piece of a [`Commitment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommittedField {
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// A hash, with the chain's name of its kind.
    Hash {
        /// Such as `BlakeTwo256`.
        kind: String,
        /// Of whatever the hotkey says.
        digest: Digest,
    },
    /// What this program does not read, with the chain's name of it.
    Other(String),
}

/// A miner's stake that stays locked until it is earned back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collateral {
    /// Locked now.
    pub locked: Rao,
    /// Kept locked at the miner's own wish.
    pub minimum: Rao,
    /// Earned since.
    pub earned: Rao,
}

/// What a registration costs and whether it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationTerms {
    /// The price at this block, which rises with each registration and decays between.
    pub price: Rao,
    /// The owner admits registrations.
    pub allowed: bool,
    /// Share of the price, of 65,535, that becomes collateral instead of being burned; none where the chain has no
    /// collateral.
    pub collateral_share: Option<u16>,
}

/// What the chain tells of a subnet beside its metagraph, at the newest finalised block. An item that the runtime lacks
/// is [`ChainError::Unsupported`] with its name, unless the result says otherwise.
#[async_trait]
pub trait SubnetReads: Send + Sync + 'static {
    /// The subnet's settings.
    async fn hyperparameters(&self, netuid: NetUid) -> Result<Hyperparameters, ChainError>;

    /// What a coldkey staked on a hotkey there; none if it owns no such hotkey.
    async fn stake(
        &self,
        netuid: NetUid,
        hotkey: &Hotkey,
        coldkey: &Coldkey,
    ) -> Result<Option<Rao>, ChainError>;

    /// What one hotkey published.
    async fn commitment(&self, netuid: NetUid, hotkey: &Hotkey) -> Result<Option<Commitment>, ChainError>;

    /// What everybody published, in order of hotkey.
    async fn commitments(&self, netuid: NetUid) -> Result<BTreeMap<Hotkey, Commitment>, ChainError>;

    /// Locked stake by hotkey, of those that have any; none where the runtime has no collateral.
    async fn collateral(&self, netuid: NetUid) -> Result<Option<BTreeMap<Hotkey, Collateral>>, ChainError>;

    /// The coldkey that owns the subnet.
    async fn subnet_owner(&self, netuid: NetUid) -> Result<Option<Coldkey>, ChainError>;

    /// What registering costs now.
    async fn registration_terms(&self, netuid: NetUid) -> Result<RegistrationTerms, ChainError>;
}
