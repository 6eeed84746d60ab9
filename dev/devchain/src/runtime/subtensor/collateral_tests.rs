//! Collateral on a chain: what registration locks, what cannot leave, what earning releases.

use frame_support::traits::fungible::Inspect as _;

use super::emission::Earned;
use super::info_types::FixedU128;
use super::pallet::*;
use super::tests::{NETUID, error, key, on_chain};
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::runtime::{AccountId, Balances, Runtime, RuntimeOrigin, SubtensorModule, admin_utils};

type Admin = admin_utils::Pallet<Runtime>;

const RAO: u64 = 1_000_000_000;

fn signed(uri: &str) -> RuntimeOrigin {
    RuntimeOrigin::signed(key(uri))
}

fn locked(hotkey: &str, coldkey: &str) -> Option<(u64, u64, u64)> {
    let state = MinerCollateral::<Runtime>::get((NETUID, key(hotkey), key(coldkey)))?;
    Some((state.locked.0, state.min_locked.0, state.earned.0))
}

fn staked(hotkey: &str, coldkey: &str) -> u64 {
    SubtensorModule::stake_of(&key(hotkey), &key(coldkey), NETUID).0
}

fn set_share(parts: u16) {
    assert_eq!(Admin::sudo_set_collateral_lock_share(signed("//OwnerCold"), NETUID, parts), Ok(()));
}

/// The coldkey's sum and list agree with its positions.
fn assert_indexed(coldkey: &AccountId) {
    let positions: Vec<_> = MinerCollateral::<Runtime>::iter_prefix((NETUID,))
        .filter(|((_, owner), _)| owner == coldkey)
        .map(|((hotkey, _), state)| (hotkey, state.locked.0))
        .collect();
    let sum: u64 = positions.iter().map(|(_, locked)| locked).sum();
    assert_eq!(ColdkeyMinerCollateral::<Runtime>::get(NETUID, coldkey).0, sum);
    let mut listed = ColdkeyCollateralHotkeys::<Runtime>::get(NETUID, coldkey).into_inner();
    let mut hotkeys: Vec<_> = positions.into_iter().map(|(hotkey, _)| hotkey).collect();
    listed.sort();
    hotkeys.sort();
    assert_eq!(listed, hotkeys);
}

#[test]
fn registration_locks_its_share_and_a_return_pays_less() {
    on_chain(|| {
        set_share(u16::MAX / 2);
        let burn = Burn::<Runtime>::get(NETUID).0;
        let before = Balances::balance(&key("//Bob"));
        assert_eq!(SubtensorModule::burned_register(signed("//Bob"), NETUID, key("//New")), Ok(()));
        assert_eq!(before - Balances::balance(&key("//Bob")), burn);
        let (first, floor, earned) = locked("//New", "//Bob").expect("locked");
        assert_eq!((floor, earned), (0, 0));
        assert_eq!(first, staked("//New", "//Bob"));
        // Half of the price, less the fee and half a rao of every rounding.
        assert!(first > burn * 499 / 1_000 && first <= burn / 2, "{first} of {burn}");
        assert_indexed(&key("//Bob"));

        // Losing the uid keeps the lock; coming back pays what is burnt and what the lock lacks.
        let uid = Uids::<Runtime>::take(NETUID, key("//New")).expect("registered");
        assert_eq!(uid, 6);
        let price = Burn::<Runtime>::get(NETUID).0;
        let before = Balances::balance(&key("//Bob"));
        assert_eq!(SubtensorModule::burned_register(signed("//Bob"), NETUID, key("//New")), Ok(()));
        let paid = before - Balances::balance(&key("//Bob"));
        assert!(paid < price && paid >= price / 2, "{paid} of {price}");
        assert!(locked("//New", "//Bob").expect("locked").0 >= first);
        assert_indexed(&key("//Bob"));
    });
}

