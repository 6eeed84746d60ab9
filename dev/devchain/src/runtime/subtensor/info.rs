//! The records of runtime APIs, read from storage.
//!
//! Figures of parts this chain does not have are what they would be there with the part unused: no proof-of-work
//! registration, no locks. Rank, trust and pruning score are gone from the public
//! chain's newest storage and reported as it does: from incentive, as 0 and as emission order.

use codec::Compact;

use super::info_types::*;
use super::metagraph_types::newest::Metagraph;
use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, PerU16, TaoBalance};

/// Hyperparameters of mechanisms that this chain does not run, at the public chain's defaults.
const DIFFICULTY: u64 = 10_000_000;
const MAX_DIFFICULTY: u64 = u64::MAX / 4;
const ADJUSTMENT_INTERVAL: u16 = 100;
const ALPHA_HIGH: u16 = 58_982;
const ALPHA_LOW: u16 = 45_875;

fn compact_bytes(bytes: &[u8]) -> Vec<Compact<u8>> {
    bytes.iter().copied().map(Compact).collect()
}

fn at<V: Copy + Default>(values: &[V], uid: u16) -> V {
    values.get(usize::from(uid)).copied().unwrap_or_default()
}

fn compacts<V: Copy>(values: Vec<V>) -> Vec<Compact<V>> {
    values.into_iter().map(Compact).collect()
}

impl<T: Config> Pallet<T> {
    /// The price as a fraction of one TAO; the public chain averages it over months.
    fn price_fraction(netuid: NetUid) -> FixedI128 {
        let bits = (u128::from(Self::alpha_price(netuid).0) << 32) / u128::from(super::market::UNIT);
        FixedI128 { bits: i128::try_from(bits).unwrap_or(i128::MAX) }
    }

    fn subnet_exists(netuid: NetUid) -> bool {
        NetworksAdded::<T>::get(netuid)
    }

    fn hotkeys_of(netuid: NetUid) -> Vec<T::AccountId> {
        (0..SubnetworkN::<T>::get(netuid)).map(|uid| Keys::<T>::get(netuid, uid)).collect()
    }

    fn subnet_name(netuid: NetUid) -> Vec<u8> {
        SubnetIdentitiesV3::<T>::get(netuid).map_or_else(Vec::new, |identity| identity.subnet_name)
    }

    /// A neuron without its weights.
    #[must_use]
    pub fn neuron_lite(netuid: NetUid, uid: u16) -> Option<NeuronInfoLite<T::AccountId>> {
        if uid >= SubnetworkN::<T>::get(netuid) {
            return None;
        }
        let hotkey = Keys::<T>::get(netuid, uid);
        let coldkey = Owner::<T>::get(&hotkey);
        let index = storage_index(netuid, MechId::MAIN);
        let incentive = at(&Incentive::<T>::get(index), uid);
        Some(NeuronInfoLite {
            uid: Compact(uid),
            netuid: Compact(netuid),
            active: at(&Active::<T>::get(netuid), uid),
            axon_info: Axons::<T>::get(netuid, &hotkey).unwrap_or_default(),
            prometheus_info: Prometheus::<T>::get(netuid, &hotkey).unwrap_or_default(),
            stake: vec![(coldkey.clone(), Compact(TotalHotkeyAlpha::<T>::get(&hotkey, netuid)))],
            rank: Compact(incentive),
            emission: Compact(at(&Emission::<T>::get(netuid), uid)),
            incentive: Compact(incentive),
            consensus: Compact(at(&Consensus::<T>::get(netuid), uid)),
            trust: Compact(PerU16::zero()),
            validator_trust: Compact(at(&ValidatorTrust::<T>::get(netuid), uid)),
            dividends: Compact(at(&Dividends::<T>::get(netuid), uid)),
            last_update: Compact(at(&LastUpdate::<T>::get(index), uid)),
            validator_permit: at(&ValidatorPermit::<T>::get(netuid), uid),
            pruning_score: Compact(PerU16::zero()),
            hotkey,
            coldkey,
        })
    }

    /// A neuron with its weights.
    #[must_use]
    pub fn neuron(netuid: NetUid, uid: u16) -> Option<NeuronInfo<T::AccountId>> {
        let lite = Self::neuron_lite(netuid, uid)?;
        let index = storage_index(netuid, MechId::MAIN);
        let pairs = |row: Vec<(u16, u16)>| row.into_iter().map(|(a, b)| (Compact(a), Compact(b))).collect();
        Some(NeuronInfo {
            hotkey: lite.hotkey,
            coldkey: lite.coldkey,
            uid: lite.uid,
            netuid: lite.netuid,
            active: lite.active,
            axon_info: lite.axon_info,
            prometheus_info: lite.prometheus_info,
            stake: lite.stake,
            rank: lite.rank,
            emission: lite.emission,
            incentive: lite.incentive,
            consensus: lite.consensus,
            trust: lite.trust,
            validator_trust: lite.validator_trust,
            dividends: lite.dividends,
            last_update: lite.last_update,
            validator_permit: lite.validator_permit,
            weights: pairs(Weights::<T>::get(index, uid)),
            bonds: pairs(Bonds::<T>::get(index, uid)),
            pruning_score: lite.pruning_score,
        })
    }

