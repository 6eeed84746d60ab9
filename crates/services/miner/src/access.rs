//! What is done on one node: logging in, bringing its file of keys up to date, ending what runs with keys that are gone. Without
//! a memory of its own: a keeper does it again and again, a command once.

use std::collections::BTreeSet;
use std::sync::Arc;

use basilica_ports::{
    AddressPolicy, Clock, Dial, HostKeyPolicy, Identity, MinerStore, NodeShell, OrderedBy, Shell, ShellError,
    StoreError,
};
use basilica_runtime_service::ErrorChain;
use basilica_types::{HostKey, Millis, NodeAddress, SessionId};
use tracing::{error, info, warn};

use crate::authorized_keys::KeyTag;
use crate::config::{NodeConfig, shared_host_key};
use crate::health::Cause;
use crate::key_editor::{self, Edited, KeyEditError, WantedKey};

/// Why something on a node did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No login.
    #[error("Failed to connect to node")]
    Connect(#[from] ShellError),
    /// No login in time.
    #[error("Failed to connect to node: Connection to {address} timed out")]
    TimedOut {
        /// Which.
        address: NodeAddress,
        /// At which step.
        #[source]
        source: ShellError,
    },
    /// The file or the processes.
    #[error("bring the validators' keys on the node up to date")]
    Edit(#[from] KeyEditError),
    /// The miner's database.
    #[error("remember what is on the node")]
    Store(#[from] StoreError),
}

impl AccessError {
    /// Of which kind it is.
    pub(crate) const fn cause(&self) -> Cause {
        match self {
            Self::Connect(error) | Self::TimedOut { source: error, .. } => cause_of(error),
            Self::Edit(KeyEditError::Shell(error)) => cause_of(error),
            Self::Edit(KeyEditError::Skew { .. }) => Cause::Clock,
            Self::Edit(_) => Cause::AuthorizedKeys,
            Self::Store(_) => Cause::Database,
        }
    }

    /// Whether the connection, not what was done over it, failed.
    pub(crate) const fn is_connection(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::TimedOut { .. } | Self::Edit(KeyEditError::Shell(_)))
    }
}

const fn cause_of(error: &ShellError) -> Cause {
    match error {
        ShellError::LockedOut { .. } => Cause::LockedOut,
        ShellError::Denied { .. } => Cause::Denied,
        ShellError::HostKey { .. } => Cause::HostKey,
        ShellError::Identity { .. } => Cause::OwnKey,
        _ => Cause::Network,
    }
}

/// The way to one node, and what is remembered of it.
#[derive(Clone)]
pub struct NodeAccess {
    /// The node.
    pub node: Arc<NodeConfig>,
    /// As whom to log in.
    pub identity: Identity,
    /// Of one login or command.
    pub timeout: Millis,
    /// SSH.
    pub shell: Arc<dyn NodeShell>,
    /// Memory.
    pub store: Arc<dyn MinerStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for NodeAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeAccess({})", self.node.address)
    }
}

impl NodeAccess {
    /// Takes every key of this miner's sessions off the node, on a connection of its own, and ends what runs with them.
    ///
    /// # Errors
    /// Whatever is not known to be gone stays noted as deployed.
    pub async fn remove_keys(&self) -> Result<(), AccessError> {
        let (shell, _) = self.connect().await?;
        let removed = self.clear(shell.as_ref()).await;
        shell.close().await;
        removed
    }

    pub(crate) async fn clear(&self, shell: &dyn Shell) -> Result<(), AccessError> {
        let mut removed = BTreeSet::new();
        self.edit(shell, &[], &mut removed).await?;
        self.end_processes(shell, (&BTreeSet::new(), &removed), true).await
    }

    /// Logs in. The host key that is believed stands beside the connection.
    pub(crate) async fn connect(&self) -> Result<(Arc<dyn Shell>, HostKey), AccessError> {
        let remembered = match self.node.host_key {
            Some(_) => None,
            None => self.store.host_key(self.node.id).await?,
        };
        let pinned =
            self.node.host_key.clone().or_else(|| remembered.as_ref().map(|record| record.pinned.clone()));
        let host_keys = pinned.clone().map_or(HostKeyPolicy::Learn, |key| HostKeyPolicy::Pinned(vec![key]));
        let dial = Dial {
            address: self.node.address.clone(),
            identity: self.identity.clone(),
            host_keys,
            addresses: AddressPolicy::Any,
            deadline: self.timeout,
        };
        let shell = match self.shell.connect(&dial).await {
            Ok(shell) => shell,
            Err(error) => {
                if let ShellError::HostKey { found, key, .. } = &error {
                    self.offer_host_key(pinned.as_ref(), found, key.as_deref()).await?;
                }
                return Err(self.no_login(error));
            }
        };
        if pinned.is_none() {
            let key = shell.host_key();
            self.store.pin_host_key(self.node.id, &self.node.address, key, self.clock.now()).await?;
            info!(node.id = %self.node.id, node.address = %self.node.address, host_key.fingerprint = key.fingerprint(),
                "Pinned the host key of the first contact");
            if let Err(error) = self.warn_of_twins(key).await {
                warn!(node.id = %self.node.id, error = %ErrorChain(&error), "Cannot tell whether another node shows the same host key");
            }
        }
        if let Some(record) = remembered.filter(|record| record.offered.is_some()) {
            self.store.withdraw_host_key(self.node.id, &record.pinned).await?;
            info!(node.id = %self.node.id, node.address = %self.node.address,
                "Node shows its trusted host key again; the other one can no longer be approved");
        }
        let known = pinned.unwrap_or_else(|| shell.host_key().clone());
        Ok((shell, known))
    }

