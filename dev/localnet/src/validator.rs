//! What the validator's read-only API tells, as far as the table needs it.

use std::net::SocketAddr;

use basilica_types::{Uid, Weight};
use serde::Deserialize;

use crate::http;

/// A node as the validator judges it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct JudgedNode {
    /// `user@host:port`.
    pub address: String,
    last_verdict: Option<LastVerdict>,
    last_full: Option<LastVerdict>,
    gate: Option<String>,
    /// Basis points.
    pub score: Option<u16>,
    /// Millionths.
    pub multiplier: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct LastVerdict {
    outcome: String,
    reason: String,
}

impl JudgedNode {
    /// The verdict that decides: the last one if it failed, else the last full check, which a light one that passes does
    /// not make good.
    fn deciding(&self) -> Option<&LastVerdict> {
        let last = self.last_verdict.as_ref()?;
        if last.outcome == "failed" { Some(last) } else { self.last_full.as_ref() }
    }

    /// `passed`, `failed`, or `waiting` before the first full check.
    pub(crate) fn verdict(&self) -> &str {
        self.deciding().map_or("waiting", |verdict| &verdict.outcome)
    }

    /// The verdict's reason; what keeps a passing node from scoring, if anything does.
    pub(crate) fn reason(&self) -> &str {
        match (self.deciding(), &self.gate) {
            (Some(verdict), Some(gate)) if verdict.outcome == "passed" => gate,
            (Some(verdict), _) => &verdict.reason,
            (None, _) => "first_check_due",
        }
    }
}

#[derive(Deserialize)]
struct NodesPage {
    nodes: Vec<JudgedNode>,
}

/// Every node that the validator knows.
pub(crate) async fn nodes(api: SocketAddr) -> anyhow::Result<Vec<JudgedNode>> {
    let page: NodesPage = serde_json::from_value(http::get_json(api, "/nodes").await?)?;
    Ok(page.nodes)
}

/// A vector as it was submitted.
pub(crate) type SubmittedWeights = Vec<(Uid, Weight)>;

#[derive(Deserialize)]
struct WeightsPage {
    state: String,
    #[serde(default)]
    submitted: Vec<WeightEntry>,
}

#[derive(Deserialize)]
struct WeightEntry {
    uid: Uid,
    weight: Weight,
}

/// The newest window's vector, once it is set.
pub(crate) async fn weights(api: SocketAddr) -> anyhow::Result<Option<SubmittedWeights>> {
    let page: WeightsPage = serde_json::from_value(http::get_json(api, "/weights").await?)?;
    let entries = page.submitted.into_iter().map(|entry| (entry.uid, entry.weight)).collect();
    Ok((page.state == "set").then_some(entries))
}
