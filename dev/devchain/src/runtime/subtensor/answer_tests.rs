//! What the chain answers about delegates, subnets, flows and endpoints, against what was done before.

use std::collections::BTreeSet;

use codec::Compact;

use super::info_types::{ChainIdentityV2, RootClaimTypeEnum, SubnetIdentityV3};
use super::pallet::*;
use super::tests::{NETUID, error, key, on_chain};
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::runtime::{Runtime, RuntimeOrigin, SubtensorModule, System};

const RAO: u64 = 1_000_000_000;

fn signed(uri: &str) -> RuntimeOrigin {
    RuntimeOrigin::signed(key(uri))
}

#[test]
fn delegates_show_their_stakers_subnets_and_returns() {
    on_chain(|| {
        assert_eq!(SubtensorModule::delegates(), Vec::new());
        assert_eq!(SubtensorModule::root_register(signed("//Validator1Cold"), key("//Validator1")), Ok(()));
        let staked = TaoBalance(7 * RAO);
        assert_eq!(SubtensorModule::add_stake(signed("//Bob"), key("//Validator1"), NETUID, staked), Ok(()));
        assert_eq!(
            SubtensorModule::add_stake(signed("//Bob"), key("//Validator1"), NetUid::ROOT, staked),
            Ok(())
        );
        ValidatorPermit::<Runtime>::mutate(NETUID, |permits| permits[1] = true);
        Emission::<Runtime>::mutate(NETUID, |emission| emission[1] = AlphaBalance(RAO));

        let delegate = SubtensorModule::delegate(&key("//Validator1")).expect("a delegate");
        assert_eq!(SubtensorModule::delegates(), std::slice::from_ref(&delegate));
        assert_eq!(SubtensorModule::delegate(&key("//Validator2")), None);
        assert_eq!(delegate.owner_ss58, key("//Validator1Cold"));
        assert_eq!(delegate.take, Compact(11_796));
        assert_eq!(delegate.registrations, [Compact(NetUid::ROOT), Compact(NETUID)]);
        assert_eq!(delegate.validator_permits, [Compact(NETUID)]);
        let own = delegate.nominators.iter().find(|(coldkey, _)| *coldkey == key("//Bob")).expect("staked");
        let of = |netuid| Compact(SubtensorModule::stake_of(&key("//Validator1"), &key("//Bob"), netuid));
        let expected = [(Compact(NetUid::ROOT), of(NetUid::ROOT)), (Compact(NETUID), of(NETUID))];
        assert_eq!(own.1, expected);
        assert_eq!(of(NetUid::ROOT).0.0, 7 * RAO);

        // One alpha for each of 360 epochs of a day, at a price just above one.
        let daily = delegate.total_daily_return.0.0;
        assert!((360 * RAO..361 * RAO).contains(&daily), "{daily}");
        let per_1000 = delegate.return_per_1000.0.0;
        let expected = daily / 100 * 82 / 100;
        assert!(per_1000.abs_diff(expected) < expected / 100, "{per_1000} is not about {expected}");

        let delegated = SubtensorModule::delegated_by(&key("//Bob"));
        assert_eq!(delegated.iter().map(|(_, stake)| *stake).collect::<Vec<_>>(), own.1);
        assert_eq!(SubtensorModule::delegated_by(&key("//Charlie")), Vec::new());
    });
}

#[test]
fn a_subnet_in_short_is_what_its_state_says() {
    on_chain(|| {
        let info = SubtensorModule::subnet_info_v2(NETUID).expect("exists");
        assert_eq!((info.subnetwork_n.0, info.tempo.0, info.owner.clone()), (6, 20, key("//OwnerCold")));
        assert_eq!(info.burn.0, Burn::<Runtime>::get(NETUID));
        assert_eq!(info.identity.map(|identity| identity.subnet_name), Some(b"basilica".to_vec()));
        Tempo::<Runtime>::insert(NETUID, 77);
        assert_eq!(SubtensorModule::subnet_info(NETUID).expect("exists").tempo.0, 77);
        assert_eq!(SubtensorModule::subnet_info(NetUid(40)), None);
        MechanismCountCurrent::<Runtime>::insert(NETUID, crate::runtime::newtypes::MechId(2));
        let netuids: Vec<u16> = SubtensorModule::mechagraphs().map(|graph| graph.netuid.0.0).collect();
        let expected: Vec<u16> = (0..=39).chain([4096 + 39]).collect();
        assert_eq!(netuids, expected);
    });
}

