//! Whether the world can reach a port of the node, as renters must.
//!
//! A helper on the node listens on a port that the validator drew, and answers whoever asks with a question that only the validator
//! knows. The validator connects from outside, to the address that the node was registered under. So neither a scanner nor a
//! middlebox that accepts every connection passes for the node.

use codec::{Decode, Encode};
use serde::Serialize;

use crate::Reason;

/// What became of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Reach {
    /// The port, drawn by the validator.
    pub port: u16,
    /// What it did.
    pub end: ReachEnd,
}

/// How it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReachEnd {
    /// With the answer that only the helper knew.
    #[codec(index = 0)]
    Answered,
    /// It refused the connection.
    #[codec(index = 1)]
    Refused,
    /// Not within the deadline.
    #[codec(index = 2)]
    Silent,
    /// With something else: another program answers there.
    #[codec(index = 3)]
    Wrong,
}

impl Reach {
    /// Why it fails its node, if it does.
    pub const fn failure(self) -> Option<Reason> {
        match self.end {
            ReachEnd::Answered => None,
            ReachEnd::Refused | ReachEnd::Silent | ReachEnd::Wrong => Some(Reason::PortUnreachable),
        }
    }
}
