//! Two validators on one Postgres: faults, and whether what they did is one history.
//!
//! Everything is real: the validators' program, Postgres, the development chain. Each validator reaches Postgres through a relay of its own
//! that can hold back what passes (`relay`), or lives in a network namespace of its own whose cable can be cut, so that what is
//! sent is lost without a word (`link`). The database itself keeps the history: triggers record every committed
//! write with the token that was current and the process that made it; each validator's log tells which verdicts it took for
//! stored. [`history`] then checks both against each other and against the chain:
//!
//! - tokens only grow, and each is one process's; no write follows one under a newer token;
//! - every verdict that a process took for stored is there, and each node's verdicts are one chain without a fork;
//! - every call of the hotkey on chain is one that a window holds, each at most once.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod cluster;
pub mod history;
mod link;
mod member;
mod observer;
mod relay;
mod seed;

pub use cluster::{Cluster, Fault};
pub use history::Record;
