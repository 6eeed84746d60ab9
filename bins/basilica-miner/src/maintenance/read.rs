//! What the configuration says of a node's maintenance, and what of it the running miner has read.
//!
//! A miner reads the file when it starts and at SIGHUP; until then it holds to what it read. It notes that in the database within a second:
//! the nodes that it looks after, and their maintenance as an order of its own beside those of commands. So it is seen here.

use std::collections::BTreeSet;

use basilica_miner_service::config::NodeConfig;
use basilica_ports::{Clock as _, MinerOperations as _, OrderedBy, Orders};
use basilica_store::MinerDatabase;
use basilica_system::SystemClock;
use basilica_types::{Millis, NodeId};

use super::LOOK_EVERY;

/// For so long a miner may take to note what it has read: a second, and the writing.
const NOTING: Millis = Millis(1_500);

/// The orders in force, and what the running miner, if any, has read.
#[derive(Default)]
pub(crate) struct InForce {
    pub(crate) orders: Orders,
    /// The nodes that it looks after; none: no miner runs.
    known: Option<BTreeSet<NodeId>>,
}

/// What the running miner has read of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// `maintenance = true`.
    pub(super) maintenance: bool,
    /// That it is in the list.
    pub(super) listed: bool,
}

impl InForce {
    /// What the running miner has read of the node; none: no miner runs, and the next one reads what is there.
    pub(super) fn read(&self, node: &NodeConfig) -> Option<Read> {
        let known = self.known.as_ref()?.contains(&node.id);
        let window = |by| self.orders.window(node.id, by).is_some();
        Some(Read {
            maintenance: window(OrderedBy::Configuration),
            // One that was removed, by a command or by hand, is still looked after until its keys are gone.
            listed: known && !window(OrderedBy::Removal),
        })
    }

    /// Whether the running miner has read of the node what is there.
    fn is_read(&self, node: &NodeConfig) -> bool {
        let there = Read { maintenance: node.maintenance, listed: true };
        self.read(node).is_none_or(|read| read == there)
    }

    pub(crate) fn kept(&self, node: &NodeConfig) -> Option<Kept> {
        kept(node.maintenance, self.read(node))
    }
}

/// Why a node is out, or will be, whatever commands say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// `maintenance = true` is in the configuration, also as the running miner knows it.
    Configured,
    /// It is there, and the running miner has not read it yet: the node is in service until then.
    Ahead,
    /// It was there when the running miner read the configuration last.
    Unread,
    /// It is listed, which the running miner has not read: it is new there, or was removed before.
    Unlisted,
}

impl Kept {
    pub(super) const ALL: [Self; 4] = [Self::Configured, Self::Ahead, Self::Unread, Self::Unlisted];

    /// Whether the node is out now.
    pub(super) const fn is_out(self) -> bool {
        match self {
            Self::Configured | Self::Unread | Self::Unlisted => true,
            Self::Ahead => false,
        }
    }
}

fn kept(configured: bool, read: Option<Read>) -> Option<Kept> {
    match (configured, read) {
        (_, Some(Read { listed: false, .. })) => Some(Kept::Unlisted),
        (true, None | Some(Read { maintenance: true, .. })) => Some(Kept::Configured),
        (true, Some(Read { maintenance: false, .. })) => Some(Kept::Ahead),
        (false, Some(Read { maintenance: true, .. })) => Some(Kept::Unread),
        (false, None | Some(Read { maintenance: false, .. })) => None,
    }
}

/// What is in force. Where a miner runs and may have read these nodes' configuration a moment ago, it is given the time to note that.
pub(crate) async fn in_force(
    store: &MinerDatabase,
    nodes: &[&NodeConfig],
    running: bool,
) -> anyhow::Result<InForce> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    loop {
        let known = match running {
            true => Some(store.known_nodes().await?.into_iter().map(|known| known.node_id).collect()),
            false => None,
        };
        let in_force = InForce { orders: store.orders().await?, known };
        let is_late = clock.monotonic().saturating_sub(began) >= NOTING.as_duration();
        if is_late || nodes.iter().all(|node| in_force.is_read(node)) {
            return Ok(in_force);
        }
        clock.sleep(LOOK_EVERY).await;
    }
}
