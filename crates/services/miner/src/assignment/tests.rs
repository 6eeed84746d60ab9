use basilica_ports::Neuron;
use basilica_types::{BlockNumber, Coldkey, NetUid, NodeAddress, Timestamp};
use proptest::prelude::*;

use super::*;

const TAO: u64 = 1_000_000_000;

fn hotkey(uid: u16) -> Hotkey {
    Hotkey::from_bytes([uid.to_le_bytes()[0]; 32])
}

fn metagraph(neurons: &[(u64, bool)]) -> Metagraph {
    let neurons = (0u16..).zip(neurons).map(|(uid, (stake, permit))| Neuron {
        uid: Uid(uid),
        hotkey: hotkey(uid),
        coldkey: Coldkey::from_bytes([0; 32]),
        stake: Rao(*stake),
        validator_permit: *permit,
        axon: None,
        last_update: BlockNumber(0),
    });
    let neurons = neurons.collect();
    Metagraph {
        netuid: NetUid(39),
        block: BlockNumber(1),
        at: Timestamp(0),
        tempo: 360,
        owner_hotkey: None,
        neurons,
    }
}

fn pool(stakes: &[u64]) -> Pool {
    Pool::new(&metagraph(&stakes.iter().map(|stake| (*stake, true)).collect::<Vec<_>>()), None)
}

fn nodes(regions: &[Option<&str>]) -> Vec<AssignableNode> {
    let node = |(host, region): (usize, &Option<&str>)| AssignableNode {
        id: format!("root@192.0.2.{host}:22").parse::<NodeAddress>().unwrap().node_id(),
        region: region.map(|region| region.parse().unwrap()),
    };
    regions.iter().enumerate().map(node).collect()
}

/// All nodes to the one validator.
fn all(nodes: &[AssignableNode], uid: u16) -> Assignment {
    nodes.iter().map(|node| (node.id, hotkey(uid))).collect()
}

fn percent(text: &str) -> HighestStake {
    HighestStake::new(BasisPoints::parse_percent(text).unwrap())
}

#[test]
fn the_highest_stake_with_a_permit_wins_and_ties_go_to_the_lower_uid() {
    let (nodes, nobody) = (nodes(&[None, None]), Assignment::default());
    let strategy = HighestStake::with_default_margin();
    let pool = Pool::new(&metagraph(&[(9, false), (5, true), (7, true), (7, true)]), None);
    assert_eq!(strategy.assign(&pool, &nodes, &nobody), all(&nodes, 2));
    for empty in [Pool::new(&metagraph(&[(9, false)]), None), Pool::new(&metagraph(&[]), None)] {
        assert_eq!(strategy.assign(&empty, &nodes, &all(&nodes, 0)), nobody);
    }
}

#[test]
fn the_incumbent_stays_until_another_has_more_by_the_margin() {
    let nodes = nodes(&[None]);
    for (margin, stakes, expected) in [
        ("1", [1000, 1009], 0),
        ("1", [1000, 1010], 1),
        ("0", [1000, 1000], 0),
        ("0", [1000, 1001], 1),
        ("1", [0, 1], 1),
        ("100", [u64::MAX / 2 + 1, u64::MAX], 0),
    ] {
        let after = percent(margin).assign(&pool(&stakes), &nodes, &all(&nodes, 0));
        assert_eq!(after, all(&nodes, expected), "{margin} % of {stakes:?}");
    }
}

#[test]
fn a_new_node_goes_to_who_has_the_others_and_shared_nodes_make_no_incumbent() {
    let nodes = nodes(&[None, None, None]);
    let strategy = percent("1");
    let before: Assignment = nodes[..2].iter().map(|node| (node.id, hotkey(0))).collect();
    assert_eq!(strategy.assign(&pool(&[1000, 1001]), &nodes, &before), all(&nodes, 0));
    let shared = Open.assign(&pool(&[1000, 1001]), &nodes, &Assignment::default());
    assert_eq!(strategy.assign(&pool(&[1000, 1001]), &nodes, &shared), all(&nodes, 1));
}

