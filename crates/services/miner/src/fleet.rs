//! All nodes together: which there are, and a keeper for each.
//!
//! The list of nodes may change while the miner runs ([`Fleet::apply`]): keepers are told what is new about theirs and keep
//! their connections, new nodes get keepers, and that of a node which is no longer listed stays until its keys are gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::{
    Assignment, Clock, Identity, KnownNode, MinerStore, NodeShell, OrderedBy, Orders, SessionRecord,
    StoreError,
};
use basilica_runtime_service::{ErrorChain, OnFailure, Stop, Supervisor};
use basilica_status::NodeState;
use basilica_types::{Millis, NodeId};
use basilica_wire::discovery::NodeReport;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::assignment::AssignableNode;
use crate::config::{FleetConfig, NodeConfig};
use crate::discovery::Discovery;
use crate::health::HealthPolicy;
use crate::metrics::{MinerMetrics, NodeLabels};
use crate::node::{KeeperConfig, NodeKeeper};
use crate::orders::OrdersView;
use crate::subnet::SubnetView;
use crate::telemetry::Readings;
use crate::view::NodeView;

/// Rounds on nodes at the same time: a sixteenth of the largest fleet, well below a process's file descriptors.
const CONCURRENT_ROUNDS: usize = 256;
/// How soon a keeper that has left is missed.
const LOOK_EVERY: Millis = Millis(1_000);
const RESTART: OnFailure = OnFailure::Restart { initial: Millis::from_secs(1), max: Millis::from_secs(60) };

/// One node, seen from outside its keeper.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) config: watch::Sender<Arc<KeeperConfig>>,
    pub(crate) nudge: watch::Sender<u64>,
    pub(crate) view: watch::Receiver<NodeView>,
}

impl Member {
    pub(crate) fn config(&self) -> Arc<KeeperConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Whether its keeper has come to its end.
    fn is_gone(&self) -> bool {
        self.view.has_changed().is_err()
    }
}

/// What keepers are made of.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) shell: Arc<dyn NodeShell>,
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) subnet: SubnetView,
    pub(crate) orders: OrdersView,
    pub(crate) metrics: Arc<MinerMetrics>,
    pub(crate) readings: Arc<Readings>,
}

/// What is to be looked after, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Desired {
    config: FleetConfig,
    operator: Identity,
}

impl Desired {
    fn keeper(&self, node: &NodeConfig) -> KeeperConfig {
        KeeperConfig {
            node: Arc::new(node.clone()),
            identity: self.operator.clone(),
            policy: HealthPolicy {
                interval: self.config.interval,
                retries: self.config.retries,
                auto_recovery: self.config.auto_recovery,
            },
            timeout: self.config.timeout,
            remove_keys_on_shutdown: self.config.remove_keys_on_shutdown,
            leaving: false,
        }
    }

    /// For a node that is not listed: only its keys are taken away.
    fn leaving(&self, node: KnownNode) -> KeeperConfig {
        let node = NodeConfig {
            id: node.node_id,
            address: node.address,
            hourly_rate_per_gpu: None,
            host_key: node.host_key,
            maintenance: false,
            region: None,
        };
        self.left(&node)
    }

    /// For a node that is not listed any more: looked after as all others are until its keys are gone.
    fn left(&self, node: &NodeConfig) -> KeeperConfig {
        KeeperConfig { leaving: true, ..self.keeper(node) }
    }
}

/// What a look at the list of nodes has changed.
#[derive(Default)]
struct Reconciled {
    /// A keeper has come to its end since.
    has_ended: bool,
    /// Nodes that are looked after from now on.
    registered: Vec<Arc<NodeConfig>>,
}

/// The miner's nodes.
pub struct Fleet {
    workshop: Workshop,
    slots: Arc<Semaphore>,
    desired: watch::Sender<Arc<Desired>>,
    assignable: watch::Sender<Vec<AssignableNode>>,
    /// In the order of the configuration; those that are being left come last.
    members: Mutex<Arc<Vec<Arc<Member>>>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fleet({} nodes)", self.members().len())
    }
}

