//! Reconciler: every available node whose check is due is being checked.
//!
//! The store says what is due, miners taking turns; bounds say how many checks run at a time, light and full apart, and each is
//! asked for by itself, so that neither slow proofs nor a backlog of them keep a light check waiting. What bounds light checks is what they do (see [`crate::slots`]): as many may be
//! under way as there are slots and places to dial. A check that fails without proving anything is put down as a try and
//! comes back as due; nothing waits inside a task. One whose address is not to be knocked at now rests until it may be. Every step of
//! a check has a deadline of its own; that a whole check ends is seen to here all the same ([`overall`]).

mod load;
mod meetings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{BoxError, CheckUnderWay, NodeKey, NodeRecord, StoreError};
use basilica_probing_service::{DRAWS, ProbingSettings};
use basilica_runtime_service::{ErrorChain, Stop, TaskPanic, TaskSet, within};
use basilica_types::{Hotkey, Millis, Timestamp};
use basilica_verification::{CheckKind, GpuRules, Plan};
use tracing::{error, warn};

use crate::check_node::{Ran, Trial, Tried};
use crate::conclude_check;
use crate::isolate::isolated;
use crate::meeting::Seat;
use crate::metrics::type_of;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::slots::Places;
use crate::verify_due_nodes::load::{Bounds, Load};
use crate::verify_due_nodes::meetings::Gathering;

/// A check that panicked will most likely do so again: its node waits so long, without a slot.
const AFTER_PANIC: Millis = Millis::from_secs(60);

/// Between two looks at what is due. A look reads as many nodes as could be begun and are under way: one for each check that ends
/// would leave the store and a processor to nothing else where thousands are due.
const PAUSE: Millis = Millis(50);
/// Stages of a proof, each of which may take as long as the longest.
const PROOF_PARTS: u64 = 6;
/// For slots, places to dial, memory for answers and cores to check them.
const WAITS: Millis = Millis::from_secs(600);

