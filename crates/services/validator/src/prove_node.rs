//! The talk with the prover: moves bytes between the pure verifier and the node, under the verifier's deadlines.
//!
//! From the first byte of the prover's answer, nothing that it does ends the talk without a trace: no exit code and no
//! broken connection throws the transcript away, and whatever ends it enters the node's record
//! (`basilica_verification::timing`). From the moment when the prover can know which cells it must open, the end says that
//! it came after the nonce (see `basilica_verification::aborted`).

use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{ExitStatus, NodeKey, Process, Shell, ShellError};
use basilica_proof::{
    Binding, Challenge, ClaimReport, Deadlines, NonceUse, Rejection, Step, Transcript, Verifier,
};
use basilica_runtime_service::{ErrorChain, within};
use basilica_types::{Digest, Millis};
use basilica_verification::asked::{ask, deadlines, limits};
use basilica_verification::calibration::{CALIBRATIONS, Margins, RoundTrips};
use basilica_verification::classes::Limits;
use basilica_verification::{Break, Event, Measured, ProofEnd, Reason};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info};

use crate::commands::{self, GATE_CLOSED, PROVER_MISSING};
use crate::connections::command_break;
use crate::meeting::{Seat, TooLate};
use crate::open_proof;
use crate::sessions::Access;
use crate::shared::Shared;

/// A proof may take so many times what a stage may.
const WHOLE_PROOF: u32 = 3;
/// Between the end of the prover's output and its exit code.
const EXIT_DEADLINE: Millis = Millis::from_secs(5);

/// Who is asked, and with whom.
pub(crate) struct Asked<'a> {
    pub(crate) node: NodeKey,
    pub(crate) access: &'a Arc<Access>,
    /// The node's place in a meeting, if it is challenged at once with others.
    pub(crate) seat: Option<&'a mut Seat>,
}

/// How a proof went.
pub(crate) struct Proof {
    pub(crate) event: Event,
    pub(crate) transcript: Option<(Digest, Vec<u8>)>,
    /// The memory that the transcript takes, until it is stored.
    pub(crate) room: Option<OwnedSemaphorePermit>,
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

/// Challenges all claimed devices at once and verifies the answer as it arrives.
pub(crate) async fn prove(
    shared: &Shared,
    who: Asked<'_>,
    shell: &dyn Shell,
    claims: &ClaimReport,
) -> Result<Proof, Break> {
    let Asked { node, access, seat } = who;
    let cannot = |error: &(dyn std::error::Error + 'static)| {
        debug!(target: "validator::verification", { node.id = %node.node, error = %ErrorChain(error) }, "challenge cannot be made");
        Break::Internal
    };
    let asked = ask(claims.claims(), shared.settings.work).map_err(|error| cannot(&error))?;
    let drawn = shared.beacon(asked.cache_log2).await?;
    let binding = Binding {
        beacon: drawn.beacon,
        validator_nonce: shared.ports.entropy.array(),
        node: node.node,
        host_key: shell.host_key().blob().to_vec(),
    };
    let challenge =
        Challenge::new(binding, asked.cache_log2, asked.devices).map_err(|error| cannot(&error))?;
    let memory = shared.reserve_proof_memory(challenge.answer_bytes());
    let room = match &seat {
        None => memory.await,
        // In a meeting others wait; that there is no room is not the node's doing.
        Some(seat) => within(shared.ports.clock.as_ref(), seat.gathering_left(), memory)
            .await
            .map_err(|elapsed| cannot(&elapsed))?,
    };
    let deadlines = deadlines_after(shared, claims, None);
    let limits = limits(&deadlines);
    let work_and_fill = (deadlines.work, deadlines.fill);
    let verifier = Verifier::new(challenge, drawn.cache, deadlines).map_err(|error| cannot(&error))?;
    let process = shell.start(&commands::prove(&shared.prover)).await.map_err(|e| command_break(&e))?;
    let started = shared.ports.clock.monotonic();
    let talk = Talk {
        shared,
        claims,
        process,
        limits,
        started,
        waited: Duration::ZERO,
        answered: false,
        after_nonce: false,
        seat,
        work_and_fill,
    };
    // Boxed: its hash states would make every future that holds it large.
    let proof = talk.run(Box::new(verifier), node, access).await?;
    Ok(Proof { room, ..proof })
}

fn deadlines_after(shared: &Shared, claims: &ClaimReport, trips: Option<RoundTrips>) -> Deadlines {
    let most = shared.settings.proof_deadline;
    deadlines(claims.devices.iter(), CALIBRATIONS, &Margins::default(), trips, most)
}

struct Talk<'a> {
    shared: &'a Shared,
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
    seat: Option<&'a mut Seat>,
    /// What these stages may take.
    work_and_fill: (Duration, Duration),
}

