//! Timelock encryption to rounds of a drand beacon, and the payloads of committed weights.
//!
//! What is promised: a ciphertext made here opens on chain and in the public SDKs once the beacon has signed the round,
//! and the other way round; the commit hash is the one that the chain will check. The SDKs' own binary is the judge in
//! the test suite. Which round to encrypt to is not decided here: see `basilica-schedule`.
//!
//! The cryptography is the `timelock` crate's (Boneh-Franklin identity encryption over BLS12-381, AES-256-GCM for the
//! body). The bytes around it are ours, because that crate's own framing leaves out two lengths that the chain's has,
//! and because the decoder here must be total: whatever a stranger put on chain, [`decrypt`] answers with an error and
//! allocates no more than it was given.
//!
//! No I/O, no clock, no randomness of its own. The secret half of a beacon exists only under the feature `beacon`: a
//! product has no business signing rounds.

mod beacon;
mod cipher;
mod payload;

#[cfg(feature = "beacon")]
pub use beacon::BeaconSecret;
pub use beacon::{BeaconKey, Round, RoundSignature, verify};
pub use cipher::{CIPHERTEXT_OVERHEAD, Envelope, MAX_CIPHERTEXT_BYTES, decrypt, encrypt};
pub use payload::{OpenedPayload, WeightsPayload, commit_hash};

/// Why bytes are not what they should be, or do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimelockError {
    /// Not a point of the curve's right subgroup, or the point at infinity.
    #[error("beacon public key is not 96 bytes of a BLS12-381 G2 point")]
    Key,
    /// As [`TimelockError::Key`], for the other group.
    #[error("round signature is not 48 bytes of a BLS12-381 G1 point")]
    Signature,
    /// More than the chain takes.
    #[error("{length} bytes are more than the {limit} that a timelock commit may have")]
    TooLong {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A length prefix that does not fit, or an end too early.
    #[error("timelock ciphertext breaks off or is misframed in its {0}")]
    Framing(&'static str),
    /// The ephemeral key is not a curve point.
    #[error("timelock ciphertext does not begin with a BLS12-381 G2 point")]
    Point,
    /// The signature is of another round or beacon, or the header was altered.
    #[error("timelock ciphertext was not made for the round of this signature")]
    WrongRound,
    /// The header opens, the body was altered.
    #[error("timelock ciphertext has an altered body")]
    Body,
    /// Neither the current nor the legacy form of a weights payload.
    #[error("revealed bytes are not a weights payload")]
    Payload,
    /// The payload was made for another hotkey.
    #[error("revealed weights belong to another hotkey than the one that committed them")]
    OtherHotkey,
    /// Encryption failed inside the library.
    #[error("plaintext could not be encrypted")]
    Encrypt,
}
