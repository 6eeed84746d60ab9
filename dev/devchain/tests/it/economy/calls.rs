//! Calls by chance: every call that an account, a neuron, a subnet's owner or the sudo key can make.

use basilica_devchain::runtime::commitment_data::Data;
use basilica_devchain::runtime::commitments::{self, CommitmentInfo};
use basilica_devchain::runtime::newtypes::{AlphaBalance, MechId, NetUid, TaoBalance};
use basilica_devchain::runtime::subtensor::commits::Reveal;
use basilica_devchain::runtime::subtensor::info_types::{
    EpochConsensus, FixedU128, RecycleOrBurnEnum, RootClaimTypeEnum,
};
use basilica_devchain::runtime::{Runtime, RuntimeCall, admin_utils, marker, mev_shield, subtensor};
use codec::Compact;
use sp_core::H256;

use super::dice::{COLDKEYS, Dice, HOTKEYS, NEWCOMERS, SUBNET};
use crate::support::account_of;

/// What the cheapest subnet costs; the setter sets nothing else, so that what a registration burns can be told from outside.
pub(super) const MIN_LOCK_COST: u64 = 700_000_000_000;
/// Calls stand at most so deep inside of others.
const DEPTH: u32 = 2;

/// One extrinsic: who signs, and what.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) signer: &'static str,
    pub(super) call: RuntimeCall,
}

/// Any extrinsic.
pub(super) fn signed(dice: &mut Dice<'_>) -> Signed {
    match dice.below(16) {
        0..=5 => {
            let signer = dice.pick(&COLDKEYS);
            Signed { signer, call: of_coldkey(dice, signer) }
        }
        6..=10 => {
            let signer = if dice.flag() { dice.pick(&HOTKEYS) } else { "//Validator1" };
            Signed { signer, call: of_hotkey(dice, signer) }
        }
        11..=13 => {
            let signer = if dice.below(16) == 0 { "//Bob" } else { "//Alice" };
            Signed { signer, call: of_sudo(dice) }
        }
        14 => {
            let signer = if dice.below(16) == 0 { "//Bob" } else { "//OwnerCold" };
            let call = match dice.below(12) {
                0 => RuntimeCall::SubtensorModule(subtensor::Call::trigger_epoch {
                    netuid: dice.main_netuid(),
                }),
                _ => RuntimeCall::AdminUtils(setter(dice)),
            };
            Signed { signer, call }
        }
        _ => {
            let signer = dice.pick(&[COLDKEYS.as_slice(), HOTKEYS.as_slice()].concat());
            Signed { signer, call: wrapped(dice, signer, 0) }
        }
    }
}

fn of_coldkey(dice: &mut Dice<'_>, signer: &str) -> RuntimeCall {
    match dice.below(8) {
        0..=3 => RuntimeCall::SubtensorModule(staking(dice, signer)),
        4 | 5 => RuntimeCall::SubtensorModule(joining(dice, signer)),
        6 => RuntimeCall::Balances(transfer(dice)),
        _ => match dice.below(3) {
            0 => remark(dice),
            1 => RuntimeCall::System(frame_system::Call::remark_with_event { remark: dice.bytes(8) }),
            _ => {
                let ciphertext = dice.bytes(64).try_into().expect("short");
                RuntimeCall::MevShield(mev_shield::Call::submit_encrypted { ciphertext })
            }
        },
    }
}

fn remark(dice: &mut Dice<'_>) -> RuntimeCall {
    RuntimeCall::System(frame_system::Call::remark { remark: dice.bytes(8) })
}

