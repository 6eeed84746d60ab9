//! From an address to an authenticated connection, step by step under one deadline.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{AddressPolicy, Dial, ShellError};
use basilica_types::{Host, HostKey, Millis, NodeAddress};
use russh::SshId;
use russh::client::{self, Handle};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::identity;
use crate::login::{self, Methods};
use crate::preamble::{NotSsh, NotedStream, Opening, Preamble};
use crate::trust::{Learnt, Trust, preferred};

/// A name with more addresses than this is tried at its first ones only.
const MAX_ADDRESSES: usize = 4;
/// Silence after which the server is asked whether it still lives; after three more such spans it counts as gone.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Flow control window of a command, and packets buffered for it: together they bound its memory.
const WINDOW: u32 = 256 * 1024;
const BUFFERED_PACKETS: usize = 16;

const RESOLVING: &str = "resolving the host name";
const KEY_EXCHANGE: &str = "the SSH key exchange";
pub(crate) const LOGIN: &str = "the SSH login";

pub(crate) async fn resolve_within(
    address: &NodeAddress,
    policy: AddressPolicy,
    deadline: Millis,
) -> Result<Vec<SocketAddr>, ShellError> {
    tokio::time::timeout(deadline.as_duration(), resolve(address, policy))
        .await
        .map_err(|_| ShellError::Deadline { step: RESOLVING, limit: deadline })?
}

pub(crate) async fn connect(dial: &Dial) -> Result<Connection, ShellError> {
    let limit = Limit { dial, until: Instant::now() + dial.deadline.as_duration() };
    let identity = dial.identity.clone();
    let credential = limit
        .within(
            "reading the private key",
            tokio::task::spawn_blocking(move || identity::credential(&identity)),
        )
        .await?
        .map_err(|source| lost("reading the private key", source))??;
    let (mut guard, mut handle, learnt) = limit.open().await?;
    limit.within(LOGIN, login::log_in(dial, &mut handle, credential, &learnt)).await??;
    let host_key = learnt.host_key()?;
    let socket = guard.0.take().ok_or_else(|| lost(LOGIN, russh::Error::Disconnect))?;
    tracing::debug!(node.address = %dial.address, host_key = %host_key.fingerprint(), "logged in");
    Ok(Connection::new(handle, socket, host_key))
}

/// What a server shows to whoever asks: nothing secret is sent to it. The identity of `dial` is not used.
pub(crate) async fn look(dial: &Dial) -> Result<(HostKey, Methods), ShellError> {
    let limit = Limit { dial, until: Instant::now() + dial.deadline.as_duration() };
    let (_guard, mut handle, learnt) = limit.open().await?;
    let methods = limit.within(LOGIN, login::methods(dial, &mut handle)).await??;
    Ok((learnt.host_key()?, methods))
}

/// A duplicate of a connection's socket that ends the connection when dropped.
pub(crate) struct Socket(pub(crate) Option<std::net::TcpStream>);

impl Socket {
    /// Ends the connection at once, whatever the protocol's task waits for.
    pub(crate) fn shut(&self) {
        if let Some(socket) = &self.0 {
            // An error means that it is closed already.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.shut();
    }
}

struct Limit<'a> {
    dial: &'a Dial,
    until: Instant,
}

impl Limit<'_> {
    async fn within<T>(&self, step: &'static str, work: impl Future<Output = T>) -> Result<T, ShellError> {
        tokio::time::timeout_at(self.until, work)
            .await
            .map_err(|_| ShellError::Deadline { step, limit: self.dial.deadline })
    }

    /// A connection to a server that is believed, before the login. It ends with the guard, so that the protocol's task ends as well if
    /// anything fails from here on.
    async fn open(&self) -> Result<(Socket, Handle<Trust>, Arc<Learnt>), ShellError> {
        let addresses = self.within(RESOLVING, resolve(&self.dial.address, self.dial.addresses)).await??;
        let tcp = connect_to_one(self, &addresses).await?;
        let socket = duplicate(&tcp).map_err(|source| refused(&self.dial.address, source))?;
        let guard = Socket(Some(socket));
        let learnt = Arc::new(Learnt::default());
        let handle = self.within(KEY_EXCHANGE, shake_hands(self.dial, tcp, &learnt)).await??;
        Ok((guard, handle, learnt))
    }
}

