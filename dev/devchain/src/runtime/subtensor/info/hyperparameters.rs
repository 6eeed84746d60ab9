//! What rules a subnet, in the three versions that clients ask for.

use codec::Compact;

use super::DIFFICULTY;
use crate::runtime::newtypes::NetUid;
use crate::runtime::subtensor::info_types::*;
use crate::runtime::subtensor::pallet::*;

/// Hyperparameters of mechanisms that this chain does not run, at the public chain's defaults.
const MAX_DIFFICULTY: u64 = u64::MAX / 4;
const ALPHA_HIGH: u16 = 58_982;
const ALPHA_LOW: u16 = 45_875;

impl<T: Config> Pallet<T> {
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
            adjustment_interval: Compact(AdjustmentInterval::<T>::get(netuid)),
            activity_cutoff: Compact(u16::try_from(Self::activity_cutoff(netuid)).unwrap_or(u16::MAX)),
            registration_allowed: NetworkRegistrationAllowed::<T>::get(netuid),
            target_regs_per_interval: Compact(TargetRegistrationsPerInterval::<T>::get(netuid)),
            min_burn: Compact(MinBurn::<T>::get(netuid)),
            max_burn: Compact(MaxBurn::<T>::get(netuid)),
            bonds_moving_avg: Compact(BondsMovingAverage::<T>::get(netuid)),
            max_regs_per_block: Compact(MaxRegistrationsPerBlock::<T>::get(netuid)),
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
            transfers_enabled: TransferToggle::<T>::get(netuid),
            bonds_reset_enabled: false,
            user_liquidity_enabled: false,
        })
    }

    /// The subnet's hyperparameters as named values; only those this chain keeps.
    #[must_use]
    pub fn hyperparams_v3(netuid: NetUid) -> Option<Vec<HyperparamEntry>> {
        use HyperparamValue::{Bool, EpochConsensus, TaoBalance, U16, U32, U64, U64F64};
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
                ("activity_cutoff", U64(Self::activity_cutoff(netuid))),
                ("activity_cutoff_factor", U32(ActivityCutoffFactorMilli::<T>::get(netuid))),
                ("registration_allowed", Bool(NetworkRegistrationAllowed::<T>::get(netuid))),
                ("min_burn", TaoBalance(MinBurn::<T>::get(netuid))),
                ("max_burn", TaoBalance(MaxBurn::<T>::get(netuid))),
                ("serving_rate_limit", U64(ServingRateLimit::<T>::get(netuid))),
                ("max_validators", U16(MaxAllowedValidators::<T>::get(netuid))),
                ("commit_reveal_period", U64(RevealPeriodEpochs::<T>::get(netuid))),
                ("commit_reveal_weights_enabled", Bool(CommitRevealWeightsEnabled::<T>::get(netuid))),
                ("bonds_moving_avg", U64(BondsMovingAverage::<T>::get(netuid))),
                ("bonds_penalty", U16(BondsPenalty::<T>::get(netuid))),
                ("owner_immune_neuron_limit", U16(ImmuneOwnerUidsLimit::<T>::get(netuid))),
                ("max_allowed_uids", U16(MaxAllowedUids::<T>::get(netuid))),
                ("burn_half_life", U16(BurnHalfLife::<T>::get(netuid))),
                ("burn_increase_mult", U64F64(BurnIncreaseMult::<T>::get(netuid))),
                ("collateral_drain_ratio", U64F64(CollateralDrainRatio::<T>::get(netuid))),
                ("epoch_consensus", EpochConsensus(SubnetEpochConsensus::<T>::get(netuid))),
                ("collateral_lock_share", U16(CollateralLockShare::<T>::get(netuid))),
                ("subnet_is_active", Bool(FirstEmissionBlockNumber::<T>::contains_key(netuid))),
                ("transfers_enabled", Bool(TransferToggle::<T>::get(netuid))),
            ]
            .into_iter()
            .map(|(name, value)| HyperparamEntry { name: name.as_bytes().to_vec(), value })
            .collect()
        })
    }
}
