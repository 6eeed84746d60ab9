//! The pallet's rules, run on a chain's first state.

use frame_support::traits::Hooks as _;
use frame_support::traits::fungible::Inspect as _;
use proptest::prelude::*;
use sp_runtime::DispatchError;

use super::pallet::*;
use super::weights::{max_upscale, within_max_share};
use super::{AxonInfo, axons::is_servable};
use crate::executor;
use crate::genesis::{Settings, dev_pair};
use crate::profile::Profile;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, NetUidStorageIndex, TaoBalance};
use crate::runtime::{AccountId, Balances, Runtime, RuntimeOrigin, SubtensorModule, System, marker};

pub(super) const NETUID: NetUid = NetUid(39);
const INDEX: NetUidStorageIndex = NetUidStorageIndex(39);

pub(super) fn key(uri: &str) -> AccountId {
    use sp_core::Pair as _;
    AccountId::new(dev_pair(uri).expect("a dev uri").public().0)
}

/// Runs on the default chain as if in block 50.
pub(super) fn on_chain(test: impl FnOnce()) {
    let state = Settings::default().resolve().expect("defaults are valid").state().expect("defaults build");
    // Not `executor::read`: a failed assertion must keep its message.
    let storage = sp_core::storage::Storage { top: state, children_default: Default::default() };
    sp_state_machine::BasicExternalities::new(storage).execute_with(|| {
        System::set_block_number(50);
        test();
    });
}

pub(super) fn error(error: Error<Runtime>) -> Result<(), DispatchError> {
    Err(error.into())
}

#[test]
fn weight_checks_fail_in_the_chains_order() {
    on_chain(|| {
        let miner = key("//Miner1");
        let set = |who: &str, netuid: NetUid, mecid: u8, uids: &[u16], values: &[u16], version: u64| {
            let origin = RuntimeOrigin::signed(key(who));
            SubtensorModule::set_mechanism_weights(
                origin,
                netuid,
                MechId(mecid),
                uids.to_vec(),
                values.to_vec(),
                version,
            )
        };
        MinAllowedWeights::<Runtime>::insert(NETUID, 2);
        MaxWeightsLimit::<Runtime>::insert(NETUID, 40_000);
        WeightsVersionKey::<Runtime>::insert(NETUID, 5);
        LastUpdate::<Runtime>::mutate(INDEX, |updates| updates[4] = 45);

        // Each call breaks the rule it must be refused for and every rule after it.
        assert_eq!(set("//Nobody", NetUid::ROOT, 9, &[7, 7], &[1], 0), error(Error::CommitRevealEnabled));
        CommitRevealWeightsEnabled::<Runtime>::insert(NetUid::ROOT, false);
        assert_eq!(
            set("//Nobody", NetUid::ROOT, 9, &[7, 7], &[1], 0),
            error(Error::CanNotSetRootNetworkWeights)
        );
        assert_eq!(set("//Nobody", NETUID, 9, &[7, 7], &[1], 0), error(Error::WeightVecNotEqualSize));
        assert_eq!(set("//Nobody", NETUID, 9, &[7; 9], &[1; 9], 0), error(Error::MechanismDoesNotExist));
        CommitRevealWeightsEnabled::<Runtime>::insert(NetUid(40), false);
        assert_eq!(
            set("//Nobody", NetUid(40), 0, &[7; 9], &[1; 9], 0),
            error(Error::MechanismDoesNotExist),
            "no subnet"
        );
        assert_eq!(
            set("//Nobody", NETUID, 0, &[7; 9], &[1; 9], 0),
            error(Error::UidsLengthExceedUidsInSubNet)
        );
        assert_eq!(
            set("//Nobody", NETUID, 0, &[7; 2], &[1; 2], 0),
            error(Error::HotKeyNotRegisteredInSubNet)
        );
        assert_eq!(set("//Miner1", NETUID, 0, &[7; 2], &[1; 2], 0), error(Error::NotEnoughStakeToSetWeights));
        TotalHotkeyAlpha::<Runtime>::insert(&miner, NETUID, AlphaBalance(2_000_000_000_000));
        assert_eq!(set("//Miner1", NETUID, 0, &[7; 2], &[1; 2], 4), error(Error::IncorrectWeightVersionKey));
        assert_eq!(set("//Miner1", NETUID, 0, &[7; 2], &[1; 2], 5), error(Error::SettingWeightsTooFast));
        System::set_block_number(55);
        assert_eq!(set("//Miner1", NETUID, 0, &[7; 2], &[1; 2], 5), error(Error::NeuronNoValidatorPermit));
        ValidatorPermit::<Runtime>::mutate(NETUID, |permits| permits[4] = true);
        assert_eq!(set("//Miner1", NETUID, 0, &[7; 2], &[1; 2], 5), error(Error::DuplicateUids));
        assert_eq!(set("//Miner1", NETUID, 0, &[7], &[1], 5), error(Error::UidVecContainInvalidOne));
        assert_eq!(set("//Miner1", NETUID, 0, &[5], &[1], 5), error(Error::WeightVecLengthIsLow));
        assert_eq!(set("//Miner1", NETUID, 0, &[5, 1], &[9, 1], 5), error(Error::MaxWeightExceeded));
        assert_eq!(set("//Miner1", NETUID, 0, &[5, 1], &[1, 2], 6), error(Error::MaxWeightExceeded));
        MaxWeightsLimit::<Runtime>::insert(NETUID, u16::MAX);
        assert_eq!(set("//Miner1", NETUID, 0, &[5, 1], &[1, 2], 6), Ok(()));
        assert_eq!(Weights::<Runtime>::get(INDEX, 4), vec![(5, 32_768), (1, 65_535)]);
        assert_eq!(LastUpdate::<Runtime>::get(INDEX)[4], 55);
        assert_eq!(set("//Miner1", NETUID, 0, &[5, 1], &[1, 2], 6), error(Error::SettingWeightsTooFast));
    });
}

