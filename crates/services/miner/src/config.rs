//! The miner's configuration: the seeds' keys in, domain types out.
//!
//! [`Settings`] is the file as a user writes it; [`MinerConfig`] is what the service runs on. Every key of a seed is
//! either honoured or answered with a notice ([`IGNORED`]); anything else is refused by the loader. All checks that
//! need no network are made here, before anything starts.

mod assignment;
mod axon;
mod check;
mod decimal;
mod edit;
mod files;
mod nodes;
mod settings;
mod template;
mod tls;
mod verdicts;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use basilica_ports::{Axon, SessionRate};
use basilica_runtime_service::LogLevel;
use basilica_types::{
    ChainUrl, DatabasePath, HostKey, Hotkey, Kept, Millis, NetUid, Network, NodeAddress, NodeId, Region,
    UsdMicros, WalletName,
};

pub use axon::unusable_ip;
pub use check::{check, node_key_path};
pub use decimal::HourlyRate;
pub use edit::{EditError, NodeChange, NodeEntry, remove_node, set_node};
pub use nodes::shared_host_key;
pub use settings::{IGNORED, NodeSettings, Settings};
pub use template::{Answers, EXAMPLE, from_example, netuid_on};
pub use tls::{TlsConfig, tls_paths};
pub use verdicts::VerdictsConfig;

use crate::assignment::AssignmentConfig;

/// One GPU server of this miner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Derived from the address (RULES R10).
    pub id: NodeId,
    /// Where to log in.
    pub address: NodeAddress,
    /// Price per GPU and hour; none: never offered for rent.
    pub hourly_rate_per_gpu: Option<UsdMicros>,
    /// The only host key to believe; none: the one of the first contact.
    pub host_key: Option<HostKey>,
    /// Taken out by the operator: no validator gets a key.
    pub maintenance: bool,
    /// Where it stands, for the assignment by region.
    pub region: Option<Region>,
}

/// Which wallet signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletConfig {
    /// Directory of wallets.
    pub root: PathBuf,
    /// The wallet's name.
    pub wallet: WalletName,
    /// The hotkey's name.
    pub hotkey: WalletName,
    /// File with the password of an encrypted hotkey; none: the Bittensor SDK's environment variable counts.
    pub password_file: Option<PathBuf>,
}

/// The miner's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// The file.
    pub url: DatabasePath,
    /// Most connections that read at the same time.
    pub readers: u32,
    /// Whether the program may migrate by itself.
    pub migrate: bool,
}

/// Where the miner listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// gRPC.
    pub grpc: SocketAddr,
    /// `/health`, `/live` and `/ready`.
    pub health: SocketAddr,
    /// A second port for what `health` serves; none: off.
    pub compat: Option<SocketAddr>,
    /// `/metrics`; none: off.
    pub metrics: Option<SocketAddr>,
    /// Until a gRPC request must be answered.
    pub request_timeout: Millis,
    /// How many gRPC requests of one address are answered; none: any number.
    pub request_rate: Option<RequestRate>,
    /// TLS for gRPC; none: off.
    pub tls: Option<TlsConfig>,
}

/// Requests of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// In a second, in the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// How nodes are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetConfig {
    /// Every node, no address twice.
    pub nodes: Vec<NodeConfig>,
    /// Private key for logging in on all of them.
    pub ssh_key: PathBuf,
    /// Between two rounds on a node.
    pub interval: Millis,
    /// Of one login or command.
    pub timeout: Millis,
    /// Attempts after the first failed one before a node counts as lost.
    pub retries: u32,
    /// Whether a node that was lost is taken back when it answers; otherwise its operator does that.
    pub auto_recovery: bool,
    /// Whether keys of validators are removed when the miner stops; otherwise they end by themselves.
    pub remove_keys_on_shutdown: bool,
}

/// Whom to let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// Hotkeys whose V1 discovery signatures are taken; they cover neither key nor target.
    pub accept_discover_v1: Vec<Hotkey>,
    /// Most nonces remembered of one hotkey within their lifetime of 11 minutes.
    pub nonces_per_validator: u32,
    /// Life of a session and of its keys on the nodes.
    pub session_lifetime: Millis,
    /// Most sessions of one validator with a key on the nodes; the oldest ends for a new one.
    pub max_sessions: NonZeroU32,
    /// How many sessions one validator may open; none: any number.
    pub session_rate: Option<SessionRate>,
    /// Oldest metagraph by which anybody is let in.
    pub metagraph_max_age: Millis,
}

/// The chain and the own place on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetConfig {
    /// Which chain is meant, whatever the endpoints serve.
    pub network: Network,
    /// The preferred first.
    pub endpoints: Vec<ChainUrl>,
    /// The subnet.
    pub netuid: NetUid,
    /// What to publish; none: nothing is written to the chain.
    pub axon: Option<Axon>,
    /// Who gets the nodes.
    pub assignment: AssignmentConfig,
    /// Between two readings of the metagraph.
    pub refresh_interval: Millis,
}

/// What is logged where neither the command line nor `RUST_LOG` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggingConfig {
    /// From which weight on.
    pub level: LogLevel,
    /// Each line as a JSON object.
    pub json: bool,
}

/// Everything a miner runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinerConfig {
    /// Which wallet signs.
    pub wallet: WalletConfig,
    /// The database.
    pub database: DatabaseConfig,
    /// Where to listen.
    pub listen: ListenConfig,
    /// The nodes.
    pub fleet: FleetConfig,
    /// Whom to let in.
    pub admission: AdmissionConfig,
    /// The chain.
    pub subnet: SubnetConfig,
    /// Who is asked about the nodes.
    pub verdicts: VerdictsConfig,
    /// The log.
    pub logging: LoggingConfig,
    /// A file with a line for everything that the miner does on nodes over SSH; none: no such file.
    pub audit_log: Option<PathBuf>,
}

impl MinerConfig {
    /// What the miner keeps on disks, the most needed first.
    pub fn kept(&self) -> Vec<(Kept, PathBuf)> {
        let database = (Kept::Database, self.database.url.as_path().to_owned());
        let log = self.audit_log.clone().map(|path| (Kept::AuditLog, path));
        [database].into_iter().chain(log).collect()
    }
}

#[cfg(test)]
mod tests;
