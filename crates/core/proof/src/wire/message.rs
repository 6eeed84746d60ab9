//! The messages. Each has one encoding; decoding checks it by length alone, because every field is fixed-width or
//! length-prefixed and text is re-spelled.

use basilica_types::Digest;

use super::codec::{DecodeError, Reader, Writer};
use crate::challenge::Challenge;
use crate::merkle::Leaf;
use crate::params::{LEAF_BYTES, SIDE_MAX};

const _: () = assert!(REFUSAL_TEXT_MAX == 256 && LEAF_BYTES == 1_024, "the bounds below spell them as u32");

/// Most bytes of a refusal's explanation.
pub const REFUSAL_TEXT_MAX: usize = 256;
/// Deepest tree: 65,536² cells in leaves of 256.
const DEPTH_MAX: usize = 2 * SIDE_MAX.trailing_zeros() as usize - 8;

/// What a message is, and its tag on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Validator to prover: the work.
    Challenge = 1,
    /// Prover to validator: the challenge was understood.
    Accept = 2,
    /// Prover to validator: one round is done.
    Root = 3,
    /// Validator to prover: which cells to open.
    OpeningNonce = 4,
    /// Prover to validator: one opened leaf.
    Opening = 5,
    /// Prover to validator: it cannot or will not go on.
    Refusal = 6,
}

/// Any message of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "messages live one at a time, and most are openings")]
pub enum Message {
    /// See [`Kind::Challenge`].
    Challenge(Challenge),
    /// See [`Kind::Accept`].
    Accept(Accept),
    /// See [`Kind::Root`].
    Root(Root),
    /// See [`Kind::OpeningNonce`].
    OpeningNonce([u8; 32]),
    /// See [`Kind::Opening`].
    Opening(Opening),
    /// See [`Kind::Refusal`].
    Refusal(Refusal),
}

/// The prover speaks this version and works on this challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Protocol version of the prover.
    pub version: u16,
    /// [`Challenge::digest`].
    pub challenge: Digest,
}

/// The commitment to one round's product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Round, from 0.
    pub round: u32,
    /// Root of the tree over the product.
    pub root: Digest,
}

/// One leaf with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Round, from 0.
    pub round: u32,
    /// Leaf in row-major order.
    pub leaf: u32,
    /// The leaf's cells.
    pub cells: Leaf,
    /// Siblings from the leaf upwards.
    pub siblings: Vec<Digest>,
}

/// Why a prover gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RefusalCode {
    /// The challenge is not of a version it speaks, or malformed.
    Challenge = 1,
    /// The parameters exceed what its backend can hold.
    TooLarge = 2,
    /// A claimed device is not there any more.
    DeviceGone = 3,
    /// A device or driver error.
    Device = 4,
}

/// A prover's explanation. The text comes from the node: shown, never interpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: RefusalCode,
    text: String,
}

impl Refusal {
    /// A refusal with its text cut to the bound and to printable ASCII.
    pub fn new(code: RefusalCode, text: &str) -> Self {
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        Self { code, text: text.chars().take(REFUSAL_TEXT_MAX).map(printable).collect() }
    }

    /// The reason.
    pub const fn code(&self) -> RefusalCode {
        self.code
    }

    /// At most [`REFUSAL_TEXT_MAX`] printable ASCII characters.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Message {
    /// Largest accept or root or refusal, whichever is longest: the bound before the openings.
    pub(crate) const COMMIT_BYTES_MAX: u32 = 1 + 2 + 4 + 256;

    /// Bytes of an encoded root.
    pub(crate) const ROOT_BYTES: u32 = 1 + 2 + 4 + 32;
    /// Bytes of an encoded accept.
    pub(crate) const ACCEPT_BYTES: u32 = 1 + 2 + 32;

    /// Bytes of an encoded opening in a tree of this depth.
    pub(crate) const fn opening_bytes(depth: u32) -> u32 {
        1 + 2 + 4 + 4 + 1_024 + 1 + 32 * depth
    }

    /// What this message is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Challenge(_) => Kind::Challenge,
            Self::Accept(_) => Kind::Accept,
            Self::Root(_) => Kind::Root,
            Self::OpeningNonce(_) => Kind::OpeningNonce,
            Self::Opening(_) => Kind::Opening,
            Self::Refusal(_) => Kind::Refusal,
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(self.kind() as u8);
        match self {
            Self::Challenge(challenge) => challenge.write(&mut writer),
            Self::Accept(accept) => {
                writer.u16(accept.version);
                writer.raw(accept.challenge.as_bytes());
            }
            Self::Root(root) => {
                writer.u16(root.device);
                writer.u32(root.round);
                writer.raw(root.root.as_bytes());
            }
            Self::OpeningNonce(nonce) => writer.raw(nonce),
            Self::Opening(opening) => opening.write(&mut writer),
            Self::Refusal(refusal) => {
                writer.u16(refusal.code as u16);
                writer.bytes(refusal.text.as_bytes());
            }
        }
        writer.finish()
    }

    /// Reads one message that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            1 => Self::Challenge(Challenge::read(&mut reader)?),
            2 => Self::Accept(Accept {
                version: reader.u16()?,
                challenge: Digest::from_bytes(reader.array()?),
            }),
            3 => Self::Root(Root {
                device: reader.u16()?,
                round: reader.u32()?,
                root: Digest::from_bytes(reader.array()?),
            }),
            4 => Self::OpeningNonce(reader.array()?),
            5 => Self::Opening(Opening::read(&mut reader)?),
            6 => Self::Refusal(Refusal::read(&mut reader)?),
            tag => return Err(DecodeError::UnknownTag(tag)),
        };
        reader.finish()?;
        Ok(message)
    }
}

impl Opening {
    fn write(&self, writer: &mut Writer) {
        writer.u16(self.device);
        writer.u32(self.round);
        writer.u32(self.leaf);
        writer.raw(&self.cells.to_bytes());
        writer.u8(u8::try_from(self.siblings.len()).expect("trees are at most 24 deep"));
        for sibling in &self.siblings {
            writer.raw(sibling.as_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (device, round, leaf) = (reader.u16()?, reader.u32()?, reader.u32()?);
        let cells = Leaf::from_bytes(&reader.array()?);
        let depth = usize::from(reader.u8()?);
        if depth > DEPTH_MAX {
            return Err(DecodeError::FieldTooLong { length: depth, limit: DEPTH_MAX });
        }
        let siblings =
            (0..depth).map(|_| reader.array().map(Digest::from_bytes)).collect::<Result<_, DecodeError>>()?;
        Ok(Self { device, round, leaf, cells, siblings })
    }
}

impl Refusal {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = match reader.u16()? {
            1 => RefusalCode::Challenge,
            2 => RefusalCode::TooLarge,
            3 => RefusalCode::DeviceGone,
            4 => RefusalCode::Device,
            _ => return Err(DecodeError::Text("refusal code")),
        };
        let bytes = reader.bytes(REFUSAL_TEXT_MAX)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Text("refusal"))?;
        let refusal = Self::new(code, text);
        if refusal.text == text { Ok(refusal) } else { Err(DecodeError::Text("refusal")) }
    }
}