#[test]
fn owner_needs_no_stake_or_permit_and_a_self_weight_needs_no_permit_or_minimum() {
    on_chain(|| {
        MinAllowedWeights::<Runtime>::insert(NETUID, 3);
        let owner = RuntimeOrigin::signed(key("//Owner"));
        assert_eq!(SubtensorModule::set_weights(owner, NETUID, vec![1, 2, 3], vec![1, 1, 1], 0), Ok(()));
        let validator = RuntimeOrigin::signed(key("//Validator1"));
        assert_eq!(SubtensorModule::set_weights(validator, NETUID, vec![1], vec![1], 0), Ok(()));
        let foreign = RuntimeOrigin::signed(key("//Validator2"));
        assert_eq!(
            SubtensorModule::set_weights(foreign, NETUID, vec![1, 2, 3], vec![1, 1, 1], 0),
            error(Error::NeuronNoValidatorPermit)
        );
    });
}

#[test]
fn upscaling_matches_the_golden_vectors() {
    // The second and last show the truncated ratio: the exact product would round 32767.5 up.
    let vectors: [(&[u16], &[u16]); 8] = GOLDEN;
    for (values, stored) in vectors {
        assert_eq!(max_upscale(values), stored, "of {values:?}");
    }
}

const GOLDEN: [(&[u16], &[u16]); 8] = [
    (&[0, 0], &[0, 0]),
    (&[40_000, 20_000, 1], &[65_535, 32_767, 2]),
    (&[1, 2], &[32_768, 65_535]),
    (&[32_768, 16_384], &[65_535, 32_768]),
    (&[32_769, 1, 16_385], &[65_535, 2, 32_768]),
    (&[65_535, 16_384], &[65_535, 16_384]),
    (&[3, 1, 2], &[65_535, 21_845, 43_690]),
    (&[50_000, 25_000, 12_345], &[65_535, 32_767, 16_181]),
];

proptest! {
    #[test]
    fn upscaling_is_the_formula_of_the_chain(values in proptest::collection::vec(any::<u16>(), 0..64)) {
        let stored = max_upscale(&values);
        let max = values.iter().copied().max().unwrap_or(0);
        prop_assert_eq!(stored.len(), values.len());
        for (value, stored) in values.iter().zip(&stored) {
            let (v, m, stored) = (u128::from(*value), u128::from(max), u128::from(*stored));
            let expected = match max {
                0 => 0,
                32_769.. => (v * ((65_535u128 << 32) / m) + (1 << 31)) >> 32,
                _ => (((v * 65_535) << 32) / m + (1 << 31)) >> 32,
            };
            prop_assert_eq!(stored, expected);
            // Independently of the formula: within one of the exact share.
            prop_assert!((stored * m).abs_diff(v * 65_535) <= m);
        }
        prop_assert_eq!(&max_upscale(&stored), &stored, "what is stored is stored again unchanged");
        prop_assert!(max == 0 || stored.contains(&u16::MAX));
    }
}

#[test]
fn max_share_counts_the_largest_against_the_sum() {
    assert!(within_max_share(&[1, 1], 32_768));
    assert!(!within_max_share(&[1, 1], 32_767));
    assert!(within_max_share(&[5, 0], u16::MAX));
    assert!(within_max_share(&[0, 0], 1));
}

#[test]
fn only_the_chains_unreachable_addresses_are_refused() {
    let v4 = |text: &str| u128::from(u32::from(text.parse::<std::net::Ipv4Addr>().expect("an address")));
    for (address, servable) in [
        ("127.0.0.1", false),
        ("255.255.255.255", false),
        ("127.0.0.2", true),
        ("0.0.0.0", true),
        ("10.1.2.3", true),
        ("8.8.8.8", true),
    ] {
        assert_eq!(is_servable(4, v4(address)), servable, "{address}");
    }
    assert!(!is_servable(4, 1 << 40), "an IPv4 address has 32 bits");
    assert!(!is_servable(6, 1), "::1");
    assert!(!is_servable(6, u128::MAX));
    assert!(is_servable(6, 2));
}

