//! gRPC faces of the miner protocol.
//!
//! [`MinerListener`] serves a [`basilica_ports::MinerApi`], [`GrpcMinerDialer`] reaches one. Both translate between the
//! messages of `proto/` and the types of `basilica-wire`, and nothing else: whom to believe is decided behind the port.
//!
//! **Invariant:** no other crate sees a prost or tonic type.
//!
//! Every field from outside is parsed into a domain type here or refused by name; sizes, counts and times are bounded on
//! both sides, because either side may be hostile.

mod brief;
mod client;
mod codec;
mod connections;
mod convert;
mod limit;
mod peer;
mod protocol;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod tls;

pub use brief::BriefLimits;
pub use client::{ClientLimits, GrpcMinerDialer};
pub use convert::FieldError;
pub use limit::PeerRate;
pub use peer::Transport;
pub use server::{MinerListener, ServeError, ServerLimits};
pub use tls::{SelfSigned, SelfSignedError, ServerTls, TlsError, Validity, self_signed};
