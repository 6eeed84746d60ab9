//! The validator's metrics, under the seeds' names and the original's (reference §3.15).

pub(crate) mod fleet;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use basilica_runtime_service::Metrics;
use basilica_verification::{CheckKind, Reason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use crate::set_weights::PROBLEMS;

/// `full` or `lightweight`, as the seeds spell it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TypeLabel {
    r#type: &'static str,
}

/// A reason code; the list is fixed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

pub(crate) const fn type_of(kind: CheckKind) -> TypeLabel {
    TypeLabel {
        r#type: match kind {
            CheckKind::Light => "lightweight",
            CheckKind::Full => "full",
        },
    }
}

/// Durations by type. Buckets double from 50 ms, which a check on a kept connection takes, to 27 minutes, more than any deadline.
#[derive(Clone, Debug)]
pub(crate) struct Durations(Family<TypeLabel, Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(DURATIONS)))
    }
}

const DURATIONS: [f64; 16] = {
    let mut bounds = [0.05; 16];
    let mut place = 1;
    while place < bounds.len() {
        bounds[place] = bounds[place - 1] * 2.0;
        place += 1;
    }
    bounds
};

/// How long logins took. A light check's whole connect deadline is 30 s at most.
#[derive(Clone, Debug)]
pub(crate) struct Logins(pub(crate) Histogram);

impl Default for Logins {
    fn default() -> Self {
        Self(Histogram::new(DURATIONS.into_iter().take(11)))
    }
}

impl Durations {
    pub(crate) fn observe(&self, kind: CheckKind, took: Duration) {
        self.0.get_or_create(&type_of(kind)).observe(took.as_secs_f64());
    }
}

/// Handles; the registry is the process's.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValidatorMetrics {
    pub(crate) miners_discovered: Counter,
    pub(crate) known_miners: Gauge,
    pub(crate) discovery_failures: Counter,
    pub(crate) verifications: Family<TypeLabel, Counter>,
    pub(crate) successes: Family<TypeLabel, Counter>,
    pub(crate) failures: Family<ReasonLabel, Counter>,
    pub(crate) tries_inconclusive: Counter,
    pub(crate) durations: Durations,
    pub(crate) in_flight: Family<TypeLabel, Gauge>,
    pub(crate) ssh_connections: Counter,
    pub(crate) ssh_opened: Counter,
    pub(crate) ssh_reused: Counter,
    pub(crate) ssh_postponed: Counter,
    pub(crate) ssh_failures: Counter,
    pub(crate) ssh_active: Gauge,
    pub(crate) ssh_logins: Logins,
    pub(crate) bans_active: Gauge,
    pub(crate) weight_sets: Counter,
    pub(crate) weight_commits: Counter,
    pub(crate) weight_problems: Family<ReasonLabel, Counter>,
    pub(crate) weight_set_failures: Counter,
    pub(crate) clock_offset: Gauge<f64, AtomicU64>,
    pub(crate) leading: Gauge,
    pub(crate) terms: Counter,
}

impl ValidatorMetrics {
    /// Every series is there from the start, at zero: of one that begins at one, Prometheus does not see the rise.
    fn begin(&self) {
        for kind in [CheckKind::Light, CheckKind::Full] {
            let label = type_of(kind);
            drop(self.verifications.get_or_create(&label));
            drop(self.successes.get_or_create(&label));
            drop(self.in_flight.get_or_create(&label));
            drop(self.durations.0.get_or_create(&label));
        }
        for reason in Reason::ALL {
            drop(self.failures.get_or_create(&ReasonLabel { reason: reason.code() }));
        }
        for reason in PROBLEMS {
            drop(self.weight_problems.get_or_create(&ReasonLabel { reason }));
        }
    }

    /// Registers every metric.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let m = Self::default();
        m.begin();
        metrics.register(|r| {
            // `_total` is added by the encoder.
            r.register(
                "basilica_miners_discovered",
                "verified discovery responses",
                m.miners_discovered.clone(),
            );
            r.register("basilica_verification", "concluded checks", m.verifications.clone());
            r.register("basilica_verification_success", "passed checks", m.successes.clone());
            r.register("basilica_weight_set", "weights set on chain", m.weight_sets.clone());
            let r = r.sub_registry_with_prefix("basilica_validator");
            r.register("validations", "concluded checks", m.verifications.clone());
            r.register("nodes_banned", "nodes banned now", m.bans_active.clone());
            r.register("discovered_miners", "miners in the metagraph with an axon", m.known_miners.clone());
            r.register(
                "discovery_failures",
                "discoveries without a verified response",
                m.discovery_failures.clone(),
            );
            r.register("validation_errors", "failed checks by reason", m.failures.clone());
            r.register(
                "validation_tries_inconclusive",
                "failed tries to be repeated",
                m.tries_inconclusive.clone(),
            );
            let help = "from a check's start to its conclusion, waiting for a place included";
            r.register_with_unit("validation_duration", help, Unit::Seconds, m.durations.0.clone());
            r.register("validations_in_flight", "checks under way", m.in_flight.clone());
            r.register("ssh_connections", "logins attempted", m.ssh_connections.clone());
            r.register("ssh_connections_opened", "logins that succeeded", m.ssh_opened.clone());
            r.register(
                "ssh_connections_reused",
                "checks on a connection that was kept",
                m.ssh_reused.clone(),
            );
            r.register(
                "ssh_logins_postponed",
                "logins put off because the address shuts us out or fails others",
                m.ssh_postponed.clone(),
            );
            r.register("ssh_failures", "logins failed", m.ssh_failures.clone());
            r.register("ssh_active_connections", "connections kept", m.ssh_active.clone());
            let help = "of a login, successful or not";
            r.register_with_unit("ssh_connection_duration", help, Unit::Seconds, m.ssh_logins.0.clone());
            let help =
                "our clock minus the time of the newest finalised block, when the chain was last looked at";
            r.register_with_unit("clock_offset", help, Unit::Seconds, m.clock_offset.clone());
            r.register("leading", "1 while this process leads its database's validators", m.leading.clone());
            r.register("leadership_terms", "times that this process began to lead", m.terms.clone());
            r.register("consensus_weight_sets", "weights set on chain", m.weight_sets.clone());
            r.register(
                "weight_set_failures",
                "windows of weights that ended without weights on chain",
                m.weight_set_failures.clone(),
            );
            r.register("weight_commits", "commits of weights taken by the chain", m.weight_commits.clone());
            r.register(
                "weight_problems",
                "looks at the weights that found something wrong, by reason",
                m.weight_problems.clone(),
            );
        });
        m
    }
}
