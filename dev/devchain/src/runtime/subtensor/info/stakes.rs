//! What coldkeys have staked.

use codec::Compact;

use super::at;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::runtime::subtensor::info_types::StakeInfo;
use crate::runtime::subtensor::pallet::*;

impl<T: Config> Pallet<T> {
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
