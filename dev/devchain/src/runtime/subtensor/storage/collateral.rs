//! What miners have at stake beyond their stake. It came after spec 365.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod collateral {
    /// The part of a registration's price that becomes collateral, of 65,535.
    #[pallet::storage]
    pub type CollateralLockShare<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery>;
    /// One, with 64 fractional bits.
    #[pallet::type_value]
    pub fn DefaultDrainRatio() -> FixedU128 {
        FixedU128 { bits: 1 << 64 }
    }

    /// Alpha of collateral that one alpha of earned emission releases, for neurons that register from now on.
    #[pallet::storage]
    pub type CollateralDrainRatio<T: Config> =
        StorageMap<_, Identity, NetUid, FixedU128, ValueQuery, DefaultDrainRatio>;
    /// By subnet, hotkey and coldkey.
    #[pallet::storage]
    pub type MinerCollateral<T: Config> = StorageNMap<
        _,
        (
            NMapKey<Identity, NetUid>,
            NMapKey<Blake2_128Concat, T::AccountId>,
            NMapKey<Blake2_128Concat, T::AccountId>,
        ),
        MinerCollateralState,
        OptionQuery,
    >;
    /// All that a coldkey has locked on a subnet.
    #[pallet::storage]
    pub type ColdkeyMinerCollateral<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Blake2_128Concat, T::AccountId, AlphaBalance, ValueQuery>;
    /// The hotkeys of a subnet on which a coldkey has collateral.
    #[pallet::storage]
    pub type ColdkeyCollateralHotkeys<T: Config> = StorageDoubleMap<
        _,
        Identity,
        NetUid,
        Blake2_128Concat,
        T::AccountId,
        BoundedVec<T::AccountId, ConstU32<MAX_POSITIONS>>,
        ValueQuery,
    >;
    /// What a coldkey has locked for a hotkey of a subnet, by coldkey, subnet and hotkey. This chain has no call that locks, so
    /// there is never an entry; clients ask before they unstake.
    #[pallet::storage]
    pub type Lock<T: Config> = StorageNMap<
        _,
        (
            NMapKey<Blake2_128Concat, T::AccountId>,
            NMapKey<Identity, NetUid>,
            NMapKey<Blake2_128Concat, T::AccountId>,
        ),
        LockState,
        OptionQuery,
    >;
    /// Sums of the locks by subnet and hotkey, of those that stay and of those that decay; empty for the same reason.
    #[pallet::storage]
    pub type HotkeyLock<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Blake2_128Concat, T::AccountId, LockState, OptionQuery>;
    /// See [`HotkeyLock`].
    #[pallet::storage]
    pub type DecayingHotkeyLock<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Blake2_128Concat, T::AccountId, LockState, OptionQuery>;
    /// The same of the subnet's owner.
    #[pallet::storage]
    pub type OwnerLock<T: Config> = StorageMap<_, Identity, NetUid, LockState, OptionQuery>;
    /// See [`OwnerLock`].
    #[pallet::storage]
    pub type DecayingOwnerLock<T: Config> = StorageMap<_, Identity, NetUid, LockState, OptionQuery>;
    /// Blocks in which a lock would decay to 1/e, as the public chain has it: half in 90 days.
    #[pallet::type_value]
    pub fn DefaultLockRate() -> u64 {
        934_866
    }

    /// How fast locks decay.
    #[pallet::storage]
    pub type UnlockRate<T: Config> = StorageValue<_, u64, ValueQuery, DefaultLockRate>;
    /// How fast conviction grows.
    #[pallet::storage]
    pub type MaturityRate<T: Config> = StorageValue<_, u64, ValueQuery, DefaultLockRate>;
}
