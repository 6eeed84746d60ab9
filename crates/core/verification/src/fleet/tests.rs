use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn key(id: u8, miner: u8) -> NodeKey {
    NodeKey { miner: Hotkey::from_bytes([miner; 32]), node: NodeId::from_bytes([id; 16]) }
}

/// A node of the miner that is named like it.
fn node(id: u8) -> NodeKey {
    key(id, id)
}

fn beacon(height: u64) -> Beacon {
    let hash = *blake3::hash(&height.to_le_bytes()).as_bytes();
    Beacon { height: BlockNumber(height), hash: Digest::from_bytes(hash) }
}

fn member(id: u8, miner: u8, availability: Availability, suspected: bool) -> Member {
    Member { key: key(id, miner), availability, suspected }
}

fn claimant(id: u8, since: i64, identities: &[Identity]) -> Claimant {
    let identities = identities.iter().copied().collect();
    Claimant { node: node(id), since: Timestamp(since), identities }
}

#[test]
fn a_beacon_binds_height_and_hash() {
    let one = beacon(7);
    assert_ne!(one.digest(), Beacon { height: BlockNumber(8), ..one }.digest());
    assert_ne!(one.digest(), Beacon { hash: Digest::from_bytes([1; 32]), ..one }.digest());
    assert_eq!(
        beacon(7).digest().to_string(),
        "97aa0fcd1496e47941b4ad5d72707f934943ab6fdc2f933a90253c822fe52831",
        "a vector: every validator makes the same beacon"
    );
}

#[test]
fn epochs_come_as_often_as_asked_and_waiting_tells_nothing() {
    let rules = FleetRules { mean_blocks: 50, ..FleetRules::default() };
    let starts: Vec<u64> = (0..200_000).filter(|height| beacon(*height).starts(&rules)).collect();
    // 4,000 expected, standard deviation 63.
    assert!((3_700..4_300).contains(&starts.len()), "{}", starts.len());
    // Memoryless: of the gaps above 50, as many are above 100 as of all gaps are above 50.
    let gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let above = |least: u64| gaps.iter().filter(|gap| **gap > least).count();
    let (once, twice) = (above(50) * 1_000 / gaps.len(), above(100) * 1_000 / above(50));
    assert!(once.abs_diff(twice) < 60, "{once} and {twice} in a thousand");
}

#[test]
fn all_idle_nodes_start_and_nobody_else() {
    let rules = FleetRules { mean_blocks: 1, ..FleetRules::default() };
    let fleet = [
        member(1, 1, Availability::Idle, false),
        member(2, 1, Availability::Rented, false),
        member(3, 2, Availability::Away, true),
        member(4, 3, Availability::Idle, true),
    ];
    assert_eq!(starters(&beacon(1), &fleet, &rules), BTreeSet::from([key(1, 1), key(4, 3)]));
    let never = FleetRules { mean_blocks: u32::MAX, ..rules };
    assert_eq!(starters(&beacon(1), &fleet, &never), BTreeSet::new());
}

#[test]
fn two_nodes_meet_in_one_of_as_many_epochs_as_there_are_cohorts() {
    let rules = FleetRules { cohorts: 4, ..FleetRules::default() };
    let epochs = 8_000u64;
    let both = |height: &u64| {
        beacon(*height).takes(&node(1).node, &rules) && beacon(*height).takes(&node(2).node, &rules)
    };
    let met = (0..epochs).filter(both).count();
    // A sixteenth take both, 500 of 8,000, standard deviation 22: each is in a quarter of the epochs.
    assert!((390..610).contains(&met), "{met}");
}

#[test]
fn a_retry_takes_along_the_miners_other_nodes_and_every_suspect() {
    let fleet = [
        member(1, 1, Availability::Idle, false),
        member(2, 1, Availability::Idle, false),
        member(3, 1, Availability::Rented, true),
        member(4, 2, Availability::Idle, true),
        member(5, 3, Availability::Idle, false),
    ];
    let together = companions(&BTreeSet::from([key(1, 1)]), &fleet);
    assert_eq!(together, BTreeSet::from([key(1, 1), key(2, 1), key(4, 2)]));
}

#[test]
fn a_spread_that_allows_one_after_the_other_does_not_exist_for_wide_deadlines() {
    assert_eq!(spread_max(Millis(3_000), Millis(5_000)), Some(Millis(1_000)));
    assert_eq!(spread_max(Millis(3_000), Millis(6_000)), None);
    assert_eq!(spread_max(Millis(3_000), Millis(9_000)), None);
}

#[test]
fn walks_start_when_the_last_node_in_time_has_filled() {
    let second = Millis::from_secs(1);
    let deadlines = StageTimes { work: Millis(5_000), fill: Millis(3_000), walk: second, openings: second };
    let rules = FleetRules { spread: Millis(700), ..FleetRules::default() };
    assert_eq!(walks_start(NOW, &deadlines, &rules), NOW + Millis(8_700));
}

