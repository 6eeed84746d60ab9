//! What the operator ordered, followed from the database: a command writes there, whether a miner runs or not, and a
//! running one looks once a second whether anything was written.
//!
//! The configuration's `maintenance = true` is an order too. It is written beside those of commands, because validators count
//! every hour of maintenance, whoever ordered it (RULES R2), and what is left of the free ones must be known; and because commands can tell
//! from it what the running miner has read. Each order begins and ends by itself, so that no death of the process loses another's.
//! **Rejected**: one window for all, in which one order made way for another.

use std::sync::Arc;

use basilica_ports::{Clock, MinerStore, OpenWindows, OrderedBy, Orders, StoreError};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_types::{Millis, NodeId};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::fleet::Fleet;
use crate::health::Standing;
use crate::metrics::MinerMetrics;

/// Between two looks: as long as a command may take to be seen.
const LOOK_EVERY: Millis = Millis(1_000);

/// The newest orders; none until they were read once.
pub(crate) type OrdersView = watch::Receiver<Option<Arc<Orders>>>;

/// What they say of a node.
pub(crate) fn standing(orders: &Orders, node: NodeId) -> Standing {
    Standing { maintenance: orders.maintenance.contains_key(&node), held: orders.holds.contains_key(&node) }
}

/// Reads the orders again whenever the revision has changed.
pub(crate) struct OrdersFollower {
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) metrics: Arc<MinerMetrics>,
    pub(crate) view: watch::Sender<Option<Arc<Orders>>>,
}

impl OrdersFollower {
    pub(crate) async fn run(&self, stop: Stop) {
        let mut is_told = false;
        loop {
            match self.look().await {
                Ok(()) => is_told = false,
                Err(error) => {
                    self.metrics.store_errors.inc();
                    if !std::mem::replace(&mut is_told, true) {
                        warn!(error = %ErrorChain(&error), "orders cannot be read from the database or written to it");
                    }
                }
            }
            tokio::select! {
                () = stop.requested() => return,
                () = self.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let seen = self.view.borrow().as_ref().map(|orders| orders.revision);
        if seen != Some(self.store.revision().await?) {
            let orders = Arc::new(self.store.orders().await?);
            let before = self.view.send_replace(Some(Arc::clone(&orders)));
            tell(&before.unwrap_or_default(), &orders);
        }
        self.record_configured().await
    }

    /// Begins and ends the windows of the configuration. The next look sees them.
    async fn record_configured(&self) -> Result<(), StoreError> {
        let known = self.view.borrow().clone();
        let Some(orders) = known else { return Ok(()) };
        for change in due(&self.fleet.listed(), &orders) {
            let (by, now) = (OrderedBy::Configuration, self.clock.now());
            match change {
                Due::Begin(node) => drop(self.store.begin_maintenance(node, by, None, now).await?),
                Due::End(node) => drop(self.store.end_maintenance(node, by, now).await?),
            }
        }
        Ok(())
    }
}

/// What is to be written of a node that is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Begin(NodeId),
    End(NodeId),
}

/// What the configuration says, in each case whether of maintenance, and is not written yet. Windows of nodes that are not listed any
/// more stay: they last until these are clean.
fn due(listed: &[(NodeId, bool)], orders: &Orders) -> Vec<Due> {
    let change = |(node, configured): &(NodeId, bool)| {
        let written = orders.window(*node, OrderedBy::Configuration).is_some();
        match (configured, written) {
            (true, false) => Some(Due::Begin(*node)),
            (false, true) => Some(Due::End(*node)),
            _ => None,
        }
    };
    listed.iter().filter_map(change).collect()
}

fn tell(before: &Orders, now: &Orders) {
    for (node, windows) in now.maintenance.iter().filter(|(node, _)| !before.maintenance.contains_key(node)) {
        info!(node.id = %node, reason = why(windows), "Node taken out for maintenance");
    }
    for (node, windows) in &now.maintenance {
        if before.maintenance.get(node).is_some_and(|before| !before.keys().eq(windows.keys())) {
            let orders: Vec<_> = windows.keys().map(|by| by.name()).collect();
            info!(node.id = %node, orders = orders.join(", "), "Node stays out for maintenance by other orders");
        }
    }
    for node in now.maintenance.keys() {
        let window = |orders: &'_ Orders| orders.window(*node, OrderedBy::Command).cloned();
        if let (Some(before), Some(now)) = (window(before), window(now))
            && before.reason != now.reason
        {
            info!(node.id = %node, reason = now.reason, before = before.reason,
                "Node stays out for maintenance for another reason");
        }
    }
    for node in before.maintenance.keys().filter(|node| !now.maintenance.contains_key(node)) {
        info!(node.id = %node, "Node taken back from maintenance");
    }
    for node in before.holds.keys().filter(|node| !now.holds.contains_key(node)) {
        info!(node.id = %node, "Node taken back by its operator");
    }
}

fn why(windows: &OpenWindows) -> Option<&str> {
    windows.values().find_map(|window| window.why())
}

#[cfg(test)]
mod tests {
    use basilica_ports::MaintenanceWindow;
    use basilica_types::Timestamp;

    use super::*;

    #[test]
    fn the_configurations_windows_begin_and_end_and_those_of_commands_stay() {
        let node = |n| NodeId::from_bytes([n; 16]);
        let open = |orders: &[OrderedBy]| -> OpenWindows {
            let window = |by| MaintenanceWindow { began_at: Timestamp(1), ended_at: None, by, reason: None };
            orders.iter().map(|by| (*by, window(*by))).collect()
        };
        let (command, configuration) = (OrderedBy::Command, OrderedBy::Configuration);
        let maintenance = [
            (node(2), open(&[configuration])),
            (node(3), open(&[command])),
            (node(5), open(&[command, configuration])),
            (node(6), open(&[command, OrderedBy::Removal])),
            (node(7), open(&[configuration])),
        ];
        let orders = Orders { maintenance: maintenance.into(), ..Orders::default() };
        let listed: Vec<_> = (1..=6).map(|n| (node(n), n <= 3)).collect();
        let expected = [Due::Begin(node(1)), Due::Begin(node(3)), Due::End(node(5))];
        assert_eq!(due(&listed, &orders), expected);
        assert_eq!(due(&[], &orders), []);
    }
}
