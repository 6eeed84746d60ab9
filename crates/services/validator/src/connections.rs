//! One SSH connection per node, kept and used again (decision D9): sshd counts logins, not commands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::{AddressPolicy, Dial, HostKeyPolicy, NodeKey, NodeRecord, Shell, ShellError};
use basilica_types::{Host, SshPublicKey};
use basilica_verification::Break;
use tokio::sync::Semaphore;

use crate::sessions::Access;
use crate::shared::Shared;

/// Open connections, by node. A leaf cache: the lock is never held across an await.
#[derive(Default)]
pub(crate) struct Connections {
    open: Mutex<BTreeMap<NodeKey, Pooled>>,
}

struct Pooled {
    shell: Arc<dyn Shell>,
    /// Of the session that logged in: the next session's key makes a new connection.
    public_key: SshPublicKey,
}

/// A connection to use for one check.
pub(crate) struct Connection {
    pub(crate) shell: Arc<dyn Shell>,
    /// It was open before: that it is dead now says nothing about the node.
    pub(crate) reused: bool,
}

impl Connections {
    /// The pooled connection, if it is open and of this session.
    fn pooled(&self, key: NodeKey, access: &Access) -> Option<Arc<dyn Shell>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = open.get(&key).is_some_and(|p| p.public_key == access.public_key && p.shell.is_open());
        if !usable {
            open.remove(&key);
        }
        open.get(&key).map(|pooled| Arc::clone(&pooled.shell))
    }

    /// Forgets a connection; it closes when its last user is done.
    pub(crate) fn forget(&self, key: NodeKey) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// How many connections are kept.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn keep(&self, key: NodeKey, shell: Arc<dyn Shell>, access: &Access) {
        let pooled = Pooled { shell, public_key: access.public_key.clone() };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pooled);
    }
}

/// The pooled connection to a node, or a new one.
pub(crate) async fn connect(
    shared: &Shared,
    dials: &Semaphore,
    node: &NodeRecord,
    access: &Access,
) -> Result<Connection, ShellError> {
    if let Some(shell) = shared.connections.pooled(node.key, access) {
        return Ok(Connection { shell, reused: true });
    }
    let addresses =
        if shared.settings.allow_private_hosts { AddressPolicy::Any } else { AddressPolicy::PublicOnly };
    let dial = Dial {
        address: node.address.clone(),
        identity: access.identity.clone(),
        host_keys: HostKeyPolicy::Pinned(node.host_keys.clone()),
        addresses,
        deadline: shared.settings.connect_deadline,
    };
    // Closed only with the process, and then nobody waits.
    let _permit = dials.acquire().await.ok();
    shared.metrics.ssh_connections.inc();
    let shell = shared.ports.nodes.connect(&dial).await.inspect_err(|_| {
        shared.metrics.ssh_failures.inc();
    })?;
    if matches!(node.address.host, Host::Name(_)) {
        shared.note_resolved(node.key.miner);
    }
    shared.connections.keep(node.key, Arc::clone(&shell), access);
    shared.metrics.ssh_active.set(i64::try_from(shared.connections.len()).unwrap_or(i64::MAX));
    Ok(Connection { shell, reused: false })
}

/// What an error while connecting means.
pub(crate) const fn connect_break(error: &ShellError) -> Break {
    match error {
        ShellError::Deadline { .. } => Break::ConnectDeadline,
        ShellError::Lost { .. } => Break::Unreachable,
        other => command_break(other),
    }
}

/// What an error of a running command means.
pub(crate) const fn command_break(error: &ShellError) -> Break {
    match error {
        ShellError::Identity { .. } => Break::OwnKey,
        ShellError::Resolve { .. } => Break::Unresolved,
        ShellError::ForbiddenAddress { .. } => Break::ForbiddenAddress,
        ShellError::Connect { .. } => Break::Unreachable,
        ShellError::LockedOut { .. } => Break::LockedOut,
        ShellError::HostKey { .. } => Break::HostKey,
        ShellError::Denied { .. } => Break::Denied,
        ShellError::Deadline { .. } => Break::CommandDeadline,
        ShellError::Lost { .. } => Break::Lost,
        ShellError::TooMuchOutput { .. } => Break::TooMuchOutput,
    }
}