#[test]
fn what_is_locked_cannot_leave_by_any_call() {
    on_chain(|| {
        let validator = || signed("//Validator1Cold");
        let (hotkey, all) = (key("//Validator1"), staked("//Validator1", "//Validator1Cold"));
        let lock = AlphaBalance(all - 10 * RAO);
        assert_eq!(
            SubtensorModule::add_collateral(validator(), NETUID, hotkey.clone(), lock, TaoBalance(0)),
            Ok(())
        );
        assert_eq!(locked("//Validator1", "//Validator1Cold"), Some((lock.0, 0, 0)));
        assert_eq!(staked("//Validator1", "//Validator1Cold"), all, "locked alpha stays staked");
        let shown = SubtensorModule::stake_availability(&key("//Validator1Cold"), None);
        assert_eq!(shown.keys().collect::<Vec<_>>(), [&NETUID], "only where it has stake");
        let shown = shown[&NETUID];
        assert_eq!((shown.total.0.0, shown.locked.0, shown.available.0.0), (all, lock, 10 * RAO));
        assert!(SubtensorModule::stake_availability(&key("//Validator1Cold"), Some(&[])).is_empty());
        let too_much = AlphaBalance(10 * RAO + 1);
        let refused = error(Error::StakeUnavailable);
        let (h, c, to) = (|| hotkey.clone(), || key("//Bob"), || key("//Validator2"));
        assert_eq!(SubtensorModule::remove_stake(validator(), h(), NETUID, too_much), refused);
        assert_eq!(
            SubtensorModule::remove_stake_limit(validator(), h(), NETUID, too_much, TaoBalance(1), true),
            refused
        );
        assert_eq!(SubtensorModule::remove_stake_full_limit(validator(), h(), NETUID, None), refused);
        assert_eq!(SubtensorModule::move_stake(validator(), h(), to(), NETUID, NETUID, too_much), refused);
        assert_eq!(SubtensorModule::transfer_stake(validator(), c(), h(), NETUID, NETUID, too_much), refused);
        assert_eq!(SubtensorModule::swap_stake(validator(), h(), NETUID, NetUid::ROOT, too_much), refused);
        let free = AlphaBalance(10 * RAO);
        assert_eq!(SubtensorModule::remove_stake(validator(), h(), NETUID, free), Ok(()));
        // Others on the same hotkey are as free as before.
        assert_eq!(SubtensorModule::add_stake(signed("//Bob"), h(), NETUID, TaoBalance(RAO)), Ok(()));
        let theirs = AlphaBalance(staked("//Validator1", "//Bob"));
        assert_eq!(SubtensorModule::remove_stake(signed("//Bob"), h(), NETUID, theirs), Ok(()));
    });
}

#[test]
fn a_top_up_buys_only_what_is_missing_and_within_the_limit() {
    on_chain(|| {
        let miner = || signed("//Miner1Cold");
        let add = |alpha: u64, limit: u64| {
            let (hotkey, alpha, limit) = (key("//Miner1"), AlphaBalance(alpha), TaoBalance(limit));
            SubtensorModule::add_collateral(miner(), NETUID, hotkey, alpha, limit)
        };
        let price = SubtensorModule::alpha_price(NETUID).0;
        assert_eq!(add(5 * RAO, price - 1), error(Error::SlippageTooHigh));
        assert_eq!(add(1_000, price * 2), error(Error::AmountTooLow), "less than the least stake");
        assert_eq!(add(9_000_000 * RAO, price * 10_000), error(Error::NotEnoughBalanceToStake));
        assert_eq!(add(5_000 * RAO, price * 101 / 100), error(Error::SlippageTooHigh));
        assert_eq!(locked("//Miner1", "//Miner1Cold"), None);
        assert_eq!(add(5 * RAO, price * 101 / 100), Ok(()));
        let (bought, ..) = locked("//Miner1", "//Miner1Cold").expect("locked");
        assert_eq!(bought, staked("//Miner1", "//Miner1Cold"));
        assert!(bought > 5 * RAO * 99 / 100 && bought <= 5 * RAO, "{bought}");
        let balance = Balances::balance(&key("//Miner1Cold"));
        assert_eq!(SubtensorModule::add_stake(miner(), key("//Miner1"), NETUID, TaoBalance(3 * RAO)), Ok(()));
        assert_eq!(add(RAO, 0), Ok(()), "free stake needs no purchase");
        assert_eq!(locked("//Miner1", "//Miner1Cold").expect("locked").0, bought + RAO);
        assert_eq!(Balances::balance(&key("//Miner1Cold")), balance - 3 * RAO);
        assert_indexed(&key("//Miner1Cold"));
    });
}

