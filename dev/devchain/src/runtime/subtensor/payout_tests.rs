//! What an epoch pays to whom, to the rao, and when its turn comes.

use super::commit_tests::{INDEX, NETUID, VALIDATOR, block, blocks_until, on_chain};
use super::epoch::MAX_EPOCHS_PER_BLOCK;
use super::pallet::*;
use super::tests::key;
use crate::profile::Profile;
use crate::runtime::newtypes::{AlphaBalance, NetUid};
use crate::runtime::{Runtime, SubtensorModule, marker};

/// What 20 blocks of 1,000,000 rao each are for: 11,796 of 65,535 of each block are the owner's, half of the rest each the
/// miners' and the validators', the odd rao theirs.
const OWNERS: u64 = 20 * 179_995;
const MINERS: u64 = 20 * 410_002;
const VALIDATORS: u64 = 20 * 410_003;
const STAKED: u64 = 100_000_000_000_000;

fn stake(hotkey: &str, coldkey: &str) -> u64 {
    SubtensorModule::stake_of(&key(hotkey), &key(coldkey), NETUID).0
}

fn staked() -> u64 {
    TotalHotkeyAlpha::<Runtime>::iter()
        .filter(|(_, netuid, _)| *netuid == NETUID)
        .map(|(_, _, alpha)| alpha.0)
        .sum()
}

fn pending() -> u64 {
    PendingOwnerCut::<Runtime>::get(NETUID).0
        + PendingServerEmission::<Runtime>::get(NETUID).0
        + PendingValidatorEmission::<Runtime>::get(NETUID).0
}

/// All validators give the first miner a quarter and the second the rest.
fn weigh_miners() {
    for uid in 1..=3 {
        Weights::<Runtime>::insert(INDEX, uid, vec![(4, 1), (5, 3)]);
    }
    LastUpdate::<Runtime>::insert(INDEX, vec![1; 6]);
}

#[track_caller]
fn assert_paid(what: &str, paid: u64, expected: u64) {
    assert!(paid.abs_diff(expected) <= 1, "{what}: {paid} and not {expected}");
}

#[test]
fn an_epoch_pays_owner_miners_delegates_and_their_stakers() {
    on_chain(|| {
        weigh_miners();
        // As much as the validator's own, so that both earn alike.
        SubtensorModule::add_alpha(&key(VALIDATOR), &key("//Bob"), NETUID, AlphaBalance(STAKED))
            .expect("adds");
        SubnetAlphaOut::<Runtime>::mutate(NETUID, |out| *out = AlphaBalance(out.0 + STAKED));
        blocks_until(19);
        let before = staked();
        assert_eq!(pending(), 19 * 1_000_000);
        block();
        assert_eq!(staked() - before, 20_000_000, "all of it is somebody's now");
        assert_eq!(pending(), 0);

        assert_eq!(stake("//Owner", "//OwnerCold"), OWNERS);
        assert_paid("the first miner", stake("//Miner1", "//Miner1Cold"), MINERS / 4);
        assert_paid("the second miner", stake("//Miner2", "//Miner2Cold"), MINERS / 4 * 3);
        // Stakes of 200, 50 and 25 thousand; 11,796 of 65,535 of what a delegate earns is its owner's.
        let earned = VALIDATORS * 200 / 275;
        let take = earned * 11_796 / 65_535;
        assert_paid("the staker", stake(VALIDATOR, "//Bob") - STAKED, (earned - take) / 2);
        let own = stake(VALIDATOR, "//Validator1Cold") - STAKED;
        assert_paid("the delegate", own, take + (earned - take) / 2);
        for (hotkey, coldkey, thousands) in
            [("//Validator2", "//Validator2Cold", 50), ("//Validator3", "//Validator3Cold", 25)]
        {
            let own = stake(hotkey, coldkey) - thousands * 1_000_000_000_000;
            assert_paid(hotkey, own, VALIDATORS * thousands / 275);
        }
        let reported: Vec<u64> = Emission::<Runtime>::get(NETUID).into_iter().map(|alpha| alpha.0).collect();
        let all = MINERS + VALIDATORS;
        for (uid, expected) in [(0, 0), (1, all * 100 / 275), (4, all / 8), (5, all / 8 * 3)] {
            assert_paid("what is reported", reported[uid], expected);
        }
    });
}

#[test]
fn where_no_miner_earns_validators_get_all() {
    on_chain(|| {
        LastUpdate::<Runtime>::insert(INDEX, vec![1; 6]);
        blocks_until(20);
        let own = stake(VALIDATOR, "//Validator1Cold") - STAKED;
        assert_paid("a validator", own, (MINERS + VALIDATORS) * 100 / 175);
        assert_eq!(stake("//Miner1", "//Miner1Cold"), 0);
    });
}

