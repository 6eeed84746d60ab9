//! Tests against real servers. One binary: linking is what integration tests cost most.

mod api;
mod chain_bytes;
mod clients;
mod doctor;
mod localnet;
mod manual;
mod miner;
mod nodes;
mod onboarding;
mod peers;
mod sdk;
mod shown;
mod ssh;
mod ssh_faults;
mod ssh_node;
mod timelock;
mod watching;
mod weights;