    /// Every neuron without weights, by uid.
    #[must_use]
    pub fn neurons_lite(netuid: NetUid) -> Vec<NeuronInfoLite<T::AccountId>> {
        (0..SubnetworkN::<T>::get(netuid)).filter_map(|uid| Self::neuron_lite(netuid, uid)).collect()
    }

    /// Every neuron with weights, by uid.
    #[must_use]
    pub fn neurons(netuid: NetUid) -> Vec<NeuronInfo<T::AccountId>> {
        (0..SubnetworkN::<T>::get(netuid)).filter_map(|uid| Self::neuron(netuid, uid)).collect()
    }

    /// The subnet's market figures.
    #[must_use]
    pub fn dynamic_info(netuid: NetUid) -> Option<DynamicInfo<T::AccountId>> {
        Self::subnet_exists(netuid).then(|| DynamicInfo {
            netuid: Compact(netuid),
            owner_hotkey: SubnetOwnerHotkey::<T>::get(netuid),
            owner_coldkey: SubnetOwner::<T>::get(netuid),
            subnet_name: compact_bytes(&Self::subnet_name(netuid)),
            token_symbol: compact_bytes(&TokenSymbol::<T>::get(netuid)),
            tempo: Compact(Tempo::<T>::get(netuid)),
            last_step: Compact(LastMechansimStepBlock::<T>::get(netuid)),
            blocks_since_last_step: Compact(BlocksSinceLastStep::<T>::get(netuid)),
            emission: Compact(AlphaBalance(SubnetTaoInEmission::<T>::get(netuid).0)),
            alpha_in: Compact(SubnetAlphaIn::<T>::get(netuid)),
            alpha_out: Compact(SubnetAlphaOut::<T>::get(netuid)),
            tao_in: Compact(SubnetTAO::<T>::get(netuid)),
            alpha_out_emission: Compact(SubnetAlphaOutEmission::<T>::get(netuid)),
            alpha_in_emission: Compact(SubnetAlphaInEmission::<T>::get(netuid)),
            tao_in_emission: Compact(SubnetTaoInEmission::<T>::get(netuid)),
            pending_alpha_emission: Compact(
                PendingServerEmission::<T>::get(netuid)
                    .saturating_add(PendingValidatorEmission::<T>::get(netuid)),
            ),
            pending_root_emission: Compact(TaoBalance::ZERO),
            subnet_volume: Compact(SubnetVolume::<T>::get(netuid)),
            network_registered_at: Compact(NetworkRegisteredAt::<T>::get(netuid)),
            subnet_identity: SubnetIdentitiesV3::<T>::get(netuid),
            moving_price: Self::price_fraction(netuid),
        })
    }

    /// The market figures of every subnet, at the position of its netuid; holes are `None`.
    #[must_use]
    pub fn all_dynamic_info() -> Vec<Option<DynamicInfo<T::AccountId>>> {
        Self::netuids().into_iter().map(Self::dynamic_info).collect()
    }

    /// The existing subnets in order.
    #[must_use]
    pub fn netuids() -> Vec<NetUid> {
        let mut netuids: Vec<NetUid> =
            NetworksAdded::<T>::iter().filter(|(_, added)| *added).map(|(netuid, _)| netuid).collect();
        netuids.sort_unstable();
        netuids
    }

    /// The price of one alpha in rao.
    #[must_use]
    pub fn alpha_price(netuid: NetUid) -> TaoBalance {
        if Self::subnet_exists(netuid) { TaoBalance(Self::market(netuid).price()) } else { TaoBalance::ZERO }
    }

    /// What an amount of TAO would buy.
    #[must_use]
    pub fn sim_buy(netuid: NetUid, tao: TaoBalance) -> SimSwapResult {
        let bought = if Self::subnet_exists(netuid) { Self::market(netuid).buy(tao.0) } else { None };
        bought.map_or_else(SimSwapResult::default, |trade| SimSwapResult {
            tao_amount: tao,
            alpha_amount: AlphaBalance(trade.out),
            tao_fee: TaoBalance(trade.fee),
            alpha_fee: AlphaBalance::ZERO,
        })
    }

