//! What an epoch pays to whom, to the rao, and when its turn comes.

use super::pallet::*;
use super::test_chain::{INDEX, NETUID, VALIDATOR, block, blocks_until, events, on_chain};
use super::tests::key;
use super::weights::storage_index;
use crate::profile::Profile;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, NetUidStorageIndex};
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
        assert_paid("the second miner", stake("//Miner2", "//Miner2Cold"), MINERS * 3 / 4);
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
        let graph = SubtensorModule::metagraph(NETUID, MechId::MAIN).expect("exists");
        let shown: Vec<u64> = graph.alpha_dividends_per_hotkey.iter().map(|(_, alpha)| alpha.0.0).collect();
        assert_paid("what is shown of the delegate's stakers", shown[1], earned - take);
        assert_eq!([shown[0], shown[4]], [0, 0]);
        let kept = TotalHotkeyAlphaLastEpoch::<Runtime>::get(key(VALIDATOR), NETUID);
        assert_eq!(kept, TotalHotkeyAlpha::<Runtime>::get(key(VALIDATOR), NETUID));
        let told = events().into_iter().find_map(|event| match event {
            Event::IncentiveAlphaEmittedToMiners { netuid, emissions } => Some((netuid, emissions)),
            _ => None,
        });
        let (index, emissions) = told.expect("an epoch tells it");
        assert_eq!((index, emissions[0]), (INDEX, AlphaBalance(0)));
        assert_eq!(emissions[4].0, stake("//Miner1", "//Miner1Cold"));
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

#[test]
fn no_hotkey_of_the_owners_coldkey_is_paid_for_mining() {
    on_chain(|| {
        weigh_miners();
        SubnetOwner::<Runtime>::insert(NETUID, key("//Miner2Cold"));
        let before = staked();
        blocks_until(20);
        assert_paid("another's miner", stake("//Miner1", "//Miner1Cold"), MINERS / 4);
        assert_eq!(stake("//Miner2", "//Miner2Cold"), 0);
        assert_eq!(stake("//Owner", "//Miner2Cold"), OWNERS, "the cut follows the subnet");
        assert_paid("all", staked() - before, 20_000_000 - MINERS * 3 / 4);
        assert_eq!(Incentive::<Runtime>::get(INDEX)[5].deconstruct(), 49_151, "what is withheld still shows");
    });
}

/// A second mechanism with three quarters of the emission, in which nobody has weighed anybody yet.
fn second_mechanism() -> NetUidStorageIndex {
    assert_eq!(SubtensorModule::do_set_mechanism_count(NETUID, MechId(2)), Ok(()));
    let split = Some(vec![16_384, 49_151]);
    assert_eq!(SubtensorModule::do_set_emission_split(NETUID, split), Ok(()));
    let index = storage_index(NETUID, MechId(1));
    LastUpdate::<Runtime>::insert(index, vec![1; 6]);
    index
}

/// What rounding leaves is the first mechanism's.
fn parts_of_miners() -> (u64, u64) {
    let other = MINERS * 49_151 / 65_535;
    (MINERS - other, other)
}

#[test]
fn each_mechanism_pays_its_miners_from_its_own_part() {
    on_chain(|| {
        MaxAllowedUids::<Runtime>::insert(NETUID, 128);
        let second = second_mechanism();
        weigh_miners();
        Weights::<Runtime>::insert(second, 1, vec![(4, 1)]);
        let before = staked();
        blocks_until(20);
        let (first, other) = parts_of_miners();
        assert_paid("who is in both", stake("//Miner1", "//Miner1Cold"), first / 4 + other);
        assert_paid("who is in one", stake("//Miner2", "//Miner2Cold"), first * 3 / 4);
        assert_eq!(staked() - before, 20_000_000);
        let incentive = |index| Incentive::<Runtime>::get(index)[4].deconstruct();
        assert_eq!([incentive(INDEX), incentive(second)], [16_383, 65_535]);
        // Of 65,535 in one mechanism: a part of each score, and the parts' own parts of the emission.
        assert_eq!(Consensus::<Runtime>::get(NETUID)[5].deconstruct(), 49_151 / 4);
        let reported = Emission::<Runtime>::get(NETUID)[5].0;
        assert!(reported.abs_diff(first / 4 * 3 / 4) <= 100, "{reported}");
    });
}

