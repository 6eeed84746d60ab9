//! One try of one check, as a state machine: effects out, events in, a finding at the end.

use basilica_proof::claim::ClaimReport;
use basilica_types::{Digest, Timestamp};

use crate::{Break, ClaimedGpu, GpuRules, ProofEnd, ProvenGpu, Reason};

/// How deep a check looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, codec::Encode, codec::Decode)]
pub enum CheckKind {
    /// The node answers over SSH.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How deep to look.
    pub kind: CheckKind,
    /// Fresh randomness that a light check wants echoed.
    pub nonce: [u8; 32],
    /// Which GPUs count.
    pub gpus: GpuRules,
    /// When the try began.
    pub started: Timestamp,
}

/// What the service is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Have a connection to the node: the pooled one, or for a retry a new one.
    Connect,
    /// Have the node echo these bytes in lower-case hex.
    Echo([u8; 32]),
    /// Check the prover's hash on the node and run `claims`.
    ReadClaims,
    /// Put the prover on the node.
    UploadProver,
    /// Challenge these devices and verify the answer.
    Prove(ClaimReport),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Logged in; the server proved this key's possession (see [`crate::host_key_digest`]).
    Connected {
        /// Digest of the host key.
        host_key: Digest,
    },
    /// The node's standard output to [`Effect::Echo`].
    Echoed(Vec<u8>),
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
    /// How the proof went.
    Proof(ProofEnd),
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
    /// What the node claims to have.
    pub claims: Vec<ClaimedGpu>,
    /// What it proved to have; empty unless a full check passed.
    pub gpus: Vec<ProvenGpu>,
    /// Hash of the proof's transcript, if there is one.
    pub transcript: Option<Digest>,
    /// The answer failed after the prover knew which cells it had to open, see [`crate::aborted`].
    pub after_nonce: bool,
}

impl Conclusion {
    /// The same try, but its GPUs belong to another node until both are challenged at once (RULES R10).
    #[must_use]
    pub fn on_hold(self) -> Self {
        Self { finding: Finding::Failed(Reason::GpuClaimedElsewhere), gpus: Vec::new(), ..self }
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
    Echoing,
    /// Running `claims`; whether the prover was uploaded in this try.
    Claiming {
        uploaded: bool,
    },
    Uploading,
    /// Proving what would count.
    Proving {
        gpus: Vec<ProvenGpu>,
    },
    Ended,
}

impl Check {
    /// Begins a try.
    pub fn begin(plan: Plan) -> (Self, Vec<Effect>) {
        let facts = Conclusion {
            plan,
            // Holds until the end is reached; [`Check::conclusion`] shows nothing before.
            finding: Finding::Failed(Reason::Internal),
            finished: plan.started,
            host_key: None,
            claims: Vec::new(),
            gpus: Vec::new(),
            transcript: None,
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
            (_, Event::Broken(cause)) => Ok(facts.failed(cause.reason(), now)),
            (Phase::Connecting, Event::Connected { host_key }) => Ok(facts.connected(host_key)),
            (Phase::Echoing, Event::Echoed(bytes)) => Ok(facts.echoed(&bytes, now)),
            (Phase::Echoing, Event::CommandFailed) => Ok(facts.failed(Reason::CommandFailed, now)),
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
            (Phase::Proving { gpus }, Event::Proof(end)) => Ok(facts.proved(gpus, &end, now)),
            // Somebody removed or changed the prover between two of its runs.
            (Phase::Proving { .. }, Event::ProverMissing) => Ok(facts.failed(Reason::ProverAltered, now)),
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
            CheckKind::Light => (Phase::Echoing, Effect::Echo(self.plan.nonce)),
            CheckKind::Full => (Phase::Claiming { uploaded: false }, Effect::ReadClaims),
        };
        Self { host_key: Some(host_key), ..self }.goes_on(phase, effect)
    }

    fn echoed(self, bytes: &[u8], now: Timestamp) -> Stepped {
        let expected = Digest::from_bytes(self.plan.nonce).to_string();
        if bytes.trim_ascii_end() == expected.as_bytes() {
            self.ends(Finding::Passed, now)
        } else {
            self.failed(Reason::NonceMismatch, now)
        }
    }

