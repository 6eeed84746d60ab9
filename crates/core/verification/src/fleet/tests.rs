use super::*;
use basilica_types::NodeId;
use proptest::prelude::*;

/// For everybody.
const ROOM: Room = Room { nodes: usize::MAX, bytes: u64::MAX };

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
    Member { key: key(id, miner), availability, suspected, bytes: 10 }
}

fn claimant(id: u8, since: i64, identities: &[Identity]) -> Claimant {
    let identities = identities.iter().copied().collect();
    Claimant { node: node(id), since: Timestamp(since), identities }
}

#[test]
fn who_waits_for_a_node_keeps_nobody_else_waiting() {
    let set = |ids: &[u8]| ids.iter().map(|id| node(*id)).collect::<BTreeSet<_>>();
    let due = BTreeMap::from([
        (node(1), set(&[2])),
        (node(3), set(&[4])),
        (node(5), set(&[])),
        (node(6), set(&[2, 7])),
    ]);
    let mut groups = groups(&due);
    groups.sort_by_key(|group| group.all.clone());
    let group = |due: &[u8], all: &[u8]| Group { due: set(due), all: set(all) };
    assert_eq!(groups, [group(&[1, 6], &[1, 2, 6, 7]), group(&[3], &[3, 4]), group(&[5], &[5])]);
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
    assert_eq!(starters(&beacon(1), &fleet, &rules, ROOM), BTreeSet::from([key(1, 1), key(4, 3)]));
    for mean_blocks in [0, u32::MAX] {
        let never = FleetRules { mean_blocks, ..rules };
        assert_eq!(starters(&beacon(1), &fleet, &never, ROOM), BTreeSet::new());
    }
}

#[test]
fn where_there_is_room_for_half_each_beacon_draws_another_half_and_one_address_is_drawn_as_one() {
    let rules = FleetRules { mean_blocks: 1, ..FleetRules::default() };
    let fleet: Vec<Member> = (1..=20).map(|id| member(id, id, Availability::Idle, false)).collect();
    let room = Room { nodes: 10, ..ROOM };
    let epochs = 4_000;
    let drawn = |height| starters(&beacon(height), &fleet, &rules, room);
    let met =
        (0..epochs).filter(|height| drawn(*height).is_superset(&BTreeSet::from([node(1), node(2)]))).count();
    // Of 20 nodes ten: two given ones meet with probability 10/20 · 9/19; 947 of 4,000, standard deviation 27.
    assert!((800..1_100).contains(&met), "{met}");
    let twins = [member(1, 1, Availability::Idle, false), member(1, 2, Availability::Idle, false)];
    let fleet: Vec<Member> = fleet.into_iter().skip(1).chain(twins).collect();
    let both = |height| {
        let drawn = starters(&beacon(height), &fleet, &rules, room);
        usize::from(drawn.contains(&key(1, 1))) + usize::from(drawn.contains(&key(1, 2)))
    };
    let counts: Vec<usize> = (0..epochs).map(both).collect();
    // They are side by side, so that only the border of the room parts them.
    let apart = counts.iter().filter(|count| **count == 1).count();
    assert!(apart < 400 && counts.contains(&2), "{apart}");
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
    let rules = FleetRules { spread: Millis(700), ..FleetRules::default() };
    assert_eq!(walks_start(Millis(9), Millis(5_000), Millis(3_000), &rules), Millis(8_709));
}

fn all(claimants: &[Claimant]) -> BTreeSet<Identity> {
    claimants.iter().flat_map(|claimant| claimant.identities.iter().copied()).collect()
}

