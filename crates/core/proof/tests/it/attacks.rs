//! Each way to cheat that the work proof claims to stop.

use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{Block, CpuBackend, ExactProduct, Product};
use basilica_proof::wire::{Accept, Message, frame};
use basilica_proof::{
    Binding, Challenge, DeviceChallenge, PROTOCOL_VERSION, ProofParams, Rejection, Transcript,
};
use basilica_types::{GpuUuid, NodeId};

use crate::run::{NONCE, START, answers, binding, challenge, device, honest, key, run, tiny, verify};

/// Computes one row in `every`, leaves the others to a guess.
struct Skipping {
    every: u32,
}

impl Product for Skipping {
    fn compute(&self, block: &Block<'_>, out: &mut [i32]) {
        ExactProduct(Kernel::detect()).compute(block, out);
        let width = block.b.len() / block.inner;
        for (row, cells) in (block.row..).zip(out.chunks_exact_mut(width)) {
            if row.is_multiple_of(self.every) {
                cells.iter_mut().for_each(|cell| *cell = cell.wrapping_add(1));
            }
        }
    }
}

#[test]
fn skipped_work_is_caught_by_arithmetic() {
    let challenge = challenge(1, ProofParams::new(256, 64, 2, 256).unwrap());
    let rejected = run(&challenge, || CpuBackend::new(Skipping { every: 16 }, 1, 2_048)).unwrap_err();
    let Rejection::OpeningMismatch { device: 0, row, .. } = rejected else { panic!("{rejected}") };
    assert!(row.is_multiple_of(16), "the row named is one that was skipped");
    assert_eq!(rejected.code(), "proof_opening_mismatch");
}

#[test]
fn one_cheating_device_of_several_is_named() {
    // Devices are honest but for the third, whose product differs.
    struct Third(u16);
    impl Product for Third {
        fn compute(&self, block: &Block<'_>, out: &mut [i32]) {
            if self.0 == 2 {
                Skipping { every: 4 }.compute(block, out);
            } else {
                ExactProduct(Kernel::detect()).compute(block, out);
            }
        }
    }
    let challenge = challenge(4, ProofParams::new(64, 64, 2, 64).unwrap());
    let position = std::cell::Cell::new(0);
    let backend = || CpuBackend::new(Third(position.replace(position.get() + 1)), 1, 2_048);
    let rejected = run(&challenge, backend).unwrap_err();
    assert!(matches!(rejected, Rejection::OpeningMismatch { device: 2, .. }), "{rejected}");
}

#[test]
fn the_share_of_runs_that_skipping_passes_is_f_to_the_t() {
    let params = ProofParams::new(64, 64, 1, 16).unwrap();
    let challenge = challenge(1, params);
    let passed = (0..400u32)
        .filter(|trial| {
            let mut nonce = [0; 32];
            nonce[..4].copy_from_slice(&trial.to_le_bytes());
            let sent = answers(&challenge, || CpuBackend::new(Skipping { every: 16 }, 1, 2_048), &nonce);
            verify(&challenge, &sent, &nonce).0.is_ok()
        })
        .count();
    // With probability 0.356: about 142 of 400, and rarely more than five standard deviations (of 9.6) from it.
    let chance = params.evasion(1.0 / 16.0);
    let (mean, deviation) = (400.0 * chance, (400.0 * chance * (1.0 - chance)).sqrt());
    let passed = f64::from(u32::try_from(passed).unwrap());
    assert!((passed - mean).abs() < 5.0 * deviation, "{passed} of 400 passed, and {mean} should");
}

/// The answer to `from`, with its acceptance patched to name `to`: the best that a replay can do.
fn replay(from: &Challenge, to: &Challenge) -> Rejection {
    let mut sent = answers(from, honest, &NONCE);
    let plain = verify(to, &sent, &NONCE).0.unwrap_err();
    assert_eq!(plain, Rejection::ChallengeMismatch, "a plain replay fails at once");
    let accept = Accept { version: PROTOCOL_VERSION, challenge: to.digest(), key: key().public() };
    let patched = frame(&Message::Accept(accept).encode());
    sent[0].splice(..patched.len(), patched);
    verify(to, &sent, &NONCE).0.unwrap_err()
}

#[test]
fn an_answer_serves_no_other_nonce_node_host_key_or_device() {
    let params = ProofParams::new(64, 64, 1, 64).unwrap();
    let asked = challenge(1, params);
    let with = |binding: Binding| Challenge::new(binding, None, vec![device(0, params)]).unwrap();
    let claim = |change: fn(&mut DeviceChallenge)| {
        let mut device = device(0, params);
        change(&mut device);
        Challenge::new(binding(), None, vec![device]).unwrap()
    };
    let others = [
        ("beacon", with(Binding { beacon: [1; 32], ..binding() })),
        ("nonce", with(Binding { validator_nonce: [0x12; 32], ..binding() })),
        ("node", with(Binding { node: NodeId::from_bytes([0x23; 16]), ..binding() })),
        ("host key", with(Binding { host_key: b"another key".to_vec(), ..binding() })),
        ("uuid", claim(|device| device.claim.uuid = GpuUuid::from_bytes([9; 16]))),
        ("index", claim(|device| device.claim.index = 1)),
        ("class", claim(|device| device.claim.class = "simulated-A100".parse().unwrap())),
    ];
    for (what, other) in others {
        let rejected = replay(&asked, &other);
        // Another challenge also selects other leaves; where one of them happens to be among the old ones (there are
        // 16), or the cheater opens those asked for, arithmetic decides.
        let caught = matches!(rejected, Rejection::OpeningOrder { .. } | Rejection::OpeningMismatch { .. });
        assert!(caught, "{what}: {rejected}");
        let relabelled = relabelled(&asked, &other);
        assert!(matches!(relabelled, Rejection::OpeningMismatch { .. }), "{what}: {relabelled}");
    }
}

