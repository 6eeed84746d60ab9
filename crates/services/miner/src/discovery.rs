//! What a discovery waits for and reports.
//!
//! It nudges every keeper and waits until each has finished a round that saw the nudge, at most [`DISCOVERY_LIMIT`]. Nodes that
//! were not well get [`GRACE`] beyond the slowest of the others, and so does one whose attempts begin to fail just then: a
//! dead node costs a discovery little. Whoever is not finished is reported as it stands, never waited for.

use std::sync::Arc;

use basilica_ports::{Clock, SessionRecord};
use basilica_runtime_service::within;
use basilica_status::NodeState;
use basilica_types::{Millis, Timestamp};
use basilica_wire::discovery::{NodeReport, NodeStatus};
use tokio::sync::watch;

use crate::config::NodeConfig;
use crate::fleet::Member;
use crate::orders::OrdersView;
use crate::view::NodeView;

/// Longest time that a discovery waits (RULES R6).
pub(crate) const DISCOVERY_LIMIT: Millis = Millis::from_secs(20);
/// What nodes that failed before get beyond the slowest of the others.
const GRACE: Millis = Millis::from_secs(2);

/// A member that a discovery waits for.
struct Awaited {
    view: watch::Receiver<NodeView>,
    generation: u64,
}

impl Awaited {
    async fn finished(&mut self, begin_to_fail: bool) {
        let generation = self.generation;
        let is_finished = |view: &NodeView| {
            view.generation >= generation || (begin_to_fail && view.state == NodeState::Degraded)
        };
        // A keeper that is gone, because its node was left or the miner stops, never finishes: what it saw last is reported.
        let _ = self.view.wait_for(is_finished).await;
    }
}

/// One session's key on its way to all nodes.
pub(crate) struct Discovery<'a> {
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) orders: &'a OrdersView,
    pub(crate) session: &'a SessionRecord,
}

impl Discovery<'_> {
    /// Sees to it that every reachable node carries the session's key, and reports all of them.
    pub(crate) async fn run(&self) -> Vec<NodeReport> {
        let (mut healthy, mut doubtful) = (Vec::new(), Vec::new());
        for member in &self.members {
            if self.is_settled(member) {
                continue;
            }
            let mut generation = 0;
            member.nudge.send_modify(|nudge| {
                *nudge += 1;
                generation = *nudge;
            });
            let awaited = Awaited { view: member.view.clone(), generation };
            let was_well = matches!(member.view.borrow().state, NodeState::Unknown | NodeState::Healthy);
            if was_well { healthy.push(awaited) } else { doubtful.push(awaited) }
        }
        let clock = self.clock;
        let began = clock.monotonic();
        // The rounds run side by side in their keepers; waiting for one after the other is waiting for the slowest. The
        // limit is not an error: what is not finished by then is reported as it stands.
        let _ = within(clock, DISCOVERY_LIMIT, all_finished(&mut healthy, true)).await;
        doubtful.append(&mut healthy);
        let spent = Millis::from(clock.monotonic().saturating_sub(began));
        let grace = DISCOVERY_LIMIT.saturating_sub(spent).min(GRACE);
        let _ = within(clock, grace, all_finished(&mut doubtful, false)).await;
        self.members.iter().map(|member| self.report(member)).collect()
    }

    /// Whether the key was seen on the node so lately that asking again is needless.
    fn is_settled(&self, member: &Member) -> bool {
        let config = member.config();
        if self.is_in_maintenance(&config.node) {
            return true;
        }
        let view = member.view.borrow();
        let interval = config.policy.interval;
        let lately = |checked: Timestamp| self.clock.now() <= checked + interval + interval;
        view.state == NodeState::Healthy
            && carries(&view, self.session)
            && view.checked_at.is_some_and(lately)
    }

    fn is_in_maintenance(&self, node: &NodeConfig) -> bool {
        let orders = self.orders.borrow();
        node.maintenance || orders.as_ref().is_some_and(|orders| orders.maintenance.contains_key(&node.id))
    }

    fn status(&self, node: &NodeConfig, view: &NodeView) -> NodeStatus {
        if self.is_in_maintenance(node) { NodeStatus::Maintenance } else { status(view, self.session) }
    }

    fn report(&self, member: &Member) -> NodeReport {
        let (config, view) = (member.config(), member.view.borrow());
        let node = &config.node;
        let configured = node.host_key.clone().map(|key| vec![key]);
        NodeReport {
            node_id: node.id,
            address: node.address.clone(),
            status: self.status(node, &view),
            hourly_rate_per_gpu: node.hourly_rate_per_gpu,
            host_keys: configured.unwrap_or_else(|| view.host_keys.clone()),
        }
    }
}

