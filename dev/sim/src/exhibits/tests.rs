use super::*;
use crate::forger::hankel;
use basilica_proof::gemm::Kernel;
use basilica_proof::prf::{Matrix, fill_rows};
use basilica_proof::seed::Seed;
use basilica_types::Millis;

const STAGES: StageTimes =
    StageTimes { work: Millis(4_000), fill: Millis(0), walk: Millis(3_000), openings: Millis(500) };
const TIMES: Times = Times { stages: STAGES, pause: Millis(0) };
const DEADLINES: StageTimes =
    StageTimes { work: Millis(6_000), fill: Millis(30_000), walk: Millis(5_000), openings: Millis(30_000) };

fn reasons(exhibit: Exhibit) -> Vec<Reason> {
    let reason = |run| match judge(exhibit, run, &TIMES, &DEADLINES) {
        ProofEnd::Rejected { reason, .. } => reason,
        other => panic!("{exhibit:?} was not caught: {other:?}"),
    };
    let mut reasons: Vec<Reason> = (0..20).map(reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

#[test]
fn every_forgery_is_rejected_by_the_real_verifier_for_its_own_reason() {
    for (exhibit, expected) in [
        (Exhibit::Hankel, Reason::ProofOpeningMismatch),
        (Exhibit::HalfRank, Reason::ProofOpeningMismatch),
        (Exhibit::Skips(20), Reason::ProofOpeningMismatch),
        (Exhibit::Grinds(20), Reason::ProofOpeningMismatch),
        (Exhibit::Forgets(20), Reason::ProofWalkMismatch),
        (Exhibit::SkipsAndDrops(20), Reason::ProofIncomplete),
        (Exhibit::Replay, Reason::ProofChallengeMismatch),
        (Exhibit::Oversized, Reason::ProofTooLarge),
        (Exhibit::Garbage, Reason::ProofMalformed),
        (Exhibit::Unsolicited, Reason::ProofUnsolicitedBytes),
    ] {
        assert_eq!(reasons(exhibit), [expected], "{exhibit:?}");
    }
    let rewritten = reasons(Exhibit::RewrittenReplay);
    assert!(
        rewritten.iter().all(|r| matches!(r, Reason::ProofOpeningMismatch | Reason::ProofOpeningOrder)),
        "{rewritten:?}"
    );
}

#[test]
fn an_honest_answer_passes_in_time_and_not_late() {
    let verified =
        |times: &Times| matches!(judge(Exhibit::Honest, 1, times, &DEADLINES), ProofEnd::Verified { .. });
    assert!(verified(&TIMES));
    for late in [
        Times { stages: StageTimes { work: Millis(6_001), ..STAGES }, ..TIMES },
        Times { stages: StageTimes { walk: Millis(5_001), ..STAGES }, ..TIMES },
        Times { pause: Millis(1_500), ..TIMES },
    ] {
        assert_ne!(super::late(&late, &DEADLINES), Late::Never, "{late:?}");
        let end = judge(Exhibit::Honest, 1, &late, &DEADLINES);
        let ProofEnd::Rejected { reason, .. } = end else { panic!("{late:?} passed") };
        assert_eq!(reason, Reason::ProofDeadlineMissed);
    }
}

/// The regression that every later design must keep: matrices with structure would let this forgery through.
#[test]
fn the_hankel_forgery_works_on_hankel_matrices_and_finds_nothing_in_ours() {
    let (side, inner) = (64, 64);
    let mut chance = Chance::new(5);
    let mut series = || -> Vec<i8> { (0..side + inner).map(|_| chance.bytes()[0].cast_signed()).collect() };
    let structured = |s: &[i8]| -> Vec<i8> { (0..side).flat_map(|i| s[i..i + inner].to_vec()).collect() };
    let (a, b) = (structured(&series()), structured(&series()));
    let (mut forged, mut exact) = (vec![0; side * side], vec![0; side * side]);
    hankel(&a, &b, side, inner, &mut forged);
    Kernel::Scalar.multiply(&a, &b, inner, &mut exact);
    assert_eq!(forged, exact, "the forgery is exact where the matrices have structure");
    let seed = Seed::from_bytes([3; 32]);
    let (mut a, mut b) = (vec![0; side * inner], vec![0; side * inner]);
    fill_rows(Kernel::Scalar, &seed, Matrix::A, 0, inner, &mut a);
    fill_rows(Kernel::Scalar, &seed, Matrix::B, 0, inner, &mut b);
    hankel(&a, &b, side, inner, &mut forged);
    Kernel::Scalar.multiply(&a, &b, inner, &mut exact);
    let right = forged.iter().zip(&exact).filter(|(x, y)| x == y).count();
    assert!(right < 2 * side + 8, "{right} right cells; the first row and column are honest");
}

#[test]
fn real_runs_pass_as_often_as_the_proof_crate_says() {
    // Few openings and many skipped cells, so that passing is common enough to count.
    let params = ProofParams::new(64, 64, 1, 8).unwrap();
    let passes = (0..400u64)
        .filter(|run| {
            let asked = challenge(*run, params, false);
            let mut verifier = Verifier::new(asked.clone(), None, Deadlines::UNLIMITED).unwrap();
            let cheater = Cheater::new(Exhibit::Skips(8), &asked, None);
            Talk { run: *run, after_nonce: false, cheater }.held(&mut verifier, &TIMES).is_ok()
        })
        .count();
    let expected = params.evasion(1.0 / 8.0) * 400.0;
    let passes = f64::from(u32::try_from(passes).unwrap());
    assert!(
        (passes - expected).abs() < 5.0 * (expected * 0.66).sqrt(),
        "{passes} passed, expected {expected}"
    );
}
