//! Mechanisms: a subnet's separate games, each with its own weights, sharing neurons and emission.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::Get as _;

use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid};

/// Most mechanisms that storage indices have room for.
pub const MAX_MECHANISMS: u8 = 16;
/// Most neurons over all mechanisms of a subnet.
pub(crate) const MAX_UIDS_OVER_MECHANISMS: u16 = 256;

impl<T: Config> Pallet<T> {
    pub(crate) fn ensure_mechanism_exists(netuid: NetUid, mecid: MechId) -> DispatchResult {
        let exists = NetworksAdded::<T>::get(netuid) && mecid < MechanismCountCurrent::<T>::get(netuid);
        ensure!(exists, Error::<T>::MechanismDoesNotExist);
        Ok(())
    }

    /// Sets the number of mechanisms; those that go lose their weights, bonds and commits, and the split is even again.
    ///
    /// # Errors
    /// No such subnet, a count of 0 or above 16, or more uids over all mechanisms than a subnet may have.
    pub fn do_set_mechanism_count(netuid: NetUid, count: MechId) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::MechanismDoesNotExist);
        ensure!((1..=MAX_MECHANISMS).contains(&count.0), Error::<T>::InvalidValue);
        Self::ensure_uids_over_mechanisms(MaxAllowedUids::<T>::get(netuid), count)?;
        let before = MechanismCountCurrent::<T>::get(netuid);
        if before == count {
            return Ok(());
        }
        for gone in count.0..before.0 {
            Self::clear_mechanism(netuid, MechId(gone));
        }
        MechanismCountCurrent::<T>::insert(netuid, count);
        MechanismEmissionSplit::<T>::remove(netuid);
        Ok(())
    }

    /// Checks how many neurons all mechanisms of a subnet would have together; older runtimes do not ask.
    ///
    /// # Errors
    /// They are more than 256.
    pub(crate) fn ensure_uids_over_mechanisms(uids: u16, count: MechId) -> DispatchResult {
        let all = uids.saturating_mul(u16::from(count.0));
        let is_few = T::ModularEpochs::get() || all <= MAX_UIDS_OVER_MECHANISMS;
        ensure!(is_few, Error::<T>::TooManyUIDsPerMechanism);
        Ok(())
    }

    fn clear_mechanism(netuid: NetUid, mecid: MechId) {
        let index = storage_index(netuid, mecid);
        // The cursors are of no use: nothing limits the removal.
        let _ = Weights::<T>::clear_prefix(index, u32::MAX, None);
        let _ = Bonds::<T>::clear_prefix(index, u32::MAX, None);
        let _ = WeightCommits::<T>::clear_prefix(index, u32::MAX, None);
        let _ = TimelockedWeightCommits::<T>::clear_prefix(index, u32::MAX, None);
        Incentive::<T>::remove(index);
        LastUpdate::<T>::remove(index);
    }

    /// Sets how the mechanisms share the emission; `None` is evenly.
    ///
    /// # Errors
    /// No such subnet, not one part per mechanism, or parts that do not sum to 65,535.
    pub fn do_set_emission_split(netuid: NetUid, split: Option<Vec<u16>>) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::MechanismDoesNotExist);
        let Some(split) = split else {
            MechanismEmissionSplit::<T>::remove(netuid);
            return Ok(());
        };
        let count = usize::from(MechanismCountCurrent::<T>::get(netuid).0);
        ensure!(split.len() == count, Error::<T>::InvalidValue);
        let sum: u64 = split.iter().copied().map(u64::from).sum();
        ensure!(sum == u64::from(u16::MAX), Error::<T>::InvalidValue);
        MechanismEmissionSplit::<T>::insert(netuid, split);
        Ok(())
    }

    /// An emission in the mechanisms' shares, which sum to it exactly: what rounding leaves goes to mechanism 0.
    #[must_use]
    pub fn split_emission(netuid: NetUid, emission: AlphaBalance) -> Vec<AlphaBalance> {
        let count = MechanismCountCurrent::<T>::get(netuid).0.max(1);
        let split = MechanismEmissionSplit::<T>::get(netuid);
        let share = |part: u16| {
            let share = u128::from(emission.0) * u128::from(part) / u128::from(u16::MAX);
            AlphaBalance(u64::try_from(share).unwrap_or(emission.0))
        };
        let mut shares = match split.filter(|split| split.len() == usize::from(count)) {
            Some(split) => split.into_iter().map(share).collect(),
            None => vec![AlphaBalance(emission.0 / u64::from(count)); usize::from(count)],
        };
        let given = shares.iter().fold(0u64, |sum, share| sum.saturating_add(share.0));
        if let Some(first) = shares.first_mut() {
            *first = first.saturating_add(AlphaBalance(emission.0.saturating_sub(given)));
        }
        shares
    }
}
