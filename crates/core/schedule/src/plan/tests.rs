use std::collections::BTreeMap;

use basilica_types::{Digest, MechanismId, Millis, NetUid, Rao};

use super::*;
use crate::beacon::{Beacon, BeaconClock};
use crate::order::Salt;
use crate::rules::{Consensus, EpochClock, OwnNeuron};
use crate::window::Expiry;

const POLICY: Policy = Policy { interval: 100, version_key: 7, commit: CommitChoice::Auto };
const FORMS: CommitReveal = CommitReveal { version: Some(4), by_hash: true, timelocked: true };
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Block 1,000, 50 blocks into epoch 5 of 100 blocks; nothing forbids anything.
fn rules() -> WeightRules {
    WeightRules {
        block: BlockNumber(1_000),
        netuid: NetUid(39),
        mechanism: MechanismId(0),
        mechanism_exists: true,
        neurons: 6,
        uids: BTreeMap::new(),
        own: Some(OwnNeuron {
            uid: Uid(1),
            stake: Some(Rao(100)),
            is_owner: false,
            permit: true,
            last_update: BlockNumber(800),
        }),
        stake_threshold: Rao(100),
        version_key: 7,
        rate_limit: 100,
        min_weights: 1,
        max_weight: u16::MAX,
        consensus: Consensus::Yuma,
        commit_reveal: None,
        reveal_period: 1,
        open_commits: Vec::new(),
        epochs: EpochClock::Stateful {
            last_epoch: BlockNumber(950),
            pending_at: BlockNumber(0),
            index: 5,
            since_last_step: 50,
            tempo: 100,
        },
        beacon: Some(Beacon {
            public_key: vec![0; 96],
            // So that the beacon is at round 10,000 + 1 now.
            clock: BeaconClock { genesis: Timestamp::from_secs(1_699_970_000), period: Millis::from_secs(3) },
            last_round: Some(10_000),
        }),
        block_time: Millis::from_secs(12),
    }
}

fn vector() -> Vec<(Uid, Weight)> {
    vec![(Uid(0), Weight(1)), (Uid(2), Weight(2))]
}

fn open(rules: &WeightRules) -> Result<Opening, Wait> {
    rules.open(&POLICY, &vector(), None, NOW)
}

fn committing() -> WeightRules {
    WeightRules { commit_reveal: Some(FORMS), ..rules() }
}

fn hash_form() -> WindowForm {
    WindowForm::Hash { hash: Digest::from_bytes([1; 32]), salt: Salt::new(vec![1]) }
}

fn timelocked_form() -> WindowForm {
    WindowForm::Timelocked { digest: Digest::from_bytes([2; 32]), round: 10_212 }
}

/// The chain holds our commit, made in `epoch`.
fn holding(form: &WindowForm, epoch: u64) -> WeightRules {
    let form = match form {
        WindowForm::Hash { hash, .. } => OpenCommitForm::Hash(*hash),
        WindowForm::Timelocked { digest, round } => {
            OpenCommitForm::Timelocked { digest: *digest, round: *round }
        }
        WindowForm::Open => panic!("nothing is committed"),
    };
    let commit = OpenCommit { form, epoch, block: BlockNumber(900) };
    WeightRules { open_commits: vec![commit], ..committing() }
}

fn follow(rules: &WeightRules, form: &WindowForm) -> Follow {
    rules.follow(form, BlockNumber(900), &vector(), 7)
}

#[test]
fn windows_begin_an_interval_apart_and_lost_ones_are_made_up_for_at_once() {
    let at = BlockNumber;
    let due = |end: WindowEnd| next_window(Some((&end, at(520))), &POLICY).map(|wait| wait.until.unwrap().0);
    assert_eq!(next_window(None, &POLICY), None);
    assert_eq!(due(WindowEnd::Set { block: at(500) }), Some(600));
    assert_eq!(due(WindowEnd::Revealed { committed: at(500), block: at(590) }), Some(600));
    assert_eq!(due(WindowEnd::Refused { block: at(500), error: String::new() }), Some(510));
    assert_eq!(due(WindowEnd::Expired(Expiry::EraOver)), None);
    assert_eq!(due(WindowEnd::Lost(Lost::EpochPassed)), None);
    assert_eq!(due(WindowEnd::Lost(Lost::OutOfReach)), Some(620), "it may come into reach again");
}

#[test]
fn without_commit_reveal_weights_are_set_in_the_open_once_the_rate_limit_allows() {
    assert_eq!(open(&rules()), Ok(Opening::Set));
    let mut fast = rules();
    fast.own.as_mut().unwrap().last_update = BlockNumber(990);
    let wait = open(&fast).unwrap_err();
    assert_eq!(wait.until, Some(BlockNumber(1_089)), "made on that block, it is in the one after");
    assert!(!wait.why.needs_operator());
}

