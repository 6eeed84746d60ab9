//! The ciphertext and its bytes.
//!
//! ```text
//! u            96  ephemeral key, compressed G2
//! v        8 + 32  length 32, then the masked seed
//! w        8 + 32  length 32, then the masked body key
//! body      8 + n  length, then: 8 + ciphertext with its 16-byte tag, 8 + nonce of 12
//! suite     8 + 8  length, then "AES_GCM_"
//! ```
//!
//! All lengths are u64, little-endian. The chain reads no further than the suite, neither compares the suite nor minds
//! bytes after it, and reads the body alike; a ciphertext that opens there must open here, so neither does this decoder.

use rand_core::{CryptoRng, RngCore};
use timelock::block_ciphers::{AESGCMBlockCipherProvider, AESOutput, BlockCipherProvider};
use timelock::engines::drand::TinyBLS381;
use timelock::ibe::fullident::{Ciphertext as Header, IBESecret, Input};
use zeroize::Zeroizing;

use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};

use crate::beacon::KeyPoint;
use crate::{BeaconKey, Round, RoundSignature, TimelockError};

/// What the chain takes as a commit.
pub const MAX_CIPHERTEXT_BYTES: usize = 5_000;
/// By how much a ciphertext is longer than its plaintext.
pub const CIPHERTEXT_OVERHEAD: usize = 96 + 40 + 40 + 8 + (8 + TAG + 8 + NONCE) + 16;

const TAG: usize = 16;
const NONCE: usize = 12;
const SUITE: &[u8; 8] = b"AES_GCM_";

/// Encrypts `plaintext` so that it opens with the signature of `round` by the beacon of `key`.
///
/// # Errors
/// [`TimelockError::TooLong`] if the ciphertext would exceed [`MAX_CIPHERTEXT_BYTES`].
pub fn encrypt<R: RngCore + CryptoRng>(
    key: &BeaconKey,
    round: Round,
    plaintext: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, TimelockError> {
    let length = plaintext.len().saturating_add(CIPHERTEXT_OVERHEAD);
    if length > MAX_CIPHERTEXT_BYTES {
        return Err(TimelockError::TooLong { length, limit: MAX_CIPHERTEXT_BYTES });
    }
    let mut body_key = Zeroizing::new([0u8; 32]);
    rng.fill_bytes(&mut body_key[..]);
    let input = Input::<TinyBLS381>::new(*body_key).map_err(|_| TimelockError::Encrypt)?;
    let header: Header<TinyBLS381> = round.identity().encrypt(&input, key.point(), &mut *rng);
    let body =
        AESGCMBlockCipherProvider::encrypt(plaintext, *body_key, rng).map_err(|_| TimelockError::Encrypt)?;
    frame(&header, &body, length)
}

fn frame(header: &Header<TinyBLS381>, body: &AESOutput, capacity: usize) -> Result<Vec<u8>, TimelockError> {
    let mut bytes = Vec::with_capacity(capacity);
    header.u.serialize_compressed(&mut bytes).map_err(|_| TimelockError::Encrypt)?;
    put(&mut bytes, &header.v);
    put(&mut bytes, &header.w);
    let mut inner = Vec::with_capacity(capacity);
    put(&mut inner, &body.ciphertext);
    put(&mut inner, &body.nonce);
    put(&mut bytes, &inner);
    put(&mut bytes, SUITE);
    Ok(bytes)
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
    bytes.extend_from_slice(part);
}

/// Opens a ciphertext with the signature of the round it was made for.
///
/// Total: hostile bytes give an error, never a panic, and cost at most one pairing and memory for what was given.
///
/// # Errors
/// The framing, point, round or body error; [`TimelockError::WrongRound`] also for a signature of another beacon.
pub fn decrypt(ciphertext: &[u8], signature: &RoundSignature) -> Result<Vec<u8>, TimelockError> {
    if ciphertext.len() > MAX_CIPHERTEXT_BYTES {
        return Err(TimelockError::TooLong { length: ciphertext.len(), limit: MAX_CIPHERTEXT_BYTES });
    }
    let (header, body) = parse(ciphertext)?;
    let body_key = IBESecret(signature.point()).decrypt(&header).map_err(|_| TimelockError::WrongRound)?;
    AESGCMBlockCipherProvider::decrypt(body, body_key).map_err(|_| TimelockError::Body)
}

fn parse(ciphertext: &[u8]) -> Result<(Header<TinyBLS381>, AESOutput), TimelockError> {
    let (point, rest) = ciphertext.split_at_checked(96).ok_or(TimelockError::Framing("point"))?;
    let mut rest = rest;
    let v = take_array(&mut rest, "masked seed")?;
    let w = take_array(&mut rest, "masked key")?;
    let mut body = take(&mut rest, "body")?;
    take(&mut rest, "cipher suite")?;
    let sealed = take(&mut body, "body ciphertext")?;
    let nonce: [u8; NONCE] = take_array(&mut body, "nonce")?;
    // Last, because it is the dear part.
    let u = KeyPoint::deserialize_compressed(point).map_err(|_| TimelockError::Point)?;
    Ok((Header { u, v, w }, AESOutput { ciphertext: sealed.to_vec(), nonce: nonce.to_vec() }))
}

/// A length-prefixed part, taken off the front.
fn take<'a>(bytes: &mut &'a [u8], what: &'static str) -> Result<&'a [u8], TimelockError> {
    let misframed = TimelockError::Framing(what);
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or(misframed)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| misframed)?;
    let (part, rest) = rest.split_at_checked(length).ok_or(misframed)?;
    *bytes = rest;
    Ok(part)
}

fn take_array<const N: usize>(bytes: &mut &[u8], what: &'static str) -> Result<[u8; N], TimelockError> {
    take(bytes, what)?.try_into().map_err(|_| TimelockError::Framing(what))
}

/// A ciphertext together with its round, as the public SDKs pass timelocked data around outside of the chain.
#[derive(Clone, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub struct Envelope {
    /// What [`encrypt`] returns.
    pub ciphertext: Vec<u8>,
    /// The round that opens it.
    pub round: Round,
}
