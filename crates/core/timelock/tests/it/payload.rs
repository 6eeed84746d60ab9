//! What goes into a commit and how the chain reads it back.

use basilica_timelock::{OpenedPayload, TimelockError, WeightsPayload, commit_hash};
use basilica_types::Hotkey;
use codec::Encode;
use proptest::prelude::*;

const HOTKEY: Hotkey = Hotkey::from_bytes([7; 32]);

#[test]
fn the_bytes_of_a_payload_are_the_chains() {
    let bytes = WeightsPayload::new(&HOTKEY, vec![1, 2], vec![100, 65_535], 9).to_bytes();
    let expected = format!("80{}0801000200086400ffff0900000000000000", "07".repeat(32));
    assert_eq!(hex::encode(&bytes), expected);
    let opened = OpenedPayload::open(&bytes, &HOTKEY).unwrap();
    assert_eq!((opened.uids, opened.values, opened.version_key), (vec![1, 2], vec![100, 65_535], 9));
}

#[test]
fn somebody_elses_payload_is_refused() {
    let bytes = WeightsPayload::new(&HOTKEY, vec![1], vec![1], 0).to_bytes();
    let other = Hotkey::from_bytes([8; 32]);
    assert_eq!(OpenedPayload::open(&bytes, &other), Err(TimelockError::OtherHotkey));
}

#[test]
fn the_form_without_a_hotkey_is_still_read() {
    let bytes = (vec![1u16, 2], vec![3u16, 4], 5u64).encode();
    let opened = OpenedPayload::open(&bytes, &HOTKEY).unwrap();
    assert_eq!((opened.uids, opened.values, opened.version_key), (vec![1, 2], vec![3, 4], 5));
}

#[test]
fn anything_else_is_not_a_payload() {
    for bytes in [&[][..], &[4], &[0xff; 8], &[0x03; 64]] {
        assert_eq!(OpenedPayload::open(bytes, &HOTKEY), Err(TimelockError::Payload));
    }
}

#[test]
fn a_commit_hash_covers_every_field() {
    let (uids, values, salt) = ([1u16, 2], [3u16, 4], [5u16, 6, 7]);
    let hash = commit_hash(&HOTKEY, 39, (&uids, &values), &salt, 8);
    // blake2b-256 by Python's hashlib over the same SCALE bytes.
    assert_eq!(hex::encode(hash), include_str!("commit_hash.hex").trim());
    let others = [
        commit_hash(&Hotkey::from_bytes([8; 32]), 39, (&uids, &values), &salt, 8),
        commit_hash(&HOTKEY, 39 + 4_096, (&uids, &values), &salt, 8),
        commit_hash(&HOTKEY, 39, (&[2, 1], &values), &salt, 8),
        commit_hash(&HOTKEY, 39, (&uids, &[4, 3]), &salt, 8),
        commit_hash(&HOTKEY, 39, (&uids, &values), &[5, 6], 8),
        commit_hash(&HOTKEY, 39, (&uids, &values), &salt, 9),
    ];
    assert!(others.iter().all(|other| *other != hash));
}

proptest! {
    #[test]
    fn opening_random_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = OpenedPayload::open(&bytes, &HOTKEY);
    }
}
