//! Canonical bytes: everything that is signed or hashed between the parties.
//!
//! One place decides which bytes a signature covers, so that two implementations can disagree about code but not
//! about bytes; golden vectors in `vectors/` freeze them. Four kinds of signed bytes exist: the textual payloads
//! of the seeds' miner protocol and their second versions ([`discovery`], RULES R6), signed HTTP requests ([`btauth`]),
//! SCALE values in a [`Signed`] envelope with a domain tag ([`envelope`], RULES R20), and extrinsics, which belong to the
//! chain adapter. Knows nothing of protobuf, JSON or transport.

pub mod btauth;
pub mod discovery;
pub mod envelope;
mod sr25519;

pub use envelope::{Domain, EnvelopeError, MAX_ENVELOPE, Signed};
pub use sr25519::{Keypair, KeypairError, SIGNING_CONTEXT, Signature, SignatureError};
