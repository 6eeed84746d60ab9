//! Verdicts, read back from their signed bytes.

use basilica_verification::SignedVerdict;
use basilica_wire::EnvelopeError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;
use super::node::{Gpu, explanation, fault};

/// Fewer GPUs count than were claimed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UnprovenCount {
    /// By the node.
    pub claimed: usize,
    /// Those that are told apart.
    pub paid: usize,
}

/// A verdict with what it rests on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictRow {
    /// Of the signed file, for `/verdicts/{digest}`.
    pub digest: String,
    /// Of the verdict before it on this node.
    pub previous: Option<String>,
    /// Whose node.
    pub miner_hotkey: String,
    /// Which.
    pub node_id: String,
    /// `light` or `full`.
    pub kind: String,
    /// When its first try began.
    #[schema(format = DateTime)]
    pub started: String,
    /// When it was concluded.
    #[schema(format = DateTime)]
    pub finished: String,
    /// `passed`, or the reason from the list of reasons.
    pub outcome: String,
    /// The same in words.
    pub explanation: String,
    /// Whose fault: `node`, `node_suspected`, `network`, `validator` or `unknown`; null if it passed.
    pub fault: Option<String>,
    /// The GPUs that a passed full check stands for.
    pub gpus: Vec<Gpu>,
    /// If fewer count than were claimed.
    pub count_unproven: Option<UnprovenCount>,
    /// How often it was tried.
    pub tries: u8,
    /// Of the last proof, for `/transcripts/{digest}`.
    pub transcript: Option<String>,
    /// BLAKE3 of the prover.
    pub prover: String,
    /// Digest of the rules that applied.
    pub policy: String,
    /// What was measured besides: how long each stage took, bytes per second of each space of memory and of the network.
    #[schema(value_type = Object)]
    pub measured: serde_json::Value,
    /// What the node told of itself: machine, container engine, storage, reachability.
    #[schema(value_type = Object)]
    pub probes: serde_json::Value,
}

/// Why stored bytes cannot be shown as a verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// They are none.
    #[error("read the stored verdict")]
    Envelope(#[from] EnvelopeError),
    /// Its evidence has no form as JSON.
    #[error("show the verdict's evidence")]
    Evidence(#[from] serde_json::Error),
}

impl VerdictRow {
    /// Reads a verdict of our own store; fails for bytes that are none.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let signed = SignedVerdict::decode_stored(bytes)?;
        let verdict = signed.content();
        let unproven = verdict.unproven();
        let outcome = &verdict.outcome;
        Ok(Self {
            digest: signed.digest().to_string(),
            previous: verdict.previous.map(|digest| digest.to_string()),
            miner_hotkey: verdict.miner.to_string(),
            node_id: verdict.node.to_string(),
            kind: verdict.kind.as_str().to_owned(),
            started: moment(verdict.started),
            finished: moment(verdict.finished),
            outcome: outcome.code().to_owned(),
            explanation: unproven.map_or_else(|| explanation(outcome).to_owned(), |count| count.to_string()),
            fault: fault(outcome),
            gpus: verdict.gpus.iter().map(Gpu::from).collect(),
            count_unproven: unproven.map(|c| UnprovenCount { claimed: c.claimed, paid: c.paid }),
            tries: verdict.evidence.tries,
            transcript: verdict.evidence.transcript.map(|digest| digest.to_string()),
            prover: verdict.evidence.prover.to_string(),
            policy: verdict.policy.to_string(),
            measured: serde_json::to_value(&verdict.evidence.measured)?,
            probes: serde_json::to_value(&verdict.evidence.probes)?,
        })
    }
}

/// `GET /nodes/{id}/verdicts` and `GET /verification/results/{miner_id}`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictPage {
    /// Newest first.
    pub verdicts: Vec<VerdictRow>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}
