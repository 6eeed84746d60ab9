//! Random sequences of extrinsics through the real executor: TAO and alpha are conserved, nothing panics, and a restored
//! chain is the chain that was saved.
//!
//! The law, checked after every block. All TAO is in balances or in the pools of subnets, and `TotalIssuance` is their sum. From one
//! block to the next it grows by what the pools were given (`SubnetTaoInEmission` of the subnets that have started) and
//! shrinks by fees, by the dust of accounts that end, and by what a new subnet cost beyond its pool; by nothing else. All alpha that is
//! outstanding on a subnet is staked on a hotkey or waits for the epoch, and what coldkeys have on a hotkey is never more than
//! is staked on it.

use basilica_devchain::chain::{Chain, ChainImage, StoredBlock};
use basilica_devchain::executor::{self, Inclusion, Refusal, State};
use basilica_devchain::genesis::Settings;
use basilica_devchain::profile::Profile;
use basilica_devchain::runtime::newtypes::{AlphaBalance, MechId, NetUid, TaoBalance};
use basilica_devchain::runtime::subtensor::info_types::RecycleOrBurnEnum;
use basilica_devchain::runtime::{
    AccountId, Balances, Runtime, RuntimeCall, RuntimeEvent, SubtensorModule, System, admin_utils, subtensor,
};
use codec::{Decode as _, Encode as _};
use proptest::prelude::*;
use proptest::sample::select;
use sp_runtime::generic::Era;

use crate::support::{account_of, sign};

const SUBNET: NetUid = NetUid(39);
/// Coldkeys with a balance, and hotkeys, some of which are registered.
const COLDKEYS: [&str; 4] = ["//Alice", "//Bob", "//Validator1Cold", "//OwnerCold"];
const HOTKEYS: [&str; 6] = ["//Owner", "//Validator1", "//Validator2", "//Miner1", "//New", "//Newer"];

/// One extrinsic: who signs, and what.
#[derive(Debug, Clone)]
struct Signed {
    signer: &'static str,
    call: RuntimeCall,
}

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![
        select(vec![0, 1, 499, 500, 501, 2_000_000, u64::MAX / 2, u64::MAX - 1, u64::MAX]),
        1_000_000u64..10_000_000_000_000,
        any::<u64>(),
    ]
}

fn netuids() -> impl Strategy<Value = NetUid> {
    select(vec![SUBNET, SUBNET, SUBNET, NetUid::ROOT, NetUid(1), NetUid(40), NetUid(u16::MAX)])
}

fn hotkeys() -> impl Strategy<Value = AccountId> {
    select(HOTKEYS.to_vec()).prop_map(account_of)
}

fn coldkeys() -> impl Strategy<Value = AccountId> {
    select(COLDKEYS.to_vec()).prop_map(account_of)
}

fn staking() -> BoxedStrategy<RuntimeCall> {
    use subtensor::Call;
    let parts = (hotkeys(), hotkeys(), coldkeys(), netuids(), netuids(), amounts(), amounts(), any::<bool>());
    (0u8..9, parts)
        .prop_map(|(kind, (hotkey, other, coldkey, netuid, to, amount, limit, allow_partial))| {
            let (alpha_amount, limit_price) = (AlphaBalance(amount), TaoBalance(limit));
            RuntimeCall::SubtensorModule(match kind {
                0 | 1 => Call::add_stake { hotkey, netuid, amount_staked: TaoBalance(amount) },
                2 => Call::remove_stake { hotkey, netuid, amount_unstaked: alpha_amount },
                3 => Call::add_stake_limit {
                    hotkey,
                    netuid,
                    amount_staked: TaoBalance(amount),
                    limit_price,
                    allow_partial,
                },
                4 => Call::remove_stake_limit {
                    hotkey,
                    netuid,
                    amount_unstaked: alpha_amount,
                    limit_price,
                    allow_partial,
                },
                5 => Call::remove_stake_full_limit { hotkey, netuid, limit_price: None },
                6 => Call::move_stake {
                    origin_hotkey: hotkey,
                    destination_hotkey: other,
                    origin_netuid: netuid,
                    destination_netuid: to,
                    alpha_amount,
                },
                7 => Call::transfer_stake {
                    destination_coldkey: coldkey,
                    hotkey,
                    origin_netuid: netuid,
                    destination_netuid: to,
                    alpha_amount,
                },
                _ => Call::swap_stake { hotkey, origin_netuid: netuid, destination_netuid: to, alpha_amount },
            })
        })
        .boxed()
}

