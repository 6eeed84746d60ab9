//! Which container engines gave their containers GPUs on nodes of others, read of the last full verdicts that are kept.
//!
//! Asked only when a container saw no GPUs. Each verdict is read once; which ones are the last is asked anew after one retry
//! interval, so that a thousand nodes that fail at once are one question. What it means is decided in
//! [`basilica_verification::engines`]. It is read of the store and not noted as checks pass: a validator that has just started, or
//! just begun to lead, knows what its predecessor knew.

use std::collections::BTreeMap;

use basilica_ports::{StoreError, VerdictSummary};
use basilica_types::{Digest, Hotkey, Timestamp};
use basilica_verification::engines::{self, GaveGpus};
use basilica_verification::probe::Engine;
use basilica_verification::{Outcome, SignedVerdict};
use tokio::sync::Mutex;
use tracing::warn;

use crate::shared::Shared;

/// What the last passed full verdicts tell, by their digests: at most one of each node.
#[derive(Debug, Default)]
pub(crate) struct SeenEngines(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    read: Option<Timestamp>,
    told: BTreeMap<Digest, Option<GaveGpus>>,
}

/// Whether nodes of enough miners other than this one passed their full checks by this engine within the time for which a full check
/// counts.
pub(crate) async fn gave_gpus_elsewhere(
    shared: &Shared,
    miner: &Hotkey,
    engine: Engine,
) -> Result<bool, StoreError> {
    let mut seen = shared.seen_engines.0.lock().await;
    let now = shared.now();
    let since = now - shared.settings.scoring.full_max_age;
    if seen.read.is_none_or(|at| at <= now - shared.settings.retries.interval) {
        seen.told = read(shared, &seen.told, since).await?;
        seen.read = Some(now);
    }
    let told = engines::gave_gpus_elsewhere(seen.told.values().flatten(), miner, engine, since);
    if !told {
        warn!(target: "validator::verification", { engine = engine.program() },
            "a container saw no gpus, and too few nodes of others passed with this engine lately to say that it is the node's fault");
    }
    Ok(told)
}

/// What verdicts since then tell; those that are known are not read again.
async fn read(
    shared: &Shared,
    known: &BTreeMap<Digest, Option<GaveGpus>>,
    since: Timestamp,
) -> Result<BTreeMap<Digest, Option<GaveGpus>>, StoreError> {
    let store = &shared.ports.store;
    let last = store.nodes().await?.into_iter().filter_map(|node| node.last_full);
    let counts = |full: &VerdictSummary| full.outcome == Outcome::Passed && full.finished >= since;
    let mut told = BTreeMap::new();
    for full in last.filter(counts) {
        let tells = match known.get(&full.digest) {
            Some(tells) => *tells,
            None => {
                let bytes = store.verdict(full.digest).await?;
                // One of bytes that this version cannot read tells nothing.
                let verdict = bytes.and_then(|bytes| SignedVerdict::decode_stored(&bytes).ok());
                verdict.and_then(|verdict| GaveGpus::of(verdict.content()))
            }
        };
        told.insert(full.digest, tells);
    }
    Ok(told)
}
