mod probes;

use super::*;
use crate::calibration::{CALIBRATIONS, Calibration, Subject};
use crate::classes::Limits;
use crate::fingerprint::Field;
use crate::probe::Demand;
use crate::{Fault, MemoryRead, TransferEnd};
use basilica_proof::residency::Space;
use basilica_proof::{ClassName, DeviceFacts, DeviceReport};
use basilica_types::{Category, Millis};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// They tell no number of cards from another.
const LIMITS: Limits = Limits { work: Millis(u64::MAX), walk: None };

fn uuid() -> GpuUuid {
    "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b".parse().unwrap()
}

fn card(name: &str) -> DeviceFacts {
    DeviceFacts::simulated(&name.parse::<ClassName>().unwrap(), 0)
}

/// What the device of [`claims_json`] showed if it was another one.
fn other_card() -> DeviceFacts {
    card("simulated-A100")
}

fn fingerprint(facts: DeviceFacts) -> Fingerprint {
    Fingerprint { uuid: uuid(), facts, machine: None }
}

fn claims_showing(facts: DeviceFacts) -> Vec<u8> {
    let device = DeviceReport { index: 0, uuid: uuid(), class: "simulated-H100".parse().unwrap(), facts };
    ClaimReport::new(None, vec![device]).unwrap().to_json().into_bytes()
}

