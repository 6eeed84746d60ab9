use std::collections::BTreeMap;

use basilica_types::{Digest, Millis};

use super::*;
use crate::beacon::{Beacon, BeaconClock};
use crate::order::Salt;
use crate::rules::EpochClock;

const SUBNET: NetUid = NetUid(39);

/// Rules under which [`order`] passes.
fn rules() -> WeightRules {
    WeightRules {
        block: BlockNumber(999),
        netuid: SUBNET,
        mechanism: MechanismId(0),
        mechanism_exists: true,
        neurons: 6,
        uids: BTreeMap::new(),
        own: Some(OwnNeuron {
            uid: Uid(1),
            stake: Some(Rao(100)),
            is_owner: false,
            permit: true,
            last_update: BlockNumber(900),
        }),
        stake_threshold: Rao(100),
        version_key: 7,
        rate_limit: 100,
        min_weights: 2,
        max_weight: u16::MAX,
        consensus: Consensus::Yuma,
        commit_reveal: None,
        reveal_period: 2,
        open_commits: Vec::new(),
        epochs: EpochClock::Modular { tempo: 99 },
        beacon: None,
        block_time: Millis::from_secs(12),
    }
}

fn order() -> WeightsOrder {
    set(&[(0, 30_000), (2, 35_535)])
}

fn pairs(pairs: &[(u16, u16)]) -> Vec<(Uid, Weight)> {
    pairs.iter().map(|(uid, weight)| (Uid(*uid), Weight(*weight))).collect()
}

fn asking(call: WeightsCall) -> WeightsOrder {
    WeightsOrder { netuid: SUBNET, mechanism: MechanismId(0), call }
}

fn set(weights: &[(u16, u16)]) -> WeightsOrder {
    asking(WeightsCall::Set { weights: pairs(weights), version_key: 7 })
}

fn own(rules: &mut WeightRules) -> &mut OwnNeuron {
    rules.own.as_mut().unwrap()
}

/// The verdict on [`order`] under changed rules.
fn with(change: impl FnOnce(&mut WeightRules)) -> Result<(), Rule> {
    let mut rules = rules();
    change(&mut rules);
    rules.check(&order())
}

const BOTH_FORMS: CommitReveal = CommitReveal { version: Some(4), by_hash: true, timelocked: true };

#[test]
fn a_proper_order_passes_at_the_edge_of_every_rule() {
    assert_eq!(rules().check(&order()), Ok(()));
    assert_eq!(with(|r| own(r).last_update = BlockNumber(0)), Ok(()), "0 is never");
    assert_eq!(with(|r| r.version_key = 0), Ok(()));
}

#[test]
fn each_rule_is_named_with_its_numbers() {
    assert_eq!(with(|r| r.commit_reveal = Some(BOTH_FORMS)), Err(Rule::CommitReveal(SUBNET)));
    assert_eq!(with(|r| r.mechanism_exists = false), Err(Rule::NoMechanism(SUBNET, MechanismId(0))));
    assert_eq!(with(|r| r.neurons = 1), Err(Rule::TooMany { given: 2, neurons: 1 }));
    assert_eq!(with(|r| r.own = None), Err(Rule::NotRegistered(SUBNET)));
    assert_eq!(
        with(|r| own(r).stake = Some(Rao(99))),
        Err(Rule::Stake { stake: Rao(99), threshold: Rao(100) })
    );
    assert_eq!(with(|r| own(r).stake = None), Ok(()), "a part of it is not compared");
    assert_eq!(with(|r| r.version_key = 8), Err(Rule::VersionKey { given: 7, required: 8 }));
    assert_eq!(
        with(|r| r.block = BlockNumber(998)),
        Err(Rule::TooFast { last: BlockNumber(900), next: BlockNumber(1_000) })
    );
    assert_eq!(with(|r| own(r).permit = false), Err(Rule::NoPermit));
    assert_eq!(with(|r| r.min_weights = 3), Err(Rule::TooFew { given: 2, required: 3 }));
    assert_eq!(with(|r| r.max_weight = 35_534), Err(Rule::TooHeavy { uid: Uid(2), limit: 35_534 }));
    assert_eq!(with(|r| r.max_weight = 35_535), Ok(()));
    let vector = |pairs: &[(u16, u16)]| rules().check(&set(pairs));
    assert_eq!(vector(&[(0, 1), (0, 2)]), Err(Rule::DuplicateUid(Uid(0))));
    assert_eq!(vector(&[(0, 1), (6, 2)]), Err(Rule::NoSuchUid { uid: Uid(6), neurons: 6 }));
    let root = WeightsOrder { netuid: NetUid(0), ..order() };
    assert_eq!(rules().check(&root), Err(Rule::Root));
}

