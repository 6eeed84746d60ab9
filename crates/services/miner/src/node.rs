//! One node's keeper: the only part of a running miner that talks to the node.
//!
//! A keeper has no commands. It compares what should be on the node (the keys of the sessions that are open and belong
//! to the validators that the node is assigned to) with what is there, and makes the node so: at intervals, when nudged, when something was ordered,
//! and when a key's time is up. Deployment, repair of drift, removal at expiry, at re-assignment, in maintenance and on leaving
//! are therefore one path, and a restart of the miner or of the node needs no path of its own. What it found it publishes as a
//! [`NodeView`], as soon as the keys are as they should be: ending what runs with removed keys comes after that and is tried
//! again every round, because a process that does not end says nothing about the keys.
//!
//! It owns the connection, which is kept and reused. What its rounds say of the node is decided in [`crate::health`]. Host keys:
//! the configured one, else the one of the first contact; any other makes the node unreachable until its operator approves it.

use std::collections::BTreeSet;
use std::sync::Arc;

use basilica_ports::{
    BoxError, Clock, Identity, MinerStore, NodeHold, NodeShell, Orders, Revision, Shell, StoreError,
};
use basilica_runtime_service::{ErrorChain, Stop, within};
use basilica_status::NodeState;
use basilica_types::{Hotkey, Millis, NodeId, Timestamp};
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};

use crate::access::{AccessError, NodeAccess};
use crate::authorized_keys::KeyTag;
use crate::config::NodeConfig;
use crate::health::{Event, Health, HealthPolicy, Standing};
use crate::key_editor::WantedKey;
use crate::metrics::{Login, MinerMetrics, NodeLabels};
use crate::orders::{OrdersView, standing};
use crate::subnet::{Snapshot, SubnetView};
use crate::telemetry::Readings;
use crate::view::{NodeFailure, NodeView};

/// After this many intervals a connection is made anew: an open one does not tell that the host key has changed, which
/// every validator that logs in would stumble over.
const INTERVALS_PER_LOGIN: u64 = 10;
/// Longest time that a stop waits for keys to leave a node: less than what the whole program is given.
const REMOVAL_LIMIT: Millis = Millis::from_secs(20);

/// What of a keeper's work the configuration decides; may change while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeeperConfig {
    pub(crate) node: Arc<NodeConfig>,
    pub(crate) identity: Identity,
    pub(crate) policy: HealthPolicy,
    pub(crate) timeout: Millis,
    pub(crate) remove_keys_on_shutdown: bool,
    /// The node is no longer configured: its keys go, and then its keeper does.
    pub(crate) leaving: bool,
}

/// Looks after one node. Clones share everything; only one runs at a time.
#[derive(Clone)]
pub(crate) struct NodeKeeper {
    pub(crate) config: watch::Receiver<Arc<KeeperConfig>>,
    pub(crate) shell: Arc<dyn NodeShell>,
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) subnet: SubnetView,
    pub(crate) orders: OrdersView,
    pub(crate) metrics: Arc<MinerMetrics>,
    /// Bounds how many rounds run at the same time over all nodes.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) readings: Arc<Readings>,
    pub(crate) nudges: watch::Receiver<u64>,
    pub(crate) view: watch::Sender<NodeView>,
}

/// The kept connection.
struct Kept {
    shell: Arc<dyn Shell>,
    made: Timestamp,
    /// As it was when the connection was made; a keeper with another one logs in anew.
    config: Arc<KeeperConfig>,
    _counted: Login,
}

impl Kept {
    /// Whether a login now could end differently than this one did.
    fn fits(&self, config: &KeeperConfig) -> bool {
        self.config.identity == config.identity && self.config.node.host_key == config.node.host_key
    }
}

/// What a round that ended as it should has seen on the node.
struct Seen {
    /// The keys of ours that it carries: those wanted, no others.
    keys: Vec<WantedKey>,
    /// Keys of another miner on the same node.
    others: Vec<KeyTag>,
}

/// What a keeper knows from one round to the next.
struct Course {
    health: Health,
    /// Up to which revision the health's hold counts whatever the orders say: they may have been read before it was stored.
    held_at: Revision,
    kept: Option<Kept>,
    others: Vec<KeyTag>,
    is_still_running_told: bool,
    is_trouble_told: bool,
}

