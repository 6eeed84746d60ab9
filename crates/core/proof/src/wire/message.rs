//! The messages. Each has one encoding; decoding checks it by length alone, because every field is fixed-width or
//! length-prefixed and text is re-spelled.

use basilica_types::Digest;

use super::codec::{DecodeError, Reader, Writer};
use super::opening::{Opening, WalkOpening};
use super::refusal::{REFUSAL_TEXT_MAX, Refusal};
use crate::challenge::Challenge;
use crate::params::LEAF_BYTES;
use crate::signature::{RUN_KEY_BYTES, SIGNATURE_BYTES};

const _: () = {
    assert!(REFUSAL_TEXT_MAX == 256 && LEAF_BYTES == 1_024, "the bounds below spell them as u32");
    assert!(RUN_KEY_BYTES == 33 && SIGNATURE_BYTES == 64, "likewise");
};

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
    /// Validator to prover: which cells and steps to open.
    OpeningNonce = 4,
    /// Prover to validator: one opened leaf.
    Opening = 5,
    /// Prover to validator: it cannot or will not go on.
    Refusal = 6,
    /// Prover to validator: a device's memory is filled.
    Filled = 7,
    /// Validator to prover: where the walk through memory starts.
    WalkNonce = 8,
    /// Prover to validator: all lanes took the steps of one segment.
    SegmentRoot = 9,
    /// Prover to validator: one opened step of a lane.
    WalkOpening = 10,
    /// Prover to validator: the run's signature, its last message.
    Signature = 11,
    /// Validator to prover: begin.
    StartNonce = 12,
    /// Validator to prover: say this back.
    Echo = 13,
    /// Prover to validator: what was to be said back.
    Echoed = 14,
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
    /// See [`Kind::Filled`]: the device's position in the challenge. Once for all its spaces.
    Filled(u16),
    /// See [`Kind::WalkNonce`].
    WalkNonce([u8; 32]),
    /// See [`Kind::SegmentRoot`].
    SegmentRoot(SegmentRoot),
    /// See [`Kind::WalkOpening`].
    WalkOpening(WalkOpening),
    /// See [`Kind::Signature`].
    Signature([u8; SIGNATURE_BYTES]),
    /// See [`Kind::StartNonce`].
    StartNonce([u8; 32]),
    /// See [`Kind::Echo`].
    Echo([u8; 32]),
    /// See [`Kind::Echoed`].
    Echoed([u8; 32]),
}

/// The prover speaks this version and works on this challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Protocol version of the prover.
    pub version: u16,
    /// [`Challenge::digest`].
    pub challenge: Digest,
    /// The public key that the run will be signed with; looked at when the signature comes.
    pub key: [u8; RUN_KEY_BYTES],
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

/// The commitment to the states of all lanes after every step of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRoot {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Segment, from 0.
    pub segment: u32,
    /// Root of the tree over the roots of its steps; see [`crate::residency::segment_tree`].
    pub root: Digest,
}

impl Message {
    /// Largest accept or root or refusal, whichever is longest: the bound before the openings.
    pub(crate) const COMMIT_BYTES_MAX: u32 = 1 + 2 + 4 + 256;
    /// Bytes of an encoded root, of a product or a segment.
    pub(crate) const ROOT_BYTES: u32 = 1 + 2 + 4 + 32;
    /// Bytes of an encoded accept.
    pub(crate) const ACCEPT_BYTES: u32 = 1 + 2 + 32 + 33;
    /// Bytes of an encoded echo.
    pub(crate) const ECHOED_BYTES: u32 = 1 + 32;
    /// Bytes of an encoded filled message.
    pub(crate) const FILLED_BYTES: u32 = 1 + 2;
    /// Bytes of an encoded signature.
    pub(crate) const SIGNATURE_BYTES: u32 = 1 + 64;

    /// Bytes of an encoded opening in a tree of this depth.
    pub(crate) const fn opening_bytes(depth: u32) -> u32 {
        1 + 2 + 4 + 4 + 1_024 + 1 + 32 * depth
    }

    /// Most bytes of an encoded step whose paths have so many siblings.
    pub(crate) const fn walk_opening_bytes(path: u32) -> u32 {
        1 + 2 + 1 + 4 + 4 + 1 + 2 * (64 + 1 + 32 * path)
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
            Self::Filled(_) => Kind::Filled,
            Self::WalkNonce(_) => Kind::WalkNonce,
            Self::SegmentRoot(_) => Kind::SegmentRoot,
            Self::WalkOpening(_) => Kind::WalkOpening,
            Self::Signature(_) => Kind::Signature,
            Self::StartNonce(_) => Kind::StartNonce,
            Self::Echo(_) => Kind::Echo,
            Self::Echoed(_) => Kind::Echoed,
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
                writer.raw(&accept.key);
            }
            Self::Root(Root { device, round: number, root })
            | Self::SegmentRoot(SegmentRoot { device, segment: number, root }) => {
                writer.u16(*device);
                writer.u32(*number);
                writer.raw(root.as_bytes());
            }
            Self::StartNonce(nonce)
            | Self::OpeningNonce(nonce)
            | Self::WalkNonce(nonce)
            | Self::Echo(nonce)
            | Self::Echoed(nonce) => writer.raw(nonce),
            Self::Opening(opening) => opening.write(&mut writer),
            Self::Refusal(refusal) => refusal.write(&mut writer),
            Self::Filled(device) => writer.u16(*device),
            Self::WalkOpening(opening) => opening.write(&mut writer),
            Self::Signature(signature) => writer.raw(signature),
        }
        writer.finish()
    }

    /// Reads one message that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.u8()?;
        let message = Self::read(tag, &mut reader)?;
        reader.finish()?;
        Ok(message)
    }

    fn read(tag: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let digest = |reader: &mut Reader<'_>| reader.array().map(Digest::from_bytes);
        Ok(match tag {
            1 => Self::Challenge(Challenge::read(reader)?),
            2 => Self::Accept(Accept {
                version: reader.u16()?,
                challenge: digest(reader)?,
                key: reader.array()?,
            }),
            3 => Self::Root(Root { device: reader.u16()?, round: reader.u32()?, root: digest(reader)? }),
            4 => Self::OpeningNonce(reader.array()?),
            5 => Self::Opening(Opening::read(reader)?),
            6 => Self::Refusal(Refusal::read(reader)?),
            7 => Self::Filled(reader.u16()?),
            8 => Self::WalkNonce(reader.array()?),
            9 => Self::SegmentRoot(SegmentRoot {
                device: reader.u16()?,
                segment: reader.u32()?,
                root: digest(reader)?,
            }),
            10 => Self::WalkOpening(WalkOpening::read(reader)?),
            11 => Self::Signature(reader.array()?),
            12 => Self::StartNonce(reader.array()?),
            13 => Self::Echo(reader.array()?),
            14 => Self::Echoed(reader.array()?),
            tag => return Err(DecodeError::UnknownTag(tag)),
        })
    }
}
