//! What coldkeys have staked.

use std::collections::BTreeMap;

use codec::Compact;

use super::at;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::runtime::subtensor::info_types::{StakeAvailability, StakeInfo};
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

    /// What a coldkey has staked and may take away, by subnet; of all subnets if none are named. Subnets where it has nothing
    /// are left out.
    #[must_use]
    pub fn stake_availability(
        coldkey: &T::AccountId,
        netuids: Option<&[NetUid]>,
    ) -> BTreeMap<NetUid, StakeAvailability> {
        let netuids = netuids.map_or_else(Self::netuids, <[NetUid]>::to_vec);
        let hotkeys = StakingHotkeys::<T>::get(coldkey);
        let of = |netuid: NetUid| {
            let staked = |hotkey| Self::stake_of(hotkey, coldkey, netuid);
            let total = hotkeys.iter().map(staked).fold(AlphaBalance::ZERO, AlphaBalance::saturating_add);
            let locked = ColdkeyMinerCollateral::<T>::get(netuid, coldkey).min(total);
            let available = Compact(total.saturating_sub(locked));
            StakeAvailability { total: Compact(total), locked: Compact(locked), available }
        };
        netuids
            .into_iter()
            .map(|netuid| (netuid, of(netuid)))
            .filter(|(_, stake)| stake.total.0 > AlphaBalance::ZERO)
            .collect()
    }

    /// The fee of moving an amount from one place to another; nothing has no place to come from or to go to.
    #[must_use]
    pub fn stake_fee(origin: Option<NetUid>, destination: Option<NetUid>, amount: u64) -> u64 {
        Self::market(destination.or(origin).unwrap_or(NetUid::ROOT)).fee(amount)
    }

    /// The conviction of a subnet's hotkeys, with 64 fractional bits, of what coldkeys have locked for them.
    #[must_use]
    pub fn convictions(netuid: NetUid) -> BTreeMap<T::AccountId, u128> {
        let mut convictions = BTreeMap::new();
        for ((_, _, hotkey), lock) in Lock::<T>::iter().filter(|((_, of, _), _)| *of == netuid) {
            let sum: &mut u128 = convictions.entry(hotkey).or_default();
            *sum = sum.saturating_add(lock.conviction.bits);
        }
        convictions
    }
}
