//! The whole network on one machine.
//!
//! Brings up what a real subnet has, with the real programs: a chain with a subnet, GPU nodes behind real OpenSSH
//! servers, miners with wallets and axons, a validator that verifies and sets weights. Everything listens on
//! addresses of this machine only, everything ends with the process that started it, and no program knows that it is
//! part of a localnet: waiting times are short by configuration alone. The nodes are also the testkit's fixture.
//!
//! **How processes end with us.** `setpriv --pdeathsig` ties each to the thread that started it, so [`up()`] wants a
//! single-threaded runtime. Rejected: a supervisor that restarts what dies (a localnet is where one kills a process to
//! see what happens; `localnet start NAME` brings it back), and pid files (they lie after a crash; a socket does not).

pub mod control;
pub mod nodes;

mod accounts;
mod addresses;
mod cheat;
mod configs;
mod http;
mod network;
mod operator;
mod programs;
mod progress;
mod report;
mod service;
mod settings;
mod specs;
mod table;
mod up;
mod validator;
mod view;

pub use cheat::Cheat;
pub use http::{get_file, get_json};
pub use programs::Programs;
pub use report::{Node, Process, Report, WeightRow};
pub use settings::{BURN_UID, Gpus, Layout, NETUID, Ports, Settings};
pub use table::{Colour, render};
pub use up::up;
