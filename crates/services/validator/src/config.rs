//! The validator's configuration file: the seeds' sections and keys, and ours.
//!
//! Every key has a default that is right for a validator on the main network. What a seed had and we do without is
//! accepted with a notice ([`IGNORED`]), so that an operator's old file starts and says what changed.

mod allocation;
mod cards;
mod ignored;
mod probes;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use basilica_runtime_service::DurationSetting;
use basilica_types::{Category, ChainUrl, DatabaseUrl, Hotkey, Millis, Network, WalletName};
use basilica_verification::RetryRules;
use basilica_verification::fleet::FleetRules;
use serde::{Deserialize, Serialize};

pub use allocation::{GpuAllocation, GpuAllocationTable};
pub use cards::GpuCardConfig;
pub use ignored::IGNORED;
pub use probes::{
    DockerValidationConfig, ProbeDemand, ProbesConfig, StorageValidationConfig, VersionSetting,
};

/// `[bittensor]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BittensorConfig {
    /// Directory of the wallet below `wallet_path`.
    pub wallet_name: WalletName,
    /// File of the hotkey in the wallet's `hotkeys`.
    pub hotkey_name: WalletName,
    /// Where wallets lie; `~/.bittensor/wallets` if not set.
    pub wallet_path: Option<PathBuf>,
    /// File of one line with the password of an encrypted hotkey; without it the Bittensor SDK's variable counts.
    pub wallet_password_file: Option<PathBuf>,
    /// Picks the endpoint where none is given. Of the public networks the chain is known, and an endpoint of another one is
    /// not used.
    pub network: Network,
    /// 39 on finney, 387 on test.
    pub netuid: u16,
    /// WebSocket URL; wins over the one that `network` picks.
    pub chain_endpoint: Option<ChainUrl>,
    /// Tried in order after `chain_endpoint`.
    pub fallback_endpoints: Vec<ChainUrl>,
}

impl Default for BittensorConfig {
    fn default() -> Self {
        Self {
            wallet_name: "validator".parse().expect("a plain word is a wallet's name"),
            hotkey_name: "default".parse().expect("a plain word is a hotkey's name"),
            wallet_path: None,
            wallet_password_file: None,
            network: Network::Finney,
            netuid: 39,
            chain_endpoint: None,
            fallback_endpoints: Vec::new(),
        }
    }
}

/// `[database]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `sqlite:` and a path, whose directory must exist, or `postgres://` with user, host and database.
    pub url: DatabaseUrl,
    /// File of one line with the password of `url`'s user.
    pub password_file: Option<PathBuf>,
    /// Connections that read at a time, 1 to 64; one more writes.
    pub max_connections: u32,
    /// Bring an older file to this version's schema at start.
    pub run_migrations: bool,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        let url = "sqlite:./data/validator.db".parse().expect("a relative path names a file");
        Self { url, password_file: None, max_connections: 8, run_migrations: true }
    }
}

/// `[ha]`: several validators on one Postgres, of which one leads.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HaConfig {
    /// What the others are told of this one while it leads; host name and process id if not set.
    pub name: Option<String>,
    /// Another one takes over so long after the leader was heard last.
    pub lease: DurationSetting,
    /// Between two renewals of the lease.
    pub renew_interval: DurationSetting,
    /// Between two tries to take over.
    pub poll_interval: DurationSetting,
}

impl Default for HaConfig {
    fn default() -> Self {
        Self {
            name: None,
            lease: secs(3),
            renew_interval: secs(1),
            poll_interval: DurationSetting(Millis(250)),
        }
    }
}

