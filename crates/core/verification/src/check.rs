//! One try of one check, as a state machine: effects out, events in, a finding at the end.

mod probing;

use basilica_proof::claim::{ClaimReport, DeviceReport};
use basilica_types::{Digest, GpuUuid, Timestamp};

use self::probing::Survivable;
use crate::fingerprint::{self, Difference, Drift, Fingerprint};
use crate::probe::{Engine, EngineState, Expected, GpuLook, Look, ProbeRules, Probes, Reach, Seen};
use crate::timing::Observed;
use crate::{
    Blame, Break, ClaimedGpu, Control, GpuRules, Judged, Measured, ProofEnd, ProvenGpu, Reason, Transfer,
    counted,
};

/// How deep a check looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, codec::Encode, codec::Decode)]
pub enum CheckKind {
    /// The node answers over SSH, shows the GPUs that it proved, and its container engine is alive.
    #[codec(index = 0)]
    Light,
    /// The node proves its GPUs.
    #[codec(index = 1)]
    Full,
}

impl CheckKind {
    /// The word in JSON, logs, metrics and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Full => "full",
        }
    }
}

/// What a try is about, fixed before it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How deep to look.
    pub kind: CheckKind,
    /// Fresh randomness that a light check wants echoed.
    pub nonce: [u8; 32],
    /// Which GPUs count.
    pub gpus: GpuRules,
    /// What else is asked.
    pub probes: ProbeRules,
    /// When the try began.
    pub started: Timestamp,
}

/// What the service is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Have a connection to the node: the pooled one, or for a retry a new one.
    Connect,
    /// Run a light check's one command, which echoes these bytes in lower-case hex.
    Look([u8; 32]),
    /// Look up which GPUs the node must show.
    RecallClaims,
    /// Check the prover's hash on the node and run `claims`.
    ReadClaims,
    /// Put the prover on the node.
    UploadProver,
    /// Look up what these GPUs showed on this node before (see [`crate::fingerprint`]).
    Recall(Vec<GpuUuid>),
    /// Ask what machine it is.
    Survey,
    /// Pull the image and have a container of this engine list the GPUs.
    RunContainer(Engine),
    /// Have a port of the node answer from outside.
    Reach,
    /// Say whether what would speak against the node for this reason was seen to work elsewhere.
    SeekWitness(Reason),
    /// Challenge these devices and verify the answer.
    Prove(ClaimReport),
    /// Time a transfer from the node, if one is wanted and there is room for it now.
    Transfer,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Logged in; the server proved this key's possession (see [`crate::host_key_digest`]).
    Connected {
        /// Digest of the host key.
        host_key: Digest,
    },
    /// The node's standard output to [`Effect::Look`].
    Looked(Vec<u8>),
    /// The answer to [`Effect::RecallClaims`].
    ClaimsRecalled(Expected),
    /// The prover is not there, or does not have its hash.
    ProverMissing,
    /// The prover was put there and has its hash.
    Uploaded,
    /// The prover could not be put there.
    UploadFailed,
    /// What `claims` printed.
    ClaimsPrinted(Vec<u8>),
    /// A command ended unsuccessfully.
    CommandFailed,
    /// The node's standard output to [`Effect::Survey`].
    Surveyed(Vec<u8>),
    /// The node's standard output to [`Effect::RunContainer`].
    ContainerRan(Vec<u8>),
    /// What the port did.
    Reached(Reach),
    /// Other programs had every port that was drawn.
    PortsTaken,
    /// Whether there is a witness.
    Witnessed(bool),
    /// The fingerprints of those GPUs that have one.
    Recalled(Vec<Fingerprint>),
    /// How the proof went.
    Proof(ProofEnd),
    /// How the transfer went, if there was one. Whatever it says, it is evidence and decides nothing.
    Transferred(Option<Transfer>),
    /// A step could not be carried out.
    Broken(Break),
}

/// What one try found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All is well.
    Passed,
    /// Something is not, for this reason.
    Failed(Reason),
}