fn joining() -> BoxedStrategy<RuntimeCall> {
    use subtensor::Call;
    (0u8..6, hotkeys(), netuids(), amounts())
        .prop_map(|(kind, hotkey, netuid, limit_price)| {
            RuntimeCall::SubtensorModule(match kind {
                0 | 1 => Call::burned_register { netuid, hotkey },
                2 => Call::register_limit { netuid, hotkey, limit_price },
                3 => Call::root_register { hotkey },
                4 => Call::register_network { hotkey },
                _ => Call::start_call { netuid },
            })
        })
        .boxed()
}

fn transfers() -> BoxedStrategy<RuntimeCall> {
    (any::<bool>(), coldkeys(), hotkeys(), amounts(), any::<bool>())
        .prop_map(|(all, coldkey, hotkey, value, keep_alive)| {
            let dest = if keep_alive { coldkey } else { hotkey }.into();
            RuntimeCall::Balances(if all && value % 7 == 0 {
                pallet_balances::Call::transfer_all { dest, keep_alive }
            } else {
                pallet_balances::Call::transfer_allow_death { dest, value }
            })
        })
        .boxed()
}

/// Calls of hotkeys: weights and endpoints.
fn serving() -> BoxedStrategy<RuntimeCall> {
    use subtensor::Call;
    let pairs = proptest::collection::vec((0u16..8, any::<u16>()), 0..6);
    (0u8..3, netuids(), any::<u8>(), pairs, any::<u64>(), any::<u128>())
        .prop_map(|(kind, netuid, mecid, pairs, version_key, ip)| {
            let (dests, weights): (Vec<u16>, Vec<u16>) = pairs.into_iter().unzip();
            RuntimeCall::SubtensorModule(match kind {
                0 => Call::set_weights { netuid, dests, weights, version_key },
                1 => Call::set_mechanism_weights {
                    netuid,
                    mecid: MechId(mecid % 3),
                    dests,
                    weights,
                    version_key: 0,
                },
                _ => Call::serve_axon {
                    netuid,
                    version: 1,
                    ip,
                    port: mecid.into(),
                    ip_type: 4,
                    protocol: 4,
                    placeholder1: 0,
                    placeholder2: 0,
                },
            })
        })
        .boxed()
}

fn setters() -> BoxedStrategy<RuntimeCall> {
    use admin_utils::Call;
    let numbers = prop_oneof![0u16..20, Just(u16::MAX), any::<u16>()];
    (0u8..19, netuids(), numbers, amounts(), any::<bool>())
        .prop_map(|(kind, netuid, number, amount, flag)| {
            let call = match kind {
                0 => Call::sudo_set_tempo { netuid, tempo: number },
                1 => Call::sudo_set_max_allowed_validators { netuid, max_allowed_validators: number },
                2 => Call::sudo_set_max_allowed_uids { netuid, max_allowed_uids: number },
                3 => Call::sudo_set_immunity_period { netuid, immunity_period: number },
                4 => Call::sudo_set_activity_cutoff { netuid, activity_cutoff: number },
                5 => Call::sudo_set_stake_threshold { min_stake: amount },
                6 => Call::sudo_set_weights_set_rate_limit { netuid, weights_set_rate_limit: amount },
                7 => Call::sudo_set_subtoken_enabled { netuid, subtoken_enabled: flag },
                8 => Call::sudo_set_network_registration_allowed { netuid, registration_allowed: flag },
                9 => Call::sudo_set_kappa { netuid, kappa: number },
                10 => Call::sudo_set_min_burn { netuid, min_burn: TaoBalance(amount) },
                11 => Call::sudo_set_max_burn { netuid, max_burn: TaoBalance(amount) },
                12 => Call::sudo_set_bonds_moving_average { netuid, bonds_moving_average: amount },
                13 => Call::sudo_set_subnet_owner_cut { subnet_owner_cut: number },
                14 => Call::sudo_set_network_rate_limit { rate_limit: amount },
                15 => Call::sudo_set_network_min_lock_cost { lock_cost: TaoBalance(amount) },
                16 => Call::sudo_set_mechanism_count { netuid, mechanism_count: MechId(u8::from(flag) + 1) },
                17 => Call::sudo_set_subnet_limit { max_subnets: number },
                _ => Call::sudo_set_commit_reveal_weights_enabled { netuid, enabled: flag },
            };
            let call = Box::new(RuntimeCall::AdminUtils(call));
            RuntimeCall::Sudo(pallet_sudo::Call::sudo { call })
        })
        .boxed()
}

