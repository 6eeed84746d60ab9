//! What the operator ordered, followed from the database: a command writes there, whether a miner runs or not, and a
//! running one looks once a second whether anything was written.

use std::sync::Arc;

use basilica_ports::{Clock, MinerStore, Orders, StoreError};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_types::{Millis, NodeId};
use tokio::sync::watch;
use tracing::{info, warn};

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
                        warn!(error = %ErrorChain(&error), "what commands ordered cannot be read from the database");
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
        if seen == Some(self.store.revision().await?) {
            return Ok(());
        }
        let orders = Arc::new(self.store.orders().await?);
        let before = self.view.send_replace(Some(Arc::clone(&orders)));
        if let Some(before) = before {
            tell(&before, &orders);
        }
        Ok(())
    }
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
