//! The verifier: a state machine without I/O. The caller moves bytes and tells the time.
//!
//! ```text
//!   start() ─bytes─► prover           on_bytes(..) = More          keep reading until deadline()
//!                                     on_bytes(..) = DrawNonce     draw 32 fresh bytes now, send_nonce(nonce)
//!   send_nonce(nonce) ─bytes─► prover on_bytes(..) = Done          the proof holds
//!                                     Err(rejection)               end it; transcript() has the bytes that show it
//! ```
//! When the challenge is accepted some nonces are due that the prover only says back ([`Verifier::round_trips`]), then one for the work to start, one for the walks through each space of memory, when all is
//! filled, and one for the openings, when everything is committed. Openings are checked one by one as they arrive, so memory is little more than the transcript and,
//! where memory is asked for, the beacon's cache, which is shared.

mod checker;
mod commitments;
mod openings;
mod outcome;

use std::sync::Arc;
use std::time::Duration;

use basilica_types::Digest;

pub use checker::{Checker, WalkChecker};
pub use outcome::{Deadlines, NonceNotDue, NonceUse, Outcome, ProvenDevice, Step, WalkTime, WrongCache};

use crate::PROTOCOL_VERSION;
use crate::challenge::{Challenge, ECHOES};
use crate::opening;
use crate::rejection::{Rejection, Stage};
use crate::residency::{Cache, Space};
use crate::run::RunDigest;
use crate::signature::{RUN_KEY_BYTES, is_signed};
use crate::transcript::Transcript;
use crate::wire::{Accept, FrameBuffer, Message, frame};
use commitments::{Commitments, Filling};
use openings::Openings;

/// Checks one run. See the module's picture.
#[derive(Debug)]
pub struct Verifier {
    deadlines: Deadlines,
    digest: Digest,
    cache: Option<Arc<Cache>>,
    key: Option<[u8; RUN_KEY_BYTES]>,
    commitments: Commitments,
    phase: Phase,
    /// When the phase began.
    since: Duration,
    trips: Vec<Duration>,
    fill: Option<Duration>,
    frames: FrameBuffer,
    run: RunDigest,
    transcript: Transcript,
}

#[derive(Debug)]
enum Phase {
    Accept,
    /// This is to be said back, and was sent then.
    Echo([u8; 32], Duration),
    Roots,
    Fill(Filling),
    NonceDue(NonceUse),
    Walk(Space),
    Openings(Openings),
    /// The run up to here is what must be signed.
    Signature(Digest),
    Done,
    Rejected(Rejection),
}

impl Verifier {
    /// A verifier for one challenge; `cache` is [`Cache::for_challenge`], made once per beacon and shared.
    pub fn new(
        challenge: Challenge,
        cache: Option<Arc<Cache>>,
        deadlines: Deadlines,
    ) -> Result<Self, WrongCache> {
        let fits = match &cache {
            Some(cache) => cache.serves(&challenge),
            None => challenge.cache_log2().is_none(),
        };
        if !fits {
            return Err(WrongCache);
        }
        Ok(Self {
            deadlines,
            digest: challenge.digest(),
            cache,
            key: None,
            commitments: Commitments::default(),
            phase: Phase::Accept,
            since: Duration::ZERO,
            trips: Vec::new(),
            fill: None,
            frames: FrameBuffer::default(),
            run: RunDigest::new(&challenge),
            transcript: Transcript::new(challenge),
        })
    }

    /// The framed challenge, to be sent first. Elapsed times count from its sending.
    pub fn start(&self) -> Vec<u8> {
        frame(&Message::Challenge(self.transcript.challenge().clone()).encode())
    }

    /// Takes bytes from the prover, in chunks of any size, at `elapsed` since the challenge was sent. After a
    /// rejection every call repeats it.
    pub fn on_bytes(&mut self, mut chunk: &[u8], elapsed: Duration) -> Result<Step, Rejection> {
        if let Phase::Rejected(rejection) = &self.phase {
            return Err(rejection.clone());
        }
        let step = self.step(&mut chunk, elapsed);
        if let Err(rejection) = &step {
            self.phase = Phase::Rejected(rejection.clone());
        }
        step
    }