fn extrinsics() -> impl Strategy<Value = Signed> {
    let by = |signers: Vec<&'static str>, calls: BoxedStrategy<RuntimeCall>| {
        (select(signers), calls).prop_map(|(signer, call)| Signed { signer, call })
    };
    prop_oneof![
        6 => by(COLDKEYS.to_vec(), staking()),
        3 => by(COLDKEYS.to_vec(), joining()),
        2 => by(COLDKEYS.to_vec(), transfers()),
        3 => by(HOTKEYS.to_vec(), serving()),
        2 => by(vec!["//Alice", "//Bob"], setters()),
    ]
}

/// All there is of both currencies, and what this block says it did to TAO.
#[derive(Debug)]
struct Books {
    issuance: u64,
    minted: u64,
    burnt: u64,
}

fn books(state: &State) -> Books {
    executor::read(state, || {
        let pools: u64 = subtensor::SubnetTAO::<Runtime>::iter().map(|(_, tao)| tao.0).sum();
        assert_eq!(subtensor::TotalStake::<Runtime>::get().0, pools, "the pools are the total stake");
        let issuance = subtensor::TotalIssuance::<Runtime>::get().0;
        assert_eq!(issuance, Balances::total_issuance() + pools, "TAO is in balances or pools");
        for netuid in SubtensorModule::netuids() {
            assert_alpha_adds_up(netuid);
        }
        let minted = subtensor::SubnetTaoInEmission::<Runtime>::iter().map(|(_, tao)| tao.0).sum();
        let burnt = System::events().into_iter().map(|record| burnt_by(record.event)).sum();
        Books { issuance, minted, burnt }
    })
    .expect("reads")
}

/// What an event says was burnt.
fn burnt_by(event: RuntimeEvent) -> u64 {
    match event {
        RuntimeEvent::TransactionPayment(pallet_transaction_payment::Event::TransactionFeePaid {
            actual_fee,
            ..
        }) => actual_fee,
        RuntimeEvent::Balances(pallet_balances::Event::DustLost { amount, .. }) => amount,
        RuntimeEvent::SubtensorModule(subtensor::Event::NetworkAdded(netuid, _)) => {
            let cost = subtensor::SubnetLocked::<Runtime>::get(netuid).0;
            cost.saturating_sub(subtensor::NetworkMinLockCost::<Runtime>::get().0)
        }
        _ => 0,
    }
}

fn assert_alpha_adds_up(netuid: NetUid) {
    let staked: u64 = subtensor::TotalHotkeyAlpha::<Runtime>::iter()
        .filter(|(_, on, _)| *on == netuid)
        .map(|(hotkey, _, total)| {
            let owned: u64 = subtensor::Alpha::<Runtime>::iter_prefix((&hotkey,))
                .filter(|((_, on), _)| *on == netuid)
                .map(|((coldkey, _), _)| SubtensorModule::stake_of(&hotkey, &coldkey, netuid).0)
                .sum();
            assert!(owned <= total.0, "coldkeys own {owned} of {total} on {hotkey:?}");
            total.0
        })
        .sum();
    let waiting = subtensor::PendingServerEmission::<Runtime>::get(netuid).0
        + subtensor::PendingValidatorEmission::<Runtime>::get(netuid).0
        + subtensor::PendingOwnerCut::<Runtime>::get(netuid).0;
    let outstanding = subtensor::SubnetAlphaOut::<Runtime>::get(netuid).0;
    assert_eq!(outstanding, staked + waiting, "alpha of {netuid} is staked or waits");
}

