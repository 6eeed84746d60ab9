use basilica_wire::Keypair;
use proptest::prelude::*;

use super::*;

fn keypair() -> Keypair {
    Keypair::from_seed(&[7; 32]).unwrap()
}

fn digests(count: usize) -> Vec<Digest> {
    (0..count as u64).map(|n| Digest::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())).collect()
}

/// The same tree by its definition.
fn by_definition(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => Frontier::default().root(),
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            tree::root(&[by_definition(left), by_definition(right)])
        }
    }
}

fn tree_of(verdicts: &[Digest]) -> DayTree {
    let mut tree = DayTree::default();
    for (place, verdict) in (10..).zip(verdicts) {
        tree.push(place, verdict);
    }
    tree
}

fn signed(record: DayRecord) -> SignedDay {
    SignedDay::new(record, &keypair(), rand_core::OsRng)
}

fn inclusion(verdicts: &[Digest], index: usize) -> Inclusion {
    let tree = tree_of(verdicts);
    let day = signed(DayRecord::new(NetUid(39), Day(20_000), &tree, None));
    let block = index / BLOCK;
    let leaves = &verdicts[block * BLOCK..verdicts.len().min((block + 1) * BLOCK)];
    Inclusion::new(day, &tree.blocks(), block, leaves, index % BLOCK).expect("it is there")
}

#[test]
fn days_are_told_and_read_as_dates() {
    for (day, text) in [(0, "1970-01-01"), (59, "1970-03-01"), (20_779, "2026-11-22"), (19_782, "2024-02-29")]
    {
        assert_eq!(Day(day).to_string(), text);
        assert_eq!(text.parse(), Ok(Day(day)));
    }
    for text in [
        "",
        "2026",
        "2026-11",
        "2026-11-31",
        "2026-1-1",
        "2026-11-22T",
        "99999-01-01",
        "1969-12-31",
        "2026-13-01",
    ] {
        assert_eq!(text.parse::<Day>(), Err(DayError), "{text}");
    }
    assert_eq!(Day::of(Timestamp(DAY - 1)), Day(0));
    assert_eq!(Day::of(Timestamp(DAY)).before(), Day(0));
}

#[test]
fn the_bytes_of_a_record_stay_as_they_are() {
    let record =
        DayRecord::new(NetUid(39), Day(20_779), &tree_of(&digests(3)), Some(Digest::from_bytes([9; 32])));
    let told = format!("{} {}", record.root(), hex::encode(record.encode()));
    assert_eq!(told, VECTOR);
}

/// Root and record; the root as an implementation of BLAKE3 in another language finds it, too.
const VECTOR: &str = "e776628c33d440cb81c5d4e27430d3519c6a7f0d604c869f6ba13f2e93cce78f \
    27002b5100000300000000000000e776628c33d440cb81c5d4e27430d3519c6a7f0d604c869f6ba13f2e93cce78f\
    010909090909090909090909090909090909090909090909090909090909090909";

proptest! {
    #[test]
    fn blocks_make_the_tree_of_the_definition(count in 0usize..3 * BLOCK) {
        let verdicts = digests(count);
        let hashes: Vec<Digest> = verdicts.iter().map(tree::leaf).collect();
        let tree = tree_of(&verdicts);
        prop_assert_eq!(tree.root(), by_definition(&hashes));
        prop_assert_eq!(tree.count(), count as u64);
        prop_assert_eq!(tree.blocks().len(), count.div_ceil(BLOCK));
    }

    #[test]
    fn every_verdict_is_shown_to_be_where_it_is_and_no_other(count in 1usize..2 * BLOCK + 2, at in any::<prop::sample::Index>()) {
        let verdicts = digests(count);
        let at = at.index(count);
        let read = Inclusion::decode_bounded(&inclusion(&verdicts, at).encode()).unwrap();
        prop_assert_eq!(read.verify(&verdicts[at]).unwrap().content().count(), count as u64);
        prop_assert_eq!(read.index(), at as u64);
        let other = digests(count + 1)[count];
        let refused = matches!(read.verify(&other), Err(NotIncluded::Path { .. }));
        prop_assert!(refused);
        for beside in [at.wrapping_sub(1), at + 1] {
            if let Some(verdict) = verdicts.get(beside) {
                prop_assert!(read.verify(verdict).is_err());
            }
        }
    }

    #[test]
    fn a_changed_bit_shows_nothing(bit in any::<prop::sample::Index>(), count in 1usize..9, at in any::<prop::sample::Index>()) {
        let verdicts = digests(count);
        let at = at.index(count);
        let mut bytes = inclusion(&verdicts, at).encode();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let holds = Inclusion::decode_bounded(&bytes).is_ok_and(|read| read.verify(&verdicts[at]).is_ok());
        prop_assert!(!holds);
    }

    #[test]
    fn strangers_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(read) = Inclusion::decode_bounded(&bytes) {
            prop_assert!(read.verify(&Digest::from_bytes([1; 32])).is_err());
        }
    }
}

#[test]
fn a_block_that_is_no_longer_whole_shows_nothing() {
    let verdicts = digests(BLOCK + 5);
    let tree = tree_of(&verdicts);
    let day = || signed(DayRecord::new(NetUid(39), Day(1), &tree, None));
    let blocks = tree.blocks();
    assert!(Inclusion::new(day(), &blocks, 0, &verdicts[1..BLOCK], 4).is_none());
    assert!(Inclusion::new(day(), &blocks, 1, &verdicts[BLOCK..], 5).is_none(), "it has five");
    assert!(Inclusion::new(day(), &blocks, 2, &verdicts[BLOCK..], 0).is_none(), "there are two");
    assert!(Inclusion::new(day(), &blocks, 1, &verdicts[BLOCK..], 4).is_some());
    assert_eq!(blocks[1].first, 10 + 1024);
}
