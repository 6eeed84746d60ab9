//! The Bittensor chain behind [`basilica_ports::Chain`].
//!
//! Promises: everything is found by name in the metadata of the block that is asked (decision D2), so a runtime
//! upgrade needs neither a new build nor a restart, and an item that is gone or has become something else is
//! [`ChainError::Unsupported`] with its name. Nothing connects before the first call, so a chain that is down at
//! start is a retry. Every call has a deadline; an endpoint that breaks or hangs is left for the next one, with
//! jittered, capped backoff once all of them failed. At most one metagraph is fetched at a time.
//!
//! Weights are signed once and submitted as often as it takes (RULES R28): `preflight` says which rule of the chain a
//! call would break, `signing` builds the bytes, `inclusion` sees them to their end and never builds others.
//!
//! Invariant: this is the only crate that sees subxt, and subxt is in no public type of it.
//! Rejected: generated code (every upgrade that touches an item breaks the binary), the chainHead RPC methods (public
//! endpoints lack them or limit them), and subxt's own watch of a submitted transaction (it ends with the connection,
//! and the chain itself is the better witness).

mod axon;
mod breaker;
mod certificate;
mod commits;
mod connection;
mod deadline;
mod dial;
mod dispatch;
mod endpoints;
mod era;
mod flight;
mod hyperparameters;
mod identity;
mod inclusion;
mod item;
mod link;
mod metagraph;
mod options;
mod pool;
mod reads;
mod refusal;
mod registration;
mod serving;
mod signing;
mod subtensor;
mod weight_rules;

pub use options::{ChainOptions, OptionsError};
pub use pool::{EndpointReport, EndpointState};
pub use subtensor::SubtensorChain;

#[cfg(doc)]
use basilica_ports::ChainError;

// The fixture of the integration tests, which names this crate from outside.
#[cfg(test)]
extern crate self as basilica_chain;
#[cfg(test)]
#[path = "../tests/it/devchain.rs"]
#[expect(dead_code, reason = "not all of the fixture is used here")]
mod devchain;
