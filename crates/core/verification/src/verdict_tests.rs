//! The verdict's bytes, frozen, and what must not get past the reader.

use std::collections::BTreeSet;

use basilica_proof::residency::Space;
use basilica_types::{Category, Millis};
use basilica_wire::{Keypair, Signed};
use proptest::prelude::*;
use rand_core::{CryptoRng, RngCore};

use super::*;
use crate::calibration::StageTimes;
use crate::probe::{
    Cards, ContainerHost, ContainerRun, CudaVersion, Engine, EngineState, Found, GpuLook, Hardware, Look,
    Reach, ReachEnd,
};
use crate::{MemoryRead, Transfer, TransferEnd};

/// Lines of name and hex that other programs read too. Frozen: a change of these bytes needs a new version of the tag.
const VECTOR: &str = include_str!("../../../../vectors/verdict/v3.hex");
/// The same verdict as it was written before anything was probed.
const SECOND: &str = include_str!("../../../../vectors/verdict/v2.hex");
/// The same verdict as it was written before anything was measured.
const FIRST: &str = include_str!("../../../../vectors/verdict/v1.hex");

struct Counter(u8);

impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for byte in dest {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}
impl CryptoRng for Counter {}

fn signer() -> Keypair {
    Keypair::from_seed(&[1; 32]).unwrap()
}

pub(crate) fn verdict() -> Verdict {
    let uuid: GpuUuid = "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b".parse().unwrap();
    let started = Timestamp::from_secs(1_800_000_000);
    Verdict {
        miner: Keypair::from_seed(&[2; 32]).unwrap().hotkey(),
        node: "3f2504e0-4f89-51d3-9a0c-0305e82c3301".parse().unwrap(),
        validator: signer().hotkey(),
        previous: Some(Digest::from_bytes([3; 32])),
        kind: CheckKind::Full,
        started,
        finished: started + Millis(4_321),
        outcome: Outcome::Failed {
            reason: Reason::ProofOpeningMismatch,
            fault: Fault::Node { confirmed: true },
        },
        gpus: vec![ProvenGpu { uuid, category: Category::H100 }],
        policy: Digest::from_bytes([4; 32]),
        evidence: Evidence {
            host_key: Some(Digest::from_bytes([5; 32])),
            tries: 1,
            claims: vec![ClaimedGpu { index: 0, uuid, class: "simulated-H100".parse().unwrap() }],
            transcript: Some(Digest::from_bytes([6; 32])),
            prover: Digest::from_bytes([7; 32]),
            measured: Measured {
                stages: Some(StageTimes {
                    work: Millis(2_100),
                    fill: Millis(310),
                    walk: Millis(1_950),
                    openings: Millis(87),
                }),
                memory: vec![
                    MemoryRead { uuid, space: Space::Device, bytes: 6_700_000_000_000, took_us: 2_400_000 },
                    MemoryRead { uuid, space: Space::Host, bytes: 16_777_216, took_us: 1_000 },
                ],
                network: Some(Transfer {
                    asked: 67_108_864,
                    received: 67_108_864,
                    took_us: 812_345,
                    end: TransferEnd::Complete,
                }),
            },
            probes: Probes {
                look: Some(Look {
                    engine: EngineState::Answers(Engine::Docker),
                    unknown_rentals: 2,
                    gpus: GpuLook::Differs {
                        missing: BTreeSet::from([uuid]),
                        additional: BTreeSet::from([GpuUuid::from_bytes([8; 16])]),
                    },
                }),
                cards: Some(Cards {
                    driver: "570.124.06".into(),
                    cuda: CudaVersion::of_driver(570),
                    capability: [9, 0],
                    mig: false,
                }),
                hardware: Some(Found::Read(Hardware {
                    cpu_model: "AMD EPYC 7543 32-Core Processor".into(),
                    cpus: 64,
                    memory_bytes: 540_000_000_000,
                    os: "Ubuntu 24.04 LTS".into(),
                    kernel: "Linux 6.8.0-31-generic".into(),
                })),
                containers: Some(Found::Read(ContainerHost {
                    engine: EngineState::Answers(Engine::Docker),
                    version: "27.3.1".into(),
                    storage_driver: "overlay2".into(),
                })),
                storage: Some(Found::Unreadable),
                container_run: Some(ContainerRun::Missed(1)),
                reach: Some(Reach { port: 31_000, end: ReachEnd::Silent }),
            },
        },
    }
}

