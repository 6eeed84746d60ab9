//! One SSH connection per node, kept and used again (decision D9): sshd counts logins, not commands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::{Dial, HostKeyPolicy, NodeKey, NodeRecord, Shell, ShellError};
use basilica_types::{Host, Millis, NodeAddress, SshPublicKey, Timestamp};
use basilica_verification::Outcome;
use basilica_verification::knocking::Answer;
use prometheus_client::metrics::gauge::Gauge;

use crate::sessions::Access;
use crate::shared::Shared;
use crate::slots::Places;

/// Open connections, by node. A leaf cache: the lock is never held across an await.
pub(crate) struct Connections {
    open: Mutex<BTreeMap<NodeKey, Pooled>>,
    active: Gauge,
}

struct Pooled {
    shell: Arc<dyn Shell>,
    at: SocketAddr,
    /// Of the session that logged in: the next session's key makes a new connection.
    public_key: SshPublicKey,
}

/// A connection to use for one check.
pub(crate) struct Connection {
    pub(crate) shell: Arc<dyn Shell>,
    /// Of the addresses that the node's name stands for, the one that this is a connection to.
    pub(crate) at: SocketAddr,
    /// It was open before: that it is dead now says nothing about the node.
    pub(crate) reused: bool,
}

/// Why there is no connection.
pub(crate) enum NotConnected {
    /// It was tried.
    Failed(ShellError),
    /// Trying now would cost others, or be refused anyway (see [`basilica_verification::knocking`]).
    Postponed(Timestamp),
}

impl Connections {
    /// None; tells how many there are by this gauge.
    pub(crate) fn new(active: Gauge) -> Self {
        Self { open: Mutex::default(), active }
    }

    /// The pooled connection, if it is open and of this session.
    fn pooled(&self, key: NodeKey, access: &Access) -> Option<Connection> {
        self.with(|open| {
            let usable =
                open.get(&key).is_some_and(|p| p.public_key == access.public_key && p.shell.is_open());
            if !usable {
                open.remove(&key);
            }
            let pooled = open.get(&key)?;
            Some(Connection { shell: Arc::clone(&pooled.shell), at: pooled.at, reused: true })
        })
    }

    /// Forgets a connection; it closes when its last user is done.
    pub(crate) fn forget(&self, key: NodeKey) {
        self.with(|open| open.remove(&key));
    }

    /// The same for all.
    pub(crate) fn forget_all(&self) {
        self.with(BTreeMap::clear);
    }

    fn keep(&self, key: NodeKey, connection: &Connection, access: &Access) {
        let shell = Arc::clone(&connection.shell);
        let pooled = Pooled { shell, at: connection.at, public_key: access.public_key.clone() };
        self.with(|open| open.insert(key, pooled));
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<NodeKey, Pooled>) -> T) -> T {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut open);
        self.active.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        changed
    }
}

/// The pooled connection to a node, or a new one.
pub(crate) async fn connect(
    shared: &Shared,
    places: &Places,
    node: &NodeRecord,
    access: &Access,
) -> Result<Connection, NotConnected> {
    if let Some(connection) = shared.connections.pooled(node.key, access) {
        shared.metrics.ssh_reused.inc();
        return Ok(connection);
    }
    // Closed only with the process, and then nobody waits.
    let _permit = places.dials.acquire().await.ok();
    let connection = dial_node(shared, node, access).await.inspect_err(|why| {
        let metrics = &shared.metrics;
        let counter = match why {
            NotConnected::Failed(_) => &metrics.ssh_failures,
            NotConnected::Postponed(_) => &metrics.ssh_postponed,
        };
        counter.inc();
    })?;
    shared.metrics.ssh_opened.inc();
    if matches!(node.address.host, Host::Name(_)) {
        shared.note_resolved(node.key.miner);
    }
    shared.connections.keep(node.key, &connection, access);
    Ok(connection)
}

/// Tries each address that the node's stands for, in equal shares of the time.
async fn dial_node(shared: &Shared, node: &NodeRecord, access: &Access) -> Result<Connection, NotConnected> {
    let clock = shared.ports.clock.as_ref();
    let (started, limit) = (clock.monotonic(), shared.settings.connect_deadline);
    let policy = shared.settings.probing.addresses;
    let resolved = shared.ports.nodes.resolve(&node.address, policy, limit).await;
    let resolved = resolved.map_err(NotConnected::Failed)?;
    let mut result = Err(NotConnected::Failed(ShellError::Deadline { step: "connecting", limit }));
    for (tried, at) in resolved.iter().enumerate() {
        let left = limit.saturating_sub(Millis::from(clock.monotonic().saturating_sub(started)));
        let candidates = u64::try_from(resolved.len().saturating_sub(tried)).unwrap_or(1);
        let dial = Dial {
            address: address_at(&node.address, *at),
            identity: access.identity.clone(),
            host_keys: HostKeyPolicy::Pinned(node.host_keys.clone()),
            addresses: policy,
            deadline: Millis(left.0 / candidates.max(1)),
        };
        let shell = knock(shared, node, *at, &dial).await;
        result = shell.map(|shell| Connection { shell, at: *at, reused: false });
        match &result {
            Err(NotConnected::Failed(ShellError::Connect { .. } | ShellError::Deadline { .. })) => {}
            _ => break,
        }
    }
    result
}

/// The same address under the number that its name stands for: what was looked at is what is dialled (RULES R11).
fn address_at(address: &NodeAddress, at: SocketAddr) -> NodeAddress {
    let mut resolved = address.clone();
    resolved.host = Host::Ip(at.ip());
    resolved
}

async fn knock(
    shared: &Shared,
    node: &NodeRecord,
    at: SocketAddr,
    dial: &Dial,
) -> Result<Arc<dyn Shell>, NotConnected> {
    let known = has_been_let_in(node);
    let who = (node.key, shared.party(&node.key.miner));
    shared.doors(|doors| doors.knock(at, who, known, shared.now())).map_err(NotConnected::Postponed)?;
    shared.metrics.ssh_connections.inc();
    let began = shared.ports.clock.monotonic();
    let result = shared.ports.nodes.connect(dial).await;
    let took = shared.ports.clock.monotonic().saturating_sub(began);
    shared.metrics.ssh_logins.0.observe(took.as_secs_f64());
    let answer = match &result {
        Ok(_) => Some(Answer::LetIn),
        Err(ShellError::Denied { .. } | ShellError::HostKey { .. }) => Some(Answer::Denied),
        Err(ShellError::LockedOut { .. }) => Some(Answer::LockedOut),
        Err(ShellError::Connect { .. } | ShellError::Deadline { .. } | ShellError::Lost { .. }) => {
            Some(Answer::Silent)
        }
        Err(_) => None,
    };
    if let Some(answer) = answer {
        shared.doors(|doors| doors.answered(at, node.key, answer, shared.now()));
    }
    result.map_err(NotConnected::Failed)
}

/// Whether the node passed a check before, which it cannot without a login.
fn has_been_let_in(node: &NodeRecord) -> bool {
    let passed = |outcome: &Outcome| *outcome == Outcome::Passed;
    node.last_proof.is_some()
        || node.last_verdict.is_some_and(|verdict| passed(&verdict.outcome))
        || node.last_full.is_some_and(|verdict| passed(&verdict.outcome))
}
