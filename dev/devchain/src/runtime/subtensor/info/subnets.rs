//! Subnets in short.

use codec::Compact;
use frame_support::PalletId;
use sp_runtime::traits::AccountIdConversion as _;

use super::DIFFICULTY;
use crate::runtime::newtypes::NetUid;
use crate::runtime::subtensor::info_types::{SubnetInfo, SubnetInfov2};
use crate::runtime::subtensor::pallet::*;

/// The name from which the accounts of subnets are derived.
const PALLET: PalletId = PalletId(*b"subtensr");

/// What the public chain answers for rules that it no longer has.
const SCALING_LAW_POWER: u16 = 50;

impl<T: Config> Pallet<T> {
    /// A subnet in short, with what it says of itself.
    #[must_use]
    pub fn subnet_info_v2(netuid: NetUid) -> Option<SubnetInfov2<T::AccountId>> {
        Self::subnet_exists(netuid).then(|| SubnetInfov2 {
            netuid: Compact(netuid),
            rho: Compact(Rho::<T>::get(netuid)),
            kappa: Compact(Kappa::<T>::get(netuid)),
            difficulty: Compact(DIFFICULTY),
            immunity_period: Compact(ImmunityPeriod::<T>::get(netuid)),
            max_allowed_validators: Compact(MaxAllowedValidators::<T>::get(netuid)),
            min_allowed_weights: Compact(MinAllowedWeights::<T>::get(netuid)),
            max_weights_limit: Compact(MaxWeightsLimit::<T>::get(netuid)),
            scaling_law_power: Compact(SCALING_LAW_POWER),
            subnetwork_n: Compact(SubnetworkN::<T>::get(netuid)),
            max_allowed_uids: Compact(MaxAllowedUids::<T>::get(netuid)),
            blocks_since_last_step: Compact(BlocksSinceLastStep::<T>::get(netuid)),
            tempo: Compact(Tempo::<T>::get(netuid)),
            network_modality: Compact(0),
            network_connect: Vec::new(),
            emission_value: Compact(SubnetTaoInEmission::<T>::get(netuid)),
            burn: Compact(Burn::<T>::get(netuid)),
            owner: SubnetOwner::<T>::get(netuid),
            identity: SubnetIdentitiesV3::<T>::get(netuid),
        })
    }

    /// A subnet in short.
    #[must_use]
    pub fn subnet_info(netuid: NetUid) -> Option<SubnetInfo<T::AccountId>> {
        Self::subnet_info_v2(netuid).map(|info| SubnetInfo {
            netuid: info.netuid,
            rho: info.rho,
            kappa: info.kappa,
            difficulty: info.difficulty,
            immunity_period: info.immunity_period,
            max_allowed_validators: info.max_allowed_validators,
            min_allowed_weights: info.min_allowed_weights,
            max_weights_limit: info.max_weights_limit,
            scaling_law_power: info.scaling_law_power,
            subnetwork_n: info.subnetwork_n,
            max_allowed_uids: info.max_allowed_uids,
            blocks_since_last_step: info.blocks_since_last_step,
            tempo: info.tempo,
            network_modality: info.network_modality,
            network_connect: info.network_connect,
            emission_values: info.emission_value,
            burn: info.burn,
            owner: info.owner,
        })
    }

    /// The subnet that would make room for another: the lowest price, of equal ones the oldest, among those that are no
    /// longer immune. This chain only tells; see [`super::super::subnets`].
    #[must_use]
    pub fn subnet_to_prune() -> Option<NetUid> {
        let (now, immunity) = (Self::block_now(), NetworkImmunityPeriod::<T>::get());
        Self::netuids()
            .into_iter()
            .filter(|netuid| !netuid.is_root())
            .map(|netuid| (Self::alpha_price(netuid), NetworkRegisteredAt::<T>::get(netuid), netuid))
            .filter(|(_, registered, _)| now >= registered.saturating_add(immunity))
            .min()
            .map(|(_, _, netuid)| netuid)
    }

    /// The account that stands for a subnet, if it exists. On the public chain it holds what is in the pool.
    #[must_use]
    pub fn subnet_account(netuid: NetUid) -> Option<T::AccountId> {
        Self::subnet_exists(netuid).then(|| PALLET.into_sub_account_truncating(netuid.0))
    }
}
