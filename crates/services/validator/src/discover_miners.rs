//! Reconciler: the metagraph's miners are known, and each has a session and a fresh, signed list of nodes.
//!
//! Two times rule it: the metagraph's age, and each miner's next discovery. Miners are independent: each runs in its own
//! task with its own backoff, so one that hangs delays nobody. Failures are kept with the miner and shown; they
//! say nothing about its nodes (RULES R6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{BoxError, ChainError, NodeChange, SeenMiner, StoreError};
use basilica_runtime_service::{Backoff, ErrorChain, Stop, TaskPanic, TaskSet};
use basilica_types::{Hotkey, Millis, NodeId, Timestamp};
use basilica_verification::GpuRules;
use basilica_wire::discovery::NodeReport;
use tracing::{debug, error, info, warn};

use crate::isolate::isolated;
use crate::sessions::{self, DiscoveryError, Session};
use crate::shared::{ChainView, Shared};

/// Discoveries at a time: each waits up to 25 s for one miner; a subnet has 256 neurons at most.
const CONCURRENT: usize = 64;
/// Longest pause after a failure to read the chain.
const CHAIN_PAUSE: Millis = Millis::from_secs(30);
/// Longest pause after failures, in first pauses (`automatic_verification.rediscovery_pause`).
const BACKOFF_SPREAD: u64 = 12;

/// One miner as the loop remembers it.
struct Miner {
    session: Option<Session>,
    next: Timestamp,
    backoff: Backoff,
    /// The last discovery failed, and `next` is the end of the pause after it.
    backing_off: bool,
    busy: bool,
}

/// The session goes on whether the discovery failed or not: miners allow only so many new ones in an hour.
struct Discovered {
    session: Option<Session>,
    result: Result<Vec<NodeChange>, DiscoveryError>,
}

struct Done {
    miner: SeenMiner,
    result: Result<Discovered, TaskPanic>,
}

/// The loop: runs until the stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    let mut state = Discovery { shared, miners: BTreeMap::new(), tasks: TaskSet::new(), seen: Vec::new() };
    let mut chain_backoff = Backoff::new(Millis(500), CHAIN_PAUSE);
    let mut next_look = state.shared.now();
    let longest = state.shared.settings.metagraph_ttl.max(CHAIN_PAUSE);
    loop {
        // A clock that was ahead and is set right must not put the look that finds it right off by as much.
        next_look = next_look.min(state.shared.now() + longest);
        if state.shared.now() >= next_look {
            let wait = match state.look_at_chain().await {
                Ok(()) => {
                    chain_backoff.reset();
                    state.shared.settings.metagraph_ttl
                }
                Err(error) => {
                    warn!(target: "validator::discovery", { error = %ErrorChain(&error) }, "chain cannot be read");
                    chain_backoff.next(state.shared.ports.entropy.as_ref())
                }
            };
            next_look = state.shared.now() + wait;
        }
        state.start_due();
        let wake = state.next_wake(next_look);
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            Some(done) = state.tasks.next() => match done {
                Ok(done) => state.finish(done).await,
                // The runtime is going down: what a discovery does is isolated.
                Err(panic) => return Err(panic.into()),
            },
            () = state.shared.discover_now.notified() => state.rediscover_lost(),
            () = state.shared.ports.clock.sleep(wake) => {}
        }
    }
}