/// As version 2 tells it.
fn unprobed() -> Verdict {
    let base = verdict();
    Verdict { evidence: Evidence { probes: Probes::default(), ..base.evidence.clone() }, ..base }
}

/// As version 1 tells it.
fn unmeasured() -> Verdict {
    let base = unprobed();
    Verdict { evidence: Evidence { measured: Measured::default(), ..base.evidence.clone() }, ..base }
}

fn field(name: &str) -> Vec<u8> {
    field_of(VECTOR, name)
}

/// The bytes of one line.
fn field_of(vector: &str, name: &str) -> Vec<u8> {
    let line = vector.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    hex::decode(line.expect("the vector file has the line")).unwrap()
}

#[test]
fn what_a_terminal_would_obey_is_no_verdict_whoever_signed_it() {
    let told = |word: &str| {
        let Some(Found::Read(machine)) = verdict().evidence.probes.hardware else { unreachable!() };
        let hardware = Some(Found::Read(Hardware { os: word.into(), ..machine }));
        Probes { hardware, ..verdict().evidence.probes }
    };
    let engine = |word: &str| {
        let host = ContainerHost {
            engine: EngineState::Answers(Engine::Docker),
            version: word.into(),
            storage_driver: word.into(),
        };
        Probes { containers: Some(Found::Read(host)), ..Probes::default() }
    };
    let long = "x".repeat(10_000);
    for word in ["\u{1b}[2J", "a\nvalid: yes", "\u{202e}gpj", long.as_str()] {
        for probes in [told(word), engine(word)] {
            assert!(Probes::decode(&mut &probes.encode()[..]).is_err(), "{word:?}");
        }
    }
    for probes in [told("Ubuntu 24.04"), engine(""), verdict().evidence.probes] {
        assert_eq!(Probes::decode(&mut &probes.encode()[..]), Ok(probes));
    }
}

#[test]
fn the_content_and_what_is_signed_are_frozen() {
    let payload = Signed::signing_payload(&verdict(), &signer().hotkey());
    assert_eq!(hex::encode(verdict().encode()), hex::encode(field("content")));
    assert_eq!(hex::encode(payload), hex::encode(field("payload")));
}

#[test]
fn the_frozen_signature_verifies_and_reads_back() {
    let signed = SignedVerdict::decode_verified(&field("signed")).unwrap();
    assert_eq!(signed.content(), &verdict());
    assert_eq!(signed.signer(), signer().hotkey());
    let same = Signed::<Verdict>::decode_verified(&field("signed")).unwrap();
    assert_eq!(signed, SignedVerdict::from(same));
}

#[test]
fn a_verdict_of_version_1_is_read_for_ever_under_its_own_digest() {
    let bytes = field_of(FIRST, "signed");
    let signed = SignedVerdict::decode_verified(&bytes).unwrap();
    assert_eq!(signed.content(), &unmeasured());
    assert_eq!(signed.digest(), Signed::<First>::decode_verified(&bytes).unwrap().digest());
    let written = First(unmeasured());
    assert_eq!(written.encode(), field_of(FIRST, "content"));
    assert_eq!(Signed::signing_payload(&written, &signer().hotkey()).to_vec(), field_of(FIRST, "payload"));
    assert!(Signed::<Verdict>::decode_verified(&bytes).is_err(), "a reader of one version reads one");
}

#[test]
fn a_verdict_of_version_2_is_read_for_ever_under_its_own_digest() {
    let bytes = field_of(SECOND, "signed");
    let signed = SignedVerdict::decode_verified(&bytes).unwrap();
    assert_eq!(signed.content(), &unprobed());
    assert_eq!(signed.digest(), Signed::<Second>::decode_verified(&bytes).unwrap().digest());
    let written = Second(unprobed());
    assert_eq!(written.encode(), field_of(SECOND, "content"));
    assert_eq!(Signed::signing_payload(&written, &signer().hotkey()).to_vec(), field_of(SECOND, "payload"));
}