#[test]
fn without_permit_or_stake_the_incumbent_goes_at_once() {
    let (nodes, strategy) = (nodes(&[None]), percent("50"));
    let permits = metagraph(&[(1000 * TAO, false), (900 * TAO, true)]);
    assert_eq!(strategy.assign(&Pool::new(&permits, None), &nodes, &all(&nodes, 0)), all(&nodes, 1));
    let stakes = metagraph(&[(999 * TAO, true), (1000 * TAO, true)]);
    let least = Pool::new(&stakes, Some(Rao(1000 * TAO)));
    assert_eq!(strategy.assign(&least, &nodes, &all(&nodes, 0)), all(&nodes, 1));
}

#[test]
fn a_fixed_validator_needs_its_permit_and_stake_and_nobody_replaces_it() {
    let (nodes, nobody) = (nodes(&[None]), Assignment::default());
    let strategy = Fixed(hotkey(1));
    let assign = |neurons: &[(u64, bool)], least| {
        let pool = Pool::new(&metagraph(neurons), least);
        (strategy.assign(&pool, &nodes, &nobody), strategy.why_nobody(&pool))
    };
    assert_eq!(assign(&[(9, true), (1, true)], None).0, all(&nodes, 1));
    let (assignment, why) = assign(&[(9, true), (1, false)], None);
    assert_eq!(assignment, nobody);
    assert!(why.contains(&hotkey(1).to_string()) && why.contains("no validator permit"), "{why}");
    let (assignment, why) = assign(&[(9, true), (TAO / 2, true)], Some(Rao(12_000 * TAO)));
    assert_eq!(assignment, nobody);
    assert!(why.contains("has 0.5 TAO") && why.contains("asks for 12000 TAO"), "{why}");
}

#[test]
fn whatever_a_strategy_says_only_candidates_get_nodes_and_only_those_there_are() {
    /// Gives everything that ever was to everybody who ever was.
    #[derive(Debug)]
    struct Careless;
    impl AssignmentStrategy for Careless {
        fn assign(&self, _: &Pool, nodes: &[AssignableNode], before: &Assignment) -> Assignment {
            let again = nodes.iter().map(|node| (node.id, hotkey(0)));
            before.pairs().chain(again).collect()
        }
    }
    let nodes = nodes(&[None, None]);
    let before: Assignment = [(nodes[0].id, hotkey(7)), (nodes[1].id, hotkey(0))].into_iter().collect();
    let decided = decide(&Careless, &pool(&[5]), &nodes[..1], &before);
    assert_eq!(decided, all(&nodes[..1], 0));
}

#[test]
fn open_access_is_for_everybody_with_permit_and_stake() {
    let nodes = nodes(&[None, None]);
    let pool = Pool::new(&metagraph(&[(5, true), (1, true), (9, false), (6, true)]), Some(Rao(5)));
    let assignment = Open.assign(&pool, &nodes, &Assignment::default());
    let both = [hotkey(0), hotkey(3)].into_iter().collect();
    assert!(nodes.iter().all(|node| assignment.of(node.id) == Some(&both)), "{assignment:?}");
    assert!(Open.warning().is_some_and(|warning| warning.contains("every validator")));
}

#[test]
fn a_region_goes_to_its_validators_in_their_order_and_the_rest_to_the_highest_stake() {
    let nodes = nodes(&[Some("eu"), Some("us"), Some("asia"), None]);
    let preferred = [("eu", vec![hotkey(7), hotkey(1), hotkey(0)]), ("us", vec![hotkey(7)])];
    let preferred = preferred.into_iter().map(|(region, keys)| (region.parse().unwrap(), keys)).collect();
    let strategy = Geographic::new(preferred, percent("1"));
    let assignment = strategy.assign(&pool(&[1000, 900, 1005]), &nodes, &Assignment::default());
    let whose: Vec<_> = nodes.iter().map(|node| assignment.of(node.id).unwrap().first().copied()).collect();
    assert_eq!(whose, [Some(hotkey(1)), Some(hotkey(2)), Some(hotkey(2)), Some(hotkey(2))]);
    let later = strategy.assign(&pool(&[1010, 900, 1005]), &nodes, &assignment);
    assert_eq!(later, assignment, "the others do not flap either");
}