impl NodeKeeper {
    /// Runs until the stop is requested, or the node is left.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), BoxError> {
        let mut course = Course {
            health: Health::new(self.clock.now()),
            held_at: Revision::default(),
            kept: None,
            others: Vec::new(),
            is_still_running_told: false,
            is_trouble_told: false,
        };
        loop {
            let orders = tokio::select! {
                () = stop.requested() => break,
                orders = known(&mut self.orders) => orders,
            };
            let generation = *self.nudges.borrow_and_update();
            let config = Arc::clone(&self.config.borrow_and_update());
            let owners = self.owners(&config);
            self.obey(&config, &orders, &mut course);
            let began = self.clock.monotonic();
            let ended = tokio::select! {
                () = stop.requested() => break,
                ended = self.slotted_round(&config, &mut course) => ended,
            };
            let took = Millis::from(self.clock.monotonic().saturating_sub(began));
            let seen = ended.as_ref().ok();
            let next_expiry = seen.and_then(|seen| seen.keys.iter().map(|key| key.expires_at).min());
            let confirmed = seen.map(|seen| seen.keys.iter().map(|key| key.tag).collect());
            self.settle(&config, generation, (ended, took), &mut course).await;
            let mut nudges = self.nudges.clone();
            tokio::select! {
                () = stop.requested() => break,
                // Whoever waits for a key does not wait for a process that takes its time to end; what was begun goes on
                // on the node, and the next round looks again.
                Ok(()) = nudges.changed() => {}
                () = self.end_revoked(&config, confirmed, &mut course) => {}
            }
            if config.leaving && self.has_left(&config).await {
                course.close().await;
                return Ok(());
            }
            let mut nudges = self.nudges.clone();
            tokio::select! {
                () = stop.requested() => break,
                // A question that is cut short is asked again after the next round.
                Ok(()) = nudges.changed() => {}
                () = self.read_gpus(&config, &course) => {}
            }
            tokio::select! {
                () = stop.requested() => break,
                () = self.wait(&config, owners, next_expiry, &mut course) => {}
            }
        }
        let config = Arc::clone(&self.config.borrow());
        self.end(&config, course).await;
        Ok(())
    }

    async fn read_gpus(&self, config: &KeeperConfig, course: &Course) {
        if let Some(kept) = &course.kept {
            let clock = self.clock.as_ref();
            self.readings.refresh(config.node.id, kept.shell.as_ref(), config.timeout, clock).await;
        }
    }

    /// Until there is a reason for the next round.
    async fn wait(
        &mut self,
        config: &KeeperConfig,
        mut owners: Owners,
        next_expiry: Option<Timestamp>,
        course: &mut Course,
    ) {
        let until = self.clock.now() + self.pause(config, next_expiry, course);
        loop {
            tokio::select! {
                // The fleet outlives its keepers; if it does not, the interval alone wakes this one.
                Ok(()) = self.nudges.changed() => {}
                Ok(()) = self.config.changed() => return,
                orders = changed(&mut self.orders) => self.obey(config, &orders, course),
                () = reassigned(&mut self.subnet, config.node.id, &owners) => owners = self.owners(config),
                () = self.clock.sleep(until.since(self.clock.now())) => return,
            }
            if !course.health.is_locked_out() {
                return;
            }
            // Asking again is what the node's sshd punishes: who asks for a round is told what the last one found.
            let generation = *self.nudges.borrow();
            self.view.send_modify(|view| view.generation = generation);
        }
    }

    /// Until the next round: what the node's health says, or less if a key ends before.
    fn pause(&self, config: &KeeperConfig, next_expiry: Option<Timestamp>, course: &Course) -> Millis {
        let one_more = Millis(1);
        let pause = course.health.pause(&config.policy);
        next_expiry.map_or(pause, |expiry| {
            let left = expiry.since(self.clock.now());
            pause.min(Millis(left.0.saturating_add(one_more.0)))
        })
    }

    fn access(&self, config: &KeeperConfig) -> NodeAccess {
        NodeAccess {
            node: Arc::clone(&config.node),
            identity: config.identity.clone(),
            timeout: config.timeout,
            shell: Arc::clone(&self.shell),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Takes up what the operator wants of the node.
    fn obey(&self, config: &KeeperConfig, orders: &Orders, course: &mut Course) {
        let ordered = standing(orders, config.node.id);
        let ordered = Standing {
            maintenance: ordered.maintenance || config.node.maintenance,
            held: ordered.held
                || (course.health.state() == NodeState::AwaitingOperator && orders.revision < course.held_at),
        };
        let (health, _) = course.health.after(Event::Ordered(ordered), &config.policy, self.clock.now());
        course.health = health;
        self.view.send_modify(|view| {
            (view.state, view.since, view.attempts) = (health.state(), health.since(), health.attempts());
            (view.maintenance, view.leaving) = (ordered.maintenance, config.leaving);
        });
    }

    async fn end(&self, config: &KeeperConfig, mut course: Course) {
        if !config.remove_keys_on_shutdown {
            course.close().await;
            return;
        }
        let (id, address) = (&config.node.id, &config.node.address);
        match within(self.clock.as_ref(), REMOVAL_LIMIT, self.remove_keys(config, &mut course)).await {
            Ok(Ok(())) => info!(node.id = %id, node.address = %address, "Removed validator keys from node"),
            Ok(Err(error)) => {
                warn!(node.id = %id, node.address = %address, error = %ErrorChain(&error),
                    "validator keys stay on node until they expire");
            }
            Err(elapsed) => {
                warn!(node.id = %id, node.address = %address, waited = %elapsed.limit,
                    "node does not answer; validator keys stay on it until they expire");
            }
        }
    }

    async fn remove_keys(&self, config: &KeeperConfig, course: &mut Course) -> Result<(), AccessError> {
        let access = self.access(config);
        match course.kept.take().filter(|kept| kept.shell.is_open()) {
            Some(kept) => {
                let removed = access.clear(kept.shell.as_ref()).await;
                kept.shell.close().await;
                removed
            }
            None => access.remove_keys().await,
        }
    }

    async fn slotted_round(
        &self,
        config: &Arc<KeeperConfig>,
        course: &mut Course,
    ) -> Result<Seen, AccessError> {
        let _slot = self.slots.acquire().await.expect("the semaphore of the fleet is never closed");
        self.metrics.health_checks.inc();
        let began = self.clock.monotonic();
        let ended = self.round(config, course).await;
        self.metrics.health_check_seconds.observe(self.clock.monotonic().saturating_sub(began).as_secs_f64());
        ended
    }

    async fn round(&self, config: &Arc<KeeperConfig>, course: &mut Course) -> Result<Seen, AccessError> {
        self.view.send_modify(|view| view.connected = false);
        let access = self.access(config);
        let wanted = self.wanted(config, course).await?;
        let interval = config.policy.interval;
        let oldest = self.clock.now() - Millis(interval.0.saturating_mul(INTERVALS_PER_LOGIN));
        let reusable = course.kept.take().filter(|kept| kept.shell.is_open());
        let reused = match reusable {
            Some(kept) if kept.made > oldest && kept.fits(config) => Some(kept),
            Some(outworn) => {
                outworn.shell.close().await;
                None
            }
            None => None,
        };
        let was_reused = reused.is_some();
        let mut kept = match reused {
            Some(reused) => reused,
            None => self.connect(config, &access).await?,
        };
        self.view.send_modify(|view| view.connected = true);
        let mut edited = access.edit(kept.shell.as_ref(), &wanted).await;
        if was_reused && edited.as_ref().is_err_and(AccessError::is_connection) {
            // A connection can be dead without anybody having noticed: once more on a fresh one. Until that stands the
            // node counts as one without a login, which is what a node is that died in the meantime.
            self.view.send_modify(|view| view.connected = false);
            kept.shell.close().await;
            kept = self.connect(config, &access).await?;
            self.view.send_modify(|view| view.connected = true);
            edited = access.edit(kept.shell.as_ref(), &wanted).await;
        }
        if edited.as_ref().is_err_and(AccessError::is_connection) {
            kept.shell.close().await;
        } else {
            course.kept = Some(kept);
        }
        let edited = edited?;
        self.metrics.deployments.inc_by(edited.added.len() as u64);
        Ok(Seen { others: edited.others, keys: wanted })
    }

    async fn connect(&self, config: &Arc<KeeperConfig>, access: &NodeAccess) -> Result<Kept, AccessError> {
        let (shell, host_key) = access.connect().await?;
        self.view.send_modify(|view| view.host_keys = vec![host_key]);
        let counted = self.metrics.login(Arc::clone(&self.clock));
        Ok(Kept { shell, made: self.clock.now(), config: Arc::clone(config), _counted: counted })
    }

    fn owners(&self, config: &KeeperConfig) -> Owners {
        owners(self.subnet.borrow().as_ref(), config.node.id)
    }

    /// The keys that should be on the node now.
    async fn wanted(&self, config: &KeeperConfig, course: &Course) -> Result<Vec<WantedKey>, AccessError> {
        let is_out = matches!(course.health.state(), NodeState::Maintenance | NodeState::AwaitingOperator);
        if is_out || config.leaving {
            return Ok(Vec::new());
        }
        let sessions = self.store.keyed_sessions(self.clock.now()).await?;
        let mine: Vec<_> = match self.owners(config) {
            Some(owners) => sessions.into_iter().filter(|s| owners.contains(&s.validator)).collect(),
            // While the subnet is unknown (a restart without the chain), nobody's key is taken away, and nobody gets one: whose
            // the node is now may be another one than before.
            None => {
                let there = self.store.deployments(config.node.id).await?;
                let is_there = |session| there.iter().any(|(known, _)| *known == session);
                sessions.into_iter().filter(|session| is_there(session.id)).collect()
            }
        };
        Ok(mine
            .into_iter()
            .filter_map(|session| {
                let tag = KeyTag { validator: session.validator, session: session.id };
                Some(WantedKey { tag, expires_at: session.expires_at, key: session.public_key? })
            })
            .collect())
    }

    /// Ends what still runs with keys that are no longer wanted. `confirmed`: the keys that were just seen on the node, if
    /// they were.
    async fn end_revoked(
        &self,
        config: &KeeperConfig,
        confirmed: Option<BTreeSet<KeyTag>>,
        course: &mut Course,
    ) {
        let Some(kept) = &course.kept else { return };
        let access = self.access(config);
        let ended = match &confirmed {
            Some(confirmed) => access.end_processes(kept.shell.as_ref(), confirmed, true).await,
            None => match self.wanted(config, course).await {
                Ok(wanted) => {
                    let wanted = wanted.into_iter().map(|key| key.tag).collect();
                    access.end_processes(kept.shell.as_ref(), &wanted, false).await
                }
                Err(error) => Err(error),
            },
        };
        let Err(error) = ended else {
            course.is_still_running_told = false;
            return;
        };
        self.metrics.process_end_failures.inc();
        if !std::mem::replace(&mut course.is_still_running_told, true) {
            warn!(node.id = %config.node.id, node.address = %config.node.address, error = %ErrorChain(&error),
                "Failed to end processes of removed keys; every round tries again");
        }
        if error.is_connection() {
            course.close().await;
        }
    }

    /// Whether a node that is no longer configured carries nothing of ours any more, or nothing that is worth anything.
    async fn has_left(&self, config: &KeeperConfig) -> bool {
        let (id, address) = (config.node.id, &config.node.address);
        let forgotten = async {
            let until = self.store.deployed_until(id).await?;
            if until.is_some_and(|until| until > self.clock.now()) {
                return Ok(None);
            }
            self.store.forget_node(id).await?;
            Ok::<_, StoreError>(Some(until))
        };
        match forgotten.await {
            Ok(None) => return false,
            Ok(Some(None)) => {
                info!(node.id = %id, node.address = %address, "Node left; it carries no key of a validator any more");
            }
            Ok(Some(Some(_))) => warn!(node.id = %id, node.address = %address,
                "Node left without an answer; keys of validators that it may still carry have expired"),
            Err(error) => {
                self.metrics.store_errors.inc();
                warn!(node.id = %id, error = %ErrorChain(&error), "a node that is to be left stays known");
                return false;
            }
        }
        true
    }

    /// Draws from a round what it says of the node, and publishes that.
    async fn settle(
        &self,
        config: &KeeperConfig,
        generation: u64,
        (ended, took): (Result<Seen, AccessError>, Millis),
        course: &mut Course,
    ) {
        let now = self.clock.now();
        let connected = self.view.borrow().connected;
        let event = match &ended {
            Ok(_) => Event::Succeeded,
            Err(error) => Event::Failed { cause: error.cause(), connected },
        };
        if let Err(error) = &ended {
            self.metrics.deployment_failures.inc();
            if matches!(error, AccessError::Store(_)) {
                self.metrics.store_errors.inc();
            }
        }
        let before = course.health.state();
        let (health, hold) = course.health.after(event, &config.policy, now);
        course.health = health;
        self.log(config, before, ended.as_ref().err(), course);
        if let (true, Err(error)) = (hold, &ended) {
            self.hold(config, error, course).await;
        }
        self.tell_of_others(config, ended.as_ref().ok(), course);
        self.publish(generation, (ended, took), &health, now);
    }

    async fn hold(&self, config: &KeeperConfig, error: &AccessError, course: &mut Course) {
        let hold = NodeHold { since: self.clock.now(), why: ErrorChain(error).to_string() };
        match self.store.hold_node(config.node.id, &hold).await {
            Ok(revision) => course.held_at = revision,
            Err(error) => {
                self.metrics.store_errors.inc();
                warn!(node.id = %config.node.id, error = %ErrorChain(&error),
                    "that the node waits for its operator cannot be stored; a restart would forget it");
            }
        }
    }

    fn publish(
        &self,
        generation: u64,
        (ended, took): (Result<Seen, AccessError>, Millis),
        health: &Health,
        now: Timestamp,
    ) {
        self.view.send_modify(|view| {
            (view.state, view.since, view.attempts) = (health.state(), health.since(), health.attempts());
            view.was_well = health.was_well();
            view.checked_at = Some(now);
            view.reachable_since = view.connected.then_some(view.reachable_since.unwrap_or(now));
            if !health.is_retrying() {
                view.generation = generation;
            }
            match ended {
                Ok(seen) => {
                    (view.succeeded_at, view.latency) = (Some(now), Some(took));
                    view.foreign_keys = seen.others.len();
                    view.keys = seen.keys.into_iter().map(|key| (key.tag.session, key.key)).collect();
                }
                Err(error) => {
                    let cause = error.cause();
                    let text = ErrorChain(&error).to_string();
                    view.last_failure = Some(NodeFailure { at: now, cause, text, remedy: cause.remedy() });
                    // What was seen last still counts while a failure says nothing about it.
                    if !matches!(health.state(), NodeState::Degraded | NodeState::LockedOut) {
                        view.keys.clear();
                    }
                }
            }
        });
        let view = self.view.borrow();
        let up = view.reachable_since.map_or(0, |since| now.since(since).0 / 1000);
        let labels = NodeLabels { node_id: view.node_id.to_string() };
        // Seconds of uptime fit a float exactly for longer than the universe lasts.
        self.metrics.node_uptime.get_or_create(&labels).set(f64::from(u32::try_from(up).unwrap_or(u32::MAX)));
    }

    /// Another miner on the same node is told of once, and again when its keys change.
    fn tell_of_others(&self, config: &KeeperConfig, seen: Option<&Seen>, course: &mut Course) {
        let Some(seen) = seen.filter(|seen| seen.others != course.others) else { return };
        if let Some(tag) = seen.others.first() {
            warn!(node.id = %config.node.id, node.address = %config.node.address, keys = seen.others.len(), first = %tag,
                "Node carries keys of another miner, or of this one with another database; they stay until they expire");
        }
        course.others.clone_from(&seen.others);
    }

    /// A failure is told once, not every minute, and only when no further attempt is due.
    fn log(
        &self,
        config: &KeeperConfig,
        before: NodeState,
        error: Option<&AccessError>,
        course: &mut Course,
    ) {
        let now = course.health.state();
        if before == now {
            return;
        }
        let (id, address) = (&config.node.id, &config.node.address);
        if now == NodeState::Healthy && std::mem::replace(&mut course.is_trouble_told, false) {
            info!(node.id = %id, node.address = %address, "Node connectivity restored");
        }
        let Some(error) = error else { return };
        if matches!(now, NodeState::Degraded | NodeState::Maintenance) {
            return;
        }
        course.is_trouble_told = true;
        let (remedy, error) = (error.cause().remedy(), ErrorChain(error));
        match now {
            NodeState::AwaitingOperator => {
                warn!(node.id = %id, node.address = %address, error = %error, remedy,
                take_back = format!("basilica-miner nodes recover {id}"), "Node connectivity lost")
            }
            NodeState::HostKeyChanged if config.node.host_key.is_some() => {
                error!(node.id = %id, node.address = %address, error = %error,
                    approve = "change host_key of the node in the configuration",
                    "Host key of node changed; the node is not used until you approve the new one");
            }
            NodeState::Unreachable | NodeState::HostKeyChanged => {
                warn!(node.id = %id, node.address = %address, error = %error, remedy, "Node connectivity lost");
            }
            NodeState::LockedOut => warn!(node.id = %id, node.address = %address, error = %error, remedy,
                "Node refuses connections for a while; what it carries stays, and it is asked less often"),
            _ => {
                warn!(node.id = %id, node.address = %address, error = %error, remedy, "Failed to deploy SSH keys");
            }
        }
    }
}

impl Course {
    async fn close(&mut self) {
        if let Some(kept) = self.kept.take() {
            kept.shell.close().await;
        }
    }
}

/// The orders, once they are known.
async fn known(orders: &mut OrdersView) -> Arc<Orders> {
    match orders.wait_for(Option::is_some).await.map(|orders| orders.clone()) {
        Ok(Some(orders)) => orders,
        // Nobody follows them any more: the service is stopping.
        _ => std::future::pending().await,
    }
}

/// The next orders.
async fn changed(orders: &mut OrdersView) -> Arc<Orders> {
    if orders.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    known(orders).await
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
