//! The beacon's storage as clients read it. No pulse is written: this chain has commit-reveal off, and nothing reveals.
#![expect(
    missing_docs,
    missing_debug_implementations,
    reason = "the pallet macros generate undocumented items"
)]

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use frame_support::pallet_prelude::*;

    /// A beacon's parameters.
    #[derive(Encode, Decode, TypeInfo, Clone, PartialEq, Eq, Debug)]
    pub struct BeaconConfiguration {
        pub public_key: BoundedVec<u8, ConstU32<96>>,
        pub period: u32,
        pub genesis_time: u32,
        pub hash: BoundedVec<u8, ConstU32<32>>,
        pub group_hash: BoundedVec<u8, ConstU32<32>>,
        pub scheme_id: BoundedVec<u8, ConstU32<96>>,
        pub metadata: Metadata,
    }

    /// A beacon's name.
    #[derive(Encode, Decode, TypeInfo, Clone, PartialEq, Eq, Debug)]
    pub struct Metadata {
        pub beacon_id: BoundedVec<u8, ConstU32<32>>,
    }

    /// One published round.
    #[derive(Encode, Decode, TypeInfo, Clone, PartialEq, Eq, Debug)]
    pub struct Pulse {
        pub round: u64,
        pub randomness: BoundedVec<u8, ConstU32<32>>,
        pub signature: BoundedVec<u8, ConstU32<144>>,
    }

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config {}

    #[pallet::storage]
    pub type BeaconConfig<T: Config> = StorageValue<_, BeaconConfiguration, OptionQuery>;
    #[pallet::storage]
    pub type Pulses<T: Config> = StorageMap<_, Blake2_128Concat, u64, Pulse, OptionQuery>;
    #[pallet::storage]
    pub type LastStoredRound<T: Config> = StorageValue<_, u64, ValueQuery>;
    #[pallet::storage]
    pub type OldestStoredRound<T: Config> = StorageValue<_, u64, ValueQuery>;
}