#[test]
fn axon_rules_hold_in_order_and_the_limit_counts_from_the_last_change() {
    on_chain(|| {
        let serve = |who: &str, ip: u128, port: u16, ip_type: u8| {
            let origin = RuntimeOrigin::signed(key(who));
            SubtensorModule::serve_axon(origin, NETUID, 1, ip, port, ip_type, 4, 0, 0)
        };
        let loopback = 0x7f00_0001;
        assert_eq!(serve("//Nobody", loopback, 0, 5), error(Error::HotKeyNotRegisteredInNetwork));
        assert_eq!(serve("//Miner1", loopback, 0, 5), error(Error::InvalidIpType));
        assert_eq!(serve("//Miner1", loopback, 0, 4), error(Error::InvalidIpAddress));
        assert_eq!(serve("//Miner1", loopback + 1, 0, 4), error(Error::InvalidPort));
        assert_eq!(serve("//Miner1", loopback + 1, 9000, 4), Ok(()));
        let stored = Axons::<Runtime>::get(NETUID, key("//Miner1"));
        let expected = AxonInfo {
            block: 50,
            version: 1,
            ip: loopback + 1,
            port: 9000,
            ip_type: 4,
            protocol: 4,
            ..AxonInfo::default()
        };
        assert_eq!(stored, Some(expected));
        System::set_block_number(53);
        assert_eq!(serve("//Miner1", loopback + 2, 0, 4), error(Error::ServingRateLimitExceeded));
        System::set_block_number(54);
        assert_eq!(serve("//Miner1", loopback + 2, 9001, 4), Ok(()));
    });
}

#[test]
fn registration_burns_and_counts_as_the_last_update() {
    on_chain(|| {
        let register = |netuid: NetUid, hotkey: &str| {
            SubtensorModule::burned_register(RuntimeOrigin::signed(key("//Bob")), netuid, key(hotkey))
        };
        assert_eq!(register(NetUid::ROOT, "//New"), error(Error::RegistrationNotPermittedOnRootSubnet));
        assert_eq!(register(NetUid(40), "//New"), error(Error::SubnetNotExists));
        assert_eq!(register(NETUID, "//Miner1"), error(Error::HotKeyAlreadyRegisteredInSubNet));
        let (before, price) = (Balances::balance(&key("//Bob")), Burn::<Runtime>::get(NETUID));
        let limited = |limit_price: u64| {
            SubtensorModule::register_limit(
                RuntimeOrigin::signed(key("//Bob")),
                NETUID,
                key("//New"),
                limit_price,
            )
        };
        assert_eq!(limited(price.0 - 1), error(Error::RegistrationPriceLimitExceeded));
        assert_eq!(limited(price.0), Ok(()));
        assert_eq!(before - Balances::balance(&key("//Bob")), price.0);
        assert_eq!(Burn::<Runtime>::get(NETUID).0, price.0 / 100 * 126, "the next one pays more");
        assert_eq!(Uids::<Runtime>::get(NETUID, key("//New")), Some(6));
        assert_eq!(SubnetworkN::<Runtime>::get(NETUID), 7);
        assert_eq!(Owner::<Runtime>::get(key("//New")), key("//Bob"));
        assert_eq!(LastUpdate::<Runtime>::get(INDEX), [0, 0, 0, 0, 0, 0, 50]);
        assert_eq!(BlockAtRegistration::<Runtime>::get(NETUID, 6), 50);
        Burn::<Runtime>::insert(NETUID, TaoBalance(u64::MAX));
        assert_eq!(register(NETUID, "//Newer"), error(Error::NotEnoughBalanceToStake));
        NetworkRegistrationAllowed::<Runtime>::insert(NETUID, false);
        assert_eq!(register(NETUID, "//Newer"), error(Error::SubNetRegistrationDisabled));
    });
}

#[test]
fn legacy_takes_so_many_registrations_in_a_block_and_in_an_interval() {
    on_chain(|| {
        let register = |hotkey: &str| {
            SubtensorModule::burned_register(RuntimeOrigin::signed(key("//Bob")), NETUID, key(hotkey))
        };
        let next_block = || {
            let number = System::block_number() + 1;
            System::set_block_number(number);
            SubtensorModule::on_initialize(number);
        };
        assert_eq!(
            [register("//New1"), register("//New2")],
            [Ok(()), Ok(())],
            "the newest runtimes do not ask"
        );
        marker::Profile::<Runtime>::put(Profile::Legacy);
        next_block();
        assert_eq!(register("//New3"), Ok(()));
        assert_eq!(register("//Miner1"), error(Error::TooManyRegistrationsThisBlock), "before what it is");
        for hotkey in ["//New4", "//New5", "//New6", "//New7", "//New8"] {
            next_block();
            assert_eq!(register(hotkey), Ok(()));
        }
        next_block();
        assert_eq!(register("//New9"), error(Error::TooManyRegistrationsThisInterval), "three times two");
        System::set_block_number(99);
        next_block();
        assert_eq!(register("//New9"), Ok(()), "the interval of 100 blocks is over");
    });
}

