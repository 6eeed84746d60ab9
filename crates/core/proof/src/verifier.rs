//! The verifier: a state machine without I/O. The caller moves bytes and tells the time.
//!
//! ```text
//!   start() ─bytes─► prover          on_bytes(..) = More        keep reading until deadline()
//!                                    on_bytes(..) = DrawNonce   all roots are in: draw 32 fresh bytes, open(nonce)
//!   open(nonce) ─bytes─► prover      on_bytes(..) = Done        the proof holds
//!                                    Err(rejection)             end it; transcript() has the bytes that show it
//! ```
//! Openings are checked one by one as they arrive, so memory is little more than the transcript.

use std::time::Duration;

use basilica_types::Digest;

use crate::PROTOCOL_VERSION;
use crate::challenge::Challenge;
use crate::claim::DeviceClaim;
use crate::gemm::Kernel;
use crate::merkle;
use crate::opening::{self, Query};
use crate::params::ProofParams;
use crate::prf;
use crate::rejection::{Rejection, Stage};
use crate::seed::Seed;
use crate::transcript::{Opened, Transcript};
use crate::wire::{Accept, FrameBuffer, Message, Opening, Root, frame};

/// Time limits, as data: the caller chooses them per class and measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the challenge to the last root of all devices.
    pub roots: Duration,
    /// From the opening nonce to the last opening.
    pub openings: Duration,
}

impl Deadlines {
    /// No limits: for transcripts, whose times have passed.
    pub const UNLIMITED: Self = Self { roots: Duration::MAX, openings: Duration::MAX };
}

/// What the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read on.
    More,
    /// Draw 32 fresh random bytes and call [`Verifier::open`].
    DrawNonce,
    /// The proof holds.
    Done(Outcome),
}

/// A proof that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What each device proved, in the challenge's order.
    pub devices: Vec<ProvenDevice>,
    /// When each device's roots arrived, since the challenge, by the caller's clock.
    pub rounds: Vec<Vec<Duration>>,
    /// From the nonce to the last opening.
    pub openings: Duration,
}

/// The work that one device proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenDevice {
    /// The claim that was challenged.
    pub claim: DeviceClaim,
    /// The work.
    pub params: ProofParams,
    /// The root of its last round, which all earlier ones lead to.
    pub last_root: Digest,
}

/// [`Verifier::open`] was called when no nonce was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no opening nonce is due")]
pub struct NonceNotDue;

/// Checks one run. See the module's picture.
#[derive(Debug)]
pub struct Verifier {
    deadlines: Deadlines,
    digest: Digest,
    commitments: Commitments,
    phase: Phase,
    frames: FrameBuffer,
    transcript: Transcript,
}

#[derive(Debug)]
enum Phase {
    Accept,
    Roots,
    NonceDue,
    Openings(OpeningPhase),
    Done,
    Rejected(Rejection),
}

/// Roots and the seeds that they lead to, per device.
#[derive(Debug)]
struct Commitments {
    roots: Vec<Vec<Digest>>,
    seeds: Vec<Vec<Seed>>,
    times: Vec<Vec<Duration>>,
    missing: u64,
}

#[derive(Debug)]
struct OpeningPhase {
    queries: Vec<Query>,
    next: usize,
    since: Duration,
    checker: Checker,
}

impl Verifier {
    /// A verifier for one challenge.
    pub fn new(challenge: Challenge, deadlines: Deadlines) -> Self {
        let devices = challenge.devices();
        let commitments = Commitments {
            roots: vec![Vec::new(); devices.len()],
            seeds: devices.iter().map(|device| vec![Seed::first(challenge.binding(), device)]).collect(),
            times: vec![Vec::new(); devices.len()],
            missing: devices.iter().map(|device| u64::from(device.params.rounds())).sum(),
        };
        Self {
            deadlines,
            digest: challenge.digest(),
            commitments,
            phase: Phase::Accept,
            frames: FrameBuffer::default(),
            transcript: Transcript::new(challenge),
        }
    }