#[test]
fn the_later_claimant_goes_on_hold_and_the_first_is_not_touched() {
    let uuid = Identity::Gpu(GpuUuid::from_bytes([9; 16]));
    let key = Identity::HostKey(Digest::from_bytes([3; 32]));
    let claimants = [claimant(3, 30, &[uuid]), claimant(1, 10, &[uuid, key]), claimant(2, 20, &[key])];
    let held = |id| hold(&contests(node(id), &all(&claimants), &claimants), &BTreeSet::new());
    let by = BTreeSet::from([node(1)]);
    assert_eq!(held(1), None);
    assert_eq!(
        held(2).unwrap(),
        Hold { by: BTreeSet::from([node(1), node(3)]), reason: Reason::GpuClaimedElsewhere }
    );
    let shown = BTreeSet::from([key]);
    let second = hold(&contests(node(2), &shown, &claimants), &BTreeSet::new());
    assert_eq!(second, Some(Hold { by: by.clone(), reason: Reason::IdentityOnHold }));
    let third = hold(&contests(node(3), &BTreeSet::from([uuid]), &claimants), &BTreeSet::new());
    assert_eq!(third, Some(Hold { by, reason: Reason::GpuClaimedElsewhere }));
}

#[test]
fn one_address_that_two_miners_list_is_two_claimants() {
    let machine = Identity::MachineId(Digest::from_bytes([3; 32]));
    let shown = BTreeSet::from([machine]);
    let claim =
        |miner, since| Claimant { node: key(1, miner), since: Timestamp(since), identities: shown.clone() };
    let found = contests(key(1, 2), &shown, &[claim(2, 20), claim(1, 10)]);
    assert_eq!(found, [Contest { identity: machine, earlier: BTreeSet::from([key(1, 1)]) }]);
}

#[test]
fn copies_of_one_image_are_paid_once_each_has_passed_at_once_with_all_before_it() {
    let image = Identity::MachineId(Digest::from_bytes([3; 32]));
    let claimants = [claimant(1, 10, &[image]), claimant(2, 20, &[image])];
    let shown = BTreeSet::from([image]);
    let third = contests(node(3), &shown, &claimants);
    let held_by =
        |separate: &[NodeKey]| hold(&third, &separate.iter().copied().collect()).map(|hold| hold.by);
    assert_eq!(held_by(&[node(1)]), Some(BTreeSet::from([node(2)])), "it could share the second's card");
    assert_eq!(held_by(&[node(1), node(2)]), None);
}

#[test]
fn equal_digests_of_different_kinds_are_no_collision() {
    let digest = Digest::from_bytes([7; 32]);
    let claimants = [claimant(1, 0, &[Identity::HostKey(digest)])];
    assert_eq!(contests(node(2), &BTreeSet::from([Identity::MachineId(digest)]), &claimants), []);
}

#[test]
fn only_who_passed_at_once_is_told_apart() {
    let answer = |ms: u64, passed| Answer { began: Millis(5_000 + ms), passed };
    let with = |first, second| {
        let answers = BTreeMap::from([(node(1), first), (node(2), second)]);
        let shown = [node(1), node(2)].map(|key| passed_with(key, &answers, Millis(1_000)));
        assert_eq!(
            shown[0].contains(&node(2)),
            shown[1].contains(&node(1)),
            "what is shown of one is shown of both"
        );
        !shown[1].is_empty()
    };
    assert!(with(answer(0, true), answer(900, true)));
    assert!(!with(answer(0, true), answer(900, false)));
    assert!(!with(answer(0, false), answer(900, true)), "who shoots the holder down wins nothing");
    // One after the other, a single card passes both.
    assert!(!with(answer(0, true), answer(1_001, true)));
}

fn host_keys(ids: &BTreeSet<u8>) -> Vec<Identity> {
    ids.iter().map(|id| Identity::HostKey(Digest::from_bytes([*id; 32]))).collect()
}