#[test]
fn commits_are_timelocked_where_chain_and_beacon_allow_it_and_by_hash_where_not() {
    // Epoch 6 begins at block 1,050; 3 blocks of margin: 53 blocks of 12 s are 212 rounds of 3 s.
    let timelocked = Opening::CommitTimelocked { round: 10_212, version: 4 };
    assert_eq!(open(&committing()), Ok(timelocked));
    let with = |change: fn(&mut WeightRules)| {
        let mut rules = committing();
        change(&mut rules);
        open(&rules)
    };
    assert_eq!(with(|r| r.beacon = None), Ok(Opening::CommitHash));
    let forms = |forms| move |r: &mut WeightRules| r.commit_reveal = Some(forms);
    let mut rules = committing();
    forms(CommitReveal { version: Some(3), ..FORMS })(&mut rules);
    assert_eq!(open(&rules), Ok(Opening::CommitHash));
    forms(CommitReveal { by_hash: false, timelocked: false, ..FORMS })(&mut rules);
    assert_eq!(open(&rules).unwrap_err().why, Waiting::NoForm);
    let by_hash = Policy { commit: CommitChoice::Hash, ..POLICY };
    assert_eq!(committing().open(&by_hash, &vector(), None, NOW), Ok(Opening::CommitHash));
    let dropped = WindowEnd::Lost(Lost::NotRevealed);
    assert_eq!(committing().open(&POLICY, &vector(), Some(&dropped), NOW), Ok(Opening::CommitHash));
}

#[test]
fn the_round_goes_by_the_chains_own_rounds_and_by_the_clock_only_before_the_first() {
    let at = |now: i64| committing().open(&POLICY, &vector(), None, Timestamp(now));
    assert_eq!(at(0), at(NOW.0), "a wrong clock changes nothing");
    let mut young = committing();
    young.beacon.as_mut().unwrap().last_round = None;
    // 30,000 s of 3 s since the genesis.
    assert_eq!(open(&young), Ok(Opening::CommitTimelocked { round: 10_000 + 212 + 1, version: 4 }));
}

#[test]
fn no_timelocked_commit_is_made_that_could_slip_into_the_next_epoch() {
    let at = |block: u64, epochs: EpochClock, policy: &Policy| {
        let rules = WeightRules { block: BlockNumber(block), epochs, ..committing() };
        rules.open(policy, &vector(), None, NOW)
    };
    let stored = committing().epochs;
    let held = |next: u64| {
        let next = BlockNumber(next);
        Err(Wait { until: Some(BlockNumber(next.0 - 1)), why: Waiting::EpochEnds { next } })
    };
    // Epoch 6 begins at block 1,050.
    assert!(matches!(at(1_042, stored, &POLICY), Ok(Opening::CommitTimelocked { .. })));
    assert_eq!(at(1_043, stored, &POLICY), held(1_050));
    assert_eq!(at(1_048, stored, &POLICY), held(1_050));
    assert!(matches!(at(1_049, stored, &POLICY), Ok(Opening::CommitTimelocked { .. })), "in the next epoch");
    let by_hash = Policy { commit: CommitChoice::Hash, ..POLICY };
    assert_eq!(at(1_048, stored, &by_hash), Ok(Opening::CommitHash), "a hash is safe in any epoch");
    // By block height (block + 40) / 100, epochs begin at 960 and 1,060; a commit in block 1,059 counts to the next.
    let modular = EpochClock::Modular { tempo: 99 };
    assert!(matches!(at(1_051, modular, &POLICY), Ok(Opening::CommitTimelocked { .. })));
    assert_eq!(at(1_052, modular, &POLICY), held(1_060));
    // A short epoch still has room.
    let short = EpochClock::Modular { tempo: 7 };
    assert!((1_000..1_008).any(|block| at(block, short, &POLICY).is_ok()));
}

#[test]
fn a_beacon_that_stalls_is_none() {
    let late = |seconds: i64, choice: CommitChoice, rules: &WeightRules| {
        let policy = Policy { commit: choice, ..POLICY };
        rules.open(&policy, &vector(), None, Timestamp(NOW.0 + 1_000 * seconds))
    };
    let rules = committing();
    let timelocked = Ok(Opening::CommitTimelocked { round: 10_212, version: 4 });
    // Round 10,000 was published 3 s before NOW.
    assert_eq!(
        late(297, CommitChoice::Auto, &rules),
        timelocked,
        "blocks, finality and the endpoint lag too"
    );
    for seconds in [298, 3_000, 1_000_000] {
        assert_eq!(late(seconds, CommitChoice::Auto, &rules), Ok(Opening::CommitHash), "{seconds} s");
    }
    let mut only = committing();
    only.commit_reveal = Some(CommitReveal { by_hash: false, ..FORMS });
    let wait = late(298, CommitChoice::Auto, &only).unwrap_err();
    assert_eq!(wait, Wait { until: None, why: Waiting::BeaconStalled { last: 10_000 } });
    assert!(!wait.why.needs_operator(), "nothing of ours mends it");
}