fn staking(dice: &mut Dice<'_>, signer: &str) -> subtensor::Call<Runtime> {
    use subtensor::Call;
    let (hotkey, netuid, alpha) = dice.position(signer);
    let (amount_staked, alpha_amount, to) = (
        TaoBalance(dice.amount()),
        AlphaBalance(alpha),
        dice.pick(&[SUBNET, NetUid::ROOT, NetUid(1), NetUid(2)]),
    );
    let limit_price =
        TaoBalance(dice.pick(&[0, 1, 500_000_000, 990_000_000, 1_010_000_000, 5_000_000_000, u64::MAX]));
    let allow_partial = dice.flag();
    match dice.below(13) {
        0..=2 => Call::add_stake { hotkey, netuid, amount_staked },
        3 => Call::remove_stake { hotkey, netuid, amount_unstaked: alpha_amount },
        4 => Call::add_stake_limit { hotkey, netuid, amount_staked, limit_price, allow_partial },
        5 => Call::remove_stake_limit {
            hotkey,
            netuid,
            amount_unstaked: alpha_amount,
            limit_price,
            allow_partial,
        },
        6 => Call::remove_stake_full_limit {
            hotkey,
            netuid,
            limit_price: allow_partial.then_some(limit_price),
        },
        7 => Call::move_stake {
            origin_hotkey: hotkey,
            destination_hotkey: dice.hotkey(),
            origin_netuid: netuid,
            destination_netuid: to,
            alpha_amount,
        },
        8 => Call::transfer_stake {
            destination_coldkey: dice.coldkey(),
            hotkey,
            origin_netuid: netuid,
            destination_netuid: to,
            alpha_amount,
        },
        9 => Call::swap_stake { hotkey, origin_netuid: netuid, destination_netuid: to, alpha_amount },
        10 | 11 => Call::add_collateral { netuid, hotkey, alpha: alpha_amount, limit_price },
        _ => Call::set_min_collateral { netuid, hotkey, min_locked: alpha_amount },
    }
}

fn joining(dice: &mut Dice<'_>, signer: &str) -> subtensor::Call<Runtime> {
    use subtensor::Call;
    let signer = account_of(signer);
    let own = dice
        .facts
        .subnets
        .iter()
        .filter(|(netuid, owner)| *netuid != SUBNET && *owner == signer)
        .map(|(netuid, _)| *netuid);
    let own: Vec<NetUid> = own.collect();
    let (hotkey, netuid) = (dice.hotkey(), dice.netuid());
    let is_new = |netuid: &NetUid| dice.facts.unstarted.contains(netuid);
    if let Some(netuid) = own.iter().copied().find(is_new).filter(|_| dice.flag()) {
        return Call::start_call { netuid };
    }
    match dice.below(10) {
        0 | 1 => Call::burned_register { netuid, hotkey: account_of(dice.pick(&NEWCOMERS)) },
        2 => {
            let hotkey = account_of(dice.pick(&NEWCOMERS));
            Call::register_limit { netuid, hotkey, limit_price: dice.amount() }
        }
        3 => Call::root_register { hotkey },
        4 => Call::register_network { hotkey: account_of(dice.pick(&NEWCOMERS)) },
        5 => Call::start_call { netuid: dice.chance(&own).unwrap_or(netuid) },
        6 => Call::set_coldkey_auto_stake_hotkey { netuid, hotkey },
        7 => {
            let subnets = (0..dice.below(3)).map(|_| dice.netuid()).collect();
            let all = [
                RootClaimTypeEnum::Swap,
                RootClaimTypeEnum::Keep,
                RootClaimTypeEnum::KeepSubnets { subnets },
            ];
            Call::set_root_claim_type { new_root_claim_type: dice.pick(&all) }
        }
        8 => Call::set_subnet_identity {
            netuid: dice.chance(&own).unwrap_or(netuid),
            subnet_name: dice.bytes(300),
            github_repo: Vec::new(),
            subnet_contact: Vec::new(),
            subnet_url: Vec::new(),
            discord: Vec::new(),
            description: dice.bytes(8),
            logo_url: Vec::new(),
            additional: Vec::new(),
        },
        _ => Call::set_identity {
            name: dice.bytes(300),
            url: Vec::new(),
            github_repo: Vec::new(),
            image: Vec::new(),
            discord: Vec::new(),
            description: dice.bytes(8),
            additional: Vec::new(),
        },
    }
}

fn transfer(dice: &mut Dice<'_>) -> pallet_balances::Call<Runtime> {
    use pallet_balances::Call;
    let dest = if dice.flag() { dice.coldkey() } else { dice.hotkey() }.into();
    let (value, keep_alive) = (dice.amount(), dice.flag());
    match dice.below(12) {
        0 => Call::transfer_all { dest, keep_alive },
        1..=3 => Call::transfer_keep_alive { dest, value },
        4 | 5 => Call::burn { value: value.min(1_000_000_000_000), keep_alive },
        6 => Call::upgrade_accounts { who: vec![dice.coldkey()] },
        _ => Call::transfer_allow_death { dest, value },
    }
}

