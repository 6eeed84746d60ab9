//! Reconciler: every node's score is what its history says, and each miner's points are their sum.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_ports::{Absence, BoxError, HistoryEntry, NodeRecord, StoreError, StoredStanding};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_scoring::history::{self, Check, Entry};
use basilica_scoring::weights::{MinerPoints, node_points};
use basilica_types::{Category, Millis, Timestamp, Uid};
use tracing::{debug, warn};

use crate::settings::Settings;
use crate::shared::Shared;

/// Beyond the ramp, so much of history is looked at: the ban table's longest window twice, for bans that bans extend.
const BEYOND_RAMP: Millis = Millis::from_secs(14 * 24 * 3600);

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

/// Scores every node whose score can matter by its history as of now.
pub(crate) async fn reconcile(shared: &Shared) -> Result<Report, StoreError> {
    let now = shared.now();
    let policy = &shared.settings.scoring;
    let since = now - Millis(policy.ramp.0.saturating_add(BEYOND_RAMP.0));
    let nodes = shared.ports.store.nodes().await?;
    let mut standings = Vec::new();
    let mut report = Report { nodes: nodes.len(), ..Report::default() };
    for node in nodes.iter().filter(|node| matters(node, now)) {
        let entries: Vec<Entry> =
            shared.ports.store.history(node.key, since).await?.iter().map(history_entry).collect();
        let standing = history::standing(&entries, policy, now);
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
    shared.ports.store.record_standings(&standings).await?;
    Ok(report)
}

/// Whether a node's score can change anything: a miner may list and drop nodes without end, and what it dropped is read
/// again only to take its score away and while its ban runs.
fn matters(node: &NodeRecord, now: Timestamp) -> bool {
    let unsettled = |standing: &StoredStanding| {
        standing.score.value() > 0 || standing.banned_until.is_some_and(|until| until > now)
    };
    node.listed.is_some() || node.standing.as_ref().is_some_and(unsettled)
}

/// Whether no pass of scoring succeeded for so long that the stored scores say nothing any more. Every pass renews
/// those of all listed nodes at once.
pub(crate) fn is_stuck(nodes: &[NodeRecord], settings: &Settings, now: Timestamp) -> bool {
    let listed = || nodes.iter().filter(|node| node.listed.is_some());
    let last_pass = listed().filter_map(|node| node.standing.as_ref()).map(|standing| standing.at).max();
    // Without any pass yet, the node that has waited longest tells.
    let since = last_pass.or_else(|| listed().map(|node| node.first_seen).min());
    since.is_some_and(|since| now.since(since) > settings.score_max_age)
}

/// An entry in scoring's words.
fn history_entry(entry: &HistoryEntry) -> Entry {
    match entry {
        HistoryEntry::Unavailable(at, absence) => Entry::Unavailable(*at, scoring_absence(*absence)),
        HistoryEntry::Available(at) => Entry::Available(*at),
        HistoryEntry::Check { started, finished, kind, outcome } => {
            Entry::Check(Check::concluded(*kind, *started, *finished, outcome))
        }
    }
}

const fn scoring_absence(absence: Absence) -> history::Absence {
    match absence {
        Absence::Unlisted => history::Absence::Unlisted,
        Absence::Unreachable => history::Absence::Unreachable,
        Absence::Maintenance => history::Absence::Maintenance,
        Absence::KeyPending => history::Absence::KeyPending,
    }
}

/// The points of every miner in every category, from the stored scores. Nodes of miners that left the metagraph, and
/// nodes that are not available, bring none.
pub(crate) fn points(
    nodes: &[NodeRecord],
    uids: &BTreeMap<basilica_types::Hotkey, Uid>,
    settings: &Settings,
    now: Timestamp,
) -> Vec<MinerPoints> {
    let mut points: BTreeMap<(Uid, Category), u128> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.is_available()) {
        let (Some(uid), Some(standing), Some((_, gpus))) =
            (uids.get(&node.key.miner), &node.standing, &node.last_proof)
        else {
            continue;
        };
        // A score that nobody renewed is not a score: the scoring loop may have failed since.
        if now.since(standing.at) > settings.score_max_age {
            continue;
        }
        for category in Category::ALL {
            let count = gpus.iter().filter(|gpu| gpu.category == category).count();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            if count == 0 || count < settings.min_gpus(category) {
                continue;
            }
            let sum = points.entry((*uid, category)).or_insert(0);
            *sum = sum.saturating_add(node_points(standing.score, count, standing.multiplier));
        }
    }
    points.into_iter().map(|((uid, category), points)| MinerPoints { uid, category, points }).collect()
}

#[cfg(test)]
mod tests;
