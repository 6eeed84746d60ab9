//! How a client knows beyond doubt that it talks to a development chain: the constant `BasilicaDevchain.Marker`.
//!
//! A validator accepts simulated GPUs only with its own consent **and** this constant (RULES R18), whose value is
//! [`MARKER`]. No public chain carries a pallet of this name. It also keeps the block time and the profile, so
//! that the genesis hash depends on them and a client's metadata cache, keyed by genesis, cannot show another chain's.
#![expect(
    clippy::cast_possible_truncation,
    missing_debug_implementations,
    reason = "the pallet macros cast indices and generate the storage types"
)]

pub use pallet::*;

/// The value of the constant `BasilicaDevchain.Marker`: its type in metadata is `[u8; 32]`, ASCII padded with zeroes.
pub const MARKER: [u8; 32] = *b"basilica-devchain/v1\0\0\0\0\0\0\0\0\0\0\0\0";

#[frame_support::pallet]
pub mod pallet {
    use frame_support::dispatch::DispatchClass;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Names this chain a development chain.
        #[pallet::constant]
        type Marker: Get<[u8; 32]>;
    }

    /// Milliseconds between blocks, fixed at genesis.
    #[pallet::storage]
    pub type BlockTime<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// Which generation of the public chain this chain looks like, fixed at genesis.
    #[pallet::storage]
    pub type Profile<T: Config> = StorageValue<_, crate::profile::Profile, ValueQuery>;
    /// Whether the randomness beacon is silent, as in an outage: no pulse is stored.
    #[pallet::storage]
    pub type BeaconPaused<T: Config> = StorageValue<_, bool, ValueQuery>;

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Silences the randomness beacon or lets it go on; what it missed, it publishes then.
        #[pallet::call_index(0)]
        #[pallet::weight((Weight::from_parts(5_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn set_beacon_paused(origin: OriginFor<T>, paused: bool) -> DispatchResult {
            ensure_root(origin)?;
            BeaconPaused::<T>::put(paused);
            Ok(())
        }
    }
}
