//! The client against the real development chain, `basilica-devchain`, as a process of its own.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod answers;
mod collateral;
mod committing;
mod deadlines;
mod devchain;
mod endpoints;
mod failover;
mod fallbacks;
mod faults;
mod following;
mod pool;
mod profiles;
mod proxy;
mod raw;
mod reading;
mod registering;
mod reorganisations;
mod serving;
mod sharing;
mod upgrades;
mod weights;
