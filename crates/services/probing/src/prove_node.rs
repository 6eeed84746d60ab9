//! The talk with the prover: moves bytes between the pure verifier and the node, under the verifier's deadlines.
//!
//! From the first byte of the prover's answer, nothing that it does ends the talk without a trace: no exit code and no
//! broken connection throws the transcript away, and whatever ends it enters the node's record
//! (`basilica_verification::timing`). From the moment when the prover can know which cells it must open, the end says that
//! it came after the nonce (see `basilica_verification::aborted`).

use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{ExitStatus, Process, Shell, ShellError};
use basilica_proof::{
    Binding, Challenge, ClaimReport, Deadlines, NonceUse, Rejection, Step, Transcript, Verifier,
};
use basilica_runtime_service::{ErrorChain, within};
use basilica_types::{Digest, Millis, NodeId};
use basilica_verification::asked::{ask, deadlines, limits};
use basilica_verification::calibration::{CALIBRATIONS, Margins, RoundTrips};
use basilica_verification::classes::Limits;
use basilica_verification::{Break, Event, Measured, ProofEnd, Reason};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info};

use crate::breaks::command_break;
use crate::commands::{self, GATE_CLOSED, PROVER_MISSING};
use crate::{Probing, open_proof};

/// A proof may take so many times what a stage may.
const WHOLE_PROOF: u32 = 3;
/// Between the end of the prover's output and its exit code.
const EXIT_DEADLINE: Millis = Millis::from_secs(5);

/// Those who are challenged at once with a node, for whom it waits at two points of its talk.
#[async_trait]
pub trait Company: Send {
    /// Time left until the works begin at the latest.
    fn gathering_left(&self) -> Millis;

    /// Waits for the moment when all works begin. This node may take so long for its work and for filling its memory.
    ///
    /// # Errors
    /// If that moment has passed.
    async fn before_work(&mut self, work_and_fill: (Duration, Duration)) -> Result<(), TooLate>;

    /// Waits for the moment when the walks begin.
    async fn before_walk(&mut self);
}

/// The others have begun without this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate;

/// How a proof went.
#[derive(Debug)]
pub struct Proof {
    /// For the check.
    pub event: Event,
    /// All bytes exchanged with their hash, if the prover was there.
    pub transcript: Option<(Digest, Vec<u8>)>,
    /// The memory that the transcript takes, until it is stored.
    pub room: Option<OwnedSemaphorePermit>,
}

impl Proof {
    fn new(transcript: Transcript, end: impl FnOnce(Digest) -> ProofEnd) -> Self {
        let (digest, bytes) = (transcript.hash(), transcript.encode());
        Self { event: Event::Proof(end(digest)), transcript: Some((digest, bytes)), room: None }
    }
}

/// How the talk ended.
pub(crate) enum End {
    Verified(Box<Measured>),
    Rejected(Rejection),
    /// The prover's output ended before its answer was complete.
    Silent,
    /// The connection failed.
    Lost(ShellError),
    /// The others of its meeting began without it.
    TooLate,
}

impl<'a> Probing<'a> {
    /// Challenges all claimed devices at once and verifies the answer as it arrives. `session_may_be_over` says whether the gate's
    /// exit code is to be believed.
    ///
    /// # Errors
    /// If the challenge cannot be made, or the prover cannot be started.
    pub async fn prove(
        self,
        node: NodeId,
        shell: &dyn Shell,
        claims: &'a ClaimReport,
        session_may_be_over: &(dyn Fn() -> bool + Sync),
        company: Option<&'a mut dyn Company>,
    ) -> Result<Proof, Break> {
        let probing = self;
        let cannot = |error: &(dyn std::error::Error + 'static)| {
            debug!(target: "validator::verification", { node.id = %node, error = %ErrorChain(error) }, "challenge cannot be made");
            Break::Internal
        };
        let asked = ask(claims.claims(), probing.settings.work).map_err(|error| cannot(&error))?;
        let drawn = probing.beacons.draw(asked.cache_log2).await?;
        let binding = Binding {
            beacon: drawn.beacon,
            validator_nonce: probing.entropy.array(),
            node,
            host_key: shell.host_key().blob().to_vec(),
        };
        let challenge =
            Challenge::new(binding, asked.cache_log2, asked.devices).map_err(|error| cannot(&error))?;
        let memory = probing.room.reserve(challenge.answer_bytes());
        let room = match &company {
            None => memory.await,
            // In a meeting others wait; that there is no room is not the node's doing.
            Some(company) => within(probing.clock, company.gathering_left(), memory)
                .await
                .map_err(|elapsed| cannot(&elapsed))?,
        };
        let deadlines = deadlines_after(probing, claims, None);
        let limits = limits(&deadlines);
        let work_and_fill = (deadlines.work, deadlines.fill);
        let verifier = Verifier::new(challenge, drawn.cache, deadlines).map_err(|error| cannot(&error))?;
        let process = shell.start(&commands::prove(probing.prover)).await.map_err(|e| command_break(&e))?;
        let started = probing.clock.monotonic();
        let talk = Talk {
            probing,
            claims,
            process,
            limits,
            started,
            waited: Duration::ZERO,
            answered: false,
            after_nonce: false,
            company,
            work_and_fill,
        };
        // Boxed: its hash states would make every future that holds it large.
        let proof = talk.run(Box::new(verifier), node, session_may_be_over).await?;
        Ok(Proof { room, ..proof })
    }
}

