//! Reconciler: every available node whose check is due is being checked.
//!
//! The store says what is due, miners taking turns; bounds say how many checks run at a time, light and full apart, so
//! that a slow proof never keeps a light check waiting. A check that fails without proving anything is put down as
//! a try and comes back as due; nothing waits inside a task. Missing: a check that waits on its node keeps its slot
//! (RULES R29 wants it released after a second).

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_ports::{BoxError, NodeKey, NodeRecord, StoreError};
use basilica_runtime_service::{ErrorChain, Stop, TaskSet};
use basilica_types::{Millis, Timestamp};
use basilica_verification::{CheckKind, Plan};
use tokio::sync::Semaphore;
use tracing::{error, warn};

use crate::check_node::Trial;
use crate::conclude_check;
use crate::metrics::type_of;
use crate::shared::Shared;

/// The loop: runs until the stop; checks under way are then abandoned, and are due again after the restart.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    let dials = Arc::new(Semaphore::new(shared.settings.concurrent_dials));
    let mut checks = Checks { shared, dials, running: BTreeMap::new(), tasks: TaskSet::new() };
    loop {
        if let Err(error) = checks.start_due().await {
            warn!(target: "validator::verification", { error = %ErrorChain(&error) }, "due nodes cannot be read");
            checks.shared.store_ready.not_ready(ErrorChain(&error).to_string());
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            Some(done) = checks.tasks.next() => match done {
                Ok((key, kind)) => checks.ended(key, kind),
                // Which node it was is not known. The supervisor starts this loop again; what was under way is due still.
                Err(panic) => return Err(panic.into()),
            },
            () = checks.shared.ports.clock.sleep(checks.shared.settings.tick) => {}
        }
    }
}

struct Checks {
    shared: Arc<Shared>,
    dials: Arc<Semaphore>,
    running: BTreeMap<NodeKey, CheckKind>,
    tasks: TaskSet<(NodeKey, CheckKind)>,
}

impl Checks {
    async fn start_due(&mut self) -> Result<(), StoreError> {
        // Which GPUs count depends on the chain (RULES R18): nothing is judged before it answered.
        let Some(chain) = self.shared.chain_view() else { return Ok(()) };
        let now = self.shared.now();
        let settings = &self.shared.settings;
        let most = settings.concurrent_light + settings.concurrent_full + self.running.len();
        let limit = u32::try_from(most).unwrap_or(u32::MAX);
        for node in self.shared.ports.store.due_nodes(now, limit).await? {
            let Some(kind) = node.due.kind(now) else { continue };
            if self.running.contains_key(&node.key) || self.is_full(kind) || !self.may_begin(&node, now) {
                continue;
            }
            let plan =
                Plan { kind, nonce: self.shared.ports.entropy.array(), gpus: chain.gpus, started: now };
            self.begin(node, plan);
        }
        Ok(())
    }

    fn is_full(&self, kind: CheckKind) -> bool {
        let bound = match kind {
            CheckKind::Light => self.shared.settings.concurrent_light,
            CheckKind::Full => self.shared.settings.concurrent_full,
        };
        self.running.values().filter(|running| **running == kind).count() >= bound
    }

    /// After a start, and after a session's end, discovery gets a while to open a session before its absence becomes a
    /// verdict.
    fn may_begin(&self, node: &NodeRecord, now: Timestamp) -> bool {
        self.shared.access(&node.key.miner).is_some()
            || now.since(node.due.next()) >= self.shared.settings.session_grace
    }

    fn begin(&mut self, node: NodeRecord, plan: Plan) {
        self.running.insert(node.key, plan.kind);
        self.shared.metrics.in_flight.get_or_create(&type_of(plan.kind)).inc();
        let (shared, dials) = (Arc::clone(&self.shared), Arc::clone(&self.dials));
        self.tasks.spawn("check-node", async move {
            let ended = (node.key, plan.kind);
            check(&shared, &dials, node, plan).await;
            ended
        });
    }

    fn ended(&mut self, key: NodeKey, kind: CheckKind) {
        self.running.remove(&key);
        self.shared.metrics.in_flight.get_or_create(&type_of(kind)).dec();
    }
}

async fn check(shared: &Shared, dials: &Semaphore, node: NodeRecord, plan: Plan) {
    // A retry is on a new connection (RULES R4).
    if node.series.is_some_and(|(kind, _)| kind == plan.kind) {
        shared.connections.forget(node.key);
    }
    let tried = match Trial::new(shared, dials, &node).run(plan).await {
        Ok(tried) => tried,
        Err(rejected) => {
            error!(target: "validator::verification", { node.id = %node.key.node, error = %ErrorChain(&rejected) }, "check took an impossible turn");
            return shared.ports.clock.sleep(Millis::from_secs(1)).await;
        }
    };
    if let Err(error) = conclude_check::conclude(shared, &node, tried).await {
        error!(target: "validator::verification", { node.id = %node.key.node, error = %ErrorChain(&error) }, "conclusion cannot be kept; the check will be repeated");
        shared.store_ready.not_ready(ErrorChain(&error).to_string());
        shared.ports.clock.sleep(Millis::from_secs(1)).await;
    }
}