async fn all_finished(members: &mut [Awaited], begin_to_fail: bool) {
    for member in members {
        member.finished(begin_to_fail).await;
    }
}

fn carries(view: &NodeView, session: &SessionRecord) -> bool {
    session.public_key.is_some() && view.keys.get(&session.id) == session.public_key.as_ref()
}

/// What a validator is told of a node that is not in maintenance.
fn status(view: &NodeView, session: &SessionRecord) -> NodeStatus {
    match view.state {
        NodeState::Healthy | NodeState::Degraded | NodeState::LockedOut if carries(view, session) => {
            NodeStatus::Available
        }
        NodeState::Healthy | NodeState::ClockWrong | NodeState::KeyPending => NodeStatus::KeyPending,
        // Lost sight of a moment ago, or of the keys alone.
        NodeState::Degraded | NodeState::LockedOut if view.was_well || view.connected => {
            NodeStatus::KeyPending
        }
        // Just taken back.
        NodeState::Maintenance => NodeStatus::KeyPending,
        NodeState::Unknown if view.connected => NodeStatus::KeyPending,
        NodeState::Unknown
        | NodeState::Degraded
        | NodeState::LockedOut
        | NodeState::Unreachable
        | NodeState::HostKeyChanged
        | NodeState::AwaitingOperator => NodeStatus::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use basilica_ports::{Identity, MaintenanceWindow, OrderedBy, Orders};
    use basilica_runtime_service::testing::VirtualClock;
    use basilica_types::{Hotkey, NodeAddress, SessionId, SshPublicKey};

    use super::*;
    use crate::health::HealthPolicy;
    use crate::node::KeeperConfig;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn member(
        state: NodeState,
        change: impl FnOnce(&mut NodeView),
    ) -> (Arc<Member>, watch::Sender<NodeView>) {
        let address: NodeAddress = "root@192.0.2.1:22".parse().unwrap();
        let node = NodeConfig {
            id: address.node_id(),
            address,
            hourly_rate_per_gpu: None,
            host_key: None,
            maintenance: false,
            region: None,
        };
        let mut view = NodeView { state, ..NodeView::new(node.id, node.address.clone(), Timestamp(0)) };
        change(&mut view);
        let interval = Millis::from_secs(60);
        let config = KeeperConfig {
            node: Arc::new(node),
            identity: Identity::File("unused".into()),
            policy: HealthPolicy { interval, retries: 3, auto_recovery: true },
            timeout: interval,
            remove_keys_on_shutdown: false,
            leaving: false,
        };
        let (keeper, view) = watch::channel(view);
        let config = watch::channel(Arc::new(config)).0;
        (Arc::new(Member { config, nudge: watch::channel(0).0, view }), keeper)
    }

    fn session(clock: &dyn Clock) -> SessionRecord {
        SessionRecord {
            id: SessionId::from_random([1; 8]),
            validator: Hotkey::from_bytes([1; 32]),
            opened_at: clock.now(),
            expires_at: clock.now() + Millis::from_secs(3600),
            public_key: Some(KEY.parse::<SshPublicKey>().unwrap()),
        }
    }

    /// For how long a discovery waits for a node that does not finish, and what it says of it.
    async fn wait_for(
        (member, keeper): (Arc<Member>, watch::Sender<NodeView>),
        orders: Orders,
    ) -> (Millis, NodeStatus) {
        let clock = VirtualClock::new();
        let began = clock.monotonic();
        let mut deploy = tokio::task::JoinSet::new();
        let there = clock.clone();
        deploy.spawn(async move {
            let orders = watch::channel(Some(Arc::new(orders))).1;
            let session = session(there.as_ref());
            let clock = there.as_ref();
            Discovery { members: vec![member], clock, orders: &orders, session: &session }.run().await
        });
        loop {
            tokio::select! {
                biased;
                reports = deploy.join_next() => {
                    drop(keeper);
                    let waited = Millis::from(clock.monotonic().saturating_sub(began));
                    return (waited, reports.unwrap().unwrap()[0].status);
                }
                () = clock.sleepers(1) => {
                    clock.advance_to_next();
                }
            }
        }
    }

    async fn wait_in(state: NodeState, was_well: bool) -> (Millis, NodeStatus) {
        wait_for(member(state, |view| view.was_well = was_well), Orders::default()).await
    }

    #[tokio::test]
    async fn only_a_node_that_was_well_is_waited_for_to_the_limit() {
        use NodeState::*;
        assert_eq!(wait_in(Unreachable, true).await, (GRACE, NodeStatus::Unreachable));
        assert_eq!(wait_in(KeyPending, true).await, (GRACE, NodeStatus::KeyPending), "hung after its login");
        assert_eq!(wait_in(Degraded, true).await, (GRACE, NodeStatus::KeyPending), "not given up yet");
        assert_eq!(wait_in(Degraded, false).await, (GRACE, NodeStatus::Unreachable), "never seen");
        assert_eq!(wait_in(AwaitingOperator, true).await, (GRACE, NodeStatus::Unreachable));
        assert_eq!(wait_in(Healthy, true).await, (DISCOVERY_LIMIT, NodeStatus::KeyPending));
        assert_eq!(wait_in(Unknown, false).await, (DISCOVERY_LIMIT, NodeStatus::Unreachable));
    }

    #[tokio::test]
    async fn a_node_that_carries_the_key_stays_available_while_a_failure_says_nothing_yet() {
        let carrying = |state| {
            member(state, |view| {
                view.was_well = true;
                view.keys.insert(SessionId::from_random([1; 8]), KEY.parse().unwrap());
            })
        };
        for state in [NodeState::Degraded, NodeState::LockedOut] {
            assert_eq!(wait_for(carrying(state), Orders::default()).await, (GRACE, NodeStatus::Available));
        }
        assert_eq!(
            wait_for(carrying(NodeState::Unreachable), Orders::default()).await.1,
            NodeStatus::Unreachable
        );
    }

    #[tokio::test]
    async fn a_keeper_that_is_gone_is_not_waited_for() {
        let (member, keeper) = member(NodeState::Healthy, |view| view.was_well = true);
        let (clock, orders) = (VirtualClock::new(), watch::channel(Some(Arc::new(Orders::default()))).1);
        let session = session(clock.as_ref());
        let discovery =
            Discovery { members: vec![member], clock: clock.as_ref(), orders: &orders, session: &session };
        let leaves = async {
            clock.sleepers(1).await;
            drop(keeper);
        };
        let (reports, ()) = tokio::join!(discovery.run(), leaves);
        assert_eq!(reports[0].status, NodeStatus::KeyPending);
        assert_eq!(clock.monotonic(), std::time::Duration::ZERO);
    }

    #[tokio::test]
    async fn a_node_in_maintenance_is_not_asked() {
        let (member, keeper) = member(NodeState::Unreachable, |_| ());
        let by = OrderedBy::Command;
        let window = MaintenanceWindow { began_at: Timestamp(0), ended_at: None, by, reason: None };
        let maintenance = [(member.config().node.id, [(by, window)].into())].into();
        let orders = Orders { maintenance, ..Orders::default() };
        assert_eq!(wait_for((member, keeper), orders).await, (Millis(0), NodeStatus::Maintenance));
    }
}
