//! The talk with the prover: moves bytes between the pure verifier and the node, under the verifier's deadlines.

use std::time::Duration;

use basilica_ports::{ExitStatus, Process, Shell, ShellError};
use basilica_proof::{
    Binding, Challenge, ClaimReport, Deadlines, DeviceChallenge, Rejection, Step, Verifier,
};
use basilica_runtime_service::{ErrorChain, within};
use basilica_types::{Digest, Millis, NodeId};
use basilica_verification::{Break, Event, ProofEnd, Reason};
use tracing::{debug, info};

use crate::commands::{self, GATE_CLOSED, PROVER_MISSING};
use crate::connections::command_break;
use crate::shared::Shared;

/// Between the end of the prover's output and its exit code.
const EXIT_DEADLINE: Millis = Millis::from_secs(5);

/// How a proof went.
pub(crate) struct Proof {
    pub(crate) event: Event,
    pub(crate) transcript: Option<(Digest, Vec<u8>)>,
}

/// How the talk ended.
enum End {
    Verified,
    Rejected(Rejection),
    /// The prover's output ended before its answer was complete.
    Silent,
}

/// Challenges all claimed devices at once and verifies the answer as it arrives.
pub(crate) async fn prove(
    shared: &Shared,
    node: NodeId,
    shell: &dyn Shell,
    claims: &ClaimReport,
) -> Result<Proof, Break> {
    let binding = Binding {
        beacon: [0; 32],
        validator_nonce: shared.ports.entropy.array(),
        node,
        host_key: shell.host_key().blob().to_vec(),
    };
    let work = shared.settings.work;
    let devices = claims.devices.iter().map(|claim| DeviceChallenge { claim: claim.clone(), params: work });
    let challenge = Challenge::new(binding, devices.collect()).map_err(|error| {
        debug!(target: "validator::verification", { node.id = %node, error = %ErrorChain(&error) }, "challenge cannot be made");
        Break::Internal
    })?;
    let limit = shared.settings.proof_deadline.as_duration();
    let verifier = Verifier::new(challenge, Deadlines { roots: limit, openings: limit });
    let process = shell.start(&commands::prove(&shared.prover)).await.map_err(|e| command_break(&e))?;
    let talk = Talk { shared, process, verifier, started: shared.ports.clock.monotonic() };
    talk.run(node).await
}

struct Talk<'a> {
    shared: &'a Shared,
    process: Box<dyn Process>,
    verifier: Verifier,
    started: Duration,
}

impl Talk<'_> {
    async fn run(mut self, node: NodeId) -> Result<Proof, Break> {
        let end = self.converse().await.map_err(|error| command_break(&error))?;
        let ran_ms = Millis::from(self.elapsed()).0;
        let Self { shared, process, mut verifier, .. } = self;
        let rejection = match end {
            End::Verified => None,
            End::Rejected(rejection) => Some(rejection),
            End::Silent => match exit_code(shared, process).await {
                Some(GATE_CLOSED) => return Err(Break::SessionOver),
                Some(PROVER_MISSING) => return Ok(Proof { event: Event::ProverMissing, transcript: None }),
                _ => Some(verifier.on_end()),
            },
        };
        let transcript = verifier.into_transcript();
        let (digest, bytes) = (transcript.hash(), transcript.encode());
        let end = match rejection {
            None => {
                debug!(target: "validator::verification", { node.id = %node, proof_ms = ran_ms }, "proof verified");
                ProofEnd::Verified { transcript: digest }
            }
            Some(rejection) => {
                info!(target: "validator::verification", { node.id = %node, proof_ms = ran_ms,
                    reason = rejection.code(), error = %rejection }, "proof rejected");
                ProofEnd::Rejected { reason: Reason::of_rejection(&rejection), transcript: digest }
            }
        };
        Ok(Proof { event: Event::Proof(end), transcript: Some((digest, bytes)) })
    }

    fn elapsed(&self) -> Duration {
        self.shared.ports.clock.monotonic().saturating_sub(self.started)
    }

    fn remaining(&self) -> Millis {
        Millis::from(self.verifier.deadline().saturating_sub(self.elapsed()))
    }

    async fn converse(&mut self) -> Result<End, ShellError> {
        let challenge = self.verifier.start();
        if let Some(late) = self.send(&challenge).await? {
            return Ok(late);
        }
        loop {
            let received =
                within(self.shared.ports.clock.as_ref(), self.remaining(), self.process.receive()).await;
            let bytes = match received {
                Err(_elapsed) => return Ok(End::Rejected(self.verifier.on_deadline())),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) => return Ok(End::Silent),
                Ok(Ok(Some(bytes))) => bytes,
            };
            let elapsed = self.elapsed();
            match self.verifier.on_bytes(&bytes, elapsed) {
                Err(rejection) => return Ok(End::Rejected(rejection)),
                Ok(Step::Done(_)) => return Ok(End::Verified),
                Ok(Step::More) => {}
                Ok(Step::DrawNonce) => {
                    let nonce = self.shared.ports.entropy.array();
                    let opening =
                        self.verifier.open(nonce, elapsed).expect("the verifier has just asked for it");
                    if let Some(late) = self.send(&opening).await? {
                        return Ok(late);
                    }
                }
            }
        }
    }

    /// Sends, unless the node does not read in time.
    async fn send(&mut self, bytes: &[u8]) -> Result<Option<End>, ShellError> {
        match within(self.shared.ports.clock.as_ref(), self.remaining(), self.process.send(bytes)).await {
            Err(_elapsed) => Ok(Some(End::Rejected(self.verifier.on_deadline()))),
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
