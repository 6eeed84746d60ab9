//! What the configuration says of a node's maintenance, and what of it the running miner has read.
//!
//! A miner reads the file when it starts and at SIGHUP; until then it holds to what it read. It notes that in the database within a second,
//! as an order of its own beside those of commands, and so it is seen here.

use basilica_miner_service::config::NodeConfig;
use basilica_ports::{Clock as _, MinerOperations as _, OrderedBy, Orders};
use basilica_store::MinerDatabase;
use basilica_system::SystemClock;
use basilica_types::Millis;

use super::LOOK_EVERY;

/// For so long a miner may take to note what it has read: a second, and the writing.
const NOTING: Millis = Millis(1_500);

/// What the running miner has read of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// `maintenance = true`.
    pub(super) maintenance: bool,
    /// That it is in the list, since it was removed from there.
    pub(super) listed: bool,
}

impl Read {
    pub(super) fn of(node: &NodeConfig, orders: &Orders) -> Self {
        Self {
            maintenance: orders.window(node.id, OrderedBy::Configuration).is_some(),
            listed: orders.window(node.id, OrderedBy::Removal).is_none(),
        }
    }
}

/// Why a node is out, or will be, whatever commands say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// `maintenance = true` is in the configuration, also as the running miner knows it.
    Configured,
    /// It is there, and the running miner has not read it yet: the node is in service until then.
    Ahead,
    /// It was there when the running miner read the configuration last.
    Unread,
    /// `nodes remove` took it out, and the running miner has not read that it is listed again.
    Relisted,
}

impl Kept {
    pub(super) const ALL: [Self; 4] = [Self::Configured, Self::Ahead, Self::Unread, Self::Relisted];

    /// Whether the node is out now.
    pub(super) const fn is_out(self) -> bool {
        match self {
            Self::Configured | Self::Unread | Self::Relisted => true,
            Self::Ahead => false,
        }
    }
}

/// `read`: what the running miner has read; none: no miner runs, and the next one reads what is there.
pub(super) fn kept(node: &NodeConfig, read: Option<Read>) -> Option<Kept> {
    match (node.maintenance, read) {
        (true, None | Some(Read { maintenance: true, .. } | Read { listed: false, .. })) => {
            Some(Kept::Configured)
        }
        (true, Some(_)) => Some(Kept::Ahead),
        (false, Some(Read { listed: false, .. })) => Some(Kept::Relisted),
        (false, Some(Read { maintenance: true, .. })) => Some(Kept::Unread),
        (false, None | Some(_)) => None,
    }
}

/// The orders in force. Where a miner runs and may have read these nodes' configuration a moment ago, it is given the time to note that.
pub(super) async fn orders_after_reading(
    store: &MinerDatabase,
    nodes: &[&NodeConfig],
    running: bool,
) -> anyhow::Result<Orders> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    loop {
        let orders = store.orders().await?;
        let is_read = |node: &&NodeConfig| {
            Read::of(node, &orders) == Read { maintenance: node.maintenance, listed: true }
        };
        let is_late = clock.monotonic().saturating_sub(began) >= NOTING.as_duration();
        if !running || is_late || nodes.iter().all(is_read) {
            return Ok(orders);
        }
        clock.sleep(LOOK_EVERY).await;
    }
}