#[test]
fn what_a_mechanism_without_weights_would_pay_its_miners_is_nobodys() {
    on_chain(|| {
        MaxAllowedUids::<Runtime>::insert(NETUID, 128);
        second_mechanism();
        weigh_miners();
        let before = staked();
        blocks_until(20);
        let (first, _) = parts_of_miners();
        assert_paid("its miners", stake("//Miner2", "//Miner2Cold"), first * 3 / 4);
        let paid = staked() - before;
        assert_paid("all that is paid", paid, OWNERS + VALIDATORS + first);
        assert_eq!(pending(), 0, "nor does it wait for the miners of the other one");
    });
}

#[test]
fn who_is_active_in_one_mechanism_is_active() {
    on_chain(|| {
        MaxAllowedUids::<Runtime>::insert(NETUID, 128);
        let second = second_mechanism();
        // Five blocks of the tempo's 20.
        ActivityCutoffFactorMilli::<Runtime>::insert(NETUID, 250);
        LastUpdate::<Runtime>::insert(INDEX, vec![1, 1, 19, 1, 1, 1]);
        LastUpdate::<Runtime>::insert(second, vec![1, 19, 1, 1, 1, 1]);
        blocks_until(20);
        assert_eq!(Active::<Runtime>::get(NETUID), [false, true, true, false, false, false]);
    });
}

#[test]
fn only_the_newest_generation_counts_the_owner_below_the_threshold() {
    for (profile, epoch, permits) in [(Profile::Newest, 20, true), (Profile::Legacy, 22, false)] {
        on_chain(|| {
            marker::Profile::<Runtime>::put(profile);
            weigh_miners();
            Weights::<Runtime>::insert(INDEX, 0, vec![(4, 1)]);
            SubtensorModule::add_alpha(&key("//Owner"), &key("//OwnerCold"), NETUID, AlphaBalance(1))
                .expect("adds");
            // Above what validators have.
            StakeThreshold::<Runtime>::put(2 * STAKED);
            blocks_until(epoch);
            assert_eq!(ValidatorPermit::<Runtime>::get(NETUID), [permits, false, false, false, false, false]);
            let miner = Incentive::<Runtime>::get(INDEX)[4].deconstruct();
            assert_eq!(miner, if permits { u16::MAX } else { 0 }, "{profile}");
        });
    }
}

/// A subnet with a neuron and with epochs.
pub(super) fn open(netuid: NetUid) {
    NetworksAdded::<Runtime>::insert(netuid, true);
    Tempo::<Runtime>::insert(netuid, 20);
    SubnetworkN::<Runtime>::insert(netuid, 1);
}

/// Subnets beside the first, whose epochs are due with its.
fn crowd() -> [NetUid; 5] {
    (1..5).map(NetUid).for_each(open);
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
        [18, 60, 81].map(NetUid).into_iter().for_each(open);
        let together = [NetUid(18), NETUID, NetUid(60), NetUid(81)];
        blocks_until(22);
        assert_eq!(together.map(LastEpochBlock::<Runtime>::get), [22; 4]);
        assert_eq!(subnets.map(PendingEpochAt::<Runtime>::get), [0; 5]);
    });
}

#[test]
fn a_block_of_legacy_runs_any_number_of_epochs() {
    on_chain(|| {
        marker::Profile::<Runtime>::put(Profile::Legacy);
        // With a tempo of one every second block is one of theirs.
        let subnets: Vec<NetUid> = (1_000..1_600).step_by(2).map(NetUid).collect();
        for netuid in subnets.iter().copied() {
            open(netuid);
            Tempo::<Runtime>::insert(netuid, 1);
        }
        block();
        block();
        assert_eq!(epochs(&subnets), vec![1; 300]);
    });
}
