//! Records as they are stored: going on from one is the same as never having stopped.

use codec::Encode as _;

use super::super::conduct::{EVENTS, LEAVES};
use super::*;

fn policy() -> Policy {
    Policy::default()
}

fn fold(history: &[Entry]) -> Record {
    let mut record = Record::default();
    history.iter().for_each(|entry| record.apply(entry, &policy()));
    record
}

fn stored(record: &Record) -> Record {
    Record::from_bytes(&policy(), &record.to_bytes(&policy())).expect("what was written reads back")
}

/// A month of a node that is checked as often as any and does whatever it can.
fn busy_month() -> Vec<Entry> {
    let shapes = [0, 5, 1, 4, 13, 6, 8, 2, 10, 7, 8].into_iter().cycle();
    (0..30 * 24 * 30).zip(shapes).map(|(i, shape)| entry(i * 2, shape)).collect()
}

#[test]
fn a_record_stays_small_whatever_happens() {
    let record = fold(&busy_month());
    let bytes = record.to_bytes(&policy()).len();
    assert!(bytes < 12_000, "{bytes}");
    let mut quiet: Vec<Entry> = (0..28 * 144).map(|i| light(i * 10 * MINUTE)).collect();
    quiet.insert(0, pass(0));
    let bytes = fold(&quiet).to_bytes(&policy()).len();
    assert!(bytes < 1_000, "an honest node's: {bytes}");
}

#[test]
fn events_without_end_keep_their_reach_and_the_newest() {
    // One every five minutes for a week is four times what is kept.
    let failing: Vec<Entry> = (0..7 * 288).map(|i| rejected(i * 5 * MINUTE)).collect();
    let last = (7 * 288 - 1) * 5 * MINUTE;
    let record = fold(&failing);
    assert_eq!(record.conduct().events.as_slice().len(), EVENTS);
    assert_eq!(record.conduct().banned_until(at(last)), Some(at(last + 7 * DAY)), "the row of a week");
}

#[test]
fn leaves_without_end_are_paid_for() {
    let mut history = vec![pass(0)];
    for i in 0..10 * LEAVES as u64 {
        let start = HOUR + i * 10 * MINUTE;
        history.extend([gone(start, Absence::Maintenance), Entry::Available(at(start + MINUTE / 10))]);
    }
    let record = fold(&history);
    assert!(record.conduct().leaves.len() <= LEAVES);
    let taken: u64 = record.conduct().leaves.iter().map(|(from, to)| to.since(*from).0).sum();
    assert!(taken > 10 * LEAVES as u64 * MINUTE / 10, "the gaps that were given up count as leave");
}

#[test]
fn another_version_or_policy_is_told_from_damage() {
    let bytes = fold(&[pass(0), light(1)]).to_bytes(&policy());
    let read = |policy: &Policy, bytes: &[u8]| Record::from_bytes(policy, bytes).unwrap_err();
    let other = Policy { downtime_tolerance: Millis(1), ..policy() };
    assert!(matches!(read(&other, &bytes), RecordError::OtherRules { .. }));
    let same = Policy { ramp: Millis(1), full_max_age: Millis(1), ..policy() };
    Record::from_bytes(&same, &bytes).expect("what is asked for later only changes nothing stored");
    let mut newer = bytes.clone();
    newer[0] += 1;
    assert!(matches!(read(&policy(), &newer), RecordError::OtherRules { .. }));
    assert!(matches!(read(&policy(), &bytes[..bytes.len() - 1]), RecordError::Malformed(_)));
    assert!(matches!(read(&policy(), &[bytes, vec![0]].concat()), RecordError::Malformed(_)));
}

#[test]
fn what_no_history_leads_to_is_refused() {
    let mut record = fold(&[rejected(0)]);
    let bytes = record.to_bytes(&policy());
    let code = bytes.iter().position(|byte| *byte == 2).expect("the code of a rejected proof");
    // Behind version and stamp: one list, one moment of eight bytes, its length, no time passed, its code.
    assert!(code < 17 + 12, "{code}");
    let mut unknown = bytes;
    unknown[17 + 11] = 9;
    let read = Record::from_bytes(&policy(), &unknown);
    assert!(matches!(read, Err(RecordError::Impossible(_))), "{read:?}");
    record.conduct.leaves = vec![(at(0), at(1)); LEAVES + 1];
    let read = Record::from_bytes(&policy(), &record.to_bytes(&policy()));
    assert!(matches!(read, Err(RecordError::Impossible(_))), "{read:?}");
}

#[test]
fn a_moment_before_the_last_entry_is_answered_as_of_that_entry() {
    let record = fold(&[pass(0), light(HOUR)]);
    let early = record.standing([], &policy(), at(1));
    assert_eq!(early, record.standing([], &policy(), at(HOUR)));
}

proptest! {
    #[test]
    fn going_on_from_a_stored_record_is_the_same_as_folding_all(
        moments in proptest::collection::vec(any_entry(), 0..80),
        splits in proptest::collection::vec(0usize..80, 0..4),
        now in 0u64..12 * DAY,
    ) {
        let history = history_of(moments);
        let whole = fold(&history);
        let mut record = Record::default();
        for (place, entry) in history.iter().enumerate() {
            if splits.contains(&place) {
                record = stored(&record);
            }
            record.apply(entry, &policy());
        }
        prop_assert_eq!(&record, &whole);
        prop_assert_eq!(stored(&record).standing([], &policy(), at(now)), whole.standing([], &policy(), at(now)));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut framed = (1u8, policy().stamp()).encode();
        framed.extend(&bytes);
        for bytes in [&bytes, &framed] {
            if let Ok(record) = Record::from_bytes(&policy(), bytes) {
                prop_assert_eq!(&record.to_bytes(&policy()), bytes);
            }
            let _ = GpuRecord::from_bytes(&policy(), bytes);
        }
    }

    #[test]
    fn damaged_records_are_records_or_errors(
        moments in proptest::collection::vec(any_entry(), 0..30), place: prop::sample::Index, bit in 0u8..8,
    ) {
        let mut bytes = fold(&history_of(moments)).to_bytes(&policy());
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(record) = Record::from_bytes(&policy(), &bytes) {
            prop_assert_eq!(record.to_bytes(&policy()), bytes, "one spelling");
            record.standing([], &policy(), at(DAY));
        }
    }
}