#[test]
fn a_wait_is_looked_into_again_at_its_end_or_after_a_while() {
    let again = |tempo: u16, until: Option<u64>| {
        let rules = WeightRules { epochs: EpochClock::Modular { tempo }, ..rules() };
        let wait = Wait { until: until.map(BlockNumber), why: Waiting::Rule(Rule::NoPermit) };
        rules.look_again(&wait).map(|block| block.0)
    };
    assert_eq!(again(359, Some(1_300)), Some(1_025), "the clock may have changed");
    assert_eq!(again(359, Some(1_010)), Some(1_010));
    assert_eq!(again(11, Some(1_010)), Some(1_003), "and an epoch is never slept through");
    assert_eq!(again(1, Some(1_010)), Some(1_001));
    assert_eq!(again(359, None), None);
}

#[test]
fn nothing_is_committed_that_could_not_be_shown() {
    let mut rules = committing();
    rules.own.as_mut().unwrap().permit = false;
    let wait = open(&rules).unwrap_err();
    assert_eq!(wait, Wait { until: Some(BlockNumber(1_050)), why: Waiting::Rule(Rule::NoPermit) });
    let mut rules = committing();
    rules.version_key = 8;
    assert!(open(&rules).unwrap_err().why.needs_operator());
    let mut rules = committing();
    rules.epochs = EpochClock::Modular { tempo: 0 };
    assert_eq!(open(&rules).unwrap_err().why, Waiting::NoEpochs);
}

#[test]
fn a_hash_is_revealed_in_its_one_epoch() {
    let form = hash_form();
    assert_eq!(follow(&holding(&form, 4), &form), Follow::Reveal);
    match follow(&holding(&form, 5), &form) {
        Follow::Wait(wait) => {
            assert_eq!(wait.until, Some(BlockNumber(1_049)), "the reveal is in block 1,050");
            assert_eq!(wait.why, Waiting::RevealEpoch { committed: 5, due: 6, now: 5 });
        }
        other => panic!("expected to wait, got {other:?}"),
    }
    let lost = |why| Follow::End(WindowEnd::Lost(why));
    assert_eq!(follow(&holding(&form, 3), &form), lost(Lost::EpochPassed));
    assert_eq!(follow(&committing(), &form), Follow::AskWeights(Lost::Gone));
    assert_eq!(
        follow(&WeightRules { commit_reveal: None, ..holding(&form, 4) }, &form),
        lost(Lost::SwitchedOff)
    );
    // Another commit that is due does not open the door for ours.
    let mut both = holding(&form, 5);
    let other = OpenCommit {
        form: OpenCommitForm::Hash(Digest::from_bytes([9; 32])),
        epoch: 4,
        block: BlockNumber(850),
    };
    both.open_commits.insert(0, other);
    assert!(matches!(follow(&both, &form), Follow::Wait(_)));
}

#[test]
fn a_tempo_that_changed_moves_the_reveal_with_it() {
    let form = hash_form();
    let mut rules = holding(&form, 5);
    rules.epochs = EpochClock::Stateful {
        last_epoch: BlockNumber(950),
        pending_at: BlockNumber(0),
        index: 5,
        since_last_step: 50,
        tempo: 51,
    };
    assert_eq!(follow(&rules, &form), Follow::Reveal, "block 1,001 is the new epoch's first");
}

#[test]
fn a_timelocked_commit_is_left_to_the_chain() {
    let form = timelocked_form();
    let wait = |rules: &WeightRules| match follow(rules, &form) {
        Follow::Wait(wait) => wait,
        other => panic!("expected to wait, got {other:?}"),
    };
    assert_eq!(wait(&holding(&form, 5)).until, Some(BlockNumber(1_050)));
    let round = wait(&holding(&form, 4));
    assert_eq!(round.why, Waiting::Round { round: 10_212, last: Some(10_000) });
    assert_eq!(
        wait(&holding(&form, 6)).until,
        Some(BlockNumber(1_150)),
        "old runtimes date some by the next epoch"
    );
    let out_of_reach = Follow::End(WindowEnd::Lost(Lost::OutOfReach));
    assert_eq!(follow(&holding(&form, 9), &form), out_of_reach, "the count went back");
    assert_eq!(
        follow(&holding(&form, 3), &form),
        Follow::End(WindowEnd::Lost(Lost::NotRevealed)),
        "its epoch is over"
    );
    assert_eq!(follow(&committing(), &form), Follow::AskWeights(Lost::NotRevealed));
    let off = WeightRules { commit_reveal: None, ..holding(&form, 5) };
    assert!(matches!(follow(&off, &form), Follow::Wait(_)), "the chain opens it all the same");
}

#[test]
fn an_endpoint_that_is_behind_decides_nothing() {
    let form = hash_form();
    let behind = WeightRules { block: BlockNumber(899), ..committing() };
    assert!(matches!(follow(&behind, &form), Follow::Wait(Wait { why: Waiting::EndpointBehind { .. }, .. })));
}
