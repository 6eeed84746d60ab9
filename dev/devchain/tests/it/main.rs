//! The real binary, spoken to as its clients do: JSON-RPC over WebSocket and HTTP, signed extrinsics, kill -9.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod command_line;
mod commit_reveal;
mod controls;
mod documentation;
mod economy;
mod extrinsics;
mod faults;
mod finney;
mod finney_changes;
mod hostile;
mod methods;
mod profile;
mod properties;
mod raw;
mod restart;
mod rpc;
mod shape;
mod support;
mod vocabulary;
