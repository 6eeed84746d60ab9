//! Tests against real servers. One binary: linking is what integration tests cost most.

mod miner;
mod nodes;
mod ssh;
mod ssh_faults;
