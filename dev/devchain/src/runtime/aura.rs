//! A pallet in Aura's place: clients read the block time from its `SlotDuration` constant. Nobody authors slots here.
#![expect(missing_debug_implementations, reason = "the pallet macros generate the storage types")]

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use frame_support::pallet_prelude::*;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Milliseconds between blocks.
        #[pallet::constant]
        type SlotDuration: Get<u64>;
    }

    /// A number of slots since the Unix epoch.
    #[derive(
        Encode,
        Decode,
        DecodeWithMemTracking,
        MaxEncodedLen,
        TypeInfo,
        Clone,
        Copy,
        PartialEq,
        Eq,
        Debug,
        Default,
    )]
    pub struct Slot(pub u64);

    /// Time since the epoch divided by the slot duration.
    #[pallet::storage]
    pub type CurrentSlot<T: Config> = StorageValue<_, Slot, ValueQuery>;

    impl<T: Config> frame_support::traits::OnTimestampSet<u64> for Pallet<T> {
        fn on_timestamp_set(moment: u64) {
            CurrentSlot::<T>::put(Slot(moment / T::SlotDuration::get().max(1)));
        }
    }
}