    /// The framed challenge, to be sent first. Elapsed times count from its sending.
    pub fn start(&self) -> Vec<u8> {
        frame(&Message::Challenge(self.transcript.challenge.clone()).encode())
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
    /// drawn now, not before: it is what stops a prover from choosing roots to fit.
    pub fn open(&mut self, nonce: [u8; 32], elapsed: Duration) -> Result<Vec<u8>, NonceNotDue> {
        if !matches!(self.phase, Phase::NonceDue) {
            return Err(NonceNotDue);
        }
        let queries = opening::queries(&self.transcript.challenge, &self.commitments.roots, &nonce);
        let checker = Checker::new(Kernel::detect());
        self.phase = Phase::Openings(OpeningPhase { queries, next: 0, since: elapsed, checker });
        self.transcript.opened = Some(Opened { nonce, answers: Vec::new() });
        Ok(frame(&Message::OpeningNonce(nonce).encode()))
    }

    /// The stream ended; what that means.
    pub fn on_end(&mut self) -> Rejection {
        let rounds = self.transcript.challenge.devices().iter().map(|d| u64::from(d.params.rounds())).sum();
        let rejection = match &self.phase {
            Phase::Rejected(rejection) => rejection.clone(),
            Phase::Accept => Rejection::Incomplete { stage: Stage::Accept, received: 0, expected: 1 },
            Phase::Roots => {
                let received = rounds - self.commitments.missing;
                Rejection::Incomplete { stage: Stage::Roots, received, expected: rounds }
            }
            Phase::NonceDue => Rejection::Incomplete { stage: Stage::Openings, received: 0, expected: 1 },
            Phase::Openings(OpeningPhase { queries, next, .. }) => Rejection::Incomplete {
                stage: Stage::Openings,
                received: *next as u64,
                expected: queries.len() as u64,
            },
            Phase::Done => Rejection::TrailingBytes,
        };
        self.phase = Phase::Rejected(rejection.clone());
        rejection
    }

    /// The elapsed time at which the caller gives up waiting and calls [`Verifier::on_deadline`].
    pub fn deadline(&self) -> Duration {
        match &self.phase {
            Phase::Openings(phase) => phase.since.saturating_add(self.deadlines.openings),
            _ => self.deadlines.roots,
        }
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
                Phase::NonceDue if chunk.is_empty() => return Ok(Step::DrawNonce),
                Phase::NonceDue => return Err(self.extra(chunk, Rejection::UnsolicitedBytes)),
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
            if let Some(outcome) = self.finished(elapsed) {
                return match chunk.is_empty() {
                    true => Ok(Step::Done(outcome)),
                    false => Err(self.extra(chunk, Rejection::TrailingBytes)),
                };
            }
        }
    }

    fn frame_limit(&self) -> u32 {
        match &self.phase {
            Phase::Openings(OpeningPhase { queries, next, .. }) => {
                let depth = queries.get(*next).and_then(|query| self.params(query.device));
                Message::opening_bytes(depth.map_or(0, ProofParams::depth))
            }
            _ => Message::COMMIT_BYTES_MAX,
        }
    }

    fn params(&self, device: u16) -> Option<&ProofParams> {
        self.transcript.challenge.devices().get(usize::from(device)).map(|device| &device.params)
    }

    fn record(&mut self, bytes: &[u8]) {
        match &mut self.transcript.opened {
            None => self.transcript.commitments.extend_from_slice(bytes),
            Some(opened) => opened.answers.extend_from_slice(bytes),
        }
    }

    /// Keeps one of the bytes that should not be there, so that the transcript shows it.
    fn extra(&mut self, chunk: &[u8], rejection: Rejection) -> Rejection {
        self.record(&chunk[..1.min(chunk.len())]);
        rejection
    }

    fn late(&self) -> Rejection {
        let (stage, limit) = match &self.phase {
            Phase::Openings(_) => (Stage::Openings, self.deadlines.openings),
            Phase::Accept => (Stage::Accept, self.deadlines.roots),
            _ => (Stage::Roots, self.deadlines.roots),
        };
        Rejection::DeadlineMissed { stage, limit }
    }

    fn on_message(&mut self, message: Message, elapsed: Duration) -> Result<(), Rejection> {
        match (&mut self.phase, message) {
            (_, Message::Refusal(refusal)) => Err(Rejection::Refused(refusal)),
            (Phase::Accept, Message::Accept(accept)) => self.on_accept(accept),
            (Phase::Roots, Message::Root(root)) => self.on_root(&root, elapsed),
            (Phase::Openings(phase), Message::Opening(opening)) => {
                phase.on_opening(&opening, &self.transcript.challenge, &self.commitments)
            }
            (_, other) => Err(Rejection::UnexpectedMessage(other.kind())),
        }
    }

