use std::time::Duration;

use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{CpuBackend, ExactProduct};
use basilica_proof::wire::Message;
use basilica_proof::{Deadlines, NonceUse, ProofParams, Rejection, Stage, Step, Transcript, Verifier};
use proptest::prelude::*;

use crate::run::{NONCE, NOW, START, answers, challenge, frames, honest, messages, run, tiny, verify};

#[test]
fn an_honest_run_holds_for_every_device() {
    let challenge = challenge(3, ProofParams::new(256, 192, 3, 32).unwrap());
    let outcome = run(&challenge, honest).unwrap();
    assert_eq!(outcome.devices.len(), 3);
    assert!(outcome.rounds.iter().all(|times| times.len() == 3));
    for (proven, asked) in outcome.devices.iter().zip(challenge.devices()) {
        assert_eq!(proven.claim, asked.claim);
    }
}

#[test]
fn kernels_and_thread_counts_send_the_same_bytes() {
    let challenge = challenge(1, ProofParams::new(128, 128, 2, 16).unwrap());
    let expected = answers(&challenge, honest, &NONCE);
    for kernel in Kernel::supported() {
        for threads in [1, 3] {
            let backend = || CpuBackend::new(ExactProduct(kernel), threads, 2_048);
            assert!(answers(&challenge, backend, &NONCE) == expected, "{kernel:?} on {threads}");
        }
    }
}

#[test]
fn the_answer_has_exactly_the_announced_size() {
    let challenge = challenge(2, tiny());
    let sent = answers(&challenge, honest, &NONCE);
    assert_eq!(sent.concat().len() as u64, challenge.answer_bytes());
}

#[test]
fn a_transcript_file_is_checked_again_anywhere() {
    let challenge = challenge(2, tiny());
    let (result, transcript) = verify(&challenge, &answers(&challenge, honest, &NONCE), &NONCE);
    let bytes = transcript.encode();
    let read = Transcript::decode(&bytes).unwrap();
    assert_eq!(read, transcript);
    assert_eq!(read.hash(), transcript.hash());
    assert_eq!(read.verify().unwrap(), result.unwrap().devices);
}

#[test]
fn bytes_may_come_in_any_pieces() {
    let challenge = challenge(1, tiny());
    let sent = three(answers(&challenge, honest, &NONCE));
    for size in [1, 7, 71, 72, 73, 1_000] {
        let mut verifier = Verifier::new(challenge.clone(), None, Deadlines::UNLIMITED).unwrap();
        let mut last = Step::More;
        let nonces = [(NonceUse::Start, START), (NonceUse::Openings, NONCE)];
        for (turn, bytes) in sent.iter().enumerate() {
            if let Some(due) = turn.checked_sub(1) {
                assert_eq!(last, Step::DrawNonce(nonces[due].0));
                verifier.send_nonce(nonces[due].1, NOW).unwrap();
                last = Step::More;
            }
            for piece in bytes.chunks(size) {
                assert_eq!(last, Step::More);
                last = verifier.on_bytes(piece, NOW).unwrap();
            }
        }
        assert!(matches!(last, Step::Done(_)), "pieces of {size}");
    }
}

#[test]
fn times_are_the_callers() {
    let ms = Duration::from_millis;
    let challenge = challenge(1, tiny());
    let [accept, roots, openings] = three(answers(&challenge, honest, &NONCE));
    let deadlines = Deadlines { work: ms(100), openings: ms(50), ..Deadlines::UNLIMITED };
    let mut verifier = Verifier::new(challenge, None, deadlines).unwrap();
    let first_root = 4 + 39;
    verifier.on_bytes(&accept, ms(990)).unwrap();
    verifier.send_nonce(START, ms(1_000)).unwrap();
    assert_eq!(verifier.deadline(), ms(1_100));
    verifier.on_bytes(&roots[..first_root], ms(1_030)).unwrap();
    verifier.on_bytes(&roots[first_root..], ms(1_070)).unwrap();
    verifier.send_nonce(NONCE, ms(1_080)).unwrap();
    assert_eq!(verifier.deadline(), ms(1_130));
    let Step::Done(outcome) = verifier.on_bytes(&openings, ms(1_120)).unwrap() else { panic!("not done") };
    assert_eq!(outcome.rounds, [[ms(30), ms(70)]]);
    assert_eq!(outcome.openings, ms(40));
}

#[test]
fn late_bytes_miss_the_deadline_whatever_they_hold() {
    let ms = Duration::from_millis;
    let challenge = challenge(1, tiny());
    let [accept, roots, openings] = three(answers(&challenge, honest, &NONCE));
    let (accept_in, work) = (ms(200), ms(100));
    let deadlines = Deadlines { accept: accept_in, work, openings: ms(50), ..Deadlines::UNLIMITED };
    let mut late_accept = Verifier::new(challenge.clone(), None, deadlines).unwrap();
    let missed = Rejection::DeadlineMissed { stage: Stage::Accept, limit: accept_in };
    assert_eq!(late_accept.on_bytes(&accept, ms(201)), Err(missed.clone()));
    assert_eq!(late_accept.on_bytes(&accept, ms(1)), Err(missed), "a rejection is final");
    let mut late_roots = Verifier::new(challenge.clone(), None, deadlines).unwrap();
    late_roots.on_bytes(&accept, ms(150)).unwrap();
    late_roots.send_nonce(START, ms(160)).unwrap();
    let missed = Rejection::DeadlineMissed { stage: Stage::Roots, limit: work };
    assert_eq!(late_roots.on_bytes(&roots, ms(261)), Err(missed));
    let mut late_openings = Verifier::new(challenge.clone(), None, deadlines).unwrap();
    late_openings.on_bytes(&accept, ms(5)).unwrap();
    late_openings.send_nonce(START, ms(5)).unwrap();
    late_openings.on_bytes(&roots, ms(10)).unwrap();
    late_openings.send_nonce(NONCE, ms(10)).unwrap();
    let missed = Rejection::DeadlineMissed { stage: Stage::Openings, limit: ms(50) };
    assert_eq!(late_openings.on_bytes(&openings, ms(61)), Err(missed));
    let mut silent = Verifier::new(challenge, None, deadlines).unwrap();
    assert_eq!(silent.on_deadline().code(), "proof_deadline_missed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for tag in 0..14u8 {
            let mut bytes = bytes.clone();
            bytes.insert(0, tag);
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}

#[test]
fn every_sent_message_decodes_to_itself() {
    let challenge = challenge(2, tiny());
    let start = Verifier::new(challenge.clone(), None, Deadlines::UNLIMITED).unwrap().start();
    let streams = [vec![start], answers(&challenge, honest, &NONCE)].concat();
    let seen = streams.iter().map(|stream| {
        let messages = messages(stream);
        assert!(frames(&messages) == *stream);
        messages.len()
    });
    assert_eq!(seen.sum::<usize>(), 1 + 1 + 4 + 16 + 1);
}

/// What a run without memory sends: the acceptance, the roots, the openings.
fn three(sent: Vec<Vec<u8>>) -> [Vec<u8>; 3] {
    sent.try_into().unwrap()
}