/// The loop: runs until the stop; checks under way are then abandoned, and are due again after the restart.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    let mut checks = Checks::new(shared);
    let clock = Arc::clone(&checks.shared.ports.clock);
    loop {
        let began = clock.monotonic();
        if let Err(error) = checks.start_due().await {
            warn!(target: "validator::verification", { error = %ErrorChain(&error) }, "due nodes cannot be read");
            checks.shared.store_ready.not_ready(ErrorChain(&error).to_string());
        }
        let took = Millis::from(clock.monotonic().saturating_sub(began));
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            // The runtime is going down: what a check does is isolated.
            panic = checks.until_the_next_look(took) => panic?,
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
    /// Until when groups that wait to be asked at once are not looked at again.
    convene_after: Timestamp,
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
        let convene_after = Timestamp(0);
        let settings = &shared.settings;
        let places = Arc::new(Places::new(settings.concurrent_dials, settings.concurrent_light));
        Self {
            shared,
            places,
            running,
            resting,
            missed: BTreeSet::new(),
            absent,
            convene_after,
            tasks: TaskSet::new(),
        }
    }

    async fn start_due(&mut self) -> Result<(), StoreError> {
        // Which GPUs count depends on the chain (RULES R18): nothing is judged before it answered.
        let Some(chain) = self.shared.chain_view() else { return Ok(()) };
        // Verdicts would carry wrong times, and miners would refuse the sessions that checks need.
        if self.shared.clock_is_behind() {
            return Ok(());
        }
        let now = self.shared.now();
        self.resting.retain(|_, until| *until > now);
        self.absent.retain(|miner, _| self.shared.access(miner).is_none());
        self.begin_epoch(&chain.gpus, now).await?;
        let mut gathering = Gathering::default();
        let mut load = Load::of(&self.running, Bounds::of(&self.shared.settings));
        for turn in [CheckKind::Full, CheckKind::Light] {
            if !load.has_place(turn) {
                continue;
            }
            // Those that are held are due as well.
            let most = load.places(turn) + self.running.len() + self.resting.len();
            let limit = u32::try_from(most).unwrap_or(u32::MAX);
            for node in self.shared.ports.store.due_nodes(turn, now, limit).await? {
                let held = self.running.contains_key(&node.key)
                    || self.resting.contains_key(&node.key)
                    || gathering.contains(&node.key);
                let Some(kind) = load.kind(&node, turn, now).filter(|_| !held) else { continue };
                if !self.may_begin(&node.key.miner, now) || self.gathers(&node, kind, &mut gathering) {
                    continue;
                }
                load.begun(node.key.miner, kind);
                let plan = self.plan(kind, &chain.gpus, now);
                self.begin(node, plan, None);
            }
        }
        self.convene(gathering, &chain.gpus, now).await
    }

    fn plan(&self, kind: CheckKind, gpus: &GpuRules, started: Timestamp) -> Plan {
        let probes = self.shared.settings.probes;
        Plan { kind, nonce: self.shared.ports.entropy.array(), gpus: gpus.clone(), probes, started }
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

    /// Takes note of checks that end, until it is time to look for more: a tick later, or once a place is free and the last look is
    /// so long ago that looking takes a quarter of the time at most.
    async fn until_the_next_look(&mut self, took: Millis) -> Result<(), TaskPanic> {
        let clock = Arc::clone(&self.shared.ports.clock);
        let pause = PAUSE.max(Millis(took.0.saturating_mul(3)));
        let mut rest = clock.sleep(pause);
        let mut tick = clock.sleep(self.shared.settings.tick.max(pause));
        let (mut rested, mut is_free) = (false, false);
        while !(rested && is_free) {
            tokio::select! {
                biased;
                Some(done) = self.tasks.next() => {
                    self.ended(done?);
                    is_free = true;
                }
                () = &mut rest, if !rested => rested = true,
                () = &mut tick => break,
            }
        }
        Ok(())
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

/// How long a check may take in all: twice what the deadlines of its steps sum to, for what waits on bounds of our own, and some
/// more. A step that loses its deadline would else keep a slot and its node until the next restart.
fn overall(settings: &Settings, kind: CheckKind) -> Millis {
    let ProbingSettings { command_deadline, upload_deadline, reach_deadline, .. } = &settings.probing;
    let login = [settings.connect_deadline, *command_deadline];
    let full = [
        *upload_deadline,
        settings.probing.pull_deadline,
        Millis(reach_deadline.0.saturating_add(command_deadline.0).saturating_mul(DRAWS)),
        Millis(settings.probing.proof_deadline.0.saturating_mul(PROOF_PARTS)),
        settings.probing.network_deadline,
        Millis(command_deadline.0.saturating_mul(3)),
    ];
    // A pooled connection that is dead is replaced once.
    let steps = login.iter().chain(&login).chain(full.iter().filter(|_| kind == CheckKind::Full));
    let sum = steps.fold(0u64, |sum, step| sum.saturating_add(step.0));
    Millis(sum.saturating_mul(2).saturating_add(WAITS.0))
}

/// Runs one try and concludes it.
async fn check(shared: &Shared, places: &Places, node: NodeRecord, plan: Plan, seat: Option<Seat>) -> End {
    // A retry is on a new connection (RULES R4).
    if node.series.is_some_and(|(kind, _)| kind == plan.kind) {
        shared.connections.forget(node.key);
    }
    let run = Trial::new(shared, places, &node).in_meeting(seat).run(plan.clone());
    let ran = match within(shared.ports.clock.as_ref(), overall(&shared.settings, plan.kind), run).await {
        Ok(ran) => ran,
        Err(elapsed) => {
            error!(target: "validator::verification", { node.id = %node.key.node, check.kind = plan.kind.as_str(),
                error = %ErrorChain(&elapsed) }, "check did not end by its own deadlines; it is given up");
            shared.connections.forget(node.key);
            Tried::given_up(plan, shared.now())
        }
    };
    let tried = match ran {
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
