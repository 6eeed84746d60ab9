//! The validator: discovers, verifies, scores and sets weights.
//!
//! Six reconcilers, one file each, under one supervisor: `discover_miners` keeps a session and a signed node list of every
//! miner, `verify_due_nodes` checks what is due, `fleet_epochs` tells it when all nodes are, `score` turns history into standings, `set_weights` brings them on chain, once
//! per window, `prune` keeps the database bounded. They share no queue: each reads what is so from the store and moves
//! it one step, so a restart, a lost wake-up and a slow neighbour are the same case. What is decided, and whose fault it
//! is, is pure and lives in `basilica-verification` and `basilica-scoring`.
//!
//! **Invariant:** nothing that must survive a restart is only in memory; session keys are only in memory.

mod beacon;
mod check_node;
mod commands;
mod conclude_check;
mod config;
mod connections;
mod discover_miners;
mod fleet_epochs;
mod isolate;
mod meeting;
mod metrics;
mod open_proof;
mod prove_node;
mod prover;
mod prune;
mod score;
#[cfg(test)]
mod scripted;
mod sessions;
mod set_weights;
mod settings;
mod shared;
mod slots;
mod status;
mod transfer;
mod verify_due_nodes;

use std::sync::Arc;

use basilica_runtime_service::{Metrics, OnFailure, Readiness, Supervisor};
use basilica_types::Millis;

pub use config::{
    ApiConfig, BittensorConfig, DatabaseConfig, DiscoveryConfig, EmissionConfig, GpuAllocation,
    GpuAllocationTable, IGNORED, MetricsConfig, PrometheusConfig, ProofConfig, RetentionConfig,
    ScoringConfig, ServerConfig, SshConfig, ValidatorConfig, VerificationConfig,
};
pub use prover::ProverFile;
pub use sessions::DiscoveryError;
pub use settings::Settings;
pub use shared::Ports;
pub use status::StatusPages;

use crate::metrics::ValidatorMetrics;
use crate::shared::Shared;

/// A validator that does not run yet.
pub struct Validator(Arc<Shared>);

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").field("ports", &self.0.ports).finish_non_exhaustive()
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
        let metrics = ValidatorMetrics::register(metrics);
        Self(Arc::new(Shared::new(ports, settings, prover, metrics, readiness)))
    }

    /// The pages that the admin endpoint serves beside health.
    pub fn pages(&self) -> Arc<StatusPages> {
        Arc::new(StatusPages(Arc::clone(&self.0)))
    }

    /// Starts the reconcilers. One that fails or panics is started again; its state is in the store.
    pub fn start(&self, supervisor: &Supervisor) {
        let again = OnFailure::Restart { initial: Millis(500), max: Millis::from_secs(60) };
        let shared = &self.0;
        let s = Arc::clone(shared);
        supervisor.spawn("discover-miners", again, move |stop| discover_miners::run(Arc::clone(&s), stop));
        let s = Arc::clone(shared);
        supervisor.spawn("verify-due-nodes", again, move |stop| verify_due_nodes::run(Arc::clone(&s), stop));
        let s = Arc::clone(shared);
        supervisor.spawn("fleet-epochs", again, move |stop| fleet_epochs::run(Arc::clone(&s), stop));
        let s = Arc::clone(shared);
        supervisor.spawn("score", again, move |stop| score::run(Arc::clone(&s), stop));
        let s = Arc::clone(shared);
        supervisor.spawn("set-weights", again, move |stop| set_weights::run(Arc::clone(&s), stop));
        let s = Arc::clone(shared);
        supervisor.spawn("prune", again, move |stop| prune::run(Arc::clone(&s), stop));
    }
}
