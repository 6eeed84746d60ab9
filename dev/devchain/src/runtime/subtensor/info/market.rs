//! A subnet's market: what it holds, what a trade would do.

use codec::Compact;

use super::compact_bytes;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::runtime::subtensor::info_types::{DynamicInfo, FixedI128, SimSwapResult};
use crate::runtime::subtensor::market::UNIT;
use crate::runtime::subtensor::pallet::*;

impl<T: Config> Pallet<T> {
    /// The price as a fraction of one TAO; the public chain averages it over months.
    fn price_fraction(netuid: NetUid) -> FixedI128 {
        let bits = (u128::from(Self::alpha_price(netuid).0) << 32) / u128::from(UNIT);
        FixedI128 { bits: i128::try_from(bits).unwrap_or(i128::MAX) }
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

    /// The market figures of every subnet, in order, as the public chain lists them: a client that takes the position for the
    /// netuid is right only where no netuid is left out.
    #[must_use]
    pub fn all_dynamic_info() -> Vec<Option<DynamicInfo<T::AccountId>>> {
        Self::netuids().into_iter().map(Self::dynamic_info).collect()
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
}
