//! One node's keeper: the only one that talks to the node.
//!
//! A keeper has no commands. It compares what should be on the node (the keys of the sessions that are open and belong
//! to the validators that the node is assigned to) with what is there, and makes the node so: at intervals, when nudged, and when a key's
//! time is up. Deployment, repair of drift, removal at expiry and removal at re-assignment are therefore one path, and
//! a restart of the miner or of the node needs no path of its own. What it found it publishes as a [`NodeView`], as soon
//! as the keys are as they should be: ending what runs with removed keys comes after that and is tried again every round,
//! because a process that does not end says nothing about the keys.
//!
//! It owns the connection, which is kept and reused. Host keys: the configured one, else the one of the first contact;
//! any other makes the node unreachable until its operator approves the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basilica_ports::{
    AddressPolicy, BoxError, Clock, Dial, HostKeyPolicy, Identity, MinerStore, NodeShell, Shell, ShellError,
    StoreError,
};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_types::{HostKey, Hotkey, Millis, NodeId, SessionId, SshPublicKey, Timestamp};
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};

use crate::authorized_keys::KeyTag;
use crate::config::NodeConfig;
use crate::key_editor::{self, Edited, KeyEditError, WantedKey};
use crate::metrics::{MinerMetrics, NodeLabels};
use crate::subnet::{Snapshot, SubnetView};

/// How the last finished round on a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No round has finished yet.
    Unknown,
    /// No login.
    Unreachable,
    /// A login, but the keys are not confirmed.
    Unconfirmed,
    /// The node carries exactly the keys it should.
    Confirmed,
}

/// What a keeper knows of its node.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    /// The newest nudge that a finished round had seen.
    pub(crate) generation: u64,
    /// How that round ended.
    pub(crate) outcome: Outcome,
    /// Whether the round now under way has logged in already.
    pub(crate) connected: bool,
    /// The keys on the node, if confirmed.
    pub(crate) keys: BTreeMap<SessionId, SshPublicKey>,
    /// When that round ended.
    pub(crate) checked_at: Timestamp,
    /// By which keys the node is known.
    pub(crate) host_keys: Vec<HostKey>,
}

impl NodeView {
    pub(crate) const fn new() -> Self {
        Self {
            generation: 0,
            outcome: Outcome::Unknown,
            connected: false,
            keys: BTreeMap::new(),
            checked_at: Timestamp(0),
            host_keys: Vec::new(),
        }
    }
}

