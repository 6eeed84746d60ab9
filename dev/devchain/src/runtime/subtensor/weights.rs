//! Setting weights: the checks in the chain's order, and the arithmetic with which weights are stored.
//!
//! The order of the checks is part of what clients see (the first failing check names the dispatch error), so it is one
//! function read from top to bottom. The arithmetic is pure and exact: what a validator reads back is
//! [`max_upscale`] of what it sent.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use sp_runtime::DispatchError;

use super::GLOBAL_MAX_SUBNET_COUNT;
use super::pallet::*;
use crate::runtime::newtypes::{MechId, NetUid, NetUidStorageIndex};

/// Scales weights so that the largest becomes 65,535, in the chain's truncated 32.32 fixed point.
///
/// With `max > 32,768` the ratio `65535/max` is truncated first and multiplied after; otherwise the product is
/// divided. Both round half up at the end. All zeroes stay zeroes.
#[must_use]
pub fn max_upscale(values: &[u16]) -> Vec<u16> {
    const ONE: u128 = 1 << 32;
    const HALF: u128 = 1 << 31;
    let top = u128::from(u16::MAX);
    let Some(max) = values.iter().copied().max().filter(|max| *max > 0).map(u128::from) else {
        return values.to_vec();
    };
    let ratio = top * ONE / max;
    let scale = |value: u128| -> u128 {
        let fixed = if max > 32_768 { value * ratio } else { value * top * ONE / max };
        (fixed + HALF) >> 32
    };
    values.iter().map(|value| u16::try_from(scale(u128::from(*value))).unwrap_or(u16::MAX)).collect()
}

/// Whether no single value is above `limit`/65,535 of the sum.
#[must_use]
pub fn within_max_share(values: &[u16], limit: u16) -> bool {
    let sum: u64 = values.iter().copied().map(u64::from).sum();
    let max = values.iter().copied().max().map_or(0, u64::from);
    limit == u16::MAX || sum == 0 || max * u64::from(u16::MAX) <= u64::from(limit) * sum
}

/// The storage index of a mechanism of a subnet; for mechanism 0 it equals the netuid.
#[must_use]
pub fn storage_index(netuid: NetUid, mecid: MechId) -> NetUidStorageIndex {
    let first = u16::from(mecid.0).saturating_mul(GLOBAL_MAX_SUBNET_COUNT);
    NetUidStorageIndex(first.saturating_add(netuid.0))
}

fn has_duplicates(uids: &[u16]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    uids.iter().any(|uid| !seen.insert(uid))
}

impl<T: Config> Pallet<T> {
    /// The current block, in the width the chain's own items use.
    #[must_use]
    pub fn block_now() -> u64 {
        sp_runtime::SaturatedConversion::saturated_into(frame_system::Pallet::<T>::block_number())
    }

    /// Alpha on the subnet plus the weighted root stake of a hotkey, in rao.
    #[must_use]
    pub fn stake_weight(hotkey: &T::AccountId, netuid: NetUid) -> u64 {
        TotalHotkeyAlpha::<T>::get(hotkey, netuid).0.saturating_add(Self::weighted_root_stake(hotkey))
    }

    /// Root stake × TaoWeight, in rao.
    #[must_use]
    pub fn weighted_root_stake(hotkey: &T::AccountId) -> u64 {
        let root = u128::from(TotalHotkeyAlpha::<T>::get(hotkey, NetUid::ROOT).0);
        let weighted = root * u128::from(TaoWeight::<T>::get()) / u128::from(u64::MAX);
        u64::try_from(weighted).unwrap_or(u64::MAX)
    }

    /// Whether the hotkey has the stake that setting weights needs; the subnet owner's hotkey always has.
    #[must_use]
    pub fn has_stake_for_weights(hotkey: &T::AccountId, netuid: NetUid) -> bool {
        SubnetOwnerHotkey::<T>::get(netuid) == *hotkey
            || Self::stake_weight(hotkey, netuid) >= StakeThreshold::<T>::get()
    }

