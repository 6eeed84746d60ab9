//! The randomness beacon: on the public chain pulses of drand's quicknet, here of a beacon of this chain's own.
//!
//! Its secret is derived from [`BEACON_SEED`] and thereby public knowledge: whoever wants to can read every commit on a
//! development chain at once. Its key and clock are in [`pallet::BeaconConfig`], where clients that ask the chain find
//! them; clients that have quicknet built in can encrypt to it, but nothing here opens that.
//!
//! Pulses follow the chain's own clock: setting a block's timestamp stores the rounds published since the last one, in
//! every block mode and after any travel in time. A jump over more rounds than [`MAX_NEW`] stores the latest ones and
//! those that commits wait for. At most [`MAX_KEPT`] are kept, plus the ones that are waited for, because every block of
//! this chain copies and hashes its whole state; the public chain keeps a week of them.
#![expect(
    clippy::cast_possible_truncation,
    missing_docs,
    missing_debug_implementations,
    reason = "the pallet macros cast indices and generate undocumented items"
)]

use basilica_schedule::BeaconClock;
use basilica_timelock::{BeaconKey, BeaconSecret, Round};
use basilica_types::{Millis, Timestamp};
use frame_support::BoundedVec;
use frame_support::pallet_prelude::Get as _;
pub use pallet::*;

/// What the beacon's secret is made of.
pub const BEACON_SEED: &[u8] = b"basilica-devchain beacon: this secret is public knowledge";
/// Most rounds that one block stores for their newness.
pub const MAX_NEW: u64 = 50;
/// Most rounds that are kept although nobody waits for them.
pub const MAX_KEPT: u64 = 128;

/// The beacon's public key.
#[must_use]
pub fn development_key() -> BeaconKey {
    BeaconSecret::from_seed(BEACON_SEED).public()
}

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
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// The rounds that stored commits wait for.
        type AwaitedRounds: Get<Vec<u64>>;
        /// Whether the beacon is silent for now.
        type Paused: Get<bool>;
    }

    /// Before a chain has its own beacon: quicknet's parameters, which are the public chain's default.
    #[pallet::type_value]
    pub fn Quicknet() -> BeaconConfiguration {
        super::quicknet()
    }

    #[pallet::storage]
    pub type BeaconConfig<T: Config> = StorageValue<_, BeaconConfiguration, ValueQuery, Quicknet>;
    #[pallet::storage]
    pub type Pulses<T: Config> = StorageMap<_, Blake2_128Concat, u64, Pulse, OptionQuery>;
    #[pallet::storage]
    pub type LastStoredRound<T: Config> = StorageValue<_, u64, ValueQuery>;
    #[pallet::storage]
    pub type OldestStoredRound<T: Config> = StorageValue<_, u64, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Rounds were stored.
        #[codec(index = 1)]
        NewPulse { rounds: Vec<u64> },
    }

    impl<T: Config> frame_support::traits::OnTimestampSet<u64> for Pallet<T> {
        fn on_timestamp_set(moment: u64) {
            if !T::Paused::get() {
                Self::store_published(moment);
            }
        }
    }
}

fn bounded<const N: u32>(bytes: &[u8]) -> BoundedVec<u8, frame_support::traits::ConstU32<N>> {
    BoundedVec::truncate_from(bytes.to_vec())
}

fn quicknet() -> BeaconConfiguration {
    let hash = |text: &str| hex::decode(text).expect("the constant is hex");
    BeaconConfiguration {
        public_key: bounded(BeaconKey::quicknet().as_bytes()),
        period: 3,
        genesis_time: 1_692_803_367,
        hash: bounded(&hash("52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971")),
        group_hash: bounded(&hash("f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e")),
        scheme_id: bounded(b"bls-unchained-g1-rfc9380"),
        metadata: Metadata { beacon_id: bounded(b"quicknet") },
    }
}

impl<T: Config> Pallet<T> {
    /// Gives the chain its own beacon, with a round each `period` seconds since quicknet's genesis.
    pub fn install_development_beacon(period: u32) {
        BeaconConfig::<T>::put(BeaconConfiguration {
            public_key: bounded(development_key().as_bytes()),
            period,
            hash: bounded(&[0; 32]),
            group_hash: bounded(&[0; 32]),
            metadata: Metadata { beacon_id: bounded(b"basilica-devchain") },
            ..quicknet()
        });
    }

    /// When the chain's beacon publishes its rounds.
    #[must_use]
    pub fn clock() -> BeaconClock {
        let config = BeaconConfig::<T>::get();
        BeaconClock {
            genesis: Timestamp::from_secs(i64::from(config.genesis_time)),
            period: Millis(u64::from(config.period).saturating_mul(1_000)),
        }
    }

    /// Stores the pulses published up to `moment`, in milliseconds since the epoch.
    fn store_published(moment: u64) {
        let now = Timestamp(i64::try_from(moment).unwrap_or(i64::MAX));
        let Some(latest) = Self::clock().latest(now) else { return };
        let last = LastStoredRound::<T>::get();
        if latest <= last {
            return;
        }
        let first = last.saturating_add(1).max(latest.saturating_sub(MAX_NEW - 1));
        let awaited = T::AwaitedRounds::get();
        let mut rounds: Vec<u64> =
            awaited.iter().copied().filter(|round| (last + 1..first).contains(round)).collect();
        rounds.sort_unstable();
        rounds.dedup();
        rounds.extend(first..=latest);
        let secret = BeaconSecret::from_seed(BEACON_SEED);
        for round in &rounds {
            let signature = secret.sign(Round(*round));
            let pulse = Pulse {
                round: *round,
                randomness: bounded(&signature.randomness()),
                signature: bounded(signature.as_bytes()),
            };
            Pulses::<T>::insert(round, pulse);
        }
        LastStoredRound::<T>::put(latest);
        Self::prune(latest, &awaited);
        Self::deposit_event(Event::NewPulse { rounds });
    }

    fn prune(latest: u64, awaited: &[u64]) {
        let oldest = latest.saturating_sub(MAX_KEPT - 1).max(1);
        let stale: Vec<u64> =
            Pulses::<T>::iter_keys().filter(|round| *round < oldest && !awaited.contains(round)).collect();
        for round in stale {
            Pulses::<T>::remove(round);
        }
        let kept = Pulses::<T>::iter_keys().filter(|round| *round >= oldest).min();
        OldestStoredRound::<T>::put(kept.unwrap_or(latest));
    }
}
