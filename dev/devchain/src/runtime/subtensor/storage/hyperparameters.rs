//! What a subnet's owner or the sudo key sets. Defaults are the public chain's, so that a subnet registered later behaves as it
//! would there.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod hyperparameters {
    #[pallet::type_value]
    pub fn DefaultTempo<T: Config>() -> u16 {
        T::InitialTempo::get()
    }

    #[pallet::type_value]
    pub fn DefaultRho() -> u16 {
        10
    }

    #[pallet::type_value]
    pub fn DefaultKappa() -> u16 {
        32_767
    }

    #[pallet::type_value]
    pub fn DefaultImmunityPeriod() -> u16 {
        4096
    }

    #[pallet::type_value]
    pub fn DefaultMaxU16() -> u16 {
        u16::MAX
    }

    #[pallet::type_value]
    pub fn DefaultMaxAllowedValidators() -> u16 {
        128
    }

    #[pallet::type_value]
    pub fn DefaultMinAllowedWeights<T: Config>() -> u16 {
        T::InitialMinAllowedWeights::get()
    }

    #[pallet::type_value]
    pub fn DefaultMaxAllowedUids<T: Config>() -> u16 {
        T::InitialMaxAllowedUids::get()
    }

    #[pallet::type_value]
    pub fn DefaultActivityCutoff() -> u16 {
        5000
    }

    #[pallet::type_value]
    pub fn DefaultServingRateLimit<T: Config>() -> u64 {
        T::InitialServingRateLimit::get()
    }

    #[pallet::type_value]
    pub fn DefaultMinBurn() -> TaoBalance {
        TaoBalance(500_000)
    }

    #[pallet::type_value]
    pub fn DefaultMaxBurn() -> TaoBalance {
        TaoBalance(100_000_000_000)
    }

    #[pallet::type_value]
    pub fn DefaultMinActivityCutoff() -> u16 {
        360
    }

    /// As many blocks as [`DefaultActivityCutoff`] at the default tempo.
    #[pallet::type_value]
    pub fn DefaultActivityCutoffFactorMilli() -> u32 {
        13_889
    }

    #[pallet::type_value]
    pub fn DefaultAdminFreezeWindow() -> u16 {
        10
    }

    #[pallet::type_value]
    pub fn DefaultMaxEpochsPerBlock() -> u8 {
        2
    }

    #[pallet::storage]
    pub type Tempo<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultTempo<T>>;
    #[pallet::storage]
    pub type Rho<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultRho>;
    #[pallet::storage]
    pub type Kappa<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultKappa>;
    #[pallet::storage]
    pub type ImmunityPeriod<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultImmunityPeriod>;
    #[pallet::storage]
    pub type MinAllowedWeights<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultMinAllowedWeights<T>>;
    #[pallet::storage]
    pub type MaxWeightsLimit<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultMaxU16>;
    #[pallet::storage]
    pub type MaxAllowedValidators<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultMaxAllowedValidators>;
    #[pallet::storage]
    pub type MaxAllowedUids<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultMaxAllowedUids<T>>;
    #[pallet::storage]
    pub type ActivityCutoff<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultActivityCutoff>;
    /// The least that an owner may set for [`ActivityCutoff`].
    #[pallet::storage]
    pub type MinActivityCutoff<T: Config> = StorageValue<_, u16, ValueQuery, DefaultMinActivityCutoff>;
    /// Blocks without an update after which a neuron is not active, in thousandths of the tempo; the newest runtimes go by this.
    #[pallet::storage]
    pub type ActivityCutoffFactorMilli<T: Config> =
        StorageMap<_, Identity, NetUid, u32, ValueQuery, DefaultActivityCutoffFactorMilli>;
    /// Blocks after which an epoch that an owner triggers runs.
    #[pallet::storage]
    pub type AdminFreezeWindow<T: Config> = StorageValue<_, u16, ValueQuery, DefaultAdminFreezeWindow>;
    /// Epochs that one block runs; what is due beyond waits a block.
    #[pallet::storage]
    pub type MaxEpochsPerBlock<T: Config> = StorageValue<_, u8, ValueQuery, DefaultMaxEpochsPerBlock>;
    #[pallet::storage]
    pub type ServingRateLimit<T: Config> =
        StorageMap<_, Identity, NetUid, u64, ValueQuery, DefaultServingRateLimit<T>>;
    #[pallet::storage]
    pub type MinBurn<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery, DefaultMinBurn>;
    #[pallet::storage]
    pub type MaxBurn<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery, DefaultMaxBurn>;
    #[pallet::storage]
    pub type SubnetEpochConsensus<T: Config> = StorageMap<_, Identity, NetUid, EpochConsensus, ValueQuery>;
    /// [`MaxAllowedValidators`] from before Null consensus, for the way back.
    #[pallet::storage]
    pub type SavedYumaMaxAllowedValidators<T: Config> = StorageMap<_, Identity, NetUid, u16, OptionQuery>;
}
