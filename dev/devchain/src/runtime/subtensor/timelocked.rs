//! Weights that are committed under a timelock: nobody can read them before the beacon signs the round, and the chain
//! opens them itself.
//!
//! Commits lie under the epoch in which they were made. At each block of the epoch that is one reveal period later, those
//! whose pulse is stored are opened and go through the checks of plain weights; those whose pulse is missing stay for the
//! next block. What is left after that epoch is dropped. A commit that does not open, or whose weights break a rule, is
//! dropped without an event, as on the public chain.

use std::collections::VecDeque;

use basilica_timelock::{OpenedPayload, RoundSignature, decrypt};
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::{ConstU32, Get as _};
use frame_support::{BoundedVec, ensure};
use sp_runtime::traits::{BlakeTwo256, Hash as _};

use super::commits::{MAX_UNREVEALED, hotkey_of};
use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::drand;
use crate::runtime::newtypes::{MechId, NetUid, NetUidStorageIndex};

/// An encrypted payload, as long as the public chain takes.
pub type Ciphertext = BoundedVec<u8, ConstU32<5_000>>;

impl<T: Config> Pallet<T> {
    /// Takes a commit: the ciphertext and its round, with the version that the caller's client has, if the call says it.
    pub(super) fn do_commit_timelocked(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mecid: MechId,
        (ciphertext, round): (Ciphertext, u64),
        version: Option<u16>,
    ) -> DispatchResult {
        Self::ensure_mechanism_exists(netuid, mecid)?;
        let index = storage_index(netuid, mecid);
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let version = version.unwrap_or(4);
        ensure!(version == CommitRevealWeightsVersion::<T>::get(), Error::<T>::IncorrectCommitRevealVersion);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        Self::ensure_may_commit(hotkey, netuid)?;
        ensure!(Self::weights_rate_limit_passed(netuid, index, uid), Error::<T>::CommittingWeightsTooFast);
        let mut epoch = Self::epoch_with_lookahead(netuid);
        if T::ModularEpochs::get() && Self::is_epoch_due(netuid) {
            // Older runtimes count the block of an epoch to the next one, for timelocked commits only.
            epoch = epoch.saturating_add(1);
        }
        let mut commits = TimelockedWeightCommits::<T>::get(index, epoch);
        let own = commits.iter().filter(|commit| commit.0 == *hotkey).count();
        ensure!(own < MAX_UNREVEALED, Error::<T>::TooManyUnrevealedCommits);

        let hash = BlakeTwo256::hash(&ciphertext);
        commits.push_back((hotkey.clone(), Self::block_now(), ciphertext, round));
        TimelockedWeightCommits::<T>::insert(index, epoch, commits);
        Self::deposit_event(Event::TimelockedWeightsCommitted(hotkey.clone(), index, hash, round));
        Self::touch_last_update(index, uid);
        Ok(())
    }

    /// Opens what can be opened in this block and drops what no longer can.
    pub(super) fn reveal_timelocked_commits(subnets: &[NetUid]) {
        for netuid in subnets.iter().copied() {
            let now = Self::epoch_with_lookahead(netuid);
            let Some(due) = now.checked_sub(RevealPeriodEpochs::<T>::get(netuid)) else { continue };
            for mecid in 0..MechanismCountCurrent::<T>::get(netuid).0 {
                Self::reveal_mechanism(netuid, MechId(mecid), due);
            }
        }
    }

    fn reveal_mechanism(netuid: NetUid, mecid: MechId, due: u64) {
        let index = storage_index(netuid, mecid);
        let expired: Vec<u64> =
            TimelockedWeightCommits::<T>::iter_key_prefix(index).filter(|epoch| *epoch < due).collect();
        for epoch in expired {
            TimelockedWeightCommits::<T>::remove(index, epoch);
        }
        let mut waiting = VecDeque::new();
        for (hotkey, block, ciphertext, round) in TimelockedWeightCommits::<T>::take(index, due) {
            match drand::Pulses::<T>::get(round) {
                None => waiting.push_back((hotkey, block, ciphertext, round)),
                Some(pulse) => Self::reveal_commit(&hotkey, netuid, mecid, &ciphertext, &pulse),
            }
        }
        if !waiting.is_empty() {
            TimelockedWeightCommits::<T>::insert(index, due, waiting);
        }
    }

    fn reveal_commit(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mecid: MechId,
        ciphertext: &[u8],
        pulse: &drand::Pulse,
    ) {
        let opened = RoundSignature::from_bytes(&pulse.signature)
            .and_then(|signature| decrypt(ciphertext, &signature))
            .and_then(|payload| OpenedPayload::open(&payload, &hotkey_of::<T>(hotkey)));
        let Ok(OpenedPayload { uids, values, version_key }) = opened else { return };
        // A block's hook is no extrinsic: nothing undoes what a failed setting wrote, so it must write nothing. It does
        // all its checks first.
        if Self::store_weights(hotkey, netuid, mecid, uids, values, version_key).is_ok() {
            Self::deposit_event(Event::TimelockedWeightsRevealed(
                storage_index(netuid, mecid),
                hotkey.clone(),
            ));
        }
    }

    /// The rounds that stored commits wait for.
    pub(crate) fn awaited_rounds() -> Vec<u64> {
        let commits = |entry: (NetUidStorageIndex, u64, VecDeque<_>)| entry.2;
        TimelockedWeightCommits::<T>::iter()
            .flat_map(commits)
            .map(|(_, _, _, round): (T::AccountId, u64, Ciphertext, u64)| round)
            .collect()
    }
}
