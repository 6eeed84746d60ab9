//! Values of one authenticated access window of a validator at a miner.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

use crate::text::{number_id, serde_as_text};

/// Why a text is not a value of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionValueError {
    /// 8 to 64 of letters, digits and `-`: the separator `:` of signed payloads may not occur in it.
    #[error("nonce is not 8 to 64 letters, digits and '-'")]
    Nonce,
    /// 64 hex digits.
    #[error("session token is not 64 lower-case hex digits")]
    Token,
    /// 16 hex digits.
    #[error("session id is not 16 lower-case hex digits")]
    Id,
}

fn lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A number used once: a UUIDv4 from us, any token of 8 to 64 letters, digits and `-` from others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNonce(String);

impl RequestNonce {
    /// A nonce from 16 random bytes, in the textual form of a UUIDv4, which the seeds use.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(uuid::Uuid::from_bytes(bytes).as_hyphenated().to_string())
    }

    /// The nonce as it stands in payloads.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestNonce {
    type Err = SessionValueError;

    fn from_str(text: &str) -> Result<Self, SessionValueError> {
        let valid =
            (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(SessionValueError::Nonce) }
    }
}

impl fmt::Display for RequestNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bearer part of a session: 32 random bytes in hex. A secret: never printed, compared in constant time.
#[derive(Clone, Zeroize, zeroize::ZeroizeOnDrop)]
pub struct SessionToken([u8; 32]);

impl SessionToken {
    /// A token from 32 random bytes.
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The token as it goes on the wire and into signed payloads. Do not log it.
    pub fn reveal(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for SessionToken {
    type Err = SessionValueError;

    fn from_str(text: &str) -> Result<Self, SessionValueError> {
        let mut bytes = [0u8; 32];
        if !lower_hex(text, 64) || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(SessionValueError::Token);
        }
        Ok(Self(bytes))
    }
}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0u8, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(redacted)")
    }
}

/// Names one session in keys on nodes and in logs; says nothing about its token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 8]);

impl SessionId {
    /// An id from 8 random bytes.
    pub const fn from_random(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl FromStr for SessionId {
    type Err = SessionValueError;

    fn from_str(text: &str) -> Result<Self, SessionValueError> {
        let mut bytes = [0u8; 8];
        if !lower_hex(text, 16) || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(SessionValueError::Id);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(SessionId);

number_id! {
    /// The number that a leader's side effects carry, so that a deposed leader's come too late to count (RULES
    /// R28). Grows with every change of leadership; 0 where there is a single validator.
    FencingToken(u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_cannot_carry_the_separator() {
        assert!("uuid-1234-5678".parse::<RequestNonce>().is_ok());
        for bad in ["", "short", "with:colon-1234", "with space 123", &"x".repeat(65), "nönce-1234"] {
            assert_eq!(bad.parse::<RequestNonce>(), Err(SessionValueError::Nonce), "{bad}");
        }
        let nonce = RequestNonce::from_random([0xff; 16]);
        assert_eq!(nonce.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = SessionToken::from_random([7; 32]);
        assert!(!format!("{token:?}").contains("07"));
        assert_eq!(token.reveal().parse::<SessionToken>(), Ok(token));
        assert!("07".repeat(32).to_uppercase().parse::<SessionToken>().is_ok());
        assert_eq!("AB".repeat(32).parse::<SessionToken>(), Err(SessionValueError::Token));
    }
}