    /// What an amount of alpha would sell for.
    #[must_use]
    pub fn sim_sell(netuid: NetUid, alpha: AlphaBalance) -> SimSwapResult {
        let sold = if Self::subnet_exists(netuid) { Self::market(netuid).sell(alpha.0) } else { None };
        sold.map_or_else(SimSwapResult::default, |trade| SimSwapResult {
            tao_amount: TaoBalance(trade.out),
            alpha_amount: alpha,
            tao_fee: TaoBalance::ZERO,
            alpha_fee: AlphaBalance(trade.fee),
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
        let emission = Emission::<T>::get(netuid);
        let collateral: Vec<MinerCollateralState> = hotkeys
            .iter()
            .zip(&state.coldkeys)
            .map(|(hotkey, coldkey)| MinerCollateral::<T>::get((netuid, hotkey, coldkey)).unwrap_or_default())
            .collect();
        let dividends_of = |uid: u16, hotkey: &T::AccountId| {
            let earned = if at(&Dividends::<T>::get(netuid), uid).is_zero() {
                AlphaBalance::ZERO
            } else {
                at(&emission, uid)
            };
            (hotkey.clone(), Compact(earned))
        };
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
            activity_cutoff: Compact(u64::from(hyper.activity_cutoff.0)),
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
            alpha_dividends_per_hotkey: (0u16..)
                .zip(&hotkeys)
                .map(|(uid, hotkey)| dividends_of(uid, hotkey))
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
        let incentives = compacts(Incentive::<T>::get(index));
        let zeroes = vec![Compact(PerU16::zero()); hotkeys.len()];
        Some(SubnetState {
            netuid: Compact(netuid),
            coldkeys: hotkeys.iter().map(Owner::<T>::get).collect(),
            active: Active::<T>::get(netuid),
            validator_permit: ValidatorPermit::<T>::get(netuid),
            pruning_score: zeroes.clone(),
            last_update: compacts(LastUpdate::<T>::get(index)),
            emission: compacts(Emission::<T>::get(netuid)),
            dividends: compacts(Dividends::<T>::get(netuid)),
            rank: incentives.clone(),
            incentives,
            consensus: compacts(Consensus::<T>::get(netuid)),
            trust: zeroes,
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

    /// The subnet's hyperparameters.
    #[must_use]
    pub fn hyperparams(netuid: NetUid) -> Option<SubnetHyperparams> {
        Self::subnet_exists(netuid).then(|| SubnetHyperparams {
            rho: Compact(Rho::<T>::get(netuid)),
            kappa: Compact(Kappa::<T>::get(netuid)),
            immunity_period: Compact(ImmunityPeriod::<T>::get(netuid)),
            min_allowed_weights: Compact(MinAllowedWeights::<T>::get(netuid)),
            max_weights_limit: Compact(MaxWeightsLimit::<T>::get(netuid)),
            tempo: Compact(Tempo::<T>::get(netuid)),
            min_difficulty: Compact(DIFFICULTY),
            max_difficulty: Compact(MAX_DIFFICULTY),
            weights_version: Compact(WeightsVersionKey::<T>::get(netuid)),
            weights_rate_limit: Compact(WeightsSetRateLimit::<T>::get(netuid)),
            adjustment_interval: Compact(ADJUSTMENT_INTERVAL),
            activity_cutoff: Compact(ActivityCutoff::<T>::get(netuid)),
            registration_allowed: NetworkRegistrationAllowed::<T>::get(netuid),
            target_regs_per_interval: Compact(2),
            min_burn: Compact(MinBurn::<T>::get(netuid)),
            max_burn: Compact(MaxBurn::<T>::get(netuid)),
            bonds_moving_avg: Compact(BondsMovingAverage::<T>::get(netuid)),
            max_regs_per_block: Compact(1),
            serving_rate_limit: Compact(ServingRateLimit::<T>::get(netuid)),
            max_validators: Compact(MaxAllowedValidators::<T>::get(netuid)),
            adjustment_alpha: Compact(0),
            difficulty: Compact(DIFFICULTY),
            commit_reveal_period: Compact(RevealPeriodEpochs::<T>::get(netuid)),
            commit_reveal_weights_enabled: CommitRevealWeightsEnabled::<T>::get(netuid),
            alpha_high: Compact(ALPHA_HIGH),
            alpha_low: Compact(ALPHA_LOW),
            liquid_alpha_enabled: false,
        })
    }

    /// The subnet's hyperparameters, second version.
    #[must_use]
    pub fn hyperparams_v2(netuid: NetUid) -> Option<SubnetHyperparamsV2> {
        let first = Self::hyperparams(netuid)?;
        Some(SubnetHyperparamsV2 {
            rho: first.rho,
            kappa: first.kappa,
            immunity_period: first.immunity_period,
            min_allowed_weights: first.min_allowed_weights,
            max_weights_limit: first.max_weights_limit,
            tempo: first.tempo,
            min_difficulty: first.min_difficulty,
            max_difficulty: first.max_difficulty,
            weights_version: first.weights_version,
            weights_rate_limit: first.weights_rate_limit,
            adjustment_interval: first.adjustment_interval,
            activity_cutoff: first.activity_cutoff,
            registration_allowed: first.registration_allowed,
            target_regs_per_interval: first.target_regs_per_interval,
            min_burn: first.min_burn,
            max_burn: first.max_burn,
            bonds_moving_avg: first.bonds_moving_avg,
            max_regs_per_block: first.max_regs_per_block,
            serving_rate_limit: first.serving_rate_limit,
            max_validators: first.max_validators,
            adjustment_alpha: first.adjustment_alpha,
            difficulty: first.difficulty,
            commit_reveal_period: first.commit_reveal_period,
            commit_reveal_weights_enabled: first.commit_reveal_weights_enabled,
            alpha_high: first.alpha_high,
            alpha_low: first.alpha_low,
            liquid_alpha_enabled: first.liquid_alpha_enabled,
            alpha_sigmoid_steepness: FixedI64 { bits: 1000 << 32 },
            yuma_version: Compact(2),
            subnet_is_active: FirstEmissionBlockNumber::<T>::contains_key(netuid),
            transfers_enabled: true,
            bonds_reset_enabled: false,
            user_liquidity_enabled: false,
        })
    }

    /// The subnet's hyperparameters as named values; only those this chain keeps.
    #[must_use]
    pub fn hyperparams_v3(netuid: NetUid) -> Option<Vec<HyperparamEntry>> {
        use HyperparamValue::{Bool, TaoBalance, U16, U64};
        Self::subnet_exists(netuid).then(|| {
            [
                ("rho", U16(Rho::<T>::get(netuid))),
                ("kappa", U16(Kappa::<T>::get(netuid))),
                ("immunity_period", U16(ImmunityPeriod::<T>::get(netuid))),
                ("min_allowed_weights", U16(MinAllowedWeights::<T>::get(netuid))),
                ("max_weights_limit", U16(MaxWeightsLimit::<T>::get(netuid))),
                ("tempo", U16(Tempo::<T>::get(netuid))),
                ("weights_version", U64(WeightsVersionKey::<T>::get(netuid))),
                ("weights_rate_limit", U64(WeightsSetRateLimit::<T>::get(netuid))),
                ("activity_cutoff", U16(ActivityCutoff::<T>::get(netuid))),
                ("registration_allowed", Bool(NetworkRegistrationAllowed::<T>::get(netuid))),
                ("min_burn", TaoBalance(MinBurn::<T>::get(netuid))),
                ("max_burn", TaoBalance(MaxBurn::<T>::get(netuid))),
                ("serving_rate_limit", U64(ServingRateLimit::<T>::get(netuid))),
                ("max_validators", U16(MaxAllowedValidators::<T>::get(netuid))),
                ("commit_reveal_period", U64(RevealPeriodEpochs::<T>::get(netuid))),
                ("commit_reveal_weights_enabled", Bool(CommitRevealWeightsEnabled::<T>::get(netuid))),
            ]
            .into_iter()
            .map(|(name, value)| HyperparamEntry { name: name.as_bytes().to_vec(), value })
            .collect()
        })
    }

    /// The stake of a coldkey on a hotkey of a subnet.
    #[must_use]
    pub fn stake_info(
        hotkey: &T::AccountId,
        coldkey: &T::AccountId,
        netuid: NetUid,
    ) -> Option<StakeInfo<T::AccountId>> {
        let uid = Uids::<T>::get(netuid, hotkey);
        Self::subnet_exists(netuid).then(|| StakeInfo {
            hotkey: hotkey.clone(),
            coldkey: coldkey.clone(),
            netuid: Compact(netuid),
            stake: Compact(Self::stake_of(hotkey, coldkey, netuid)),
            locked: Compact(0),
            emission: Compact(uid.map_or(AlphaBalance::ZERO, |uid| at(&Emission::<T>::get(netuid), uid))),
            tao_emission: Compact(TaoBalance::ZERO),
            drain: Compact(0),
            is_registered: uid.is_some(),
        })
    }

    /// Every non-zero stake of a coldkey.
    #[must_use]
    pub fn stakes_of(coldkey: &T::AccountId) -> Vec<StakeInfo<T::AccountId>> {
        let netuids = Self::netuids();
        StakingHotkeys::<T>::get(coldkey)
            .iter()
            .flat_map(|hotkey| {
                netuids.iter().filter_map(move |netuid| Self::stake_info(hotkey, coldkey, *netuid))
            })
            .filter(|info| info.stake.0 > AlphaBalance::ZERO)
            .collect()
    }
}