    fn claimed(mut self, json: &[u8], now: Timestamp) -> Stepped {
        let Ok(report) = ClaimReport::parse(json) else { return self.failed(Reason::ClaimsInvalid, now) };
        self.claims = report
            .devices
            .iter()
            .map(|d| ClaimedGpu { index: d.index, uuid: d.uuid, class: d.class.clone() })
            .collect();
        if report.devices.is_empty() {
            return self.failed(Reason::NoGpu, now);
        }
        match self.plan.gpus.judge(&report) {
            Ok(gpus) => self.goes_on(Phase::Proving { gpus }, Effect::Prove(report)),
            Err(refused) => self.failed(refused.reason, now),
        }
    }

    fn proved(mut self, gpus: Vec<ProvenGpu>, end: &ProofEnd, now: Timestamp) -> Stepped {
        match end {
            ProofEnd::Verified { transcript } => {
                self.transcript = Some(*transcript);
                self.gpus = gpus;
                self.ends(Finding::Passed, now)
            }
            ProofEnd::Rejected { reason, transcript, after_nonce } => {
                self.transcript = Some(*transcript);
                self.after_nonce = *after_nonce;
                self.failed(*reason, now)
            }
            ProofEnd::Stopped => self.failed(Reason::ProverFailed, now),
        }
    }
}

impl Phase {
    const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Echoing => "echoing",
            Self::Claiming { .. } => "claiming",
            Self::Uploading => "uploading",
            Self::Proving { .. } => "proving",
            Self::Ended => "ended",
        }
    }
}

impl Event {
    const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Echoed(_) => "echoed",
            Self::ProverMissing => "prover_missing",
            Self::Uploaded => "uploaded",
            Self::UploadFailed => "upload_failed",
            Self::ClaimsPrinted(_) => "claims_printed",
            Self::CommandFailed => "command_failed",
            Self::Proof(_) => "proof",
            Self::Broken(_) => "broken",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_proof::{ClassName, DeviceFacts, DeviceReport};
    use basilica_types::Category;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    fn claims_json() -> Vec<u8> {
        let class: ClassName = "simulated-H100".parse().unwrap();
        let facts = DeviceFacts::simulated(&class, 0);
        let uuid = "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b".parse().unwrap();
        let device = DeviceReport { index: 0, uuid, class, facts };
        ClaimReport::new(None, vec![device]).unwrap().to_json().into_bytes()
    }

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn plan(kind: CheckKind, simulated: bool) -> Plan {
        Plan { kind, nonce: [0xab; 32], gpus: GpuRules::new(simulated, simulated, &digest(9)), started: NOW }
    }

    /// Feeds events; the conclusion, or the effects that wait.
    fn run(plan: Plan, events: &[Event]) -> Result<Conclusion, Vec<Effect>> {
        let (mut check, mut effects) = Check::begin(plan);
        for event in events {
            (check, effects) = check.step(event.clone(), NOW).unwrap();
        }
        check.conclusion().cloned().ok_or(effects)
    }

    fn connected() -> Event {
        Event::Connected { host_key: digest(1) }
    }

    #[test]
    fn a_light_check_passes_on_the_right_echo_only() {
        let echo =
            |bytes: &[u8]| run(plan(CheckKind::Light, true), &[connected(), Event::Echoed(bytes.to_vec())]);
        let right = "ab".repeat(32);
        assert_eq!(echo(format!("{right}\n").as_bytes()).unwrap().finding, Finding::Passed);
        for wrong in [b"".as_slice(), b"ab", format!("x{right}").as_bytes(), right.to_uppercase().as_bytes()]
        {
            assert_eq!(echo(wrong).unwrap().finding, Finding::Failed(Reason::NonceMismatch));
        }
    }

