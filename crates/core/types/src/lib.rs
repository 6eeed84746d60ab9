//! Identifiers, units and addresses of the domain: parse, display, nothing else; and how every layer writes an error with its causes.
//!
//! Every value that crosses a boundary of the network becomes one of these types once, at the edge, and is
//! valid from then on. A type here knows its own textual form (`FromStr` and `Display` round-trip, and serde
//! uses the same text) and its own arithmetic; it knows nothing of JSON schemas, databases, chains or SSH.
//! Rejected: plain `String` ids (a node id and a hotkey then compile in each other's place) and floats for
//! amounts (they may not enter anything hashed, signed, paid or scored).

mod account;
mod argv;
mod chain;
mod database;
mod digest;
mod error_chain;
mod gpu;
mod image;
mod kept;
mod network;
mod node;
mod region;
mod session;
mod ssh_key;
mod subscriber;
mod text;
mod units;
mod wallet;

pub use account::{Coldkey, Hotkey, Ss58Error};
pub use argv::{Argv, ArgvError, quoted};
pub use chain::{BlockHash, BlockNumber, MechanismId, NetUid, Rao, Uid, Weight};
pub use database::{DatabasePath, DatabaseUrl, DatabaseUrlError, PostgresUrl};
pub use digest::{Digest, DigestError};
pub use error_chain::ErrorChain;
pub use gpu::{Category, GpuUuid, GpuUuidError};
pub use image::{ImageName, ImageNameError, ImagePlace};
pub use kept::Kept;
pub use network::{ChainUrl, ChainUrlError, Network};
pub use node::{Host, NodeAddress, NodeAddressError, NodeId, NodeIdError, NodeKey, Username};
pub use region::{Region, RegionError};
pub use session::{FencingToken, RequestNonce, SessionId, SessionToken, SessionValueError};
pub use ssh_key::{HostKey, SshKeyError, SshPublicKey};
pub use subscriber::subscriber;
pub use units::{BasisPoints, Bytes, Millis, Ppm, Timestamp, UnitError, UsdMicros};
pub use wallet::{WalletName, WalletNameError};
