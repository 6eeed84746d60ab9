//! What a face (REST today) asks of a running validator. Everything here reads and changes nothing.
//!
//! An inbound port: the service implements it, adapters call it. Answers are domain values; spelling, addresses of
//! pages and who may see what are the face's.
//!
//! Lists are of one state of the fleet, which may be a few seconds old (see [`Listed::as_of`]), and go on after the last key of
//! the page before: a page never shows an item twice, whatever is added meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_scoring::weights::Part;
use basilica_types::{
    BasisPoints, BlockHash, BlockNumber, Category, Digest, FencingToken, Hotkey, NodeId, NodeKey, Ppm,
    Timestamp, Uid,
};
use basilica_verification::verdict_log::Day;
use basilica_verification::{CardTable, CheckKind};

use crate::{
    KeptVerdict, Leader, MinerRecord, NodeRecord, StoreError, TranscriptPart, VerdictPlace, VerdictsOf,
    WeightWindow,
};

/// Whether the validator can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Every condition by name, and why it does not hold.
    pub checks: Vec<(&'static str, Result<(), String>)>,
    /// When.
    pub at: Timestamp,
}

impl HealthReport {
    /// Whether every condition holds.
    pub fn is_healthy(&self) -> bool {
        self.checks.iter().all(|(_, holds)| holds.is_ok())
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// In order of their keys.
    pub items: Vec<T>,
    /// How many there are in all that the filter lets through.
    pub total: usize,
    /// Whether more follow the last of `items`.
    pub more: bool,
    /// Of which moment this is true.
    pub as_of: Timestamp,
}

/// Which nodes; a field that is `None` lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFilter {
    /// Of this miner.
    pub miner: Option<Hotkey>,
    /// With this id; several miners may name the same address.
    pub node: Option<NodeId>,
    /// That can be rented and are paid: listed as available, with a score, not banned.
    pub available: Option<bool>,
    /// With a running ban.
    pub banned: Option<bool>,
    /// With a GPU of this category among those that count.
    pub category: Option<Category>,
    /// With so many GPUs that count: of the category and with the memory that are asked for, if they are.
    pub min_gpus: Option<u32>,
    /// With a GPU that counts and showed so many bytes of memory when it was proved.
    pub min_gpu_memory: Option<u64>,
}

impl NodeFilter {
    /// GPUs that a node needs at the least: one if anything is said of them.
    pub fn least_gpus(&self) -> u32 {
        let any = self.category.is_some() || self.min_gpu_memory.is_some();
        self.min_gpus.unwrap_or(0).max(u32::from(any))
    }
}

/// A node with what is not in its own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// As remembered.
    pub record: Arc<NodeRecord>,
    /// Its miner's slot.
    pub uid: Option<Uid>,
    /// Whether it can be rented and is paid, see [`NodeFilter::available`].
    pub available: bool,
    /// Its running ban.
    pub banned_until: Option<Timestamp>,
}

/// What a miner is worth at the moment, in one word. The first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MinerState {
    /// The metagraph does not show it with an axon.
    Gone,
    /// No verified discovery response for ten minutes.
    Offline,
    /// None of its nodes is available.
    Inactive,
    /// Its available nodes score less than half on the mean.
    Suspended,
    /// None of the above.
    Active,
}

impl MinerState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Gone, Self::Offline, Self::Inactive, Self::Suspended, Self::Active];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Offline => "offline",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
            Self::Active => "active",
        }
    }
}

/// Which miners; a field that is `None` lets all through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinerFilter {
    /// In this state.
    pub state: Option<MinerState>,
    /// With so many GPUs that count.
    pub min_gpus: Option<u32>,
    /// With this mean score.
    pub min_score: Option<BasisPoints>,
    /// With GPUs of this category that count.
    pub category: Option<Category>,
}

/// How a miner is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinerName {
    /// By its identity.
    Hotkey(Hotkey),
    /// By its slot of now.
    Uid(Uid),
}

/// A miner with what its nodes amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinerView {
    /// As remembered.
    pub record: MinerRecord,
    /// In one word.
    pub state: MinerState,
    /// A session with it is open.
    pub session: bool,
    /// Nodes that its last response names.
    pub nodes: u32,
    /// Of these, those that are available, see [`NodeFilter::available`].
    pub available: u32,
    /// Of these, those that are banned.
    pub banned: u32,
    /// GPUs of available nodes that count, by category.
    pub gpus: BTreeMap<Category, u32>,
    /// Mean of its listed nodes; zero without any.
    pub score: BasisPoints,
    /// Mean of its listed nodes; zero without any.
    pub multiplier: Ppm,
    /// When one of its listed nodes passed a full check last.
    pub last_proof: Option<Timestamp>,
}

