//! When epochs run and what they compute, as owners and the sudo key set it.

use sp_runtime::DispatchError;

use super::commits::Reveal;
use super::info_types::{EpochConsensus, FixedU128};
use super::pallet::*;
use super::payout_tests::open;
use super::test_chain::{INDEX, NETUID, VALIDATOR, block, blocks_until, events, on_chain, signed};
use super::tests::{error, key};
use crate::profile::Profile;
use crate::runtime::admin_utils::Error as AdminError;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid};
use crate::runtime::{AdminUtils, Runtime, RuntimeOrigin, SubtensorModule, marker};

const OWNER: &str = "//OwnerCold";

fn refused(error: AdminError<Runtime>) -> Result<(), DispatchError> {
    Err(error.into())
}

fn legacy() {
    marker::Profile::<Runtime>::put(Profile::Legacy);
}

#[test]
fn a_new_tempo_begins_its_cycle_anew_on_the_newest_runtimes() {
    let set = |tempo| AdminUtils::sudo_set_tempo(RuntimeOrigin::root(), NETUID, tempo);
    on_chain(|| {
        blocks_until(15);
        assert_eq!(set(0), refused(AdminError::InvalidValue));
        assert_eq!(set(8), Ok(()));
        assert!(events().contains(&Event::TempoSet(NETUID, 8)));
        assert_eq!(LastEpochBlock::<Runtime>::get(NETUID), 15);
        assert_eq!(SubtensorModule::next_epoch_start(NETUID), Some(23));
        blocks_until(22);
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 0);
        block();
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 1);
    });
    on_chain(|| {
        legacy();
        blocks_until(15);
        assert_eq!(set(8), Ok(()));
        assert_eq!(LastEpochBlock::<Runtime>::get(NETUID), 0);
    });
}

#[test]
fn an_owners_tempo_has_bounds_and_an_older_runtimes_owner_sets_none() {
    let set = |tempo| AdminUtils::sudo_set_tempo(signed(OWNER), NETUID, tempo);
    on_chain(|| {
        assert_eq!(set(359), error(Error::TempoOutOfBounds));
        assert_eq!(set(50_401), error(Error::TempoOutOfBounds));
        assert_eq!([set(360), set(50_400)], [Ok(()), Ok(())]);
        let stranger = AdminUtils::sudo_set_tempo(signed(VALIDATOR), NETUID, 360);
        assert_eq!(stranger, Err(DispatchError::BadOrigin));
        legacy();
        assert_eq!(set(360), Err(DispatchError::BadOrigin));
    });
}

#[test]
fn an_owner_triggers_an_epoch_out_of_turn() {
    let trigger = |who: &str| SubtensorModule::trigger_epoch(signed(who), NETUID);
    on_chain(|| {
        assert_eq!(trigger(VALIDATOR), Err(DispatchError::BadOrigin));
        assert_eq!(trigger(OWNER), error(Error::DynamicTempoBlockedByCommitReveal));
        CommitRevealWeightsEnabled::<Runtime>::insert(NETUID, false);
        blocks_until(11);
        assert_eq!(trigger(OWNER), error(Error::AutoEpochAlreadyImminent), "the window is 10 blocks");
        assert_eq!(AdminUtils::sudo_set_admin_freeze_window(RuntimeOrigin::root(), 4), Ok(()));
        assert_eq!(trigger(OWNER), Ok(()));
        let triggered = Event::EpochTriggered { netuid: NETUID, by: key(OWNER), fires_at: 15 };
        assert!(events().contains(&triggered));
        assert_eq!(trigger(OWNER), error(Error::EpochTriggerAlreadyPending));
        assert_eq!(SubtensorModule::next_epoch_start(NETUID), Some(15));
        blocks_until(14);
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 0);
        block();
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 1);
        assert_eq!(PendingEpochAt::<Runtime>::get(NETUID), 0);
        assert_eq!(SubtensorModule::next_epoch_start(NETUID), Some(35));
    });
}

