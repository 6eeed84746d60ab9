//! A local development chain that the real Bittensor SDKs cannot tell from subtensor, for what validators and miners do.
//!
//! It is a FRAME runtime ([`runtime`]) run natively, without a node, peers or wasm: blocks are built in this process
//! ([`node`], [`executor`]) on an interval, per extrinsic or on demand, and Substrate's legacy JSON-RPC is served by hand
//! ([`rpc`]). Signatures, nonces, mortality, fees, events and dispatch errors are FRAME's own. What a developer wants to
//! happen to a client happens on order: blocks, time, forks, faults ([`faults`]) and runtime upgrades ([`upgrade`]).
//!
//! It promises that a client which works here works with the public chain in the shapes it uses; it does not promise the
//! public chain's economy (see [`runtime::subtensor`] for what is left out). Clients know it by the constant
//! `BasilicaDevchain.Marker` ([`runtime::marker`]).
//!
//! Rejected: a real node binary (minutes to build, a wasm target, gigabytes) and a hand-made imitation without FRAME
//! (metadata, signatures and errors would be ours, and wrong in ways only a real client finds).

pub mod chain;
pub mod cli;
mod clock;
pub mod executor;
pub mod faults;
pub mod genesis;
pub mod node;
pub mod persist;
pub mod pool;
pub mod profile;
pub mod rpc;
pub mod runtime;
pub mod upgrade;
pub mod yuma;
