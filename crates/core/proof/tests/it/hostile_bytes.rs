//! Bytes that no honest prover sends.

use basilica_proof::wire::{
    Accept, DecodeError, FrameTooLarge, Kind, Message, Refusal, RefusalCode, Root, frame,
};
use basilica_proof::{
    Deadlines, PROTOCOL_VERSION, ProofParams, Rejection, RejectionClass, Stage, Transcript, Verifier,
};
use proptest::prelude::*;

use crate::run::{NONCE, NOW, ROOTS, WALK, answers, challenge, honest, key, tiny, verify};

const SIGNATURE_FRAME: usize = 4 + 65;

#[test]
fn every_one_bit_mutation_of_a_transcript_is_rejected() {
    let challenge = challenge(1, ProofParams::new(64, 64, 2, 6).unwrap());
    let (result, transcript) = verify(&challenge, &answers(&challenge, honest, &NONCE), &NONCE);
    result.unwrap();
    let bytes = transcript.encode();
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for bit in 0..bytes.len() * 8 {
        let mut mutated = bytes.clone();
        mutated[bit / 8] ^= 1 << (bit % 8);
        let reason = match Transcript::decode(&mutated).map(|read| read.verify()) {
            Err(_) => "undecodable",
            Ok(Err(rejection)) => rejection.code(),
            Ok(Ok(_)) => panic!("bit {bit} of {} does not matter", bytes.len() * 8),
        };
        *reasons.entry(reason).or_default() += 1;
    }
    // Nearly all of the file is leaves and siblings, which the path binds.
    assert!(reasons["proof_merkle_path"] > bytes.len() * 4, "{reasons:?}");
    for expected in ["undecodable", "proof_challenge_mismatch", "proof_opening_order", "proof_too_large"] {
        assert!(reasons.contains_key(expected), "no {expected} in {reasons:?}");
    }
}

#[test]
fn every_truncation_is_incomplete_or_undecodable() {
    let challenge = challenge(1, tiny());
    let sent = answers(&challenge, honest, &NONCE);
    let (roots, openings) = (&sent[ROOTS], &sent[ROOTS + 1]);
    let cuts = (0..=ROOTS).flat_map(|turn| (0..sent[turn].len()).map(move |length| (turn, length)));
    for (turn, length) in cuts {
        let cut = [&sent[..turn], &[sent[turn][..length].to_vec()]].concat();
        let rejected = verify(&challenge, &cut, &NONCE).0.unwrap_err();
        assert_eq!(rejected.class(), RejectionClass::Incomplete, "{length}: {rejected}");
    }
    let all = openings.len() - SIGNATURE_FRAME;
    for length in (0..openings.len()).step_by(97) {
        let cut = [&sent[..ROOTS], &[roots.clone(), openings[..length].to_vec()]].concat();
        let (result, transcript) = verify(&challenge, &cut, &NONCE);
        let expected = match length.checked_sub(all) {
            None => {
                let received = (length / (all / 8)) as u64;
                Rejection::Incomplete { stage: Stage::Openings, received, expected: 8 }
            }
            Some(_) => Rejection::Incomplete { stage: Stage::Signature, received: 0, expected: 1 },
        };
        assert_eq!(result, Err(expected.clone()));
        assert_eq!(transcript.verify(), Err(expected));
    }
    let (_, transcript) = verify(&challenge, &sent, &NONCE);
    let bytes = transcript.encode();
    for length in 0..bytes.len() {
        Transcript::decode(&bytes[..length]).expect_err("a cut file");
    }
}

#[test]
fn trailing_bytes_are_refused_live_and_in_files() {
    let challenge = challenge(1, tiny());
    let mut sent = answers(&challenge, honest, &NONCE);
    let (_, transcript) = verify(&challenge, &sent, &NONCE);
    let mut bytes = transcript.encode();
    bytes.push(0);
    assert_eq!(Transcript::decode(&bytes), Err(DecodeError::Trailing(1)));
    sent[ROOTS + 1].extend([1, 2, 3]);
    let (result, transcript) = verify(&challenge, &sent, &NONCE);
    assert_eq!(result, Err(Rejection::TrailingBytes));
    assert_eq!(transcript.verify(), Err(Rejection::TrailingBytes));
}

#[test]
fn oversized_frames_are_refused_at_their_header_and_not_kept() {
    let challenge = challenge(1, tiny());
    let mut flood = u32::MAX.to_le_bytes().to_vec();
    flood.extend(vec![0; 100_000]);
    let (result, transcript) = verify(&challenge, &[flood], &NONCE);
    let refused = FrameTooLarge { bytes: u32::MAX, limit: 263 };
    assert_eq!(result, Err(Rejection::TooLarge(refused)));
    assert!(transcript.encode().len() < 1_024);
    assert_eq!(transcript.verify(), Err(Rejection::TooLarge(refused)));
}

