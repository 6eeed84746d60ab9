//! Staking, moving stake, the root network and new subnets: what they do, and the errors in the public chain's order.

use frame_support::traits::fungible::Inspect as _;
use sp_runtime::DispatchError;

use super::market::UNIT;
use super::pallet::*;
use super::stake::MIN_STAKE;
use super::tests::{NETUID, error, key, on_chain};
use crate::profile::Profile;
use crate::runtime::newtypes::{AlphaBalance, NetUid, PerU16, TaoBalance};
use crate::runtime::{Balances, Runtime, RuntimeEvent, RuntimeOrigin, SubtensorModule, System, marker};

const COLD: &str = "//Bob";
const HOT: &str = "//Validator1";

fn signed() -> RuntimeOrigin {
    RuntimeOrigin::signed(key(COLD))
}

fn balance() -> u64 {
    Balances::balance(&key(COLD))
}

fn staked(hotkey: &str, netuid: NetUid) -> u64 {
    SubtensorModule::stake_of(&key(hotkey), &key(COLD), netuid).0
}

fn add(hotkey: &str, netuid: NetUid, amount: u64) -> Result<(), DispatchError> {
    SubtensorModule::add_stake(signed(), key(hotkey), netuid, TaoBalance(amount))
}

fn remove(hotkey: &str, netuid: NetUid, amount: u64) -> Result<(), DispatchError> {
    SubtensorModule::remove_stake(signed(), key(hotkey), netuid, AlphaBalance(amount))
}

fn last_event() -> Event<Runtime> {
    match System::events().pop().expect("an event").event {
        RuntimeEvent::SubtensorModule(event) => event,
        other => panic!("the last event is {other:?}"),
    }
}

/// All TAO is in balances or pools, and what is outstanding of alpha is staked or waits.
fn assert_conserved(before: u64) {
    SubtensorModule::settle_issuance();
    assert_eq!(TotalIssuance::<Runtime>::get().0, before);
    let pools: u64 = SubnetTAO::<Runtime>::iter().map(|(_, tao)| tao.0).sum();
    assert_eq!(TotalStake::<Runtime>::get().0, pools);
    let staked: u64 = TotalHotkeyAlpha::<Runtime>::iter()
        .filter(|(_, netuid, _)| *netuid == NETUID)
        .map(|(_, _, alpha)| alpha.0)
        .sum();
    assert_eq!(SubnetAlphaOut::<Runtime>::get(NETUID).0, staked);
}

fn issuance() -> u64 {
    SubtensorModule::settle_issuance();
    TotalIssuance::<Runtime>::get().0
}

#[test]
fn stake_is_bought_and_sold_with_the_chains_errors_in_order() {
    on_chain(|| {
        let before = issuance();
        let rich = balance();
        assert_eq!(add("//Nobody", NetUid(40), 1), error(Error::SubnetNotExists));
        SubtokenEnabled::<Runtime>::insert(NETUID, false);
        assert_eq!(add("//Nobody", NETUID, 1), error(Error::SubtokenDisabled));
        SubtokenEnabled::<Runtime>::insert(NETUID, true);
        assert_eq!(add("//Nobody", NETUID, MIN_STAKE - 1), error(Error::AmountTooLow));
        assert_eq!(add("//Nobody", NETUID, rich), error(Error::NotEnoughBalanceToStake));
        assert_eq!(add("//Nobody", NETUID, UNIT), error(Error::HotKeyAccountNotExists));
        assert_eq!(StakingHotkeys::<Runtime>::get(key(COLD)), []);

        // The pool holds 100,000 of each: 100 TAO less the fee, at a price that grows with it.
        let quote = SubtensorModule::market(NETUID).buy(100 * UNIT).expect("the pool has alpha");
        assert_eq!((quote.out, quote.fee), (99_849_845_661, 50_354_772));
        assert_eq!(add(HOT, NETUID, 100 * UNIT), Ok(()));
        assert_eq!(staked(HOT, NETUID), quote.out, "another's hotkey, and its owner's stake is untouched");
        assert_eq!(rich - balance(), 100 * UNIT);
        assert_eq!(
            last_event(),
            Event::StakeAdded(
                key(COLD),
                key(HOT),
                TaoBalance(100 * UNIT),
                AlphaBalance(quote.out),
                NETUID,
                quote.fee
            )
        );
        assert_eq!(StakingHotkeys::<Runtime>::get(key(COLD)), [key(HOT)]);
        assert_conserved(before);

        assert_eq!(remove(HOT, NetUid(40), 1), error(Error::SubnetNotExists));
        assert_eq!(remove(HOT, NETUID, 0), error(Error::AmountTooLow));
        assert_eq!(remove(HOT, NETUID, quote.out + 1), error(Error::NotEnoughStakeToWithdraw));
        assert_eq!(remove(HOT, NETUID, 1_000), error(Error::AmountTooLow), "a part must be worth its while");
        assert_eq!(remove(HOT, NETUID, quote.out), Ok(()));
        assert_eq!(staked(HOT, NETUID), 0);
        let lost = rich - balance();
        assert!((UNIT / 10..UNIT / 9).contains(&lost), "both fees, about a thousandth: {lost}");
        assert_conserved(before);
    });
}