#[test]
fn no_version_passes_for_another() {
    let pairs = [(FIRST, b'1', b'2'), (SECOND, b'2', b'1'), (SECOND, b'2', b'3'), (VECTOR, b'3', b'2')];
    for (vector, from, to) in pairs {
        let mut bytes = field_of(vector, "signed");
        let version = "basilica/verdict/v1".len();
        assert_eq!(bytes[version], from);
        bytes[version] = to;
        assert!(SignedVerdict::decode_verified(&bytes).is_err());
        bytes[version] = b'4';
        let refused = SignedVerdict::decode_verified(&bytes);
        assert!(matches!(refused, Err(EnvelopeError::Domain { .. })), "{refused:?}");
    }
}

#[test]
fn a_verdict_that_passes_fewer_gpus_than_were_claimed_says_so() {
    let base = verdict();
    let claim = base.evidence.claims[0].clone();
    let second = ClaimedGpu { index: 1, uuid: GpuUuid::from_bytes([9; 16]), ..claim.clone() };
    let evidence = Evidence { claims: vec![claim, second], ..base.evidence };
    let short = Verdict { outcome: Outcome::Passed, evidence, ..verdict() };
    let unproven = short.unproven().unwrap();
    assert_eq!(unproven, CountUnproven { claimed: 2, paid: 1 });
    assert!(unproven.to_string().starts_with("count unproven: 2 gpus were claimed and 1 count"));
    let signed = Signed::new(short, &signer(), Counter(0));
    let read = Signed::<Verdict>::decode_verified(&signed.encode()).unwrap();
    assert_eq!(read.content().unproven(), Some(unproven), "under the signature");
    assert_eq!(verdict().unproven(), None, "a failed one proves nothing anyway");
    assert_eq!(Verdict { outcome: Outcome::Passed, ..verdict() }.unproven(), None);
}

#[test]
fn an_unknown_reason_category_or_kind_is_an_error() {
    let bytes = verdict().encode();
    let outcome = 32 + 16 + 32 + 33 + 1 + 8 + 8;
    assert_eq!(bytes[outcome], 1, "the position of the outcome");
    for (position, value) in [(outcome, 2), (outcome + 1, 0xff), (outcome - 17, 7)] {
        let mut changed = bytes.clone();
        changed[position] = value;
        assert!(Verdict::decode(&mut &changed[..]).is_err());
    }
    let named = bytes.windows(4).position(|w| w == b"H100").unwrap();
    let mut changed = bytes;
    changed[named] = b'X';
    assert!(Verdict::decode(&mut &changed[..]).is_err());
}

proptest! {
    #[test]
    fn every_verdict_reads_back(
        started in any::<i64>(),
        reason in 0..Reason::ALL.len(),
        tries in any::<u8>(),
        previous in any::<Option<[u8; 32]>>(),
        ids in proptest::collection::vec(any::<[u8; 16]>(), 0..9),
        categories in 0..5usize,
        reads in proptest::collection::vec((any::<[u8; 16]>(), 0..3usize, any::<u64>(), any::<u64>()), 0..9),
        stages in any::<Option<[u64; 4]>>(),
        network in any::<Option<[u64; 3]>>(),
    ) {
        let category = Category::ALL[categories];
        let gpus = ids.iter().map(|id| ProvenGpu { uuid: GpuUuid::from_bytes(*id), category }).collect();
        let base = verdict();
        let read = |(uuid, space, bytes, took_us)| {
            MemoryRead { uuid: GpuUuid::from_bytes(uuid), space: Space::ALL[space], bytes, took_us }
        };
        let measured = Measured {
            stages: stages.map(|[work, fill, walk, openings]| {
                let [work, fill, walk, openings] = [work, fill, walk, openings].map(Millis);
                StageTimes { work, fill, walk, openings }
            }),
            memory: reads.into_iter().map(read).collect(),
            network: network.map(|[asked, received, took_us]| {
                Transfer { asked, received, took_us, end: TransferEnd::CutShort }
            }),
        };
        let verdict = Verdict {
            started: Timestamp(started),
            previous: previous.map(Digest::from_bytes),
            outcome: Outcome::Failed { reason: Reason::ALL[reason], fault: Fault::Network },
            gpus,
            evidence: Evidence { tries, measured, ..base.evidence.clone() },
            ..base
        };
        let signed = Signed::new(verdict.clone(), &signer(), Counter(0));
        let read = Signed::<Verdict>::decode_verified(&signed.encode()).unwrap();
        prop_assert_eq!(read.content(), &verdict);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = SignedVerdict::decode_verified(&bytes);
        let _ = Verdict::decode(&mut &bytes[..]);
    }
}
