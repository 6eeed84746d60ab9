//! Logging in on a node as the miner does, and telling why that does not work.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use basilica_ports::{AddressPolicy, Dial, HostKeyPolicy, Identity, NodeShell, Shell, ShellError};
use basilica_runtime_service::ErrorChain;
use basilica_types::{HostKey, Millis, NodeAddress};

use crate::words::shown;

/// Longest text of an error.
const WORDS_MAX: usize = 300;

/// Why there is no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLogin {
    /// The name has no address.
    Unresolved(String),
    /// The connection is refused.
    Refused(String),
    /// There is no way to the address.
    NoWay(String),
    /// Nothing answers.
    Filtered,
    /// It is accepted, and nothing is said.
    Silent(&'static str),
    /// What answers is not SSH.
    NotSsh(String),
    /// The server shuts us out.
    LockedOut(String),
    /// Both sides have no algorithm in common.
    Incompatible(String),
    /// It broke.
    Lost(String),
    /// The server shows another key.
    HostKey {
        /// Its fingerprint.
        found: String,
        /// Those of the keys that it is known by.
        known: Vec<String>,
    },
    /// The server does not take our key.
    Denied {
        /// Whether it takes keys at all.
        takes_keys: bool,
    },
    /// Our key cannot be used.
    OwnKey(String),
}

/// Where the node is, and how far a login came.
pub(crate) struct Login {
    /// What its name stands for.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The connection, or why there is none.
    pub(crate) shell: Result<Arc<dyn Shell>, NoLogin>,
    /// What the login took.
    pub(crate) took: Millis,
}

/// Tries to log in. Whatever key it shows is believed only if it is among `known`, or none is known yet.
pub(crate) async fn log_in(
    nodes: &dyn NodeShell,
    clock: &dyn basilica_ports::Clock,
    address: &NodeAddress,
    identity: &Identity,
    known: &[HostKey],
    deadline: Millis,
) -> Login {
    let began = clock.monotonic();
    let took = || Millis::from(clock.monotonic().saturating_sub(began));
    let addresses = match nodes.resolve(address, AddressPolicy::Any, deadline).await {
        Ok(addresses) => addresses,
        Err(error) => {
            return Login { addresses: Vec::new(), shell: Err(why(&error, known)), took: took() };
        }
    };
    let host_keys =
        if known.is_empty() { HostKeyPolicy::Learn } else { HostKeyPolicy::Pinned(known.to_vec()) };
    let dial = Dial {
        address: address.clone(),
        identity: identity.clone(),
        host_keys,
        addresses: AddressPolicy::Any,
        deadline,
    };
    let shell = nodes.connect(&dial).await.map_err(|error| why(&error, known));
    Login { addresses, shell, took: took() }
}

/// Whether all of these are IPv6.
pub(crate) fn is_ipv6_only(addresses: &[SocketAddr]) -> bool {
    !addresses.is_empty() && addresses.iter().all(|address| matches!(address.ip(), IpAddr::V6(_)))
}

pub(crate) fn words(error: &ShellError) -> String {
    shown(&ErrorChain(error).to_string(), WORDS_MAX)
}

fn why(error: &ShellError, known: &[HostKey]) -> NoLogin {
    match error {
        ShellError::Identity { .. } => NoLogin::OwnKey(words(error)),
        ShellError::Resolve { .. } | ShellError::Deadline { step: "resolving the host name", .. } => {
            NoLogin::Unresolved(words(error))
        }
        ShellError::ForbiddenAddress { .. } | ShellError::TooMuchOutput { .. } => NoLogin::Lost(words(error)),
        ShellError::Connect { address, source } => match source.downcast_ref::<io::Error>() {
            // As ssh says it: this is what people search for.
            Some(error) if error.kind() == io::ErrorKind::TimedOut => NoLogin::Filtered,
            Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => NoLogin::Refused(format!(
                "ssh: connect to host {} port {}: Connection refused",
                address.host,
                address.port()
            )),
            Some(error) => NoLogin::NoWay(shown(&error.to_string(), WORDS_MAX)),
            None => NoLogin::NotSsh(words(error)),
        },
        ShellError::LockedOut { .. } => NoLogin::LockedOut(words(error)),
        ShellError::HostKey { found, .. } => {
            NoLogin::HostKey { found: found.clone(), known: known.iter().map(HostKey::fingerprint).collect() }
        }
        ShellError::Denied { takes_keys, .. } => NoLogin::Denied { takes_keys: *takes_keys },
        ShellError::Deadline { step: "connecting", .. } => NoLogin::Filtered,
        ShellError::Deadline { step, .. } => NoLogin::Silent(step),
        ShellError::Lost { .. } => {
            let words = words(error);
            if words.contains("No common") { NoLogin::Incompatible(words) } else { NoLogin::Lost(words) }
        }
    }
}