#[test]
fn refusals_come_in_the_chains_order() {
    on_chain(|| {
        let add = |who: &str, netuid: NetUid, hotkey: &str, alpha: u64| {
            let alpha = AlphaBalance(alpha);
            SubtensorModule::add_collateral(signed(who), netuid, key(hotkey), alpha, TaoBalance(0))
        };
        let floor = |who: &str, netuid: NetUid, hotkey: &str| {
            SubtensorModule::set_min_collateral(signed(who), netuid, key(hotkey), AlphaBalance(1))
        };
        assert_eq!(add("//Bob", NetUid::ROOT, "//No", 0), error(Error::RegistrationNotPermittedOnRootSubnet));
        assert_eq!(floor("//Bob", NetUid::ROOT, "//No"), error(Error::RegistrationNotPermittedOnRootSubnet));
        assert_eq!(add("//Bob", NetUid(40), "//No", 0), error(Error::SubnetNotExists));
        assert_eq!(floor("//Bob", NetUid(40), "//No"), error(Error::SubnetNotExists));
        SubtokenEnabled::<Runtime>::insert(NETUID, false);
        assert_eq!(add("//Bob", NETUID, "//No", 0), error(Error::SubtokenDisabled));
        SubtokenEnabled::<Runtime>::insert(NETUID, true);
        assert_eq!(add("//Bob", NETUID, "//No", 0), error(Error::HotKeyAccountNotExists));
        assert_eq!(floor("//Bob", NETUID, "//No"), error(Error::HotKeyAccountNotExists));
        assert_eq!(add("//Bob", NETUID, "//Miner1", 0), error(Error::NonAssociatedColdKey));
        assert_eq!(floor("//Bob", NETUID, "//Miner1"), error(Error::NonAssociatedColdKey));
        assert_eq!(add("//Miner1Cold", NETUID, "//Miner1", 0), error(Error::AmountTooLow));
    });
}

#[test]
fn earning_fills_a_floor_and_releases_what_is_above_it() {
    on_chain(|| {
        let (netuid, hotkey) = (NETUID, key("//Miner1"));
        let earn = |amount: u64| {
            SubtensorModule::settle_collateral(netuid, &hotkey, AlphaBalance(amount), AlphaBalance(amount)).0
        };
        assert_eq!(earn(50), 0, "without collateral nothing is kept");
        let set = |floor: u64| {
            let floor = AlphaBalance(floor);
            SubtensorModule::set_min_collateral(signed("//Miner1Cold"), netuid, key("//Miner1"), floor)
        };
        assert_eq!(set(1_000), Ok(()));
        assert_eq!((earn(600), locked("//Miner1", "//Miner1Cold")), (600, Some((600, 1_000, 600))));
        assert_eq!((earn(600), locked("//Miner1", "//Miner1Cold")), (400, Some((1_000, 1_000, 1_200))));
        assert_eq!(staked("//Miner1", "//Miner1Cold"), 1_000, "what fills the floor is staked");
        assert_eq!((earn(600), locked("//Miner1", "//Miner1Cold")), (0, Some((1_000, 1_000, 1_800))));
        assert_eq!(set(700), Ok(()));
        assert_eq!((earn(100), locked("//Miner1", "//Miner1Cold")), (0, Some((900, 700, 1_900))));
        assert_indexed(&key("//Miner1Cold"));
        assert_eq!(set(0), Ok(()));
        assert_eq!((earn(5_000), locked("//Miner1", "//Miner1Cold")), (0, None), "all is released");
        assert_eq!(staked("//Miner1", "//Miner1Cold"), 1_000, "and still staked");
        assert_indexed(&key("//Miner1Cold"));
    });
}

