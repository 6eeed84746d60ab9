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

mod report;
mod round;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{BoxError, Clock, Identity, MinerStore, NodeShell, Orders, Revision, Shell, StoreError};
use basilica_runtime_service::{ErrorChain, Stop, within};
use basilica_status::NodeState;
use basilica_types::{Hotkey, Millis, NodeId, Timestamp};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::access::NodeAccess;
use crate::authorized_keys::KeyTag;
use crate::config::NodeConfig;
use crate::health::{Event, Health, HealthPolicy, Standing};
use crate::key_editor::{END_PAUSE, WantedKey};
use crate::metrics::{Login, MinerMetrics};
use crate::orders::{OrdersView, standing};
use crate::subnet::{Snapshot, SubnetView};
use crate::telemetry::Readings;
use crate::view::NodeView;

/// For so long whoever asks for a round waits for processes of removed keys to end: until they were told to, killed, and looked
/// for once more. What does not end by then is looked after again by every round, and nobody waits for it.
const ENDING: Millis = Millis(4 * END_PAUSE.0);
/// For so long keys wait that may have to go by now: until the processes were told to end and killed. Whether they ended is seen by
/// the next round.
const KILLED: Millis = Millis(END_PAUSE.0 + END_PAUSE.0 / 2);
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
    made: Duration,
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
    /// The keys of ours that it carries, all of them wanted.
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
    /// Keys that were taken off the node, or may have been, and whose processes may still run.
    removed: BTreeSet<KeyTag>,
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
            removed: BTreeSet::new(),
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
            tokio::select! {
                () = stop.requested() => break,
                () = self.after(KILLED, self.ordered(&config, &owners)) => {}
                () = self.after(ENDING, self.asked(next_expiry)) => {}
                () = self.end_revoked(&config, confirmed, &mut course) => {}
            }
            if config.leaving && self.has_left(&config).await {
                course.close().await;
                return Ok(());
            }
            // A question that is cut short is asked again after the next round.
            tokio::select! {
                () = stop.requested() => break,
                () = self.ordered(&config, &owners) => {}
                () = self.asked(next_expiry) => {}
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

    /// Returns when `reason` does, but not before so long.
    async fn after(&self, least: Millis, reason: impl Future<Output = ()>) {
        self.clock.sleep(least).await;
        reason.await;
    }

    /// Returns once a key may have to go that the last round left: its session was revoked, its node was taken out, is listed no more
    /// or is another validator's. Leaves what it saw for [`Self::wait`] to see.
    async fn ordered(&self, config: &KeeperConfig, owners: &Owners) {
        let (mut orders, mut configs, mut subnet) =
            (self.orders.clone(), self.config.clone(), self.subnet.clone());
        tokio::select! {
            _ = changed(&mut orders) => {}
            // The fleet outlives its keepers; if it does not, nobody configures anything.
            Ok(()) = configs.changed() => {}
            () = reassigned(&mut subnet, config.node.id, owners) => {}
        }
    }

    /// Returns once somebody asks for a round, or a key's time is up, which ends it by itself on the node.
    async fn asked(&self, next_expiry: Option<Timestamp>) {
        let mut nudges = self.nudges.clone();
        let ends = async {
            match next_expiry {
                Some(expiry) => self.clock.sleep(self.until_past(expiry)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The fleet outlives its keepers; if it does not, nobody asks.
            Ok(()) = nudges.changed() => {}
            () = ends => {}
        }
    }

    fn until_past(&self, moment: Timestamp) -> Millis {
        let one_more = Millis(1);
        Millis(moment.since(self.clock.now()).0.saturating_add(one_more.0))
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
        let pause = course.health.pause(&config.policy);
        next_expiry.map_or(pause, |expiry| pause.min(self.until_past(expiry)))
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

    fn owners(&self, config: &KeeperConfig) -> Owners {
        owners(self.subnet.borrow().as_ref(), config.node.id)
    }

    /// Whether a node that is no longer configured carries nothing of ours any more, or nothing that is worth anything.
    async fn has_left(&self, config: &KeeperConfig) -> bool {
        let (id, address) = (config.node.id, &config.node.address);
        let forgotten = async {
            let (until, now) = (self.store.deployed_until(id).await?, self.clock.now());
            if until.is_some_and(|until| until > now) {
                return Ok(None);
            }
            self.store.forget_node(id, now).await?;
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
