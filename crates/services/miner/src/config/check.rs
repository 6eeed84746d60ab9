//! From settings to what the service runs on.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use basilica_ports::SessionRate;
use basilica_runtime_service::{ConfigError, Loaded, Notice};
use basilica_types::{ChainUrl, Millis, NetUid, quoted};

use super::settings::{LogFormat, Logging, Settings};
use super::{
    AdmissionConfig, DatabaseConfig, FleetConfig, ListenConfig, LoggingConfig, MinerConfig, RequestRate,
    SubnetConfig, WalletConfig,
};
use crate::discovery::DISCOVERY_LIMIT;

/// A loss that is told after more attempts than this is told too late.
const MAX_RETRIES: u32 = 20;
/// Oldest metagraph that lets anybody in: long enough for a chain node to restart.
const METAGRAPH_MAX_AGE: Millis = Millis::from_secs(900);

/// Checks everything that needs no network. `home` stands for `~`.
///
/// # Errors
/// The first thing that is wrong, with its place in the file and what to do.
pub fn check(
    loaded: &Loaded<Settings>,
    home: Option<&Path>,
) -> Result<(MinerConfig, Vec<Notice>), ConfigError> {
    let check = Check::new(loaded, home);
    let mut notices = loaded.notices.clone();
    let config = MinerConfig {
        wallet: check.wallet()?,
        database: check.database()?,
        listen: check.listen(&mut notices)?,
        fleet: check.fleet(&mut notices)?,
        admission: check.admission(&mut notices)?,
        subnet: check.subnet(&mut notices)?,
        verdicts: check.verdicts()?,
        logging: check.logging(),
        audit_log: check.audit_log()?,
    };
    Ok((config, notices))
}

/// Where the key for the nodes is or belongs. Needs no such file, which [`check`] does as soon as there is a node.
///
/// # Errors
/// The path is none.
pub fn node_key_path(loaded: &Loaded<Settings>, home: Option<&Path>) -> Result<PathBuf, ConfigError> {
    Check::new(loaded, home).node_key_path()
}

pub(super) struct Check<'a> {
    loaded: &'a Loaded<Settings>,
    pub(super) settings: &'a Settings,
    pub(super) home: Option<&'a Path>,
}

impl<'a> Check<'a> {
    pub(super) const fn new(loaded: &'a Loaded<Settings>, home: Option<&'a Path>) -> Self {
        Self { loaded, settings: &loaded.value, home }
    }

    pub(super) fn reject<T>(&self, key: &str, why: impl Into<String>, help: &str) -> Result<T, ConfigError> {
        let help = (!help.is_empty()).then(|| help.to_owned());
        Err(self.loaded.reject(key, why, help))
    }

    pub(super) fn notice(&self, key: &str, message: impl Into<String>) -> Notice {
        Notice { place: self.loaded.place(key), key: key.to_owned(), message: message.into() }
    }