    /// Takes the nonce that [`Step::DrawNonce`] asked for and returns the framed bytes to send. The nonce must be
    /// drawn now, not before: it is what stops a prover from choosing roots to fit, and from walking ahead.
    pub fn send_nonce(&mut self, nonce: [u8; 32], elapsed: Duration) -> Result<Vec<u8>, NonceNotDue> {
        let Phase::NonceDue(use_of_nonce) = self.phase else { return Err(NonceNotDue) };
        let committed = self.run.digest();
        self.run.nonce(&nonce);
        self.transcript.turn(nonce);
        if use_of_nonce != NonceUse::Echo {
            self.since = elapsed;
        }
        Ok(match use_of_nonce {
            NonceUse::Echo => {
                self.phase = Phase::Echo(nonce, elapsed);
                frame(&Message::Echo(nonce).encode())
            }
            NonceUse::Start => {
                self.commitments = Commitments::new(self.transcript.challenge(), &nonce);
                self.phase = Phase::Roots;
                frame(&Message::StartNonce(nonce).encode())
            }
            NonceUse::Walk(space) => {
                self.commitments.begin_walks(space, &nonce);
                self.phase = Phase::Walk(space);
                frame(&Message::WalkNonce(nonce).encode())
            }
            NonceUse::Openings => {
                let queries = opening::queries(self.transcript.challenge(), &committed, &nonce);
                self.phase = Phase::Openings(Openings::new(queries, &self.commitments, self.cache.as_ref()));
                frame(&Message::OpeningNonce(nonce).encode())
            }
        })
    }

    /// The stream ended; what that means.
    pub fn on_end(&mut self) -> Rejection {
        let challenge = self.transcript.challenge();
        let incomplete = |stage, received, expected| Rejection::Incomplete { stage, received, expected };
        let missing = self.commitments.missing();
        let rejection = match &self.phase {
            Phase::Rejected(rejection) => rejection.clone(),
            Phase::Accept => incomplete(Stage::Accept, 0, 1),
            Phase::Echo(..) | Phase::NonceDue(NonceUse::Echo) => {
                incomplete(Stage::Accept, 1 + self.trips.len() as u64, 1 + u64::from(ECHOES))
            }
            Phase::Roots => {
                let rounds = challenge.devices().iter().map(|d| u64::from(d.params.rounds())).sum();
                incomplete(Stage::Roots, rounds - missing, rounds)
            }
            Phase::Fill(_) => {
                let asked = challenge.devices().iter().filter(|device| !device.residency.is_empty());
                let devices = asked.count() as u64;
                incomplete(Stage::Fill, devices - missing, devices)
            }
            Phase::Walk(space) => {
                let regions = challenge.devices().iter().filter_map(|device| device.region(*space));
                let segments = regions.map(|region| u64::from(region.walk().segments())).sum();
                incomplete(Stage::Walk, segments - missing, segments)
            }
            Phase::NonceDue(NonceUse::Start) => incomplete(Stage::Roots, 0, 1),
            Phase::NonceDue(NonceUse::Walk(_)) => incomplete(Stage::Walk, 0, 1),
            Phase::NonceDue(NonceUse::Openings) => incomplete(Stage::Openings, 0, 1),
            Phase::Openings(openings) => {
                incomplete(Stage::Openings, openings.received(), openings.expected())
            }
            Phase::Signature(_) => incomplete(Stage::Signature, 0, 1),
            Phase::Done => Rejection::TrailingBytes,
        };
        self.phase = Phase::Rejected(rejection.clone());
        rejection
    }

    /// How long each echo took, all of them when the start nonce is due. The prover can delay them.
    pub fn round_trips(&self) -> &[Duration] {
        &self.trips
    }

