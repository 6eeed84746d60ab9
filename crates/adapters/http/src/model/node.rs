//! Nodes.

use basilica_ports::{NodeView, PaidGpu, VerdictSummary};
use basilica_scoring::history::Gate;
use basilica_verification::{Outcome, ProvenGpu};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

/// A GPU that counts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Gpu {
    /// `GPU-` and a UUID, as the driver says it.
    pub uuid: String,
    /// `A100`, `H100`, `H200`, `B200` or `OTHER`.
    pub category: String,
    /// As it showed when it was proved; not in verdicts, and not of one that was proved before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl From<&ProvenGpu> for Gpu {
    fn from(gpu: &ProvenGpu) -> Self {
        Self { uuid: gpu.uuid.to_string(), category: gpu.category.to_string(), memory_bytes: None }
    }
}

impl From<&PaidGpu> for Gpu {
    fn from(paid: &PaidGpu) -> Self {
        Self { memory_bytes: paid.memory_bytes, ..Self::from(&paid.gpu) }
    }
}

/// A verdict in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictSummaryRow {
    /// Of the signed file, for `/verdicts/{digest}`.
    pub digest: String,
    /// `light` or `full`.
    pub kind: String,
    /// `passed` or `failed`.
    pub outcome: String,
    /// From the list of reasons; `passed` if it passed.
    pub reason: String,
    /// The same in words.
    pub explanation: String,
    /// Whose fault: `node`, `node_suspected`, `network`, `validator` or `unknown`; null if it passed.
    pub fault: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub finished: String,
}

/// What an outcome means, in words.
pub(super) const fn explanation(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "every check passed",
        Outcome::Failed { reason, .. } => reason.explanation(),
    }
}

pub(super) fn fault(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed { fault, .. } => Some(fault.as_str().to_owned()),
    }
}

impl From<&VerdictSummary> for VerdictSummaryRow {
    fn from(verdict: &VerdictSummary) -> Self {
        let outcome = &verdict.outcome;
        Self {
            digest: verdict.digest.to_string(),
            kind: verdict.kind.as_str().to_owned(),
            outcome: if *outcome == Outcome::Passed { "passed" } else { "failed" }.to_owned(),
            reason: outcome.code().to_owned(),
            explanation: explanation(outcome).to_owned(),
            fault: fault(outcome),
            finished: moment(verdict.finished),
        }
    }
}

/// A node, with the cause of its state and the time of its next check.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// `UUIDv5` of its address. Unique for one miner: two may name the same address.
    pub node_id: String,
    /// Whose it is.
    pub miner_hotkey: String,
    /// Its miner's slot; null if that is gone from the metagraph.
    pub miner_uid: Option<u16>,
    /// `user@host:port`; only for those who show the API key or sign the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// As its miner says: `available`, `unreachable`, `maintenance`, `key_pending`, or `gone` if it names it no longer.
    pub state: String,
    /// Available, scored and not banned.
    pub available: bool,
    /// Price per GPU and hour in millionths of a US dollar; null if its miner names none.
    pub hourly_rate_micros_per_gpu: Option<u64>,
    /// SHA-256 fingerprints of the pinned host keys.
    pub host_keys: Vec<String>,
    /// The GPUs that count; null before the first passed full check.
    pub gpus: Option<Vec<Gpu>>,
    /// The latest verdict.
    pub last_verdict: Option<VerdictSummaryRow>,
    /// The latest verdict of a full check: what the gate goes by.
    pub last_full: Option<VerdictSummaryRow>,
    /// When a full check passed last.
    #[schema(format = DateTime)]
    pub last_full_passed: Option<String>,
    /// Failed tries of the check under way, of which none decides yet.
    pub tries_failed: Option<u8>,
    /// Why the node's score is what it is: `ok`, or what keeps it at zero. Null before the first scoring.
    pub gate: Option<String>,
    /// The same in words, with what changes it.
    pub gate_explanation: Option<String>,
    /// Basis points.
    #[schema(maximum = 10_000)]
    pub score: Option<u16>,
    /// Of the uptime ramp, in millionths.
    #[schema(maximum = 1_000_000)]
    pub multiplier: Option<u32>,
    /// End of the running ban.
    #[schema(format = DateTime)]
    pub banned_until: Option<String>,
    /// When it is checked next.
    #[schema(format = DateTime)]
    pub next_check: String,
    /// When it is checked lightly next.
    #[schema(format = DateTime)]
    pub next_light: String,
    /// When it is checked fully next.
    #[schema(format = DateTime)]
    pub next_full: String,
}

impl Node {
    /// With its address or without.
    pub(crate) fn new(view: &NodeView, with_address: bool) -> Self {
        let node = &view.record;
        let standing = node.standing.as_ref();
        let gpus = |(_, gpus): &(_, Vec<PaidGpu>)| gpus.iter().map(Gpu::from).collect();
        Self {
            node_id: node.key.node.to_string(),
            miner_hotkey: node.key.miner.to_string(),
            miner_uid: view.uid.map(|uid| uid.0),
            address: with_address.then(|| node.address.to_string()),
            state: node.listed.map_or("gone", |status| status.as_str()).to_owned(),
            available: view.available,
            hourly_rate_micros_per_gpu: node.rate.map(|rate| rate.0),
            host_keys: node.host_keys.iter().map(|key| key.fingerprint()).collect(),
            gpus: node.last_proof.as_ref().map(gpus),
            last_verdict: node.last_verdict.as_ref().map(VerdictSummaryRow::from),
            last_full: node.last_full.as_ref().map(VerdictSummaryRow::from),
            last_full_passed: node.last_proof.as_ref().map(|(at, _)| moment(*at)),
            tries_failed: node.series.map(|(_, series)| series.failed),
            gate: standing.map(|standing| standing.gate.clone()),
            gate_explanation: standing
                .and_then(|standing| Gate::by_code(&standing.gate))
                .map(|gate| gate.explanation().to_owned()),
            score: standing.map(|standing| standing.score.value()),
            multiplier: standing.map(|standing| standing.multiplier.value()),
            banned_until: view.banned_until.map(moment),
            next_check: moment(node.due.next()),
            next_light: moment(node.due.light),
            next_full: moment(node.due.full),
        }
    }
}

/// `GET /nodes`, `GET /nodes/{id}` and `GET /miners/{id}/nodes`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodePage {
    /// By miner and node id.
    pub nodes: Vec<Node>,
    /// That the filter lets through.
    pub total_count: usize,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
    /// Of which moment this is true.
    #[schema(format = DateTime)]
    pub timestamp: String,
}
