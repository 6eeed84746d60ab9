//! The miner's counters, under the names of the seeds' documents and under those of the original program, because
//! dashboards exist for both.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use basilica_ports::Clock;
use basilica_runtime_service::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Names a node in a metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct NodeLabels {
    pub(crate) node_id: String,
}

/// Handles of everything that is counted.
#[derive(Debug)]
pub(crate) struct MinerMetrics {
    pub(crate) nodes: Gauge,
    pub(crate) nodes_healthy: Gauge,
    pub(crate) nodes_unhealthy: Gauge,
    pub(crate) sessions_active: Gauge,
    pub(crate) uid: Gauge,
    pub(crate) stake: Gauge<f64, AtomicU64>,
    pub(crate) found_registered: Counter,
    pub(crate) session_seconds: Histogram,
    pub(crate) node_uptime: Family<NodeLabels, Gauge<f64, AtomicU64>>,
    pub(crate) registered: Counter,
    pub(crate) connections: Counter,
    pub(crate) requests: Counter,
    pub(crate) auth_requests: Counter,
    pub(crate) auth_successes: Counter,
    pub(crate) auth_failures: Counter,
    pub(crate) discoveries: Counter,
    pub(crate) assigned_discoveries: Counter,
    pub(crate) refused_discoveries: Counter,
    pub(crate) deployments: Counter,
    pub(crate) deployment_failures: Counter,
    pub(crate) process_end_failures: Counter,
    pub(crate) health_checks: Counter,
    pub(crate) chain_errors: Counter,
    pub(crate) axon_requests: Counter,
    pub(crate) store_errors: Counter,
    pub(crate) deployment_seconds: Histogram,
    pub(crate) health_check_seconds: Histogram,
    pub(crate) nodes_deployed: Gauge,
    logins: Counter,
    logouts: Counter,
    logged_in: Gauge,
    login_seconds: Histogram,
}

/// An open SSH connection, counted until it is dropped.
pub(crate) struct Login {
    clock: Arc<dyn Clock>,
    began: Duration,
    metrics: Arc<MinerMetrics>,
}

impl Drop for Login {
    fn drop(&mut self) {
        self.metrics.logged_in.dec();
        self.metrics.logouts.inc();
        self.metrics.login_seconds.observe(self.clock.monotonic().saturating_sub(self.began).as_secs_f64());
    }
}

impl MinerMetrics {
    /// Counts a connection from now on.
    pub(crate) fn login(self: &Arc<Self>, clock: Arc<dyn Clock>) -> Login {
        self.logins.inc();
        self.logged_in.inc();
        Login { began: clock.monotonic(), clock, metrics: Arc::clone(self) }
    }

