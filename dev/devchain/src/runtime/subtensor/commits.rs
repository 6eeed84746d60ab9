//! Weights that are committed as a hash and revealed by their owner, and the epochs to which both belong.
//!
//! A commit of epoch `e` can be revealed in epoch `e` + reveal period only, neither before nor after. Within a block,
//! commits and reveals see an epoch that is due in it as already begun, which matters where an epoch is deferred.
//! In the legacy profile epochs follow from the block number, and a commit is stored with its block and the bounds of its
//! reveal instead of its epoch.

use std::collections::{BTreeMap, VecDeque};

use basilica_timelock::commit_hash;
use basilica_types::Hotkey;
use codec::Encode as _;
use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::Get as _;
use sp_core::H256;

use super::clock::ModularClock;
use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{MechId, NetUid, NetUidStorageIndex};

/// Commits of a hotkey that may wait for their reveal.
pub const MAX_UNREVEALED: usize = 10;
/// Bounds of the reveal period, in epochs.
pub const REVEAL_PERIODS: core::ops::RangeInclusive<u64> = 1..=100;

/// A queue of hash commits, oldest first: hash, epoch of the commit, block of the commit, unused; in the legacy profile
/// hash, block of the commit, first and last block of the reveal.
pub type HashCommits = VecDeque<(H256, u64, u64, u64)>;

/// What a reveal brings to light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reveal {
    /// Whom the weights are for.
    pub uids: Vec<u16>,
    /// The weights.
    pub values: Vec<u16>,
    /// What made the hash unguessable.
    pub salt: Vec<u16>,
    /// The validator's weights version.
    pub version_key: u64,
}

impl Reveal {
    /// The reveals of a batch, if its lists are of one length.
    #[must_use]
    pub fn zip(
        uids: Vec<Vec<u16>>,
        values: Vec<Vec<u16>>,
        salts: Vec<Vec<u16>>,
        versions: Vec<u64>,
    ) -> Option<Vec<Self>> {
        if [values.len(), salts.len(), versions.len()].iter().any(|length| *length != uids.len()) {
            return None;
        }
        let weights = uids.into_iter().zip(values);
        let rest = salts.into_iter().zip(versions);
        Some(
            weights
                .zip(rest)
                .map(|((uids, values), (salt, version_key))| Self { uids, values, salt, version_key })
                .collect(),
        )
    }

    /// The hash under which a hotkey commits to this.
    #[must_use]
    pub fn hash<T: Config>(&self, hotkey: &T::AccountId, index: NetUidStorageIndex) -> H256 {
        let weights = (self.uids.as_slice(), self.values.as_slice());
        H256(commit_hash(&hotkey_of::<T>(hotkey), index.0, weights, &self.salt, self.version_key))
    }
}

/// The account as the crates outside of FRAME have it.
pub(super) fn hotkey_of<T: Config>(account: &T::AccountId) -> Hotkey {
    let mut bytes = [0u8; 32];
    account.using_encoded(|encoded| {
        // An account id of this runtime encodes to exactly 32 bytes.
        for (to, from) in bytes.iter_mut().zip(encoded) {
            *to = *from;
        }
    });
    Hotkey::from_bytes(bytes)
}

impl<T: Config> Pallet<T> {
    /// The epoch to which commits and reveals of the current block belong.
    #[must_use]
    pub fn epoch_with_lookahead(netuid: NetUid) -> u64 {
        if T::ModularEpochs::get() {
            return Self::modular_clock(netuid).epoch_at(Self::block_now());
        }
        SubnetEpochIndex::<T>::get(netuid).saturating_add(u64::from(Self::is_epoch_due(netuid)))
    }

    /// The clock of the legacy profile.
    pub(super) fn modular_clock(netuid: NetUid) -> ModularClock {
        ModularClock { netuid: netuid.0, tempo: Tempo::<T>::get(netuid) }
    }

    /// Whether a stored commit can be revealed now; `dated` is its second field.
    #[must_use]
    pub fn is_reveal_epoch(netuid: NetUid, dated: u64) -> bool {
        Self::epoch_with_lookahead(netuid) == Self::reveal_epoch_of(netuid, dated)
    }

