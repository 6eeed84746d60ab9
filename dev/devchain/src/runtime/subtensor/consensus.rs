//! Which consensus a subnet's epochs compute: Yuma, or the newest runtimes' Null, in which the holder of most stake decides
//! alone.
//!
//! Under Null there is one permit. Whoever has it is the only one to set, commit or reveal weights; neither the owner nor
//! a weight on oneself is exempt, and weights are stored as they were sent. Left out: that a subnet may hold more
//! neurons under Null, and how it is trimmed for the way back.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;

use super::info_types::EpochConsensus;
use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{MechId, NetUid};
use crate::yuma;

impl<T: Config> Pallet<T> {
    pub(super) fn is_null(netuid: NetUid) -> bool {
        SubnetEpochConsensus::<T>::get(netuid) == EpochConsensus::Null
    }

    /// Chooses what epochs compute from the next one on. Under Null all permits but one go at once.
    ///
    /// # Errors
    /// The root network, or timelocked commits that wait for their reveal.
    pub fn do_set_epoch_consensus(netuid: NetUid, mode: EpochConsensus) -> DispatchResult {
        ensure!(!netuid.is_root(), Error::<T>::InvalidValue);
        if SubnetEpochConsensus::<T>::get(netuid) == mode {
            return Ok(());
        }
        let has_commits = |mecid| {
            let index = storage_index(netuid, MechId(mecid));
            TimelockedWeightCommits::<T>::iter_key_prefix(index).next().is_some()
        };
        let waits = (0..MechanismCountCurrent::<T>::get(netuid).0).any(has_commits);
        ensure!(!waits, Error::<T>::InvalidValue);
        match mode {
            EpochConsensus::Null => Self::begin_null(netuid),
            EpochConsensus::Yuma => {
                if let Some(saved) = SavedYumaMaxAllowedValidators::<T>::take(netuid) {
                    MaxAllowedValidators::<T>::insert(netuid, saved);
                }
            }
        }
        SubnetEpochConsensus::<T>::insert(netuid, mode);
        Ok(())
    }

    fn begin_null(netuid: NetUid) {
        SavedYumaMaxAllowedValidators::<T>::insert(netuid, MaxAllowedValidators::<T>::get(netuid));
        MaxAllowedValidators::<T>::insert(netuid, 1);
        if !LastYumaStepBlock::<T>::contains_key(netuid) {
            LastYumaStepBlock::<T>::insert(netuid, LastMechansimStepBlock::<T>::get(netuid));
        }
        let hotkeys = Self::hotkeys_of(netuid);
        let neurons = Self::epoch_neurons(netuid, storage_index(netuid, MechId::MAIN), &hotkeys);
        let stakes = yuma::counted_stakes(&neurons, &Self::epoch_rules(netuid, Self::block_now()));
        let winner = yuma::null::decider(&stakes);
        let permits: Vec<bool> = (0..neurons.len()).map(|uid| winner == Some(uid)).collect();
        ValidatorPermit::<T>::insert(netuid, permits);
    }

    /// Under Null, refuses whoever has not the one permit.
    pub(super) fn ensure_may_commit(hotkey: &T::AccountId, netuid: NetUid) -> Result<(), Error<T>> {
        let permitted = || Uids::<T>::get(netuid, hotkey).is_some_and(|uid| Self::has_permit(netuid, uid));
        ensure!(!Self::is_null(netuid) || permitted(), Error::<T>::NeuronNoValidatorPermit);
        Ok(())
    }

    pub(super) fn has_permit(netuid: NetUid, uid: u16) -> bool {
        ValidatorPermit::<T>::get(netuid).get(usize::from(uid)).is_some_and(|permit| *permit)
    }
}