    /// Deadlines that follow from the [round trips](Verifier::round_trips), where they are tighter than those of the beginning.
    pub fn tighten(&mut self, deadlines: Deadlines) {
        self.deadlines = self.deadlines.tightest(deadlines);
    }

    /// The elapsed time at which the caller gives up waiting and calls [`Verifier::on_deadline`].
    pub fn deadline(&self) -> Duration {
        self.since.saturating_add(self.limit())
    }

    /// The deadline passed without the bytes.
    pub fn on_deadline(&mut self) -> Rejection {
        if let Phase::Rejected(rejection) = &self.phase {
            return rejection.clone();
        }
        let rejection = self.late();
        self.phase = Phase::Rejected(rejection.clone());
        rejection
    }

    /// The bytes so far; after a rejection, those that show it.
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Ends the run and keeps its bytes.
    pub fn into_transcript(self) -> Transcript {
        self.transcript
    }

    fn step(&mut self, chunk: &mut &[u8], elapsed: Duration) -> Result<Step, Rejection> {
        loop {
            match self.phase {
                Phase::NonceDue(use_of_nonce) if chunk.is_empty() => {
                    return Ok(Step::DrawNonce(use_of_nonce));
                }
                Phase::NonceDue(_) => return Err(self.extra(chunk, Rejection::UnsolicitedBytes)),
                Phase::Done => return Err(self.extra(chunk, Rejection::TrailingBytes)),
                _ if elapsed > self.deadline() => return Err(self.late()),
                _ => {}
            }
            let limit = self.frame_limit();
            let before = *chunk;
            let filled = self.frames.fill(chunk, limit);
            self.record(&before[..before.len() - chunk.len()]);
            let Some(body) = filled? else { return Ok(Step::More) };
            self.on_message(Message::decode(&body)?, elapsed)?;
            if matches!(self.phase, Phase::Done) {
                return match chunk.is_empty() {
                    true => Ok(Step::Done(self.outcome(elapsed))),
                    false => Err(self.extra(chunk, Rejection::TrailingBytes)),
                };
            }
        }
    }