    #[test]
    fn a_full_check_uploads_the_prover_once_and_proves_what_is_claimed() {
        let verified = Event::Proof(ProofEnd::Verified { transcript: digest(2) });
        let events = [
            connected(),
            Event::ProverMissing,
            Event::Uploaded,
            Event::ClaimsPrinted(claims_json()),
            verified,
        ];
        let end = run(plan(CheckKind::Full, true), &events).unwrap();
        assert_eq!(
            (end.finding, end.transcript, end.host_key),
            (Finding::Passed, Some(digest(2)), Some(digest(1)))
        );
        assert_eq!(end.gpus.iter().map(|g| g.category).collect::<Vec<_>>(), [Category::H100]);
        let again = [connected(), Event::ProverMissing, Event::Uploaded, Event::ProverMissing];
        let end = run(plan(CheckKind::Full, true), &again).unwrap();
        assert_eq!(end.finding, Finding::Failed(Reason::ProverAltered));
    }

    #[test]
    fn a_rejected_proof_keeps_its_transcript_and_proves_no_gpu() {
        let rejected = Event::Proof(ProofEnd::Rejected {
            reason: Reason::ProofOpeningMismatch,
            transcript: digest(3),
            after_nonce: true,
        });
        let events = [connected(), Event::ClaimsPrinted(claims_json()), rejected];
        let end = run(plan(CheckKind::Full, true), &events).unwrap();
        assert_eq!(end.finding, Finding::Failed(Reason::ProofOpeningMismatch));
        assert_eq!((end.transcript, end.gpus, end.claims.len()), (Some(digest(3)), vec![], 1));
        assert!(end.after_nonce, "an end after the nonce is never forgotten");
    }

    #[test]
    fn simulated_gpus_on_a_real_chain_are_not_even_challenged() {
        let events = [connected(), Event::ClaimsPrinted(claims_json())];
        let end = run(plan(CheckKind::Full, false), &events).unwrap();
        assert_eq!(end.finding, Finding::Failed(Reason::SimulatedGpuRefused));
    }

    #[test]
    fn a_card_by_name_is_not_challenged_with_the_work_of_a_cpu() {
        let claims =
            String::from_utf8(claims_json()).unwrap().replace("simulated-H100", "NVIDIA H100 80GB HBM3");
        let events = [connected(), Event::ClaimsPrinted(claims.into_bytes())];
        let end = run(plan(CheckKind::Full, true), &events).unwrap();
        assert_eq!((end.finding, end.gpus), (Finding::Failed(Reason::GpuClassUncalibrated), vec![]));
    }

    #[test]
    fn claims_that_are_none_are_told_apart() {
        let claims = |json: &[u8]| {
            let events = [connected(), Event::ClaimsPrinted(json.to_vec())];
            run(plan(CheckKind::Full, true), &events).unwrap().finding
        };
        assert_eq!(claims(b"Welcome to host!"), Finding::Failed(Reason::ClaimsInvalid));
        assert_eq!(claims(br#"{"version":2,"devices":[]}"#), Finding::Failed(Reason::NoGpu));
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(connected()),
            proptest::collection::vec(any::<u8>(), 0..80).prop_map(Event::Echoed),
            Just(Event::ProverMissing),
            Just(Event::Uploaded),
            Just(Event::UploadFailed),
            Just(Event::ClaimsPrinted(claims_json())),
            proptest::collection::vec(any::<u8>(), 0..80).prop_map(Event::ClaimsPrinted),
            Just(Event::CommandFailed),
            Just(Event::Proof(ProofEnd::Stopped)),
            Just(Event::Proof(ProofEnd::Verified { transcript: digest(9) })),
            Just(Event::Broken(Break::Lost)),
        ]
    }

    proptest! {
        #[test]
        fn no_sequence_of_events_panics_or_passes_without_its_proof(
            events in proptest::collection::vec(any_event(), 0..12),
            full: bool,
        ) {
            let kind = if full { CheckKind::Full } else { CheckKind::Light };
            let (mut check, _) = Check::begin(plan(kind, true));
            let mut proven = false;
            for event in events {
                let verified = matches!(event, Event::Proof(ProofEnd::Verified { .. }));
                let Ok((next, effects)) = check.clone().step(event, NOW) else { continue };
                proven |= verified;
                prop_assert_eq!(effects.is_empty(), next.conclusion().is_some());
                check = next;
            }
            if let Some(end) = check.conclusion() {
                prop_assert_eq!(end.gpus.is_empty(), !(full && end.finding == Finding::Passed));
                prop_assert!(!full || proven == (end.finding == Finding::Passed));
            }
        }
    }
}
