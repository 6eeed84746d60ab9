//! Stake and emission, in rao.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod stake {
    #[pallet::type_value]
    pub fn DefaultTaoWeight<T: Config>() -> u64 {
        T::InitialTaoWeight::get()
    }

    #[pallet::storage]
    pub type TotalHotkeyAlpha<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, NetUid, AlphaBalance, ValueQuery>;
    /// The weight of root stake in a validator's stake, as a fraction of `u64::MAX`.
    #[pallet::storage]
    pub type TaoWeight<T: Config> = StorageValue<_, u64, ValueQuery, DefaultTaoWeight<T>>;
    #[pallet::storage]
    pub type SubnetAlphaOut<T: Config> = StorageMap<_, Identity, NetUid, AlphaBalance, ValueQuery>;
    /// Alpha created for the subnet per block, in rao. The public chain computes it; here it is a genesis value.
    #[pallet::storage]
    pub type SubnetAlphaOutEmission<T: Config> = StorageMap<_, Identity, NetUid, AlphaBalance, ValueQuery>;
}
