//! The validator: discovers, verifies, scores and sets weights.
//!
//! Eight reconcilers, one file each, under one supervisor: `discover_miners` keeps a session and a signed node list of every
//! miner, `verify_due_nodes` checks what is due, `fleet_epochs` tells it when all nodes are, `score` turns history into standings, `set_weights` brings them on chain, once
//! per window, `end_days` closes the log of verdicts day by day, `prune` keeps the database bounded; `queries` answers the faces. They share no queue: each reads what is so from the store and moves
//! it one step, so a restart, a lost wake-up and a slow neighbour are the same case. What is decided, and whose fault it
//! is, is pure and lives in `basilica-verification` and `basilica-scoring`.
//!
//! Of several validators on one database one leads, and only its reconcilers work: `leadership`.
//!
//! **Invariant:** nothing that must survive a restart is only in memory; session keys are only in memory.

mod ask_registry;
mod beacon;
mod check_node;
mod conclude_check;
mod config;
mod connections;
mod discover_miners;
mod end_days;
mod fleet_epochs;
mod isolate;
mod leadership;
mod meeting;
mod metrics;
mod prune;
mod queries;
mod score;
#[cfg(test)]
mod scripted;
mod seen_engines;
mod sessions;
mod set_weights;
mod settings;
mod shared;
mod sign;
mod slots;
mod under_way;
mod verify_due_nodes;

use std::sync::Arc;

use basilica_ports::{BoxError, Leadership};
use basilica_probing_service::ProverFile;
use basilica_runtime_service::{Metrics, OnFailure, Readiness, Stop, Supervisor};
use basilica_types::Millis;

pub use config::{
    ApiConfig, BittensorConfig, DatabaseConfig, DiscoveryConfig, DockerValidationConfig, EmissionConfig,
    GpuAllocation, GpuAllocationTable, GpuCardConfig, HaConfig, IGNORED, MetricsConfig, ProbeDemand,
    ProbesConfig, PrometheusConfig, ProofConfig, RetentionConfig, ScoringConfig, ServerConfig, SshConfig,
    StorageValidationConfig, ValidatorConfig, VerificationConfig, VersionSetting,
};
pub use leadership::LeaseRules;
pub use queries::Queries;
pub use sessions::DiscoveryError;
pub use set_weights::emission;
pub use settings::Settings;
pub use shared::Ports;

use crate::leadership::Office;
use crate::metrics::ValidatorMetrics;
use crate::metrics::fleet::FleetMetrics;
use crate::shared::Shared;

/// A task that fails is started again.
const AGAIN: OnFailure = OnFailure::Restart { initial: Millis(500), max: Millis::from_secs(60) };

/// A validator that does not run yet.
pub struct Validator {
    shared: Arc<Shared>,
    readiness: Readiness,
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").field("ports", &self.shared.ports).finish_non_exhaustive()
    }
}

impl Validator {
    /// Puts the parts together and registers metrics and readiness conditions; starts nothing.
    pub fn new(
        ports: Ports,
        settings: Settings,
        prover: ProverFile,
        metrics: &Metrics,
        readiness: &Readiness,
    ) -> Self {
        let own = ValidatorMetrics::register(metrics);
        let shared = Arc::new(Shared::new(ports, settings, prover, own, readiness));
        let fleet = Box::new(FleetMetrics(Arc::clone(&shared)));
        metrics.register(|registry| registry.register_collector(fleet));
        Self { shared, readiness: readiness.clone() }
    }

    /// What the validator's faces ask.
    pub fn queries(&self) -> Queries {
        Queries::new(Arc::clone(&self.shared), self.readiness.clone())
    }

    /// Starts the reconcilers, which work while this process leads. One that fails or panics is started again; its state is
    /// in the store. `holder` is what other validators are told of who leads.
    pub fn start(&self, supervisor: &Supervisor, leadership: Arc<dyn Leadership>, holder: String) {
        self.reconciler(supervisor, "discover-miners", discover_miners::run);
        self.reconciler(supervisor, "verify-due-nodes", verify_due_nodes::run);
        self.reconciler(supervisor, "fleet-epochs", fleet_epochs::run);
        self.reconciler(supervisor, "score", score::run);
        self.reconciler(supervisor, "set-weights", set_weights::run);
        self.reconciler(supervisor, "end-days", end_days::run);
        self.reconciler(supervisor, "prune", prune::run);
        // What is shown is read only, and a standby shows it too.
        let shared = Arc::clone(&self.shared);
        supervisor.spawn("fleet-view", AGAIN, move |stop| queries::keep_fresh(Arc::clone(&shared), stop));
        let office = Arc::new(Office {
            leadership,
            holder,
            rules: self.shared.settings.lease.clone(),
            clock: Arc::clone(&self.shared.ports.clock),
            metrics: self.shared.metrics.clone(),
            condition: self.readiness.condition("leadership"),
            retire: Box::new({
                let shared = Arc::clone(&self.shared);
                move || shared.end_sessions()
            }),
        });
        let shared = Arc::clone(&self.shared);
        supervisor.spawn("leadership", AGAIN, move |stop| {
            let (office, shared) = (Arc::clone(&office), Arc::clone(&shared));
            async move { office.run(&shared.leading, stop).await }
        });
    }

    fn reconciler<R, F>(&self, supervisor: &Supervisor, name: &'static str, run: R)
    where
        R: Fn(Arc<Shared>, Stop) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        supervisor.spawn(name, AGAIN, move |stop| {
            let shared = Arc::clone(&shared);
            async move {
                let work = |stop| run(Arc::clone(&shared), stop);
                shared.leading.while_leading(stop, work).await
            }
        });
    }
}