#[test]
fn rules_are_reported_in_the_order_of_the_chain() {
    // Everything is broken; mending one rule after the other uncovers them in the chain's order.
    let mut rules = WeightRules {
        commit_reveal: Some(BOTH_FORMS),
        mechanism_exists: false,
        neurons: 2,
        own: None,
        version_key: 9,
        rate_limit: 200,
        min_weights: 9,
        max_weight: 1,
        ..rules()
    };
    let order = |version_key: u64, weights: &[(u16, u16)]| {
        asking(WeightsCall::Set { weights: pairs(weights), version_key })
    };
    let (twice, absent, good) =
        ([(0, 1), (0, 1), (9, 1)], [(0, 1), (1, 1), (9, 1)], [(0, 1), (1, 1), (2, 1)]);
    assert!(matches!(rules.check(&order(7, &twice)), Err(Rule::CommitReveal(_))));
    rules.commit_reveal = None;
    assert!(matches!(rules.check(&order(7, &twice)), Err(Rule::NoMechanism(..))));
    rules.mechanism_exists = true;
    assert!(matches!(rules.check(&order(7, &twice)), Err(Rule::TooMany { .. })));
    rules.neurons = 4;
    assert!(matches!(rules.check(&order(7, &twice)), Err(Rule::NotRegistered(_))));
    rules.own = Some(OwnNeuron {
        uid: Uid(1),
        stake: Some(Rao(0)),
        is_owner: false,
        permit: false,
        last_update: BlockNumber(900),
    });
    assert!(matches!(rules.check(&order(7, &twice)), Err(Rule::Stake { .. })));
    own(&mut rules).stake = Some(Rao(100));
    assert!(matches!(rules.check(&order(7, &twice)), Err(Rule::VersionKey { .. })));
    assert!(matches!(rules.check(&order(9, &twice)), Err(Rule::TooFast { .. })));
    rules.rate_limit = 0;
    assert!(matches!(rules.check(&order(9, &twice)), Err(Rule::NoPermit)));
    own(&mut rules).permit = true;
    assert!(matches!(rules.check(&order(9, &twice)), Err(Rule::DuplicateUid(_))));
    assert!(matches!(rules.check(&order(9, &absent)), Err(Rule::NoSuchUid { .. })));
    assert!(matches!(rules.check(&order(9, &good)), Err(Rule::TooFew { required: 4, .. })));
    rules.min_weights = 3;
    assert!(matches!(rules.check(&order(9, &good)), Err(Rule::TooHeavy { .. })));
}

#[test]
fn owners_and_self_weights_are_excepted_where_the_chain_excepts_them() {
    let unpermitted = |change: fn(&mut WeightRules), order: &WeightsOrder| {
        let mut rules = rules();
        own(&mut rules).permit = false;
        change(&mut rules);
        rules.check(order)
    };
    assert_eq!(unpermitted(|r| own(r).is_owner = true, &order()), Ok(()));
    assert_eq!(unpermitted(|_| (), &set(&[(1, 1)])), Ok(()), "no permit, too few, too heavy");
    assert_eq!(unpermitted(|r| r.consensus = Consensus::Null, &set(&[(1, 1)])), Err(Rule::NoPermit));
    let null_owner = |r: &mut WeightRules| {
        own(r).is_owner = true;
        r.consensus = Consensus::Null;
    };
    assert_eq!(unpermitted(null_owner, &order()), Err(Rule::NoPermit));
    assert_eq!(
        with(|r| *own(r) = OwnNeuron { stake: Some(Rao(0)), is_owner: true, ..own(r).clone() }),
        Ok(())
    );
}

