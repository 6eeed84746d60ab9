//! What the validator knows, as JSON for people and for the localnet's table.

use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{
    MinerRecord, NodeRecord, StoreError, VerdictSummary, WeightWindow, WindowEnd, WindowForm, WindowState,
    dispatch_advice,
};
use basilica_runtime_service::{ErrorChain, Page, Pages};
use basilica_types::{BlockNumber, Timestamp, Uid, Weight};
use basilica_verification::{Outcome, SignedVerdict};
use serde_json::{Value, json};
use tracing::warn;

use crate::leadership::Position;
use crate::set_weights::same_weights;
use crate::shared::Shared;

/// Verdicts shown of one node.
const VERDICTS: u32 = 20;
/// Windows looked through for the last failure.
const WINDOWS: u32 = 20;
const NEXT_FOLLOWS: &str = "nothing: the next window follows at once";

/// The validator's read-only pages: `/nodes`, `/nodes/ID/verdicts`, `/miners`, `/weights`, `/fleet`,
/// `/leadership`, and as files
/// `/verdicts/DIGEST` and `/transcripts/DIGEST`, while they are kept.
#[derive(Clone)]
pub struct StatusPages(pub(crate) Arc<Shared>);

impl std::fmt::Debug for StatusPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatusPages")
    }
}

#[async_trait]
impl Pages for StatusPages {
    async fn page(&self, path: &str) -> Page {
        match self.find(path).await {
            Ok(found) => found.unwrap_or(Page::NotFound),
            Err(error) => {
                warn!(error = %ErrorChain(&error), path, "status page cannot be made");
                Page::Failed
            }
        }
    }
}

