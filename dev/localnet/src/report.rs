//! What a person wants to know of a running localnet, as data: printed as a table, sent as JSON.

use serde::{Deserialize, Serialize};

use crate::cheat::Cheat;

/// The whole localnet at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Where the chain listens.
    pub chain_url: String,
    /// Newest finalised block; absent while the chain does not answer.
    pub block: Option<u64>,
    /// Every process.
    pub processes: Vec<Process>,
    /// Every node.
    pub nodes: Vec<Node>,
    /// Every uid that has a weight, computed or stored.
    pub weights: Vec<WeightRow>,
    /// None once all nodes are judged, every cheater is caught and the chain stores what was computed; else what is missing.
    pub waiting_for: Option<String>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// For `localnet logs NAME` and `localnet start NAME`.
    pub name: String,
    /// While it runs.
    pub pid: Option<u32>,
    /// `running`, or how it ended.
    pub state: String,
    /// Where it listens for people, if it does.
    pub address: Option<String>,
}

/// One node as the validator judges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its host name.
    pub name: String,
    /// Its miner's process.
    pub miner: String,
    /// How its owner cheats; absent for an honest one.
    pub cheat: Option<Cheat>,
    /// `user@host:port`.
    pub address: String,
    /// `passed`, `failed`, or `waiting` before the first verdict.
    pub verdict: String,
    /// Code of the reason.
    pub reason: String,
    /// Score in basis points.
    pub score: Option<u16>,
    /// Uptime multiplier in millionths.
    pub multiplier: Option<u32>,
}

/// One entry of the weight vector, from computation to chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightRow {
    /// Slot in the subnet.
    pub uid: u16,
    /// Who that is here: a process, or `burn`.
    pub who: String,
    /// As submitted with the last window that was set; absent while the validator does not tell.
    pub submitted: Option<u16>,
    /// The chain's upscaling of it (RULES R5).
    pub expected: Option<u16>,
    /// Read back from the chain; absent before the first weights.
    pub on_chain: Option<u16>,
}

impl Report {
    /// Whether the validator refuses a node of this cheater, for the reason that it must, and scores it zero. One GPU of two nodes stays with the
    /// one that proved it first: a claim never transfers a fault (RULES R10), so only the other is refused.
    pub fn is_caught(&self, cheat: Cheat) -> bool {
        self.nodes.iter().any(|node| {
            let refused = node.verdict == "failed" && node.reason == cheat.reason();
            node.cheat == Some(cheat) && refused && node.score == Some(0)
        })
    }

    /// Whether what the chain stores is the upscaling of what was submitted, and something was.
    pub fn weights_match(&self) -> bool {
        !self.weights.is_empty()
            && self.weights.iter().all(|row| row.expected.is_some() && row.on_chain == row.expected)
    }
}