/// `[api]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address and port of the REST API; 127.0.0.1:8080 if neither this nor `[server]` is set.
    pub bind: Option<SocketAddr>,
    /// File of one line with the key that opens the pages for operators; without it only signed requests do.
    pub api_key_file: Option<PathBuf>,
    /// Hotkeys that open them by signing (`btauth/1`); the validator's own is always one.
    pub allowed_hotkeys: Vec<Hotkey>,
    /// Proxies whose `X-Forwarded-For` says who is asking.
    pub trusted_proxies: Vec<IpAddr>,
    /// Requests of one client in a second; 0 for no limit.
    pub rate_limit: u32,
    /// Requests of one client at once, after a pause.
    pub rate_limit_burst: u32,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            bind: None,
            api_key_file: None,
            allowed_hotkeys: Vec::new(),
            trusted_proxies: Vec::new(),
            rate_limit: 100,
            rate_limit_burst: 200,
        }
    }
}

/// `[server]`: the seeds' second name for where the API listens, and how much it may use up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address.
    pub host: Option<IpAddr>,
    /// Port.
    pub port: Option<u16>,
    /// Connections at a time.
    pub max_connections: usize,
    /// For one answer.
    pub request_timeout: DurationSetting,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { host: None, port: None, max_connections: 1_000, request_timeout: secs(30) }
    }
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Serve them at all.
    pub enabled: bool,
    /// Where.
    pub prometheus: PrometheusConfig,
}

/// `[metrics.prometheus]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusConfig {
    /// Address.
    pub host: IpAddr,
    /// Port.
    pub port: u16,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { enabled: true, prometheus: PrometheusConfig::default() }
    }
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.into(), port: 9090 }
    }
}

/// `[ssh_session]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SshConfig {
    /// For resolution, connection, key exchange and login together.
    pub connection_timeout: DurationSetting,
    /// For one short command.
    pub command_timeout: DurationSetting,
    /// For uploading the prover.
    pub upload_timeout: DurationSetting,
    /// Whether to keep the audit log where `audit_log_path` says.
    pub enable_audit_logging: bool,
    /// A file with a line for every operation on a node; none: no such file.
    pub audit_log_path: Option<PathBuf>,
}

impl Default for SshConfig {
    fn default() -> Self {
        Self {
            connection_timeout: secs(30),
            command_timeout: secs(60),
            upload_timeout: secs(120),
            enable_audit_logging: true,
            audit_log_path: None,
        }
    }
}

/// `[verification]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerificationConfig {
    /// Between light checks of a node.
    pub verification_interval: DurationSetting,
    /// Between full checks of a node.
    pub node_validation_interval: DurationSetting,
    /// From a full check that failed by what the node is or did to the next.
    pub full_retry_after_fault: DurationSetting,
    /// Between checks of a node that cannot be reached.
    pub failing_interval: DurationSetting,
    /// Light checks at a time that use a connection; one that waits longer than a second for its node does not count.
    pub max_concurrent_verifications: usize,
    /// Full checks at a time.
    pub max_concurrent_full_validations: usize,
    /// Logins at a time.
    pub max_concurrent_dials: usize,
    /// Deadline of the proof's work, and again of its openings.
    pub challenge_timeout: DurationSetting,
    /// Bytes that a node sends after its proof, to time its network; at most 1 GiB, and 0 for none.
    pub network_bytes: u64,
    /// Deadline of that transfer, and of waiting for a place for it.
    pub network_timeout: DurationSetting,
    /// A failed try is repeated so often before a fault is confirmed.
    pub retries: u8,
    /// Between two tries.
    pub retry_interval: DurationSetting,
    /// Least time from the first failed try to a confirmed fault.
    pub retry_span: DurationSetting,
    /// All idle nodes are challenged at once at one finalised block in so many, by the block's hash; 0 for never.
    pub fleet_epoch_blocks: u32,
    /// How long the metagraph is used before it is read again.
    pub cache_miner_info_ttl: DurationSetting,
    /// How long a GPU stays its node's after that node proved it last; at least `scoring.full_max_age`, or two nodes would
    /// be paid for one GPU in turns.
    pub gpu_assignment_cleanup_ttl: DurationSetting,
    /// Most nodes remembered of one miner, listed or not; new ones beyond it are refused.
    pub max_nodes_per_miner: usize,
    /// How long a due check waits for its miner's session before its absence becomes a verdict.
    pub session_grace: DurationSetting,
    /// Between looks at what is due.
    pub tick: DurationSetting,
    /// Accept GPUs that a CPU plays; counts on a development chain only.
    pub allow_simulated_gpus: bool,
    /// Accept loopback, private and link-local addresses from miners: for a network on a laptop only.
    pub allow_private_hosts: bool,
    /// The prover's file; beside this program if not set.
    pub prover_path: Option<PathBuf>,
    /// What else is asked of a node.
    pub probes: ProbesConfig,
    /// The container that is to see the GPUs.
    pub docker_validation: DockerValidationConfig,
    /// Room for images.
    pub storage_validation: StorageValidationConfig,
    /// The work asked of each GPU.
    pub proof: ProofConfig,
    /// Which cards share in which category, beside the built-in table or in place of its rows.
    pub gpu_cards: Vec<GpuCardConfig>,
}