#[test]
fn identities_are_set_by_their_owners_and_bounded() {
    on_chain(|| {
        let set = |who: &str, subnet_name: Vec<u8>, logo_url: Vec<u8>| {
            let text = || b"x".to_vec();
            let (netuid, origin) = (NETUID, signed(who));
            SubtensorModule::set_subnet_identity(
                origin,
                netuid,
                subnet_name,
                text(),
                text(),
                text(),
                text(),
                text(),
                logo_url,
                text(),
            )
        };
        assert_eq!(set("//Bob", vec![b'a'; 257], Vec::new()), error(Error::NotSubnetOwner));
        assert_eq!(set("//OwnerCold", vec![b'a'; 257], Vec::new()), error(Error::InvalidIdentity));
        assert_eq!(set("//OwnerCold", vec![b'a'; 256], vec![b'a'; 1025]), error(Error::InvalidIdentity));
        assert_eq!(set("//OwnerCold", b"mine".to_vec(), vec![b'a'; 1024]), Ok(()));
        let expected = SubnetIdentityV3 {
            subnet_name: b"mine".to_vec(),
            github_repo: b"x".to_vec(),
            subnet_contact: b"x".to_vec(),
            subnet_url: b"x".to_vec(),
            discord: b"x".to_vec(),
            description: b"x".to_vec(),
            logo_url: vec![b'a'; 1024],
            additional: b"x".to_vec(),
        };
        let shown = SubtensorModule::dynamic_info(NETUID).expect("exists");
        assert_eq!(shown.subnet_identity, Some(expected));
        let name: Vec<u8> = shown.subnet_name.iter().map(|byte| byte.0).collect();
        assert_eq!(name, b"mine");

        let set = |who: &str, name: &[u8]| {
            let (none, origin) = (Vec::new, signed(who));
            SubtensorModule::set_identity(
                origin,
                name.to_vec(),
                none(),
                none(),
                none(),
                none(),
                none(),
                none(),
            )
        };
        assert_eq!(set("//Bob", b"bob"), error(Error::HotKeyNotRegisteredInNetwork));
        assert_eq!(set("//Miner1Cold", &[b'a'; 257]), error(Error::InvalidIdentity));
        assert_eq!(set("//Miner1Cold", b"miner"), Ok(()));
        let metagraph =
            SubtensorModule::metagraph(NETUID, crate::runtime::newtypes::MechId::MAIN).expect("exists");
        let expected = ChainIdentityV2 { name: b"miner".to_vec(), ..ChainIdentityV2::default() };
        assert_eq!(metagraph.identities[4], Some(expected));
        assert_eq!(metagraph.identities[5], None);
    });
}

#[test]
fn earnings_go_where_their_coldkey_wants_them() {
    on_chain(|| {
        let set = |hotkey: &str| {
            SubtensorModule::set_coldkey_auto_stake_hotkey(signed("//Miner1Cold"), NETUID, key(hotkey))
        };
        let earn = || SubtensorModule::reward_miner(NETUID, &key("//Miner1"), AlphaBalance(1_000));
        let staked = |hotkey: &str| SubtensorModule::stake_of(&key(hotkey), &key("//Miner1Cold"), NETUID).0;
        assert!(earn().is_ok());
        assert_eq!((staked("//Miner1"), staked("//Validator1")), (1_000, 0));
        assert_eq!(set("//Nobody"), error(Error::HotKeyNotRegisteredInSubNet));
        assert_eq!(set("//Validator2"), Ok(()));
        assert_eq!(set("//Validator2"), error(Error::SameAutoStakeHotkeyAlreadySet));
        assert_eq!(set("//Validator1"), Ok(()));
        let coldkeys = |hotkey: &str| AutoStakeDestinationColdkeys::<Runtime>::get(key(hotkey), NETUID);
        assert_eq!((coldkeys("//Validator2"), coldkeys("//Validator1")), (vec![], vec![key("//Miner1Cold")]));
        assert!(earn().is_ok());
        assert_eq!((staked("//Miner1"), staked("//Validator1")), (1_000, 1_000));
    });
}

