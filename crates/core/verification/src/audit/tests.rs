//! The frozen transcript of an honest run, and verdicts that say of it what it does not show.

use basilica_proof::Transcript;
use basilica_types::{Hotkey, Timestamp};

use super::*;
use crate::{CardRow, CheckKind, Evidence, Fault, Measured, ProvenGpu};

const VECTOR: &str = include_str!("../../../../../vectors/proof/transcript.json");
const STRANGER: &str = "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b";

fn audited(verdict: &Verdict, transcript: &Transcript) -> Result<Replay, Discrepancy> {
    audit(verdict, transcript, &CardTable::built_in())
}

fn bytes() -> Vec<u8> {
    vector_bytes(VECTOR)
}

fn vector_bytes(vector: &str) -> Vec<u8> {
    let field = vector.split_once("\"transcript\": \"").unwrap().1;
    hex::decode(field.split_once('"').unwrap().0).unwrap()
}

fn honest() -> Transcript {
    Transcript::decode(&bytes()).unwrap()
}

/// The byte before its signature's frame is of a sibling of the last opening.
fn tampered() -> Transcript {
    let mut bytes = bytes();
    let sibling = bytes.len() - 69 - 1;
    bytes[sibling] ^= 1;
    Transcript::decode(&bytes).unwrap()
}

/// Its answers end one byte too early, and the length before them says so.
fn cut() -> Transcript {
    let mut bytes = bytes();
    let length = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let ends = |at: &usize| length(&bytes, *at) as usize == bytes.len() - at - 4;
    let at = (0..bytes.len() - 4).find(ends).unwrap();
    let shorter = length(&bytes, at) - 1;
    bytes[at..at + 4].copy_from_slice(&shorter.to_le_bytes());
    bytes.pop();
    Transcript::decode(&bytes).unwrap()
}

/// A verdict that says truly what it rests on.
fn verdict(transcript: &Transcript, outcome: Outcome) -> Verdict {
    let (binding, devices) = (transcript.challenge().binding(), transcript.challenge().devices());
    let claims = devices.iter().map(|device| ClaimedGpu {
        index: device.claim.index,
        uuid: device.claim.uuid,
        class: device.claim.class.clone(),
    });
    let gpus = devices.iter().map(|device| ProvenGpu { uuid: device.claim.uuid, category: Category::H100 });
    Verdict {
        miner: Hotkey::from_bytes([1; 32]),
        node: binding.node,
        validator: Hotkey::from_bytes([2; 32]),
        previous: None,
        kind: CheckKind::Full,
        started: Timestamp(0),
        finished: Timestamp(1),
        outcome,
        gpus: if outcome == Outcome::Passed { gpus.collect() } else { Vec::new() },
        policy: Digest::from_bytes([3; 32]),
        evidence: Evidence {
            host_key: Some(blob_digest(&binding.host_key)),
            tries: 1,
            claims: claims.collect(),
            transcript: Some(transcript.hash()),
            prover: Digest::from_bytes([4; 32]),
            measured: Measured::default(),
            probes: crate::Probes::default(),
        },
    }
}

const fn failed(reason: Reason) -> Outcome {
    Outcome::Failed { reason, fault: Fault::Node { confirmed: true } }
}

#[test]
fn what_the_bytes_show_is_borne_out() {
    let replay = audited(&verdict(&honest(), Outcome::Passed), &honest()).unwrap();
    assert_eq!(replay.unwrap().len(), 1);
    let replay = audited(&verdict(&tampered(), failed(Reason::ProofMerklePath)), &tampered()).unwrap();
    assert_eq!(replay.unwrap_err().code(), "proof_merkle_path");
}

#[test]
fn what_only_a_clock_shows_is_not_contradicted() {
    for reason in [Reason::ProofDeadlineMissed, Reason::ProofIncomplete, Reason::ConnectionLost] {
        let replay = audited(&verdict(&cut(), failed(reason)), &cut()).unwrap();
        assert_eq!(replay.unwrap_err().code(), "proof_incomplete", "{reason}");
    }
    for reason in [Reason::ProofDeadlineMissed, Reason::GpuClaimedElsewhere, Reason::GpuClassUncalibrated] {
        assert!(audited(&verdict(&honest(), failed(reason)), &honest()).unwrap().is_ok(), "{reason}");
    }
}

#[test]
fn a_false_verdict_is_contradicted_by_its_own_transcript() {
    let passed = audited(&verdict(&tampered(), Outcome::Passed), &tampered());
    assert!(matches!(passed, Err(Discrepancy::Passed(Rejection::MerklePath { .. }))), "{passed:?}");
    let cut_passed = audited(&verdict(&cut(), Outcome::Passed), &cut());
    assert!(matches!(cut_passed, Err(Discrepancy::Passed(Rejection::Incomplete { .. }))), "{cut_passed:?}");
    let said = Reason::ProofOpeningMismatch;
    assert_eq!(
        audited(&verdict(&honest(), failed(said)), &honest()),
        Err(Discrepancy::OtherReason { said, shown: "a proof that holds" })
    );
    assert_eq!(
        audited(&verdict(&tampered(), failed(said)), &tampered()),
        Err(Discrepancy::OtherReason { said, shown: "proof_merkle_path" })
    );
}

