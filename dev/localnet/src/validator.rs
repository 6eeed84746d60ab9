//! What the validator's API tells, as far as the table needs it.

use std::net::SocketAddr;

use basilica_http::{Node, NodePage, VerdictSummaryRow, WeightsPage, client};
use basilica_types::{Uid, Weight};

/// A node as the validator judges it.
#[derive(Clone, Debug)]
pub(crate) struct JudgedNode(pub(crate) Node);

impl JudgedNode {
    /// The verdict that decides: the last one if it failed, else the last full check, which a light one that passes does
    /// not make good.
    fn deciding(&self) -> Option<&VerdictSummaryRow> {
        let last = self.0.last_verdict.as_ref()?;
        if last.outcome == "failed" { Some(last) } else { self.0.last_full.as_ref() }
    }

    /// `passed`, `failed`, or `waiting` before the first full check.
    pub(crate) fn verdict(&self) -> &str {
        self.deciding().map_or("waiting", |verdict| &verdict.outcome)
    }

    /// The verdict's reason; what keeps a passing node from scoring, if anything does.
    pub(crate) fn reason(&self) -> &str {
        match (self.deciding(), &self.0.gate) {
            (Some(verdict), Some(gate)) if verdict.outcome == "passed" => gate,
            (Some(verdict), _) => &verdict.reason,
            (None, _) => "first_check_due",
        }
    }
}

/// Every node that the validator knows; a localnet has fewer than a page holds.
pub(crate) async fn nodes(api: SocketAddr) -> anyhow::Result<Vec<JudgedNode>> {
    let (_, page) = client::page::<NodePage>(api, "/nodes?limit=500", None).await?;
    Ok(page.nodes.into_iter().map(JudgedNode).collect())
}

/// A vector as it was submitted.
pub(crate) type SubmittedWeights = Vec<(Uid, Weight)>;

/// The newest window's vector, once it is set.
pub(crate) async fn weights(api: SocketAddr) -> anyhow::Result<Option<SubmittedWeights>> {
    let (_, page) = client::page::<WeightsPage>(api, "/weights", None).await?;
    let set = page.latest.filter(|window| window.state == "set");
    Ok(set.map(|window| window.submitted.iter().map(|row| (Uid(row.uid), Weight(row.weight))).collect()))
}
