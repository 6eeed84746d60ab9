//! What a keeper tells of its node: for discoveries, and for whoever looks at the miner.

use std::collections::BTreeMap;

use basilica_status::NodeState;
use basilica_types::{HostKey, Millis, NodeAddress, NodeId, SessionId, SshPublicKey, Timestamp};
use serde::Serialize;

use crate::health::Cause;

/// The last failure on a node, kept after it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeFailure {
    /// When.
    pub at: Timestamp,
    /// Of which kind.
    pub cause: Cause,
    /// In words, with all causes.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

/// A node as its keeper sees it. Serialises for people's eyes: times in milliseconds since 1970 UTC, spans in
/// milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeView {
    /// The node.
    pub node_id: NodeId,
    /// Where it is reached.
    pub address: NodeAddress,
    /// What it is to the miner.
    pub state: NodeState,
    /// Since when.
    pub since: Timestamp,
    /// Rounds that failed since the last one that did not.
    pub attempts: u32,
    /// When the last round ended; none before the first.
    pub checked_at: Option<Timestamp>,
    /// When a round ended last as it should.
    pub succeeded_at: Option<Timestamp>,
    /// Since when every round has logged in.
    pub reachable_since: Option<Timestamp>,
    /// How long the last successful round took.
    pub latency: Option<Millis>,
    /// The last failure, even if it is over.
    pub last_failure: Option<NodeFailure>,
    /// By which keys the node is known.
    pub host_keys: Vec<HostKey>,
    /// The keys of validators that were seen on it last; empty unless that was confirmed.
    pub keys: BTreeMap<SessionId, SshPublicKey>,
    /// Keys of another miner that were seen on it.
    pub foreign_keys: usize,
    /// Its operator took it out, by command or in the configuration.
    pub maintenance: bool,
    /// It is no longer configured; the miner only removes its keys.
    pub leaving: bool,
    /// Whether a round on it ever ended as it should.
    #[serde(skip)]
    pub(crate) was_well: bool,
    /// The newest nudge that a finished round had seen.
    #[serde(skip)]
    pub(crate) generation: u64,
    /// Whether the round now under way has logged in already.
    #[serde(skip)]
    pub(crate) connected: bool,
}

impl NodeView {
    /// Why the last round failed, if it did: a failure that is over is history.
    pub(crate) fn failure(&self) -> Option<&NodeFailure> {
        let is_now = |failure: &&NodeFailure| self.succeeded_at.is_none_or(|at| failure.at > at);
        self.last_failure.as_ref().filter(is_now)
    }

    pub(crate) const fn new(node_id: NodeId, address: NodeAddress, now: Timestamp) -> Self {
        Self {
            node_id,
            address,
            state: NodeState::Unknown,
            since: now,
            attempts: 0,
            checked_at: None,
            succeeded_at: None,
            reachable_since: None,
            latency: None,
            last_failure: None,
            host_keys: Vec::new(),
            keys: BTreeMap::new(),
            foreign_keys: 0,
            maintenance: false,
            leaving: false,
            was_well: false,
            generation: 0,
            connected: false,
        }
    }
}