#[test]
fn the_later_claimant_of_a_uuid_goes_on_hold_and_the_first_is_not_touched() {
    let uuid = Identity::Gpu(GpuUuid::from_bytes([9; 16]));
    let key = Identity::HostKey(Digest::from_bytes([3; 32]));
    let found = collisions(&[
        claimant(3, 30, &[uuid]),
        claimant(1, 10, &[uuid, key]),
        claimant(2, 20, &[key]),
        claimant(4, 10, &[]),
    ]);
    assert_eq!(
        found,
        [
            Collision { identity: uuid, holder: node(1), on_hold: vec![node(3)] },
            Collision { identity: key, holder: node(1), on_hold: vec![node(2)] },
        ]
    );
}

#[test]
fn one_address_that_two_miners_list_is_two_claimants() {
    let machine = Identity::MachineId(Digest::from_bytes([3; 32]));
    let claim = |miner, since| Claimant {
        node: key(1, miner),
        since: Timestamp(since),
        identities: BTreeSet::from([machine]),
    };
    let found = collisions(&[claim(2, 20), claim(1, 10)]);
    assert_eq!(found, [Collision { identity: machine, holder: key(1, 1), on_hold: vec![key(1, 2)] }]);
}

#[test]
fn equal_digests_of_different_kinds_are_no_collision() {
    let digest = Digest::from_bytes([7; 32]);
    let kinds = [Identity::HostKey(digest), Identity::MachineId(digest), Identity::Fingerprint(digest)];
    let claimants: Vec<Claimant> = (1u8..).zip(kinds).map(|(id, kind)| claimant(id, 0, &[kind])).collect();
    assert_eq!(collisions(&claimants), []);
}

#[test]
fn only_a_challenge_at_once_settles() {
    let answer = |ms: u64, passed| Answer { sent: NOW + Millis(ms), passed };
    let spread = Millis(1_000);
    assert_eq!(settle(answer(0, true), answer(900, true), spread), Settled::Separate);
    assert_eq!(settle(answer(0, true), answer(900, false), spread), Settled::Holder);
    assert_eq!(settle(answer(0, false), answer(900, true), spread), Settled::Claimant);
    assert_eq!(settle(answer(0, false), answer(900, false), spread), Settled::Open);
    // One after the other, a single card passes both.
    assert_eq!(settle(answer(0, true), answer(1_001, true), spread), Settled::Open);
    assert_eq!(settle(answer(1_001, true), answer(0, false), spread), Settled::Open);
}

proptest! {
    #[test]
    fn every_shared_identity_has_one_holder_who_came_first(
        claims in proptest::collection::vec((0u8..12, 0i64..5, proptest::collection::btree_set(0u8..6, 0..4)), 0..20),
    ) {
        let claimants: Vec<Claimant> = claims
            .iter()
            .map(|(id, since, keys)| {
                let keys: Vec<Identity> = keys.iter().map(|k| Identity::HostKey(Digest::from_bytes([*k; 32]))).collect();
                claimant(*id, *since, &keys)
            })
            .collect();
        for collision in collisions(&claimants) {
            let since = |node: NodeKey| {
                let of = claimants.iter().filter(|c| c.node == node && c.identities.contains(&collision.identity));
                of.map(|c| c.since).min().unwrap()
            };
            prop_assert!(!collision.on_hold.is_empty() && !collision.on_hold.contains(&collision.holder));
            for later in &collision.on_hold {
                prop_assert!((since(collision.holder), collision.holder) < (since(*later), *later));
            }
            let distinct: BTreeSet<_> = collision.on_hold.iter().collect();
            prop_assert_eq!(distinct.len(), collision.on_hold.len());
        }
    }

    #[test]
    fn the_order_of_the_list_changes_nothing(ids in proptest::collection::vec(0u8..8, 0..10)) {
        let key = Identity::MachineId(Digest::from_bytes([1; 32]));
        let make = |ids: &[u8]| collisions(&ids.iter().map(|id| claimant(*id, i64::from(id % 3), &[key])).collect::<Vec<_>>());
        let mut reversed = ids.clone();
        reversed.reverse();
        prop_assert_eq!(make(&ids), make(&reversed));
    }

    #[test]
    fn one_card_serving_two_in_turn_is_late_within_the_spread(shortest in 1u64..20_000, deadline in 1u64..60_000, apart in 0u64..60_000) {
        if let Some(spread) = spread_max(Millis(shortest), Millis(deadline)) {
            // The second starts `apart` later and ends when both are done.
            let late = 2 * shortest >= apart + deadline;
            prop_assert!(apart > spread.0 || late);
        }
    }
}