#[test]
fn the_newest_runtimes_count_activity_in_tempos_and_older_ones_in_blocks() {
    let factor = |factor| AdminUtils::sudo_set_activity_cutoff_factor(signed(OWNER), NETUID, factor);
    let blocks = |blocks| AdminUtils::sudo_set_activity_cutoff(signed(OWNER), NETUID, blocks);
    on_chain(|| {
        assert_eq!(SubtensorModule::activity_cutoff(NETUID), 277, "13,889 thousandths of 20");
        assert_eq!(factor(999), error(Error::ActivityCutoffFactorMilliOutOfBounds));
        assert_eq!(factor(50_001), error(Error::ActivityCutoffFactorMilliOutOfBounds));
        assert_eq!(factor(1_000), Ok(()));
        assert_eq!(blocks(359), error(Error::ActivityCutoffTooLow));
        assert_eq!(blocks(400), Ok(()));
        assert_eq!(SubtensorModule::activity_cutoff(NETUID), 20);
        let shown = SubtensorModule::metagraph(NETUID, MechId::MAIN).expect("exists").activity_cutoff;
        assert_eq!(shown.0, 20);
        blocks_until(20);
        assert_eq!(Active::<Runtime>::get(NETUID), [true; 6]);
        blocks_until(40);
        assert_eq!(Active::<Runtime>::get(NETUID), [false; 6]);
        legacy();
        assert_eq!(SubtensorModule::activity_cutoff(NETUID), 400);
        let shown = SubtensorModule::hyperparams(NETUID).expect("exists").activity_cutoff;
        assert_eq!(shown.0, 400);
    });
}

#[test]
fn all_mechanisms_together_have_room_for_256_neurons() {
    let uids = |uids| AdminUtils::sudo_set_max_allowed_uids(signed(OWNER), NETUID, uids);
    on_chain(|| {
        assert_eq!(uids(257), refused(AdminError::MaxAllowedUidsGreaterThanDefaultMaxAllowedUids));
        let two = || SubtensorModule::do_set_mechanism_count(NETUID, MechId(2));
        assert_eq!(two(), error(Error::TooManyUIDsPerMechanism));
        assert_eq!(uids(128), Ok(()));
        assert_eq!(two(), Ok(()));
        assert_eq!(uids(129), error(Error::TooManyUIDsPerMechanism));
        legacy();
        assert_eq!([uids(129), uids(4_096)], [Ok(()), Ok(())], "older runtimes have other bounds");
        assert_eq!(uids(4_097), refused(AdminError::MaxAllowedUidsGreaterThanDefaultMaxAllowedUids));
    });
}

#[test]
fn as_many_epochs_run_in_a_block_as_the_sudo_key_says() {
    let most = |epochs| AdminUtils::sudo_set_max_epochs_per_block(RuntimeOrigin::root(), epochs);
    on_chain(|| {
        assert_eq!(most(0), refused(AdminError::ValueNotInBounds));
        assert_eq!(most(1), Ok(()));
        open(NetUid(1));
        blocks_until(20);
        let deferred = Event::EpochDeferred { netuid: NETUID, from_block: 20, to_block: 21 };
        assert!(events().contains(&deferred));
        assert_eq!([NetUid(1), NETUID].map(LastEpochBlock::<Runtime>::get), [20, 0]);
    });
}

#[test]
fn the_price_of_registration_moves_as_its_owner_says_within_bounds() {
    on_chain(|| {
        let half_life = |blocks| AdminUtils::sudo_set_burn_half_life(signed(OWNER), NETUID, blocks);
        let factor =
            |bits| AdminUtils::sudo_set_burn_increase_mult(signed(OWNER), NETUID, FixedU128 { bits });
        let one = 1u128 << 64;
        let out = refused(AdminError::InvalidValue);
        assert_eq!([half_life(0), half_life(36_101)], [out, out]);
        assert_eq!([factor(one - 1), factor(3 * one + 1)], [out, out]);
        assert_eq!([half_life(36_100), factor(3 * one)], [Ok(()), Ok(())]);
        let root = AdminUtils::sudo_set_burn_half_life(RuntimeOrigin::root(), NetUid::ROOT, 1);
        assert_eq!(root, refused(AdminError::NotPermittedOnRootSubnet));
        let before = Burn::<Runtime>::get(NETUID).0;
        let registered = SubtensorModule::burned_register(signed("//Bob"), NETUID, key("//New"));
        assert_eq!(registered, Ok(()));
        assert_eq!(Burn::<Runtime>::get(NETUID).0, 3 * before);
    });
}

#[test]
fn an_owner_opens_registration_on_the_newest_runtimes_and_closes_it_nowhere() {
    let set = |who: RuntimeOrigin, open| AdminUtils::sudo_set_network_registration_allowed(who, NETUID, open);
    on_chain(|| {
        assert_eq!(set(signed(OWNER), false), refused(AdminError::InvalidValue));
        assert_eq!(set(RuntimeOrigin::root(), false), Ok(()));
        assert_eq!(set(signed(VALIDATOR), true), Err(DispatchError::BadOrigin));
        assert_eq!(set(signed(OWNER), true), Ok(()));
        assert!(NetworkRegistrationAllowed::<Runtime>::get(NETUID));
        legacy();
        assert_eq!(set(signed(OWNER), true), Err(DispatchError::BadOrigin));
    });
}