    pub(super) fn do_set_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mecid: MechId,
        uids: Vec<u16>,
        values: Vec<u16>,
        version_key: u64,
    ) -> DispatchResult {
        ensure!(!CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealEnabled);
        Self::store_weights(hotkey, netuid, mecid, uids, values, version_key)
    }

    /// Checks weights that were set directly or revealed, and stores them.
    ///
    /// While weights must be committed, the commit was what the rate limit and the last update are about.
    pub(super) fn store_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mecid: MechId,
        uids: Vec<u16>,
        values: Vec<u16>,
        version_key: u64,
    ) -> DispatchResult {
        ensure!(!netuid.is_root(), Error::<T>::CanNotSetRootNetworkWeights);
        ensure!(uids.len() == values.len(), Error::<T>::WeightVecNotEqualSize);
        Self::ensure_mechanism_exists(netuid, mecid)?;
        let neurons = SubnetworkN::<T>::get(netuid);
        ensure!(uids.len() <= usize::from(neurons), Error::<T>::UidsLengthExceedUidsInSubNet);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        ensure!(Self::has_stake_for_weights(hotkey, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        let required_version = WeightsVersionKey::<T>::get(netuid);
        ensure!(
            required_version == 0 || version_key >= required_version,
            Error::<T>::IncorrectWeightVersionKey
        );
        let index = storage_index(netuid, mecid);
        let committed = CommitRevealWeightsEnabled::<T>::get(netuid);
        ensure!(
            committed || Self::weights_rate_limit_passed(netuid, index, uid),
            Error::<T>::SettingWeightsTooFast
        );
        let is_self_weight = uids == [uid];
        Self::ensure_may_weigh(hotkey, netuid, uid, is_self_weight)?;
        ensure!(!has_duplicates(&uids), Error::<T>::DuplicateUids);
        ensure!(uids.iter().all(|uid| *uid < neurons), Error::<T>::UidVecContainInvalidOne);
        let least = usize::from(MinAllowedWeights::<T>::get(netuid).min(neurons));
        ensure!(is_self_weight || uids.len() >= least, Error::<T>::WeightVecLengthIsLow);
        let stored = if Self::is_null(netuid) { values } else { max_upscale(&values) };
        let limit = MaxWeightsLimit::<T>::get(netuid);
        ensure!(is_self_weight || within_max_share(&stored, limit), Error::<T>::MaxWeightExceeded);

        Weights::<T>::insert(index, uid, uids.into_iter().zip(stored).collect::<Vec<_>>());
        if !committed {
            Self::touch_last_update(index, uid);
        }
        Self::deposit_event(Event::WeightsSet(index, uid));
        Ok(())
    }

    /// Whether the rate limit has passed since the uid's last update; registration counts as one, 0 is "never".
    pub(crate) fn weights_rate_limit_passed(netuid: NetUid, index: NetUidStorageIndex, uid: u16) -> bool {
        match LastUpdate::<T>::get(index).get(usize::from(uid)) {
            None | Some(0) => true,
            Some(last) => Self::block_now().saturating_sub(*last) >= WeightsSetRateLimit::<T>::get(netuid),
        }
    }

    fn ensure_may_weigh(
        hotkey: &T::AccountId,
        netuid: NetUid,
        uid: u16,
        is_self_weight: bool,
    ) -> Result<(), DispatchError> {
        let exempt = is_self_weight || SubnetOwnerHotkey::<T>::get(netuid) == *hotkey;
        let free_of_permit = exempt && !Self::is_null(netuid);
        ensure!(Self::has_permit(netuid, uid) || free_of_permit, Error::<T>::NeuronNoValidatorPermit);
        Ok(())
    }

    /// Records the current block as the uid's last update, growing the vector if the mechanism's is shorter.
    pub(super) fn touch_last_update(index: NetUidStorageIndex, uid: u16) {
        let now = Self::block_now();
        LastUpdate::<T>::mutate(index, |updates| {
            let position = usize::from(uid);
            if updates.len() <= position {
                updates.resize(position + 1, 0);
            }
            if let Some(update) = updates.get_mut(position) {
                *update = now;
            }
        });
    }
}
