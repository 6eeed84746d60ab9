//! All nodes together: what a discovery waits for and reports.
//!
//! A discovery nudges every keeper and waits until each has finished a round that saw the nudge, at most
//! [`DISCOVERY_LIMIT`]. Nodes that failed their last round get [`GRACE`] beyond the slowest healthy one, so that a dead
//! node costs a discovery next to nothing; a node that dies just then costs one discovery the limit. Whoever is not
//! finished is reported as it stands, never waited for.

use std::sync::Arc;

use basilica_ports::{Assignment, Clock, SessionRecord};
use basilica_runtime_service::within;
use basilica_types::{Millis, Timestamp};
use basilica_wire::discovery::{NodeReport, NodeStatus};
use tokio::sync::watch;

use crate::config::NodeConfig;
use crate::metrics::MinerMetrics;
use crate::node::{NodeView, Outcome};

/// Longest time that a discovery waits (RULES R6).
pub(crate) const DISCOVERY_LIMIT: Millis = Millis::from_secs(20);
/// What nodes that failed before get beyond the slowest of the others.
const GRACE: Millis = Millis::from_secs(2);

/// One node, seen from outside its keeper.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Arc<NodeConfig>,
    pub(crate) nudge: watch::Sender<u64>,
    pub(crate) view: watch::Receiver<NodeView>,
}

/// A member that a discovery waits for.
struct Awaited {
    view: watch::Receiver<NodeView>,
    generation: u64,
}

impl Awaited {
    async fn finished(&mut self) {
        let generation = self.generation;
        // A keeper that is gone never finishes; the caller's limit ends the wait.
        if self.view.wait_for(|view| view.generation >= generation).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The miner's nodes.
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) interval: Millis,
}

impl Fleet {
    /// Sees to it that every reachable node of the session's validator carries its key, and reports all of these.
    pub(crate) async fn deploy(&self, session: &SessionRecord, assignment: &Assignment) -> Vec<NodeReport> {
        let (mut healthy, mut doubtful) = (Vec::new(), Vec::new());
        let belongs = |member: &&Member| assignment.has(member.node.id, &session.validator);
        for member in self.members.iter().filter(belongs) {
            if self.is_settled(member, session) {
                continue;
            }
            let mut generation = 0;
            member.nudge.send_modify(|nudge| {
                *nudge += 1;
                generation = *nudge;
            });
            let awaited = Awaited { view: member.view.clone(), generation };
            let failed = matches!(member.view.borrow().outcome, Outcome::Unreachable | Outcome::Unconfirmed);
            if failed { doubtful.push(awaited) } else { healthy.push(awaited) }
        }
        let began = self.clock.monotonic();
        // The rounds run side by side in their keepers; waiting for one after the other is waiting for the slowest. The
        // limit is not an error: what is not finished by then is reported as it stands.
        let _ = within(self.clock.as_ref(), DISCOVERY_LIMIT, all_finished(&mut healthy)).await;
        let spent = Millis::from(self.clock.monotonic().saturating_sub(began));
        let grace = DISCOVERY_LIMIT.saturating_sub(spent).min(GRACE);
        let _ = within(self.clock.as_ref(), grace, all_finished(&mut doubtful)).await;
        self.members.iter().filter(belongs).map(|member| report(member, session)).collect()
    }

    /// Whether the key was seen on the node so lately that asking again is needless.
    fn is_settled(&self, member: &Member, session: &SessionRecord) -> bool {
        if member.node.maintenance {
            return true;
        }
        let view = member.view.borrow();
        let lately: Timestamp = view.checked_at + self.interval + self.interval;
        status(&member.node, &view, session) == NodeStatus::Available && self.clock.now() <= lately
    }

    /// Counts the nodes for the metrics.
    pub(crate) fn count(&self, metrics: &MinerMetrics) {
        let healthy = self.members.iter().filter(|m| m.view.borrow().outcome == Outcome::Confirmed).count();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.nodes.set(gauge(self.members.len()));
        metrics.nodes_healthy.set(gauge(healthy));
        metrics.nodes_unhealthy.set(gauge(self.members.len() - healthy));
    }
}

