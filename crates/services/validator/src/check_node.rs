//! One try of one check, carried out: performs the effects of the pure state machine and feeds back what happened.

use std::collections::BTreeSet;
use std::sync::Arc;

use basilica_ports::{ExitStatus, NodeKey, NodeRecord, Output, OutputLimits, ShellError};
use basilica_proof::ClaimReport;
use basilica_runtime_service::ErrorChain;
use basilica_types::{Argv, Digest, GpuUuid, Millis, Timestamp};
use basilica_verification::probe::{Engine, Expected};
use basilica_verification::{
    Break, Check, CheckKind, Conclusion, Control, Effect, Event, Finding, Outcome, Plan, ProbeRules, Reason,
    Rejected, SignedVerdict, TransferEnd, host_key_digest,
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use crate::commands::{self, ContainerTimes, GATE_CLOSED, PROVER_MISSING};
use crate::conclude_check;
use crate::connections::{self, Connection, NotConnected};
use crate::meeting::Seat;
use crate::prove_node::{self, Asked};
use crate::reach_node;
use crate::sessions::Access;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::slots::{Places, Slot};
use crate::transfer;

/// Bytes of a node's answer to a short command; a claim report is at most 64 KiB.
const ANSWER_BYTES: usize = 128 * 1024;
/// A node that pulled the image need not show that again for so long: registries count pulls, and a full check that is repeated
/// soon asks for something else.
pub(crate) const PULLED_WITHIN: Millis = Millis::from_secs(86_400);
/// For looking for the image and removing what is left of the container.
const CONTAINER_REST: Millis = Millis::from_secs(60);
/// Bytes of standard error that are kept.
const ERROR_BYTES: usize = 4 * 1024;

/// What became of a try.
pub(crate) enum Ran {
    /// It came to its end.
    Tried(Box<Tried>),
    /// Nothing was tried: logging in there now would cost others, or be refused anyway.
    Postponed(Timestamp),
}

/// A try with what it left.
pub(crate) struct Tried {
    pub(crate) conclusion: Conclusion,
    /// The proof's transcript, with its hash.
    pub(crate) transcript: Option<(Digest, Vec<u8>)>,
    /// The memory that it takes, until it is stored.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// What it logged in with.
    pub(crate) access: Option<Arc<Access>>,
    /// Who passed at once with it; none if it was asked alone.
    pub(crate) together: Option<BTreeSet<NodeKey>>,
}

impl Tried {
    /// One that did not come to its end, by a defect of ours.
    pub(crate) fn given_up(plan: Plan, now: Timestamp) -> Result<Ran, Rejected> {
        let (check, _) = Check::begin(plan).0.step(Event::Broken(Break::Internal), now)?;
        let conclusion = check.conclusion().cloned();
        Ok(conclusion.map_or(Ran::Postponed(now), |conclusion| {
            Ran::Tried(Box::new(Self {
                conclusion,
                transcript: None,
                room: None,
                access: None,
                together: None,
            }))
        }))
    }

    /// Whether its retry takes others along: a proof was begun, and was late or broken off. What was seen beside it is no matter here.
    pub(crate) fn missed(&self) -> bool {
        self.conclusion.observed(Control::Reachable).is_some_and(|observed| observed.takes_companions())
    }
}

/// What a try works with.
pub(crate) struct Trial<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) node: &'a NodeRecord,
    pub(crate) access: Option<Arc<Access>>,
    pub(crate) places: &'a Places,
    connection: Option<Connection>,
    slot: Slot<'a>,
    postponed: Option<Timestamp>,
    transcript: Option<(Digest, Vec<u8>)>,
    room: Option<OwnedSemaphorePermit>,
    seat: Option<Seat>,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(shared: &'a Shared, places: &'a Places, node: &'a NodeRecord) -> Self {
        let access = shared.access(&node.key.miner);
        Self {
            shared,
            node,
            access,
            places,
            connection: None,
            slot: Slot::none(),
            postponed: None,
            transcript: None,
            room: None,
            seat: None,
        }
    }

    /// The same, at once with others.
    #[must_use]
    pub(crate) fn in_meeting(self, seat: Option<Seat>) -> Self {
        Self { seat, ..self }
    }

    /// Runs the check to its conclusion.
    pub(crate) async fn run(mut self, plan: Plan) -> Result<Ran, Rejected> {
        if plan.kind == CheckKind::Light {
            self.slot = Slot::of(&self.places.light);
        }
        let (mut check, mut effects) = Check::begin(plan.clone());
        loop {
            if let Some(conclusion) = check.conclusion() {
                let conclusion = conclusion.clone();
                let together = match self.seat {
                    Some(seat) => Some(seat.answer(conclusion.finding == Finding::Passed).await),
                    None => None,
                };
                let Self { transcript, room, access, .. } = self;
                return Ok(Ran::Tried(Box::new(Tried { conclusion, transcript, room, access, together })));
            }
            let mut events = Vec::with_capacity(effects.len());
            for effect in effects {
                events.push(self.perform(&plan, effect).await);
            }
            if let Some(until) = self.postponed {
                return Ok(Ran::Postponed(until));
            }
            effects = Vec::new();
            for event in events {
                let (next, more) = check.step(event, self.shared.now())?;
                check = next;
                effects.extend(more);
            }
        }
    }

    async fn perform(&mut self, plan: &Plan, effect: Effect) -> Event {
        let performed = match effect {
            Effect::Connect => self.connect().await,
            Effect::Look(nonce) => self.look(&nonce, &plan.probes).await,
            Effect::RecallClaims => self.recall_claims().await,
            Effect::ReadClaims => self.read_claims().await,
            Effect::UploadProver => self.upload().await,
            Effect::Recall(uuids) => self.recall(&uuids).await,
            Effect::Survey => self.survey(&plan.probes).await,
            Effect::RunContainer(engine) => self.run_container(engine).await,
            Effect::Reach => self.reach().await,
            Effect::SeekWitness(reason) => self.seek_witness(reason).await,
            Effect::Prove(claims) => self.prove(&claims).await,
            Effect::Transfer => self.transfer().await,
        };
        performed.unwrap_or_else(|cause| {
            // A connection on which something broke is not used again; one beside a defect of ours, or a silent chain, is.
            if cause.spoils_connection() {
                self.shared.connections.forget(self.node.key);
            }
            Event::Broken(cause)
        })
    }

    async fn connect(&mut self) -> Result<Event, Break> {
        let access = self.access.as_ref().ok_or(Break::NoSession)?;
        let connection = match connections::connect(self.shared, self.places, self.node, access).await {
            Ok(connection) => connection,
            Err(NotConnected::Postponed(until)) => {
                debug!(target: "validator::ssh", { node.id = %self.node.key.node, until = %until.rfc3339() }, "login postponed");
                self.postponed = Some(until);
                return Err(Break::LockedOut);
            }
            Err(NotConnected::Failed(error)) => {
                debug!(target: "validator::ssh", { node.id = %self.node.key.node, error = %ErrorChain(&error) }, "node connection failed");
                return Err(connections::connect_break(&error));
            }
        };
        let host_key = host_key_digest(connection.shell.host_key());
        self.connection = Some(connection);
        Ok(Event::Connected { host_key })
    }

    /// Runs a short command. A pooled connection that turns out dead is replaced once: that it died since the last check
    /// says nothing about the node now. One that does not answer is not: the next try is on a new one, and a round is not to wait
    /// twice.
    async fn command(&mut self, argv: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, Break> {
        let connection = self.connection.as_ref().ok_or(Break::Internal)?;
        let (shell, reused) = (Arc::clone(&connection.shell), connection.reused);
        let clock = self.shared.ports.clock.as_ref();
        let output = match self.slot.waiting(clock, shell.run(argv, input, limits)).await {
            Err(ShellError::Lost { .. }) if reused => {
                self.slot.give_up();
                self.shared.connections.forget(self.node.key);
                self.connect().await?;
                let connection = self.connection.as_ref().ok_or(Break::Internal)?;
                let shell = Arc::clone(&connection.shell);
                self.slot.waiting(clock, shell.run(argv, input, limits)).await
            }
            result => result,
        };
        let output = output.map_err(|error| {
            debug!(target: "validator::ssh", { node.id = %self.node.key.node, error = %ErrorChain(&error) }, "node command failed");
            connections::command_break(&error)
        })?;
        match output.status {
            ExitStatus::Code(GATE_CLOSED) if self.may_be_over() => Err(Break::SessionOver),
            _ => Ok(output),
        }
    }

    fn may_be_over(&self) -> bool {
        self.access.as_ref().is_none_or(|access| self.shared.may_be_over(&self.node.key.miner, access))
    }

    fn limits(&self) -> OutputLimits {
        OutputLimits {
            deadline: self.shared.settings.command_deadline,
            stdout: ANSWER_BYTES,
            stderr: ERROR_BYTES,
        }
    }

    async fn look(&mut self, nonce: &[u8; 32], probes: &ProbeRules) -> Result<Event, Break> {
        let command = commands::look(nonce, &self.shared.prover, probes, self.limits().deadline);
        let output = self.command(&command, b"", self.limits()).await?;
        Ok(if output.status.success() { Event::Looked(output.stdout) } else { Event::CommandFailed })
    }

    /// Which GPUs the node must show: those that its last full check claimed, if that passed.
    async fn recall_claims(&self) -> Result<Event, Break> {
        let passed = self.node.last_full.filter(|verdict| verdict.outcome == Outcome::Passed);
        if let Some(full) = passed {
            let bytes = self.shared.ports.store.verdict(full.digest).await.map_err(|error| {
                warn!(target: "validator::verification", { node.id = %self.node.key.node, error = %ErrorChain(&error) }, "last full verdict cannot be read");
                Break::Internal
            })?;
            let verdict = bytes.and_then(|bytes| SignedVerdict::decode_verified(&bytes).ok());
            if let Some(verdict) = verdict {
                let claims = &verdict.content().evidence.claims;
                return Ok(Event::ClaimsRecalled(Expected::Exactly(
                    claims.iter().map(|gpu| gpu.uuid).collect(),
                )));
            }
        }
        let proved = self.node.last_proof.as_ref();
        let expected =
            proved.map(|(_, gpus)| Expected::AtLeast(gpus.iter().map(|paid| paid.gpu.uuid).collect()));
        Ok(Event::ClaimsRecalled(expected.unwrap_or(Expected::Nothing)))
    }

    async fn read_claims(&mut self) -> Result<Event, Break> {
        let output = self.command(&commands::claims(&self.shared.prover), b"", self.limits()).await?;
        Ok(match output.status {
            ExitStatus::Code(0) => Event::ClaimsPrinted(output.stdout),
            ExitStatus::Code(PROVER_MISSING) => Event::ProverMissing,
            _ => self.log_command("claims", &output),
        })
    }

    async fn survey(&mut self, probes: &ProbeRules) -> Result<Event, Break> {
        let output =
            self.command(&commands::survey(probes, self.limits().deadline), b"", self.limits()).await?;
        Ok(if output.status.success() { Event::Surveyed(output.stdout) } else { Event::CommandFailed })
    }

    async fn run_container(&mut self, engine: Engine) -> Result<Event, Break> {
        let Settings { image, pull_deadline, command_deadline, .. } = &self.shared.settings;
        let times = ContainerTimes { pull: *pull_deadline, run: *command_deadline };
        let now = self.shared.now();
        let anew = !self.shared.has_pulled(self.node.key, now - PULLED_WITHIN);
        let command = commands::container(engine, image, times, anew);
        // The node ends both by itself; what it says about that is heard.
        let both = pull_deadline.0.saturating_add(command_deadline.0).saturating_add(CONTAINER_REST.0);
        let limits = OutputLimits { deadline: Millis(both), ..self.limits() };
        let output = self.command(&command, b"", limits).await?;
        if !output.status.success() {
            return Ok(Event::CommandFailed);
        }
        if output.stdout.starts_with(b"pull 0 ") {
            self.shared.note_pulled(self.node.key);
        }
        Ok(Event::ContainerRan(output.stdout))
    }

    async fn reach(&self) -> Result<Event, Break> {
        let connection = self.connection.as_ref().ok_or(Break::Internal)?;
        let (shell, at) = (Arc::clone(&connection.shell), connection.at.ip());
        reach_node::reach(self.shared, self.node, shell.as_ref(), at).await
    }

    /// Whether it works elsewhere.
    async fn seek_witness(&self, reason: Reason) -> Result<Event, Break> {
        let around = conclude_check::surroundings(self.shared, self.node.key, (reason, None)).await.map_err(|error| {
            warn!(target: "validator::verification", { node.id = %self.node.key.node, error = %ErrorChain(&error) }, "witnesses cannot be read");
            Break::Internal
        })?;
        let seen = around.ends_by(reason);
        if !seen {
            info!(target: "validator::verification", { node.id = %self.node.key.node, reason = reason.code() },
                "a probe failed that works nowhere else now; the check goes on without it");
        }
        Ok(Event::Witnessed(seen))
    }

    async fn upload(&mut self) -> Result<Event, Break> {
        let prover = self.shared.prover.clone();
        let limits = OutputLimits { deadline: self.shared.settings.upload_deadline, ..self.limits() };
        let output = self.command(&commands::upload(&prover), prover.bytes(), limits).await?;
        if output.status.success() {
            return Ok(Event::Uploaded);
        }
        self.log_command("upload", &output);
        Ok(Event::UploadFailed)
    }

    async fn recall(&self, uuids: &[GpuUuid]) -> Result<Event, Break> {
        let known = self.shared.ports.store.fingerprints(self.node.key, uuids).await;
        known.map(Event::Recalled).map_err(|error| {
            warn!(target: "validator::verification", { node.id = %self.node.key.node, error = %ErrorChain(&error) }, "fingerprints cannot be read");
            Break::Internal
        })
    }

    async fn prove(&mut self, claims: &ClaimReport) -> Result<Event, Break> {
        let shell = Arc::clone(&self.connection.as_ref().ok_or(Break::Internal)?.shell);
        let access = self.access.as_ref().ok_or(Break::NoSession)?;
        let asked = Asked { node: self.node.key, access, seat: self.seat.as_mut() };
        let proof = prove_node::prove(self.shared, asked, shell.as_ref(), claims).await?;
        self.transcript = proof.transcript;
        self.room = proof.room;
        Ok(proof.event)
    }

    async fn transfer(&self) -> Result<Event, Break> {
        let shell = Arc::clone(&self.connection.as_ref().ok_or(Break::Internal)?.shell);
        let transfer = transfer::transfer(self.shared, self.node.key, shell.as_ref()).await;
        if transfer.is_some_and(|transfer| transfer.end != TransferEnd::Complete) {
            // What is still on its way would come before the answers to what is asked next.
            self.shared.connections.forget(self.node.key);
        }
        Ok(Event::Transferred(transfer))
    }

    fn log_command(&self, step: &'static str, output: &Output) -> Event {
        let words = String::from_utf8_lossy(&output.stderr);
        debug!(target: "validator::verification", { node.id = %self.node.key.node, step, status = ?output.status,
            stderr = %words.trim() }, "node command did not succeed");
        Event::CommandFailed
    }
}

#[cfg(test)]
mod tests;