/// The end of one try: the finding and everything that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// What was tried.
    pub plan: Plan,
    /// What was found.
    pub finding: Finding,
    /// When.
    pub finished: Timestamp,
    /// Digest of the host key of the connection, if one came about.
    pub host_key: Option<Digest>,
    /// What the node claims to have, as far as it was asked to prove it; everything if it was asked nothing.
    pub claims: Vec<ClaimedGpu>,
    /// The claimed GPU that cannot be what it is said to be, or is not what it was, with what tells so.
    pub difference: Option<Difference>,
    /// Slots, drivers and machines that changed since the last pass.
    pub noted: Vec<Difference>,
    /// What it proved to have, as far as that counts (see [`counted`]); empty unless a full check passed.
    pub gpus: Vec<ProvenGpu>,
    /// The fingerprints of all claimed GPUs to keep; empty unless a full check passed.
    pub fingerprints: Vec<Fingerprint>,
    /// Hash of the proof's transcript, if there is one.
    pub transcript: Option<Digest>,
    /// What was measured with a proof that holds.
    pub measured: Measured,
    /// What the node told of itself besides.
    pub probes: Probes,
    /// A proof that can count was begun: the service was told to start the prover.
    pub proving: bool,
    /// The answer failed after the prover knew which cells it had to open, see [`crate::aborted`].
    pub after_nonce: bool,
}

impl Conclusion {
    /// The same try, but another node proved what it shows until both are challenged at once (RULES R10).
    #[must_use]
    pub fn on_hold(self, reason: Reason) -> Self {
        let finding = Finding::Failed(reason);
        Self { finding, gpus: Vec::new(), fingerprints: Vec::new(), ..self }
    }

    /// The same try, but the node is found at fault by all of its checks together (see [`crate::timing`]).
    #[must_use]
    pub fn found(self, reason: Reason) -> Self {
        let finding = Finding::Failed(reason);
        Self { finding, gpus: Vec::new(), fingerprints: Vec::new(), ..self }
    }

    /// Whether a full check is to look at once at what a light one saw: other GPUs, or no prover to see them with.
    pub const fn wants_full(&self) -> bool {
        match &self.probes.look {
            Some(look) => matches!(look.gpus, GpuLook::Differs { .. } | GpuLook::ProverMissing),
            None => false,
        }
    }

    /// What this try says of the node's punctuality; nothing unless a proof was begun, or if it ended by what is never the
    /// node's doing.
    pub fn observed(&self, control: Control) -> Option<Observed> {
        if !self.proving {
            return None;
        }
        self.finding.observed(control)
    }
}

impl Finding {
    /// What a begun proof that was found so says of its node's punctuality.
    pub fn observed(&self, control: Control) -> Option<Observed> {
        match self {
            Self::Passed => Some(Observed::Met),
            Self::Failed(Reason::ProofDeadlineMissed) => Some(Observed::Missed(control)),
            Self::Failed(reason) if reason.blame() == Blame::Proven => Some(Observed::Met),
            Self::Failed(reason) => reason.is_broken_off().then_some(Observed::Broken(control)),
        }
    }
}

/// An event that does not belong to the phase: a defect of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {event} in phase {phase}")]
pub struct Rejected {
    event: &'static str,
    phase: &'static str,
}

/// A try under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    facts: Conclusion,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Looking,
    /// Comparing what a light check saw with what the node proved.
    Comparing(Seen),
    /// Running `claims`; whether the prover was uploaded in this try.
    Claiming {
        uploaded: bool,
    },
    Uploading,
    /// Comparing what the node claims with what it showed before.
    Recalling(Claimed),
    /// Asking what machine it is.
    Surveying(Ready),
    /// Running a container with GPUs.
    Containing(Ready),
    /// Reaching a port.
    Reaching(Ready),
    /// Asking whether a failed probe speaks against the node, or may be somebody else's doing.
    Witnessing {
        ready: Ready,
        failed: Survivable,
    },
    /// Proving what would count.
    Proving(Proving),
    /// Timing a transfer: the proof holds, and the finding no longer depends on anything.
    Transferring,
    Ended,
}

/// Claims that may count.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claimed {
    report: ClaimReport,
    gpus: Vec<ProvenGpu>,
}

/// Claims that are to be proved once nothing is left to ask before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ready {
    report: ClaimReport,
    proving: Proving,
}