fn deadlines_after(probing: Probing<'_>, claims: &ClaimReport, trips: Option<RoundTrips>) -> Deadlines {
    let most = probing.settings.proof_deadline;
    deadlines(claims.devices.iter(), CALIBRATIONS, &Margins::default(), trips, most)
}

struct Talk<'a> {
    probing: Probing<'a>,
    claims: &'a ClaimReport,
    process: Box<dyn Process>,
    limits: Limits,
    started: Duration,
    /// Spent on waiting for others.
    waited: Duration,
    /// The prover has sent something: it is there, and its gate was open.
    answered: bool,
    /// The prover may know what it has to open.
    after_nonce: bool,
    /// Waited at before the work and before the first walk.
    company: Option<&'a mut dyn Company>,
    /// What these stages may take.
    work_and_fill: (Duration, Duration),
}

impl Talk<'_> {
    async fn run(
        mut self,
        mut verifier: Box<Verifier>,
        node: NodeId,
        session_may_be_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<Proof, Break> {
        let end = match self.commit(&mut verifier).await {
            Ok(None) => {
                let deadline = self.deadline(&verifier);
                let (checked, end) =
                    open_proof::receive(self.probing, &mut self.process, verifier, (self.started, deadline))
                        .await?;
                verifier = checked;
                end
            }
            Ok(Some(end)) => Ok(end),
            Err(error) => Err(error),
        };
        let end = end.unwrap_or_else(End::Lost);
        let ran_ms = Millis::from(self.elapsed()).0;
        let Self { probing, process, limits, answered, after_nonce, .. } = self;
        let (reason, error) = match end {
            End::Verified(measured) => {
                debug!(target: "validator::verification", { node.id = %node, proof_ms = ran_ms }, "proof verified");
                let verified = |transcript| ProofEnd::Verified { transcript, limits, measured };
                return Ok(Proof::new(verifier.into_transcript(), verified));
            }
            End::Rejected(rejection) => (Reason::of_rejection(&rejection), rejection.to_string()),
            End::TooLate => return Err(Break::CommandDeadline),
            End::Lost(error) => (command_break(&error).reason(), ErrorChain(&error).to_string()),
            End::Silent => {
                match exit_code(probing, process).await {
                    // A prover that has begun to answer must not end as the gate does.
                    Some(GATE_CLOSED) if !answered && session_may_be_over() => {
                        return Err(Break::SessionOver);
                    }
                    Some(PROVER_MISSING) if !answered => {
                        return Ok(Proof { event: Event::ProverMissing, transcript: None, room: None });
                    }
                    _ => {}
                }
                let rejection = verifier.on_end();
                (Reason::of_rejection(&rejection), rejection.to_string())
            }
        };
        info!(target: "validator::verification", { node.id = %node, proof_ms = ran_ms,
            reason = reason.code(), after_nonce, error }, "proof rejected");
        let rejected = |transcript| ProofEnd::Rejected { reason, transcript, after_nonce };
        Ok(Proof::new(verifier.into_transcript(), rejected))
    }

    fn elapsed(&self) -> Duration {
        self.probing.clock.monotonic().saturating_sub(self.started)
    }

    /// When the stage must be over, counted as [`Self::elapsed`]: by its own deadline, and by that of the whole proof, which a
    /// prover that drips through every stage does not outlive. What others are waited for is not its time.
    fn deadline(&self, verifier: &Verifier) -> Duration {
        let whole = self.probing.settings.proof_deadline.as_duration() * WHOLE_PROOF + self.waited;
        verifier.deadline().min(whole)
    }

    fn remaining(&self, verifier: &Verifier) -> Millis {
        Millis::from(self.deadline(verifier).saturating_sub(self.elapsed()))
    }

    /// Up to the opening nonce; how the talk ended, if it did before.
    async fn commit(&mut self, verifier: &mut Verifier) -> Result<Option<End>, ShellError> {
        let challenge = verifier.start();
        if let Some(late) = self.send(verifier, &challenge).await? {
            return Ok(Some(late));
        }
        loop {
            let limit = self.remaining(verifier);
            let received = within(self.probing.clock, limit, self.process.receive()).await;
            let bytes = match received {
                Err(_elapsed) => return Ok(Some(End::Rejected(verifier.on_deadline()))),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) => return Ok(Some(End::Silent)),
                Ok(Ok(Some(bytes))) => bytes,
            };
            self.answered = true;
            let elapsed = self.elapsed();
            match verifier.on_bytes(&bytes, elapsed) {
                Err(rejection) => return Ok(Some(End::Rejected(rejection))),
                Ok(Step::Done(outcome)) => {
                    return Ok(Some(End::Verified(Box::new(Measured::of_proof(&outcome)))));
                }
                Ok(Step::More) => {}
                Ok(Step::DrawNonce(use_of_nonce)) => {
                    if let Some(end) = self.draw(verifier, use_of_nonce).await? {
                        return Ok(Some(end));
                    }
                    if self.after_nonce {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits for the others and sends a nonce.
    async fn draw(
        &mut self,
        verifier: &mut Verifier,
        use_of_nonce: NonceUse,
    ) -> Result<Option<End>, ShellError> {
        if use_of_nonce == NonceUse::Start {
            self.set_pace(verifier);
        }
        let before = self.elapsed();
        if self.meet(use_of_nonce).await.is_err() {
            return Ok(Some(End::TooLate));
        }
        let elapsed = self.elapsed();
        self.waited += elapsed.saturating_sub(before);
        let nonce = self.probing.entropy.array();
        let message = verifier.send_nonce(nonce, elapsed).expect("the verifier has just asked for it");
        self.after_nonce |= use_of_nonce == NonceUse::Openings;
        self.send(verifier, &message).await
    }

    /// Waits for the others, if there are any and this is where they wait for each other: before the works begin, and before the
    /// first walks do.
    async fn meet(&mut self, use_of_nonce: NonceUse) -> Result<(), TooLate> {
        match (use_of_nonce, &mut self.company) {
            (NonceUse::Start, Some(company)) => company.before_work(self.work_and_fill).await,
            (NonceUse::Walk(_), _) => {
                if let Some(company) = self.company.take() {
                    company.before_walk().await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// All echoes are there: the deadlines of what begins now follow from them.
    fn set_pace(&mut self, verifier: &mut Verifier) {
        let trips: Vec<Millis> = verifier.round_trips().iter().map(|trip| Millis::from(*trip)).collect();
        let deadlines = deadlines_after(self.probing, self.claims, RoundTrips::of(&trips));
        self.limits = limits(&deadlines);
        verifier.tighten(deadlines);
    }

    /// Sends, unless the node does not read in time.
    async fn send(&mut self, verifier: &mut Verifier, bytes: &[u8]) -> Result<Option<End>, ShellError> {
        let limit = self.remaining(verifier);
        match within(self.probing.clock, limit, self.process.send(bytes)).await {
            Err(_elapsed) => Ok(Some(End::Rejected(verifier.on_deadline()))),
            Ok(Ok(())) => Ok(None),
            // The prover ended before it read everything; its exit code says why.
            Ok(Err(ShellError::Lost { .. })) => Ok(Some(End::Silent)),
            Ok(Err(error)) => Err(error),
        }
    }
}

/// The prover's exit code, if it ends now.
async fn exit_code(probing: Probing<'_>, process: Box<dyn Process>) -> Option<u32> {
    let words = String::from_utf8_lossy(process.stderr()).trim().to_owned();
    let status = within(probing.clock, EXIT_DEADLINE, process.finish()).await;
    debug!(target: "validator::verification", { status = ?status, stderr = %words }, "prover ended early");
    match status {
        Ok(Ok(ExitStatus::Code(code))) => Some(code),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
