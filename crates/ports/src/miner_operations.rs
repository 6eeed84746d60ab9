//! What operators order while a miner runs, and what of it must not be forgotten.

use std::collections::BTreeMap;

use async_trait::async_trait;
use basilica_types::{HostKey, NodeAddress, NodeId, Timestamp};

use crate::StoreError;

/// Counts the changes made from a command line. Equal: nothing was ordered in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub i64);

/// A time during which a node was taken out by its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceWindow {
    /// Its first moment.
    pub began_at: Timestamp,
    /// The moment after its last; none while it lasts.
    pub ended_at: Option<Timestamp>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

impl MaintenanceWindow {
    /// The reason of a window that stands for a node's removal; it is over once the node is listed again.
    pub const REMOVED: &str = "removed by `nodes remove`";
    /// The reason of a window that stands for the configuration's word; it is over once the node is listed without it.
    pub const CONFIGURED: &str = "`maintenance = true` in the configuration";
}

/// What an order to take a node out did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The window began.
    Began(MaintenanceWindow),
    /// One was open already and goes on, unchanged.
    Already(MaintenanceWindow),
}

impl Drained {
    /// The window that is open now.
    pub const fn window(&self) -> &MaintenanceWindow {
        match self {
            Self::Began(window) | Self::Already(window) => window,
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
    /// Nodes in maintenance, with the open window.
    pub maintenance: BTreeMap<NodeId, MaintenanceWindow>,
    /// Nodes held.
    pub holds: BTreeMap<NodeId, NodeHold>,
}

/// The part of a miner's memory that operators write and a running miner follows. Every method is one transaction,
/// durable when it returns; all that change an order raise the revision.
#[async_trait]
pub trait MinerOperations: Send + Sync + 'static {
    /// The newest change. One cheap read.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// Everything in force, as of one moment.
    async fn orders(&self) -> Result<Orders, StoreError>;

    /// Takes a node out. Once this is stored, [`crate::MinerStore::record_deployments`] takes nothing for the node, so a node
    /// without deployments is clean and stays so.
    async fn begin_maintenance(
        &self,
        node: NodeId,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Drained, StoreError>;

    /// Takes a node back; the window that ended, or none if none was open.
    async fn end_maintenance(
        &self,
        node: NodeId,
        now: Timestamp,
    ) -> Result<Option<MaintenanceWindow>, StoreError>;

    /// The windows of all nodes that are remembered and last beyond `since`, oldest first.
    async fn maintenance(
        &self,
        since: Timestamp,
    ) -> Result<BTreeMap<NodeId, Vec<MaintenanceWindow>>, StoreError>;

    /// Keeps a node out until [`Self::release_node`]. One that is held already stays as it is. The revision that this raised.
    async fn hold_node(&self, node: NodeId, hold: &NodeHold) -> Result<Revision, StoreError>;

    /// Takes a held node back; what held it, or none.
    async fn release_node(&self, node: NodeId) -> Result<Option<NodeHold>, StoreError>;

    /// Remembers nodes that are looked after from now on, replacing what was known of them. A node that was removed
    /// ([`MaintenanceWindow::REMOVED`]) is so no longer; one that its operator took out stays out.
    async fn remember_nodes(&self, nodes: &[KnownNode], now: Timestamp) -> Result<(), StoreError>;

    /// Every node remembered, by address.
    async fn known_nodes(&self) -> Result<Vec<KnownNode>, StoreError>;

    /// When the last key that the node may carry ends, whoever ended its session before; none where it carries none, nor anything
    /// that runs with one.
    async fn deployed_until(&self, node: NodeId) -> Result<Option<Timestamp>, StoreError>;

    /// Forgets a node that was left, with its deployments; its host key and maintenance stay known, in case it comes back.
    async fn forget_node(&self, node: NodeId) -> Result<(), StoreError>;
}