    fn frame_limit(&self) -> u32 {
        match &self.phase {
            Phase::Openings(openings) => openings.frame_limit(self.transcript.challenge()),
            _ => Message::COMMIT_BYTES_MAX,
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        self.run.sent(bytes);
        self.transcript.record(bytes);
    }

    /// Keeps one of the bytes that should not be there, so that the transcript shows it.
    fn extra(&mut self, chunk: &[u8], rejection: Rejection) -> Rejection {
        self.record(&chunk[..1.min(chunk.len())]);
        rejection
    }

    const fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Accept | Phase::Echo(..) | Phase::NonceDue(NonceUse::Echo) => Stage::Accept,
            Phase::Fill(_) => Stage::Fill,
            Phase::Walk(_) => Stage::Walk,
            Phase::Openings(_) => Stage::Openings,
            Phase::Signature(_) => Stage::Signature,
            Phase::Roots | Phase::NonceDue(_) | Phase::Done | Phase::Rejected(_) => Stage::Roots,
        }
    }

    const fn limit(&self) -> Duration {
        match self.stage() {
            Stage::Accept => self.deadlines.accept,
            Stage::Roots => self.deadlines.work,
            Stage::Fill => self.deadlines.fill,
            Stage::Walk => self.deadlines.walk,
            Stage::Openings | Stage::Signature => self.deadlines.openings,
        }
    }

    const fn late(&self) -> Rejection {
        Rejection::DeadlineMissed { stage: self.stage(), limit: self.limit() }
    }

    fn on_message(&mut self, message: Message, elapsed: Duration) -> Result<(), Rejection> {
        let commitments = &mut self.commitments;
        let since_nonce = elapsed.saturating_sub(self.since);
        match (&mut self.phase, message) {
            (_, Message::Refusal(refusal)) => return Err(Rejection::Refused(refusal)),
            (Phase::Accept, Message::Accept(accept)) => return self.on_accept(accept),
            (Phase::Echo(nonce, sent), Message::Echoed(echoed)) if *nonce == echoed => {
                self.trips.push(elapsed.saturating_sub(*sent));
                let all = self.trips.len() == usize::from(ECHOES);
                self.phase = Phase::NonceDue(if all { NonceUse::Start } else { NonceUse::Echo });
                return Ok(());
            }
            (Phase::Roots, Message::Root(root)) => commitments.on_root(&root, since_nonce)?,
            (Phase::Fill(filling), Message::Filled(device)) => commitments.on_filled(filling, device)?,
            (Phase::Walk(space), Message::SegmentRoot(root)) => {
                commitments.on_segment_root(&root, *space, since_nonce, &self.deadlines)?;
            }
            (Phase::Openings(openings), Message::Opening(opening)) => {
                openings.on_opening(&opening, self.transcript.challenge(), commitments)?;
            }
            (Phase::Openings(openings), Message::WalkOpening(opening)) => {
                openings.on_step(&opening, commitments)?;
            }
            (Phase::Signature(run), Message::Signature(signature)) => {
                return match self.key {
                    Some(key) if is_signed(&key, run, &signature) => {
                        self.phase = Phase::Done;
                        Ok(())
                    }
                    _ => Err(Rejection::Signature),
                };
            }
            (_, other) => return Err(Rejection::UnexpectedMessage(other.kind())),
        }
        self.advance(elapsed);
        Ok(())
    }

    fn on_accept(&mut self, accept: Accept) -> Result<(), Rejection> {
        if accept.version != PROTOCOL_VERSION {
            return Err(Rejection::WrongVersion(accept.version));
        }
        if accept.challenge != self.digest {
            return Err(Rejection::ChallengeMismatch);
        }
        self.key = Some(accept.key);
        self.phase = Phase::NonceDue(NonceUse::Echo);
        Ok(())
    }

    /// Goes on to the next phase if this one has all that it waits for.
    fn advance(&mut self, elapsed: Duration) {
        let complete = self.commitments.missing() == 0;
        let next = match &self.phase {
            Phase::Roots if complete && self.cache.is_some() => Phase::Fill(self.commitments.begin_fill()),
            Phase::Roots if complete => self.after(None),
            Phase::Fill(_) if complete => {
                self.fill = Some(elapsed.saturating_sub(self.since));
                self.after(None)
            }
            Phase::Walk(space) if complete => {
                let space = *space;
                self.commitments.pass_barriers(space);
                self.after(Some(space))
            }
            Phase::Openings(openings) if openings.received() == openings.expected() => {
                self.phase = Phase::Signature(self.run.digest());
                return;
            }
            _ => return,
        };
        self.phase = next;
        self.since = elapsed;
    }

    /// What comes after the walks through a space, or before the first.
    fn after(&self, space: Option<Space>) -> Phase {
        let next =
            self.transcript.challenge().spaces().find(|next| space.is_none_or(|walked| *next < walked));
        Phase::NonceDue(next.map_or(NonceUse::Openings, NonceUse::Walk))
    }

    fn outcome(&mut self, elapsed: Duration) -> Outcome {
        let devices =
            self.transcript.challenge().devices().iter().enumerate().filter_map(|(position, device)| {
                Some(ProvenDevice {
                    claim: device.claim.clone(),
                    params: device.params,
                    residency: device.residency.clone(),
                    last_root: self.commitments.last_root(position)?,
                })
            });
        let walks = self.commitments.walks().iter().map(|walked| WalkTime {
            device: walked.key().0,
            params: *walked.walk().region().params(),
            took: walked.took(),
        });
        Outcome {
            devices: devices.collect(),
            fill: self.fill,
            walks: walks.collect(),
            openings: elapsed.saturating_sub(self.since),
            rounds: self.commitments.take_times(),
        }
    }
}
