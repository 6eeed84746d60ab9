//! What the pages say, as JSON. Field names are part of the interface.
//!
//! Times are RFC 3339 in UTC; identities and digests their canonical text; scores basis points and multipliers millionths, so
//! that what is shown is what is counted.

mod node;
mod verdict;
mod verdict_log;
mod weights;

use std::collections::BTreeMap;

use basilica_ports::{CategoryView, CheckUnderWay, EpochsView, HealthReport, LeadershipView, MinerView};
use basilica_types::Timestamp;
use basilica_verification::CardRow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Caller;

pub use node::{Gpu, Node, NodePage, VerdictSummaryRow};
pub use verdict::{UnprovenCount, VerdictPage, VerdictRow};
pub use verdict_log::{DayPage, DayRow};
pub use weights::{
    EmissionPage, EmissionRow, WeightRow, WeightWindowPage, WeightWindowRow, WeightsFailure, WeightsPage,
    WeightsStatus,
};

/// A moment as pages show it.
pub(crate) fn moment(at: Timestamp) -> String {
    at.rfc3339()
}

/// `GET /health`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `healthy` if every check is `ok`, `unhealthy` otherwise.
    #[schema(example = "healthy")]
    pub status: String,
    /// `leader`, `standby` or `starting`. A standby is healthy while it follows: it is asked for nothing else.
    #[schema(example = "leader")]
    pub role: String,
    /// By name: `ok`, or why not. Why anything but the chain and the weights does not hold is told to those who show the API key or sign the request.
    pub checks: BTreeMap<String, String>,
    /// Of the program.
    pub version: String,
    /// When.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

impl Health {
    pub(crate) fn new(
        report: &HealthReport,
        leadership: &LeadershipView,
        version: &str,
        caller: Caller,
    ) -> Self {
        let check = |(name, holds): &(&str, Result<(), String>)| {
            let why = holds.as_ref().err().map_or("ok", |why| told(name, why, caller));
            ((*name).to_owned(), why.to_owned())
        };
        Self {
            status: if report.is_healthy() { "healthy" } else { "unhealthy" }.to_owned(),
            role: role(leadership).to_owned(),
            checks: report.checks.iter().map(check).collect(),
            version: version.to_owned(),
            timestamp: moment(report.at),
        }
    }
}

/// Stands for why a condition does not hold, where the caller may not know.
pub const WITHHELD: &str = "does not hold; its operator sees why";

/// Why a condition does not hold, as far as this caller may know: where the database is and what it said, and who leads, help
/// nobody but attackers and operators. The chain is everybody's.
pub(crate) fn told<'a>(condition: &str, why: &'a str, caller: Caller) -> &'a str {
    // What /weights tells everybody is no secret here, nor what time it is: every answer has a date.
    let is_public = matches!(condition, "chain" | "clock" | "weights");
    if is_public || caller.is_known() { why } else { WITHHELD }
}

const fn role(leadership: &LeadershipView) -> &'static str {
    match leadership {
        LeadershipView::Starting => "starting",
        LeadershipView::Standby(_) => "standby",
        LeadershipView::Leading(_) => "leader",
    }
}

/// A miner with what its nodes amount to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Miner {
    /// SS58, prefix 42.
    pub hotkey: String,
    /// Its slot; null if the metagraph does not show it with an axon.
    pub uid: Option<u16>,
    /// `active`, `suspended`, `inactive`, `offline` or `gone`.
    #[schema(example = "active")]
    pub status: String,
    /// Where its service listens.
    pub axon: String,
    /// When the metagraph showed it last.
    #[schema(format = DateTime)]
    pub last_seen: String,
    /// Its last verified discovery response.
    #[schema(format = DateTime)]
    pub last_discovery: Option<String>,
    /// Why the last discovery failed; null if it did not.
    pub error: Option<String>,
    /// A session with it is open.
    pub session: bool,
    /// Nodes that its last response names.
    pub nodes: u32,
    /// Of these, those that are available, scored and not banned.
    pub available_nodes: u32,
    /// Of these, those that are banned.
    pub banned_nodes: u32,
    /// GPUs of available nodes that count, by category.
    pub gpu_counts: BTreeMap<String, u32>,
    /// Mean of its nodes, in basis points.
    #[schema(maximum = 10_000)]
    pub score: u16,
    /// Mean of its nodes' uptime multipliers, in millionths.
    #[schema(maximum = 1_000_000)]
    pub multiplier: u32,
    /// When one of its nodes passed a full check last.
    #[schema(format = DateTime)]
    pub last_successful_validation: Option<String>,
}

