//! Tests against real servers. One binary: linking is what integration tests cost most.

mod api;
mod axon;
mod chain_bytes;
mod clients;
mod compose;
mod deployed;
mod doctor;
mod guides;
mod localnet;
mod manual;
mod miner;
mod miner_page;
mod nodes;
mod older;
mod onboarding;
mod peers;
mod printed;
mod quick_setup;
mod sdk;
mod shown;
mod ssh;
mod ssh_faults;
mod ssh_node;
mod timelock;
mod watching;
mod weights;
