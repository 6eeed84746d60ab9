//! Who has staked what, what the pools hold, what is waiting for an epoch, and what the whole amounts to.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod economy {
    #[pallet::type_value]
    pub fn DefaultOwnerCut() -> u16 {
        11_796
    }

    #[pallet::type_value]
    pub fn DefaultTake() -> PerU16 {
        PerU16::from_parts(11_796)
    }

    #[pallet::type_value]
    pub fn DefaultBlockEmission() -> u64 {
        1_000_000_000
    }

    #[pallet::type_value]
    pub fn DefaultBondsMovingAverage() -> u64 {
        900_000
    }

    #[pallet::type_value]
    pub fn DefaultNetworkLockCost() -> TaoBalance {
        TaoBalance(1_000_000_000_000)
    }

    #[pallet::type_value]
    pub fn DefaultLockReductionInterval() -> u64 {
        100_800
    }

    #[pallet::type_value]
    pub fn DefaultNetworkRateLimit() -> u64 {
        7_200
    }

    #[pallet::type_value]
    pub fn DefaultSubnetLimit() -> u16 {
        128
    }

    #[pallet::type_value]
    pub fn DefaultImmuneOwnerUidsLimit() -> u16 {
        1
    }

    #[pallet::type_value]
    pub fn DefaultMinNonImmuneUids() -> u16 {
        10
    }

    #[pallet::type_value]
    pub fn DefaultBurnHalfLife() -> u16 {
        360
    }

    #[pallet::type_value]
    pub fn DefaultMaxRegistrationsPerBlock() -> u16 {
        1
    }

    #[pallet::type_value]
    pub fn DefaultTargetRegistrationsPerInterval() -> u16 {
        2
    }

    #[pallet::type_value]
    pub fn DefaultAdjustmentInterval() -> u16 {
        100
    }

    #[pallet::type_value]
    pub fn DefaultNetworkImmunityPeriod() -> u64 {
        1_296_000
    }

    #[pallet::type_value]
    pub fn DefaultFlowSmoothing() -> u64 {
        29_597_889_189_277
    }

    /// 1.26 with 64 fractional bits.
    #[pallet::type_value]
    pub fn DefaultBurnIncreaseMult() -> FixedU128 {
        FixedU128 { bits: 23_242_897_532_874_035_200 }
    }

    /// The shares of a coldkey in what is staked on a hotkey, with 64 fractional bits.
    #[pallet::storage]
    pub type Alpha<T: Config> = StorageNMap<
        _,
        (
            NMapKey<Blake2_128Concat, T::AccountId>,
            NMapKey<Blake2_128Concat, T::AccountId>,
            NMapKey<Identity, NetUid>,
        ),
        FixedU128,
        ValueQuery,
    >;
    /// All shares in what is staked on a hotkey.
    #[pallet::storage]
    pub type TotalHotkeyShares<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, NetUid, FixedU128, ValueQuery>;
    #[pallet::storage]
    pub type StakingHotkeys<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, Vec<T::AccountId>, ValueQuery>;
    /// The take of a delegate's owner from what its stakers earn.
    #[pallet::storage]
    pub type Delegates<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, PerU16, ValueQuery, DefaultTake>;

    /// Where a coldkey's neurons of a subnet have what they earn staked, in place of on themselves.
    #[pallet::storage]
    pub type AutoStakeDestination<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, NetUid, T::AccountId, OptionQuery>;
    /// The coldkeys whose neurons have what they earn staked on a hotkey.
    #[pallet::storage]
    pub type AutoStakeDestinationColdkeys<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, NetUid, Vec<T::AccountId>, ValueQuery>;
    /// What a coldkey wants for its stake on the root network.
    #[pallet::storage]
    pub type RootClaimType<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, RootClaimTypeEnum, ValueQuery>;

    /// TAO that was paid into a subnet's pool by stakers since the last block, less what was paid out, in rao.
    #[pallet::storage]
    pub type SubnetTaoFlow<T: Config> = StorageMap<_, Identity, NetUid, i64, ValueQuery>;
    /// The block and the moving average of [`SubnetTaoFlow`], in rao per block with 64 fractional bits.
    #[pallet::storage]
    pub type SubnetEmaTaoFlow<T: Config> = StorageMap<_, Identity, NetUid, (u64, FixedI128), OptionQuery>;
    /// How much a block's flow weighs in the moving average, in parts of `i64::MAX`.
    #[pallet::storage]
    pub type FlowEmaSmoothingFactor<T: Config> = StorageValue<_, u64, ValueQuery, DefaultFlowSmoothing>;

    #[pallet::storage]
    pub type SubnetTAO<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery>;
    #[pallet::storage]
    pub type SubnetAlphaIn<T: Config> = StorageMap<_, Identity, NetUid, AlphaBalance, ValueQuery>;
    #[pallet::storage]
    pub type SubnetVolume<T: Config> = StorageMap<_, Identity, NetUid, u128, ValueQuery>;
    #[pallet::storage]
    pub type SubnetLocked<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery>;
    #[pallet::storage]
    pub type TransferToggle<T: Config> = StorageMap<_, Identity, NetUid, bool, ValueQuery, DefaultTrue>;
    /// The TAO in all pools.
    #[pallet::storage]
    pub type TotalStake<T: Config> = StorageValue<_, TaoBalance, ValueQuery>;
    /// All TAO: the balances of accounts and the TAO in all pools, as of the block's end.
    #[pallet::storage]
    pub type TotalIssuance<T: Config> = StorageValue<_, TaoBalance, ValueQuery>;

    #[pallet::storage]
    pub type BlockEmission<T: Config> = StorageValue<_, u64, ValueQuery, DefaultBlockEmission>;
    #[pallet::storage]
    pub type SubnetTaoInEmission<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery>;
    #[pallet::storage]
    pub type SubnetAlphaInEmission<T: Config> = StorageMap<_, Identity, NetUid, AlphaBalance, ValueQuery>;
    #[pallet::storage]
    pub type PendingServerEmission<T: Config> = StorageMap<_, Identity, NetUid, AlphaBalance, ValueQuery>;
    #[pallet::storage]
    pub type PendingValidatorEmission<T: Config> = StorageMap<_, Identity, NetUid, AlphaBalance, ValueQuery>;
    #[pallet::storage]
    pub type PendingOwnerCut<T: Config> = StorageMap<_, Identity, NetUid, AlphaBalance, ValueQuery>;
    #[pallet::storage]
    pub type SubnetOwnerCut<T: Config> = StorageValue<_, u16, ValueQuery, DefaultOwnerCut>;
    #[pallet::storage]
    pub type RecycleOrBurn<T: Config> = StorageMap<_, Identity, NetUid, RecycleOrBurnEnum, ValueQuery>;
    #[pallet::storage]
    pub type RAORecycledForRegistration<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery>;

    #[pallet::storage]
    pub type BondsMovingAverage<T: Config> =
        StorageMap<_, Identity, NetUid, u64, ValueQuery, DefaultBondsMovingAverage>;
    #[pallet::storage]
    pub type BondsPenalty<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultMaxU16>;
    #[pallet::storage]
    pub type StakeWeight<T: Config> = StorageMap<_, Identity, NetUid, Vec<u16>, ValueQuery>;

    #[pallet::storage]
    pub type ImmuneOwnerUidsLimit<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultImmuneOwnerUidsLimit>;
    #[pallet::storage]
    pub type MinNonImmuneUids<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultMinNonImmuneUids>;
    /// Registrations that a block takes at most; the newest runtimes no longer ask.
    #[pallet::storage]
    pub type MaxRegistrationsPerBlock<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultMaxRegistrationsPerBlock>;
    /// A third of the registrations that an interval takes at most; the newest runtimes no longer ask.
    #[pallet::storage]
    pub type TargetRegistrationsPerInterval<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultTargetRegistrationsPerInterval>;
    /// Blocks of an interval.
    #[pallet::storage]
    pub type AdjustmentInterval<T: Config> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultAdjustmentInterval>;
    /// The block in which the last interval ended.
    #[pallet::storage]
    pub type LastAdjustmentBlock<T: Config> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type RegistrationsThisInterval<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery>;
    #[pallet::storage]
    pub type BurnRegistrationsThisInterval<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery>;
    #[pallet::storage]
    pub type RegistrationsThisBlock<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery>;
    /// Blocks in which the burn halves without registrations; 0 keeps it.
    #[pallet::storage]
    pub type BurnHalfLife<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, DefaultBurnHalfLife>;
    /// What each registration multiplies the burn with, with 64 fractional bits.
    #[pallet::storage]
    pub type BurnIncreaseMult<T: Config> =
        StorageMap<_, Identity, NetUid, FixedU128, ValueQuery, DefaultBurnIncreaseMult>;

    #[pallet::storage]
    pub type SubnetLimit<T: Config> = StorageValue<_, u16, ValueQuery, DefaultSubnetLimit>;
    #[pallet::storage]
    pub type NetworkMinLockCost<T: Config> = StorageValue<_, TaoBalance, ValueQuery, DefaultNetworkLockCost>;
    #[pallet::storage]
    pub type NetworkLastLockCost<T: Config> = StorageValue<_, TaoBalance, ValueQuery, DefaultNetworkLockCost>;
    #[pallet::storage]
    pub type NetworkLockReductionInterval<T: Config> =
        StorageValue<_, u64, ValueQuery, DefaultLockReductionInterval>;
    #[pallet::storage]
    pub type NetworkRateLimit<T: Config> = StorageValue<_, u64, ValueQuery, DefaultNetworkRateLimit>;
    /// Blocks during which a new subnet does not make room for another.
    #[pallet::storage]
    pub type NetworkImmunityPeriod<T: Config> =
        StorageValue<_, u64, ValueQuery, DefaultNetworkImmunityPeriod>;
}