impl StatusPages {
    async fn find(&self, path: &str) -> Result<Option<Page>, StoreError> {
        let store = &self.0.ports.store;
        let json = |page: Value| Some(Page::Found(page));
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["", "nodes"] => self.nodes().await.map(json),
            ["", "miners"] => self.miners().await.map(json),
            ["", "weights"] => self.weights().await.map(json),
            ["", "fleet"] => Ok(json(self.fleet())),
            ["", "leadership"] => Ok(json(self.leadership())),
            ["", "nodes", id, "verdicts"] => Ok(self.verdicts(id).await?.map(Page::Found)),
            ["", kind @ ("verdicts" | "transcripts"), digest] => {
                let Ok(digest) = digest.parse() else { return Ok(None) };
                let kept = if kind == "verdicts" { store.verdict(digest) } else { store.transcript(digest) };
                Ok(kept.await?.map(Page::File))
            }
            _ => Ok(None),
        }
    }

    async fn nodes(&self) -> Result<Value, StoreError> {
        let store = &self.0.ports.store;
        let (nodes, miners) = (store.nodes().await?, store.miners().await?);
        let rows: Vec<Value> = nodes.iter().map(|node| node_row(node, &miners)).collect();
        Ok(json!({ "nodes": rows, "total_count": rows.len(), "timestamp": self.0.now() }))
    }

    async fn miners(&self) -> Result<Value, StoreError> {
        let rows: Vec<Value> = self
            .0
            .ports
            .store
            .miners()
            .await?
            .iter()
            .map(|miner| {
                json!({
                    "hotkey": miner.hotkey, "uid": miner.uid, "axon": miner.axon.to_string(),
                    "last_seen": miner.seen, "last_discovery": miner.discovered, "error": miner.failure,
                    "session": self.0.access(&miner.hotkey).is_some(),
                })
            })
            .collect();
        Ok(json!({ "miners": rows, "total_count": rows.len(), "timestamp": self.0.now() }))
    }

    async fn weights(&self) -> Result<Value, StoreError> {
        let windows = self.0.ports.store.windows(WINDOWS).await?;
        let status = self.0.weights_explained().map(|why| {
            json!({ "reason": why.code, "explanation": why.text, "until_block": why.until, "failure": why.class.is_some(), "at": why.at })
        });
        let last_failure = windows.iter().find_map(failure_row);
        let Some(window) = windows.first() else {
            return Ok(
                json!({ "state": "none", "status": status, "last_failure": last_failure, "timestamp": self.0.now() }),
            );
        };
        let opened = &window.opened;
        // Committing hides the weights from those who would copy them; this page is not to undo that.
        let shown = opened.form == WindowForm::Open || matches!(window.state, WindowState::Ended(_));
        let rows = |weights: &[(Uid, Weight)]| if shown { weight_rows(weights) } else { Vec::new() };
        Ok(json!({
            "window": window.id, "state": state_word(&window.state), "block": block_of(&window.state),
            "form": opened.form.as_str(), "mechanism": opened.mechanism, "hidden_until_reveal": !shown,
            "extrinsic": opened.prepared.hash, "nonce": opened.prepared.nonce, "created": opened.created,
            "reveal": window.reveal.as_ref().map(|reveal| reveal.hash),
            "submitted": rows(&opened.weights),
            "expected": rows(&opened.expected),
            "on_chain": window.read_back.as_deref().map(weight_rows),
            "matches": window.read_back.as_ref().map(|read| same_weights(read, &opened.expected)),
            "status": status, "last_failure": last_failure,
            "timestamp": self.0.now(),
        }))
    }

    fn fleet(&self) -> Value {
        json!({ "epochs": self.0.epochs_page(), "timestamp": self.0.now() })
    }

    fn leadership(&self) -> Value {
        let page = match self.0.leading.position() {
            Position::Starting => json!({ "role": "starting" }),
            Position::Standby(None) => json!({ "role": "standby", "leader": null }),
            Position::Standby(Some(leader)) => json!({ "role": "standby", "leader": {
                "holder": leader.holder, "token": leader.token, "lease_left_ms": leader.lease_left } }),
            Position::Leading { token, .. } => json!({ "role": "leader", "token": token }),
        };
        json!({ "leadership": page, "timestamp": self.0.now() })
    }

    async fn verdicts(&self, id: &str) -> Result<Option<Value>, StoreError> {
        let Ok(id) = id.parse() else { return Ok(None) };
        let store = &self.0.ports.store;
        let nodes: Vec<NodeRecord> = store.nodes().await?.into_iter().filter(|n| n.key.node == id).collect();
        if nodes.is_empty() {
            return Ok(None);
        }
        let mut rows = Vec::new();
        for node in nodes {
            for bytes in store.verdicts(node.key, VERDICTS).await? {
                rows.push(verdict_row(&bytes));
            }
        }
        Ok(Some(json!({ "verdicts": rows })))
    }
}

const fn state_word(state: &WindowState) -> &'static str {
    match state {
        WindowState::Prepared => "prepared",
        WindowState::Committed { .. } => "committed",
        WindowState::Revealing { .. } => "revealing",
        WindowState::Ended(WindowEnd::Set { .. }) => "set",
        WindowState::Ended(WindowEnd::Revealed { .. }) => "revealed",
        WindowState::Ended(WindowEnd::Refused { .. }) => "refused",
        WindowState::Ended(WindowEnd::Expired(_)) => "expired",
        WindowState::Ended(WindowEnd::Lost(_)) => "lost",
    }
}

const fn block_of(state: &WindowState) -> Option<BlockNumber> {
    match state {
        WindowState::Committed { block }
        | WindowState::Revealing { block }
        | WindowState::Ended(
            WindowEnd::Set { block } | WindowEnd::Revealed { block, .. } | WindowEnd::Refused { block, .. },
        ) => Some(*block),
        WindowState::Prepared | WindowState::Ended(WindowEnd::Expired(_) | WindowEnd::Lost(_)) => None,
    }
}

