//! What the operator ordered, followed from the database: a command writes there, whether a miner runs or not, and a
//! running one looks once a second whether anything was written.
//!
//! The configuration's `maintenance = true` is an order too. It is written beside those of commands, because validators count
//! every hour of maintenance, whoever ordered it (RULES R2), and what is left of the free ones must be known.

use std::sync::Arc;

use basilica_ports::{Clock, MaintenanceWindow, MinerStore, Orders, StoreError};
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
            if let Some(before) = before {
                tell(&before, &orders);
            }
        }
        self.record_configured().await
    }

    /// Begins and ends the windows of the configuration. The next look sees them.
    async fn record_configured(&self) -> Result<(), StoreError> {
        let listed = self.fleet.listed();
        let known = self.view.borrow().clone();
        if known.is_none_or(|orders| due(&listed, &orders).is_empty()) {
            return Ok(());
        }
        // A command may have changed the same window this moment.
        for change in due(&listed, &self.store.orders().await?) {
            let now = self.clock.now();
            match change {
                Due::Begin(node) => {
                    self.store.begin_maintenance(node, Some(MaintenanceWindow::CONFIGURED), now).await?;
                }
                Due::End(node) => {
                    let ended = self.store.end_maintenance(node, now).await?;
                    // A command put its own order in the window's place this moment: that stays.
                    if let Some(order) = ended.filter(|window| !is_configured(window)) {
                        self.store.begin_maintenance(node, order.reason.as_deref(), now).await?;
                    }
                }
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

/// What the configuration says, in each case whether of maintenance, and is not written yet. Windows of others stay, and those of
/// nodes that are not listed any more: they last until these are clean.
fn due(listed: &[(NodeId, bool)], orders: &Orders) -> Vec<Due> {
    let change = |(node, configured): &(NodeId, bool)| match (configured, orders.maintenance.get(node)) {
        (true, None) => Some(Due::Begin(*node)),
        (false, Some(window)) if is_configured(window) => Some(Due::End(*node)),
        _ => None,
    };
    listed.iter().filter_map(change).collect()
}

fn is_configured(window: &MaintenanceWindow) -> bool {
    window.reason.as_deref() == Some(MaintenanceWindow::CONFIGURED)
}

fn tell(before: &Orders, now: &Orders) {
    for (node, window) in now.maintenance.iter().filter(|(node, _)| !before.maintenance.contains_key(node)) {
        info!(node.id = %node, reason = window.reason, "Node taken out for maintenance");
    }
    for node in before.maintenance.keys().filter(|node| !now.maintenance.contains_key(node)) {
        info!(node.id = %node, "Node taken back from maintenance");
    }
    for node in before.holds.keys().filter(|node| !now.holds.contains_key(node)) {
        info!(node.id = %node, "Node taken back by its operator");
    }
}

#[cfg(test)]
mod tests {
    use basilica_types::Timestamp;

    use super::*;

    #[test]
    fn the_configurations_windows_begin_and_end_and_those_of_commands_stay() {
        let node = |n| NodeId::from_bytes([n; 16]);
        let window = |reason: Option<&str>| MaintenanceWindow {
            began_at: Timestamp(1),
            ended_at: None,
            reason: reason.map(ToOwned::to_owned),
        };
        let configured = window(Some(MaintenanceWindow::CONFIGURED));
        let maintenance = [
            (node(2), configured.clone()),
            (node(3), window(None)),
            (node(5), configured.clone()),
            (node(6), window(Some("new disk"))),
            (node(7), configured),
        ];
        let orders = Orders { maintenance: maintenance.into(), ..Orders::default() };
        let listed: Vec<_> = (1..=6).map(|n| (node(n), n <= 3)).collect();
        assert_eq!(due(&listed, &orders), [Due::Begin(node(1)), Due::End(node(5))]);
        assert_eq!(due(&[], &orders), []);
    }
}
