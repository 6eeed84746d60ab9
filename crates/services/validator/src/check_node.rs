//! One try of one check, carried out: performs the effects of the pure state machine and feeds back what happened.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{ExitStatus, NodeKey, NodeRecord, Output, OutputLimits, ShellError};
use basilica_probing_service::{Company, GATE_CLOSED, Line, Pulled, command_break, connect_break};
use basilica_proof::ClaimReport;
use basilica_runtime_service::ErrorChain;
use basilica_types::{Argv, Digest, GpuUuid, Millis, Timestamp};
use basilica_verification::probe::{Engine, Expected, ReachEnd};
use basilica_verification::{
    Break, Check, CheckKind, Conclusion, Control, Effect, Event, Finding, Outcome, Plan, Reason, Rejected,
    SignedVerdict, TransferEnd, host_key_digest,
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use crate::conclude_check;
use crate::connections::{self, Connection, NotConnected};
use crate::meeting::Seat;
use crate::sessions::Access;
use crate::shared::Shared;
use crate::slots::{Places, Slot};

/// A node that pulled the image need not show that again for so long: registries count pulls, and a full check that is repeated
/// soon asks for something else.
pub(crate) const PULLED_WITHIN: Millis = Millis::from_secs(86_400);

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
            Effect::Look(nonce) => self.shared.probing().look(self, &nonce, &plan.probes).await,
            Effect::RecallClaims => self.recall_claims().await,
            Effect::ReadClaims => self.shared.probing().read_claims(self).await,
            Effect::UploadProver => self.shared.probing().upload(self).await,
            Effect::Recall(uuids) => self.recall(&uuids).await,
            Effect::Survey => self.shared.probing().survey(self, &plan.probes).await,
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
                return Err(connect_break(&error));
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
            command_break(&error)
        })?;
        match output.status {
            ExitStatus::Code(GATE_CLOSED) if self.may_be_over() => Err(Break::SessionOver),
            _ => Ok(output),
        }
    }

    fn may_be_over(&self) -> bool {
        self.access.as_ref().is_none_or(|access| self.shared.may_be_over(&self.node.key.miner, access))
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

    async fn run_container(&mut self, engine: Engine) -> Result<Event, Break> {
        let now = self.shared.now();
        let anew = !self.shared.has_pulled(self.node.key, now - PULLED_WITHIN);
        let (event, pulled) = self.shared.probing().run_container(self, engine, anew).await?;
        if pulled == Pulled(true) {
            self.shared.note_pulled(self.node.key);
        }
        Ok(event)
    }

    async fn reach(&self) -> Result<Event, Break> {
        let connection = self.connection.as_ref().ok_or(Break::Internal)?;
        let (shell, at) = (Arc::clone(&connection.shell), connection.at.ip());
        let event = self.shared.probing().reach(&self.node.address, shell.as_ref(), at).await?;
        note_answer(self.shared, &self.node.key, &event);
        Ok(event)
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
        let (shared, miner) = (self.shared, &self.node.key.miner);
        let may_be_over = || shared.may_be_over(miner, access);
        let company = self.seat.as_mut().map(|seat| seat as &mut dyn Company);
        let node = self.node.key.node;
        let proof = shared.probing().prove(node, shell.as_ref(), claims, &may_be_over, company);
        // Boxed: what the verifier holds would make every future that holds it large.
        let proof = Box::pin(proof).await?;
        self.transcript = proof.transcript;
        self.room = proof.room;
        Ok(proof.event)
    }

    async fn transfer(&self) -> Result<Event, Break> {
        let shell = Arc::clone(&self.connection.as_ref().ok_or(Break::Internal)?.shell);
        let transfer = self.shared.probing().transfer(self.node.key.node, shell.as_ref()).await;
        if transfer.is_some_and(|transfer| transfer.end != TransferEnd::Complete) {
            // What is still on its way would come before the answers to what is asked next.
            self.shared.connections.forget(self.node.key);
        }
        Ok(Event::Transferred(transfer))
    }
}

/// A port that answered is a witness for the nodes of others.
fn note_answer(shared: &Shared, node: &NodeKey, event: &Event) {
    if matches!(event, Event::Reached(reach) if reach.end == ReachEnd::Answered) {
        shared.note_reached(node.miner);
    }
}

#[async_trait]
impl Line for Trial<'_> {
    async fn run(&mut self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, Break> {
        let output = self.command(command, input, limits).await?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            debug!(target: "validator::verification", { node.id = %self.node.key.node, status = ?output.status,
                stderr = %words.trim() }, "node command did not succeed");
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests;
