//! The cheater zoo: every known way to cheat the GPU proof, against the real verifier and the real decisions.
//!
//! What it promises: each adversary of the attack catalogue sends real bytes to [`basilica_proof::Verifier`]
//! ([`exhibits`]), and what follows from the verifier's answer is decided by the product's own code: the check's state
//! machine, the retries, the cut-off openings, the sequential test over deadlines, the fleet epoch, the count of cards
//! ([`day`]). Only times are modelled, because there is no GPU here; the model stands in one file with a source for each
//! number ([`timing_model`]), and a verdict that does not hold over its whole range is `open` (RULES R19). The scorecard
//! ([`scorecard`]) says of each adversary how probably a simulated day finds it, by which reason, and how fast; or why it is
//! open and what that costs the cheater.
//!
//! Rejected: a second verifier for simulations (it would agree with itself), and verdicts by hand.

pub mod adversary;
pub mod catalogue;
pub mod day;
pub mod exhibits;
mod forger;
pub mod honest;
pub mod open;
pub mod plays;
pub mod scorecard;
pub mod timing_model;
pub mod tries;

pub use basilica_odds::{chance, stats};