/// A category as the configuration has it and as it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CategoryView {
    /// Which.
    pub category: Category,
    /// Of what is not burnt.
    pub share: BasisPoints,
    /// Least GPUs of a node that counts.
    pub min_gpus: u32,
    /// Miners with any that count.
    pub miners: u32,
    /// Nodes with any that count.
    pub nodes: u32,
    /// GPUs that count.
    pub gpus: u32,
}

/// A check that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckUnderWay {
    /// Of which node.
    pub node: NodeKey,
    /// How deep it looks.
    pub kind: CheckKind,
    /// Since when.
    pub since: Timestamp,
}

/// What the last look at the weights came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsOutlook {
    /// From a fixed list.
    pub code: &'static str,
    /// In words.
    pub explanation: String,
    /// The block that is waited for, where that can be told.
    pub until: Option<BlockNumber>,
    /// Something is wrong.
    pub failed: bool,
    /// When.
    pub at: Timestamp,
}

/// When fleet epochs come and how the last one went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochsView {
    /// One block in so many starts one, by its hash; 0 for none ever.
    pub mean_blocks: u32,
    /// The newest block that was looked at.
    pub watched: Option<BlockNumber>,
    /// The last one.
    pub last: Option<EpochView>,
}

/// A fleet epoch that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochView {
    /// At which block.
    pub block: BlockNumber,
    /// Its hash.
    pub block_hash: BlockHash,
    /// When.
    pub at: Timestamp,
    /// Nodes that were called.
    pub nodes: u32,
    /// Those that were challenged at once.
    pub challenged: u32,
    /// Those that passed.
    pub passed: u32,
    /// Those whose checks have not ended.
    pub under_way: u32,
}

/// Which of several validators on one database works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeadershipView {
    /// Not known yet.
    Starting,
    /// Somebody else leads, or nobody can be asked.
    Standby(Option<Leader>),
    /// This one does, with this token.
    Leading(FencingToken),
}

/// What a running validator tells.
#[async_trait]
pub trait ValidatorQueries: Send + Sync + 'static {
    /// Its own identity.
    fn hotkey(&self) -> Hotkey;

    /// Its clock.
    fn now(&self) -> Timestamp;

    /// Whether it can do its work.
    fn health(&self) -> HealthReport;

    /// Miners in order of their hotkeys, after one of them; at most `limit`.
    async fn miners(
        &self,
        filter: MinerFilter,
        after: Option<Hotkey>,
        limit: usize,
    ) -> Result<Listed<MinerView>, StoreError>;

    /// One miner.
    async fn miner(&self, name: MinerName) -> Result<Option<MinerView>, StoreError>;

    /// Nodes in order of their keys, after one of them; at most `limit`.
    async fn nodes(
        &self,
        filter: &NodeFilter,
        after: Option<NodeKey>,
        limit: usize,
    ) -> Result<Listed<NodeView>, StoreError>;

    /// A page of signed verdicts, newest first, after a place in that order; at most `limit`.
    async fn verdict_page(
        &self,
        of: VerdictsOf,
        after: Option<VerdictPlace>,
        limit: u32,
    ) -> Result<Vec<KeptVerdict>, StoreError>;

    /// The bytes of a signed verdict, while it is kept.
    async fn verdict(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Signed records of the verdict log's days before one (of all without), newest first; at most `limit`.
    async fn log_days(&self, before: Option<Day>, limit: u32) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The signed record of one day.
    async fn log_day(&self, day: Day) -> Result<Option<Vec<u8>>, StoreError>;

    /// What shows that a verdict is in its day's record; none while the day goes on, or if the verdict or others of its block are no
    /// longer kept.
    async fn inclusion(&self, verdict: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// A part of a proof's transcript, while it is kept: at most `bytes` bytes after the first `skip`.
    async fn transcript(
        &self,
        digest: Digest,
        skip: u64,
        bytes: u32,
    ) -> Result<Option<TranscriptPart>, StoreError>;

    /// Which card shares in which category.
    fn cards(&self) -> CardTable;

    /// Every category.
    async fn categories(&self) -> Result<Vec<CategoryView>, StoreError>;

    /// Checks that are being made now, by node.
    fn checks_under_way(&self) -> Vec<CheckUnderWay>;

    /// The latest windows of weights, newest first; at most `limit`.
    async fn windows(&self, limit: u32) -> Result<Vec<WeightWindow>, StoreError>;

    /// Who got what of a window's weights, and why: by place, from the `skip`th on; nobody of a window that is not kept, or whose
    /// weights are still hidden.
    async fn emission(&self, window: i64, skip: u32, limit: u32) -> Result<Vec<Part>, StoreError>;

    /// Why the weights are where they are; none before the first look.
    fn weights(&self) -> Option<WeightsOutlook>;

    /// When all nodes are challenged at once.
    fn epochs(&self) -> EpochsView;

    /// Whether this process works, or stands by.
    fn leadership(&self) -> LeadershipView;
}
