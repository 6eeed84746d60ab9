//! From check history to bans, uptime ramp, score and the exact weight vector (decisions D6 and D8, RULES R1–R5).
//!
//! Promises: integers only, no clock, no randomness, no order dependence beyond time; the same history gives the same
//! standing on every machine, so anybody with the verdicts can recompute a weight. A [`history::Standing`] is a
//! fold over what happened to a node and to the GPUs that it proved, never a counter that somebody must remember to reset: the original kept such
//! counters, and its uptime never reset because one query missed the failed rows. [`weights`] turns scores into the
//! vector that is submitted and predicts what the chain will store.
//!
//! **Invariant:** no floats, no hashing collections, no I/O.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

pub mod history;
pub mod weights;
