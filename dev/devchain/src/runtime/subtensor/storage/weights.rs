//! Weights, commits, and the rules under which they are taken.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod weights {
    #[pallet::type_value]
    pub fn DefaultWeightsSetRateLimit() -> u64 {
        100
    }

    #[pallet::type_value]
    pub fn DefaultRevealPeriodEpochs() -> u64 {
        1
    }

    #[pallet::type_value]
    pub fn DefaultCommitRevealVersion() -> u16 {
        4
    }

    #[pallet::storage]
    pub type Weights<T: Config> =
        StorageDoubleMap<_, Identity, NetUidStorageIndex, Identity, u16, Vec<(u16, u16)>, ValueQuery>;
    #[pallet::storage]
    pub type Bonds<T: Config> =
        StorageDoubleMap<_, Identity, NetUidStorageIndex, Identity, u16, Vec<(u16, u16)>, ValueQuery>;
    #[pallet::storage]
    pub type LastUpdate<T: Config> = StorageMap<_, Identity, NetUidStorageIndex, Vec<u64>, ValueQuery>;
    #[pallet::storage]
    pub type WeightsVersionKey<T: Config> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type WeightsSetRateLimit<T: Config> =
        StorageMap<_, Identity, NetUid, u64, ValueQuery, DefaultWeightsSetRateLimit>;
    #[pallet::storage]
    pub type StakeThreshold<T: Config> = StorageValue<_, u64, ValueQuery>;
    #[pallet::storage]
    pub type CommitRevealWeightsEnabled<T: Config> =
        StorageMap<_, Identity, NetUid, bool, ValueQuery, DefaultTrue>;
    #[pallet::storage]
    pub type RevealPeriodEpochs<T: Config> =
        StorageMap<_, Twox64Concat, NetUid, u64, ValueQuery, DefaultRevealPeriodEpochs>;
    #[pallet::storage]
    pub type CommitRevealWeightsVersion<T: Config> =
        StorageValue<_, u16, ValueQuery, DefaultCommitRevealVersion>;

    /// Hash commits that are not revealed yet: (hash, epoch of the commit, block of the commit, unused), oldest first.
    #[pallet::storage]
    pub type WeightCommits<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        NetUidStorageIndex,
        Twox64Concat,
        T::AccountId,
        VecDeque<(H256, u64, u64, u64)>,
        OptionQuery,
    >;
    /// Timelocked commits by the epoch of the commit: (hotkey, block of the commit, ciphertext, round), oldest first.
    #[pallet::storage]
    pub type TimelockedWeightCommits<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        NetUidStorageIndex,
        Twox64Concat,
        u64,
        VecDeque<(T::AccountId, u64, Ciphertext, u64)>,
        ValueQuery,
    >;
}
