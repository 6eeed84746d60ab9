//! Tests against real servers. One binary: linking is what integration tests cost most.

mod localnet;
mod miner;
mod nodes;
mod sdk;
mod ssh;
mod ssh_faults;
mod timelock;