/// What a proof that holds stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proving {
    gpus: Vec<ProvenGpu>,
    fingerprints: Vec<Fingerprint>,
}

impl Check {
    /// Begins a try.
    pub fn begin(plan: Plan) -> (Self, Vec<Effect>) {
        let facts = Conclusion {
            finished: plan.started,
            plan,
            // Holds until the end is reached; [`Check::conclusion`] shows nothing before.
            finding: Finding::Failed(Reason::Internal),
            host_key: None,
            claims: Vec::new(),
            difference: None,
            noted: Vec::new(),
            gpus: Vec::new(),
            fingerprints: Vec::new(),
            transcript: None,
            measured: Measured::default(),
            probes: Probes::default(),
            proving: false,
            after_nonce: false,
        };
        (Self { facts, phase: Phase::Connecting }, vec![Effect::Connect])
    }

    /// The finding, once there is one.
    pub const fn conclusion(&self) -> Option<&Conclusion> {
        match self.phase {
            Phase::Ended => Some(&self.facts),
            _ => None,
        }
    }

    /// Takes one event. Without effects in the answer, the try has ended.
    pub fn step(self, event: Event, now: Timestamp) -> Result<(Self, Vec<Effect>), Rejected> {
        let Self { facts, phase } = self;
        match (phase, event) {
            (Phase::Ended, event) => Err(Rejected { event: event.name(), phase: Phase::Ended.name() }),
            (Phase::Transferring, Event::Transferred(transfer)) => Ok(facts.transferred(transfer, now)),
            (Phase::Transferring, Event::Broken(_)) => Ok(facts.transferred(None, now)),
            (_, Event::Broken(cause)) => Ok(facts.failed(cause.reason(), now)),
            (Phase::Connecting, Event::Connected { host_key }) => Ok(facts.connected(host_key)),
            (Phase::Looking, Event::Looked(output)) => Ok(facts.looked(&output, now)),
            (Phase::Comparing(seen), Event::ClaimsRecalled(expected)) => {
                Ok(facts.compared(seen, &expected, now))
            }
            (Phase::Looking, Event::CommandFailed) => Ok(facts.failed(Reason::CommandFailed, now)),
            (Phase::Claiming { uploaded: false }, Event::ProverMissing) => {
                Ok(facts.goes_on(Phase::Uploading, Effect::UploadProver))
            }
            (Phase::Claiming { uploaded: true }, Event::ProverMissing) => {
                Ok(facts.failed(Reason::ProverAltered, now))
            }
            (Phase::Claiming { .. }, Event::CommandFailed) => Ok(facts.failed(Reason::ProverFailed, now)),
            (Phase::Claiming { .. }, Event::ClaimsPrinted(json)) => Ok(facts.claimed(&json, now)),
            (Phase::Uploading, Event::Uploaded) => {
                Ok(facts.goes_on(Phase::Claiming { uploaded: true }, Effect::ReadClaims))
            }
            (Phase::Uploading, Event::UploadFailed | Event::CommandFailed) => {
                Ok(facts.failed(Reason::ProverUploadFailed, now))
            }
            (Phase::Recalling(claimed), Event::Recalled(known)) => Ok(facts.recalled(claimed, &known, now)),
            (Phase::Surveying(ready), Event::Surveyed(output)) => Ok(facts.surveyed(ready, &output, now)),
            (Phase::Containing(ready), Event::ContainerRan(output)) => {
                Ok(facts.container_ran(ready, &output, now))
            }
            (Phase::Surveying(_) | Phase::Containing(_), Event::CommandFailed) => {
                Ok(facts.failed(Reason::CommandFailed, now))
            }
            (Phase::Reaching(ready), Event::Reached(reach)) => Ok(facts.reached(ready, reach, now)),
            (Phase::Reaching(_), Event::PortsTaken) => Ok(facts.failed(Reason::PortsTaken, now)),
            (Phase::Reaching(_), Event::CommandFailed) => Ok(facts.failed(Reason::ProverFailed, now)),
            (Phase::Reaching(_), Event::ProverMissing) => Ok(facts.failed(Reason::ProverAltered, now)),
            (Phase::Witnessing { ready, failed }, Event::Witnessed(seen)) => {
                Ok(facts.witnessed(ready, failed, seen, now))
            }
            (Phase::Proving(proving), Event::Proof(end)) => Ok(facts.proved(proving, &end, now)),
            // Somebody removed or changed the prover between two of its runs.
            (Phase::Proving(_), Event::ProverMissing) => Ok(facts.failed(Reason::ProverAltered, now)),
            (phase, event) => Err(Rejected { event: event.name(), phase: phase.name() }),
        }
    }
}

