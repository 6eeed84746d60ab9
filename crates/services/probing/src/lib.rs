//! Probing one node over a shell: the commands, the talk with the prover, the transfer, the port that answers from outside.
//!
//! A validator does this to strangers' nodes, and a miner's doctor to its own, so that the doctor finds what a validator will
//! find: there is one implementation, and neither has a say in it but through [`Probing`]. What is decided from the answers is pure
//! (`basilica_verification`); who may be asked, when, and on which connection is the caller's.
//!
//! Rejected: a doctor with commands of its own. It agrees with validators on the day on which it is written.

mod beacon;
mod breaks;
mod commands;
mod line;
mod open_proof;
mod prove_node;
mod prover;
mod reach_node;
mod room;
#[cfg(test)]
mod scripted;
mod settings;
mod transfer;

use basilica_ports::{Clock, Entropy, NodeShell};

pub use beacon::{BeaconSource, Beacons, Drawn};
pub use breaks::{command_break, connect_break};
pub use commands::{GATE_CLOSED, look};
pub use line::{Line, Pulled};
pub use prove_node::{Company, Proof, TooLate};
pub use prover::ProverFile;
pub use reach_node::DRAWS;
pub use room::Room;
pub use settings::ProbingSettings;

/// What probing works with. Borrowed: connections, sessions and places belong to the caller.
#[derive(Clone, Copy)]
pub struct Probing<'a> {
    /// Time.
    pub clock: &'a dyn Clock,
    /// Randomness of challenges, ports and nonces.
    pub entropy: &'a dyn Entropy,
    /// Asks ports from outside.
    pub nodes: &'a dyn NodeShell,
    /// Public randomness.
    pub beacons: &'a dyn BeaconSource,
    /// The program that proves.
    pub prover: &'a ProverFile,
    /// Deadlines and sizes.
    pub settings: &'a ProbingSettings,
    /// What all probes of this process share.
    pub room: &'a Room,
}

impl std::fmt::Debug for Probing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probing")
            .field("prover", self.prover)
            .field("settings", self.settings)
            .finish_non_exhaustive()
    }
}
