//! Tier T4, network: bytes that nobody has before they are asked for, checked as they come.
//!
//! # What is exchanged
//! The validator sends a [`StreamRequest`], a seed and a length, to a process on the node; the node answers with that many
//! bytes of keyed BLAKE3's output under the seed. The [`StreamVerifier`] makes the same bytes and compares; the caller keeps the
//! time, from the request to the last byte ([`crate::bandwidth`]). The seed hashes beacon, nonce, node, host key and length, so that a
//! stream serves once: the nonce is fresh per transfer, and drawn when it is sent.
//!
//! # Threat model
//! The node knows the seed, so it can make the bytes wherever it likes, and so can whoever it tells: what is shown is that they
//! came in over the channel of this host key in that time. They cannot be known before the request, and not be compressed without
//! the seed; a front that holds the host key and makes them itself is not told from the node. The node may send
//! anything, at any speed, for ever: every byte is compared before the next is looked at, nothing is kept, and the first that is wrong or too many
//! ends it. A slow drip is ended by the caller's deadline; [`StreamVerifier::received`] still counts, as all that came was right.
//!
//! # Alternatives
//! Random bytes sent to the node and hashed there measure the other direction; not built yet. Checking a sample of the bytes only would save the
//! verifier half a core at 10 Gbit/s, and let a node send zeros through a compressing channel between them. A frame per
//! piece would add nothing that the length does not say.

use crate::PROTOCOL_VERSION;
use crate::challenge::Binding;
use crate::seed::Fields;
use crate::wire::{DecodeError, Reader, Writer};

/// Most bytes of one stream: 1 GiB.
pub const STREAM_BYTES_MAX: u64 = 1 << 30;
/// Bytes of an encoded request.
pub const STREAM_REQUEST_BYTES: usize = MAGIC.len() + 2 + 1 + 32 + 8;

const TAG: &[u8] = b"basilica-proof/v2/stream";
const MAGIC: &[u8; 8] = b"basstrm\0";
/// From the node to the validator, the only direction of this version.
const FROM_NODE: u8 = 0;
/// What is compared, or written, at a time.
const PIECE: usize = 16 * 1024;

/// Asks a node for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRequest {
    seed: [u8; 32],
    bytes: u64,
}

/// A length that no stream may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream of {0} bytes is not from 1 to {STREAM_BYTES_MAX}")]
pub struct StreamLength(pub u64);