#[test]
fn what_nobody_earned_waits_for_the_next_epoch() {
    on_chain(|| {
        let before = staked();
        StakeThreshold::<Runtime>::put(u64::MAX);
        blocks_until(20);
        assert_eq!(staked() - before, OWNERS, "nobody's stake counts, so only the owner is paid");
        assert_eq!(pending(), MINERS + VALIDATORS);
        StakeThreshold::<Runtime>::put(0);
        blocks_until(40);
        assert_eq!(staked() - before, 40_000_000, "of both epochs");
        assert_eq!(pending(), 0);
    });
}

#[test]
fn what_is_given_to_the_owner_is_nobodys_or_made_again() {
    use super::info_types::RecycleOrBurnEnum;
    for (rule, gone) in [(RecycleOrBurnEnum::Burn, 0), (RecycleOrBurnEnum::Recycle, MINERS)] {
        on_chain(|| {
            RecycleOrBurn::<Runtime>::insert(NETUID, rule);
            Weights::<Runtime>::insert(INDEX, 1, vec![(0, 1)]);
            LastUpdate::<Runtime>::insert(INDEX, vec![1; 6]);
            let (before, out) = (staked(), SubnetAlphaOut::<Runtime>::get(NETUID).0);
            blocks_until(20);
            assert_eq!(stake("//Owner", "//OwnerCold"), OWNERS, "its cut and nothing else");
            assert_eq!(staked() - before, 20_000_000 - MINERS);
            // The first block's million was there already.
            assert_eq!(SubnetAlphaOut::<Runtime>::get(NETUID).0 - out, 19_000_000 - gone, "{rule:?}");
        });
    }
}

/// Subnets beside the first, whose epochs are due with its.
fn crowd() -> [NetUid; 5] {
    for netuid in (1..5).map(NetUid) {
        NetworksAdded::<Runtime>::insert(netuid, true);
        Tempo::<Runtime>::insert(netuid, 20);
    }
    [NetUid(1), NetUid(2), NetUid(3), NetUid(4), NETUID]
}

fn epochs(subnets: &[NetUid]) -> Vec<u64> {
    subnets.iter().map(SubnetEpochIndex::<Runtime>::get).collect()
}

#[test]
fn a_block_runs_two_epochs_and_defers_the_others_block_by_block() {
    on_chain(|| {
        let subnets = crowd();
        blocks_until(19);
        assert_eq!(epochs(&subnets), [0; 5]);
        block();
        assert_eq!(MAX_EPOCHS_PER_BLOCK, 2);
        assert_eq!(epochs(&subnets), [1, 1, 0, 0, 0]);
        assert_eq!(subnets.map(PendingEpochAt::<Runtime>::get), [0, 0, 21, 21, 21]);
        assert_eq!(SubtensorModule::next_epoch_start(NETUID), Some(20));
        assert_eq!(pending(), 20_000_000, "what waits goes on waiting");
        block();
        assert_eq!(epochs(&subnets), [1, 1, 1, 1, 0]);
        assert_eq!(PendingEpochAt::<Runtime>::get(NETUID), 22);
        block();
        assert_eq!(epochs(&subnets), [1; 5]);
        assert_eq!(subnets.map(PendingEpochAt::<Runtime>::get), [0; 5]);
        assert_eq!(subnets.map(LastEpochBlock::<Runtime>::get), [20, 20, 21, 21, 22]);
        assert_eq!(pending(), 0);
        assert_eq!(SubtensorModule::next_epoch_start(NETUID), Some(42), "the next one counts from there");
        blocks_until(42);
        assert_eq!(epochs(&subnets), [2; 5], "and so nothing is deferred any more");
    });
}

#[test]
fn legacy_runs_every_epoch_in_its_block() {
    on_chain(|| {
        marker::Profile::<Runtime>::put(Profile::Legacy);
        let subnets = crowd();
        // All netuids that are the same modulo 21 have their epochs in the same blocks.
        for netuid in [18, 60, 81].map(NetUid) {
            NetworksAdded::<Runtime>::insert(netuid, true);
            Tempo::<Runtime>::insert(netuid, 20);
        }
        let together = [NetUid(18), NETUID, NetUid(60), NetUid(81)];
        blocks_until(22);
        assert_eq!(together.map(LastEpochBlock::<Runtime>::get), [22; 4]);
        assert_eq!(subnets.map(PendingEpochAt::<Runtime>::get), [0; 5]);
    });
}