    fn is_commit_expired(netuid: NetUid, dated: u64) -> bool {
        Self::epoch_with_lookahead(netuid) > Self::reveal_epoch_of(netuid, dated)
    }

    fn reveal_epoch_of(netuid: NetUid, dated: u64) -> u64 {
        let epoch = if T::ModularEpochs::get() { Self::modular_clock(netuid).epoch_at(dated) } else { dated };
        epoch.saturating_add(RevealPeriodEpochs::<T>::get(netuid))
    }

    fn new_commit(netuid: NetUid, hash: H256) -> (H256, u64, u64, u64) {
        let now = Self::block_now();
        if !T::ModularEpochs::get() {
            return (hash, Self::epoch_with_lookahead(netuid), now, 0);
        }
        let clock = Self::modular_clock(netuid);
        let first = clock.first_block_of(Self::reveal_epoch_of(netuid, now));
        (hash, now, first, first.saturating_add(u64::from(clock.tempo)))
    }

    /// For each hotkey the earliest block of a commit, hashed or timelocked, that may still be revealed; none while commits
    /// are off.
    pub(super) fn open_commits(netuid: NetUid, index: NetUidStorageIndex) -> BTreeMap<T::AccountId, u64> {
        let mut earliest = BTreeMap::new();
        if !CommitRevealWeightsEnabled::<T>::get(netuid) {
            return earliest;
        }
        let by_block = T::ModularEpochs::get();
        let hashed = WeightCommits::<T>::iter_prefix(index).flat_map(|(hotkey, commits)| {
            let block_of = move |dated, block| if by_block { dated } else { block };
            commits
                .into_iter()
                .map(move |(_, dated, block, _)| (hotkey.clone(), dated, block_of(dated, block)))
        });
        let timelocked = TimelockedWeightCommits::<T>::iter_prefix(index).flat_map(|(epoch, commits)| {
            let dated = move |block| if by_block { block } else { epoch };
            commits.into_iter().map(move |(hotkey, block, _, _)| (hotkey, dated(block), block))
        });
        for (hotkey, dated, block) in hashed.chain(timelocked) {
            if !Self::is_commit_expired(netuid, dated) {
                let first = earliest.entry(hotkey).or_insert(block);
                *first = block.min(*first);
            }
        }
        earliest
    }

    /// Sets whether weights must be committed first.
    pub fn set_commit_reveal(netuid: NetUid, enabled: bool) {
        CommitRevealWeightsEnabled::<T>::insert(netuid, enabled);
        Self::deposit_event(Event::CommitRevealEnabled(netuid, enabled));
    }

    /// Sets after how many epochs commits are revealed.
    ///
    /// # Errors
    /// A period out of [`REVEAL_PERIODS`].
    pub fn set_reveal_period(netuid: NetUid, epochs: u64) -> DispatchResult {
        ensure!(epochs <= *REVEAL_PERIODS.end(), Error::<T>::RevealPeriodTooLarge);
        ensure!(epochs >= *REVEAL_PERIODS.start(), Error::<T>::RevealPeriodTooSmall);
        RevealPeriodEpochs::<T>::insert(netuid, epochs);
        Self::deposit_event(Event::CommitRevealPeriodsSet(netuid, epochs));
        Ok(())
    }

    /// Sets the version that timelocked commits must name.
    pub fn set_commit_reveal_version(version: u16) {
        CommitRevealWeightsVersion::<T>::put(version);
        Self::deposit_event(Event::CommitRevealVersionSet(version));
    }

    /// Takes expired commits off the front and returns their hashes.
    fn drop_expired(netuid: NetUid, commits: &mut HashCommits) -> Vec<H256> {
        let mut expired = Vec::new();
        while let Some((hash, epoch, _, _)) = commits.front() {
            if !Self::is_commit_expired(netuid, *epoch) {
                break;
            }
            expired.push(*hash);
            commits.pop_front();
        }
        expired
    }

