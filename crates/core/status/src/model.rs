//! The snapshot.

use std::net::SocketAddr;

use basilica_types::{BlockNumber, Hotkey, Millis, NetUid, Network, Ppm, Rao, SessionId, Timestamp, Uid};
use serde::{Deserialize, Serialize};

use crate::{Alert, LittleRoom, NodeState, NodeStatus, Share, ValidatorStatus, Words};

/// Number of the JSON's form: grows when a field changes its meaning or goes. Fields may be added.
pub const FORM: u32 = 1;

/// A running miner at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinerStatus {
    /// [`FORM`] of who wrote it.
    pub form: u32,
    /// When.
    pub at: Timestamp,
    /// Who it is.
    pub miner: MinerPart,
    /// What it knows of the chain.
    pub chain: Chain,
    /// Who gets the nodes.
    pub assignment: Assignment,
    /// What it does.
    pub activity: Activity,
    /// In order of the configuration.
    pub nodes: Vec<NodeStatus>,
    /// Open access windows that deploy a key, the oldest first.
    pub sessions: Vec<SessionStatus>,
    /// Who is asked about the nodes.
    pub validators: Vec<ValidatorStatus>,
    /// The worst first.
    pub alerts: Vec<Alert>,
}

/// The miner itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinerPart {
    /// Its identity.
    pub hotkey: Hotkey,
    /// Of the program.
    pub version: String,
    /// When the process began.
    pub started: Timestamp,
    /// Which chain.
    pub network: Network,
    /// Which subnet.
    pub netuid: NetUid,
    /// Its place on it.
    pub registration: Registration,
    /// Where validators find it.
    pub axon: Axon,
    /// What must hold for it to be ready.
    pub conditions: Vec<Condition>,
    /// What its database said when it failed last; none while it works.
    pub database_error: Option<Words>,
    /// Whether that is about its disk, which is full.
    #[serde(default)]
    pub is_database_full: bool,
    /// Disks of what it keeps that are nearly full.
    #[serde(default)]
    pub little_room: Vec<LittleRoom>,
    /// Why the configuration was not taken up when it was to be read again; none where it was.
    #[serde(default)]
    pub reload_error: Option<Words>,
    /// What it gets, by the weights on chain.
    pub share: Option<Share>,
}

/// Whether the hotkey has a place on the subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Registration {
    /// The chain has not answered yet.
    Unknown,
    /// It has none.
    Absent,
    /// It has.
    Registered {
        /// This one.
        uid: Uid,
    },
}

/// Where the miner is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axon {
    /// What it publishes; none: nothing.
    pub configured: Option<SocketAddr>,
    /// What the chain says.
    pub on_chain: Option<SocketAddr>,
}

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// Why it does not hold; none: it holds.
    pub problem: Option<Words>,
}

/// What the miner knows of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Block of the metagraph; none: never read.
    pub block: Option<BlockNumber>,
    /// When it was read.
    pub read: Option<Timestamp>,
    /// This host's clock minus the block's time then, in milliseconds; a few blocks when all is well.
    pub clock_ahead_ms: Option<i64>,
}

/// Who gets the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The operator's choice.
    pub strategy: String,
    /// Those who have any; empty: nobody, or the chain has not answered yet.
    pub validators: Vec<Assigned>,
}

/// A validator that has nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Its identity.
    pub hotkey: Hotkey,
    /// Its place on the subnet.
    pub uid: Option<Uid>,
    /// Its stake.
    pub stake: Option<Rao>,
    /// How many.
    pub nodes: u32,
}

/// What happened in the last hour, or since the start if that is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// So long.
    pub window: Millis,
    /// Requests for a session.
    pub logins: u64,
    /// Of these, granted.
    pub logins_granted: u64,
    /// Rounds on nodes.
    pub rounds: u64,
    /// Of these, failed.
    pub rounds_failed: u64,
    /// Discoveries that a validator with nodes here signed.
    #[serde(default)]
    pub discoveries: u64,
    /// Of these, refused.
    #[serde(default)]
    pub discoveries_refused: u64,
    /// When a validator was let in last, since the start.
    pub validator_seen: Option<Timestamp>,
}

impl Activity {
    /// Granted of asked; none if nobody asked.
    pub fn login_rate(&self) -> Option<Ppm> {
        ratio(self.logins_granted, self.logins)
    }

    /// Rounds that succeeded of all; none if there was none.
    pub fn round_rate(&self) -> Option<Ppm> {
        ratio(self.rounds.saturating_sub(self.rounds_failed), self.rounds)
    }
}

fn ratio(part: u64, whole: u64) -> Option<Ppm> {
    let ppm = u128::from(part).saturating_mul(1_000_000).checked_div(u128::from(whole))?;
    Some(u32::try_from(ppm).ok().and_then(|ppm| Ppm::new(ppm).ok()).unwrap_or(Ppm::ONE))
}

/// An open access window of a validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Names it in logs and on nodes.
    pub id: SessionId,
    /// Whose it is.
    pub validator: Hotkey,
    /// When it was opened.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Nodes that were seen to carry its key.
    pub nodes: u32,
}

impl MinerStatus {
    /// How many nodes are in a state.
    pub fn count(&self, state: NodeState) -> usize {
        self.nodes.iter().filter(|node| node.state == state).count()
    }

    /// Since when the process runs.
    pub fn uptime(&self) -> Millis {
        self.at.since(self.miner.started)
    }

    /// Whether every condition of readiness holds.
    pub fn is_ready(&self) -> bool {
        self.miner.conditions.iter().all(|condition| condition.problem.is_none())
    }
}