    pub(crate) fn register(metrics: &Metrics) -> Self {
        let this = Self {
            nodes: Gauge::default(),
            nodes_healthy: Gauge::default(),
            nodes_unhealthy: Gauge::default(),
            sessions_active: Gauge::default(),
            uid: Gauge::default(),
            stake: Gauge::default(),
            found_registered: Counter::default(),
            session_seconds: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            node_uptime: Family::default(),
            registered: Counter::default(),
            connections: Counter::default(),
            requests: Counter::default(),
            auth_requests: Counter::default(),
            auth_successes: Counter::default(),
            auth_failures: Counter::default(),
            discoveries: Counter::default(),
            assigned_discoveries: Counter::default(),
            refused_discoveries: Counter::default(),
            deployments: Counter::default(),
            deployment_failures: Counter::default(),
            process_end_failures: Counter::default(),
            health_checks: Counter::default(),
            chain_errors: Counter::default(),
            axon_requests: Counter::default(),
            store_errors: Counter::default(),
            deployment_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 10)),
            health_check_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 10)),
            nodes_deployed: Gauge::default(),
            logins: Counter::default(),
            logouts: Counter::default(),
            logged_in: Gauge::default(),
            login_seconds: Histogram::new(exponential_buckets(1.0, 4.0, 9)),
        };
        metrics.register(|registry| {
            this.register_gauges(registry);
            this.register_counters(registry);
        });
        this
    }

    fn register_gauges(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            ("basilica_miner_node_count", "Nodes in the configuration", &self.nodes),
            ("basilica_miner_nodes_total", "Nodes in the configuration", &self.nodes),
            ("basilica_miner_nodes_healthy", "Nodes whose last round succeeded", &self.nodes_healthy),
            ("basilica_miner_nodes_unhealthy", "Nodes whose last round failed", &self.nodes_unhealthy),
            (
                "basilica_miner_validator_sessions_active",
                "Open sessions of validators",
                &self.sessions_active,
            ),
            ("basilica_validator_sessions_active", "Open sessions of validators", &self.sessions_active),
            ("basilica_miner_bittensor_uid", "Own uid on the subnet", &self.uid),
            (
                "basilica_miner_remote_nodes_deployed",
                "Nodes that carry a validator's key, as the last round saw",
                &self.nodes_deployed,
            ),
            ("basilica_miner_ssh_sessions_active", "Open SSH connections to nodes", &self.logged_in),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let help = "Seconds since the node became reachable without interruption";
        registry.register("basilica_node_uptime_seconds", help, self.node_uptime.clone());
        registry.register("basilica_miner_bittensor_stake", "Own stake in TAO", self.stake.clone());
        for (name, help, histogram) in [
            (
                "basilica_miner_validator_session_duration_seconds",
                "Life of a validator's session, from its opening to its end",
                &self.session_seconds,
            ),
            (
                "basilica_miner_deployment_duration_seconds",
                "Time from a discovery to the answer",
                &self.deployment_seconds,
            ),
            (
                "basilica_miner_node_health_check_duration_seconds",
                "Time of a round on a node, successful or not",
                &self.health_check_seconds,
            ),
            (
                "basilica_miner_ssh_session_duration_seconds",
                "Life of an SSH connection to a node",
                &self.login_seconds,
            ),
        ] {
            registry.register(name, help, histogram.clone());
        }
    }

    /// The library adds `_total` to every name.
    fn register_counters(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("basilica_nodes_registered", "Nodes taken up, at start or later", &self.registered),
            ("basilica_miner_validator_connections", "Sessions opened", &self.connections),
            ("basilica_miner_validator_requests", "Requests of validators", &self.requests),
            ("basilica_miner_authentication_requests", "Requests for a session", &self.auth_requests),
            ("basilica_miner_authentication_success", "Sessions granted", &self.auth_successes),
            ("basilica_miner_validator_auth_failures", "Requests refused", &self.auth_failures),
            ("basilica_miner_validator_node_discoveries", "Discoveries answered", &self.discoveries),
            (
                "basilica_miner_assigned_discoveries",
                "Discoveries signed by validators that have nodes here",
                &self.assigned_discoveries,
            ),
            (
                "basilica_miner_assigned_discoveries_refused",
                "Discoveries signed by validators that have nodes here, refused",
                &self.refused_discoveries,
            ),
            ("basilica_miner_ssh_deployments", "Keys written to nodes", &self.deployments),
            ("basilica_miner_ssh_key_deployments", "Keys written to nodes", &self.deployments),
            ("basilica_ssh_key_deployments", "Keys written to nodes", &self.deployments),
            ("basilica_miner_ssh_failures", "Rounds on nodes that failed", &self.deployment_failures),
            (
                "basilica_miner_process_end_failures",
                "Rounds after which processes of removed keys were still running",
                &self.process_end_failures,
            ),
            ("basilica_miner_node_health_checks", "Rounds on nodes", &self.health_checks),
            ("basilica_miner_ssh_sessions_created", "SSH connections made to nodes", &self.logins),
            ("basilica_miner_ssh_sessions_closed", "SSH connections to nodes that ended", &self.logouts),
            ("basilica_miner_deployment_attempts", "Rounds on nodes", &self.health_checks),
            ("basilica_miner_deployment_failures", "Rounds on nodes that failed", &self.deployment_failures),
            (
                "basilica_miner_bittensor_registrations",
                "Times that the hotkey was found on the subnet after it was not, or under another uid",
                &self.found_registered,
            ),
            ("basilica_miner_bittensor_errors", "Failed chain calls", &self.chain_errors),
            ("basilica_miner_axon_requests", "Axons written to the chain", &self.axon_requests),
            ("basilica_miner_database_errors", "Failed database operations", &self.store_errors),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_both_families_are_rendered() {
        let metrics = Metrics::new();
        let miner = MinerMetrics::register(&metrics);
        miner.nodes.set(3);
        miner.deployments.inc();
        let text = metrics.render().unwrap();
        for line in [
            "basilica_miner_node_count 3",
            "basilica_miner_nodes_total 3",
            "basilica_miner_ssh_deployments_total 1",
            "basilica_ssh_key_deployments_total 1",
            "basilica_miner_authentication_requests_total 0",
            "basilica_miner_authentication_success_total 0",
            "basilica_miner_validator_connections_total 0",
            "basilica_nodes_registered_total 0",
            "basilica_validator_sessions_active 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_metric_is_documented() {
        let documented = include_str!("../../../../docs/miner-metrics.md");
        let metrics = Metrics::new();
        MinerMetrics::register(&metrics);
        let text = metrics.render().unwrap();
        let mut kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).peekable();
        assert!(kinds.peek().is_some());
        for line in kinds {
            let (name, kind) = line.split_once(' ').unwrap();
            let shown = if kind == "counter" { format!("`{name}_total`") } else { format!("`{name}") };
            assert!(documented.contains(&shown), "docs/miner-metrics.md lacks {shown}");
        }
    }
}