async fn all_finished(members: &mut [Awaited]) {
    for member in members {
        member.finished().await;
    }
}

fn status(node: &NodeConfig, view: &NodeView, session: &SessionRecord) -> NodeStatus {
    if node.maintenance {
        return NodeStatus::Maintenance;
    }
    let carried = session.public_key.is_some() && view.keys.get(&session.id) == session.public_key.as_ref();
    match view.outcome {
        Outcome::Confirmed if carried => NodeStatus::Available,
        Outcome::Confirmed | Outcome::Unconfirmed => NodeStatus::KeyPending,
        Outcome::Unknown if view.connected => NodeStatus::KeyPending,
        Outcome::Unknown | Outcome::Unreachable => NodeStatus::Unreachable,
    }
}

fn report(member: &Member, session: &SessionRecord) -> NodeReport {
    let view = member.view.borrow();
    let configured = member.node.host_key.clone().map(|key| vec![key]);
    NodeReport {
        node_id: member.node.id,
        address: member.node.address.clone(),
        status: status(&member.node, &view, session),
        hourly_rate_per_gpu: member.node.hourly_rate_per_gpu,
        host_keys: configured.unwrap_or_else(|| view.host_keys.clone()),
    }
}

#[cfg(test)]
mod tests {
    use basilica_runtime_service::testing::VirtualClock;
    use basilica_types::{Hotkey, NodeAddress, SessionId};

    use super::*;

    fn member(outcome: Outcome) -> (Member, watch::Sender<NodeView>) {
        let address: NodeAddress = "root@192.0.2.1:22".parse().unwrap();
        let node = NodeConfig {
            id: address.node_id(),
            address,
            hourly_rate_per_gpu: None,
            host_key: None,
            maintenance: false,
            region: None,
        };
        let (keeper, view) = watch::channel(NodeView { outcome, ..NodeView::new() });
        (Member { node: Arc::new(node), nudge: watch::channel(0).0, view }, keeper)
    }

    /// For how long a discovery waits for a node that does not finish.
    async fn wait_for(outcome: Outcome) -> (Millis, NodeStatus) {
        let clock = VirtualClock::new();
        let (member, _keeper) = member(outcome);
        let fleet = Fleet { members: vec![member], clock: clock.clone(), interval: Millis::from_secs(60) };
        let session = SessionRecord {
            id: SessionId::from_random([1; 8]),
            validator: Hotkey::from_bytes([1; 32]),
            expires_at: clock.now() + Millis::from_secs(3600),
            public_key: None,
        };
        let nodes = fleet.members.iter().map(|member| (member.node.id, session.validator));
        let assignment: Assignment = nodes.collect();
        let began = clock.monotonic();
        let mut deploy = tokio::task::JoinSet::new();
        deploy.spawn(async move { fleet.deploy(&session, &assignment).await });
        loop {
            tokio::select! {
                biased;
                reports = deploy.join_next() => {
                    let waited = Millis::from(clock.monotonic().saturating_sub(began));
                    return (waited, reports.unwrap().unwrap()[0].status);
                }
                () = clock.sleepers(1) => {
                    clock.advance_to_next();
                }
            }
        }
    }

    #[tokio::test]
    async fn only_a_node_that_was_well_is_waited_for_to_the_limit() {
        assert_eq!(wait_for(Outcome::Unreachable).await, (GRACE, NodeStatus::Unreachable));
        assert_eq!(
            wait_for(Outcome::Unconfirmed).await,
            (GRACE, NodeStatus::KeyPending),
            "hung after its login"
        );
        assert_eq!(wait_for(Outcome::Confirmed).await, (DISCOVERY_LIMIT, NodeStatus::KeyPending));
        assert_eq!(wait_for(Outcome::Unknown).await, (DISCOVERY_LIMIT, NodeStatus::Unreachable));
    }
}
