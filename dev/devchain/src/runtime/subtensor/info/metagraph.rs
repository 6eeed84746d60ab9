//! A subnet with all its neurons, as columns.

use codec::Compact;

use super::compacts;
use crate::runtime::newtypes::{MechId, NetUid, TaoBalance};
use crate::runtime::subtensor::info_types::{MinerCollateralState, SubnetState};
use crate::runtime::subtensor::metagraph_types::newest::Metagraph;
use crate::runtime::subtensor::pallet::*;
use crate::runtime::subtensor::weights::storage_index;

impl<T: Config> Pallet<T> {
    /// The whole metagraphs of every mechanism of every subnet, in order.
    pub fn mechagraphs() -> impl Iterator<Item = Metagraph<T::AccountId>> {
        Self::netuids().into_iter().flat_map(|netuid| {
            let mechanisms = 0..MechanismCountCurrent::<T>::get(netuid).0;
            mechanisms.filter_map(move |mecid| Self::metagraph(netuid, MechId(mecid)))
        })
    }

    /// The whole metagraph of one mechanism.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line for each field of the chain's record")]
    pub fn metagraph(netuid: NetUid, mecid: MechId) -> Option<Metagraph<T::AccountId>> {
        let state = Self::subnet_state(netuid)?;
        if mecid >= MechanismCountCurrent::<T>::get(netuid) {
            return None;
        }
        let info = Self::dynamic_info(netuid)?;
        let hyper = Self::hyperparams(netuid)?;
        let index = storage_index(netuid, mecid);
        let hotkeys = state.hotkeys;
        let collateral: Vec<MinerCollateralState> = hotkeys
            .iter()
            .zip(&state.coldkeys)
            .map(|(hotkey, coldkey)| MinerCollateral::<T>::get((netuid, hotkey, coldkey)).unwrap_or_default())
            .collect();
        Some(Metagraph {
            netuid: Compact(NetUid(index.0)),
            name: info.subnet_name,
            symbol: info.token_symbol,
            identity: info.subnet_identity,
            network_registered_at: info.network_registered_at,
            owner_hotkey: info.owner_hotkey,
            owner_coldkey: info.owner_coldkey,
            block: Compact(Self::block_now()),
            tempo: info.tempo,
            last_step: info.last_step,
            blocks_since_last_step: info.blocks_since_last_step,
            subnet_emission: info.emission,
            alpha_in: info.alpha_in,
            alpha_out: info.alpha_out,
            tao_in: info.tao_in,
            alpha_out_emission: info.alpha_out_emission,
            alpha_in_emission: info.alpha_in_emission,
            tao_in_emission: info.tao_in_emission,
            pending_alpha_emission: info.pending_alpha_emission,
            pending_root_emission: info.pending_root_emission,
            subnet_volume: info.subnet_volume,
            moving_price: info.moving_price,
            rho: hyper.rho,
            kappa: hyper.kappa,
            min_allowed_weights: hyper.min_allowed_weights,
            max_weights_limit: hyper.max_weights_limit,
            weights_version: hyper.weights_version,
            weights_rate_limit: hyper.weights_rate_limit,
            activity_cutoff: Compact(Self::activity_cutoff(netuid)),
            max_validators: hyper.max_validators,
            num_uids: Compact(SubnetworkN::<T>::get(netuid)),
            max_uids: Compact(MaxAllowedUids::<T>::get(netuid)),
            burn: Compact(Burn::<T>::get(netuid)),
            difficulty: hyper.difficulty,
            registration_allowed: hyper.registration_allowed,
            pow_registration_allowed: false,
            immunity_period: hyper.immunity_period,
            min_difficulty: hyper.min_difficulty,
            max_difficulty: hyper.max_difficulty,
            min_burn: hyper.min_burn,
            max_burn: hyper.max_burn,
            adjustment_alpha: hyper.adjustment_alpha,
            adjustment_interval: hyper.adjustment_interval,
            target_regs_per_interval: hyper.target_regs_per_interval,
            max_regs_per_block: hyper.max_regs_per_block,
            serving_rate_limit: hyper.serving_rate_limit,
            commit_reveal_weights_enabled: hyper.commit_reveal_weights_enabled,
            commit_reveal_period: hyper.commit_reveal_period,
            liquid_alpha_enabled: hyper.liquid_alpha_enabled,
            alpha_high: hyper.alpha_high,
            alpha_low: hyper.alpha_low,
            bonds_moving_avg: hyper.bonds_moving_avg,
            identities: state.coldkeys.iter().map(IdentitiesV2::<T>::get).collect(),
            axons: hotkeys.iter().map(|hotkey| Axons::<T>::get(netuid, hotkey).unwrap_or_default()).collect(),
            active: state.active,
            validator_permit: state.validator_permit,
            pruning_score: state.pruning_score,
            last_update: compacts(LastUpdate::<T>::get(index)),
            emission: state.emission,
            dividends: state.dividends,
            incentives: state.incentives,
            consensus: state.consensus,
            trust: state.trust,
            rank: state.rank,
            block_at_registration: state.block_at_registration,
            alpha_stake: state.alpha_stake,
            tao_stake: state.tao_stake,
            total_stake: state.total_stake,
            tao_dividends_per_hotkey: hotkeys
                .iter()
                .map(|hotkey| (hotkey.clone(), Compact(TaoBalance::ZERO)))
                .collect(),
            alpha_dividends_per_hotkey: hotkeys
                .iter()
                .map(|hotkey| (hotkey.clone(), Compact(AlphaDividendsPerSubnet::<T>::get(netuid, hotkey))))
                .collect(),
            collateral_locked: collateral.iter().map(|state| Compact(state.locked)).collect(),
            collateral_min: collateral.iter().map(|state| Compact(state.min_locked)).collect(),
            collateral_earned: collateral.iter().map(|state| Compact(state.earned)).collect(),
            coldkeys: state.coldkeys,
            hotkeys,
        })
    }

