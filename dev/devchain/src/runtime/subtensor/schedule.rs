//! When epochs run, as owners and the sudo key set it: the tempo, an epoch out of turn, and what counts as active.
//!
//! Left out of the newest runtimes' rules: the window before an epoch in which owners may not set anything, and the
//! blocks an owner must wait between two settings.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::Get as _;

use super::MAX_TEMPO;
use super::pallet::*;
use crate::runtime::newtypes::NetUid;

/// The shortest tempo that an owner may set, in blocks.
const MIN_TEMPO: u64 = 360;
/// Bounds of [`ActivityCutoffFactorMilli`].
pub const ACTIVITY_CUTOFF_FACTORS: core::ops::RangeInclusive<u32> = 1_000..=50_000;

impl<T: Config> Pallet<T> {
    /// Blocks without an update after which a neuron is not active.
    #[must_use]
    pub fn activity_cutoff(netuid: NetUid) -> u64 {
        if T::ModularEpochs::get() {
            return u64::from(ActivityCutoff::<T>::get(netuid));
        }
        let factor = u64::from(ActivityCutoffFactorMilli::<T>::get(netuid));
        (factor.saturating_mul(u64::from(Tempo::<T>::get(netuid))) / 1_000).max(1)
    }

    /// Sets the tempo. In newer runtimes its cycle begins anew.
    pub(crate) fn set_tempo(netuid: NetUid, tempo: u16) {
        Tempo::<T>::insert(netuid, tempo);
        Self::deposit_event(Event::TempoSet(netuid, tempo));
        if !T::ModularEpochs::get() {
            LastEpochBlock::<T>::insert(netuid, Self::block_now());
        }
    }

    /// Checks a tempo that the subnet's owner wants.
    ///
    /// # Errors
    /// It is out of bounds; older runtimes leave the tempo to the sudo key.
    pub(crate) fn ensure_owners_tempo(tempo: u16) -> DispatchResult {
        ensure!(!T::ModularEpochs::get(), sp_runtime::DispatchError::BadOrigin);
        ensure!((MIN_TEMPO..=MAX_TEMPO).contains(&tempo.into()), Error::<T>::TempoOutOfBounds);
        Ok(())
    }

    pub(crate) fn set_activity_cutoff_factor(netuid: NetUid, factor_milli: u32) -> DispatchResult {
        let is_within = ACTIVITY_CUTOFF_FACTORS.contains(&factor_milli);
        ensure!(is_within, Error::<T>::ActivityCutoffFactorMilliOutOfBounds);
        ActivityCutoffFactorMilli::<T>::insert(netuid, factor_milli);
        Ok(())
    }

    /// Schedules an epoch in [`AdminFreezeWindow`] blocks.
    pub(super) fn do_trigger_epoch(owner: T::AccountId, netuid: NetUid) -> DispatchResult {
        let is_owner = NetworksAdded::<T>::get(netuid) && owner == SubnetOwner::<T>::get(netuid);
        ensure!(is_owner, sp_runtime::DispatchError::BadOrigin);
        let commits = CommitRevealWeightsEnabled::<T>::get(netuid);
        ensure!(!commits, Error::<T>::DynamicTempoBlockedByCommitReveal);
        ensure!(PendingEpochAt::<T>::get(netuid) == 0, Error::<T>::EpochTriggerAlreadyPending);
        let (now, window) = (Self::block_now(), u64::from(AdminFreezeWindow::<T>::get()));
        // A subnet without a tempo has no epochs of its own.
        let left = match u64::from(Tempo::<T>::get(netuid)) {
            0 => u64::MAX,
            tempo => LastEpochBlock::<T>::get(netuid).saturating_add(tempo).saturating_sub(now),
        };
        ensure!(left >= window, Error::<T>::AutoEpochAlreadyImminent);
        let fires_at = now.saturating_add(window);
        PendingEpochAt::<T>::insert(netuid, fires_at);
        Self::deposit_event(Event::EpochTriggered { netuid, by: owner, fires_at });
        Ok(())
    }
}
