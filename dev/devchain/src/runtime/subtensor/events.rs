//! What the pallet tells.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod events {
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Weights of the uid were stored under the mechanism's storage index.
        WeightsSet(NetUidStorageIndex, u16),
        /// (netuid, uid, hotkey) joined the subnet.
        NeuronRegistered(NetUid, u16, T::AccountId),
        /// The hotkey published its endpoint on the subnet.
        AxonServed(NetUid, T::AccountId),
    }
}
