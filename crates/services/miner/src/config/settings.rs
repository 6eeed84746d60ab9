//! The file as a user writes it.

use basilica_runtime_service::{DurationSetting, LogLevel};
use basilica_types::{
    ChainUrl, DatabasePath, Host, HostKey, Hotkey, Millis, Network, Region, Username, WalletName,
};
use basilica_wire::discovery::SESSION_SECS;
use serde::{Deserialize, Serialize};

use super::assignment::ValidatorAssignment;
use super::decimal::HourlyRate;
use super::verdicts::Verdicts;

/// Keys of the seeds that this program does without, and what to tell who sets them.
pub const IGNORED: &[(&str, &str)] = &[
    ("bittensor.coldkey_name", "no coldkey is ever read by a miner; remove the key"),
    ("bittensor.weight_interval_secs", "miners set no weights; remove the key"),
    ("bittensor.max_weight_uids", "miners set no weights; remove the key"),
    ("bittensor.connection_pool_size", "one connection serves all chain calls; remove the key"),
    ("bittensor.health_check_interval", "the chain connection watches itself; remove the key"),
    ("bittensor.circuit_breaker_threshold", "failed chain calls are retried with backoff; remove the key"),
    ("bittensor.circuit_breaker_recovery", "failed chain calls are retried with backoff; remove the key"),
    ("database.min_connections", "connections are opened when needed; remove the key"),
    ("database.connect_timeout", "an embedded database has no network; remove the key"),
    ("database.connection_timeout", "an embedded database has no network; remove the key"),
    ("database.idle_timeout", "connections to an embedded database stay open; remove the key"),
    ("database.max_lifetime", "connections to an embedded database stay open; remove the key"),
    ("database.ssl_config", "an embedded database has no network; remove the section"),
    ("metrics.collection_interval", "metrics are collected when they are read; remove the key"),
    ("metrics.default_labels", "labels are added by the scraper; remove the section"),
    ("metrics.retention_period", "metrics are kept by the scraper; remove the key"),
    ("metrics.prometheus.path", "metrics are always served at /metrics; remove the key"),
    (
        "node_management.nodes.*.additional_opts",
        "options of the ssh program have no meaning here, and host keys are always checked; remove the key",
    ),
    ("security.private_key_file", "the collateral contract was never used by miners; remove the key"),
    ("advertised_addresses.discovery_endpoint", "validators find this miner by its axon; remove the key"),
    ("advertised_addresses.metrics_endpoint", "metrics are not advertised; remove the key"),
];

/// The whole file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub(super) bittensor: Bittensor,
    pub(super) database: Database,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) validator_comms: ValidatorComms,
    pub(super) node_management: NodeManagement,
    pub(super) security: Security,
    pub(super) ssh_session: SshSession,
    pub(super) advertised_addresses: AdvertisedAddresses,
    pub(super) validator_assignment: ValidatorAssignment,
    pub(super) verdicts: Verdicts,
    pub(super) logging: Logging,
}

