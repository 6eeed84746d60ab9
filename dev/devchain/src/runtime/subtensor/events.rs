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
    }
}
