//! Encryption to rounds: what opens, what does not, and what hostile bytes bring about.

use basilica_timelock::{
    BeaconKey, BeaconSecret, CIPHERTEXT_OVERHEAD, Envelope, MAX_CIPHERTEXT_BYTES, Round, RoundSignature,
    TimelockError, decrypt, encrypt, verify,
};
use codec::{Decode, Encode};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// quicknet's signature of its round 1000, as drand published it.
const ROUND_1000: &str =
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";
/// Made by the public SDK's own binary (`encrypt_at_round(b"basilica", 1000)`), envelope included.
const FROM_THE_SDK: &str = include_str!("sdk_envelope.hex");

fn quicknet_1000() -> RoundSignature {
    RoundSignature::from_bytes(&hex::decode(ROUND_1000).expect("hex")).expect("a signature")
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn sealed(plaintext: &[u8]) -> (Vec<u8>, RoundSignature) {
    let secret = BeaconSecret::from_seed(b"a test beacon");
    let bytes = encrypt(&secret.public(), Round(7), plaintext, &mut rng(1)).expect("short enough");
    (bytes, secret.sign(Round(7)))
}

#[test]
fn quicknets_own_signature_verifies_for_its_round_only() {
    let key = BeaconKey::quicknet();
    assert!(verify(&key, Round(1000), &quicknet_1000()));
    assert!(!verify(&key, Round(1001), &quicknet_1000()));
    let other = BeaconSecret::from_seed(b"another beacon");
    assert!(!verify(&other.public(), Round(1000), &quicknet_1000()));
    assert!(verify(&other.public(), Round(1000), &other.sign(Round(1000))));
    assert!(!verify(&key, Round(1000), &other.sign(Round(1000))));
}

#[test]
fn a_rounds_randomness_is_the_hash_that_drand_publishes() {
    assert_eq!(
        hex::encode(quicknet_1000().randomness()),
        "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd"
    );
}

#[test]
fn a_ciphertext_of_the_public_sdk_opens() {
    let bytes = hex::decode(FROM_THE_SDK.trim()).unwrap();
    let envelope = Envelope::decode(&mut &bytes[..]).unwrap();
    assert_eq!(envelope.round, Round(1000));
    assert_eq!(decrypt(&envelope.ciphertext, &quicknet_1000()).unwrap(), b"basilica");
    assert_eq!(envelope.encode(), bytes);
    assert_eq!(envelope.ciphertext.len(), b"basilica".len() + CIPHERTEXT_OVERHEAD);
}

#[test]
fn what_is_encrypted_to_quicknet_opens_with_the_published_signature() {
    for length in [0, 1, 33, MAX_CIPHERTEXT_BYTES - CIPHERTEXT_OVERHEAD] {
        let plaintext = vec![7u8; length];
        let bytes = encrypt(&BeaconKey::quicknet(), Round(1000), &plaintext, &mut rng(2)).unwrap();
        assert_eq!(bytes.len(), length + CIPHERTEXT_OVERHEAD);
        assert_eq!(decrypt(&bytes, &quicknet_1000()).unwrap(), plaintext);
    }
}

#[test]
fn more_than_the_chain_takes_is_refused_both_ways() {
    let length = MAX_CIPHERTEXT_BYTES + 1;
    let too_long = TimelockError::TooLong { length, limit: MAX_CIPHERTEXT_BYTES };
    let plaintext = vec![0u8; length - CIPHERTEXT_OVERHEAD];
    assert_eq!(encrypt(&BeaconKey::quicknet(), Round(1), &plaintext, &mut rng(3)), Err(too_long));
    assert_eq!(decrypt(&vec![0; length], &quicknet_1000()), Err(too_long));
}

#[test]
fn another_rounds_signature_opens_nothing() {
    let (bytes, _) = sealed(b"weights");
    let secret = BeaconSecret::from_seed(b"a test beacon");
    assert_eq!(decrypt(&bytes, &secret.sign(Round(8))), Err(TimelockError::WrongRound));
    assert_eq!(decrypt(&bytes, &quicknet_1000()), Err(TimelockError::WrongRound));
}

#[test]
fn every_altered_byte_that_counts_is_noticed() {
    let (bytes, signature) = sealed(b"weights");
    // The last 16 bytes name the cipher, which the chain does not read.
    for position in 0..bytes.len() - 16 {
        let mut altered = bytes.clone();
        altered[position] ^= 1;
        assert!(decrypt(&altered, &signature).is_err(), "byte {position}");
    }
    for length in 0..bytes.len() {
        let cut = decrypt(&bytes[..length], &signature);
        assert!(matches!(cut, Err(TimelockError::Framing(_))), "cut to {length}");
    }
    let mut longer = bytes;
    longer.extend_from_slice(&[1, 2, 3]);
    assert_eq!(
        decrypt(&longer, &signature).unwrap(),
        b"weights",
        "the chain reads no further than the suite"
    );
}

#[test]
fn points_outside_the_right_group_are_refused() {
    for bad in [vec![0u8; 96], vec![0xff; 96], vec![0; 95], [vec![0xc0], vec![0; 95]].concat()] {
        assert_eq!(BeaconKey::from_bytes(&bad), Err(TimelockError::Key));
    }
    for bad in [vec![0u8; 48], vec![0xff; 48], vec![0; 49], [vec![0xc0], vec![0; 47]].concat()] {
        assert_eq!(RoundSignature::from_bytes(&bad), Err(TimelockError::Signature));
    }
}

#[test]
fn lengths_that_promise_more_than_there_is_cost_nothing() {
    let (bytes, signature) = sealed(b"weights");
    // Offsets of the length prefixes: v, w, body, the body's ciphertext.
    for offset in [96, 136, 176, 184] {
        let mut altered = bytes.clone();
        altered[offset..offset + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decrypt(&altered, &signature), Err(TimelockError::Framing(_))), "at {offset}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let secret = BeaconSecret::from_seed(b"seed");
    assert_eq!(format!("{secret:?}"), "BeaconSecret");
    assert!(format!("{:?}", secret.public()).len() < 40);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_goes_in_comes_out(
        plaintext in prop::collection::vec(any::<u8>(), 0..400),
        round in any::<u64>(),
        seed in any::<u64>(),
    ) {
        let secret = BeaconSecret::from_seed(&seed.to_le_bytes());
        let bytes = encrypt(&secret.public(), Round(round), &plaintext, &mut rng(seed)).unwrap();
        prop_assert_eq!(decrypt(&bytes, &secret.sign(Round(round))).unwrap(), plaintext);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_open_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(decrypt(&bytes, &quicknet_1000()).is_err());
        prop_assert!(BeaconKey::from_bytes(&bytes).is_err());
        prop_assert!(RoundSignature::from_bytes(&bytes).is_err());
    }

    #[test]
    fn spliced_ciphertexts_never_panic(
        cut in 0usize..260,
        inserted in prop::collection::vec(any::<u8>(), 0..40),
        removed in 0usize..40,
    ) {
        let (bytes, signature) = sealed(b"weights");
        let cut = cut.min(bytes.len());
        let rest = (cut + removed).min(bytes.len());
        let spliced = [&bytes[..cut], &inserted, &bytes[rest..]].concat();
        if let Ok(opened) = decrypt(&spliced, &signature) {
            prop_assert_eq!(opened, b"weights".to_vec());
        }
    }
}