    fn address(&self, key: &str, host: &str, port: u16) -> Result<SocketAddr, ConfigError> {
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(SocketAddr::new(ip, port)),
            Err(_) if host == "localhost" => Ok(SocketAddr::new([127, 0, 0, 1].into(), port)),
            Err(_) => self.reject(
                key,
                "is not an IP address to listen on",
                "use 0.0.0.0 for all or 127.0.0.1 for local",
            ),
        }
    }

    fn wallet(&self) -> Result<WalletConfig, ConfigError> {
        let bittensor = &self.settings.bittensor;
        let root = self.path("bittensor.wallet_path", &bittensor.wallet_path)?;
        let password_file = match &bittensor.wallet_password_file {
            Some(file) => Some(self.path("bittensor.wallet_password_file", file)?),
            None => None,
        };
        Ok(WalletConfig {
            root,
            password_file,
            wallet: bittensor.wallet_name.clone(),
            hotkey: bittensor.hotkey_name.clone(),
        })
    }

    fn database(&self) -> Result<DatabaseConfig, ConfigError> {
        let database = &self.settings.database;
        if !(1..=64).contains(&database.max_connections) {
            let why = format!("is {}, and must be from 1 to 64", database.max_connections);
            return self.reject(
                "database.max_connections",
                why,
                "10 is the default, and enough for hundreds of nodes",
            );
        }
        let (url, readers) = (database.url.clone(), database.max_connections);
        Ok(DatabaseConfig { url, readers, migrate: database.run_migrations })
    }

    fn listen(&self, notices: &mut Vec<Notice>) -> Result<ListenConfig, ConfigError> {
        let comms = &self.settings.validator_comms;
        let grpc = self.address("validator_comms.host", &comms.host, comms.port)?;
        if comms.request_timeout.millis() <= DISCOVERY_LIMIT {
            let help = "30 is the default";
            return self.reject(
                "validator_comms.request_timeout",
                "must be longer than the 20 s of a discovery",
                help,
            );
        }
        let Ok(health) = self.settings.health.listen.parse::<SocketAddr>() else {
            return self.reject(
                "health.listen",
                "is not an address and port",
                "write it like \"127.0.0.1:8091\"",
            );
        };
        let compat = self.settings.health.compat_port.map(|port| SocketAddr::new(health.ip(), port));
        let prometheus = &self.settings.metrics.prometheus;
        let metrics = self.address("metrics.prometheus.host", &prometheus.host, prometheus.port)?;
        let metrics = self.settings.metrics.enabled.then_some(metrics);
        let listeners = [
            Some(("validator_comms.port", grpc)),
            Some(("health.listen", health)),
            compat.map(|c| ("health.compat_port", c)),
            metrics.map(|m| ("metrics.prometheus.port", m)),
        ];
        let listeners: Vec<_> = listeners.into_iter().flatten().collect();
        for (at, (key, address)) in listeners.iter().enumerate() {
            if let Some((other, _)) = listeners[..at].iter().find(|(_, other)| collide(*address, *other)) {
                return self.reject(
                    key,
                    format!("uses the same port as {other}"),
                    "give each listener a port of its own",
                );
            }
        }
        Ok(ListenConfig {
            grpc,
            health,
            compat,
            metrics,
            request_timeout: comms.request_timeout.millis(),
            request_rate: self.request_rate()?,
            tls: self.tls(notices)?,
        })
    }

    fn logging(&self) -> LoggingConfig {
        let Logging { level, format } = self.settings.logging;
        LoggingConfig { level, json: format == LogFormat::Json }
    }

    fn request_rate(&self) -> Result<Option<RequestRate>, ConfigError> {
        let limit = &self.settings.validator_comms.rate_limit;
        let at_least_one = |key: &str, value| match NonZeroU32::new(value) {
            Some(value) => Ok(value),
            None => self.reject(key, "must be at least 1", "enabled = false turns the limit off"),
        };
        let per_second =
            at_least_one("validator_comms.rate_limit.requests_per_second", limit.requests_per_second)?;
        let burst = at_least_one("validator_comms.rate_limit.burst_capacity", limit.burst_capacity)?;
        Ok(limit.enabled.then_some(RequestRate { per_second, burst }))
    }

    fn fleet(&self, notices: &mut Vec<Notice>) -> Result<FleetConfig, ConfigError> {
        let management = &self.settings.node_management;
        let (interval, timeout) =
            (management.health_check_interval.millis(), management.health_check_timeout.millis());
        if !(Millis(100)..=Millis::from_secs(600)).contains(&interval) {
            return self.reject("node_management.health_check_interval", "must be from 100 ms to 10 min", "");
        }
        if !(Millis(100)..=Millis::from_secs(60)).contains(&timeout) {
            return self.reject("node_management.health_check_timeout", "must be from 100 ms to 60 s", "");
        }
        let retries = management.max_retry_attempts;
        if retries > MAX_RETRIES {
            let why = format!("must be at most {MAX_RETRIES}");
            return self.reject("node_management.max_retry_attempts", why, "3 is the default");
        }
        if !management.auto_recovery {
            let message = "false: a node that was lost stays out until `basilica-miner nodes recover NODE`";
            notices.push(self.notice("node_management.auto_recovery", message));
        }
        let nodes = self.nodes(notices)?;
        let ssh_key = self.node_key_path()?;
        if !nodes.is_empty() {
            let help = format!(
                "make it with: ssh-keygen -t ed25519 -N '' -f {}",
                quoted(&ssh_key.to_string_lossy())
            );
            self.private_file("ssh_session.miner_node_key_path", "SSH key", &ssh_key, &help)?;
        }
        let remove_keys_on_shutdown = self.settings.security.remove_keys_on_shutdown;
        let auto_recovery = management.auto_recovery;
        Ok(FleetConfig { nodes, ssh_key, interval, timeout, retries, auto_recovery, remove_keys_on_shutdown })
    }

    fn node_key_path(&self) -> Result<PathBuf, ConfigError> {
        self.path("ssh_session.miner_node_key_path", &self.settings.ssh_session.miner_node_key_path)
    }

    fn admission(&self, notices: &mut Vec<Notice>) -> Result<AdmissionConfig, ConfigError> {
        let security = &self.settings.security;
        if !security.verify_signatures {
            let help = "remove the key; for tests use the local network";
            return self.reject("security.verify_signatures", "signatures are always verified", help);
        }
        if security.max_nonces_per_validator == 0 {
            return self.reject("security.max_nonces_per_validator", "must be at least 1", "");
        }
        if !security.accept_discover_v1.is_empty() {
            let message = "V1 signatures cover neither the SSH key nor the target: whoever can read or change the \
                           traffic of these validators can put a key of their own on your nodes";
            notices.push(self.notice("security.accept_discover_v1", message));
        }
        let session_lifetime = security.session_lifetime.millis();
        if !(Millis::from_secs(1)..=Millis::from_secs(86_400)).contains(&session_lifetime) {
            return self.reject("security.session_lifetime", "must be from 1 s to 24 h", "1h is the default");
        }
        let refresh = self.settings.validator_assignment.refresh_interval.millis();
        let (max_sessions, session_rate) = self.sessions()?;
        Ok(AdmissionConfig {
            max_sessions,
            session_rate,
            accept_discover_v1: security.accept_discover_v1.clone(),
            nonces_per_validator: security.max_nonces_per_validator,
            session_lifetime,
            metagraph_max_age: METAGRAPH_MAX_AGE.max(Millis(refresh.0.saturating_mul(3))),
        })
    }

    /// How many sessions one validator may have and open.
    fn sessions(&self) -> Result<(NonZeroU32, Option<SessionRate>), ConfigError> {
        // A validator's keys stand on every node of its own, and each adds to what every round there reads and writes.
        const MOST: u32 = 64;
        const MOST_AN_HOUR: u32 = 10_000;
        let settings = &self.settings.ssh_session;
        let Some(max) = NonZeroU32::new(settings.max_concurrent_sessions).filter(|max| max.get() <= MOST)
        else {
            let help = "5 is the default; a validator that restarts needs a second one until the first ends";
            return self.reject(
                "ssh_session.max_concurrent_sessions",
                format!("must be from 1 to {MOST}"),
                help,
            );
        };
        if settings.session_rate_limit > MOST_AN_HOUR {
            let why = format!("must be at most {MOST_AN_HOUR}");
            return self.reject("ssh_session.session_rate_limit", why, "0 stands for no limit");
        }
        let most = NonZeroU32::new(settings.session_rate_limit);
        Ok((max, most.map(|most| SessionRate { most: most.get(), within: Millis::from_secs(3600) })))
    }

    fn subnet(&self, notices: &mut Vec<Notice>) -> Result<SubnetConfig, ConfigError> {
        let bittensor = &self.settings.bittensor;
        if bittensor.netuid == 0 {
            return self.reject("bittensor.netuid", "0 is the root network", "39 on finney, 387 on test");
        }
        let refresh_interval = self.settings.validator_assignment.refresh_interval.millis();
        if !(Millis(100)..=Millis::from_secs(600)).contains(&refresh_interval) {
            return self.reject("validator_assignment.refresh_interval", "must be from 100 ms to 10 min", "");
        }
        let netuid = NetUid(bittensor.netuid);
        Ok(SubnetConfig {
            network: bittensor.network,
            endpoints: self.endpoints(),
            netuid,
            axon: self.axon(notices)?,
            assignment: self.assignment(notices)?,
            refresh_interval,
        })
    }

    fn endpoints(&self) -> Vec<ChainUrl> {
        let bittensor = &self.settings.bittensor;
        let first = bittensor.chain_endpoint.clone().unwrap_or_else(|| bittensor.network.endpoint());
        std::iter::once(first).chain(bittensor.fallback_endpoints.clone()).collect()
    }
}

/// Whether the second of two listeners would find the port taken. Port 0 is any free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}