fn timelocked(round: u64, version: u16) -> WeightsOrder {
    asking(WeightsCall::CommitTimelocked { ciphertext: vec![1], reveal_round: round, version })
}

/// Rules of a subnet with commit-reveal, at block 999 of epoch (999 + 40) / 100 = 10.
fn committing() -> WeightRules {
    let beacon = Beacon { public_key: vec![0; 96], clock: BeaconClock::QUICKNET, last_round: Some(50) };
    WeightRules { commit_reveal: Some(BOTH_FORMS), beacon: Some(beacon), ..rules() }
}

#[test]
fn commits_keep_the_rate_limit_and_need_no_permit() {
    let hash = asking(WeightsCall::CommitHash { hash: Digest::from_bytes([1; 32]) });
    assert_eq!(rules().check(&hash), Err(Rule::NoCommitReveal(SUBNET)));
    let mut rules = committing();
    own(&mut rules).permit = false;
    assert_eq!(rules.check(&hash), Ok(()));
    assert_eq!(rules.check(&timelocked(51, 4)), Ok(()));
    assert_eq!(rules.check(&timelocked(51, 3)), Err(Rule::CommitVersion { given: 3, required: 4 }));
    assert_eq!(rules.check(&timelocked(50, 4)), Err(Rule::RoundPassed { round: 50, last: 50 }));
    let open = OpenCommit {
        form: OpenCommitForm::Hash(Digest::from_bytes([2; 32])),
        epoch: 10,
        block: BlockNumber(990),
    };
    rules.open_commits = vec![open; 10];
    assert_eq!(rules.check(&hash), Err(Rule::TooManyCommits(10)));
    assert_eq!(rules.check(&timelocked(51, 4)), Ok(()), "the other form is counted apart");
    let dated = |epoch: u64| OpenCommit { epoch, ..open };
    rules.open_commits = vec![dated(7); 10];
    assert_eq!(rules.check(&hash), Ok(()), "due in epoch 9, they are dropped before any is counted");
    rules.open_commits = vec![dated(8); 10];
    assert_eq!(rules.check(&hash), Err(Rule::TooManyCommits(10)), "due in this epoch, they are kept");
    rules.block = BlockNumber(990);
    assert!(matches!(rules.check(&hash), Err(Rule::TooFast { .. })));
}

#[test]
fn a_reveal_passes_in_its_epoch_only_and_knows_no_rate_limit() {
    let reveal = asking(WeightsCall::Reveal {
        weights: pairs(&[(0, 1), (2, 1)]),
        salt: Salt::new(vec![1]),
        version_key: 7,
    });
    let mut rules = committing();
    own(&mut rules).last_update = rules.block;
    assert!(matches!(rules.check(&reveal), Err(Rule::NoCommit)));
    let mut verdict = |epoch: u64| {
        let form = OpenCommitForm::Hash(Digest::from_bytes([2; 32]));
        rules.open_commits = vec![OpenCommit { form, epoch, block: BlockNumber(800) }];
        rules.check(&reveal)
    };
    assert_eq!(verdict(8), Ok(()));
    assert_eq!(verdict(9), Err(Rule::TooEarly { committed: 9, due: 11, now: 10 }));
    assert_eq!(verdict(7), Err(Rule::TooLate { committed: 7, due: 9, now: 10 }));
}

#[test]
fn only_time_mends_what_is_transient() {
    assert_eq!(Rule::NoPermit.cure(), Cure::Time);
    assert_eq!(Rule::TooFast { last: BlockNumber(1), next: BlockNumber(2) }.cure(), Cure::Time);
    assert_eq!(Rule::NotRegistered(SUBNET).cure(), Cure::Somebody);
    assert_eq!(Rule::DuplicateUid(Uid(1)).cure(), Cure::OtherOrder);
}

#[test]
fn a_salt_is_never_shown() {
    assert_eq!(format!("{:?}", Salt::new(vec![4_242])), "Salt(..)");
}
