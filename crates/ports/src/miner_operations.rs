//! What operators order while a miner runs, and what of it must not be forgotten.

use std::collections::BTreeMap;

use async_trait::async_trait;
use basilica_types::{HostKey, NodeAddress, NodeId, Timestamp};

use crate::StoreError;

/// Counts the changes made from a command line. Equal: nothing was ordered in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub i64);

/// Whose order keeps a node out. Each takes back its own only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderedBy {
    /// A command, until another takes it back.
    Command,
    /// `maintenance = true` of the node, as the running miner has read it; over once the node is listed without it.
    Configuration,
    /// The node's removal; over once the node was left, or is listed again.
    Removal,
}

impl OrderedBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Command, Self::Configuration, Self::Removal];

    /// One word for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Configuration => "configuration",
            Self::Removal => "removal",
        }
    }
}

/// A time during which one order took a node out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceWindow {
    /// Its first moment.
    pub began_at: Timestamp,
    /// The moment after its last; none while it lasts.
    pub ended_at: Option<Timestamp>,
    /// Whose order it was.
    pub by: OrderedBy,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

impl MaintenanceWindow {
    /// Why the node is out, as people are told; none where a command gave no reason.
    pub fn why(&self) -> Option<&str> {
        match self.by {
            OrderedBy::Command => self.reason.as_deref(),
            OrderedBy::Configuration => Some("`maintenance = true` in the configuration"),
            OrderedBy::Removal => Some("removed from the configuration"),
        }
    }
}

/// The windows of one node that are open: at most one of each order.
pub type OpenWindows = BTreeMap<OrderedBy, MaintenanceWindow>;

/// What an order to take a node out did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The window began.
    Began(MaintenanceWindow),
    /// One of the same order was open already and goes on, unchanged.
    Already(MaintenanceWindow),
    /// One of the same order was open already and goes on, with this reason from now on.
    Reworded {
        /// With the new reason.
        window: MaintenanceWindow,
        /// The reason that it had.
        earlier: Option<String>,
    },
}

impl Drained {
    /// The window that is open now.
    pub const fn window(&self) -> &MaintenanceWindow {
        match self {
            Self::Began(window) | Self::Already(window) | Self::Reworded { window, .. } => window,
        }
    }
}

/// A node that stays out after a failure until its operator says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeHold {
    /// Since when.
    pub since: Timestamp,
    /// The failure.
    pub why: String,
}

/// A node that a miner looks after or has not finished leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNode {
    /// The node.
    pub node_id: NodeId,
    /// Where to log in.
    pub address: NodeAddress,
    /// The host key that the configuration named, if any.
    pub host_key: Option<HostKey>,
}

/// All orders in force at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The newest change that they contain.
    pub revision: Revision,
    /// Nodes in maintenance, each with at least one window.
    pub maintenance: BTreeMap<NodeId, OpenWindows>,
    /// Nodes held.
    pub holds: BTreeMap<NodeId, NodeHold>,
}

impl Orders {
    /// The open window of one order on a node.
    pub fn window(&self, node: NodeId, by: OrderedBy) -> Option<&MaintenanceWindow> {
        self.maintenance.get(&node)?.get(&by)
    }
}

/// The part of a miner's memory that operators write and a running miner follows. Every method is one transaction,
/// durable when it returns; all that change an order raise the revision.
#[async_trait]
pub trait MinerOperations: Send + Sync + 'static {
    /// The newest change. One cheap read.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// Everything in force, as of one moment.
    async fn orders(&self) -> Result<Orders, StoreError>;

    /// Takes a node out, beside what other orders say of it. One that is out by the same order stays so, with a reason that is given now in
    /// the place of its own. Once this is stored, [`crate::MinerStore::record_deployments`] takes
    /// nothing for the node, so a node without deployments is clean and stays so.
    async fn begin_maintenance(
        &self,
        node: NodeId,
        by: OrderedBy,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Drained, StoreError>;

    /// Takes one order back; its window that ended, or none if none was open. The node is in service when no order has it out.
    async fn end_maintenance(
        &self,
        node: NodeId,
        by: OrderedBy,
        now: Timestamp,
    ) -> Result<Option<MaintenanceWindow>, StoreError>;

    /// The windows of all nodes that are remembered and last beyond `since`, oldest first. Those of different orders may overlap.
    async fn maintenance(
        &self,
        since: Timestamp,
    ) -> Result<BTreeMap<NodeId, Vec<MaintenanceWindow>>, StoreError>;

    /// Keeps a node out until [`Self::release_node`]. One that is held already stays as it is. The revision that this raised.
    async fn hold_node(&self, node: NodeId, hold: &NodeHold) -> Result<Revision, StoreError>;

    /// Takes a held node back; what held it, or none.
    async fn release_node(&self, node: NodeId) -> Result<Option<NodeHold>, StoreError>;

    /// Remembers nodes that are looked after from now on, replacing what was known of them. A node that was removed
    /// ([`OrderedBy::Removal`]) is so no longer; other orders stay in force, and the maintenance of one that was not known begins now.
    async fn remember_nodes(&self, nodes: &[KnownNode], now: Timestamp) -> Result<(), StoreError>;

    /// Every node remembered, by address.
    async fn known_nodes(&self) -> Result<Vec<KnownNode>, StoreError>;

    /// When the last key that the node may carry ends, whoever ended its session before; none where it carries none, nor anything
    /// that runs with one.
    async fn deployed_until(&self, node: NodeId) -> Result<Option<Timestamp>, StoreError>;

    /// Forgets a node that was left, with its deployments; its host key and maintenance stay known, in case it comes back. Its removal
    /// ([`OrderedBy::Removal`]) is over: validators do not see it any more. So is what maintenance it has had, though the orders stay in force.
    async fn forget_node(&self, node: NodeId, now: Timestamp) -> Result<(), StoreError>;
}
