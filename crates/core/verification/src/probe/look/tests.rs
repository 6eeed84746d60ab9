use basilica_proof::{DeviceFacts, DeviceReport};
use proptest::prelude::*;

use super::*;

const NON: [u8; 32] = [0xab; 32];
const RENTAL: &str = "9a8ed659bc17b7571b9ed947907e0f2d596e370ef35713676316270916938ae8 rental-1";

fn uuid(n: u8) -> GpuUuid {
    GpuUuid::from_bytes([n; 16])
}

fn report(gpus: &[u8]) -> String {
    let device = |(index, n): (u16, &u8)| {
        let class = "simulated-H100".parse().unwrap();
        let facts = DeviceFacts::simulated(&class, index);
        DeviceReport { index, uuid: uuid(*n), class, facts }
    };
    ClaimReport::new(None, (0..).zip(gpus).map(device).collect()).unwrap().to_json()
}

fn framed(sections: &[(&str, u8, &str)]) -> Vec<u8> {
    let section = |(name, code, body): &(&str, u8, &str)| format!("{name} {code} {}\n{body}\n", body.len());
    let mut output: String = sections.iter().map(section).collect();
    output.push_str("end 0 0\n\n");
    output.into_bytes()
}

fn nonce() -> String {
    "ab".repeat(32)
}

fn seen(sections: &[(&str, u8, &str)]) -> Result<Seen, LookError> {
    let nonce = nonce();
    let mut all = vec![("nonce", 0, nonce.as_str())];
    all.extend_from_slice(sections);
    Seen::parse(&framed(&all), &NON, true)
}

#[test]
fn the_first_engine_that_answers_counts() {
    let claims = report(&[1]);
    let claims = ("claims", 0, claims.as_str());
    for (engines, state, rentals) in [
        (vec![], EngineState::Absent, 0),
        (vec![("docker", 0, RENTAL)], EngineState::Answers(Engine::Docker), 1),
        (vec![("docker", 1, "")], EngineState::Silent(Engine::Docker), 0),
        (vec![("podman", 125, "")], EngineState::Silent(Engine::Podman), 0),
        (vec![("docker", 1, ""), ("podman", 0, "")], EngineState::Answers(Engine::Podman), 0),
        (
            vec![("docker", 0, "Emulate Docker CLI"), ("podman", 0, RENTAL)],
            EngineState::Answers(Engine::Podman),
            1,
        ),
        (vec![("docker", 1, ""), ("podman", 1, "")], EngineState::Silent(Engine::Docker), 0),
    ] {
        let read = seen(&[engines.as_slice(), &[claims]].concat()).unwrap();
        assert_eq!((read.engine, read.rentals.0.len()), (state, rentals));
    }
    let unasked = Seen::parse(&framed(&[("nonce", 0, &nonce()), claims]), &NON, false).unwrap();
    assert_eq!(unasked.engine, EngineState::NotAsked);
}

#[test]
fn every_fault_of_the_output_has_its_reason() {
    let claims = report(&[1]);
    for (result, reason) in [
        (Seen::parse(b"", &NON, true), Reason::ProbeOutputInvalid),
        (Seen::parse(&framed(&[("claims", 0, &claims)]), &NON, true), Reason::NonceMismatch),
        (
            Seen::parse(&framed(&[("nonce", 0, "ab"), ("claims", 0, &claims)]), &NON, true),
            Reason::NonceMismatch,
        ),
        (seen(&[]), Reason::ProbeOutputInvalid),
        (seen(&[("claims", 1, "")]), Reason::ProverFailed),
        (seen(&[("claims", 0, "{}")]), Reason::ClaimsInvalid),
        (seen(&[("docker", 0, "\u{1b}[31m"), ("claims", 0, &claims)]), Reason::ProbeOutputInvalid),
        (seen(&[("nvidia-smi", 0, ""), ("claims", 0, &claims)]), Reason::ProbeOutputInvalid),
    ] {
        assert_eq!(result.map_err(LookError::reason), Err(reason));
    }
    assert_eq!(seen(&[("claims", PROVER_MISSING, "")]).unwrap().claims, None);
}

#[test]
fn a_gpu_that_is_gone_or_new_is_named() {
    let set = |gpus: &[u8]| gpus.iter().map(|n| uuid(*n)).collect::<BTreeSet<_>>();
    let exactly = Expected::Exactly(set(&[1, 2]));
    let compare = |shown: &[u8], expected: &Expected| GpuLook::compare(Some(&set(shown)), expected);
    assert_eq!(compare(&[1, 2], &exactly), GpuLook::Same);
    let gone = compare(&[1], &exactly);
    assert_eq!(gone, GpuLook::Differs { missing: set(&[2]), additional: set(&[]) });
    assert_eq!(gone.failure(), Some(Reason::GpuMissing));
    let new = compare(&[1, 2, 3], &exactly);
    assert_eq!(new, GpuLook::Differs { missing: set(&[]), additional: set(&[3]) });
    assert_eq!(new.failure(), Some(Reason::GpuAdditional));
    assert_eq!(compare(&[1, 3], &exactly).failure(), Some(Reason::GpuMissing), "exchanged");
    assert_eq!(compare(&[], &exactly).failure(), Some(Reason::GpuMissing));
    assert_eq!(compare(&[1, 2, 3], &Expected::AtLeast(set(&[1, 2]))), GpuLook::Same);
    assert_eq!(compare(&[1], &Expected::AtLeast(set(&[1, 2]))).failure(), Some(Reason::GpuMissing));
    assert_eq!(compare(&[1], &Expected::Nothing), GpuLook::NothingToCompare);
    assert_eq!(GpuLook::compare(None, &exactly), GpuLook::ProverMissing);
    assert_eq!(GpuLook::ProverMissing.failure(), None);
}

proptest! {
    #[test]
    fn equality_is_of_sets_and_every_look_reads_back(
        shown in proptest::collection::btree_set(0..6u8, 0..6),
        wanted in proptest::collection::btree_set(0..6u8, 0..6),
        engine in 0..2usize,
        unknown_rentals in any::<u8>(),
    ) {
        let set = |numbers: &BTreeSet<u8>| numbers.iter().map(|n| uuid(*n)).collect::<BTreeSet<_>>();
        let gpus = GpuLook::compare(Some(&set(&shown)), &Expected::Exactly(set(&wanted)));
        prop_assert_eq!(gpus == GpuLook::Same, shown == wanted);
        prop_assert_eq!(gpus.failure().is_none(), shown == wanted);
        let look = Look { engine: EngineState::Answers(Engine::ALL[engine]), unknown_rentals, gpus };
        prop_assert_eq!(Look::decode(&mut &look.encode()[..]), Ok(look));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Seen::parse(&bytes, &NON, true);
        let _ = Look::decode(&mut &bytes[..]);
    }
}