/// A cheater who keeps the whole product of `from` and opens whatever `to` selects in it.
fn relabelled(from: &Challenge, to: &Challenge) -> Rejection {
    use basilica_proof::prover::{Advance, Backend, BackendError, Pick, Traced};
    use basilica_proof::residency::{Cache, Region, Walk};
    use basilica_proof::seed::Seed;
    use std::sync::Arc;
    struct Reusing(CpuBackend, Seed);
    impl Backend for Reusing {
        fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError> {
            self.0.fill(region, cache)
        }
        fn walk(
            &mut self,
            walk: &Walk,
            on_root: &mut dyn FnMut(basilica_types::Digest) -> Advance,
        ) -> Result<(), BackendError> {
            self.0.walk(walk, on_root)
        }
        fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
            self.0.trace(walk, picks)
        }
        fn commit(&mut self, _: &Seed, p: &ProofParams) -> Result<basilica_types::Digest, BackendError> {
            self.0.commit(&self.1, p)
        }
        fn open(
            &mut self,
            round: u32,
            leaf: u32,
        ) -> Result<(basilica_proof::merkle::Leaf, Vec<basilica_types::Digest>), BackendError> {
            self.0.open(round, leaf)
        }
    }
    let seed = Seed::first(from.binding(), &from.devices()[0], &START);
    run(to, || Reusing(honest(), seed)).unwrap_err()
}

#[test]
fn openings_prepared_for_one_nonce_do_not_serve_another() {
    let challenge = challenge(1, tiny());
    let sent = answers(&challenge, honest, &NONCE);
    let rejected = verify(&challenge, &sent, &[0x5b; 32]).0.unwrap_err();
    assert!(matches!(rejected, Rejection::OpeningOrder { .. }), "{rejected}");
}

#[test]
fn openings_before_the_nonce_are_refused() {
    // Choosing roots to fit needs the nonce first; a prover that answers before it cannot have seen it.
    let challenge = challenge(1, tiny());
    let early = answers(&challenge, honest, &NONCE).concat();
    let (result, transcript) = verify(&challenge, &[early], &NONCE);
    assert_eq!(result.unwrap_err(), Rejection::UnsolicitedBytes);
    assert_eq!(transcript.verify().unwrap_err(), Rejection::UnsolicitedBytes, "and the file shows it");
}

#[test]
fn a_rejected_run_replays_to_the_same_rejection() {
    let challenge = challenge(1, ProofParams::new(64, 64, 2, 64).unwrap());
    let sent = answers(&challenge, || CpuBackend::new(Skipping { every: 4 }, 1, 2_048), &NONCE);
    let (result, transcript) = verify(&challenge, &sent, &NONCE);
    let read = Transcript::decode(&transcript.encode()).unwrap();
    assert_eq!(read.verify().unwrap_err(), result.unwrap_err());
}

#[test]
fn later_rounds_cannot_start_before_earlier_ones_end() {
    // The seed of round 1 needs the root of round 0: one changed root changes all later matrices.
    let challenge = challenge(1, tiny());
    let first = basilica_proof::seed::Seed::first(challenge.binding(), &challenge.devices()[0], &START);
    let [one, two] = [[1; 32], [2; 32]].map(basilica_types::Digest::from_bytes);
    assert_ne!(first.next(1, &one), first.next(1, &two));
    assert_ne!(first.next(1, &one), first.next(2, &one));
}

/// C[i+1][j+1] = C[i][j] - a[i]·b[j] + a[i+k]·b[j+k] holds for Hankel matrices and gives all of C in O(n²). The
/// recurrence must not hold for ours, or the proof would be forged with every cell right.
#[test]
fn the_hankel_recurrence_finds_nothing() {
    use basilica_proof::prf::{Matrix, fill_rows};
    let (side, inner) = (64usize, 128usize);
    let seed = basilica_proof::seed::Seed::from_bytes([3; 32]);
    let (mut a, mut b) = (vec![0; side * inner], vec![0; side * inner]);
    fill_rows(Kernel::detect(), &seed, Matrix::A, 0, inner, &mut a);
    fill_rows(Kernel::detect(), &seed, Matrix::B, 0, inner, &mut b);
    let mut product = vec![0; side * side];
    Kernel::Scalar.multiply(&a, &b, inner, &mut product);
    let (first, last) = (
        |m: &[i8], r: usize| i32::from(m[r * inner]),
        |m: &[i8], r: usize| i32::from(m[r * inner + inner - 1]),
    );
    let forged = (0..side - 1).flat_map(|i| (0..side - 1).map(move |j| (i, j))).filter(|&(i, j)| {
        let guess = product[i * side + j] - first(&a, i) * first(&b, j) + last(&a, i + 1) * last(&b, j + 1);
        guess == product[(i + 1) * side + j + 1]
    });
    assert!(forged.count() < 4, "chance gives about 0.03 of 3,969");
}