impl Talk<'_> {
    async fn run(
        mut self,
        mut verifier: Box<Verifier>,
        node: NodeKey,
        access: &Arc<Access>,
    ) -> Result<Proof, Break> {
        let end = match self.commit(&mut verifier).await {
            Ok(None) => {
                let deadline = self.deadline(&verifier);
                let (checked, end) =
                    open_proof::receive(self.shared, &mut self.process, verifier, (self.started, deadline))
                        .await?;
                verifier = checked;
                end
            }
            Ok(Some(end)) => Ok(end),
            Err(error) => Err(error),
        };
        let end = end.unwrap_or_else(End::Lost);
        let ran_ms = Millis::from(self.elapsed()).0;
        let Self { shared, process, limits, answered, after_nonce, .. } = self;
        let (reason, error) = match end {
            End::Verified(measured) => {
                debug!(target: "validator::verification", { node.id = %node.node, proof_ms = ran_ms }, "proof verified");
                let verified = |transcript| ProofEnd::Verified { transcript, limits, measured };
                return Ok(Proof::new(verifier.into_transcript(), verified));
            }
            End::Rejected(rejection) => (Reason::of_rejection(&rejection), rejection.to_string()),
            End::TooLate => return Err(Break::CommandDeadline),
            End::Lost(error) => (command_break(&error).reason(), ErrorChain(&error).to_string()),
            End::Silent => {
                match exit_code(shared, process).await {
                    // A prover that has begun to answer must not end as the gate does.
                    Some(GATE_CLOSED) if !answered && shared.may_be_over(&node.miner, access) => {
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
        info!(target: "validator::verification", { node.id = %node.node, proof_ms = ran_ms,
            reason = reason.code(), after_nonce, error }, "proof rejected");
        let rejected = |transcript| ProofEnd::Rejected { reason, transcript, after_nonce };
        Ok(Proof::new(verifier.into_transcript(), rejected))
    }

    fn elapsed(&self) -> Duration {
        self.shared.ports.clock.monotonic().saturating_sub(self.started)
    }

    /// When the stage must be over, counted as [`Self::elapsed`]: by its own deadline, and by that of the whole proof, which a
    /// prover that drips through every stage does not outlive. What others are waited for is not its time.
    fn deadline(&self, verifier: &Verifier) -> Duration {
        let whole = self.shared.settings.proof_deadline.as_duration() * WHOLE_PROOF + self.waited;
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
            let received = within(self.shared.ports.clock.as_ref(), limit, self.process.receive()).await;
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
        let nonce = self.shared.ports.entropy.array();
        let message = verifier.send_nonce(nonce, elapsed).expect("the verifier has just asked for it");
        self.after_nonce |= use_of_nonce == NonceUse::Openings;
        self.send(verifier, &message).await
    }

    /// Waits for the others, if there are any and this is where they wait for each other: before the works begin, and before the
    /// first walks do.
    async fn meet(&mut self, use_of_nonce: NonceUse) -> Result<(), TooLate> {
        match (use_of_nonce, &mut self.seat) {
            (NonceUse::Start, Some(seat)) => seat.before_work(self.work_and_fill).await,
            (NonceUse::Walk(_), _) => {
                if let Some(seat) = self.seat.take() {
                    seat.before_walk().await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// All echoes are there: the deadlines of what begins now follow from them.
    fn set_pace(&mut self, verifier: &mut Verifier) {
        let trips: Vec<Millis> = verifier.round_trips().iter().map(|trip| Millis::from(*trip)).collect();
        let deadlines = deadlines_after(self.shared, self.claims, RoundTrips::of(&trips));
        self.limits = limits(&deadlines);
        verifier.tighten(deadlines);
    }

    /// Sends, unless the node does not read in time.
    async fn send(&mut self, verifier: &mut Verifier, bytes: &[u8]) -> Result<Option<End>, ShellError> {
        let limit = self.remaining(verifier);
        match within(self.shared.ports.clock.as_ref(), limit, self.process.send(bytes)).await {
            Err(_elapsed) => Ok(Some(End::Rejected(verifier.on_deadline()))),
            Ok(Ok(())) => Ok(None),
            // The prover ended before it read everything; its exit code says why.
            Ok(Err(ShellError::Lost { .. })) => Ok(Some(End::Silent)),
            Ok(Err(error)) => Err(error),
        }
    }
}

/// The prover's exit code, if it ends now.
async fn exit_code(shared: &Shared, process: Box<dyn Process>) -> Option<u32> {
    let words = String::from_utf8_lossy(process.stderr()).trim().to_owned();
    let status = within(shared.ports.clock.as_ref(), EXIT_DEADLINE, process.finish()).await;
    debug!(target: "validator::verification", { status = ?status, stderr = %words }, "prover ended early");
    match status {
        Ok(Ok(ExitStatus::Code(code))) => Some(code),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