fn of_hotkey(dice: &mut Dice<'_>, signer: &'static str) -> RuntimeCall {
    match dice.below(8) {
        0 | 1 => RuntimeCall::SubtensorModule(weights(dice)),
        2..=5 => RuntimeCall::SubtensorModule(commits(dice, signer)),
        6 => RuntimeCall::SubtensorModule(serving(dice)),
        _ => {
            let fields = match dice.below(3) {
                0 => vec![Data::Raw4([1; 4]), Data::ResetBondsFlag],
                1 => vec![Data::BigRaw(dice.bytes(200).try_into().expect("short"))],
                _ => {
                    let (sealed, reveal_round) = dice.sealed(signer);
                    let encrypted = sealed.into_inner().try_into().expect("short");
                    vec![Data::TimelockEncrypted { encrypted, reveal_round }]
                }
            };
            let info = CommitmentInfo { fields: fields.try_into().expect("few") };
            RuntimeCall::Commitments(commitments::Call::set_commitment { netuid: dice.netuid(), info })
        }
    }
}

fn weights(dice: &mut Dice<'_>) -> subtensor::Call<Runtime> {
    use subtensor::Call;
    let (netuid, mecid, (dests, weights)) = (dice.main_netuid(), dice.mecid(), dice.weights());
    let version_key = dice.pick(&[0, 0, 0, 5]);
    match dice.below(4) {
        0 => Call::set_weights { netuid, dests, weights, version_key },
        1 | 2 => Call::set_mechanism_weights { netuid, mecid, dests, weights, version_key },
        _ => {
            let compact = |(uid, weight): (u16, u16)| (Compact(uid), Compact(weight));
            Call::batch_set_weights {
                netuids: vec![Compact(netuid), Compact(dice.netuid())],
                weights: vec![dests.into_iter().zip(weights).map(compact).collect(), Vec::new()],
                version_keys: vec![Compact(version_key), Compact(0)],
            }
        }
    }
}

fn commits(dice: &mut Dice<'_>, signer: &'static str) -> subtensor::Call<Runtime> {
    use subtensor::Call;
    let (netuid, mecid) = (dice.main_netuid(), dice.mecid());
    let commit_reveal_version = dice.pick(&[4, 4, 4, 3]);
    if dice.facts.commits.iter().any(|(hotkey, ..)| *hotkey == account_of(signer)) && dice.flag() {
        return revealing(dice, signer);
    }
    match dice.below(9) {
        0 => Call::commit_weights { netuid, commit_hash: dice.commit(signer, netuid, MechId::MAIN) },
        1 => {
            Call::commit_mechanism_weights { netuid, mecid, commit_hash: dice.commit(signer, netuid, mecid) }
        }
        2 => Call::batch_commit_weights {
            netuids: vec![Compact(netuid), Compact(NetUid(9))],
            commit_hashes: vec![dice.commit(signer, netuid, MechId::MAIN), H256::zero()],
        },
        3..=5 => revealing(dice, signer),
        6 => {
            let (commit, reveal_round) = dice.sealed(signer);
            Call::commit_timelocked_weights { netuid, commit, reveal_round, commit_reveal_version }
        }
        7 => {
            let (commit, reveal_round) = dice.sealed(signer);
            Call::commit_timelocked_mechanism_weights {
                netuid,
                mecid,
                commit,
                reveal_round,
                commit_reveal_version,
            }
        }
        _ => {
            let (commit, reveal_round) = dice.sealed(signer);
            Call::commit_crv3_mechanism_weights { netuid, mecid, commit, reveal_round }
        }
    }
}

fn revealing(dice: &mut Dice<'_>, signer: &str) -> subtensor::Call<Runtime> {
    use subtensor::Call;
    match dice.below(3) {
        0 => {
            let (netuid, _, Reveal { uids, values, salt, version_key }) = dice.reveal(signer);
            Call::reveal_weights { netuid, uids, values, salt, version_key }
        }
        1 => {
            let (netuid, mecid, Reveal { uids, values, salt, version_key }) = dice.reveal(signer);
            Call::reveal_mechanism_weights { netuid, mecid, uids, values, salt, version_key }
        }
        _ => {
            let (netuid, _, Reveal { uids, values, salt, version_key }) = dice.reveal(signer);
            Call::batch_reveal_weights {
                netuid,
                uids_list: vec![uids],
                values_list: vec![values],
                salts_list: vec![salt],
                version_keys: vec![version_key],
            }
        }
    }
}

