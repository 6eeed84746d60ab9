//! The miner: authenticates validators, deploys their keys, reports its nodes.
//!
//! It promises a validator that whoever is granted a session holds the hotkey it names, that the key which lands on the
//! nodes is the one that this hotkey signed, and that the answer is the miner's own; and it promises the operator that
//! no line of theirs on a node is touched, that every key of a validator ends with its session (on the node itself, even
//! if the miner dies), and that a dead node never hides the others.
//!
//! Requests ([`basilica_ports::MinerApi`]) are decided in `gate`, keys are placed by one keeper per node that reconciles,
//! the subnet is followed beside them. [`authorized_keys`] is pure and holds the rules about other people's lines,
//! [`assignment`] is pure too and says whose the nodes are.

pub mod assignment;
pub mod authorized_keys;
pub mod config;
pub mod health;
mod housekeeping;
pub mod maintenance;
pub mod onboarding;
pub mod operator_key;
pub mod rotation;
pub mod whereabouts;

mod access;
mod axon;
mod discovery;
mod disk_watch;
mod fleet;
mod gate;
mod key_editor;
#[cfg(test)]
mod local_shell;
mod log_budget;
mod metrics;
mod node;
mod orders;
mod service;
mod status;
mod subnet;
mod telemetry;
mod verdicts;
mod view;

pub use access::{AccessError, NodeAccess};
pub use disk_watch::little_room;
pub use fleet::Fleet;
pub use key_editor::KeyEditError;
pub use service::{Miner, MinerPorts};
pub use status::{ReloadTrouble, StatusView};
pub use view::{NodeFailure, NodeView};

/// What only the fuzzer needs to see.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::telemetry::gpus;
}
