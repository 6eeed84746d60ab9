//! All bytes of one run, in a form that anyone can check again.
//!
//! The prover's bytes are kept as they came, frame headers included, so a rejected run replays to the same
//! rejection. Times are not in it: they are the validator's word and live in its signed verdict.

use std::sync::Arc;

use basilica_types::Digest;

use crate::challenge::{ANSWER_BYTES_MAX, CHALLENGE_BYTES_MAX, Challenge, ECHOES};
use crate::residency::Cache;
use crate::verifier::{Deadlines, Step, Verifier, WrongCache};
use crate::wire::{DecodeError, Message, Reader, Writer};
use crate::{PROTOCOL_VERSION, ProvenDevice, Rejection};

/// First bytes of a transcript file.
pub const MAGIC: &[u8; 8] = b"basproof";
/// Most bytes of a transcript file.
pub const TRANSCRIPT_BYTES_MAX: u64 = ANSWER_BYTES_MAX + CHALLENGE_BYTES_MAX as u64 + 64;

/// The bytes of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    challenge: Challenge,
    /// What the prover sent before the first nonce: its acceptance.
    acceptance: Vec<u8>,
    turns: Vec<Turn>,
}

/// A nonce of the validator, and what the prover sent after it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Turn {
    nonce: [u8; 32],
    answer: Vec<u8>,
}

impl Transcript {
    pub(crate) const fn new(challenge: Challenge) -> Self {
        Self { challenge, acceptance: Vec::new(), turns: Vec::new() }
    }

    /// The prover sent bytes.
    pub(crate) fn record(&mut self, bytes: &[u8]) {
        self.turns.last_mut().map_or(&mut self.acceptance, |turn| &mut turn.answer).extend_from_slice(bytes);
    }

    /// The validator sent a nonce.
    pub(crate) fn turn(&mut self, nonce: [u8; 32]) {
        self.turns.push(Turn { nonce, answer: Vec::new() });
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
        writer.bytes(&self.acceptance);
        writer.u8(u8::try_from(self.turns.len()).expect("at most 13 nonces"));
        for turn in &self.turns {
            writer.raw(&turn.nonce);
            writer.bytes(&turn.answer);
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
        let acceptance = reader.bytes(limit)?.to_vec();
        let turns = usize::from(reader.u8()?);
        let most = usize::from(ECHOES) + challenge.spaces().count() + 2;
        if turns > most {
            return Err(DecodeError::FieldTooLong { length: turns, limit: most });
        }
        let turns = (0..turns)
            .map(|_| Ok(Turn { nonce: reader.array()?, answer: reader.bytes(limit)?.to_vec() }))
            .collect::<Result<_, DecodeError>>()?;
        reader.finish()?;
        Ok(Self { challenge, acceptance, turns })
    }

    /// Checks the run again, by the same code that checked it live. The caller compares the challenge with what
    /// it expects: a valid transcript for another node is valid.
    ///
    /// Makes the beacon's cache if memory was asked for, up to 256 MiB;
    /// [`Transcript::verify_with`] takes one that is there.
    pub fn verify(&self) -> Result<Vec<ProvenDevice>, Rejection> {
        let cache = Cache::for_challenge(&self.challenge).map(Arc::new);
        self.verify_with(cache).expect("the cache was made for this challenge")
    }

    /// As [`Transcript::verify`], with the challenge's cache.
    ///
    /// # Errors
    /// The outer error is a cache that is not the challenge's.
    pub fn verify_with(
        &self,
        cache: Option<Arc<Cache>>,
    ) -> Result<Result<Vec<ProvenDevice>, Rejection>, WrongCache> {
        let verifier = Verifier::new(self.challenge.clone(), cache, Deadlines::UNLIMITED)?;
        Ok(self.replay(verifier))
    }

    fn replay(&self, mut verifier: Verifier) -> Result<Vec<ProvenDevice>, Rejection> {
        let zero = std::time::Duration::ZERO;
        let mut step = verifier.on_bytes(&self.acceptance, zero)?;
        for turn in &self.turns {
            let Step::DrawNonce(_) = step else { return Err(verifier.on_end()) };
            verifier.send_nonce(turn.nonce, zero).map_err(|_| Rejection::UnsolicitedBytes)?;
            step = verifier.on_bytes(&turn.answer, zero)?;
        }
        match step {
            Step::Done(outcome) => Ok(outcome.devices),
            Step::More | Step::DrawNonce(_) => Err(verifier.on_end()),
        }
    }
}