fn claims_json() -> Vec<u8> {
    claims_showing(card("simulated-H100"))
}

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn plan(kind: CheckKind, simulated: bool) -> Plan {
    let gpus = GpuRules::new(simulated, simulated, &digest(9));
    let probes = ProbeRules { containers: Demand::Required, ..ProbeRules::NONE };
    let probes = if kind == CheckKind::Light { probes } else { ProbeRules::NONE };
    Plan { kind, nonce: [0xab; 32], gpus, probes, started: NOW }
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

fn verified(transcript: Digest) -> Event {
    let memory = MemoryRead { uuid: uuid(), space: Space::Device, bytes: 1 << 24, took_us: 9_000 };
    let measured = Measured { memory: vec![memory], ..Measured::default() };
    Event::Proof(ProofEnd::Verified { transcript, limits: LIMITS, measured: Box::new(measured) })
}

fn transfer(end: TransferEnd) -> Transfer {
    Transfer { asked: 1 << 20, received: 1 << 10, took_us: 60_000_000, end }
}

#[test]
fn no_end_of_the_transfer_takes_a_proof_back() {
    let ends = [TransferEnd::TooSlow, TransferEnd::WrongBytes, TransferEnd::TooMany, TransferEnd::Broken];
    let told = ends.map(|end| (Event::Transferred(Some(transfer(end))), Some(transfer(end))));
    let untold = [(Event::Transferred(None), None), (Event::Broken(Break::Lost), None)];
    for (event, network) in told.into_iter().chain(untold) {
        let claims = Event::ClaimsPrinted(claims_json());
        let events = [connected(), claims, Event::Recalled(vec![]), verified(digest(2)), event];
        let end = run(plan(CheckKind::Full, true), &events).unwrap();
        assert_eq!((end.finding, end.gpus.len()), (Finding::Passed, 1));
        assert_eq!((end.measured.network, end.measured.memory.len()), (network, 1));
    }
}

/// What the light command prints on a node with these sections behind the nonce.
fn look(sections: &[(&str, u8, &[u8])]) -> Event {
    let nonce = "ab".repeat(32);
    let all = [&[("nonce", 0, nonce.as_bytes())], sections].concat();
    let mut output = Vec::new();
    for (name, code, body) in all {
        output.extend(format!("{name} {code} {}\n", body.len()).into_bytes());
        output.extend(body);
        output.push(b'\n');
    }
    output.extend(b"end 0 0\n\n");
    Event::Looked(output)
}

fn light(events: &[Event]) -> Conclusion {
    let events = [&[connected()], events].concat();
    run(plan(CheckKind::Light, true), &events).unwrap()
}

#[test]
fn a_light_check_passes_if_engine_and_gpus_are_as_they_were() {
    let expected = |gpus| Event::ClaimsRecalled(Expected::Exactly(gpus));
    let claims = claims_json();
    let docker = ("docker", 0, &b""[..]);
    let alive = look(&[docker, ("claims", 0, &claims)]);
    let passed = light(&[alive.clone(), expected([uuid()].into())]);
    assert_eq!((&passed.finding, passed.wants_full()), (&Finding::Passed, false));
    let other = light(&[alive.clone(), expected([uuid(), GpuUuid::from_bytes([3; 16])].into())]);
    assert_eq!((&other.finding, other.wants_full()), (&Finding::Failed(Reason::GpuMissing), true));
    let Some(Look { gpus: GpuLook::Differs { missing, .. }, .. }) = other.probes.look else {
        panic!("the difference is evidence")
    };
    assert_eq!(missing, [GpuUuid::from_bytes([3; 16])].into());
    let more = light(&[alive, expected([].into())]);
    assert_eq!((&more.finding, more.wants_full()), (&Finding::Failed(Reason::GpuAdditional), true));
    let cleaned = light(&[look(&[docker, ("claims", 66, b"")]), expected([uuid()].into())]);
    assert_eq!((&cleaned.finding, cleaned.wants_full()), (&Finding::Passed, true), "it says what it needs");
}

#[test]
fn a_silent_engine_fails_a_node_only_where_it_is_required() {
    for (demand, finding) in [
        (Demand::Required, Finding::Failed(Reason::ContainerRuntimeDown)),
        (Demand::Recorded, Finding::Passed),
        (Demand::Off, Finding::Passed),
    ] {
        let plan = plan(CheckKind::Light, true);
        let plan = Plan { probes: ProbeRules { containers: demand, ..ProbeRules::NONE }, ..plan };
        let events = [
            connected(),
            look(&[("docker", 1, b""), ("claims", 66, b"")]),
            Event::ClaimsRecalled(Expected::Nothing),
        ];
        assert_eq!(run(plan, &events).unwrap().finding, finding, "{demand:?}");
    }
}

#[test]
fn a_look_that_is_not_one_fails_for_what_it_is() {
    for (output, reason) in [
        (Event::Looked(b"\x1b[31m\0\xff".to_vec()), Reason::ProbeOutputInvalid),
        (Event::Looked(b"nonce 0 2\nab\nend 0 0\n\n".to_vec()), Reason::NonceMismatch),
        (Event::CommandFailed, Reason::CommandFailed),
    ] {
        assert_eq!(light(&[output]).finding, Finding::Failed(reason));
    }
}

#[test]
fn a_full_check_uploads_the_prover_once_and_proves_what_is_claimed() {
    let events = [
        connected(),
        Event::ProverMissing,
        Event::Uploaded,
        Event::ClaimsPrinted(claims_json()),
        Event::Recalled(vec![]),
        verified(digest(2)),
        Event::Transferred(None),
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
fn cards_that_the_deadlines_do_not_tell_apart_are_remembered_and_do_not_count() {
    let uuids = [uuid(), GpuUuid::from_bytes([3; 16])];
    let facts = Check::begin(plan(CheckKind::Full, true)).0.facts;
    let claim = |(index, uuid)| ClaimedGpu { index, uuid, class: "NVIDIA H200".parse().unwrap() };
    let claims = (0..).zip(uuids).map(claim).collect();
    let proving = Proving {
        gpus: uuids.map(|uuid| ProvenGpu { uuid, category: Category::H200 }).to_vec(),
        fingerprints: uuids.map(|uuid| Fingerprint { uuid, ..fingerprint(card("simulated-H200")) }).to_vec(),
    };
    let check = Check { facts: Conclusion { claims, ..facts }, phase: Phase::Proving(proving) };
    let (check, _) = check.step(verified(digest(2)), NOW).unwrap();
    let (check, _) = check.step(Event::Transferred(None), NOW).unwrap();
    let end = check.conclusion().unwrap();
    assert_eq!(end.finding, Finding::Passed);
    assert_eq!(end.gpus, [ProvenGpu { uuid: uuids[0], category: Category::H200 }]);
    assert_eq!(end.fingerprints.len(), 2);
}

#[test]
fn a_rejected_proof_keeps_its_transcript_and_proves_no_gpu() {
    let rejected = Event::Proof(ProofEnd::Rejected {
        reason: Reason::ProofOpeningMismatch,
        transcript: digest(3),
        after_nonce: true,
    });
    let events = [connected(), Event::ClaimsPrinted(claims_json()), Event::Recalled(vec![]), rejected];
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

const H100: &str = "NVIDIA H100 80GB HBM3";
const WITH_A_ROW: &[Calibration] =
    &[Calibration { subject: Subject::Card { class: "h100-sxm", driver_major: 570 }, ..CALIBRATIONS[0] }];

/// A full check of a node that claims an H100, by this table, in which the proof ends so.
fn real_card(calibrations: &'static [Calibration], proof: Event) -> Conclusion {
    let plan = plan(CheckKind::Full, false);
    let plan = Plan { gpus: plan.gpus.with_calibrations(calibrations), ..plan };
    let claims = String::from_utf8(claims_json()).unwrap().replace("simulated-H100", H100);
    let events = [connected(), Event::ClaimsPrinted(claims.into_bytes()), Event::Recalled(vec![]), proof];
    let ended = run(plan.clone(), &events);
    ended.unwrap_or_else(|effects| {
        assert_eq!(effects, [Effect::Transfer]);
        run(plan, &[&events[..], &[Event::Transferred(None)]].concat()).unwrap()
    })
}

#[test]
fn a_real_card_without_a_calibration_is_challenged_and_ends_uncalibrated_however_it_answers() {
    let rejected =
        |reason| Event::Proof(ProofEnd::Rejected { reason, transcript: digest(3), after_nonce: true });
    for proof in [
        verified(digest(3)),
        rejected(Reason::ProofDeadlineMissed),
        rejected(Reason::ProofOpeningMismatch),
        rejected(Reason::ProofIncomplete),
    ] {
        let end = real_card(CALIBRATIONS, proof.clone());
        assert_eq!(end.finding, Finding::Failed(Reason::GpuClassUncalibrated), "{proof:?}");
        assert_eq!((end.transcript, end.gpus.as_slice(), end.claims.len()), (Some(digest(3)), &[][..], 1));
        assert_eq!(end.observed(Control::Reachable), None, "nothing is held against its node");
        assert!(!end.after_nonce && end.fingerprints.is_empty());
    }
}

#[test]
fn a_row_in_the_calibration_table_makes_a_real_card_count_and_fail() {
    let end = real_card(WITH_A_ROW, verified(digest(3)));
    assert_eq!((end.finding.clone(), end.gpus.len()), (Finding::Passed, 1));
    assert_eq!(end.gpus[0].category, Category::H100);
    let reason = Reason::ProofDeadlineMissed;
    let late = Event::Proof(ProofEnd::Rejected { reason, transcript: digest(3), after_nonce: false });
    let end = real_card(WITH_A_ROW, late);
    assert_eq!(end.finding, Finding::Failed(reason));
    assert_eq!(end.observed(Control::Reachable), Some(Observed::Missed(Control::Reachable)));
}

#[test]
fn a_display_card_beside_it_is_not_asked_and_voids_nothing() {
    let report = ClaimReport::parse(&claims_json()).unwrap();
    let display: ClassName = "NVIDIA T400 4GB".parse().unwrap();
    let facts = DeviceFacts::simulated(&display, 1);
    let other = DeviceReport { index: 1, uuid: GpuUuid::from_bytes([3; 16]), class: display, facts };
    let both = ClaimReport { devices: [report.devices, vec![other]].concat(), ..report };
    let claims = Event::ClaimsPrinted(both.to_json().into_bytes());
    let asked = run(plan(CheckKind::Full, true), &[connected(), claims.clone()]).unwrap_err();
    assert_eq!(asked, [Effect::Recall(vec![uuid()])]);
    let events =
        [connected(), claims, Event::Recalled(vec![]), verified(digest(2)), Event::Transferred(None)];
    let end = run(plan(CheckKind::Full, true), &events).unwrap();
    assert_eq!((end.finding, end.gpus.len(), end.claims.len()), (Finding::Passed, 1, 1));
    assert_eq!(end.fingerprints.len(), 1);
}

#[test]
fn a_card_that_is_not_the_one_it_is_called_is_not_even_challenged() {
    let events = [connected(), Event::ClaimsPrinted(claims_showing(other_card()))];
    let end = run(plan(CheckKind::Full, true), &events).unwrap();
    assert_eq!(end.finding, Finding::Failed(Reason::GpuClaimsContradictClass));
    assert!(end.difference.is_some_and(|d| d.uuid == uuid() && d.fields.contains(&Field::Sms)));
    assert!(matches!(Reason::GpuClaimsContradictClass.blame(), Blame::Elsewhere(_)), "no ban by our table");
}

#[test]
fn a_gpu_that_is_not_what_it_was_is_put_on_hold_before_it_proves_anything() {
    let before = DeviceFacts { sms: 131, ..card("simulated-H100") };
    let events =
        [connected(), Event::ClaimsPrinted(claims_json()), Event::Recalled(vec![fingerprint(before)])];
    let end = run(plan(CheckKind::Full, true), &events).unwrap();
    assert_eq!(end.finding, Finding::Failed(Reason::GpuFingerprintChanged));
    assert_eq!(end.difference, Some(Difference { uuid: uuid(), fields: vec![Field::Sms] }));
    assert_eq!((end.gpus, end.fingerprints), (vec![], vec![]));
    assert_eq!(Reason::GpuFingerprintChanged.blame(), Blame::Elsewhere(Fault::Unknown));
    assert!(Reason::GpuFingerprintChanged.voids_proof());
}

#[test]
fn a_pass_keeps_what_was_shown_first_and_notes_what_may_change() {
    let first = DeviceFacts { driver: "535.1".parse().unwrap(), ..card("simulated-H100") };
    let events = |known| {
        [
            connected(),
            Event::ClaimsPrinted(claims_json()),
            Event::Recalled(known),
            verified(digest(2)),
            Event::Transferred(None),
        ]
    };
    let unseen = run(plan(CheckKind::Full, true), &events(vec![])).unwrap();
    assert_eq!(unseen.fingerprints, [fingerprint(card("simulated-H100"))]);
    let seen = run(plan(CheckKind::Full, true), &events(vec![fingerprint(first)])).unwrap();
    assert_eq!(seen.finding, Finding::Passed);
    assert_eq!(seen.noted, [Difference { uuid: uuid(), fields: vec![Field::Driver] }]);
    assert_eq!(seen.fingerprints, [fingerprint(card("simulated-H100"))]);
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
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(Event::Looked),
        Just(Event::ProverMissing),
        Just(Event::Uploaded),
        Just(Event::UploadFailed),
        Just(Event::ClaimsPrinted(claims_json())),
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(Event::ClaimsPrinted),
        Just(Event::CommandFailed),
        Just(Event::Recalled(vec![])),
        Just(Event::Recalled(vec![fingerprint(other_card())])),
        Just(Event::Proof(ProofEnd::Stopped)),
        Just(verified(digest(9))),
        Just(Event::Transferred(None)),
        Just(Event::Transferred(Some(transfer(TransferEnd::WrongBytes)))),
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
            prop_assert_eq!(end.gpus.len(), end.fingerprints.len());
            prop_assert_eq!(end.gpus.is_empty(), !(full && end.finding == Finding::Passed));
            prop_assert!(!full || proven == (end.finding == Finding::Passed));
            prop_assert!(proven || end.measured == Measured::default());
        }
    }
}
