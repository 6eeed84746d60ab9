//! Fixtures for tests: real OpenSSH servers, development chains, and servers that misbehave.
//!
//! A fixture that cannot be had panics with the reason and the command that installs what is missing: a test that cannot
//! run is red. Nothing is mocked: what a test sees, a miner or validator sees. Everything that a fixture starts ends with it.

mod address;
mod devchain;
mod eventually;
mod hostile;
mod localnet;
mod miner;
mod nodes;
mod ssh_node;
mod terminal;
mod unread;
mod validator;

pub use address::free_address;
pub use devchain::{Devchain, Relay, hotkey, keypair};
pub use eventually::{eventually, eventually_async, holds_within};
pub use hostile::{HostileServer, black_hole_server, flooding_server, garbage_server, locked_out_server};
pub use localnet::{Localnet, built};
pub use miner::{miner_node, miner_sections};
pub use nodes::Nodes;
pub use ssh_node::{Manner, Met, SshNode};
pub use terminal::{INTERRUPT, at_a_terminal, without_terminal};
pub use unread::spawn_unread;
pub use validator::{write_validator, write_wallet};
