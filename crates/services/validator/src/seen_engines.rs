//! Which container engines gave their containers GPUs on nodes of others, read of the last full verdicts that are kept.
//!
//! Asked only when a container saw no GPUs. Each verdict is read once; which ones are the last is asked anew after one retry
//! interval, so that a thousand nodes that fail at once are one question. What it means is decided in
//! [`basilica_verification::engines`]. It is read of the store and not noted as checks pass: a validator that has just started, or
//! just begun to lead, knows what its predecessor knew, but for nodes whose last full check was a quick one.

use std::collections::BTreeMap;
use std::time::Duration;

use basilica_ports::{NodeKey, StoreError, VerdictSummary};
use basilica_types::{Digest, Hotkey, Timestamp};
use basilica_verification::engines::{self, GaveGpus};
use basilica_verification::probe::Engine;
use basilica_verification::{Outcome, SignedVerdict};
use tokio::sync::Mutex;
use tracing::warn;

use crate::shared::Shared;

/// What the last passed full verdicts tell.
#[derive(Debug, Default)]
pub(crate) struct SeenEngines(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// By the monotonic clock.
    read: Option<Duration>,
    told: Told,
}

/// Of each node the last passed full verdict that was read, and what is known by it or by one before it.
type Told = BTreeMap<NodeKey, (Digest, Option<GaveGpus>)>;

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
    let moment = shared.ports.clock.monotonic();
    let interval = shared.settings.retries.interval.as_duration();
    if seen.read.is_none_or(|at| moment.saturating_sub(at) >= interval) {
        seen.told = read(shared, &seen.told, since).await?;
        seen.read = Some(moment);
    }
    let told = seen.told.values().filter_map(|(_, told)| told.as_ref());
    let told = engines::gave_gpus_elsewhere(told, miner, engine, since);
    if !told {
        warn!(target: "validator::verification", { engine = engine.program() },
            "a container saw no gpus, and too few nodes of others passed with this engine lately to say that it is the node's fault");
    }
    Ok(told)
}

/// What verdicts since then tell; those that are known are not read again. A quick one, of a fleet epoch, has asked no container and
/// takes nothing back.
async fn read(shared: &Shared, known: &Told, since: Timestamp) -> Result<Told, StoreError> {
    let store = &shared.ports.store;
    let last = store.nodes().await?.into_iter().filter_map(|node| Some((node.key, node.last_full?)));
    let counts = |full: &VerdictSummary| full.outcome == Outcome::Passed && full.finished >= since;
    let mut told = BTreeMap::new();
    for (node, full) in last.filter(|(_, full)| counts(full)) {
        let before = known.get(&node);
        let tells = match before {
            Some((digest, tells)) if *digest == full.digest => *tells,
            _ => {
                let bytes = store.verdict(full.digest).await?;
                // One of bytes that this version cannot read tells nothing.
                let verdict = bytes.and_then(|bytes| SignedVerdict::decode_stored(&bytes).ok());
                let tells = verdict.as_ref().and_then(|verdict| GaveGpus::of(verdict.content()));
                let was_quick =
                    verdict.is_some_and(|verdict| verdict.content().evidence.probes.container_run.is_none());
                tells.or_else(|| before.filter(|_| was_quick).and_then(|(_, tells)| *tells))
            }
        };
        told.insert(node, (full.digest, tells));
    }
    Ok(told)
}
