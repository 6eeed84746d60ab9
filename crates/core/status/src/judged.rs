//! What validators think of this miner, as they tell it themselves.

use basilica_types::{BasisPoints, BlockNumber, Digest, Hotkey, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Words;

/// A validator that is asked about this miner's nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorStatus {
    /// Its identity.
    pub hotkey: Hotkey,
    /// Where its API is asked; none: nobody knows where it has one.
    pub place: Option<Words>,
    /// It is the one to which the nodes are assigned.
    pub assigned: bool,
    /// When it was asked last.
    pub asked: Option<Timestamp>,
    /// When it answered last.
    pub answered: Option<Timestamp>,
    /// Why it did not, the last time.
    pub error: Option<Words>,
}

/// What one validator thinks of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Who.
    pub validator: Hotkey,
    /// Of which moment this is.
    pub at: Timestamp,
    /// As what it has the node listed: `available`, `unreachable`, `maintenance`, `key_pending` or `gone`.
    pub listed: Words,
    /// Why the score is what it is: `ok`, or what keeps it at zero; none before the first scoring.
    pub gate: Option<Words>,
    /// The same in words.
    pub gate_explanation: Option<Words>,
    /// Of the node.
    pub score: Option<BasisPoints>,
    /// How far the uptime ramp is.
    pub ramp: Option<Ppm>,
    /// End of the running ban.
    pub banned_until: Option<Timestamp>,
    /// When it is checked next.
    pub next_check: Option<Timestamp>,
    /// The newest verdict.
    pub last: Option<LastVerdict>,
    /// The newest verdict of a full check: what the score goes by.
    pub last_full: Option<LastVerdict>,
}

/// A verdict whose signature was checked here: it is the validator's own, and about this node of this miner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastVerdict {
    /// Names the signed file.
    pub digest: Digest,
    /// A full check; else a light one.
    pub full: bool,
    /// When it was concluded.
    pub finished: Timestamp,
    /// Whether the node passed.
    pub passed: bool,
    /// From the list of reasons; `passed` if it passed.
    pub reason: Words,
    /// The same in words.
    pub explanation: Words,
    /// Whose fault: `node`, `node_suspected`, `network`, `validator` or `unknown`; none if it passed.
    pub fault: Option<Words>,
    /// GPUs that it stands for.
    pub gpus: u16,
}

/// What part of the subnet's emission for miners goes to this miner, by the weights on chain: an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Weights of the validators, by their stake.
    pub share: Ppm,
    /// Of how many validators.
    pub validators: u16,
    /// At which block.
    pub block: BlockNumber,
}