impl Fleet {
    /// The nodes that are listed, and whether the configuration says that they are in maintenance.
    pub(crate) fn listed(&self) -> Vec<(NodeId, bool)> {
        self.desired.borrow().config.nodes.iter().map(|node| (node.id, node.maintenance)).collect()
    }

    /// `assignable` hears which nodes there are to be assigned.
    pub(crate) fn new(
        workshop: Workshop,
        config: FleetConfig,
        operator: Identity,
        assignable: watch::Sender<Vec<AssignableNode>>,
    ) -> Self {
        Self {
            assignable,
            workshop,
            slots: Arc::new(Semaphore::new(CONCURRENT_ROUNDS)),
            desired: watch::channel(Arc::new(Desired { config, operator })).0,
            members: Mutex::default(),
        }
    }

    pub(crate) fn members(&self) -> Arc<Vec<Arc<Member>>> {
        Arc::clone(&self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks after these nodes from now on, in this way, logging in with `operator`. Sessions and connections of nodes that
    /// stay go on; the keys of those that are not listed any more are removed first.
    pub fn apply(&self, config: FleetConfig, operator: Identity) {
        let assignable: Vec<_> = config.nodes.iter().map(AssignableNode::from).collect();
        self.desired.send_replace(Arc::new(Desired { config, operator }));
        self.assignable.send_if_modified(|before| {
            let changed = *before != assignable;
            *before = assignable;
            changed
        });
    }

    /// Whether keys of validators leave the nodes when the miner stops, as the newest configuration says.
    pub(crate) fn removes_keys_on_shutdown(&self) -> bool {
        self.desired.borrow().config.remove_keys_on_shutdown
    }

    /// Every node as its keeper sees it, those that are being left last.
    pub fn nodes(&self) -> Vec<NodeView> {
        self.members().iter().map(|member| member.view.borrow().clone()).collect()
    }

    /// Keeps a keeper for each node. `start` has made the first ones.
    pub(crate) async fn run(self: Arc<Self>, supervisor: &Supervisor, stop: Stop) {
        let mut desired = self.desired.subscribe();
        let mut orders = self.workshop.orders.clone();
        // What `start` has made: at that time nobody knew what was ordered of it.
        let mut untold: Vec<_> =
            self.members().iter().map(|member| Arc::clone(&member.config().node)).collect();
        let (mut remembered, mut has_ended) = (None, false);
        let mut told = None;
        loop {
            let wanted = Arc::clone(&desired.borrow_and_update());
            let result = self.remember(&wanted, &mut remembered, has_ended).await;
            has_ended &= result.is_err();
            let error = result.as_ref().err().map(|error| ErrorChain(error).to_string());
            if let Some(error) = &error {
                self.workshop.metrics.store_errors.inc();
                // It is tried again every second.
                if told.as_ref() != Some(error) {
                    warn!(
                        error,
                        "which nodes there are cannot be stored, so a restart could forget one; see: basilica-miner database health"
                    );
                }
            }
            told = error;
            // Those of an earlier run are found the next time.
            let left = result.unwrap_or_default();
            let Reconciled { has_ended: ended, registered } = self.reconcile(supervisor, &wanted, left);
            has_ended |= ended;
            untold.extend(registered);
            let known = orders.borrow_and_update().clone();
            if known.is_some() {
                untold.drain(..).for_each(|node| log_registered(&node, known.as_deref()));
            }
            tokio::select! {
                () = stop.requested() => return,
                Ok(()) = desired.changed() => {}
                Ok(()) = orders.changed(), if known.is_none() => {}
                () = self.workshop.clock.sleep(LOOK_EVERY) => {
                    // They cannot be read, which is told elsewhere.
                    untold.drain(..).for_each(|node| log_registered(&node, None));
                }
            }
        }
    }

    /// Notes which nodes there are before anything is done with them; those that were noted by an earlier run of this miner
    /// and are not listed any more. A keeper that `has_ended` has forgotten its node, which may be listed again by now.
    async fn remember(
        &self,
        wanted: &Arc<Desired>,
        remembered: &mut Option<Arc<Desired>>,
        has_ended: bool,
    ) -> Result<Vec<KnownNode>, StoreError> {
        let is_same = remembered.as_ref().is_some_and(|remembered| Arc::ptr_eq(remembered, wanted));
        if is_same && !has_ended {
            return Ok(Vec::new());
        }
        let store = &self.workshop.store;
        let nodes = wanted.config.nodes.iter().map(|node| KnownNode {
            node_id: node.id,
            address: node.address.clone(),
            host_key: node.host_key.clone(),
        });
        let mut nodes: Vec<_> = nodes.collect();
        if is_same {
            // The others were read before, and may have been removed since: that this list has them means nothing.
            let known = store.known_nodes().await?;
            nodes.retain(|node| !known.iter().any(|known| known.node_id == node.node_id));
        }
        store.remember_nodes(&nodes, self.workshop.clock.now()).await?;
        let mut left = store.known_nodes().await?;
        left.retain(|known| !wanted.config.nodes.iter().any(|node| node.id == known.node_id));
        for node in &left {
            self.close(node.node_id).await?;
        }
        *remembered = Some(Arc::clone(wanted));
        Ok(left)
    }

    /// Notes that a node is being left, as `nodes remove` has for its own: who lists it again by hand is told that it is not served.
    async fn close(&self, node: NodeId) -> Result<(), StoreError> {
        let Workshop { store, orders, clock, .. } = &self.workshop;
        let is_noted = |orders: &Arc<Orders>| orders.window(node, OrderedBy::Removal).is_some();
        if !orders.borrow().as_ref().is_some_and(is_noted) {
            store.begin_maintenance(node, OrderedBy::Removal, None, clock.now()).await?;
        }
        Ok(())
    }

    /// Gives every listed node its keeper, before anybody asks for the nodes.
    pub(crate) fn start(&self, supervisor: &Supervisor) {
        let wanted = Arc::clone(&self.desired.borrow());
        // `run` tells of them.
        drop(self.reconcile(supervisor, &wanted, Vec::new()));
    }

    fn reconcile(&self, supervisor: &Supervisor, wanted: &Desired, left: Vec<KnownNode>) -> Reconciled {
        let before = self.members();
        let mut done = Reconciled::default();
        let mut there: BTreeMap<NodeId, Arc<Member>> = BTreeMap::new();
        for member in before.iter() {
            let id = member.config().node.id;
            if member.is_gone() {
                done.has_ended = true;
                self.workshop.metrics.node_uptime.remove(&NodeLabels { node_id: id.to_string() });
            } else {
                there.insert(id, Arc::clone(member));
            }
        }
        let mut members = Vec::with_capacity(wanted.config.nodes.len());
        for node in &wanted.config.nodes {
            let config = wanted.keeper(node);
            members.push(match there.remove(&node.id) {
                Some(member) => {
                    if member.config().leaving {
                        done.registered.push(Arc::clone(&config.node));
                    }
                    tell(&member, config);
                    member
                }
                None => {
                    done.registered.push(Arc::clone(&config.node));
                    self.workshop.metrics.registered.inc();
                    self.spawn(supervisor, config)
                }
            });
        }
        for (_, member) in there.iter() {
            let config = member.config();
            tell(member, wanted.left(&config.node));
        }
        let unknown = left.into_iter().filter(|known| !there.contains_key(&known.node_id));
        let mut leaving: Vec<_> =
            unknown.map(|known| self.spawn(supervisor, wanted.leaving(known))).collect();
        leaving.extend(there.into_values());
        members.extend(leaving);
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(members);
        done
    }

    fn spawn(&self, supervisor: &Supervisor, config: KeeperConfig) -> Arc<Member> {
        let view = NodeView::new(config.node.id, config.node.address.clone(), self.workshop.clock.now());
        let (config, configs) = watch::channel(Arc::new(config));
        let (nudge, nudges) = watch::channel(0);
        let (view, seen) = watch::channel(view);
        let workshop = self.workshop.clone();
        let keeper = NodeKeeper {
            config: configs,
            shell: workshop.shell,
            store: workshop.store,
            clock: workshop.clock,
            subnet: workshop.subnet,
            orders: workshop.orders,
            metrics: workshop.metrics,
            slots: Arc::clone(&self.slots),
            readings: workshop.readings,
            nudges,
            view,
        };
        supervisor.spawn("node", RESTART, move |stop| keeper.clone().run(stop));
        Arc::new(Member { config, nudge, view: seen })
    }

    /// Sees to it that every reachable node of the session's validator carries its key, and reports all of these.
    pub(crate) async fn deploy(&self, session: &SessionRecord, assignment: &Assignment) -> Vec<NodeReport> {
        let belongs = |member: &&Arc<Member>| {
            let config = member.config();
            !config.leaving && assignment.has(config.node.id, &session.validator)
        };
        let members = self.members().iter().filter(belongs).cloned().collect();
        let Workshop { clock, orders, .. } = &self.workshop;
        Discovery { members, clock: clock.as_ref(), orders, session }.run().await
    }

    /// Counts the nodes for the metrics.
    pub(crate) fn count(&self) {
        let metrics = &self.workshop.metrics;
        let nodes: Vec<NodeView> = self.nodes().into_iter().filter(|view| !view.leaving).collect();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let healthy = nodes.iter().filter(|view| view.state == NodeState::Healthy).count();
        metrics.nodes.set(gauge(nodes.len()));
        metrics.nodes_healthy.set(gauge(healthy));
        metrics.nodes_unhealthy.set(gauge(nodes.len() - healthy));
        metrics.nodes_deployed.set(gauge(nodes.iter().filter(|view| !view.keys.is_empty()).count()));
    }
}

/// Tells a keeper what is new, if anything is.
fn tell(member: &Member, config: KeeperConfig) {
    let before = member.config();
    if *before == config {
        return;
    }
    let (id, address) = (config.node.id, config.node.address.clone());
    match (before.leaving, config.leaving) {
        (false, true) => info!(node.id = %id, node.address = %address,
            "Node is no longer configured; it is left once it carries no key of a validator"),
        (false, false) => info!(node.id = %id, node.address = %address, "Node has a changed configuration"),
        (true, _) => {}
    }
    member.config.send_replace(Arc::new(config));
}

/// That the configuration has a node in maintenance, and that a command does, are two things; the second is known once the orders are.
fn log_registered(node: &NodeConfig, orders: Option<&Orders>) {
    let drained = orders.map(|orders| orders.window(node.id, OrderedBy::Command).is_some());
    info!(node.id = %node.id, node.address = %node.address, configured.maintenance = node.maintenance, drained, "Node registered");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_left_is_reached_as_all_others_are() {
        let address: basilica_types::NodeAddress = "root@192.0.2.1:22".parse().unwrap();
        let desired = |operator: &str, timeout| Desired {
            config: FleetConfig {
                nodes: Vec::new(),
                ssh_key: operator.into(),
                interval: Millis::from_secs(60),
                timeout,
                retries: 3,
                auto_recovery: true,
                remove_keys_on_shutdown: false,
            },
            operator: Identity::File(operator.into()),
        };
        let known = KnownNode { node_id: address.node_id(), address, host_key: None };
        let before = desired("old", Millis(1)).leaving(known);
        let config = desired("new", Millis(2)).left(&before.node);
        assert_eq!((&config.node, config.leaving), (&before.node, true));
        assert_eq!((config.identity, config.timeout), (Identity::File("new".into()), Millis(2)));
    }
}