impl Default for VerificationConfig {
    fn default() -> Self {
        Self {
            verification_interval: secs(600),
            node_validation_interval: secs(6 * 3600),
            full_retry_after_fault: secs(1800),
            failing_interval: secs(120),
            max_concurrent_verifications: 50,
            max_concurrent_full_validations: 1024,
            max_concurrent_dials: 1024,
            challenge_timeout: secs(120),
            network_bytes: 64 * 1024 * 1024,
            network_timeout: secs(60),
            retries: RetryRules::DEFAULT.retries,
            retry_interval: DurationSetting(RetryRules::DEFAULT.interval),
            retry_span: DurationSetting(RetryRules::DEFAULT.span),
            fleet_epoch_blocks: FleetRules::default().mean_blocks,
            cache_miner_info_ttl: secs(300),
            gpu_assignment_cleanup_ttl: secs(12 * 3600),
            max_nodes_per_miner: 1024,
            session_grace: secs(120),
            tick: DurationSetting(Millis(250)),
            allow_simulated_gpus: false,
            allow_private_hosts: false,
            prover_path: None,
            probes: ProbesConfig::default(),
            docker_validation: DockerValidationConfig::default(),
            storage_validation: StorageValidationConfig::default(),
            proof: ProofConfig::default(),
            gpu_cards: Vec::new(),
        }
    }
}

/// `[verification.proof]`
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProofConfig {
    /// Rows and columns of the product, a power of two.
    pub side: u32,
    /// Length of each dot product, a multiple of 64.
    pub inner: u32,
    /// Products, one after the other.
    pub rounds: u32,
    /// Cells opened per GPU.
    pub openings: u32,
}

impl Default for ProofConfig {
    fn default() -> Self {
        let work = basilica_proof::ProofParams::SIMULATED;
        Self { side: work.side(), inner: work.inner(), rounds: work.rounds(), openings: work.openings() }
    }
}

/// `[automatic_verification]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoveryConfig {
    /// Between two discoveries of a miner.
    pub discovery_interval: DurationSetting,
    /// Least time before a lost session is opened again.
    pub rediscovery_pause: DurationSetting,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self { discovery_interval: secs(300), rediscovery_pause: secs(5) }
    }
}

/// `[scoring]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringConfig {
    /// Uninterrupted time to the full multiplier.
    pub ramp_duration: DurationSetting,
    /// Confirmed downtime beyond this resets the ramp.
    pub downtime_tolerance: DurationSetting,
    /// Longest age of the last passed full check.
    pub full_max_age: DurationSetting,
    /// Window of the SSH success rate.
    pub attempt_window: DurationSetting,
    /// Between two computations.
    pub interval: DurationSetting,
}

impl Default for ScoringConfig {
    fn default() -> Self {
        Self {
            ramp_duration: secs(14 * 86_400),
            downtime_tolerance: secs(1800),
            full_max_age: secs(12 * 3600),
            attempt_window: secs(86_400),
            interval: secs(60),
        }
    }
}