type Stepped = (Check, Vec<Effect>);

impl Conclusion {
    fn goes_on(self, phase: Phase, effect: Effect) -> Stepped {
        (Check { facts: self, phase }, vec![effect])
    }

    fn ends(self, finding: Finding, now: Timestamp) -> Stepped {
        (Check { facts: Self { finding, finished: now, ..self }, phase: Phase::Ended }, Vec::new())
    }

    fn failed(self, reason: Reason, now: Timestamp) -> Stepped {
        self.ends(Finding::Failed(reason), now)
    }

    fn connected(self, host_key: Digest) -> Stepped {
        let (phase, effect) = match self.plan.kind {
            CheckKind::Light => (Phase::Looking, Effect::Look(self.plan.nonce)),
            CheckKind::Full => (Phase::Claiming { uploaded: false }, Effect::ReadClaims),
        };
        Self { host_key: Some(host_key), ..self }.goes_on(phase, effect)
    }

    fn looked(self, output: &[u8], now: Timestamp) -> Stepped {
        match Seen::parse(output, &self.plan.nonce, self.plan.probes.containers.is_asked()) {
            Ok(seen) => self.goes_on(Phase::Comparing(seen), Effect::RecallClaims),
            Err(error) => self.failed(error.reason(), now),
        }
    }

    fn compared(mut self, seen: Seen, expected: &Expected, now: Timestamp) -> Stepped {
        let shown = seen.claims.map(|report| self.plan.gpus.shown(&report));
        let gpus = GpuLook::compare(shown.as_ref(), expected);
        // No rental is known yet that could explain one.
        let unknown_rentals = u8::try_from(seen.rentals.0.len()).unwrap_or(u8::MAX);
        let silent = match seen.engine {
            EngineState::Absent => Some(Reason::ContainerRuntimeMissing),
            EngineState::Silent(_) => Some(Reason::ContainerRuntimeDown),
            EngineState::NotAsked | EngineState::Answers(_) => None,
        };
        let silent = silent.filter(|_| self.plan.probes.containers.is_required());
        let failure = gpus.failure().or(silent);
        self.probes.look = Some(Look { engine: seen.engine, unknown_rentals, gpus });
        self.ends(failure.map_or(Finding::Passed, Finding::Failed), now)
    }

    fn claimed(mut self, json: &[u8], now: Timestamp) -> Stepped {
        let Ok(report) = ClaimReport::parse(json) else { return self.failed(Reason::ClaimsInvalid, now) };
        self.claims = claims_of(&report.devices);
        if report.devices.is_empty() {
            return self.failed(Reason::NoGpu, now);
        }
        match self.plan.gpus.judge(&report) {
            Ok(Judged { asked, gpus }) => {
                // Left out cards prove nothing, and the verdict says nothing of them.
                self.claims = claims_of(&asked);
                if let Some(reason) = self.lacks(&asked) {
                    return self.failed(reason, now);
                }
                let recall = Effect::Recall(asked.iter().map(|device| device.uuid).collect());
                let report = ClaimReport { devices: asked, ..report };
                self.goes_on(Phase::Recalling(Claimed { report, gpus }), recall)
            }
            Err(refused) => {
                let reason = self.split(&report, &refused).unwrap_or(refused.reason);
                self.difference = refused.difference;
                self.failed(reason, now)
            }
        }
    }

