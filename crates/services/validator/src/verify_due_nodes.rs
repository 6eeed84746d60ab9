//! Reconciler: every available node whose check is due is being checked.
//!
//! The store says what is due, miners taking turns; bounds say how many checks run at a time, light and full apart, so
//! that a slow proof never keeps a light check waiting. What bounds light checks is what they do (see [`crate::slots`]): as many may be
//! under way as there are slots and places to dial. A check that fails without proving anything is put down as a try and
//! comes back as due; nothing waits inside a task. One whose address is not to be knocked at now rests until it may be.

mod meetings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{BoxError, CheckUnderWay, NodeKey, NodeRecord, StoreError};
use basilica_runtime_service::{ErrorChain, Stop, TaskPanic, TaskSet};
use basilica_types::{Hotkey, Millis, Timestamp};
use basilica_verification::{CheckKind, GpuRules, Plan};
use tracing::{error, warn};

use crate::check_node::{Ran, Trial};
use crate::conclude_check;
use crate::isolate::isolated;
use crate::meeting::Seat;
use crate::metrics::type_of;
use crate::shared::Shared;
use crate::slots::Places;
use crate::verify_due_nodes::meetings::Gathering;

/// A check that panicked will most likely do so again: its node waits so long, without a slot.
const AFTER_PANIC: Millis = Millis::from_secs(60);

/// The loop: runs until the stop; checks under way are then abandoned, and are due again after the restart.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    let mut checks = Checks::new(shared);
    loop {
        if let Err(error) = checks.start_due().await {
            warn!(target: "validator::verification", { error = %ErrorChain(&error) }, "due nodes cannot be read");
            checks.shared.store_ready.not_ready(ErrorChain(&error).to_string());
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            Some(done) = checks.tasks.next() => match done {
                Ok(ended) => checks.ended(ended),
                // The runtime is going down: what a check does is isolated.
                Err(panic) => return Err(panic.into()),
            },
            () = checks.shared.ports.clock.sleep(checks.shared.settings.tick) => {}
        }
    }
}

struct Checks {
    shared: Arc<Shared>,
    places: Arc<Places>,
    running: BTreeMap<NodeKey, CheckKind>,
    /// Nodes whose check panicked, or whose address is not to be knocked at, until they may be checked again.
    resting: BTreeMap<NodeKey, Timestamp>,
    /// Nodes that were challenged last and did not come to an end that proves anything.
    missed: BTreeSet<NodeKey>,
    /// Miners without a session, since this loop met them so.
    absent: BTreeMap<Hotkey, Timestamp>,
    tasks: TaskSet<Ended>,
}

/// A check that is no longer under way.
struct Ended {
    key: NodeKey,
    kind: CheckKind,
    took: Duration,
    result: Result<End, TaskPanic>,
}

/// How a check ended for this loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was tried; whether it was challenged and did not come to an end that proves anything.
    Tried { missed: bool },
    /// It was not, and rests until then.
    Postponed(Timestamp),
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.shared.under_way.abandoned();
    }
}

impl Checks {
    fn new(shared: Arc<Shared>) -> Self {
        let (running, resting, absent) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let settings = &shared.settings;
        let places = Arc::new(Places::new(settings.concurrent_dials, settings.concurrent_light));
        Self { shared, places, running, resting, missed: BTreeSet::new(), absent, tasks: TaskSet::new() }
    }

    async fn start_due(&mut self) -> Result<(), StoreError> {
        // Which GPUs count depends on the chain (RULES R18): nothing is judged before it answered.
        let Some(chain) = self.shared.chain_view() else { return Ok(()) };
        let now = self.shared.now();
        self.resting.retain(|_, until| *until > now);
        self.absent.retain(|miner, _| self.shared.access(miner).is_none());
        self.begin_epoch(chain.gpus, now).await?;
        let settings = &self.shared.settings;
        let places = settings.concurrent_light + settings.concurrent_dials + settings.concurrent_full;
        let most = places + self.running.len() + self.resting.len();
        let limit = u32::try_from(most).unwrap_or(u32::MAX);
        let mut gathering = Gathering::default();
        for node in self.shared.ports.store.due_nodes(now, limit).await? {
            let Some(kind) = node.due.kind(now) else { continue };
            let held = self.running.contains_key(&node.key) || self.resting.contains_key(&node.key);
            if held || self.is_full(kind) || !self.may_begin(&node.key.miner, now) {
                continue;
            }
            if self.gathers(&node, kind, &mut gathering) {
                continue;
            }
            let plan = self.plan(kind, chain.gpus, now);
            self.begin(node, plan, None);
        }
        self.convene(gathering, chain.gpus, now).await
    }