fn serving(dice: &mut Dice<'_>) -> subtensor::Call<Runtime> {
    use subtensor::Call;
    let (netuid, version) = (dice.netuid(), 1);
    let ip = dice.pick(&[0x7f00_0002, 0x0a00_0001, 0x7f00_0001, u128::MAX]);
    let (port, protocol) = (dice.number(), dice.byte());
    match dice.below(3) {
        0 => Call::serve_axon {
            netuid,
            version,
            ip,
            port,
            ip_type: 4,
            protocol,
            placeholder1: 0,
            placeholder2: 0,
        },
        1 => Call::serve_axon_tls {
            netuid,
            version,
            ip,
            port,
            ip_type: 4,
            protocol,
            placeholder1: 0,
            placeholder2: 0,
            certificate: dice.bytes(80),
        },
        _ => Call::serve_prometheus { netuid, version, ip, port, ip_type: 4 },
    }
}

fn of_sudo(dice: &mut Dice<'_>) -> RuntimeCall {
    let call = Box::new(match dice.below(12) {
        0 => {
            RuntimeCall::Commitments(commitments::Call::set_max_space { new_limit: u32::from(dice.number()) })
        }
        1 => RuntimeCall::BasilicaDevchain(marker::Call::set_beacon_paused { paused: dice.flag() }),
        2 => RuntimeCall::Balances(pallet_balances::Call::force_transfer {
            source: dice.coldkey().into(),
            dest: dice.coldkey().into(),
            value: dice.amount(),
        }),
        3 => RuntimeCall::Balances(pallet_balances::Call::force_unreserve {
            who: dice.coldkey().into(),
            amount: dice.amount(),
        }),
        _ => RuntimeCall::AdminUtils(setter(dice)),
    });
    RuntimeCall::Sudo(match dice.below(8) {
        0 => {
            let who = dice.pick(&COLDKEYS);
            let call = Box::new(of_coldkey_inside(dice, who));
            pallet_sudo::Call::sudo_as { who: account_of(who).into(), call }
        }
        1 => pallet_sudo::Call::sudo_unchecked_weight { call, weight: Default::default() },
        _ => pallet_sudo::Call::sudo { call },
    })
}

/// A coldkey's call that may stand inside of another: what a burn inside of a batch destroys cannot be told from outside.
fn of_coldkey_inside(dice: &mut Dice<'_>, signer: &str) -> RuntimeCall {
    match dice.below(3) {
        0 => RuntimeCall::SubtensorModule(joining(dice, signer)),
        1 => RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive {
            dest: dice.coldkey().into(),
            value: dice.amount(),
        }),
        _ => RuntimeCall::SubtensorModule(staking(dice, signer)),
    }
}

fn wrapped(dice: &mut Dice<'_>, signer: &'static str, depth: u32) -> RuntimeCall {
    let inner = |dice: &mut Dice<'_>| match dice.below(5) {
        0 if depth < DEPTH => wrapped(dice, signer, depth + 1),
        _ if COLDKEYS.contains(&signer) => of_coldkey_inside(dice, signer),
        _ => of_hotkey(dice, signer),
    };
    let calls: Vec<RuntimeCall> = (0..dice.below(4)).map(|_| inner(dice)).collect();
    RuntimeCall::Utility(match dice.below(5) {
        0 => pallet_utility::Call::batch { calls },
        1 => pallet_utility::Call::batch_all { calls },
        2 => pallet_utility::Call::force_batch { calls },
        // The account of the derivative has nothing.
        3 if dice.flag() => pallet_utility::Call::as_derivative { index: 0, call: Box::new(remark(dice)) },
        3 => pallet_utility::Call::as_derivative { index: 0, call: Box::new(inner(dice)) },
        _ => pallet_utility::Call::if_else { main: Box::new(inner(dice)), fallback: Box::new(inner(dice)) },
    })
}