impl From<&MinerView> for Miner {
    fn from(view: &MinerView) -> Self {
        let record = &view.record;
        Self {
            hotkey: record.hotkey.to_string(),
            uid: record.uid.map(|uid| uid.0),
            status: view.state.as_str().to_owned(),
            axon: record.axon.to_string(),
            last_seen: moment(record.seen),
            last_discovery: record.discovered.map(moment),
            error: record.failure.clone(),
            session: view.session,
            nodes: view.nodes,
            available_nodes: view.available,
            banned_nodes: view.banned,
            gpu_counts: view.gpus.iter().map(|(category, count)| (category.to_string(), *count)).collect(),
            score: view.score.value(),
            multiplier: view.multiplier.value(),
            last_successful_validation: view.last_proof.map(moment),
        }
    }
}

/// `GET /miners` and `GET /gpu-profiles`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MinerPage {
    /// By hotkey.
    pub miners: Vec<Miner>,
    /// That the filter lets through.
    pub total_count: usize,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
    /// Of which moment this is true.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

/// `GET /miners/{id}/health`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MinerHealth {
    /// SS58, prefix 42.
    pub hotkey: String,
    /// `active`, `suspended`, `inactive`, `offline` or `gone`.
    pub status: String,
    /// Why, in words.
    pub explanation: String,
    /// Nodes that its last response names.
    pub nodes: u32,
    /// Of these, those that are available, scored and not banned.
    pub available_nodes: u32,
    /// Its last verified discovery response.
    #[schema(format = DateTime)]
    pub last_discovery: Option<String>,
    /// Why the last discovery failed; null if it did not.
    pub error: Option<String>,
}

/// A category as the configuration has it and as it is filled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GpuCategory {
    /// `A100`, `H100`, `H200`, `B200` or `OTHER`.
    pub category: String,
    /// Of what is not burnt, in basis points.
    #[schema(maximum = 10_000)]
    pub share: u16,
    /// Least GPUs of a node that counts.
    pub min_gpu_count: u32,
    /// Miners with any that count.
    pub miners: u32,
    /// Nodes with any that count.
    pub nodes: u32,
    /// GPUs that count.
    pub gpus: u32,
}

impl From<&CategoryView> for GpuCategory {
    fn from(view: &CategoryView) -> Self {
        Self {
            category: view.category.to_string(),
            share: view.share.value(),
            min_gpu_count: view.min_gpus,
            miners: view.miners,
            nodes: view.nodes,
            gpus: view.gpus,
        }
    }
}

/// Cards of one name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GpuCard {
    /// What the driver calls them, exactly.
    #[schema(example = "NVIDIA H100 80GB HBM3")]
    pub name: String,
    /// Where they belong if their memory is within the bounds; else they are `OTHER`.
    #[schema(example = "H100")]
    pub category: String,
    /// Least memory, in MiB as `nvidia-smi` prints it.
    pub min_vram_mib: u64,
    /// Most memory, in MiB.
    pub max_vram_mib: u64,
    /// The class that says what they are asked to prove; null: there is none, and they count for nothing.
    #[schema(example = "h100-sxm")]
    pub class: Option<String>,
    /// An entry of the configuration; else a built-in row.
    pub configured: bool,
}

impl From<&CardRow> for GpuCard {
    fn from(row: &CardRow) -> Self {
        Self {
            name: row.name.to_string(),
            category: row.category.to_string(),
            min_vram_mib: *row.memory_mib.start(),
            max_vram_mib: *row.memory_mib.end(),
            class: row.class().map(str::to_owned),
            configured: row.configured,
        }
    }
}

