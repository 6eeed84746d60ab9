//! All bytes of one run, in a form that anyone can check again.
//!
//! The prover's bytes are kept as they came, frame headers included, so a rejected run replays to the same
//! rejection. Times are not in it: they are the validator's word and live in its signed verdict.

use basilica_types::Digest;

use crate::challenge::{ANSWER_BYTES_MAX, CHALLENGE_BYTES_MAX, Challenge};
use crate::verifier::{Deadlines, Step, Verifier};
use crate::wire::{DecodeError, Message, Reader, Writer};
use crate::{PROTOCOL_VERSION, ProvenDevice, Rejection};

/// First bytes of a transcript file.
pub const MAGIC: &[u8; 8] = b"basproof";
/// Most bytes of a transcript file.
pub const TRANSCRIPT_BYTES_MAX: u64 = ANSWER_BYTES_MAX + CHALLENGE_BYTES_MAX as u64 + 64;

/// The bytes of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    pub(crate) challenge: Challenge,
    pub(crate) commitments: Vec<u8>,
    pub(crate) opened: Option<Opened>,
}

/// What followed the last root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) nonce: [u8; 32],
    pub(crate) answers: Vec<u8>,
}

impl Transcript {
    pub(crate) const fn new(challenge: Challenge) -> Self {
        Self { challenge, commitments: Vec::new(), opened: None }
    }

    /// The challenge that was sent.
    pub const fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// BLAKE3 of [`Transcript::encode`], as a verdict carries it.
    pub fn hash(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(&self.encode()).as_bytes())
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(MAGIC);
        writer.u16(PROTOCOL_VERSION);
        writer.bytes(&Message::Challenge(self.challenge.clone()).encode());
        writer.bytes(&self.commitments);
        match &self.opened {
            None => writer.u8(0),
            Some(opened) => {
                writer.u8(1);
                writer.raw(&opened.nonce);
                writer.bytes(&opened.answers);
            }
        }
        writer.finish()
    }

    /// Reads a file; accepts only the one encoding of a transcript.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Magic);
        }
        match reader.u16()? {
            PROTOCOL_VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let challenge = match Message::decode(reader.bytes(CHALLENGE_BYTES_MAX as usize)?)? {
            Message::Challenge(challenge) => challenge,
            other => return Err(DecodeError::UnknownTag(other.kind() as u8)),
        };
        // A little above the exact answer, so that a run rejected for one byte too many can be kept too.
        let limit = usize::try_from(challenge.answer_bytes()).map_or(usize::MAX, |bytes| bytes + 1_024);
        let commitments = reader.bytes(limit)?.to_vec();
        let opened = match reader.u8()? {
            0 => None,
            1 => Some(Opened { nonce: reader.array()?, answers: reader.bytes(limit)?.to_vec() }),
            other => return Err(DecodeError::Flag(other)),
        };
        reader.finish()?;
        Ok(Self { challenge, commitments, opened })
    }

    /// Checks the run again, by the same code that checked it live. The caller compares the challenge with what
    /// it expects: a valid transcript for another node is valid.
    pub fn verify(&self) -> Result<Vec<ProvenDevice>, Rejection> {
        let zero = std::time::Duration::ZERO;
        let mut verifier = Verifier::new(self.challenge.clone(), Deadlines::UNLIMITED);
        let committed = verifier.on_bytes(&self.commitments, zero)?;
        let (Step::DrawNonce, Some(opened)) = (committed, &self.opened) else {
            return Err(verifier.on_end());
        };
        verifier.open(opened.nonce, zero).map_err(|_| Rejection::UnsolicitedBytes)?;
        match verifier.on_bytes(&opened.answers, zero)? {
            Step::Done(outcome) => Ok(outcome.devices),
            Step::More | Step::DrawNonce => Err(verifier.on_end()),
        }
    }
}