#[test]
fn wishes_for_root_claims_are_kept_and_an_empty_list_is_none() {
    on_chain(|| {
        let set = |wish: RootClaimTypeEnum| SubtensorModule::set_root_claim_type(signed("//Bob"), wish);
        assert_eq!(RootClaimType::<Runtime>::get(key("//Bob")), RootClaimTypeEnum::Swap);
        let of = |subnets: &[NetUid]| RootClaimTypeEnum::KeepSubnets {
            subnets: subnets.iter().copied().collect(),
        };
        assert_eq!(set(of(&[])), error(Error::InvalidSubnetNumber));
        assert_eq!(set(of(&[NETUID])), Ok(()));
        let expected = RootClaimTypeEnum::KeepSubnets { subnets: BTreeSet::from([NETUID]) };
        assert_eq!(RootClaimType::<Runtime>::get(key("//Bob")), expected);
    });
}

#[test]
fn flows_are_counted_per_block_and_averaged() {
    on_chain(|| {
        let hotkey = || key("//Validator1");
        let paid = TaoBalance(10 * RAO);
        assert_eq!(SubtensorModule::add_stake(signed("//Bob"), hotkey(), NETUID, paid), Ok(()));
        assert_eq!(SubnetTaoFlow::<Runtime>::get(NETUID), 10_000_000_000);
        SubtensorModule::average_flows(&[NETUID]);
        assert_eq!(SubnetTaoFlow::<Runtime>::get(NETUID), 0);
        let (block, average) = SubnetEmaTaoFlow::<Runtime>::get(NETUID).expect("counted");
        assert_eq!(block, 50);
        // 10 TAO in one block, at a weight of 29,597,889,189,277 of 2⁶³ − 1.
        assert_eq!(average.bits >> 64, 32_090);
        let staked = SubtensorModule::stake_of(&hotkey(), &key("//Bob"), NETUID);
        assert_eq!(SubtensorModule::remove_stake(signed("//Bob"), hotkey(), NETUID, staked), Ok(()));
        assert!(SubnetTaoFlow::<Runtime>::get(NETUID) < -9_900_000_000);
        SubtensorModule::average_flows(&[NETUID]);
        let (_, later) = SubnetEmaTaoFlow::<Runtime>::get(NETUID).expect("counted");
        assert!(later.bits.abs() < average.bits / 100, "what came went again");
    });
}

#[test]
fn a_certificate_is_kept_with_its_endpoint_or_dropped_in_silence() {
    on_chain(|| {
        ServingRateLimit::<Runtime>::insert(NETUID, 10);
        let serve = |who: &str, port: u16, certificate: &[u8]| {
            let (origin, ip) = (signed(who), u128::from(0x0a01_0203_u32));
            SubtensorModule::serve_axon_tls(origin, NETUID, 1, ip, port, 4, 0, 0, 0, certificate.to_vec())
        };
        let kept = || {
            let kept = NeuronCertificates::<Runtime>::get(NETUID, key("//Miner1"))?;
            Some((kept.algorithm, kept.public_key.into_inner()))
        };
        assert_eq!(serve("//Bob", 9000, &[1, 2]), error(Error::HotKeyNotRegisteredInNetwork));
        assert_eq!(serve("//Miner1", 0, &[1, 2]), error(Error::InvalidPort));
        assert_eq!((serve("//Miner1", 9000, &[]), kept()), (Ok(()), None), "no algorithm");
        assert_eq!(Axons::<Runtime>::get(NETUID, key("//Miner1")).map(|axon| axon.port), Some(9000));
        assert_eq!(serve("//Miner1", 9001, &[1, 2]), error(Error::ServingRateLimitExceeded));
        System::set_block_number(60);
        assert_eq!((serve("//Miner1", 9001, &[7; 65]), kept()), (Ok(()), Some((7, vec![7; 64]))));
        System::set_block_number(70);
        assert_eq!((serve("//Miner1", 9001, &[8; 66]), kept()), (Ok(()), Some((7, vec![7; 64]))), "too long");
    });
}