    /// The subnet's neurons as columns.
    #[must_use]
    pub fn subnet_state(netuid: NetUid) -> Option<SubnetState<T::AccountId>> {
        if !Self::subnet_exists(netuid) {
            return None;
        }
        let hotkeys = Self::hotkeys_of(netuid);
        let index = storage_index(netuid, MechId::MAIN);
        let uids = 0..SubnetworkN::<T>::get(netuid);
        let scores = Self::scores(netuid);
        Some(SubnetState {
            netuid: Compact(netuid),
            coldkeys: hotkeys.iter().map(Owner::<T>::get).collect(),
            active: Active::<T>::get(netuid),
            validator_permit: ValidatorPermit::<T>::get(netuid),
            pruning_score: compacts(scores.pruning),
            last_update: compacts(LastUpdate::<T>::get(index)),
            emission: compacts(Emission::<T>::get(netuid)),
            dividends: compacts(Dividends::<T>::get(netuid)),
            rank: compacts(scores.rank),
            incentives: compacts(Incentive::<T>::get(index)),
            consensus: compacts(Consensus::<T>::get(netuid)),
            trust: compacts(scores.trust),
            block_at_registration: uids
                .map(|uid| Compact(BlockAtRegistration::<T>::get(netuid, uid)))
                .collect(),
            alpha_stake: hotkeys
                .iter()
                .map(|hotkey| Compact(TotalHotkeyAlpha::<T>::get(hotkey, netuid)))
                .collect(),
            tao_stake: hotkeys
                .iter()
                .map(|hotkey| Compact(TaoBalance(Self::weighted_root_stake(hotkey))))
                .collect(),
            total_stake: hotkeys
                .iter()
                .map(|hotkey| Compact(TaoBalance(Self::stake_weight(hotkey, netuid))))
                .collect(),
            emission_history: Vec::new(),
            hotkeys,
        })
    }
}
