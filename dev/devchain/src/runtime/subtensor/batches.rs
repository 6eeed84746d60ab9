//! Weights and commits for several subnets in one call. An item that fails is told in an event and stops no other.

use codec::Compact;
use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use sp_core::H256;

use super::pallet::*;
use crate::runtime::newtypes::{MechId, NetUid};

impl<T: Config> Pallet<T> {
    pub(super) fn do_batch_set_weights(
        hotkey: T::AccountId,
        netuids: Vec<Compact<NetUid>>,
        weights: Vec<Vec<(Compact<u16>, Compact<u16>)>>,
        version_keys: Vec<Compact<u64>>,
    ) -> DispatchResult {
        ensure!(
            netuids.len() == weights.len() && netuids.len() == version_keys.len(),
            Error::<T>::InputLengthsUnequal
        );
        let results: Vec<DispatchResult> = netuids
            .iter()
            .zip(weights)
            .zip(version_keys)
            .map(|((netuid, weights), version_key)| {
                let (uids, values) = weights.into_iter().map(|(uid, value)| (uid.0, value.0)).unzip();
                Self::do_set_weights(&hotkey, netuid.0, MechId::MAIN, uids, values, version_key.0)
            })
            .collect();
        Self::tell_batch(hotkey, netuids, results);
        Ok(())
    }

    pub(super) fn do_batch_commit_weights(
        hotkey: T::AccountId,
        netuids: Vec<Compact<NetUid>>,
        commit_hashes: Vec<H256>,
    ) -> DispatchResult {
        ensure!(netuids.len() == commit_hashes.len(), Error::<T>::InputLengthsUnequal);
        let results: Vec<DispatchResult> = netuids
            .iter()
            .zip(commit_hashes)
            .map(|(netuid, hash)| Self::do_commit_weights(&hotkey, netuid.0, MechId::MAIN, hash))
            .collect();
        Self::tell_batch(hotkey, netuids, results);
        Ok(())
    }

    fn tell_batch(hotkey: T::AccountId, netuids: Vec<Compact<NetUid>>, results: Vec<DispatchResult>) {
        let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        if !errors.is_empty() {
            Self::deposit_event(Event::BatchCompletedWithErrors());
        }
        for error in errors {
            Self::deposit_event(Event::BatchWeightItemFailed(error));
        }
        Self::deposit_event(Event::BatchWeightsCompleted(netuids, hotkey));
    }
}