    pub(super) fn do_commit_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mecid: MechId,
        commit_hash: H256,
    ) -> DispatchResult {
        Self::ensure_mechanism_exists(netuid, mecid)?;
        let index = storage_index(netuid, mecid);
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        Self::ensure_may_commit(hotkey, netuid)?;
        ensure!(Self::weights_rate_limit_passed(netuid, index, uid), Error::<T>::CommittingWeightsTooFast);
        let mut commits = WeightCommits::<T>::get(index, hotkey).unwrap_or_default();
        Self::drop_expired(netuid, &mut commits);
        ensure!(commits.len() < MAX_UNREVEALED, Error::<T>::TooManyUnrevealedCommits);

        commits.push_back(Self::new_commit(netuid, commit_hash));
        WeightCommits::<T>::insert(index, hotkey, commits);
        Self::deposit_event(Event::WeightsCommitted(hotkey.clone(), index, commit_hash));
        Self::touch_last_update(index, uid);
        Ok(())
    }

    pub(super) fn do_reveal_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mecid: MechId,
        reveal: Reveal,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        let index = storage_index(netuid, mecid);
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        Self::ensure_may_commit(hotkey, netuid)?;
        let mut commits = WeightCommits::<T>::get(index, hotkey).ok_or(Error::<T>::NoWeightsCommitFound)?;
        let expired = Self::drop_expired(netuid, &mut commits);
        let hash = reveal.hash::<T>(hotkey, index);
        let Some(position) = commits.iter().position(|commit| commit.0 == hash) else {
            return Err(Self::why_not_found(&commits, &expired, hash).into());
        };
        ensure!(Self::is_reveal_epoch(netuid, commits[position].1), Error::<T>::RevealTooEarly);
        // What was committed before it is superseded.
        commits.drain(..=position);
        Self::put_commits(index, hotkey, commits);
        let Reveal { uids, values, version_key, .. } = reveal;
        Self::store_weights(hotkey, netuid, mecid, uids, values, version_key)?;
        Self::deposit_event(Event::WeightsRevealed(hotkey.clone(), index, hash));
        Ok(())
    }

    fn why_not_found(commits: &HashCommits, expired: &[H256], hash: H256) -> Error<T> {
        if expired.contains(&hash) {
            Error::ExpiredWeightCommit
        } else if commits.is_empty() {
            Error::NoWeightsCommitFound
        } else {
            Error::InvalidRevealCommitHashNotMatch
        }
    }

    fn put_commits(index: NetUidStorageIndex, hotkey: &T::AccountId, commits: HashCommits) {
        if commits.is_empty() {
            WeightCommits::<T>::remove(index, hotkey);
        } else {
            WeightCommits::<T>::insert(index, hotkey, commits);
        }
    }

    pub(super) fn do_batch_reveal_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        reveals: Vec<Reveal>,
    ) -> DispatchResult {
        let index = storage_index(netuid, MechId::MAIN);
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        Self::ensure_may_commit(hotkey, netuid)?;
        let mut commits = WeightCommits::<T>::get(index, hotkey).ok_or(Error::<T>::NoWeightsCommitFound)?;
        let expired = Self::drop_expired(netuid, &mut commits);
        let absent = |hash: H256| match expired.contains(&hash) {
            true => Error::<T>::ExpiredWeightCommit,
            false => Error::<T>::InvalidRevealCommitHashNotMatch,
        };
        let hashes: Vec<H256> = reveals.iter().map(|reveal| reveal.hash::<T>(hotkey, index)).collect();
        for hash in &hashes {
            let commit = commits.iter().find(|commit| commit.0 == *hash).ok_or_else(|| absent(*hash))?;
            ensure!(Self::is_reveal_epoch(netuid, commit.1), Error::<T>::RevealTooEarly);
        }
        for (reveal, hash) in reveals.into_iter().zip(&hashes) {
            // A batch may name one commit twice; the second time it is gone.
            let position =
                commits.iter().position(|commit| commit.0 == *hash).ok_or_else(|| absent(*hash))?;
            commits.remove(position);
            let Reveal { uids, values, version_key, .. } = reveal;
            // The public chain calls its plain setter here, which a subnet with commit-reveal lets through.
            Self::store_weights(hotkey, netuid, MechId::MAIN, uids, values, version_key)?;
        }
        Self::put_commits(index, hotkey, commits);
        Self::deposit_event(Event::WeightsBatchRevealed(hotkey.clone(), netuid, hashes));
        Ok(())
    }
}