impl Learnt {
    fn host_key(&self) -> Result<HostKey, ShellError> {
        let shown = self.shown.get().and_then(|shown| shown.key.clone());
        shown.ok_or_else(|| lost(KEY_EXCHANGE, russh::Error::UnknownKey))
    }
}

pub(crate) fn lost(step: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> ShellError {
    ShellError::Lost { step, source: Box::new(source) }
}

fn refused(address: &NodeAddress, source: impl std::error::Error + Send + Sync + 'static) -> ShellError {
    ShellError::Connect { address: address.clone(), source: Box::new(source) }
}

/// Resolves the host and drops what the policy forbids. One allowed address suffices: the others are not dialled.
async fn resolve(address: &NodeAddress, policy: AddressPolicy) -> Result<Vec<SocketAddr>, ShellError> {
    let port = address.port();
    let failed = |source| ShellError::Resolve { address: address.clone(), source };
    let resolved: Vec<IpAddr> = match &address.host {
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => tokio::net::lookup_host((name.as_str(), port))
            .await
            .map_err(|source| failed(source.into()))?
            .map(|address| address.ip().to_canonical())
            .collect(),
    };
    let Some(first) = resolved.first().copied() else {
        return Err(failed(Box::new(std::io::Error::from(std::io::ErrorKind::NotFound))));
    };
    let allowed = |ip: &IpAddr| match policy {
        AddressPolicy::PublicOnly => Host::is_public_address(*ip),
        AddressPolicy::Any => true,
    };
    let mut addresses: Vec<SocketAddr> =
        resolved.into_iter().filter(allowed).map(|ip| SocketAddr::new(ip, port)).collect();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() {
        return Err(ShellError::ForbiddenAddress { address: address.clone(), ip: first });
    }
    Ok(addresses)
}

/// Connects to the first address that accepts; each gets an equal share of the time that is left.
async fn connect_to_one(limit: &Limit<'_>, addresses: &[SocketAddr]) -> Result<TcpStream, ShellError> {
    let mut failure = ShellError::Deadline { step: "connecting", limit: limit.dial.deadline };
    for (tried, address) in addresses.iter().enumerate() {
        let left = limit.until.saturating_duration_since(Instant::now());
        let candidates = u32::try_from(addresses.len() - tried).unwrap_or(1);
        match tokio::time::timeout(left / candidates, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(source)) => failure = refused(&limit.dial.address, source),
            Err(_) => {}
        }
    }
    Err(failure)
}

fn duplicate(tcp: &TcpStream) -> std::io::Result<std::net::TcpStream> {
    use std::os::fd::AsFd as _;
    tcp.set_nodelay(true)?;
    tcp.as_fd().try_clone_to_owned().map(std::net::TcpStream::from)
}

fn config(dial: &Dial) -> client::Config {
    client::Config {
        client_id: SshId::Standard("SSH-2.0-basilica".into()),
        preferred: preferred(&dial.host_keys),
        window_size: WINDOW,
        channel_buffer_size: BUFFERED_PACKETS,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        ..client::Config::default()
    }
}

async fn shake_hands(dial: &Dial, tcp: TcpStream, learnt: &Arc<Learnt>) -> Result<Handle<Trust>, ShellError> {
    let preamble = Preamble::default();
    let stream = NotedStream::new(tcp, preamble.clone());
    let trust = Trust::new(dial.host_keys.clone(), Arc::clone(learnt));
    let connected = client::connect_stream(Arc::new(config(dial)), stream, trust).await;
    connected.map_err(|error| {
        if let (Some(()), Some(shown)) = (learnt.refused.get(), learnt.shown.get()) {
            return ShellError::HostKey {
                address: dial.address.clone(),
                found: shown.fingerprint.clone(),
                key: shown.key.clone().map(Box::new),
            };
        }
        match preamble.opening() {
            Opening::LockedOut => ShellError::LockedOut { address: dial.address.clone() },
            Opening::Garbage => refused(&dial.address, NotSsh),
            Opening::Ssh => lost(KEY_EXCHANGE, error),
        }
    })
}