#[test]
fn a_limit_refuses_or_cuts_a_trade_at_its_price() {
    on_chain(|| {
        let before = issuance();
        let add = |amount: u64, price: u64, partial: bool| {
            SubtensorModule::add_stake_limit(
                signed(),
                key(HOT),
                NETUID,
                TaoBalance(amount),
                TaoBalance(price),
                partial,
            )
        };
        assert_eq!(SubtensorModule::market(NETUID).price(), UNIT);
        assert_eq!(add(UNIT, UNIT - 1, true), error(Error::SlippageTooHigh));
        marker::Profile::<Runtime>::put(Profile::Legacy);
        assert_eq!(add(UNIT, UNIT - 1, true), error(Error::ZeroMaxStakeAmount), "as spec 365 says it");
        marker::Profile::<Runtime>::put(Profile::Newest);
        assert_eq!(add(2_000 * UNIT, UNIT + UNIT / 100, false), error(Error::SlippageTooHigh));
        let rich = balance();
        assert_eq!(add(2_000 * UNIT, UNIT + UNIT / 100, true), Ok(()));
        let paid = rich - balance();
        assert!((490 * UNIT..510 * UNIT).contains(&paid), "half a hundredth of the pool: {paid}");
        let price = SubtensorModule::market(NETUID).price();
        assert!(price.abs_diff(UNIT + UNIT / 100) < UNIT / 10_000, "{price}");

        let remove = |amount: u64, price: u64, partial: bool| {
            SubtensorModule::remove_stake_limit(
                signed(),
                key(HOT),
                NETUID,
                AlphaBalance(amount),
                TaoBalance(price),
                partial,
            )
        };
        let all = staked(HOT, NETUID);
        assert_eq!(remove(all, price + UNIT / 1_000, true), error(Error::SlippageTooHigh));
        assert_eq!(remove(all, price - UNIT / 1_000, false), error(Error::SlippageTooHigh));
        assert_eq!(remove(all, price - UNIT / 1_000, true), Ok(()));
        let rest = staked(HOT, NETUID);
        assert!(rest > 0 && rest < all);
        let full = |limit_price: Option<u64>| {
            SubtensorModule::remove_stake_full_limit(signed(), key(HOT), NETUID, limit_price.map(TaoBalance))
        };
        assert_eq!(full(Some(UNIT * 2)), error(Error::SlippageTooHigh));
        assert_eq!(full(None), Ok(()));
        assert_eq!(staked(HOT, NETUID), 0);
        assert_eq!(full(None), error(Error::AmountTooLow), "nothing is left");
        assert_conserved(before);
    });
}

#[test]
fn stake_moves_between_hotkeys_coldkeys_and_subnets() {
    on_chain(|| {
        assert_eq!(add(HOT, NETUID, 100 * UNIT), Ok(()));
        let (before, whole) = (issuance(), staked(HOT, NETUID));
        let half = AlphaBalance(whole / 2);
        let hop = |to: &str, from_netuid: NetUid, to_netuid: NetUid, amount: AlphaBalance| {
            SubtensorModule::move_stake(signed(), key(HOT), key(to), from_netuid, to_netuid, amount)
        };
        assert_eq!(hop(HOT, NETUID, NETUID, half), error(Error::SameNetuid));
        assert_eq!(hop("//Miner1", NETUID, NetUid(40), half), error(Error::SubnetNotExists));
        assert_eq!(hop("//Nobody", NETUID, NETUID, half), error(Error::HotKeyAccountNotExists));
        assert_eq!(hop("//Miner1", NETUID, NETUID, AlphaBalance(0)), error(Error::AmountTooLow));
        let more = AlphaBalance(whole + 1);
        assert_eq!(hop("//Miner1", NETUID, NETUID, more), error(Error::NotEnoughStakeToWithdraw));
        assert_eq!(hop("//Miner1", NETUID, NETUID, half), Ok(()));
        assert_eq!(staked("//Miner1", NETUID), half.0, "within a subnet nothing is traded");
        assert_eq!(staked(HOT, NETUID), whole - half.0);

        let swap = SubtensorModule::swap_stake(signed(), key(HOT), NETUID, NetUid::ROOT, AlphaBalance(UNIT));
        assert_eq!(swap, Ok(()));
        let on_root = staked(HOT, NetUid::ROOT);
        assert!((UNIT..UNIT + UNIT / 500).contains(&on_root), "the price is what buying made it: {on_root}");
        assert_conserved(before);

        let give = || {
            let (to, hotkey) = (key("//Charlie"), key("//Miner1"));
            SubtensorModule::transfer_stake(signed(), to, hotkey, NETUID, NETUID, half)
        };
        TransferToggle::<Runtime>::insert(NETUID, false);
        assert_eq!(give(), error(Error::TransferDisallowed));
        TransferToggle::<Runtime>::insert(NETUID, true);
        assert_eq!(give(), Ok(()));
        assert_eq!(staked("//Miner1", NETUID), 0);
        let given = SubtensorModule::stake_of(&key("//Miner1"), &key("//Charlie"), NETUID);
        assert_eq!(given, half);
        assert_eq!(StakingHotkeys::<Runtime>::get(key("//Charlie")), [key("//Miner1")]);
        assert_conserved(before);
    });
}

