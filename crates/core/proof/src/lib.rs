//! The open GPU proof: a device shows that it multiplied, and one CPU core checks it in milliseconds.
//!
//! # What is proved, and how
//! *Work* (tier T2). A validator sends a [`Challenge`] and, when it is accepted, a start nonce; from them both sides derive, per
//! device, a [`seed::Seed`] that binds beacon, nonces, node id, SSH host key, GPU UUID, index, class and parameters.
//! A round is an exact product C = A·Bᵀ of int8 matrices, int32 sums, whose n rows each come from a PRF
//! ([`prf`]) under that seed. The prover commits C in a Merkle tree ([`merkle`]) and sends the root; the next
//! round's seed is a hash of this seed and this root, so rounds are strictly sequential.
//!
//! *Memory* (tier T3), where it is asked for: each device fills a region, and walks through it from a nonce that comes when all are
//! filled, committing to every step, segment by segment ([`residency`]).
//!
//! *Openings.* After everything is committed the validator sends a last nonce; it selects, per device, t cells and some steps
//! ([`opening`]). The prover answers each cell with the leaf of 256 cells around it and the path to the root, each step with both
//! states and their paths. The [`Verifier`] checks the paths, makes one row of A and one of Bᵀ again and compares the
//! one selected cell, and takes the step again with items made from the beacon's cache. At last the prover signs the whole run with
//! the key that it began it with. Everything exchanged is the [`Transcript`], which anyone can check again. Time is
//! measured by the validator's clock alone and is handed in.
//!
//! *Bandwidth* (tier T4). The time of a walk bounds how fast a device reads from below ([`bandwidth`]); a stream of
//! bytes from the node does the same for its network ([`stream`]).
//!
//! # Threat model
//! The node's owner is root on it, has read this source, may run any program in place of the prover, precompute,
//! replay, relay, lie about hardware and send any bytes. Nothing here is secret on the prover's side. The validator's
//! randomness and clock, BLAKE3, and the SSH channel's integrity are trusted.
//!
//! # Soundness
//! - *Skipped work.* If a share f of the committed cells is right, all t openings pass with probability f^t, as
//!   cells are drawn uniformly, with replacement, after the commitment: f = 0.95 and t = 256 give 2.0·10⁻⁶ per
//!   device ([`ProofParams::evasion`]). The prover learns the leaf, not the cell, and the leaf is bound whole by its hash. Guessing adds at
//!   most the likeliest value's probability to f: a cell's standard deviation is about 5,461·√k, so 7·10⁻⁵/√k,
//!   or 1.6·10⁻⁶ at k = 2,048; leaving out one of the k terms is guessed with probability 0.8 % and saves 1/k.
//! - *Choosing roots.* The nonce comes after every root, so a prover has one try, not 2⁶⁴.
//! - *Reuse.* Another nonce, node, host key, UUID, index, class or parameter gives unrelated matrices.
//! - *Structure.* Hankel matrices (A\[i\]\[j\] = a\[i+j\]) are forged in O(n²) with no cell wrong; low rank likewise.
//!   A challenge cannot ask for them: matrices come from the seed only, and their form is not a parameter.
//! - *Freivalds' test is not used*: C·r = A·(B·r) costs a cheater O(n²), so it binds nothing by itself.
//! - *Overflow.* k ≤ 65,536 keeps every sum within ±2³⁰; there is no tolerance and no float.
//!
//! # Cost
//! The verifier makes 2·t rows and hashes t leaves with 2·log₂n − 8 siblings; it never holds a matrix. A cell
//! made by the PRF costs 12.5 32-bit operations and serves n multiplications; a committed cell costs 50 for its leaf
//! hash and serves k. `benches/proof.rs` measures all of it, per kernel.
//!
//! # Open
//! Relay to a genuine device elsewhere (RULES R16); counting devices (RULES R14: sums of work separate N from N − 1 only
//! with calibrated deadlines or residency); a validator that leaks its
//! nonce; fast algorithms (Strassen saves at most 1/8 a level and is honest arithmetic). A *simulated* class
//! proves that some CPU multiplied, nothing more. Device classes have no calibrated deadlines yet.
//!
//! # Shape
//! No runtime, no I/O, no clock and no randomness: bytes, nonces and elapsed times are arguments. A version admits no
//! optional fields; version 2 added memory and the signature to version 1's work, whose PRF, leaves and trees it kept. Rejected: a verifier that draws its
//! own nonce (untestable), one tree over all devices (a slow device would hide a fast one's times), and fractions of
//! all openings shared by the devices (one cheating card of eight would face an eighth of them).

pub mod bandwidth;
mod challenge;
pub mod claim;
pub mod gemm;
pub mod merkle;
pub mod opening;
mod params;
pub mod prf;
pub mod prover;
mod rejection;
pub mod report;
pub mod residency;
mod run;
pub mod seed;
mod signature;
mod simd;
mod soundness;
pub mod stream;
mod transcript;
mod verifier;
pub mod wire;

pub use challenge::{
    ANSWER_BYTES_MAX, Binding, CHALLENGE_BYTES_MAX, Challenge, ChallengeError, DeviceChallenge, ECHOES,
    HOST_KEY_BYTES_MAX,
};
pub use claim::{ClaimError, ClaimReport, ClassName, ClassNameError, DeviceClaim, DeviceFacts, DeviceReport};
pub use params::{
    INNER_MAX, INNER_STEP, LEAF_BYTES, LEAF_CELLS, OPENINGS_DEFAULT, OPENINGS_MAX, ParamsError, ProofParams,
    ROUNDS_MAX, SIDE_MAX, SIDE_MIN,
};
pub use rejection::{Rejection, RejectionClass, Stage};
pub use run::RunDigest;
pub use signature::{RUN_KEY_BYTES, RunKey, SIGNATURE_BYTES};
pub use transcript::{MAGIC, TRANSCRIPT_BYTES_MAX, Transcript};
pub use verifier::{
    Checker, Deadlines, NonceNotDue, NonceUse, Outcome, ProvenDevice, Step, Verifier, WalkChecker, WalkTime,
    WrongCache,
};

/// The protocol version of this crate. It is in every challenge, acceptance, seed and transcript.
pub const PROTOCOL_VERSION: u16 = 2;