#[rustfmt::skip]
fn setter(dice: &mut Dice<'_>) -> admin_utils::Call<Runtime> {
    use admin_utils::Call;
    let (netuid, number, amount, flag) = (dice.main_netuid(), dice.number(), dice.amount(), dice.flag());
    let (small, hotkey) = (dice.below(8), dice.hotkey());
    match dice.below(50) {
        0 => Call::sudo_set_serving_rate_limit { netuid, serving_rate_limit: small },
        1 => Call::sudo_set_weights_version_key { netuid, weights_version_key: small / 6 },
        2 => Call::sudo_set_weights_set_rate_limit { netuid, weights_set_rate_limit: small / 4 },
        3 => Call::sudo_set_immunity_period { netuid, immunity_period: number },
        4 => Call::sudo_set_min_allowed_weights { netuid, min_allowed_weights: u16::try_from(small / 2).expect("small") },
        5 => Call::sudo_set_max_allowed_uids { netuid, max_allowed_uids: 5 + u16::try_from(small).expect("small") },
        6 => Call::sudo_set_activity_cutoff { netuid, activity_cutoff: number },
        7 => Call::sudo_set_network_registration_allowed { netuid, registration_allowed: flag },
        8 => Call::sudo_set_max_allowed_validators { netuid, max_allowed_validators: number },
        9 => Call::sudo_set_tempo { netuid, tempo: u16::try_from(small).expect("small") },
        10 => Call::sudo_set_stake_threshold { min_stake: amount / 1_000 },
        11 | 12 => Call::sudo_set_commit_reveal_weights_enabled { netuid, enabled: flag },
        13 => Call::sudo_set_commit_reveal_weights_interval { netuid, interval: small },
        14 => Call::sudo_set_subtoken_enabled { netuid, subtoken_enabled: flag },
        15 => Call::sudo_set_commit_reveal_version { version: dice.pick(&[4, 4, 3]) },
        16 => Call::sudo_set_mechanism_count { netuid, mechanism_count: MechId(u8::from(flag) + 1) },
        17 => Call::sudo_set_mechanism_emission_split { netuid, maybe_split: flag.then(|| vec![number, !number]) },
        18 => Call::sudo_set_kappa { netuid, kappa: number },
        19 => Call::sudo_set_rho { netuid, rho: number },
        20 => Call::sudo_set_min_burn { netuid, min_burn: TaoBalance(amount / 1_000) },
        21 => Call::sudo_set_max_burn { netuid, max_burn: TaoBalance(amount) },
        22 => Call::sudo_set_bonds_moving_average { netuid, bonds_moving_average: amount % 1_000_000 },
        23 => Call::sudo_set_subnet_owner_cut { subnet_owner_cut: number },
        24 => Call::sudo_set_network_rate_limit { rate_limit: small },
        25 => Call::sudo_set_network_min_lock_cost { lock_cost: TaoBalance(MIN_LOCK_COST) },
        26 => Call::sudo_set_subnet_limit { max_subnets: number },
        27 => Call::sudo_set_lock_reduction_interval { interval: small },
        28 => Call::sudo_set_rao_recycled { netuid, rao_recycled: TaoBalance(amount) },
        29 => Call::sudo_set_bonds_penalty { netuid, bonds_penalty: number },
        30 => Call::sudo_set_toggle_transfer { netuid, toggle: flag },
        31 => Call::sudo_set_subnet_owner_hotkey { netuid, hotkey },
        32 => Call::sudo_set_sn_owner_hotkey { netuid, hotkey },
        33 => Call::sudo_set_owner_immune_neuron_limit { netuid, immune_neurons: number },
        34 => Call::sudo_set_min_non_immune_uids { netuid, min: number },
        35 => Call::sudo_set_collateral_lock_share { netuid, lock_share: number },
        36 => Call::sudo_set_collateral_drain_ratio { netuid, drain_ratio: FixedU128 { bits: u128::from(amount) << (small * 3) } },
        37 => Call::sudo_set_network_immunity_period { immunity_period: small },
        38 => Call::sudo_set_activity_cutoff_factor { netuid, factor_milli: 1_000 + u32::from(number) },
        39 => Call::sudo_set_epoch_consensus { netuid, mode: if flag { EpochConsensus::Yuma } else { EpochConsensus::Null } },
        40 => Call::sudo_set_admin_freeze_window { window: u16::try_from(small / 4).expect("small") },
        41 => Call::sudo_set_max_epochs_per_block { max_epochs_per_block: u8::from(flag) + 1 },
        42 => Call::sudo_set_tao_flow_smoothing_factor { smoothing_factor: amount },
        43 => Call::sudo_set_burn_half_life { netuid, burn_half_life: number },
        45 => Call::sudo_set_adjustment_interval { netuid, adjustment_interval: number },
        46 => Call::sudo_set_target_registrations_per_interval { netuid, target_registrations_per_interval: number },
        47 => Call::sudo_set_max_registrations_per_block { netuid, max_registrations_per_block: number },
        44 => Call::sudo_set_burn_increase_mult { netuid, burn_increase_mult: FixedU128 { bits: u128::from(small) << 63 } },
        _ => Call::sudo_set_recycle_or_burn { netuid, recycle_or_burn: if flag { RecycleOrBurnEnum::Burn } else { RecycleOrBurnEnum::Recycle } },
    }
}
