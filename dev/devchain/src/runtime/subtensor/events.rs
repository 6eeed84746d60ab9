//! What the pallet tells. Numbers and fields are those of spec 365; an event that is younger has a number from 200.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod events {
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Weights of the uid were stored under the mechanism's storage index.
        #[codec(index = 5)]
        WeightsSet(NetUidStorageIndex, u16),
        /// (netuid, uid, hotkey) joined the subnet.
        #[codec(index = 6)]
        NeuronRegistered(NetUid, u16, T::AccountId),
        /// The hotkey published its endpoint on the subnet.
        #[codec(index = 28)]
        AxonServed(NetUid, T::AccountId),
        /// The hotkey committed a hash under the mechanism's storage index.
        #[codec(index = 79)]
        WeightsCommitted(T::AccountId, NetUidStorageIndex, H256),
        /// The hotkey revealed what it had committed under this hash.
        #[codec(index = 80)]
        WeightsRevealed(T::AccountId, NetUidStorageIndex, H256),
        /// The hotkey revealed several commits at once.
        #[codec(index = 81)]
        WeightsBatchRevealed(T::AccountId, NetUid, Vec<H256>),
        /// A batch of weights or commits was gone through.
        #[codec(index = 82)]
        BatchWeightsCompleted(Vec<Compact<NetUid>>, T::AccountId),
        /// Some items of the batch failed; each has a [`Event::BatchWeightItemFailed`].
        #[codec(index = 83)]
        BatchCompletedWithErrors(),
        /// Why one item of a batch failed.
        #[codec(index = 84)]
        BatchWeightItemFailed(DispatchError),
        /// The subnet's commits are revealed after this many epochs.
        #[codec(index = 94)]
        CommitRevealPeriodsSet(NetUid, u64),
        /// Weights of the subnet must be committed first, or no longer.
        #[codec(index = 95)]
        CommitRevealEnabled(NetUid, bool),
        /// Timelocked commits must name this version.
        #[codec(index = 100)]
        CommitRevealVersionSet(u16),
        /// The hotkey committed weights that open with this round of the beacon.
        #[codec(index = 101)]
        TimelockedWeightsCommitted(T::AccountId, NetUidStorageIndex, H256, u64),
        /// The chain opened a timelocked commit of the hotkey and stored its weights.
        #[codec(index = 102)]
        TimelockedWeightsRevealed(NetUidStorageIndex, T::AccountId),
    }
}
