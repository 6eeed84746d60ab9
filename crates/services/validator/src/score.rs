//! Reconciler: every node's score is what its history says, and each miner's points are their sum.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_ports::{BoxError, NodeConduct, NodeScore, PaidGpu, Scores, StoreError, StoredStanding};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_scoring::weights::{MinerPoints, node_points};
use basilica_types::{Category, Hotkey, Timestamp, Uid};
use tracing::{debug, info, warn};

use crate::settings::Settings;
use crate::shared::Shared;

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) nodes: usize,
    pub(crate) scored: usize,
    pub(crate) banned: usize,
}

/// The loop: runs until the stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    loop {
        match reconcile(&shared).await {
            Ok(report) => {
                shared.store_ready.ready();
                shared.metrics.bans_active.set(i64::try_from(report.banned).unwrap_or(i64::MAX));
                debug!(nodes = report.nodes, scored = report.scored, banned = report.banned, "nodes scored");
            }
            Err(error) => {
                warn!(error = %ErrorChain(&error), "nodes cannot be scored");
                shared.store_ready.not_ready(ErrorChain(&error).to_string());
            }
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            () = shared.ports.clock.sleep(shared.settings.score_interval) => {}
        }
    }
}

/// Scores every node whose score can matter by what its history comes to as of now.
///
/// What has to be folded anew is, first: after an upgrade whose fold differs, or a changed policy.
pub(crate) async fn reconcile(shared: &Shared) -> Result<Report, StoreError> {
    let now = shared.now();
    let store = &shared.ports.store;
    let mut nodes = store.conducts().await?;
    if nodes.iter().any(|node| node.record.is_none()) {
        let folded = store.refold().await?;
        info!(
            nodes = folded,
            "history folded anew: it was folded by other rules, or its records were damaged"
        );
        nodes = store.conducts().await?;
    }
    let mut standings = Vec::new();
    let mut report = Report { nodes: nodes.len(), ..Report::default() };
    for node in nodes.iter().filter(|node| matters(node, now)) {
        let Some(record) = &node.record else { continue };
        let standing = record.standing(&node.gpus, &shared.settings.scoring, now);
        report.scored += usize::from(standing.score.value() > 0);
        report.banned += usize::from(standing.banned_until.is_some());
        standings.push((
            node.key,
            StoredStanding {
                gate: standing.gate.code().to_owned(),
                score: standing.score,
                multiplier: standing.multiplier,
                banned_until: standing.banned_until,
                at: now,
            },
        ));
    }
    store.record_standings(&standings).await?;
    Ok(report)
}

/// Whether a node's score can change anything: a miner may list and drop nodes without end, and what it dropped is read
/// again only to take its score away and while its ban runs.
fn matters(node: &NodeConduct, now: Timestamp) -> bool {
    let unsettled = |standing: &StoredStanding| {
        standing.score.value() > 0 || standing.banned_until.is_some_and(|until| until > now)
    };
    node.listed || node.standing.as_ref().is_some_and(unsettled)
}

/// Whether no pass of scoring succeeded for so long that the stored scores say nothing any more. Every pass renews
/// those of all listed nodes at once.
pub(crate) fn is_stuck(scores: &Scores, settings: &Settings, now: Timestamp) -> bool {
    // Without any pass yet, the node that has waited longest tells.
    let since = scores.last_pass.or(scores.waiting_since);
    since.is_some_and(|since| now.since(since) > settings.score_max_age)
}

/// The points of every miner in every category, from the stored scores of available nodes. Nodes of miners that left the
/// metagraph bring none.
pub(crate) fn points(
    nodes: &[NodeScore],
    uids: &BTreeMap<Hotkey, Uid>,
    settings: &Settings,
    now: Timestamp,
) -> Vec<MinerPoints> {
    let mut points: BTreeMap<(Uid, Category), u128> = BTreeMap::new();
    for node in nodes {
        let Some(uid) = uids.get(&node.key.miner) else { continue };
        // A score that nobody renewed is not a score: the scoring loop may have failed since.
        if now.since(node.at) > settings.score_max_age {
            continue;
        }
        for category in Category::ALL {
            let minimum = settings.minimum(category);
            // Of one that was proved before its memory was written down, the next full check tells.
            let counts = |paid: &&PaidGpu| {
                paid.gpu.category == category
                    && paid.memory_bytes.is_none_or(|bytes| bytes >= minimum.memory_bytes)
            };
            let count = u32::try_from(node.gpus.iter().filter(counts).count()).unwrap_or(u32::MAX);
            if count == 0 || count < minimum.gpus {
                continue;
            }
            let sum = points.entry((*uid, category)).or_insert(0);
            *sum = sum.saturating_add(node_points(node.score, count, node.multiplier));
        }
    }
    points.into_iter().map(|((uid, category), points)| MinerPoints { uid, category, points }).collect()
}

#[cfg(test)]
mod tests;
