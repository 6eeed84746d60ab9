//! When and how weights reach the chain.
//!
//! Promises: everything that bears on a decision comes in as a value read at one block ([`WeightRules`]); the answer is a
//! value too, with the reason in words. No clock, no randomness, no I/O, so that the service, the chain client and ten
//! thousand simulated runs decide alike.
//!
//! **Invariant:** integers only; every arithmetic step is checked or saturating, since the numbers come from outside.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

mod beacon;
mod epoch;
mod order;
mod plan;
mod preflight;
mod rules;
mod window;

pub use beacon::{Beacon, BeaconClock};
pub use order::{Salt, WeightsCall, WeightsOrder};
pub use plan::{CommitChoice, Follow, Opening, Policy, Wait, Waiting, next_window};
pub use preflight::{Cure, Rule};
pub use rules::{CommitReveal, Consensus, EpochClock, OpenCommit, OpenCommitForm, OwnNeuron, WeightRules};
pub use window::{Expiry, Lost, WindowEnd, WindowForm, WindowState};