/// Why a round did not end as it should.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("log in on the node")]
    Connect(#[from] ShellError),
    #[error("bring the validators' keys on the node up to date")]
    Edit(#[from] KeyEditError),
    #[error("remember what is on the node")]
    Store(#[from] StoreError),
    #[error("the node was taken out meanwhile")]
    Drained,
}

/// What a round that ended as it should has seen on the node.
#[derive(Debug, Default)]
struct Seen {
    /// The keys of ours that it carries: those wanted, no others.
    keys: Vec<WantedKey>,
    /// Keys of another miner on the same node.
    others: Vec<KeyTag>,
}

/// What was told already and is not told again every round.
#[derive(Debug, Default)]
struct Told {
    others: Vec<KeyTag>,
    still_running: bool,
}

/// Looks after one node. Clones share everything; only one runs at a time.
#[derive(Clone)]
pub(crate) struct NodeKeeper {
    pub(crate) node: Arc<NodeConfig>,
    pub(crate) identity: Identity,
    pub(crate) interval: Millis,
    pub(crate) timeout: Millis,
    pub(crate) remove_keys_on_shutdown: bool,
    pub(crate) shell: Arc<dyn NodeShell>,
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) subnet: SubnetView,
    pub(crate) metrics: Arc<MinerMetrics>,
    /// Bounds how many rounds run at the same time over all nodes.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) nudges: watch::Receiver<u64>,
    pub(crate) view: watch::Sender<NodeView>,
}

/// The kept connection, and when it was made.
type Connection = Option<(Arc<dyn Shell>, Timestamp)>;

/// After this many intervals a connection is made anew: an open one does not tell that the host key has changed, which
/// every validator that logs in would stumble over.
const INTERVALS_PER_LOGIN: u64 = 10;

impl NodeKeeper {
    /// Runs until the stop is requested.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), BoxError> {
        let mut connection: Connection = None;
        let mut reachable_since: Option<Timestamp> = None;
        let mut told = Told::default();
        loop {
            let generation = *self.nudges.borrow_and_update();
            let owners = self.owners();
            let ended = tokio::select! {
                () = stop.requested() => break,
                ended = self.slotted_round(&mut connection) => ended,
            };
            let seen = ended.as_ref().ok();
            let next_expiry = seen.and_then(|seen| seen.keys.iter().map(|key| key.expires_at).min());
            let confirmed = seen.map(|seen| seen.keys.iter().map(|key| key.tag).collect());
            self.tell_of_others(seen, &mut told);
            self.publish(generation, ended, &mut reachable_since);
            let mut nudges = self.nudges.clone();
            tokio::select! {
                () = stop.requested() => break,
                // Whoever waits for a key does not wait for a process that takes its time to end; what was begun goes on
                // on the node, and the next round looks again.
                Ok(()) = nudges.changed() => {}
                () = self.end_revoked(&mut connection, confirmed, &mut told) => {}
            }
            let pause = self.pause(next_expiry);
            tokio::select! {
                () = stop.requested() => break,
                // The fleet outlives its keepers; if it does not, the interval alone wakes this one.
                Ok(()) = self.nudges.changed() => {}
                () = reassigned(&mut self.subnet, self.node.id, &owners) => {}
                () = self.clock.sleep(pause) => {}
            }
        }
        self.end(connection).await;
        Ok(())
    }

    /// Until the next round: the interval, or less if a key ends before.
    fn pause(&self, next_expiry: Option<Timestamp>) -> Millis {
        let one_more = Millis(1);
        next_expiry.map_or(self.interval, |expiry| {
            let left = expiry.since(self.clock.now());
            self.interval.min(Millis(left.0.saturating_add(one_more.0)))
        })
    }

    async fn end(&self, connection: Connection) {
        let connection = connection.map(|(shell, _)| shell);
        if self.remove_keys_on_shutdown {
            match self.remove_keys(connection).await {
                Ok(()) => info!(node.id = %self.node.id, "Removed validator keys from node"),
                Err(error) => {
                    warn!(node.id = %self.node.id, error = %ErrorChain(&error), "validator keys stay on node until they expire");
                }
            }
        } else if let Some(shell) = connection {
            shell.close().await;
        }
    }

    async fn remove_keys(&self, connection: Option<Arc<dyn Shell>>) -> Result<(), RoundError> {
        let shell = match connection.filter(|shell| shell.is_open()) {
            Some(shell) => shell,
            None => self.connect().await?,
        };
        let removed = match self.edit(shell.as_ref(), &[]).await {
            Ok(_) => self.end_processes(shell.as_ref(), Some(BTreeSet::new())).await,
            Err(error) => Err(error),
        };
        shell.close().await;
        removed
    }

    async fn slotted_round(&self, connection: &mut Connection) -> Result<Seen, RoundError> {
        let _slot = self.slots.acquire().await.expect("the semaphore of the fleet is never closed");
        self.metrics.health_checks.inc();
        self.round(connection).await
    }

    async fn round(&self, connection: &mut Connection) -> Result<Seen, RoundError> {
        self.view.send_modify(|view| view.connected = false);
        let wanted = self.wanted().await?;
        let oldest = self.clock.now() - Millis(self.interval.0.saturating_mul(INTERVALS_PER_LOGIN));
        let kept = connection.take();
        let reused = kept.filter(|(shell, made)| shell.is_open() && *made > oldest);
        let was_reused = reused.is_some();
        let (shell, made) = match reused {
            Some(reused) => reused,
            None => (self.connect().await?, self.clock.now()),
        };
        let (shell, made, edited) = match self.edit(shell.as_ref(), &wanted).await {
            // A connection can be dead without anybody having noticed: once more on a fresh one. Until that stands the
            // node counts as one without a login, which is what a node is that died in the meantime.
            Err(RoundError::Edit(KeyEditError::Shell(_))) if was_reused => {
                self.view.send_modify(|view| view.connected = false);
                shell.close().await;
                let (shell, made) = (self.connect().await?, self.clock.now());
                let edited = self.edit(shell.as_ref(), &wanted).await;
                (shell, made, edited)
            }
            edited => (shell, made, edited),
        };
        if matches!(edited, Err(RoundError::Edit(KeyEditError::Shell(_)))) {
            shell.close().await;
        } else {
            *connection = Some((shell, made));
        }
        Ok(Seen { others: edited?.others, keys: wanted })
    }

    fn owners(&self) -> Owners {
        owners(self.subnet.borrow().as_ref(), self.node.id)
    }

    /// The keys that should be on the node now.
    async fn wanted(&self) -> Result<Vec<WantedKey>, RoundError> {
        if self.node.maintenance {
            return Ok(Vec::new());
        }
        // While the subnet is unknown (a restart without the chain), nobody's key is taken away.
        let owners = self.owners();
        let sessions = self.store.keyed_sessions(self.clock.now()).await?;
        let mine = sessions
            .into_iter()
            .filter(|session| owners.as_ref().is_none_or(|owners| owners.contains(&session.validator)));
        Ok(mine
            .filter_map(|session| {
                let tag = KeyTag { validator: session.validator, session: session.id };
                Some(WantedKey { tag, expires_at: session.expires_at, key: session.public_key? })
            })
            .collect())
    }

    /// The keys that this miner may have put on the node.
    async fn recorded(&self) -> Result<BTreeSet<KeyTag>, StoreError> {
        let recorded = self.store.deployments(self.node.id).await?;
        Ok(recorded.into_iter().map(|(session, validator)| KeyTag { validator, session }).collect())
    }

    async fn edit(&self, shell: &dyn Shell, wanted: &[WantedKey]) -> Result<Edited, RoundError> {
        self.view.send_modify(|view| view.connected = true);
        let recorded = self.recorded().await?;
        let new: Vec<_> =
            wanted.iter().filter(|key| !recorded.contains(&key.tag)).map(|key| key.tag.session).collect();
        // Taken out this very moment: the round fails, and the next one wants no keys.
        if !new.is_empty() && !self.store.record_deployments(self.node.id, &new).await? {
            return Err(RoundError::Drained);
        }
        let edited = key_editor::apply(shell, self.clock.as_ref(), self.timeout, (&recorded, wanted)).await?;
        for tag in &edited.added {
            self.metrics.deployments.inc();
            info!(node.id = %self.node.id, node.address = %self.node.address, validator.hotkey = %tag.validator,
                session.id = %tag.session, "Deployed SSH key to node");
        }
        for tag in &edited.removed {
            info!(node.id = %self.node.id, validator.hotkey = %tag.validator, session.id = %tag.session,
                "Removed SSH key from node");
        }
        Ok(edited)
    }

    /// Ends what still runs with keys that are no longer wanted. `confirmed`: the keys that were just seen on the node, if
    /// they were. A revoked key's processes end even where its line could not be removed.
    async fn end_revoked(
        &self,
        connection: &mut Connection,
        confirmed: Option<BTreeSet<KeyTag>>,
        told: &mut Told,
    ) {
        let Some((shell, _)) = connection else { return };
        let Err(error) = self.end_processes(shell.as_ref(), confirmed).await else {
            told.still_running = false;
            return;
        };
        self.metrics.process_end_failures.inc();
        if !std::mem::replace(&mut told.still_running, true) {
            warn!(node.id = %self.node.id, node.address = %self.node.address, error = %ErrorChain(&error),
                "Failed to end processes of removed keys; every round tries again");
        }
        if matches!(error, RoundError::Edit(KeyEditError::Shell(_)))
            && let Some((shell, _)) = connection.take()
        {
            shell.close().await;
        }
    }

    async fn end_processes(
        &self,
        shell: &dyn Shell,
        confirmed: Option<BTreeSet<KeyTag>>,
    ) -> Result<(), RoundError> {
        let recorded = self.recorded().await?;
        let is_confirmed = confirmed.is_some();
        let kept = match confirmed {
            Some(kept) => kept,
            None => self.wanted().await?.into_iter().map(|key| key.tag).collect(),
        };
        let gone: Vec<KeyTag> = recorded.difference(&kept).copied().collect();
        if gone.is_empty() {
            return Ok(());
        }
        key_editor::end_processes(shell, self.timeout, &gone).await?;
        if is_confirmed {
            let sessions: Vec<SessionId> = gone.iter().map(|tag| tag.session).collect();
            self.store.forget_deployments(self.node.id, &sessions).await?;
        }
        Ok(())
    }

    /// Another miner on the same node is told of once, and again when its keys change.
    fn tell_of_others(&self, seen: Option<&Seen>, told: &mut Told) {
        let Some(seen) = seen.filter(|seen| seen.others != told.others) else { return };
        if let Some(tag) = seen.others.first() {
            warn!(node.id = %self.node.id, node.address = %self.node.address, keys = seen.others.len(), first = %tag,
                "Node carries keys of another miner, or of this one with another database; they stay until they expire");
        }
        told.others.clone_from(&seen.others);
    }

    async fn connect(&self) -> Result<Arc<dyn Shell>, RoundError> {
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
                    self.report_changed_host_key(pinned.as_ref(), found, key.as_deref()).await?;
                }
                return Err(error.into());
            }
        };
        if pinned.is_none() {
            let key = shell.host_key();
            self.store.pin_host_key(self.node.id, &self.node.address, key, self.clock.now()).await?;
            info!(node.id = %self.node.id, node.address = %self.node.address, host_key.fingerprint = key.fingerprint(),
                "Pinned the host key of the first contact");
        }
        if let Some(record) = remembered.filter(|record| record.offered.is_some()) {
            self.store.withdraw_host_key(self.node.id, &record.pinned).await?;
            info!(node.id = %self.node.id, node.address = %self.node.address,
                "Node shows its trusted host key again; the other one can no longer be approved");
        }
        let known = pinned.unwrap_or_else(|| shell.host_key().clone());
        self.view.send_modify(|view| view.host_keys = vec![known]);
        Ok(shell)
    }

    async fn report_changed_host_key(
        &self,
        pinned: Option<&HostKey>,
        found: &str,
        key: Option<&HostKey>,
    ) -> Result<(), StoreError> {
        let approvable = self.node.host_key.is_none();
        let news = match key {
            Some(key) if approvable => self.store.offer_host_key(self.node.id, key, self.clock.now()).await?,
            _ => self.view.borrow().outcome != Outcome::Unreachable,
        };
        if news {
            let how = if approvable {
                format!("basilica-miner host-key approve {} {found}", self.node.id)
            } else {
                "change host_key of the node in the configuration".to_owned()
            };
            error!(node.id = %self.node.id, node.address = %self.node.address,
                host_key.pinned = pinned.map(HostKey::fingerprint), host_key.found = found, approve = how,
                "Host key of node changed; the node is not used until you approve the new one");
        }
        Ok(())
    }

    fn publish(
        &self,
        generation: u64,
        ended: Result<Seen, RoundError>,
        reachable_since: &mut Option<Timestamp>,
    ) {
        let now = self.clock.now();
        let before = self.view.borrow().outcome;
        let connected = self.view.borrow().connected;
        let outcome = match (&ended, connected) {
            (Ok(_), _) => Outcome::Confirmed,
            (Err(_), true) => Outcome::Unconfirmed,
            (Err(_), false) => Outcome::Unreachable,
        };
        if let Err(error) = &ended {
            self.metrics.deployment_failures.inc();
            if matches!(error, RoundError::Store(_)) {
                self.metrics.store_errors.inc();
            }
        }
        self.log(before, outcome, ended.as_ref().err());
        *reachable_since = if outcome == Outcome::Unreachable { None } else { reachable_since.or(Some(now)) };
        let up = reachable_since.map_or(0, |since| now.since(since).0 / 1000);
        let labels = NodeLabels { node_id: self.node.id.to_string() };
        // Seconds of uptime fit a float exactly for longer than the universe lasts.
        self.metrics.node_uptime.get_or_create(&labels).set(f64::from(u32::try_from(up).unwrap_or(u32::MAX)));
        self.view.send_modify(|view| {
            view.generation = generation;
            view.outcome = outcome;
            view.checked_at = now;
            view.keys =
                ended.unwrap_or_default().keys.into_iter().map(|key| (key.tag.session, key.key)).collect();
        });
    }

    /// A failure is told once, not every minute.
    fn log(&self, before: Outcome, now: Outcome, error: Option<&RoundError>) {
        if before == now {
            return;
        }
        let (id, address) = (&self.node.id, &self.node.address);
        match (now, error) {
            (Outcome::Unreachable, Some(error)) => {
                warn!(node.id = %id, node.address = %address, error = %ErrorChain(error), "Node connectivity lost");
            }
            (_, Some(error)) => {
                warn!(node.id = %id, node.address = %address, error = %ErrorChain(error), "Failed to deploy SSH keys");
            }
            (Outcome::Confirmed, None) if before != Outcome::Unknown => {
                info!(node.id = %id, node.address = %address, "Node connectivity restored");
            }
            _ => {}
        }
    }
}

/// Whose a node is, as far as the subnet is known.
type Owners = Option<BTreeSet<Hotkey>>;

fn owners(snapshot: Option<&Snapshot>, node: NodeId) -> Owners {
    snapshot.map(|snapshot| snapshot.assignment.of(node).cloned().unwrap_or_default())
}

/// Returns once the node is no longer whose it was; what else changes on the subnet is no concern here.
async fn reassigned(subnet: &mut SubnetView, node: NodeId, before: &Owners) {
    let changed = subnet.wait_for(|snapshot| owners(snapshot.as_ref(), node) != *before).await.is_ok();
    if !changed {
        // Nobody follows the subnet any more: the service is stopping.
        std::future::pending::<()>().await;
    }
}