/// `GET /gpu-categories`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GpuCategories {
    /// Every one.
    pub categories: Vec<GpuCategory>,
    /// Which card shares in which, by name. A card that is not here is `OTHER`.
    pub cards: Vec<GpuCard>,
}

/// A check that is being made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActiveCheck {
    /// Whose node.
    pub miner_hotkey: String,
    /// Which.
    pub node_id: String,
    /// `light` or `full`.
    pub kind: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub started: String,
}

impl From<&CheckUnderWay> for ActiveCheck {
    fn from(check: &CheckUnderWay) -> Self {
        Self {
            miner_hotkey: check.node.miner.to_string(),
            node_id: check.node.node.to_string(),
            kind: check.kind.as_str().to_owned(),
            started: moment(check.since),
        }
    }
}

/// `GET /verification/active`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActiveChecks {
    /// By node.
    pub checks: Vec<ActiveCheck>,
    /// How many.
    pub total_count: usize,
}

/// `GET /fleet`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Fleet {
    /// When all idle nodes are challenged at once.
    pub epochs: Epochs,
    /// Of which moment this is true.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

/// Fleet epochs: all idle nodes are challenged at once at a block that nobody can foresee.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Epochs {
    /// Whether there are any.
    pub enabled: bool,
    /// The last one.
    pub last: Option<Epoch>,
    /// The next one, as far as anybody can tell.
    pub next: Option<NextEpoch>,
}

/// One that began.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Epoch {
    /// At which block.
    pub block: u64,
    /// Its hash.
    pub block_hash: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Nodes that were called.
    pub nodes: u32,
    /// Those that were challenged at once.
    pub challenged_at_once: u32,
    /// Those that passed.
    pub passed: u32,
    /// Those whose checks have not ended.
    pub under_way: u32,
}

/// One to come.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NextEpoch {
    /// At any block after this one, each with the same chance; null before the first look at the chain.
    pub after_block: Option<u64>,
    /// One block in so many, by its hash.
    pub mean_blocks: u32,
}

impl From<&EpochsView> for Epochs {
    fn from(view: &EpochsView) -> Self {
        let enabled = view.mean_blocks > 0;
        Self {
            enabled,
            last: view.last.map(|last| Epoch {
                block: last.block.0,
                block_hash: last.block_hash.to_string(),
                at: moment(last.at),
                nodes: last.nodes,
                challenged_at_once: last.challenged,
                passed: last.passed,
                under_way: last.under_way,
            }),
            next: enabled.then(|| NextEpoch {
                after_block: view.watched.map(|block| block.0),
                mean_blocks: view.mean_blocks,
            }),
        }
    }
}

/// `GET /leadership`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Leadership {
    /// `leader`, `standby` or `starting`.
    #[schema(example = "leader")]
    pub role: String,
    /// The token under which this process writes; null while it does not lead.
    pub token: Option<u64>,
    /// Who leads instead; null if this process does, or nobody can be asked.
    pub leader: Option<LeaderRow>,
    /// When.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

/// The validator that leads.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaderRow {
    /// What it calls itself; only for those who show the API key or sign the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The token under which it writes.
    pub token: u64,
    /// Until somebody else may take over, in milliseconds.
    pub lease_left_ms: u64,
}

impl Leadership {
    pub(crate) fn new(view: &LeadershipView, with_holder: bool, now: Timestamp) -> Self {
        let (token, leader) = match view {
            LeadershipView::Starting => (None, None),
            LeadershipView::Standby(leader) => (None, leader.as_ref()),
            LeadershipView::Leading(token) => (Some(token.0), None),
        };
        Self {
            role: role(view).to_owned(),
            token,
            leader: leader.map(|leader| LeaderRow {
                holder: leader.holder.clone().filter(|_| with_holder),
                token: leader.token.0,
                lease_left_ms: leader.lease_left.0,
            }),
            timestamp: moment(now),
        }
    }
}
