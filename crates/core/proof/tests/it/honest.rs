use std::time::Duration;

use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{CpuBackend, ExactProduct};
use basilica_proof::wire::Message;
use basilica_proof::{Deadlines, NonceUse, ProofParams, Rejection, Stage, Step, Transcript, Verifier};
use proptest::prelude::*;

use crate::run::{
    ECHO, NONCE, NOW, ROOTS, START, answers, begin, challenge, frames, honest, messages, run, tiny, verify,
};

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
    let sent = answers(&challenge, honest, &NONCE);
    for size in [1, 7, 71, 72, 73, 1_000] {
        let mut verifier = Verifier::new(challenge.clone(), None, Deadlines::UNLIMITED).unwrap();
        let mut last = Step::More;
        for (turn, bytes) in sent.iter().enumerate() {
            let due = match turn {
                0 => None,
                1..ROOTS => Some((NonceUse::Echo, ECHO)),
                ROOTS => Some((NonceUse::Start, START)),
                _ => Some((NonceUse::Openings, NONCE)),
            };
            if let Some((use_of_nonce, nonce)) = due {
                assert_eq!(last, Step::DrawNonce(use_of_nonce));
                verifier.send_nonce(nonce, NOW).unwrap();
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
    let sent = answers(&challenge, honest, &NONCE);
    let (roots, openings) = (&sent[ROOTS], &sent[ROOTS + 1]);
    let deadlines = Deadlines { work: ms(100), openings: ms(50), ..Deadlines::UNLIMITED };
    let mut verifier = Verifier::new(challenge, None, deadlines).unwrap();
    let first_root = 4 + 39;
    begin(&mut verifier, &sent, ms(990), ms(1_000));
    assert_eq!(verifier.deadline(), ms(1_100));
    verifier.on_bytes(&roots[..first_root], ms(1_030)).unwrap();
    verifier.on_bytes(&roots[first_root..], ms(1_070)).unwrap();
    verifier.send_nonce(NONCE, ms(1_080)).unwrap();
    assert_eq!(verifier.deadline(), ms(1_130));
    let Step::Done(outcome) = verifier.on_bytes(openings, ms(1_120)).unwrap() else { panic!("not done") };
    assert_eq!(outcome.rounds, [[ms(30), ms(70)]]);
    assert_eq!(outcome.openings, ms(40));
}

#[test]
fn late_bytes_miss_the_deadline_whatever_they_hold() {
    let ms = Duration::from_millis;
    let challenge = challenge(1, tiny());
    let sent = answers(&challenge, honest, &NONCE);
    let (accept, roots, openings) = (&sent[0], &sent[ROOTS], &sent[ROOTS + 1]);
    let (accept_in, work) = (ms(200), ms(100));
    let deadlines = Deadlines { accept: accept_in, work, openings: ms(50), ..Deadlines::UNLIMITED };
    let mut late_accept = Verifier::new(challenge.clone(), None, deadlines).unwrap();
    let missed = Rejection::DeadlineMissed { stage: Stage::Accept, limit: accept_in };
    assert_eq!(late_accept.on_bytes(accept, ms(201)), Err(missed.clone()));
    assert_eq!(late_accept.on_bytes(accept, ms(1)), Err(missed), "a rejection is final");
    let mut late_roots = Verifier::new(challenge.clone(), None, deadlines).unwrap();
    begin(&mut late_roots, &sent, ms(150), ms(160));
    let missed = Rejection::DeadlineMissed { stage: Stage::Roots, limit: work };
    assert_eq!(late_roots.on_bytes(roots, ms(261)), Err(missed));
    let mut late_openings = Verifier::new(challenge.clone(), None, deadlines).unwrap();
    begin(&mut late_openings, &sent, ms(5), ms(5));
    late_openings.on_bytes(roots, ms(10)).unwrap();
    late_openings.send_nonce(NONCE, ms(10)).unwrap();
    let missed = Rejection::DeadlineMissed { stage: Stage::Openings, limit: ms(50) };
    assert_eq!(late_openings.on_bytes(openings, ms(61)), Err(missed));
    let mut silent = Verifier::new(challenge, None, deadlines).unwrap();
    assert_eq!(silent.on_deadline().code(), "proof_deadline_missed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for tag in 0..16u8 {
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
    assert_eq!(seen.sum::<usize>(), 1 + 1 + 8 + 4 + 16 + 1);
}

#[test]
fn deadlines_follow_the_echoes_and_never_grow() {
    let ms = Duration::from_millis;
    let challenge = challenge(1, tiny());
    let sent = answers(&challenge, honest, &NONCE);
    let mut verifier = Verifier::new(challenge, None, Deadlines::all(ms(1_000))).unwrap();
    verifier.on_bytes(&sent[0], ms(10)).unwrap();
    for (echo, took) in (1..ROOTS).zip([30, 31, 29, 200, 30, 30, 35, 30]) {
        let now = ms(20 + 100 * echo as u64);
        verifier.send_nonce(ECHO, now).unwrap();
        verifier.on_bytes(&sent[echo], now + ms(took)).unwrap();
    }
    let trips = [30, 31, 29, 200, 30, 30, 35, 30].map(ms);
    assert_eq!(verifier.round_trips(), trips);
    verifier.tighten(Deadlines { work: ms(70), walk: ms(2_000), ..Deadlines::all(ms(900)) });
    verifier.send_nonce(START, ms(950)).unwrap();
    assert_eq!(verifier.deadline(), ms(1_020));
}

#[test]
fn an_echo_says_its_own_nonce_back() {
    let challenge = challenge(1, tiny());
    let mut sent = answers(&challenge, honest, &NONCE);
    sent[1] = basilica_proof::wire::frame(&Message::Echoed([7; 32]).encode());
    let rejected = verify(&challenge, &sent[..2], &NONCE).0.unwrap_err();
    assert_eq!(rejected, Rejection::UnexpectedMessage(basilica_proof::wire::Kind::Echoed));
}