fn set_consensus(mode: EpochConsensus) -> Result<(), DispatchError> {
    AdminUtils::sudo_set_epoch_consensus(signed(OWNER), NETUID, mode)
}

fn permits() -> Vec<bool> {
    ValidatorPermit::<Runtime>::get(NETUID)
}

const FIRST_ALONE: [bool; 6] = [false, true, false, false, false, false];

#[test]
fn null_consensus_leaves_one_permit_and_the_way_back_restores_the_others() {
    on_chain(|| {
        let root =
            AdminUtils::sudo_set_epoch_consensus(RuntimeOrigin::root(), NetUid::ROOT, EpochConsensus::Null);
        assert_eq!(root, error(Error::InvalidValue));
        assert_eq!(set_consensus(EpochConsensus::Null), Ok(()));
        assert_eq!(permits(), FIRST_ALONE, "at once");
        assert_eq!(MaxAllowedValidators::<Runtime>::get(NETUID), 1);
        blocks_until(20);
        assert_eq!(permits(), FIRST_ALONE, "the owner has none");
        TotalHotkeyAlpha::<Runtime>::insert(key("//Validator3"), NETUID, AlphaBalance(u64::MAX / 2));
        blocks_until(40);
        assert_eq!(permits(), [false, false, false, true, false, false], "whoever has most now");
        assert_eq!(set_consensus(EpochConsensus::Yuma), Ok(()));
        assert_eq!(MaxAllowedValidators::<Runtime>::get(NETUID), 64);
        blocks_until(60);
        assert_eq!(permits(), [true, true, true, true, false, false]);
    });
}

#[test]
fn under_null_consensus_only_the_permit_weighs_and_its_weights_stay_as_they_are() {
    on_chain(|| {
        CommitRevealWeightsEnabled::<Runtime>::insert(NETUID, false);
        assert_eq!(set_consensus(EpochConsensus::Null), Ok(()));
        let set = |who: &str, uids: Vec<u16>, values: Vec<u16>| {
            SubtensorModule::set_weights(signed(who), NETUID, uids, values, 0)
        };
        let without = error(Error::NeuronNoValidatorPermit);
        assert_eq!(set("//Owner", vec![4], vec![1]), without, "nor the owner");
        assert_eq!(set("//Validator2", vec![2], vec![1]), without, "nor on oneself");
        assert_eq!(set(VALIDATOR, vec![4, 5], vec![65_534, 1]), Ok(()));
        assert_eq!(Weights::<Runtime>::get(INDEX, 1), [(4, 65_534), (5, 1)]);

        CommitRevealWeightsEnabled::<Runtime>::insert(NETUID, true);
        let commit = |who: &str| SubtensorModule::commit_weights(signed(who), NETUID, Default::default());
        let sealed = |who: &str| {
            let bytes = vec![1].try_into().expect("short");
            SubtensorModule::commit_timelocked_weights(signed(who), NETUID, bytes, u64::MAX, 4)
        };
        let reveal = |who: &str| {
            let Reveal { uids, values, salt, version_key } =
                Reveal { uids: vec![4], values: vec![1], salt: vec![1], version_key: 0 };
            SubtensorModule::reveal_weights(signed(who), NETUID, uids, values, salt, version_key)
        };
        assert_eq!([commit("//Owner"), sealed("//Owner"), reveal("//Owner")], [without; 3]);
        assert_eq!([commit(VALIDATOR), sealed(VALIDATOR)], [Ok(()), Ok(())]);
        assert_eq!(set_consensus(EpochConsensus::Yuma), error(Error::InvalidValue), "a commit waits");
    });
}

#[test]
fn bonds_stand_still_under_null_and_lapse_from_the_last_epoch_of_yuma() {
    on_chain(|| {
        blocks_until(20);
        let bonds = vec![(4, u16::MAX), (5, u16::MAX)];
        Bonds::<Runtime>::insert(INDEX, 1, bonds.clone());
        assert_eq!(set_consensus(EpochConsensus::Null), Ok(()));
        block();
        BlockAtRegistration::<Runtime>::insert(NETUID, 5, 21);
        blocks_until(60);
        assert_eq!(Bonds::<Runtime>::get(INDEX, 1), bonds);
        assert_eq!(set_consensus(EpochConsensus::Yuma), Ok(()));
        blocks_until(80);
        assert_eq!(Bonds::<Runtime>::get(INDEX, 1), [(4, u16::MAX)], "its uid has changed hands meanwhile");
        assert_eq!(LastYumaStepBlock::<Runtime>::get(NETUID), Some(80));
    });
}