/// A chain with epochs every four blocks, which recycles what the weights give to the owner: burnt alpha would stay
/// outstanding with nobody.
fn chain(profile: Profile) -> Chain {
    let settings = Settings { tempo: 4, profile, ..Settings::default() };
    let state = settings.resolve().expect("valid").state().expect("builds");
    let state = executor::write(&state, || {
        subtensor::RecycleOrBurn::<Runtime>::insert(SUBNET, RecycleOrBurnEnum::Recycle);
        subtensor::WeightsSetRateLimit::<Runtime>::insert(SUBNET, 0);
        SubtensorModule::settle_issuance();
    });
    Chain::new(state.expect("writes"))
}

/// Builds one block of what is valid now, asserting that nothing panics.
fn next_block(chain: &mut Chain, wanted: &[Signed]) -> State {
    let state = chain.best_state();
    let best = chain.best().clone();
    let mut nonces = std::collections::BTreeMap::new();
    let candidates: Vec<Vec<u8>> = wanted
        .iter()
        .map(|signed| {
            let account = account_of(signed.signer);
            let nonce = nonces.entry(signed.signer).or_insert_with(|| executor::nonce_of(&state, &account));
            let text =
                sign(signed.signer, signed.call.clone(), *nonce, Era::Immortal, (chain.genesis(), None));
            let bytes = hex::decode(text.trim_start_matches("0x")).expect("hex");
            let extrinsic = executor::extrinsic(&state, &bytes).expect("an extrinsic decodes");
            let verdict = executor::validate(&state, extrinsic, best.hash);
            assert!(!matches!(verdict, Err(Refusal::Unchecked(_))), "{signed:?} panics when it is checked");
            if verdict.is_ok() {
                *nonce += 1;
            }
            bytes
        })
        .collect();
    let number = best.header.number;
    let parent = (best.hash, number);
    let built = executor::build_block(&state, parent, u64::from(number + 1) * 12_000, &candidates)
        .expect("the block builds");
    for (signed, inclusion) in wanted.iter().zip(&built.inclusions) {
        assert_ne!(*inclusion, Inclusion::Panicked, "{signed:?} panics");
    }
    let changes = executor::changes(&state, &built.state);
    chain.push(StoredBlock { header: built.header, extrinsics: built.extrinsics, changes });
    built.state
}

fn run(profile: Profile, blocks: &[Vec<Signed>], saved_at: usize) {
    let mut chain = chain(profile);
    let mut before = books(&chain.best_state());
    for (position, wanted) in blocks.iter().enumerate() {
        let state = next_block(&mut chain, wanted);
        let after = books(&state);
        let expected = before.issuance + after.minted - after.burnt;
        assert_eq!(
            after.issuance, expected,
            "block {position} of {wanted:?} changes {before:?} to {after:?}"
        );
        before = after;
        if position == saved_at {
            let image = chain.image().encode();
            let restored = ChainImage::decode(&mut &image[..]).expect("the image decodes");
            chain = Chain::from_image(restored).expect("the image is whole");
            assert_eq!(*chain.best_state(), state, "a restored chain has the state that was saved");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn issuance_is_conserved_and_nothing_panics(
        blocks in proptest::collection::vec(proptest::collection::vec(extrinsics(), 0..5), 8..20),
        saved_at in 0usize..20,
        legacy in any::<bool>(),
    ) {
        run(if legacy { Profile::Legacy } else { Profile::Newest }, &blocks, saved_at);
    }
}

#[test]
fn bytes_that_are_no_extrinsic_are_refused_without_a_panic() {
    let state = chain(Profile::Newest).best_state();
    for bytes in [vec![], vec![0], vec![0xff; 64], vec![0x84; 200]] {
        assert!(executor::extrinsic(&state, &bytes).is_err(), "{bytes:?}");
    }
}