/// A request that is none.
#[derive(Debug, thiserror::Error)]
pub enum StreamRequestError {
    /// Not the one encoding of a request of this version.
    #[error("stream request")]
    Decode(#[from] DecodeError),
    /// Another direction than this version has.
    #[error("stream direction {0} is unknown to this version")]
    Direction(u8),
    /// Too long, or empty.
    #[error("stream request")]
    Length(#[from] StreamLength),
}

impl StreamRequest {
    /// Asks the bound node for `bytes`; [`Binding::validator_nonce`] must be fresh, and not that of a challenge.
    pub fn new(binding: &Binding, bytes: u64) -> Result<Self, StreamLength> {
        let mut fields = Fields::new(TAG);
        fields.add(&PROTOCOL_VERSION.to_le_bytes());
        fields.add(&binding.beacon);
        fields.add(&binding.validator_nonce);
        fields.add(binding.node.as_bytes());
        fields.add(&binding.host_key);
        fields.add(&[FROM_NODE]);
        fields.add(&bytes.to_le_bytes());
        Self::of_seed(*fields.hash().as_bytes(), bytes)
    }

    fn of_seed(seed: [u8; 32], bytes: u64) -> Result<Self, StreamLength> {
        match bytes {
            1..=STREAM_BYTES_MAX => Ok(Self { seed, bytes }),
            _ => Err(StreamLength(bytes)),
        }
    }

    /// How many bytes are asked for.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the stream is made from.
    pub const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The one encoding, of [`STREAM_REQUEST_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(MAGIC);
        writer.u16(PROTOCOL_VERSION);
        writer.u8(FROM_NODE);
        writer.raw(&self.seed);
        writer.u64(self.bytes);
        writer.finish()
    }

    /// Reads a request; refuses lengths out of bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, StreamRequestError> {
        let mut reader = Reader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Magic.into());
        }
        match reader.u16()? {
            PROTOCOL_VERSION => {}
            other => return Err(DecodeError::Version(other).into()),
        }
        match reader.u8()? {
            FROM_NODE => {}
            other => return Err(StreamRequestError::Direction(other)),
        }
        let (seed, length) = (reader.array()?, reader.u64()?);
        reader.finish()?;
        Ok(Self::of_seed(seed, length)?)
    }

    /// The bytes that answer it.
    pub fn source(&self) -> StreamSource {
        let output = blake3::Hasher::new_keyed(&self.seed).update(TAG).finalize_xof();
        StreamSource { output, left: self.bytes }
    }
}

/// Makes a stream, piece by piece.
#[derive(Clone, Debug)]
pub struct StreamSource {
    output: blake3::OutputReader,
    left: u64,
}

impl StreamSource {
    /// Fills the front of `piece` with the next bytes and returns that part, which is empty at the end.
    pub fn fill<'a>(&mut self, piece: &'a mut [u8]) -> &'a [u8] {
        let length = usize::try_from(self.left).map_or(piece.len(), |left| left.min(piece.len()));
        self.output.fill(&mut piece[..length]);
        self.left -= length as u64;
        &piece[..length]
    }
}

/// What is wrong with a stream. It is evidence of how fast a node sends, and none of what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// A byte is another one; what came before was right.
    #[error("byte {0} of the stream is wrong")]
    WrongByte(u64),
    /// Bytes came after the last.
    #[error("more than the {0} bytes of the stream came")]
    TooMuch(u64),
    /// The stream ended early.
    #[error("the stream ended after {received} of {asked} bytes")]
    TooLittle {
        /// How many came, all of them right.
        received: u64,
        /// How many were asked for.
        asked: u64,
    },
}

/// Whether a stream is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStep {
    /// Read on.
    More,
    /// All bytes came, and all are right. What comes now is too much.
    Complete,
}

/// Checks a stream as it arrives, in pieces of any size; keeps none of it.
#[derive(Clone, Debug)]
pub struct StreamVerifier {
    source: StreamSource,
    asked: u64,
    fault: Option<StreamFault>,
}

impl StreamVerifier {
    /// Checks the answer to a request.
    pub fn new(request: &StreamRequest) -> Self {
        Self { source: request.source(), asked: request.bytes, fault: None }
    }

    /// Bytes that came and are right.
    pub const fn received(&self) -> u64 {
        self.asked - self.source.left
    }

    /// Takes the next bytes. After a fault every call repeats it.
    pub fn on_bytes(&mut self, chunk: &[u8]) -> Result<StreamStep, StreamFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let step = self.compare(chunk);
        self.fault = step.err();
        step
    }

    /// The stream ended: well, if it was complete.
    pub fn on_end(&mut self) -> Result<(), StreamFault> {
        if self.fault.is_none() && self.source.left > 0 {
            self.fault = Some(StreamFault::TooLittle { received: self.received(), asked: self.asked });
        }
        self.fault.map_or(Ok(()), Err)
    }

    fn compare(&mut self, mut chunk: &[u8]) -> Result<StreamStep, StreamFault> {
        let mut piece = [0; PIECE];
        while !chunk.is_empty() {
            let at = self.received();
            let length = chunk.len().min(PIECE);
            let before = self.source.clone();
            let expected = self.source.fill(&mut piece[..length]);
            if expected.is_empty() {
                return Err(StreamFault::TooMuch(self.asked));
            }
            let (found, rest) = chunk.split_at(expected.len());
            if found != expected {
                let right =
                    found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
                self.source = before;
                self.source.left -= right as u64;
                return Err(StreamFault::WrongByte(at + right as u64));
            }
            chunk = rest;
        }
        Ok(if self.source.left == 0 { StreamStep::Complete } else { StreamStep::More })
    }
}