proptest! {
    #[test]
    fn of_all_who_show_an_identity_the_first_alone_is_uncontested(
        claims in proptest::collection::vec((0u8..12, 0i64..5, proptest::collection::btree_set(0u8..6, 0..4)), 0..20),
    ) {
        let claimants: Vec<Claimant> =
            claims.iter().map(|(id, since, keys)| claimant(*id, *since, &host_keys(keys))).collect();
        for identity in all(&claimants) {
            let since = |node: NodeKey| {
                let of = claimants.iter().filter(|c| c.node == node && c.identities.contains(&identity));
                of.map(|c| c.since).min()
            };
            let holders: Vec<NodeKey> = (0..12).map(node).filter(|key| since(*key).is_some()).collect();
            let shown = BTreeSet::from([identity]);
            let earlier = |key: NodeKey| -> BTreeSet<NodeKey> {
                contests(key, &shown, &claimants).into_iter().flat_map(|contest| contest.earlier).collect()
            };
            prop_assert_eq!(holders.iter().filter(|key| earlier(**key).is_empty()).count(), 1);
            for key in &holders {
                let before = earlier(*key);
                prop_assert!(before.iter().all(|other| (since(*other), *other) < (since(*key), *key)));
                let rest = holders.iter().filter(|other| *other != key && !before.contains(other));
                prop_assert!(rest.clone().all(|other| (since(*other), *other) > (since(*key), *key)));
            }
            prop_assert_eq!(earlier(node(99)).len(), holders.len(), "a newcomer comes after everybody");
        }
    }

    #[test]
    fn a_hold_names_exactly_those_that_are_not_shown_apart_and_ends_with_the_last(
        earlier in proptest::collection::btree_set(0u8..8, 1..8),
        apart in proptest::collection::btree_set(0u8..8, 0..8),
    ) {
        let claimants: Vec<Claimant> =
            earlier.iter().map(|id| claimant(*id, 1, &host_keys(&BTreeSet::from([1])))).collect();
        let contests = contests(node(9), &all(&claimants), &claimants);
        let separate: BTreeSet<NodeKey> = apart.iter().map(|id| node(*id)).collect();
        let open: BTreeSet<NodeKey> = earlier.difference(&apart).map(|id| node(*id)).collect();
        let held = hold(&contests, &separate).map(|hold| hold.by).unwrap_or_default();
        prop_assert_eq!(held, open);
    }

    #[test]
    fn who_passed_with_whom_goes_both_ways_and_never_takes_in_a_failure(
        parts in proptest::collection::vec((0u64..3_000, any::<bool>()), 2..8),
    ) {
        let answers: BTreeMap<NodeKey, Answer> = (0u8..)
            .zip(&parts)
            .map(|(id, (began, passed))| (node(id), Answer { began: Millis(*began), passed: *passed }))
            .collect();
        for (key, own) in &answers {
            for other in passed_with(*key, &answers, Millis(1_000)) {
                prop_assert!(own.passed && answers[&other].passed && other != *key);
                prop_assert!(passed_with(other, &answers, Millis(1_000)).contains(key));
            }
        }
    }

    #[test]
    fn a_cohort_is_never_larger_than_the_room_and_takes_the_first_before_others(
        bytes in proptest::collection::vec(1u64..50, 1..30),
        nodes in 1usize..30,
        room in 1u64..600,
        draw in any::<[u8; 32]>(),
    ) {
        let fleet: Vec<Member> = (0u8..)
            .zip(&bytes)
            .map(|(id, bytes)| Member { bytes: *bytes, ..member(id, id, Availability::Idle, false) })
            .collect();
        let wanted: BTreeSet<NodeKey> = fleet.iter().map(|member| member.key).collect();
        let room = Room { nodes, bytes: room };
        let draw = Digest::from_bytes(draw);
        let first = BTreeSet::from([node(0)]);
        let taken = cohort(&first, &wanted, &fleet, &draw, room);
        let used: u64 = fleet.iter().filter(|member| taken.contains(&member.key)).map(|member| member.bytes).sum();
        prop_assert!(taken.len() <= nodes && used <= room.bytes && taken.is_subset(&wanted));
        prop_assert_eq!(taken.contains(&node(0)), bytes[0] <= room.bytes);
        let fits = |member: &&Member| used + member.bytes <= room.bytes && taken.len() < nodes;
        prop_assert_eq!(fleet.iter().filter(|member| !taken.contains(&member.key)).find(fits), None, "room is left");
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
