//! Fixed-width little-endian integers and length-prefixed bytes, nothing else.
//!
//! Hand-written because the format is frozen by golden vectors, must build for WASM and later without std, and
//! has no optional parts: one value has one encoding. A derive-based codec was rejected, since its maps and
//! compact integers accept several encodings of one value.

use crate::claim::ClassNameError;
use crate::params::ParamsError;
use crate::residency::ResidencyError;

/// Bytes that are no message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended inside a field.
    #[error("message ends inside a field")]
    Truncated,
    /// Bytes are left after the last field.
    #[error("{0} bytes are left after the message")]
    Trailing(usize),
    /// A length prefix exceeds the field's bound.
    #[error("field of {length} bytes exceeds {limit}")]
    FieldTooLong {
        /// Announced length.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// No message has this tag.
    #[error("unknown message tag {0:#04x}")]
    UnknownTag(u8),
    /// A file does not start with the transcript's magic bytes.
    #[error("not a proof transcript")]
    Magic,
    /// The protocol version is not ours.
    #[error("protocol version {0} is not supported")]
    Version(u16),
    /// A text field is not valid for its type.
    #[error("field {0} is not valid text of its kind")]
    Text(&'static str),
    /// A flag is neither 0 nor 1.
    #[error("flag {0:#04x} is neither 0 nor 1")]
    Flag(u8),
    /// Parameters out of bounds.
    #[error("parameters out of bounds")]
    Params(#[from] ParamsError),
    /// Memory asked for out of bounds.
    #[error("memory parameters out of bounds")]
    Residency(#[from] ResidencyError),
    /// No memory space has this number.
    #[error("unknown memory space {0:#04x}")]
    Space(u8),
    /// A walk's cache is missing, not needed or out of bounds.
    #[error("cache of 2^{0} blocks where another is due")]
    Cache(u8),
    /// A class name that is not printable or too long.
    #[error("class name")]
    Class(#[from] ClassNameError),
    /// Devices are missing, too many, out of order or repeated.
    #[error("device list is empty, too long, unsorted or repeats a device")]
    Devices,
    /// The challenge would need a transcript above the bound.
    #[error("challenge asks for {0} transcript bytes")]
    TooMuchWork(u64),
    /// The bytes are not the one canonical encoding of their value.
    #[error("encoding is not canonical")]
    NotCanonical,
}

/// Builds a message.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Bytes behind a u32 length. Bounds are checked where the value is made.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("every field is bounded far below 4 GiB"));
        self.raw(bytes);
    }
}

/// Takes a message apart; never reads past the end and never allocates more than the input holds.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self, limit: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(DecodeError::FieldTooLong { length, limit });
        }
        self.take(length)
    }

    /// Text that parses into `T` and is spelled as `T` spells it.
    pub(crate) fn text<T>(&mut self, limit: usize, field: &'static str) -> Result<T, DecodeError>
    where
        T: std::str::FromStr + std::fmt::Display,
    {
        let text = std::str::from_utf8(self.bytes(limit)?).map_err(|_| DecodeError::Text(field))?;
        let value: T = text.parse().map_err(|_| DecodeError::Text(field))?;
        if value.to_string() == text { Ok(value) } else { Err(DecodeError::NotCanonical) }
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}