#[test]
fn a_ratio_holds_for_those_who_register_after_it() {
    on_chain(|| {
        let ratio = |hotkey: &str| {
            MinerCollateral::<Runtime>::get((NETUID, key(hotkey), key("//Bob")))
                .expect("locked")
                .drain_ratio
                .bits
        };
        let set = |bits: u128| {
            Admin::sudo_set_collateral_drain_ratio(signed("//OwnerCold"), NETUID, FixedU128 { bits })
        };
        set_share(30_000);
        assert_eq!(SubtensorModule::burned_register(signed("//Bob"), NETUID, key("//New")), Ok(()));
        assert_eq!(ratio("//New"), 1 << 64);
        assert_eq!(set(2 << 64), Ok(()));
        assert_eq!(SubtensorModule::burned_register(signed("//Bob"), NETUID, key("//Newer")), Ok(()));
        assert_eq!((ratio("//New"), ratio("//Newer")), (1 << 64, 2 << 64));
        assert_indexed(&key("//Bob"));
        let refused = Err(admin_utils::Error::<Runtime>::CollateralDrainRatioOutOfBounds.into());
        assert_eq!([set(0), set((10 << 64) + 1)], [refused, refused]);
        assert_eq!(
            Admin::sudo_set_collateral_lock_share(signed("//OwnerCold"), NETUID, 62_259),
            Err(admin_utils::Error::<Runtime>::CollateralLockShareTooHigh.into())
        );
    });
}

#[test]
fn a_coldkey_has_collateral_on_32_hotkeys_at_most() {
    on_chain(|| {
        let set = |number: u32, floor: u64| {
            let hotkey = key(&format!("//Many{number}"));
            SubtensorModule::associate(&key("//Bob"), &hotkey).expect("free");
            SubtensorModule::set_min_collateral(signed("//Bob"), NETUID, hotkey, AlphaBalance(floor))
        };
        for number in 0..32 {
            assert_eq!(set(number, 1), Ok(()));
        }
        assert_eq!(set(32, 1), error(Error::ColdkeyCollateralPositionsFull));
        assert_eq!(set(32, 0), Ok(()), "no floor needs no room");
        assert_eq!(set(7, 0), Ok(()));
        assert_eq!(set(32, 1), Ok(()));
        assert_indexed(&key("//Bob"));
    });
}

#[test]
fn an_epoch_settles_what_miners_and_validators_have_locked() {
    on_chain(|| {
        let floor = |coldkey: &str, hotkey: &str, floor: u64| {
            SubtensorModule::set_min_collateral(signed(coldkey), NETUID, key(hotkey), AlphaBalance(floor))
        };
        assert_eq!(floor("//Miner1Cold", "//Miner1", 400_000), Ok(()));
        assert_eq!(floor("//Validator1Cold", "//Validator1", 400_000), Ok(()));
        PendingServerEmission::<Runtime>::insert(NETUID, AlphaBalance(1_000_000));
        PendingValidatorEmission::<Runtime>::insert(NETUID, AlphaBalance(1_000_000));
        let before = staked("//Validator1", "//Validator1Cold");
        let hotkeys: Vec<_> = (0..6).map(|uid| Keys::<Runtime>::get(NETUID, uid)).collect();
        let all_for = |uid: usize| {
            let mut amounts = vec![0; 6];
            amounts[uid] = 1_000_000;
            amounts
        };
        let earned = Earned { miners: all_for(4), validators: all_for(1) };
        SubtensorModule::pay(NETUID, &hotkeys, SubtensorModule::take_pot(NETUID), &earned);
        assert_eq!(locked("//Miner1", "//Miner1Cold"), Some((400_000, 400_000, 1_000_000)));
        assert_eq!(staked("//Miner1", "//Miner1Cold"), 1_000_000, "the rest is staked and free");
        // Only the take is the validator's own; what its stakers get is never locked.
        let take = 1_000_000 * 11_796 / 65_535;
        assert_eq!(locked("//Validator1", "//Validator1Cold"), Some((take, 400_000, 1_000_000)));
        let after = staked("//Validator1", "//Validator1Cold");
        assert!((999_999..=1_000_000).contains(&(after - before)), "{before} to {after}");
    });
}