    fn on_accept(&mut self, accept: Accept) -> Result<(), Rejection> {
        if accept.version != PROTOCOL_VERSION {
            return Err(Rejection::WrongVersion(accept.version));
        }
        if accept.challenge != self.digest {
            return Err(Rejection::ChallengeMismatch);
        }
        self.phase = Phase::Roots;
        Ok(())
    }

    fn on_root(&mut self, message: &Root, elapsed: Duration) -> Result<(), Rejection> {
        let device = message.device;
        let rounds = self.params(device).ok_or(Rejection::UnknownDevice(device))?.rounds();
        let commitments = &mut self.commitments;
        let position = usize::from(device);
        let expected = u32::try_from(commitments.roots[position].len()).expect("at most 4,096 rounds");
        if expected == rounds {
            return Err(Rejection::RootCountMismatch { device, rounds });
        }
        if message.round != expected {
            return Err(Rejection::RootOrder { device, round: message.round, expected });
        }
        if expected + 1 < rounds {
            let seed = commitments.seeds[position][expected as usize].next(expected + 1, &message.root);
            commitments.seeds[position].push(seed);
        }
        commitments.roots[position].push(message.root);
        commitments.times[position].push(elapsed);
        commitments.missing -= 1;
        if commitments.missing == 0 {
            self.phase = Phase::NonceDue;
        }
        Ok(())
    }

    fn finished(&mut self, elapsed: Duration) -> Option<Outcome> {
        let Phase::Openings(phase) = &self.phase else { return None };
        if phase.next < phase.queries.len() {
            return None;
        }
        let openings = elapsed.saturating_sub(phase.since);
        let devices = self.transcript.challenge.devices().iter().zip(&self.commitments.roots);
        let devices = devices
            .filter_map(|(device, roots)| {
                let last_root = *roots.last()?;
                Some(ProvenDevice { claim: device.claim.clone(), params: device.params, last_root })
            })
            .collect();
        self.phase = Phase::Done;
        Some(Outcome { devices, rounds: std::mem::take(&mut self.commitments.times), openings })
    }
}

impl OpeningPhase {
    fn on_opening(
        &mut self,
        opening: &Opening,
        challenge: &Challenge,
        commitments: &Commitments,
    ) -> Result<(), Rejection> {
        let query = self.queries[self.next];
        let position = u32::try_from(self.next).expect("at most 64 devices of 4,096 openings");
        if (opening.device, opening.round, opening.leaf) != (query.device, query.round, query.leaf) {
            return Err(Rejection::OpeningOrder { position });
        }
        let device = usize::from(query.device);
        let params = challenge.devices()[device].params;
        let round = query.round as usize;
        self.checker.check(
            opening,
            query.cell,
            params,
            &commitments.seeds[device][round],
            &commitments.roots[device][round],
        )?;
        self.next += 1;
        Ok(())
    }
}

/// Checks single openings.
#[derive(Clone, Copy, Debug)]
pub struct Checker {
    kernel: Kernel,
}

impl Checker {
    /// A checker that multiplies by `kernel`.
    pub const fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Checks that a leaf leads to `root`, and that its cell `cell` is the product under `seed`.
    pub fn check(
        &self,
        opening: &Opening,
        cell: u32,
        params: ProofParams,
        seed: &Seed,
        root: &Digest,
    ) -> Result<(), Rejection> {
        let Opening { device, round, leaf, .. } = *opening;
        let full_path = opening.siblings.len() == params.depth() as usize && leaf < params.leaves();
        if !full_path || merkle::climb(opening.cells.hash(), leaf, &opening.siblings) != *root {
            return Err(Rejection::MerklePath { device, round, leaf });
        }
        let (row, col) = params.position(leaf, cell);
        let product = prf::cell(self.kernel, seed, row, col, params.inner());
        match opening.cells.0.get(cell as usize) {
            Some(claimed) if *claimed == product => Ok(()),
            _ => Err(Rejection::OpeningMismatch { device, round, row, col }),
        }
    }
}