#[test]
fn a_full_subnet_replaces_the_least_earning_neuron_that_is_not_immune_nor_the_owner() {
    on_chain(|| {
        let register = |hotkey: &str| {
            SubtensorModule::burned_register(RuntimeOrigin::signed(key("//Bob")), NETUID, key(hotkey))
        };
        MaxAllowedUids::<Runtime>::insert(NETUID, 6);
        MinNonImmuneUids::<Runtime>::insert(NETUID, 0);
        ImmunityPeriod::<Runtime>::insert(NETUID, 10);
        Emission::<Runtime>::insert(NETUID, [0, 9, 9, 9, 5, 4].map(AlphaBalance).to_vec());
        assert_eq!(register("//New"), Ok(()));
        assert_eq!(Keys::<Runtime>::get(NETUID, 5), key("//New"));
        assert_eq!(Uids::<Runtime>::get(NETUID, key("//Miner2")), None);
        assert_eq!(register("//Newer"), Ok(()), "the new one is immune, the next least goes");
        assert_eq!(Keys::<Runtime>::get(NETUID, 4), key("//Newer"));
        assert_eq!(SubnetworkN::<Runtime>::get(NETUID), 6);
        MinNonImmuneUids::<Runtime>::insert(NETUID, 3);
        assert_eq!(register("//Newest"), Ok(()), "too few others are left, so the oldest immune one goes");
        assert_eq!(Keys::<Runtime>::get(NETUID, 4), key("//Newest"));
        MaxAllowedUids::<Runtime>::insert(NETUID, 0);
        assert_eq!(register("//Last"), error(Error::NoNeuronIdAvailable));
    });
}

#[test]
fn an_epoch_gives_permits_and_pays_what_it_reports() {
    let state = Settings::default().resolve().expect("valid").state().expect("builds");
    let genesis = crate::chain::genesis_header(&state);
    let mut state = state;
    let mut parent = (executor::hash_of(&genesis), 0);
    for block in 1..=20u64 {
        let built = executor::build_block(&state, parent, block, &[]).expect("an empty block builds");
        parent = (executor::hash_of(&built.header), built.header.number);
        let permits =
            executor::read(&built.state, || ValidatorPermit::<Runtime>::get(NETUID)).expect("reads");
        assert_eq!(permits[1], block == 20, "permits come with the first epoch, at block {block}");
        state = built.state;
    }
    let (permits, index, since, next) = executor::read(&state, || {
        (
            ValidatorPermit::<Runtime>::get(NETUID),
            SubnetEpochIndex::<Runtime>::get(NETUID),
            BlocksSinceLastStep::<Runtime>::get(NETUID),
            SubtensorModule::next_epoch_start(NETUID),
        )
    })
    .expect("reads");
    assert_eq!(permits, [true, true, true, true, false, false], "the owner needs no stake");
    assert_eq!((index, since, next), (1, 0, Some(40)));
}

#[test]
fn a_selective_metagraph_has_the_chains_indices() {
    on_chain(|| {
        let whole = SubtensorModule::metagraph(NETUID, MechId::MAIN).expect("the subnet exists");
        ValidatorPermit::<Runtime>::mutate(NETUID, |permits| permits[2] = true);
        let permitted = SubtensorModule::metagraph(NETUID, MechId::MAIN).expect("the subnet exists");
        let chosen = permitted.select(&[8, 52, 72, 73, 76], || vec![(key("//Bob"), Vec::new())]);
        assert_eq!(chosen.commitments, Some(vec![(key("//Bob"), Vec::new())]));
        assert_eq!(chosen.collateral_earned.map(|column| column.len()), Some(6));
        assert_eq!(chosen.collateral_locked, None);
        assert_eq!(chosen.tempo, Some(whole.tempo));
        assert_eq!(chosen.hotkeys, Some(whole.hotkeys));
        assert_eq!(chosen.validators, Some(vec![codec::Compact(2)]));
        assert_eq!((chosen.name, chosen.coldkeys, chosen.axons), (None, None, None));
        assert!(SubtensorModule::metagraph(NETUID, MechId(1)).is_none(), "there is one mechanism");
        assert!(SubtensorModule::metagraph(NetUid(40), MechId::MAIN).is_none());
    });
}