/// The frozen run through memory, with what it read.
fn walked() -> (Transcript, Vec<MemoryRead>) {
    let bytes = vector_bytes(include_str!("../../../../../vectors/proof/transcript-memory.json"));
    let transcript = Transcript::decode(&bytes).unwrap();
    let devices = transcript.challenge().devices().iter();
    let reads = devices.flat_map(|device| {
        device.residency.iter().map(|region| MemoryRead {
            uuid: device.claim.uuid,
            space: region.space(),
            bytes: region.bytes_read(),
            took_us: 1_000,
        })
    });
    let reads = reads.collect();
    (transcript, reads)
}

#[test]
fn bytes_that_were_not_asked_for_contradict_and_times_do_not() {
    let (transcript, reads) = walked();
    let with = |memory: Vec<MemoryRead>| {
        let mut verdict = verdict(&transcript, Outcome::Passed);
        verdict.evidence.measured.memory = memory;
        audited(&verdict, &transcript).err()
    };
    let slower = reads.iter().map(|read| MemoryRead { took_us: read.took_us * 7, ..*read }).collect();
    assert_eq!((with(reads.clone()), with(slower), with(Vec::new())), (None, None, None));
    let MemoryRead { uuid, space, bytes, .. } = reads[0];
    let other = |said, asked| Some(Discrepancy::OtherBytes { uuid, space, said, asked });
    assert_eq!(with(vec![MemoryRead { bytes: bytes + 64, ..reads[0] }]), other(bytes + 64, bytes));
    assert_eq!(with(vec![reads[0], reads[0]]), other(2 * bytes, bytes));
    let stranger: GpuUuid = STRANGER.parse().unwrap();
    let invented = Discrepancy::OtherBytes { uuid: stranger, space, said: bytes, asked: 0 };
    assert_eq!(with(vec![MemoryRead { uuid: stranger, ..reads[0] }]), Some(invented));
}

#[test]
fn walks_of_a_run_that_does_not_hold_cannot_have_been_measured() {
    let mut late = verdict(&tampered(), failed(Reason::ProofMerklePath));
    late.evidence.measured.memory = walked().1;
    assert_eq!(audited(&late, &tampered()), Err(Discrepancy::MeasuredUnproven));
}

#[test]
fn a_transcript_of_something_else_is_named() {
    let transcript = honest();
    let good = verdict(&transcript, Outcome::Passed);
    let with = |change: &dyn Fn(&mut Verdict)| {
        let mut verdict = good.clone();
        change(&mut verdict);
        audited(&verdict, &transcript).unwrap_err()
    };
    let other = Digest::from_bytes([9; 32]);
    assert_eq!(with(&|v| v.evidence.transcript = None), Discrepancy::NoTranscript);
    assert_eq!(
        with(&|v| v.evidence.transcript = Some(other)),
        Discrepancy::OtherTranscript { expected: other, found: transcript.hash() }
    );
    let node = NodeId::from_bytes([7; 16]);
    assert_eq!(with(&|v| v.node = node), Discrepancy::OtherNode { expected: node, found: good.node });
    assert_eq!(with(&|v| v.evidence.host_key = Some(other)), Discrepancy::OtherHostKey);
    assert_eq!(with(&|v| v.evidence.host_key = None), Discrepancy::OtherHostKey);
    let uuid = good.gpus[0].uuid;
    assert_eq!(with(&|v| v.evidence.claims.clear()), Discrepancy::NotClaimed(uuid));
    let stranger: GpuUuid = STRANGER.parse().unwrap();
    let counted = ProvenGpu { uuid: stranger, category: Category::H100 };
    assert_eq!(with(&|v| v.gpus.push(counted)), Discrepancy::NotProven(stranger));
    assert_eq!(with(&|v| v.gpus.push(good.gpus[0])), Discrepancy::CountedTwice(uuid));
    assert_eq!(
        with(&|v| v.gpus[0].category = Category::H200),
        Discrepancy::OtherCategory {
            uuid,
            said: Category::H200,
            class: "simulated-H100".parse().unwrap(),
            category: Category::H100
        }
    );
}

#[test]
fn a_verdict_by_another_table_is_borne_out_by_that_table_alone() {
    let mut verdict = verdict(&honest(), Outcome::Passed);
    verdict.gpus[0].category = Category::Other;
    let simulated = "simulated-H100".parse().unwrap();
    let entry = CardRow::new(simulated, Category::Other, 80_000, 90_000).unwrap();
    let cards = CardTable::with(vec![entry]).unwrap();
    assert!(audit(&verdict, &honest(), &cards).unwrap().is_ok());
    assert!(matches!(audited(&verdict, &honest()), Err(Discrepancy::OtherCategory { .. })));
}
