//! The real validator before a whole subnet's nodes, on one machine, and what it made of them.
//!
//! The validator, a miner and the chain are the programs that ship (the chain: the development chain). Some nodes are real OpenSSH servers
//! of that miner, which deploys the validator's key on them; the others are SSH servers of this process (`SshNode`), listed by a second miner
//! that is simulated. Of those some accept connections and never speak, some take half of the time that they may take, and some answer with
//! bytes that mean nothing. A third miner lists some of the honest ones as its own, under a name that lets nobody in: what it has the
//! validator do there are failed logins, which those servers hold against the validator's address as OpenSSH since 9.8 does.
//!
//! **Where the full results come from.** A light check compares with the last full result, and a thousand proofs are more than
//! one machine's CPU does in a day's run. So a few real nodes prove their simulated GPU to the validator with the real prover before the first round; the
//! result of every other node is written into the validator's database through its store, as a verdict signed with
//! the validator's key: what a database looks like from which a validator is started again. The light checks are all real.
//!
//! **A round** is one light check of every node. The first is due for all at one moment, when no connection is open yet; it
//! ends with the last node's finding, read from the validator's log: a verdict, or a failed try that is put down to be
//! repeated. Later ones are due an interval after each node's own last one; there the time from due to finding counts.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod events;
mod miner;
mod nodes;
mod operator;
mod plan;
mod report;
mod run;
mod seed;
mod validator;

pub use plan::Plan;
pub use report::{Kind, Report};
pub use run::run;
