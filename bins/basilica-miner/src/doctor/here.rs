//! What the doctor sees of this machine: wallet, database, key file, ports, the chain, and the own address from outside.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_doctor_service::{
    Change, DatabaseFault, HereSeen, KeyFault, OnChain, Presence, Reached, Remedy,
};
use basilica_miner_service::config::{DatabaseConfig, MinerConfig, Settings, node_key_path};
use basilica_miner_service::little_room;
use basilica_ports::{
    Chain as _, Clock, Entropy, Identity, MinerCallError, MinerDialer as _, NodeShell as _, ShellError,
};
use basilica_rpc::GrpcMinerDialer;
use basilica_runtime_service::{ErrorChain, Loaded};
use basilica_ssh::{KeyFileError, RusshShell};
use basilica_store::{MinerLock, OpenError};
use basilica_types::{Hotkey, Kept, RequestNonce};
use basilica_wire::Signature;
use basilica_wire::discovery::AuthRequest;

use crate::commands::Configured;
use crate::keys::unfinished;
use crate::nodes::twins;
use crate::{running, service};

/// Looks at everything here, the chain and the advertised address included.
pub(super) async fn look(
    configured: &Configured,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<HereSeen> {
    let config = &configured.config;
    let signer = service::signer(&config.wallet, entropy);
    let hotkey = signer.as_ref().ok().map(|signer| signer.hotkey());
    let presence = running::presence(config)?;
    let mut seen = HereSeen::nothing(clock.now());
    seen.key = key(&config.fleet.ssh_key);
    seen.wallet = signer.as_ref().err().map(|error| format!("{error:#}"));
    seen.little_room = little_room(&service::disks(config));
    // A full disk is told as that.
    let is_full = seen.little_room.iter().any(|room| room.is_none() && room.is_of(Kept::Database));
    seen.database = match service::database_obstacle(&config.database).await {
        Some(OpenError::DiskFull { .. }) if is_full => None,
        obstacle => database(&config.database, obstacle),
    };
    seen.taken = if presence == Presence::Absent { taken(config) } else { Vec::new() };
    seen.nodes = config.fleet.nodes.len();
    seen.notices = configured.notices.iter().map(ToString::to_string).collect();
    seen.notices.extend(unfinished(config));
    // A database that cannot be read is told for itself.
    seen.notices
        .extend(twins::warnings(config).await.unwrap_or_default().into_iter().map(|(_, words)| words));
    seen.axon = config.subnet.axon.map(|axon| axon.address);
    seen.chain = Some(on_chain(config, hotkey, clock, entropy).await?);
    seen.now = clock.now();
    let published = seen.chain.as_ref().and_then(|chain| chain.as_ref().ok()?.axon);
    if let (Presence::Runs, Some(address), Some(hotkey)) = (&presence, published.or(seen.axon), hotkey) {
        seen.reached = Some(reach(address, hotkey, clock, entropy).await);
    }
    seen.presence = presence;
    Ok(seen)
}

/// The chain that the configuration means, without an account.
pub(crate) fn chain(
    config: &MinerConfig,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<SubtensorChain> {
    let options = ChainOptions::new(config.subnet.endpoints.clone()).of_network(config.subnet.network);
    Ok(SubtensorChain::new(options, None, Arc::clone(clock), Arc::clone(entropy))?)
}

async fn on_chain(
    config: &MinerConfig,
    hotkey: Option<Hotkey>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<Result<OnChain, String>> {
    let chain = chain(config, clock, entropy)?;
    let read = async {
        let identity = chain.identity().await?;
        Ok::<_, basilica_ports::ChainError>((identity, chain.metagraph(config.subnet.netuid).await?))
    };
    Ok(read.await.map_err(|error| format!("{}; {}", ErrorChain(&error), error.action())).map(
        |(identity, metagraph)| {
            let neuron = hotkey.as_ref().and_then(|hotkey| metagraph.neuron(hotkey));
            OnChain {
                block_time: (!identity.development).then_some(metagraph.at),
                // Without a wallet nobody can be looked for, and that is told already.
                registered: hotkey.is_none() || neuron.is_some(),
                axon: neuron.and_then(|neuron| neuron.axon).map(|axon| axon.address),
            }
        },
    ))
}

/// What is wrong with the database, if anything is.
fn database(config: &DatabaseConfig, obstacle: Option<OpenError>) -> Option<(DatabaseFault, String)> {
    let path = config.url.as_path();
    // The lock beside the file tells whose miner it is; that one answers on the health port does not.
    if !path.exists() && MinerLock::holder(&config.url).is_ok_and(|holder| holder.is_some()) {
        return Some((DatabaseFault::Gone, format!("there is no {}", path.display())));
    }
    let error = obstacle?;
    let fault = match &error {
        OpenError::OtherProgram { .. } => DatabaseFault::Foreign,
        OpenError::Newer { .. } => DatabaseFault::Newer,
        OpenError::Absent { .. } | OpenError::Empty { .. } | OpenError::MigrationsDue { .. } => {
            DatabaseFault::Outdated
        }
        error if error.damage().is_some() => DatabaseFault::Damaged,
        _ => DatabaseFault::Unwritable,
    };
    Some((fault, ErrorChain(&error).to_string()))
}

/// What is wrong with the key file, if anything is.
fn key(path: &Path) -> Option<(PathBuf, KeyFault, String)> {
    let error = RusshShell.public_key(&Identity::File(path.to_owned())).err()?;
    let words = ErrorChain(&error).to_string();
    let ShellError::Identity { source, .. } = &error else {
        return Some((path.to_owned(), KeyFault::Invalid, words));
    };
    let fault = match source.downcast_ref::<KeyFileError>() {
        Some(KeyFileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => KeyFault::Missing,
        Some(KeyFileError::Read(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            KeyFault::Unreadable
        }
        Some(KeyFileError::TooOpen { .. }) => KeyFault::TooOpen,
        Some(KeyFileError::Passphrase) => KeyFault::Passphrase,
        _ => KeyFault::Invalid,
    };
    Some((path.to_owned(), fault, words))
}

/// Takes from others the right to read the key, if they have it: with such a key no configuration passes. What was changed is told.
pub(super) fn close_key(settings: &Loaded<Settings>) -> anyhow::Result<Option<(PathBuf, Change)>> {
    let path = node_key_path(settings, std::env::home_dir().as_deref())?;
    let mode = |path: &Path| Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o7777);
    // What is wrong otherwise the configuration's check says.
    let is_too_open = matches!(key(&path), Some((_, KeyFault::TooOpen, _)));
    let Some(before) = mode(&path).filter(|_| is_too_open) else { return Ok(None) };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("chmod 600 {}", path.display()))?;
    let after = mode(&path).map_or_else(String::new, |mode| format!("{mode:04o}"));
    Ok(Some((path, Change { remedy: Remedy::KeyFileMode, before: format!("{before:04o}"), after })))
}

/// Ports that the miner would not get now, and the keys of the configuration that say which.
fn taken(config: &MinerConfig) -> Vec<(SocketAddr, &'static str, String)> {
    let listen = &config.listen;
    let wanted = [
        (Some(listen.grpc), "validator_comms.port"),
        (Some(listen.health), "health.listen"),
        (listen.compat, "health.compat_port"),
        (listen.metrics, "metrics.prometheus.port"),
    ];
    let why = |(address, key): (Option<SocketAddr>, &'static str)| {
        let address = address?;
        Some((address, key, TcpListener::bind(address).err()?.to_string()))
    };
    wanted.into_iter().filter_map(why).collect()
}

/// A call as a validator makes it, to the address that validators use; a miner refuses it, because it is signed by nobody.
async fn reach(
    address: SocketAddr,
    own: Hotkey,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Reached {
    let request = AuthRequest {
        validator: own,
        target: own,
        nonce: RequestNonce::from_random(entropy.array()),
        timestamp_secs: clock.now().as_secs(),
        signature: Signature::from_bytes([0; 64]),
    };
    let error = match GrpcMinerDialer::default().dial(address).await {
        Ok(miner) => match miner.authenticate(request).await {
            Ok(_) | Err(MinerCallError::Refused { .. }) => return Reached::Yes,
            Err(error) => error,
        },
        Err(error) => error,
    };
    let words = ErrorChain(&error).to_string();
    if is_own(address.ip()) {
        return Reached::No(words);
    }
    // Many routers do not lead their own outer address back in.
    Reached::Unclear(format!("{words}; {} is an address of a router, not of this machine", address.ip()))
}

/// Whether an interface of this machine has the address: only then a socket can be bound to it.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}