    fn plan(&self, kind: CheckKind, gpus: GpuRules, started: Timestamp) -> Plan {
        let probes = self.shared.settings.probes;
        Plan { kind, nonce: self.shared.ports.entropy.array(), gpus, probes, started }
    }

    fn is_full(&self, kind: CheckKind) -> bool {
        let settings = &self.shared.settings;
        let bound = match kind {
            CheckKind::Light => settings.concurrent_light + settings.concurrent_dials,
            CheckKind::Full => settings.concurrent_full,
        };
        self.running.values().filter(|running| **running == kind).count() >= bound
    }

    /// Discovery gets a while to open a session before its absence becomes a verdict. The while begins when this loop first
    /// meets a due node without one, which is not before the check was due, this process started, or the last
    /// session was lost: how long a check has been due says nothing about a validator that was not there.
    fn may_begin(&mut self, miner: &Hotkey, now: Timestamp) -> bool {
        if self.shared.access(miner).is_some() {
            return true;
        }
        let since = *self.absent.entry(*miner).or_insert(now);
        now.since(since) >= self.shared.settings.session_grace
    }

    fn begin(&mut self, node: NodeRecord, plan: Plan, seat: Option<Seat>) {
        self.running.insert(node.key, plan.kind);
        self.shared.under_way.begun(CheckUnderWay { node: node.key, kind: plan.kind, since: plan.started });
        self.shared.metrics.in_flight.get_or_create(&type_of(plan.kind)).inc();
        let (shared, places) = (Arc::clone(&self.shared), Arc::clone(&self.places));
        self.tasks.spawn("check-node", async move {
            let (key, kind) = (node.key, plan.kind);
            let clock = Arc::clone(&shared.ports.clock);
            let began = clock.monotonic();
            let work = async move { check(&shared, &places, node, plan, seat).await };
            let result = isolated("check-node", work).await;
            Ended { key, kind, took: clock.monotonic().saturating_sub(began), result }
        });
    }

    fn ended(&mut self, Ended { key, kind, took, result }: Ended) {
        self.running.remove(&key);
        self.shared.under_way.ended(key);
        self.shared.metrics.in_flight.get_or_create(&type_of(kind)).dec();
        if let Ok(End::Tried { .. }) = result {
            self.shared.metrics.durations.observe(kind, took);
        }
        match (kind, result) {
            (CheckKind::Full, Ok(End::Tried { missed: true })) => {
                self.missed.insert(key);
            }
            (CheckKind::Full, Ok(End::Tried { missed: false })) => {
                self.missed.remove(&key);
            }
            (CheckKind::Light, Ok(End::Tried { .. })) => {}
            (_, Ok(End::Postponed(until))) => {
                self.resting.insert(key, until);
            }
            (_, Err(panic)) => {
                error!(target: "validator::verification", { node.id = %key.node, miner.hotkey = %key.miner,
                    error = %panic }, "check panicked; it will be repeated");
                self.resting.insert(key, self.shared.now() + AFTER_PANIC);
            }
        }
    }
}

/// Runs one try and concludes it.
async fn check(shared: &Shared, places: &Places, node: NodeRecord, plan: Plan, seat: Option<Seat>) -> End {
    // A retry is on a new connection (RULES R4).
    if node.series.is_some_and(|(kind, _)| kind == plan.kind) {
        shared.connections.forget(node.key);
    }
    let tried = match Trial::new(shared, places, &node).in_meeting(seat).run(plan).await {
        Ok(Ran::Tried(tried)) => tried,
        Ok(Ran::Postponed(until)) => return End::Postponed(until),
        Err(rejected) => {
            error!(target: "validator::verification", { node.id = %node.key.node, error = %ErrorChain(&rejected) }, "check took an impossible turn");
            shared.ports.clock.sleep(Millis::from_secs(1)).await;
            return End::Tried { missed: false };
        }
    };
    let missed = tried.missed();
    if let Err(error) = conclude_check::conclude(shared, &node, *tried).await {
        error!(target: "validator::verification", { node.id = %node.key.node, error = %ErrorChain(&error) }, "conclusion cannot be kept; the check will be repeated");
        shared.store_ready.not_ready(ErrorChain(&error).to_string());
        shared.ports.clock.sleep(Millis::from_secs(1)).await;
    }
    End::Tried { missed }
}

#[cfg(test)]
mod tests;