    /// Nothing is asked of a GPU that is not what it was: whatever it proved would be another card's.
    fn recalled(mut self, claimed: Claimed, known: &[Fingerprint], now: Timestamp) -> Stepped {
        let Claimed { report, gpus } = claimed;
        let mut fingerprints = Vec::with_capacity(report.devices.len());
        for device in &report.devices {
            let (uuid, facts) = (device.uuid, device.facts.clone());
            let shown = Fingerprint { uuid, facts, machine: report.machine };
            let Some(first) = known.iter().find(|known| known.uuid == uuid) else {
                fingerprints.push(shown);
                continue;
            };
            let Drift { held, noted } = Drift::between(first, &shown);
            if !held.is_empty() {
                self.difference = Some(Difference { uuid, fields: held });
                return self.failed(Reason::GpuFingerprintChanged, now);
            }
            if !noted.is_empty() {
                self.noted.push(Difference { uuid, fields: noted });
            }
            fingerprints.push(fingerprint::renewed(first, &shown));
        }
        self.surveys(Ready { report, proving: Proving { gpus, fingerprints } })
    }

    fn proves(mut self, Ready { report, proving }: Ready) -> Stepped {
        // Whatever an uncalibrated card does, nothing of it is held against its node.
        self.proving = !proving.gpus.is_empty();
        self.goes_on(Phase::Proving(proving), Effect::Prove(report))
    }

    fn proved(mut self, proving: Proving, end: &ProofEnd, now: Timestamp) -> Stepped {
        if proving.gpus.is_empty() {
            return self.uncalibrated(end, now);
        }
        match end {
            ProofEnd::Verified { transcript, limits, measured } => {
                self.transcript = Some(*transcript);
                self.measured = Measured::clone(measured);
                self.gpus = counted(proving.gpus, &self.claims, limits);
                self.fingerprints = proving.fingerprints;
                self.goes_on(Phase::Transferring, Effect::Transfer)
            }
            ProofEnd::Rejected { reason, transcript, after_nonce } => {
                self.transcript = Some(*transcript);
                self.after_nonce = *after_nonce;
                self.failed(*reason, now)
            }
            ProofEnd::Stopped => self.failed(Reason::ProverFailed, now),
        }
    }

    /// However the proof of an uncalibrated card ended: it is kept, with what was measured, and decides nothing.
    fn uncalibrated(mut self, end: &ProofEnd, now: Timestamp) -> Stepped {
        match end {
            ProofEnd::Verified { transcript, measured, .. } => {
                self.transcript = Some(*transcript);
                self.measured = Measured::clone(measured);
            }
            ProofEnd::Rejected { transcript, .. } => self.transcript = Some(*transcript),
            ProofEnd::Stopped => {}
        }
        self.failed(Reason::GpuClassUncalibrated, now)
    }

    fn transferred(mut self, transfer: Option<Transfer>, now: Timestamp) -> Stepped {
        self.measured.network = transfer;
        self.ends(Finding::Passed, now)
    }
}

fn claims_of(devices: &[DeviceReport]) -> Vec<ClaimedGpu> {
    let claim = |d: &DeviceReport| ClaimedGpu { index: d.index, uuid: d.uuid, class: d.class.clone() };
    devices.iter().map(claim).collect()
}

impl Phase {
    const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Looking => "looking",
            Self::Comparing(_) => "comparing",
            Self::Claiming { .. } => "claiming",
            Self::Uploading => "uploading",
            Self::Recalling(_) => "recalling",
            Self::Surveying(_) => "surveying",
            Self::Containing(_) => "containing",
            Self::Reaching(_) => "reaching",
            Self::Witnessing { .. } => "witnessing",
            Self::Proving(_) => "proving",
            Self::Transferring => "transferring",
            Self::Ended => "ended",
        }
    }
}

impl Event {
    const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Looked(_) => "looked",
            Self::ClaimsRecalled(_) => "claims_recalled",
            Self::ProverMissing => "prover_missing",
            Self::Uploaded => "uploaded",
            Self::UploadFailed => "upload_failed",
            Self::ClaimsPrinted(_) => "claims_printed",
            Self::CommandFailed => "command_failed",
            Self::Surveyed(_) => "surveyed",
            Self::ContainerRan(_) => "container_ran",
            Self::Reached(_) => "reached",
            Self::PortsTaken => "ports_taken",
            Self::Witnessed(_) => "witnessed",
            Self::Recalled(_) => "recalled",
            Self::Proof(_) => "proof",
            Self::Transferred(_) => "transferred",
            Self::Broken(_) => "broken",
        }
    }
}

#[cfg(test)]
mod tests;
