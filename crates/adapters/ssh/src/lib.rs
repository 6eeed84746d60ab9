//! SSH to nodes: direct, pinned, multiplexed (DESIGN D9).
//!
//! What is promised:
//! - one TCP connection per [`NodeShell::connect`], on which commands run side by side, so that a validator that
//!   checks a node every ten minutes logs in once and not once per command (OpenSSH >= 9.8 counts logins and shuts
//!   eager ones out);
//! - no server is believed without a key that the caller pinned or asked to learn, and no address is dialled
//!   that the caller's policy forbids: the name is resolved first and exactly the checked address is connected to;
//! - every wait for the network up to the login, and every command that is run to its end, has a deadline; a connection
//!   that dies silently is noticed by keepalives within a minute;
//! - what a node sends is bounded at every stage: half a mebibyte per command in flight plus what the caller allowed;
//! - commands leave only as [`basilica_types::Argv::to_command_line`].
//!
//! A command that is abandoned (deadline, too much output, dropped [`Process`](basilica_ports::Process)) loses its
//! channel, and thus its input and output, and is sent SIGKILL. sshd delivers that to logins other than root without a forced
//! command only; what must not outlive its caller elsewhere is to be run under `timeout`. Commands that stay
//! nevertheless use up sshd's sessions; a connection that has none left says that it is no longer open. A connection whose last user is gone is shut down at the socket, because the
//! protocol's task could otherwise wait for ever on a peer that does not read.
//!
//! Rejected: the `ssh` program (20 times the CPU per check, errors as text, a known-hosts file per validator), and agents
//! or certificates, which nobody asked for.
//!
//! One limit to know: the library delivers packets of all commands of a connection in order, so a
//! [`Process`](basilica_ports::Process) whose output nobody receives holds up its neighbours on that node.

mod ask;
mod command;
mod connection;
mod dial;
mod identity;
mod login;
mod preamble;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{AddressPolicy, Ask, Dial, HostKeyPolicy, Identity, NodeShell, Shell, ShellError};
use basilica_types::{HostKey, Millis, NodeAddress, SshPublicKey};
use zeroize::Zeroizing;

pub use identity::{KeyFileError, NewKeyError, create_key};
pub use login::Methods;
pub use preamble::NotSsh;

/// The SSH client. Holds nothing: connections belong to those who opened them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RusshShell;

impl RusshShell {
    /// By which key a server proves itself, and how it lets this user in. Sends it no credential: what an operator should see before
    /// trusting a server with one.
    pub async fn look(
        &self,
        address: &NodeAddress,
        deadline: Millis,
    ) -> Result<(HostKey, Methods), ShellError> {
        let dial = Dial {
            address: address.clone(),
            identity: Identity::Password(Zeroizing::new(String::new())),
            host_keys: HostKeyPolicy::Learn,
            addresses: AddressPolicy::Any,
            deadline,
        };
        dial::look(&dial).await
    }
}

#[async_trait]
impl NodeShell for RusshShell {
    fn public_key(&self, identity: &Identity) -> Result<SshPublicKey, ShellError> {
        identity::public_key(identity)
    }

    async fn resolve(
        &self,
        address: &NodeAddress,
        addresses: AddressPolicy,
        deadline: Millis,
    ) -> Result<Vec<SocketAddr>, ShellError> {
        dial::resolve_within(address, addresses, deadline).await
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<u8>, ShellError> {
        ask::ask(ask).await
    }

    async fn connect(&self, dial: &Dial) -> Result<Arc<dyn Shell>, ShellError> {
        Ok(Arc::new(dial::connect(dial).await?))
    }
}