    /// Once for each node, as its first contact is. One that is being left has made room for this one, as a rule.
    async fn warn_of_twins(&self, key: &HostKey) -> Result<(), StoreError> {
        let learnt = self.store.host_keys().await?;
        let learnt = |node| learnt.iter().find(|record| record.node_id == node).map(|record| &record.pinned);
        let orders = self.store.orders().await?;
        for other in self.store.known_nodes().await? {
            if other.node_id != self.node.id
                && orders.window(other.node_id, OrderedBy::Removal).is_none()
                && other.host_key.as_ref().or_else(|| learnt(other.node_id)) == Some(key)
            {
                warn!(node.id = %self.node.id, node.address = %self.node.address, other.address = %other.address,
                    "{}", shared_host_key(&self.node.address, &other.address));
            }
        }
        Ok(())
    }

    fn no_login(&self, error: ShellError) -> AccessError {
        match error {
            ShellError::Deadline { .. } => {
                AccessError::TimedOut { address: self.node.address.clone(), source: error }
            }
            _ => AccessError::Connect(error),
        }
    }

    /// Notes another host key than the trusted one, so that it can be approved, and says so once. Where the configuration
    /// names the key, only a change there helps; the keeper's own words tell of that.
    async fn offer_host_key(
        &self,
        pinned: Option<&HostKey>,
        found: &str,
        key: Option<&HostKey>,
    ) -> Result<(), StoreError> {
        let Some(key) = key.filter(|_| self.node.host_key.is_none()) else { return Ok(()) };
        if self.store.offer_host_key(self.node.id, key, self.clock.now()).await? {
            error!(node.id = %self.node.id, node.address = %self.node.address,
                host_key.pinned = pinned.map(HostKey::fingerprint), host_key.found = found,
                approve = format!("basilica-miner host-key approve {} {found}", self.node.id),
                "Host key of node changed; the node is not used until you approve the new one");
        }
        Ok(())
    }

    /// The keys that this miner may have put on the node.
    async fn recorded(&self) -> Result<BTreeSet<KeyTag>, StoreError> {
        let recorded = self.store.deployments(self.node.id).await?;
        Ok(recorded.into_iter().map(|(session, validator)| KeyTag { validator, session }).collect())
    }

    /// Makes the node carry exactly those of `wanted` that may still be written, of this miner's keys. What may be on the node
    /// is noted before it is written.
    ///
    /// The store has the last word in every round, also about keys that are on the node already: whether the node was taken out
    /// and whether a session is over may have changed since the keys were listed. A key of ours that stands in the file although
    /// nothing says so, because another editor saved what it had read before, is known by its session and goes. It joins `removed`
    /// also where the edit fails in the end: no record tells of it afterwards.
    pub(crate) async fn edit(
        &self,
        shell: &dyn Shell,
        wanted: &[WantedKey],
        removed: &mut BTreeSet<KeyTag>,
    ) -> Result<Edited, AccessError> {
        let now = self.clock.now();
        let mut ours = self.recorded().await?;
        let unexpired = self.store.unexpired_keys(now).await?;
        ours.extend(unexpired.into_iter().map(|(session, validator)| KeyTag { validator, session }));
        let mut wanted = wanted.to_vec();
        if !wanted.is_empty() {
            let sessions: Vec<SessionId> = wanted.iter().map(|key| key.tag.session).collect();
            let granted = self.store.record_deployments(self.node.id, &sessions, now).await?;
            wanted.retain(|key| granted.contains(&key.tag.session));
        }
        let clock = self.clock.as_ref();
        let mut edited = Edited::default();
        let applied = key_editor::apply(shell, clock, self.timeout, (&ours, &wanted), &mut edited).await;
        removed.extend(&edited.removed);
        applied?;
        for tag in &edited.added {
            info!(node.id = %self.node.id, node.address = %self.node.address, validator.hotkey = %tag.validator,
                session.id = %tag.session, "Deployed SSH key to node");
        }
        for tag in &edited.removed {
            info!(node.id = %self.node.id, validator.hotkey = %tag.validator, session.id = %tag.session,
                "Removed SSH key from node");
        }
        Ok(edited)
    }

    /// Ends what still runs with keys that are not `kept`: of those that the node may carry, and of those just `removed`.
    /// `is_confirmed`: the node was just seen with the keys kept and no others, so that what is ended can be forgotten. A
    /// revoked key's processes end even where its line could not be removed.
    pub(crate) async fn end_processes(
        &self,
        shell: &dyn Shell,
        (kept, removed): (&BTreeSet<KeyTag>, &BTreeSet<KeyTag>),
        is_confirmed: bool,
    ) -> Result<(), AccessError> {
        let mut gone = self.recorded().await?;
        gone.extend(removed);
        gone.retain(|tag| !kept.contains(tag));
        if gone.is_empty() {
            return Ok(());
        }
        let gone: Vec<KeyTag> = gone.into_iter().collect();
        key_editor::end_processes(shell, self.timeout, &gone).await?;
        if is_confirmed {
            let sessions: Vec<SessionId> = gone.iter().map(|tag| tag.session).collect();
            self.store.forget_deployments(self.node.id, &sessions).await?;
        }
        Ok(())
    }
}
