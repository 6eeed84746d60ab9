//! The records of runtime APIs, read from storage.
//!
//! Figures of parts this chain does not have are what they would be there with the part unused: no proof-of-work
//! registration, no locks. Rank, trust and pruning score are read where the profile stores them; the newest runtimes do not
//! any more and answer with incentive for the rank and zeroes.

mod hyperparameters;
mod market;
mod metagraph;
mod neurons;
mod stakes;
mod subnets;

use codec::Compact;
use frame_support::traits::Get as _;

use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{MechId, NetUid, PerU16, TaoBalance};

/// The difficulty of proof-of-work registration, which this chain does not have, at the public chain's default.
const DIFFICULTY: u64 = 10_000_000;

/// What the newest runtimes no longer store, one entry per uid.
struct Scores {
    rank: Vec<PerU16>,
    trust: Vec<PerU16>,
    pruning: Vec<PerU16>,
}

fn compact_bytes(bytes: &[u8]) -> Vec<Compact<u8>> {
    bytes.iter().copied().map(Compact).collect()
}

fn at<V: Copy + Default>(values: &[V], uid: u16) -> V {
    values.get(usize::from(uid)).copied().unwrap_or_default()
}

fn compacts<V: Copy>(values: Vec<V>) -> Vec<Compact<V>> {
    values.into_iter().map(Compact).collect()
}

impl<T: Config> Pallet<T> {
    fn subnet_exists(netuid: NetUid) -> bool {
        NetworksAdded::<T>::get(netuid)
    }

    pub(super) fn hotkeys_of(netuid: NetUid) -> Vec<T::AccountId> {
        (0..SubnetworkN::<T>::get(netuid)).map(|uid| Keys::<T>::get(netuid, uid)).collect()
    }

    /// What its owner called it. One that only takes up its number is told as what it is.
    fn subnet_name(netuid: NetUid) -> Vec<u8> {
        let is_empty = !netuid.is_root() && SubnetworkN::<T>::get(netuid) == 0;
        match SubnetIdentitiesV3::<T>::get(netuid) {
            Some(identity) => identity.subnet_name,
            None if is_empty => b"empty".to_vec(),
            None => Vec::new(),
        }
    }

    fn scores(netuid: NetUid) -> Scores {
        if T::ModularEpochs::get() {
            let parts = |stored: Vec<u16>| stored.into_iter().map(PerU16::from_parts).collect();
            return Scores {
                rank: parts(Rank::<T>::get(netuid)),
                trust: parts(Trust::<T>::get(netuid)),
                pruning: parts(PruningScores::<T>::get(netuid)),
            };
        }
        let zeroes = vec![PerU16::zero(); usize::from(SubnetworkN::<T>::get(netuid))];
        let rank = Incentive::<T>::get(storage_index(netuid, MechId::MAIN));
        Scores { rank, trust: zeroes.clone(), pruning: zeroes }
    }

    /// The existing subnets in order.
    #[must_use]
    pub fn netuids() -> Vec<NetUid> {
        let mut netuids: Vec<NetUid> =
            NetworksAdded::<T>::iter().filter(|(_, added)| *added).map(|(netuid, _)| netuid).collect();
        netuids.sort_unstable();
        netuids
    }

    /// The price of one alpha in rao.
    #[must_use]
    pub fn alpha_price(netuid: NetUid) -> TaoBalance {
        if Self::subnet_exists(netuid) { TaoBalance(Self::market(netuid).price()) } else { TaoBalance::ZERO }
    }
}