#[test]
fn it_is_told_how_many_were_looked_at_and_why_nobody_qualified() {
    let looked = |neurons: &[(u64, bool)], least| Pool::new(&metagraph(neurons), least).why_nobody();
    assert_eq!(looked(&[], None), "0 neurons looked at, 0 with a validator permit");
    assert_eq!(
        looked(&[(9, false), (1, false)], Some(Rao(1))),
        "2 neurons looked at, 0 with a validator permit"
    );
    let why = looked(&[(9 * TAO, true), (11 * TAO, true), (99 * TAO, false)], Some(Rao(12_000 * TAO)));
    assert!(why.starts_with("3 neurons looked at, 2 with a validator permit;"), "{why}");
    assert!(why.contains(&format!("11 TAO of {}", hotkey(1))) && why.ends_with("12000 TAO"), "{why}");
}

proptest! {
    /// Stakes that move, but never apart by the margin: whoever was chosen first stays, whatever comes.
    #[test]
    fn noise_below_the_margin_moves_nothing(
        base in 10_000u64..u64::MAX / 4,
        margin in 1u16..=10_000,
        rounds in prop::collection::vec(prop::collection::vec(0u64..1_000_000, 4), 1..40),
    ) {
        let nodes = nodes(&[None, None]);
        let strategy = HighestStake::new(BasisPoints::new(margin).unwrap());
        // Every stake stays within [base, base + margin), so that no two are the margin apart.
        let spread = u128::from(base) * u128::from(margin) / 10_000;
        let mut assignment = Assignment::default();
        let mut first = None;
        for noise in rounds {
            let stakes: Vec<u64> = noise
                .iter()
                .map(|ppm| base + u64::try_from(spread * u128::from(*ppm) / 1_000_000).unwrap())
                .collect();
            assignment = strategy.assign(&pool(&stakes), &nodes, &assignment);
            let chosen = first.get_or_insert_with(|| assignment.clone());
            prop_assert_eq!(&assignment, &*chosen, "{:?}", stakes);
        }
    }

    /// Whoever is chosen is a candidate that nobody exceeds by the margin, and the same question has the same answer,
    /// in whatever order nodes and neurons come.
    #[test]
    fn a_choice_is_deterministic_and_within_the_margin(
        neurons in prop::collection::vec((0u64..50, any::<bool>()), 0..12),
        incumbent in 0u16..12,
        margin in 0u16..=10_000,
        least in prop::option::of(0u64..50),
    ) {
        let nodes = nodes(&[None, None, None]);
        let margin = BasisPoints::new(margin).unwrap();
        let strategy = HighestStake::new(margin);
        let graph = metagraph(&neurons);
        let mut turned = graph.clone();
        turned.neurons.reverse();
        let (pool, turned) = (Pool::new(&graph, least.map(Rao)), Pool::new(&turned, least.map(Rao)));
        let before = all(&nodes, incumbent);
        let assignment = strategy.assign(&pool, &nodes, &before);
        let backwards: Vec<_> = nodes.iter().rev().cloned().collect();
        prop_assert_eq!(&strategy.assign(&turned, &backwards, &before), &assignment);
        let counts = assignment.counts();
        prop_assert_eq!(counts.len(), usize::from(!pool.candidates().is_empty()));
        if let Some((chosen, count)) = counts.first_key_value() {
            prop_assert_eq!(*count, nodes.len());
            let chosen = pool.candidate(chosen).expect("only candidates are chosen");
            prop_assert!(least.is_none_or(|least| chosen.stake >= Rao(least)));
            prop_assert!(!pool.candidates().iter().any(|other| exceeds(other.stake, chosen.stake, margin)));
        }
    }
}