#[test]
fn a_metrics_endpoint_has_the_rules_of_endpoints_and_a_clock_of_its_own() {
    on_chain(|| {
        ServingRateLimit::<Runtime>::insert(NETUID, 10);
        let serve = |who: &str, netuid: NetUid, ip: u32, ip_type: u8, port: u16| {
            SubtensorModule::serve_prometheus(signed(who), netuid, 3, ip.into(), port, ip_type)
        };
        let at = |who: &str, ip: u32, ip_type: u8, port: u16| serve(who, NETUID, ip, ip_type, port);
        // Each breaks the rule it must be refused for and every rule after it.
        assert_eq!(serve("//Bob", NetUid(40), 0, 5, 0), error(Error::SubnetNotExists));
        assert_eq!(at("//Bob", 0, 5, 0), error(Error::InvalidIpType));
        assert_eq!(at("//Bob", 0, 4, 0), error(Error::InvalidIpAddress));
        assert_eq!(at("//Bob", 0x7f00_0001, 4, 0), error(Error::InvalidIpAddress));
        assert_eq!(at("//Bob", 0x0a01_0203, 4, 0), error(Error::HotKeyNotRegisteredInNetwork));
        assert_eq!(at("//Miner1", 0x0a01_0203, 4, 0), error(Error::InvalidPort));
        assert_eq!(
            SubtensorModule::serve_axon(signed("//Miner1"), NETUID, 1, 0x0a01_0203, 9000, 4, 0, 0, 0),
            Ok(())
        );
        assert_eq!(at("//Miner1", 0x0a01_0203, 4, 9100), Ok(()));
        assert_eq!(at("//Miner1", 0x0a01_0203, 4, 0), error(Error::ServingRateLimitExceeded));
        let shown = SubtensorModule::neuron_lite(NETUID, 4).expect("exists").prometheus_info;
        assert_eq!((shown.block, shown.version, shown.port), (50, 3, 9100));
    });
}

#[test]
fn the_fee_of_moving_stake_is_what_the_market_takes() {
    on_chain(|| {
        let fee = |from: Option<NetUid>, to: Option<NetUid>| SubtensorModule::stake_fee(from, to, 10 * RAO);
        let bought = SubtensorModule::sim_buy(NETUID, TaoBalance(10 * RAO)).tao_fee.0;
        assert!(bought > 0);
        assert_eq!(fee(None, Some(NETUID)), bought);
        assert_eq!(
            fee(Some(NETUID), None),
            SubtensorModule::sim_sell(NETUID, AlphaBalance(10 * RAO)).alpha_fee.0
        );
        assert_eq!([fee(Some(NETUID), Some(NetUid::ROOT)), fee(None, None)], [0, 0], "the root has no fee");
    });
}

#[test]
fn the_cheapest_subnet_that_is_no_longer_immune_would_make_room() {
    on_chain(|| {
        // Those that only take up their number would go first.
        (1..39).for_each(|netuid| NetworksAdded::<Runtime>::remove(NetUid(netuid)));
        assert_eq!(SubtensorModule::subnet_to_prune(), None, "all are immune");
        NetworkImmunityPeriod::<Runtime>::put(50);
        assert_eq!(SubtensorModule::subnet_to_prune(), Some(NETUID));
        let open = |netuid: u16, tao: u64, registered: u64| {
            let netuid = NetUid(netuid);
            NetworksAdded::<Runtime>::insert(netuid, true);
            SubnetMechanism::<Runtime>::insert(netuid, 1);
            SubnetTAO::<Runtime>::insert(netuid, TaoBalance(tao));
            SubnetAlphaIn::<Runtime>::insert(netuid, AlphaBalance(100));
            NetworkRegisteredAt::<Runtime>::insert(netuid, registered);
        };
        open(3, 50, 1);
        assert_eq!(SubtensorModule::subnet_to_prune(), Some(NETUID), "cheaper, but immune");
        System::set_block_number(60);
        assert_eq!(SubtensorModule::subnet_to_prune(), Some(NetUid(3)));
        open(2, 50, 2);
        assert_eq!(SubtensorModule::subnet_to_prune(), Some(NetUid(3)), "of equal prices the oldest");
    });
}