/// Why the metagraph was not taken over.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("read the metagraph")]
    Chain(#[from] ChainError),
    #[error("keep the metagraph's miners")]
    Store(#[from] StoreError),
}

struct Discovery {
    shared: Arc<Shared>,
    miners: BTreeMap<Hotkey, Miner>,
    tasks: TaskSet<Done>,
    seen: Vec<SeenMiner>,
}

impl Discovery {
    async fn look_at_chain(&mut self) -> Result<(), LookError> {
        let shared = Arc::clone(&self.shared);
        let read = async {
            let identity = shared.ports.chain.identity().await?;
            let metagraph = shared.ports.chain.metagraph(shared.settings.netuid).await?;
            Ok::<_, ChainError>((identity, metagraph))
        };
        let (identity, metagraph) = read.await.inspect_err(|error| {
            shared.chain_ready.not_ready(ErrorChain(error).to_string());
        })?;
        let now = shared.now();
        let gpus =
            GpuRules::new(shared.settings.allow_simulated_gpus, identity.development, &identity.genesis)
                .with_cards(shared.settings.cards.clone());
        if shared.chain_view().is_none() {
            info!(chain.spec = %identity.spec_name, chain.development = identity.development,
                simulated_gpus = gpus.accepts_simulated(), "chain connected");
        }
        let view = ChainView { gpus, metagraph: Arc::new(metagraph), keeps_time: !identity.development };
        self.note_clock(&view, now);
        let metagraph = &view.metagraph;
        // Miners are neurons without a permit that serve an axon (reference §3.3).
        self.seen = metagraph
            .neurons
            .iter()
            .filter(|neuron| !neuron.validator_permit && neuron.hotkey != shared.ports.signer.hotkey())
            .filter_map(|n| n.axon.map(|axon| SeenMiner { hotkey: n.hotkey, uid: n.uid, axon: axon.address }))
            .collect();
        if metagraph.neuron(&shared.ports.signer.hotkey()).is_none() {
            shared.chain_ready.not_ready(format!(
                "hotkey {} is not registered on subnet {}; register it with btcli",
                shared.ports.signer.hotkey(),
                shared.settings.netuid
            ));
        } else {
            shared.chain_ready.ready();
        }
        let stored = shared.ports.store.observe_miners(&self.seen, now).await;
        self.note_store(stored.as_ref().err());
        stored?;
        shared.metrics.known_miners.set(i64::try_from(self.seen.len()).unwrap_or(i64::MAX));
        self.miners.retain(|hotkey, miner| miner.busy || self.seen.iter().any(|s| s.hotkey == *hotkey));
        shared.set_chain_view(view);
        Ok(())
    }

    fn note_clock(&self, view: &ChainView, now: Timestamp) {
        let block = view.metagraph.at;
        let apart = Duration::from_millis(now.abs_diff(block).0).as_secs_f64();
        self.shared.metrics.clock_offset.set(if now < block { -apart } else { apart });
        match view.compare_clock(now) {
            Ok(()) => self.shared.clock_ready.ready(),
            Err(wrong) => self.shared.clock_ready.not_ready(wrong.to_string()),
        }
    }

    fn note_store(&self, error: Option<&StoreError>) {
        match error {
            None => self.shared.store_ready.ready(),
            Some(error) => self.shared.store_ready.not_ready(ErrorChain(error).to_string()),
        }
    }

    /// Starts a task for every miner whose time has come.
    fn start_due(&mut self) {
        let now = self.shared.now();
        for seen in &self.seen {
            if self.tasks.len() >= CONCURRENT {
                return;
            }
            let pause = self.shared.settings.rediscovery_pause;
            let longest =
                Millis(pause.0.saturating_mul(BACKOFF_SPREAD)).min(self.shared.settings.discovery_interval);
            let miner = self.miners.entry(seen.hotkey).or_insert_with(|| Miner {
                session: None,
                next: now,
                backoff: Backoff::new(pause, longest),
                backing_off: false,
                busy: false,
            });
            if miner.busy || miner.next > now {
                continue;
            }
            miner.busy = true;
            let (shared, seen, session) = (Arc::clone(&self.shared), *seen, miner.session.take());
            self.tasks.spawn("discover-miner", async move {
                let work = async move { discover(&shared, &seen, session).await };
                Done { miner: seen, result: isolated("discover-miner", work).await }
            });
        }
    }

    async fn finish(&mut self, done: Done) {
        let Done { miner: seen, result } = done;
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        let Some(miner) = self.miners.get_mut(&seen.hotkey) else { return };
        miner.busy = false;
        let result = result.map(|discovered| {
            miner.session = discovered.session;
            discovered.result
        });
        miner.backing_off = !matches!(result, Ok(Ok(_)));
        match result {
            Ok(Ok(changes)) => {
                miner.backoff.reset();
                miner.next = now + shared.settings.discovery_interval;
                shared.metrics.miners_discovered.inc();
                for change in &changes {
                    log_change(change);
                    // The next check must meet the new key, or the node as it is when it comes back.
                    if let NodeChange::Availability { node, .. } | NodeChange::HostKey { node, .. } = change {
                        shared.connections.forget(*node);
                    }
                }
                debug!(target: "validator::discovery", { miner.hotkey = %seen.hotkey }, "miner discovered");
            }
            Err(panic) => {
                miner.next = now + miner.backoff.next(shared.ports.entropy.as_ref());
                shared.metrics.discovery_failures.inc();
                error!(target: "validator::discovery", { miner.hotkey = %seen.hotkey, error = %panic }, "discovery panicked; it will be repeated");
            }
            Ok(Err(error)) => {
                miner.next = now + miner.backoff.next(shared.ports.entropy.as_ref());
                shared.metrics.discovery_failures.inc();
                let why = ErrorChain(&error).to_string();
                warn!(target: "validator::discovery", { miner.uid = %seen.uid, miner.hotkey = %seen.hotkey,
                    error = %why }, "miner cannot be discovered");
                let stored = shared.ports.store.record_discovery_failure(seen.hotkey, &why).await;
                self.note_store(stored.as_ref().err());
            }
        }
    }

    /// Brings forward the discovery of miners without access, but not against their backoff.
    fn rediscover_lost(&mut self) {
        let now = self.shared.now();
        let soonest = now + self.shared.settings.rediscovery_pause;
        for (hotkey, miner) in &mut self.miners {
            let lost = self.shared.access(hotkey).is_none();
            // After a failure the session was never lost: it has deployed nothing yet.
            if lost && !miner.backing_off {
                miner.session = None;
            }
            // A node that denied the key needs it deployed again; the session goes on for the others.
            if (lost || self.shared.take_refusal(hotkey)) && !miner.backing_off {
                miner.next = miner.next.min(soonest);
            }
        }
    }

    fn next_wake(&self, next_look: Timestamp) -> Millis {
        let now = self.shared.now();
        let due = self.miners.values().filter(|m| !m.busy).map(|m| m.next).min();
        let next = due.map_or(next_look, |due| due.min(next_look));
        Millis(next.since(now).0.clamp(10, 60_000))
    }
}

/// One discovery with the session of the one before, where it is still good.
async fn discover(shared: &Shared, miner: &SeenMiner, session: Option<Session>) -> Discovered {
    let mut session = session.filter(|session| session.is_fresh(miner.axon, shared.now()));
    let result = discover_with(shared, miner, &mut session).await;
    if result.as_ref().is_err_and(DiscoveryError::session_is_unknown) {
        session = None;
    }
    Discovered { session, result }
}

/// A session that the miner no longer knows is replaced once.
async fn discover_with(
    shared: &Shared,
    miner: &SeenMiner,
    kept: &mut Option<Session>,
) -> Result<Vec<NodeChange>, DiscoveryError> {
    let store = &shared.ports.store;
    let epoch = store.fencing_token().await.map_err(|error| DiscoveryError::Store(error.into()))?;
    let known = kept.is_some();
    let session = match kept.take() {
        Some(session) => kept.insert(session),
        None => kept.insert(sessions::open(shared, miner).await?),
    };
    let nodes = match sessions::discover(shared, session, miner.hotkey, epoch).await {
        Err(error) if known && error.session_is_unknown() => {
            *session = sessions::open(shared, miner).await?;
            sessions::discover(shared, session, miner.hotkey, epoch).await?
        }
        nodes => nodes?,
    };
    let known = store.nodes_of(miner.hotkey).await.map_err(|error| DiscoveryError::Store(error.into()))?;
    let (nodes, refused) = bounded(nodes, &known, shared.settings.max_nodes_per_miner);
    if refused > 0 {
        warn!(target: "validator::discovery", { miner.hotkey = %miner.hotkey, nodes.refused = refused,
            nodes.known = known.len(), nodes.most = shared.settings.max_nodes_per_miner },
            "miner lists more new nodes than verification.max_nodes_per_miner leaves room for; the rest is refused");
    }
    let changes = store
        .record_discovery(miner.hotkey, &nodes, shared.now())
        .await
        .map_err(|error| DiscoveryError::Store(error.into()))?;
    shared.set_access(miner.hotkey, Arc::clone(&session.access));
    Ok(changes)
}

/// The reports that are taken over, and how many are not. Nodes that are remembered keep their place whatever else a
/// miner lists; those that it dropped count until they are forgotten, or names without end would cost nothing.
fn bounded(nodes: Vec<NodeReport>, known: &[NodeId], most: usize) -> (Vec<NodeReport>, usize) {
    let mut taken: BTreeSet<NodeId> = known.iter().copied().collect();
    let all = nodes.len();
    let mut kept = nodes;
    kept.retain(|report| {
        let id = report.address.node_id();
        taken.contains(&id) || (taken.len() < most && taken.insert(id))
    });
    let refused = all - kept.len();
    (kept, refused)
}

fn log_change(change: &NodeChange) {
    match change {
        NodeChange::New(key) => {
            info!(target: "validator::discovery", { node.id = %key.node, miner.hotkey = %key.miner }, "node discovered");
        }
        NodeChange::Availability { node, listed } => {
            let status = listed.map_or("gone", |status| status.as_str());
            info!(target: "validator::discovery", { node.id = %node.node, miner.hotkey = %node.miner, node.status = status }, "node availability changed");
        }
        NodeChange::HostKey { node, before, after } => {
            warn!(target: "validator::ssh", { node.id = %node.node, miner.hotkey = %node.miner,
                host_key.before = ?before, host_key.after = ?after }, "node's host key changed by its miner's signed response; a full check must pass before weight returns");
        }
    }
}

#[cfg(test)]
mod tests;