fn after_accept(messages: &[Message]) -> Rejection {
    let challenge = challenge(1, tiny());
    let mut sent = answers(&challenge, honest, &NONCE);
    sent.truncate(ROOTS);
    sent.push(messages.iter().flat_map(|message| frame(&message.encode())).collect());
    verify(&challenge, &sent, &NONCE).0.unwrap_err()
}

fn root(device: u16, round: u32) -> Message {
    Message::Root(Root { device, round, root: basilica_types::Digest::from_bytes([1; 32]) })
}

#[test]
fn roots_must_be_in_order_and_as_many_as_asked() {
    assert_eq!(after_accept(&[root(1, 0)]), Rejection::UnknownDevice(1));
    let order = Rejection::RootOrder { device: 0, round: 1, expected: 0 };
    assert_eq!(after_accept(&[root(0, 1)]), order);
    let again = Rejection::RootOrder { device: 0, round: 0, expected: 1 };
    assert_eq!(after_accept(&[root(0, 0), root(0, 0)]), again);
    let few = Rejection::Incomplete { stage: Stage::Roots, received: 1, expected: 2 };
    assert_eq!(after_accept(&[root(0, 0)]), few);
    assert_eq!(after_accept(&[root(0, 0), root(0, 1), root(0, 2)]), Rejection::UnsolicitedBytes);
}

#[test]
fn one_device_cannot_send_anothers_roots() {
    let challenge = challenge(2, tiny());
    let mut sent = answers(&challenge, honest, &NONCE);
    sent.truncate(ROOTS);
    sent.push([root(0, 0), root(0, 1), root(0, 2)].iter().flat_map(|root| frame(&root.encode())).collect());
    let rejected = verify(&challenge, &sent, &NONCE).0.unwrap_err();
    assert_eq!(rejected, Rejection::RootCountMismatch { device: 0, rounds: 2 });
}

#[test]
fn other_versions_and_other_challenges_are_named() {
    let challenge = challenge(1, tiny());
    let send = |accept: Accept| {
        let sent = frame(&Message::Accept(accept).encode());
        verify(&challenge, &[sent], &NONCE).0.unwrap_err()
    };
    let version = Accept { version: 1, challenge: challenge.digest(), key: key().public() };
    assert_eq!(send(version), Rejection::WrongVersion(1));
    let other = basilica_types::Digest::from_bytes([0; 32]);
    let mismatch = Accept { version: PROTOCOL_VERSION, challenge: other, key: key().public() };
    assert_eq!(send(mismatch), Rejection::ChallengeMismatch);
}

#[test]
fn a_refusal_is_shown_and_is_no_proof_fault() {
    let refusal = Refusal::new(RefusalCode::TooLarge, "no room\x1b[31m");
    assert_eq!(refusal.text(), "no room?[31m", "control characters never reach a terminal");
    let rejected = after_accept(&[Message::Refusal(refusal)]);
    assert_eq!((rejected.code(), rejected.class()), ("proof_refused", RejectionClass::Refused));
}

#[test]
fn messages_out_of_place_are_named() {
    let nonce = Message::OpeningNonce(NONCE);
    assert_eq!(after_accept(&[nonce]), Rejection::UnexpectedMessage(Kind::OpeningNonce));
    let challenge = challenge(1, tiny());
    let roots_first = answers(&challenge, honest, &NONCE).swap_remove(ROOTS);
    let rejected = verify(&challenge, &[roots_first], &NONCE).0.unwrap_err();
    assert_eq!(rejected, Rejection::UnexpectedMessage(Kind::Root));
}

#[test]
fn a_shell_greeting_is_malformed_not_a_proof_fault() {
    let challenge = challenge(1, tiny());
    let greeting = [b"Welcome to Ubuntu 22.04 LTS\n".to_vec()];
    let rejected = verify(&challenge, &greeting, &NONCE).0.unwrap_err();
    assert_eq!(rejected.class(), RejectionClass::Malformed, "{rejected}");
}

#[test]
fn a_nonce_out_of_turn_is_refused() {
    let mut verifier = Verifier::new(challenge(1, tiny()), None, Deadlines::UNLIMITED).unwrap();
    verifier.send_nonce(NONCE, NOW).expect_err("it was not accepted yet");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_bytes_make_the_verifier_panic_or_pass(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4),
    ) {
        let challenge = challenge(1, tiny());
        prop_assert!(verify(&challenge, std::slice::from_ref(&bytes), &NONCE).0.is_err());
        let _ = Transcript::decode(&bytes);
        let mut sent = answers(&challenge, honest, &NONCE);
        let before = sent.clone();
        for (at, mask) in flips {
            let turn = usize::from(at) % WALK;
            let at = usize::from(at) % sent[turn].len();
            sent[turn][at] ^= mask;
        }
        if sent != before {
            prop_assert!(verify(&challenge, &sent, &NONCE).0.is_err());
        }
    }
}
