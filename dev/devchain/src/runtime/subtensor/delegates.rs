//! Hotkeys that take others' stake: those with a take in [`Delegates`], who has staked on them, and what that returns.

use std::collections::BTreeMap;

use codec::Compact;

use super::info_types::{DelegateInfo, Delegated};
use super::pallet::*;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};

/// Blocks of a day as the public chain counts them.
const BLOCKS_PER_DAY: u64 = 7_200;

impl<T: Config> Pallet<T> {
    /// Every delegate.
    #[must_use]
    pub fn delegates() -> Vec<DelegateInfo<T::AccountId>> {
        Delegates::<T>::iter_keys().map(|hotkey| Self::delegate_info(&hotkey)).collect()
    }

    /// One delegate, if the hotkey is one.
    #[must_use]
    pub fn delegate(hotkey: &T::AccountId) -> Option<DelegateInfo<T::AccountId>> {
        Delegates::<T>::contains_key(hotkey).then(|| Self::delegate_info(hotkey))
    }

    /// The delegates on which a coldkey has staked, once for each subnet.
    #[must_use]
    pub fn delegated_by(coldkey: &T::AccountId) -> Vec<Delegated<T::AccountId>> {
        Self::delegates()
            .into_iter()
            .flat_map(|delegate| {
                let own = delegate.nominators.iter().find(|(nominator, _)| nominator == coldkey);
                let stakes = own.map_or_else(Vec::new, |(_, stakes)| stakes.clone());
                stakes.into_iter().map(move |stake| (delegate.clone(), stake))
            })
            .collect()
    }

    /// What coldkeys have staked on a hotkey, by coldkey.
    fn nominators(hotkey: &T::AccountId) -> BTreeMap<T::AccountId, Vec<(NetUid, AlphaBalance)>> {
        let mut nominators = BTreeMap::<_, Vec<_>>::new();
        for (coldkey, netuid) in Alpha::<T>::iter_key_prefix((hotkey,)) {
            let staked = Self::stake_of(hotkey, &coldkey, netuid);
            if staked > AlphaBalance::ZERO {
                nominators.entry(coldkey).or_default().push((netuid, staked));
            }
        }
        nominators.values_mut().for_each(|stakes| stakes.sort_unstable());
        nominators
    }

    fn delegate_info(hotkey: &T::AccountId) -> DelegateInfo<T::AccountId> {
        let registered: Vec<(NetUid, u16)> = Self::netuids()
            .into_iter()
            .filter_map(|netuid| Uids::<T>::get(netuid, hotkey).map(|uid| (netuid, uid)))
            .collect();
        let permitted = |(netuid, uid): &(NetUid, u16)| {
            ValidatorPermit::<T>::get(netuid).get(usize::from(*uid)).copied().unwrap_or(false)
        };
        let nominators = Self::nominators(hotkey);
        let staked: u128 = nominators
            .values()
            .flatten()
            .map(|(netuid, alpha)| u128::from(Self::worth_of(*netuid, *alpha).0))
            .sum();
        let take = Delegates::<T>::get(hotkey).deconstruct();
        let daily: u128 = registered.iter().map(|(netuid, uid)| Self::daily_worth(*netuid, *uid)).sum();
        let left = daily.saturating_mul(u128::from(u16::MAX - take)) / u128::from(u16::MAX);
        let per_1000 = left.saturating_mul(1_000_000_000_000).checked_div(staked).unwrap_or(0);
        let narrow = |wide: u128| Compact(TaoBalance(u64::try_from(wide).unwrap_or(u64::MAX)));
        let compact = |stakes: Vec<(NetUid, AlphaBalance)>| {
            stakes.into_iter().map(|(netuid, alpha)| (Compact(netuid), Compact(alpha))).collect()
        };
        DelegateInfo {
            delegate_ss58: hotkey.clone(),
            take: Compact(take),
            nominators: nominators.into_iter().map(|(coldkey, stakes)| (coldkey, compact(stakes))).collect(),
            owner_ss58: Owner::<T>::get(hotkey),
            validator_permits: registered
                .iter()
                .filter(|place| permitted(place))
                .map(|(netuid, _)| Compact(*netuid))
                .collect(),
            registrations: registered.iter().map(|(netuid, _)| Compact(*netuid)).collect(),
            return_per_1000: narrow(per_1000),
            total_daily_return: narrow(daily),
        }
    }

    /// What alpha is worth in TAO at the subnet's price.
    fn worth_of(netuid: NetUid, alpha: AlphaBalance) -> TaoBalance {
        let price = u128::from(Self::alpha_price(netuid).0);
        let worth = u128::from(alpha.0).saturating_mul(price) / u128::from(super::market::UNIT);
        TaoBalance(u64::try_from(worth).unwrap_or(u64::MAX))
    }

    /// What a neuron earns in a day at its last epoch's rate, in rao of TAO.
    fn daily_worth(netuid: NetUid, uid: u16) -> u128 {
        let earned = Emission::<T>::get(netuid).get(usize::from(uid)).copied().unwrap_or(AlphaBalance::ZERO);
        let epochs = BLOCKS_PER_DAY.checked_div(u64::from(Tempo::<T>::get(netuid))).unwrap_or(0);
        u128::from(Self::worth_of(netuid, earned).0).saturating_mul(u128::from(epochs))
    }
}