#[test]
fn stake_of_any_coldkey_can_be_read_and_no_stake_reads_as_zero() {
    on_chain(|| {
        let read = |netuid: NetUid| {
            SubtensorModule::stake_info(&key(HOT), &key(COLD), netuid).map(|info| info.stake.0.0)
        };
        assert_eq!(read(NETUID), Some(0));
        assert_eq!(read(NetUid(40)), None);
        assert_eq!(add(HOT, NETUID, UNIT), Ok(()));
        assert_eq!(read(NETUID), Some(staked(HOT, NETUID)));
        let all = SubtensorModule::stakes_of(&key(COLD));
        assert_eq!(all.iter().map(|info| info.stake.0.0).collect::<Vec<_>>(), [staked(HOT, NETUID)]);
    });
}

#[test]
fn the_root_network_takes_hotkeys_and_stake_at_par() {
    on_chain(|| {
        let register = |hotkey: &str| SubtensorModule::root_register(signed(), key(hotkey));
        assert_eq!(register(HOT), error(Error::NonAssociatedColdKey));
        assert_eq!(register("//New"), Ok(()));
        assert_eq!(register("//New"), error(Error::HotKeyAlreadyRegisteredInSubNet));
        assert_eq!(Uids::<Runtime>::get(NetUid::ROOT, key("//New")), Some(0));
        assert_eq!(
            Delegates::<Runtime>::iter().collect::<Vec<_>>(),
            [(key("//New"), PerU16::from_parts(11_796))]
        );
        let before = issuance();
        assert_eq!(add("//New", NetUid::ROOT, 5 * UNIT), Ok(()));
        assert_eq!(staked("//New", NetUid::ROOT), 5 * UNIT);
        let weight = SubtensorModule::stake_weight(&key("//New"), NETUID);
        assert_eq!(weight, 263_384_871, "0.0527 of it, the weight of TAO");
        assert_eq!(remove("//New", NetUid::ROOT, 5 * UNIT), Ok(()));
        assert_conserved(before);
    });
}

#[test]
fn a_new_subnet_costs_its_pool_and_starts_when_its_owner_says() {
    on_chain(|| {
        let alice = || RuntimeOrigin::signed(key("//Alice"));
        assert_eq!(SubtensorModule::register_network(alice(), key(HOT)), error(Error::NonAssociatedColdKey));
        let cost = SubtensorModule::network_lock_cost();
        assert_eq!(cost, TaoBalance(1_000 * UNIT));
        Balances::transfer_allow_death(signed(), key("//Eve").into(), balance() - UNIT).expect("transfers");
        assert_eq!(
            SubtensorModule::register_network(signed(), key("//Hot")),
            error(Error::CannotAffordLockCost)
        );
        let (before, rich) = (issuance(), Balances::balance(&key("//Alice")));
        assert_eq!(SubtensorModule::register_network(alice(), key("//Hot")), Ok(()));
        let new = NetUid(40);
        assert_eq!(last_event(), Event::NetworkAdded(new, 1));
        assert_eq!(rich - Balances::balance(&key("//Alice")), cost.0);
        assert_eq!(SubnetTAO::<Runtime>::get(new), cost, "all of the first cost is the pool");
        assert_eq!(
            (Keys::<Runtime>::get(new, 0), SubnetOwner::<Runtime>::get(new)),
            (key("//Hot"), key("//Alice"))
        );
        assert_conserved(before);

        assert_eq!(add("//Hot", new, MIN_STAKE), error(Error::SubtokenDisabled));
        let start = |who: RuntimeOrigin, netuid: NetUid| SubtensorModule::start_call(who, netuid);
        assert_eq!(start(alice(), NetUid(41)), error(Error::SubnetNotExists));
        assert_eq!(start(signed(), new), error(Error::NotSubnetOwner));
        assert_eq!(start(alice(), new), Ok(()));
        assert_eq!(last_event(), Event::FirstEmissionBlockNumberSet(new, 51));
        assert_eq!(start(alice(), new), error(Error::FirstEmissionBlockNumberAlreadySet));
        assert_eq!(add("//Hot", new, MIN_STAKE), Ok(()));

        let again = || SubtensorModule::register_network(alice(), key("//Hot"));
        assert_eq!(again(), error(Error::NetworkTxRateLimitExceeded));
        System::set_block_number(50 + 7_200);
        SubnetLimit::<Runtime>::put(40);
        assert_eq!(again(), error(Error::SubnetLimitReached));
        SubnetLimit::<Runtime>::put(41);
        let second = SubtensorModule::network_lock_cost();
        assert!((cost.0 * 19 / 10..cost.0 * 2).contains(&second.0), "twice the first, fallen a little");
        assert_eq!(again(), Ok(()));
        assert_eq!(SubnetTAO::<Runtime>::get(NetUid(41)), cost, "what is paid beyond is burnt");
    });
}