/// Why a window ended without weights on chain, and what to do; none if it did not.
fn failure_row(window: &WeightWindow) -> Option<Value> {
    let (reason, explanation, action) = match &window.state {
        WindowState::Ended(WindowEnd::Refused { block, error }) => {
            (error.as_str(), format!("the chain refused it in block {block}"), dispatch_advice(error).action)
        }
        WindowState::Ended(WindowEnd::Expired(why)) => (why.as_str(), why.to_string(), NEXT_FOLLOWS),
        WindowState::Ended(WindowEnd::Lost(why)) => (why.as_str(), why.to_string(), NEXT_FOLLOWS),
        _ => return None,
    };
    Some(json!({
        "window": window.id, "reason": reason, "explanation": explanation, "action": action, "created": window.opened.created,
    }))
}

fn weight_rows(weights: &[(Uid, Weight)]) -> Vec<Value> {
    weights.iter().map(|(uid, weight)| json!({ "uid": uid, "weight": weight })).collect()
}

/// One node, with the cause of its state and the time of its next check.
pub(crate) fn node_row(node: &NodeRecord, miners: &[MinerRecord]) -> Value {
    let uid = miners.iter().find(|miner| miner.hotkey == node.key.miner).and_then(|miner| miner.uid);
    let standing = node.standing.as_ref();
    json!({
        "miner_uid": uid, "miner_hotkey": node.key.miner, "node_id": node.key.node, "address": node.address,
        "state": node.listed.map_or("gone", |status| status.as_str()),
        "host_keys": node.host_keys.iter().map(|key| key.fingerprint()).collect::<Vec<_>>(),
        "last_verdict": node.last_verdict.as_ref().map(summary_row),
        "last_full": node.last_full.as_ref().map(summary_row),
        "tries_failed": node.series.map(|(_, series)| series.failed),
        "gpus": node.last_proof.as_ref().map(|(_, gpus)| gpus.iter()
            .map(|gpu| json!({ "uuid": gpu.uuid, "category": gpu.category })).collect::<Vec<_>>()),
        "last_full_passed": node.last_proof.as_ref().map(|(at, _)| *at),
        "gate": standing.map(|s| s.gate.clone()),
        "score": standing.map(|s| s.score.value()),
        "multiplier": standing.map(|s| s.multiplier.value()),
        "banned_until": standing.and_then(|s| s.banned_until),
        "next_check": node.due.next(), "next_light": node.due.light, "next_full": node.due.full,
    })
}

fn summary_row(verdict: &VerdictSummary) -> Value {
    let (passed, fault) = match verdict.outcome {
        Outcome::Passed => (true, None),
        Outcome::Failed { fault, .. } => (false, Some(fault.as_str())),
    };
    json!({
        "outcome": if passed { "passed" } else { "failed" }, "reason": verdict.outcome.code(), "fault": fault,
        "kind": verdict.kind.as_str(), "finished": verdict.finished, "digest": verdict.digest,
        "explanation": explanation(&verdict.outcome),
    })
}

const fn explanation(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "every check passed",
        Outcome::Failed { reason, .. } => reason.explanation(),
    }
}

/// A stored verdict, read back through its signature.
fn verdict_row(bytes: &[u8]) -> Value {
    match SignedVerdict::decode_verified(bytes) {
        Ok(signed) => {
            let v = signed.content();
            let times: [Timestamp; 2] = [v.started, v.finished];
            json!({
                "digest": signed.digest(), "previous": v.previous, "kind": v.kind.as_str(),
                "started": times[0], "finished": times[1], "outcome": v.outcome.code(),
                "explanation": v.unproven().map_or_else(|| explanation(&v.outcome).to_owned(), |count| count.to_string()),
                "fault": match v.outcome { Outcome::Failed { fault, .. } => Some(fault.as_str()), Outcome::Passed => None },
                "gpus": v.gpus.iter().map(|g| json!({ "uuid": g.uuid, "category": g.category })).collect::<Vec<_>>(),
                "count_unproven": v.unproven().map(|c| json!({ "claimed": c.claimed, "paid": c.paid })),
                "tries": v.evidence.tries, "transcript": v.evidence.transcript, "prover": v.evidence.prover,
                "policy": v.policy, "measured": v.evidence.measured,
            })
        }
        Err(error) => json!({ "error": ErrorChain(&error).to_string() }),
    }
}