impl Settings {
    /// Who logs in on nodes that name nobody.
    pub const fn default_username(&self) -> &Username {
        &self.ssh_session.default_node_username
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Bittensor {
    pub(super) wallet_name: WalletName,
    pub(super) hotkey_name: WalletName,
    pub(super) wallet_path: String,
    pub(super) wallet_password_file: Option<String>,
    pub(super) network: Network,
    pub(super) netuid: u16,
    pub(super) chain_endpoint: Option<ChainUrl>,
    pub(super) fallback_endpoints: Vec<ChainUrl>,
    pub(super) external_ip: Option<String>,
    pub(super) axon_port: Option<u16>,
    pub(super) read_only: bool,
}

impl Default for Bittensor {
    fn default() -> Self {
        Self {
            wallet_name: "miner".parse().expect("a plain word is a wallet's name"),
            hotkey_name: "default".parse().expect("a plain word is a hotkey's name"),
            wallet_path: "~/.bittensor/wallets".to_owned(),
            wallet_password_file: None,
            network: Network::Finney,
            netuid: 39,
            chain_endpoint: None,
            fallback_endpoints: Vec::new(),
            external_ip: None,
            axon_port: None,
            read_only: false,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Database {
    pub(super) url: DatabasePath,
    pub(super) max_connections: u32,
    pub(super) run_migrations: bool,
}

impl Default for Database {
    fn default() -> Self {
        let url = "sqlite:./data/miner.db".parse().expect("a relative path names a file");
        Self { url, max_connections: 10, run_migrations: true }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) enabled: bool,
    pub(super) prometheus: Prometheus,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true, prometheus: Prometheus::default() }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Prometheus {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 9090 }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Health {
    pub(super) listen: String,
    pub(super) compat_port: Option<u16>,
}

impl Default for Health {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8091".to_owned(), compat_port: None }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ValidatorComms {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) request_timeout: DurationSetting,
    pub(super) rate_limit: PeerRateLimit,
    pub(super) tls_enabled: bool,
    pub(super) tls_required: bool,
    pub(super) tls_cert_path: Option<String>,
    pub(super) tls_key_path: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PeerRateLimit {
    pub(super) enabled: bool,
    pub(super) requests_per_second: u32,
    pub(super) burst_capacity: u32,
}

impl Default for PeerRateLimit {
    fn default() -> Self {
        Self { enabled: true, requests_per_second: 10, burst_capacity: 20 }
    }
}

impl Default for ValidatorComms {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: 50051,
            request_timeout: DurationSetting(Millis::from_secs(30)),
            rate_limit: PeerRateLimit::default(),
            tls_enabled: false,
            tls_required: false,
            tls_cert_path: None,
            tls_key_path: None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NodeManagement {
    pub(super) nodes: Vec<NodeSettings>,
    pub(super) health_check_interval: DurationSetting,
    pub(super) health_check_timeout: DurationSetting,
    pub(super) max_retry_attempts: u32,
    pub(super) auto_recovery: bool,
}

impl Default for NodeManagement {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            health_check_interval: DurationSetting(Millis::from_secs(60)),
            health_check_timeout: DurationSetting(Millis::from_secs(10)),
            max_retry_attempts: 3,
            auto_recovery: true,
        }
    }
}

/// One node as a user writes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// IP address or DNS name.
    pub host: Host,
    /// SSH port.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// Login name; `ssh_session.default_node_username` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// Price in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly_rate_per_gpu: Option<HourlyRate>,
    /// The only host key to believe, as an OpenSSH public-key line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<HostKey>,
    /// Taken out by the operator.
    #[serde(default)]
    pub maintenance: bool,
    /// Where it stands; counts with `validator_assignment.strategy = "geographic"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
}

const fn ssh_port() -> u16 {
    22
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Security {
    pub(super) verify_signatures: bool,
    pub(super) accept_discover_v1: Vec<Hotkey>,
    pub(super) max_nonces_per_validator: u32,
    pub(super) session_lifetime: DurationSetting,
    pub(super) remove_keys_on_shutdown: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            verify_signatures: true,
            accept_discover_v1: Vec::new(),
            max_nonces_per_validator: 8192,
            session_lifetime: DurationSetting(Millis(SESSION_SECS.unsigned_abs() * 1000)),
            remove_keys_on_shutdown: false,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SshSession {
    pub(super) miner_node_key_path: String,
    pub(super) default_node_username: Username,
    pub(super) max_concurrent_sessions: u32,
    pub(super) session_rate_limit: u32,
    pub(super) enable_audit_logging: bool,
    pub(super) audit_log_path: Option<String>,
}

impl Default for SshSession {
    fn default() -> Self {
        Self {
            miner_node_key_path: "~/.ssh/miner_node_key".to_owned(),
            default_node_username: "node".parse().expect("a plain word is a login name"),
            max_concurrent_sessions: 5,
            session_rate_limit: 20,
            enable_audit_logging: true,
            audit_log_path: None,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdvertisedAddresses {
    pub(super) grpc_endpoint: Option<String>,
    pub(super) axon_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Logging {
    pub(super) level: LogLevel,
    pub(super) format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}
