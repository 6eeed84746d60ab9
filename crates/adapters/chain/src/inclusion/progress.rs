//! How far the search for an extrinsic is, kept beyond the call that searches.
//!
//! A search that began anew with every error would never end on an endpoint that breaks more often than the life of an
//! extrinsic has blocks; a validator that comes back after an hour searches all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::PreparedWeights;
use basilica_types::Digest;
use subxt::config::substrate::H256;

/// Searches that are kept; a process follows one or two extrinsics at a time.
const KEPT: usize = 8;

/// A block that did not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) number: u64,
    /// It contains the extrinsic; only how that ended is not known.
    pub(super) included: bool,
}

/// How far one search is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The first block not searched.
    pub(super) next: u64,
    /// The newest block that was searched.
    pub(super) newest: Option<(u64, H256)>,
    /// The link it was last submitted on, and the finalised head then.
    pub(super) submitted: Option<(u64, u64)>,
    /// The link that was found to serve the chain that it was signed for.
    pub(super) same_chain: Option<u64>,
    /// The block at which this look ended, after the extrinsic's life.
    pub(super) unseen: Option<Unseen>,
}

impl Progress {
    fn of(prepared: &PreparedWeights) -> Self {
        let next = prepared.born.0.saturating_add(1);
        Self { next, newest: None, submitted: None, same_chain: None, unseen: None }
    }

    pub(super) fn searched(&mut self, number: u64, hash: H256) {
        // Another call may follow the same extrinsic.
        if number >= self.next {
            self.next = number.saturating_add(1);
            self.newest = Some((number, hash));
        }
    }

    pub(super) fn begin_again(&mut self, prepared: &PreparedWeights) {
        *self = Self::of(prepared);
    }
}

/// The progress of one search, shared by all that search.
pub(super) struct Shared(Mutex<Progress>);

impl Shared {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Progress) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Search = (Digest, Arc<Shared>);

/// The extrinsics that are being followed.
#[derive(Default)]
pub(crate) struct Followed(Mutex<VecDeque<Search>>);

impl Followed {
    pub(super) fn progress(&self, prepared: &PreparedWeights) -> Arc<Shared> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, progress)) = all.iter().find(|(hash, _)| *hash == prepared.hash) {
            return Arc::clone(progress);
        }
        if all.len() >= KEPT {
            all.pop_front();
        }
        let progress = Arc::new(Shared(Mutex::new(Progress::of(prepared))));
        all.push_back((prepared.hash, Arc::clone(&progress)));
        progress
    }

    pub(super) fn forget(&self, prepared: &PreparedWeights) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(hash, _)| *hash != prepared.hash);
    }
}

#[cfg(test)]
mod tests {
    use basilica_ports::Effect;
    use basilica_types::{BlockHash, BlockNumber, MechanismId, NetUid};

    use super::*;

    fn prepared(n: u8) -> PreparedWeights {
        PreparedWeights {
            extrinsic: vec![n],
            hash: Digest::from_bytes([n; 32]),
            nonce: 0,
            netuid: NetUid(39),
            mechanism: MechanismId(0),
            effect: Effect::Weights,
            genesis: BlockHash::from_bytes([0; 32]),
            born: BlockNumber(100),
            born_hash: BlockHash::from_bytes([1; 32]),
            dies: BlockNumber(131),
        }
    }

    #[test]
    fn a_search_goes_on_where_it_was_until_it_ended() {
        let followed = Followed::default();
        let search = followed.progress(&prepared(1));
        search.with(|progress| progress.searched(101, H256::zero()));
        search.with(|progress| progress.searched(102, H256::zero()));
        let next = |n| followed.progress(&prepared(n)).with(|progress| progress.next);
        assert_eq!((next(1), next(2)), (103, 101));
        search.with(|progress| progress.searched(101, H256::zero()));
        assert_eq!(next(1), 103, "never back");
        search.with(|progress| progress.begin_again(&prepared(1)));
        assert_eq!(next(1), 101);
        followed.forget(&prepared(1));
        assert!(!Arc::ptr_eq(&search, &followed.progress(&prepared(1))));
    }

    #[test]
    fn no_more_searches_are_kept_than_the_bound() {
        let followed = Followed::default();
        for n in 0..40 {
            followed.progress(&prepared(n));
        }
        assert_eq!(followed.0.lock().unwrap().len(), KEPT);
    }
}