/// How weights are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightCommit {
    /// Timelocked where chain and beacon allow it, by hash otherwise.
    Auto,
    /// By hash only.
    Hash,
}

/// `[emission]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmissionConfig {
    /// Percent of all weight that goes to `burn_uid`.
    pub burn_percentage: f64,
    /// Receives the burnt part.
    pub burn_uid: u16,
    /// Percent of the rest by category; sums to 100.
    pub gpu_allocations: BTreeMap<Category, GpuAllocation>,
    /// Blocks between two windows of weights.
    pub weight_set_interval_blocks: u64,
    /// At least the subnet's.
    pub weight_version_key: u64,
    /// Which of the subnet's mechanisms gets the weights.
    pub weight_mechanism: u8,
    /// How to commit weights where the subnet asks for commits.
    pub weight_commit: WeightCommit,
    /// Between looks at the chain.
    pub poll_interval: DurationSetting,
}

impl Default for EmissionConfig {
    fn default() -> Self {
        let quarter = GpuAllocation::Percent(25.0);
        let categories = [Category::A100, Category::H100, Category::H200, Category::B200];
        Self {
            burn_percentage: 0.0,
            burn_uid: 204,
            gpu_allocations: categories.into_iter().map(|c| (c, quarter)).collect(),
            weight_set_interval_blocks: 360,
            weight_version_key: 0,
            weight_mechanism: 0,
            weight_commit: WeightCommit::Auto,
            poll_interval: secs(12),
        }
    }
}

/// `[retention]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// History, verdicts and windows of weights are kept so long; never shorter than the ramp and two weeks.
    pub history: DurationSetting,
    /// Newest transcripts kept of each node.
    pub transcripts_per_node: u32,
    /// Between two clean-ups.
    pub interval: DurationSetting,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { history: secs(90 * 86_400), transcripts_per_node: 4, interval: secs(3600) }
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidatorConfig {
    /// Chain and wallet.
    pub bittensor: BittensorConfig,
    /// Where everything is remembered.
    pub database: DatabaseConfig,
    /// Who leads.
    pub ha: HaConfig,
    /// The REST API.
    pub api: ApiConfig,
    /// The same, by the seeds' second name.
    pub server: ServerConfig,
    /// Prometheus.
    pub metrics: MetricsConfig,
    /// Deadlines of SSH.
    pub ssh_session: SshConfig,
    /// Checks.
    pub verification: VerificationConfig,
    /// Discovery.
    pub automatic_verification: DiscoveryConfig,
    /// From history to score.
    pub scoring: ScoringConfig,
    /// From score to weight.
    pub emission: EmissionConfig,
    /// How long records are kept.
    pub retention: RetentionConfig,
}

const fn secs(seconds: u64) -> DurationSetting {
    DurationSetting(Millis::from_secs(seconds))
}

impl ValidatorConfig {
    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let bind = self.api.bind.unwrap_or(default);
        SocketAddr::new(self.server.host.unwrap_or(bind.ip()), self.server.port.unwrap_or(bind.port()))
    }

    /// Where metrics are served, if at all.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        let prometheus = &self.metrics.prometheus;
        self.metrics.enabled.then(|| SocketAddr::new(prometheus.host, prometheus.port))
    }

    /// The same, fit to be shown: access keys in endpoints are left out.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        let bittensor = &mut shown.bittensor;
        for url in bittensor.chain_endpoint.iter_mut().chain(&mut bittensor.fallback_endpoints) {
            *url = url.without_secrets();
        }
        shown.database.url = shown.database.url.without_secrets();
        shown
    }

    /// The chain's endpoints in order of preference, at least one.
    pub fn chain_endpoints(&self) -> Vec<ChainUrl> {
        let bittensor = &self.bittensor;
        let first = bittensor.chain_endpoint.clone().unwrap_or_else(|| bittensor.network.endpoint());
        std::iter::once(first).chain(bittensor.fallback_endpoints.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests;
