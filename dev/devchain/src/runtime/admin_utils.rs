//! Setters of hyperparameters, for the sudo key. Names and indices are the public chain's.
#![expect(clippy::cast_possible_truncation, reason = "the pallet macros cast indices")]

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use frame_support::dispatch::DispatchClass;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    use crate::runtime::newtypes::{MechId, NetUid};
    use crate::runtime::subtensor;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config + subtensor::Config {}

    #[pallet::error]
    pub enum Error<T> {
        /// The subnet does not exist.
        #[codec(index = 0)]
        SubnetDoesNotExist,
        #[codec(index = 1)]
        MaxValidatorsLargerThanMaxUIds,
        #[codec(index = 2)]
        MaxAllowedUIdsLessThanCurrentUIds,
        #[codec(index = 3)]
        BondsMovingAverageMaxReached,
        #[codec(index = 4)]
        NegativeSigmoidSteepness,
        #[codec(index = 5)]
        ValueNotInBounds,
        #[codec(index = 6)]
        MinAllowedUidsGreaterThanCurrentUids,
        #[codec(index = 7)]
        MinAllowedUidsGreaterThanMaxAllowedUids,
        #[codec(index = 8)]
        MaxAllowedUidsLessThanMinAllowedUids,
        #[codec(index = 9)]
        MaxAllowedUidsGreaterThanDefaultMaxAllowedUids,
        /// A tempo of 0 would stop the subnet's epochs for good.
        #[codec(index = 10)]
        InvalidValue,
    }

    const FREE: (Weight, DispatchClass, Pays) =
        (Weight::from_parts(5_000_000, 0), DispatchClass::Operational, Pays::No);

    fn ensure_root_for<T: Config>(origin: OriginFor<T>, netuid: NetUid) -> DispatchResult {
        ensure_root(origin)?;
        ensure!(subtensor::NetworksAdded::<T>::get(netuid), Error::<T>::SubnetDoesNotExist);
        Ok(())
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Blocks between two changes of an endpoint.
        #[pallet::call_index(3)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_serving_rate_limit(
            origin: OriginFor<T>,
            netuid: NetUid,
            serving_rate_limit: u64,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::ServingRateLimit::<T>::insert(netuid, serving_rate_limit);
            Ok(())
        }

        /// Least version key of weights; 0 takes any.
        #[pallet::call_index(6)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_weights_version_key(
            origin: OriginFor<T>,
            netuid: NetUid,
            weights_version_key: u64,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::WeightsVersionKey::<T>::insert(netuid, weights_version_key);
            Ok(())
        }

        /// Blocks between two settings of weights.
        #[pallet::call_index(7)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_weights_set_rate_limit(
            origin: OriginFor<T>,
            netuid: NetUid,
            weights_set_rate_limit: u64,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::WeightsSetRateLimit::<T>::insert(netuid, weights_set_rate_limit);
            Ok(())
        }

        /// Blocks during which a new neuron cannot be replaced.
        #[pallet::call_index(13)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_immunity_period(
            origin: OriginFor<T>,
            netuid: NetUid,
            immunity_period: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::ImmunityPeriod::<T>::insert(netuid, immunity_period);
            Ok(())
        }

        /// Fewest weights of one setting.
        #[pallet::call_index(14)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_min_allowed_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            min_allowed_weights: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::MinAllowedWeights::<T>::insert(netuid, min_allowed_weights);
            Ok(())
        }

        /// How many neurons the subnet holds.
        #[pallet::call_index(15)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_max_allowed_uids(
            origin: OriginFor<T>,
            netuid: NetUid,
            max_allowed_uids: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::MaxAllowedUids::<T>::insert(netuid, max_allowed_uids);
            Ok(())
        }

        /// Blocks without an update after which a validator no longer counts.
        #[pallet::call_index(18)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_activity_cutoff(
            origin: OriginFor<T>,
            netuid: NetUid,
            activity_cutoff: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::ActivityCutoff::<T>::insert(netuid, activity_cutoff);
            Ok(())
        }

        /// Opens or closes registration.
        #[pallet::call_index(19)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_network_registration_allowed(
            origin: OriginFor<T>,
            netuid: NetUid,
            registration_allowed: bool,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::NetworkRegistrationAllowed::<T>::insert(netuid, registration_allowed);
            Ok(())
        }

        /// Permits per epoch.
        #[pallet::call_index(25)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_max_allowed_validators(
            origin: OriginFor<T>,
            netuid: NetUid,
            max_allowed_validators: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::MaxAllowedValidators::<T>::insert(netuid, max_allowed_validators);
            Ok(())
        }

        /// Blocks between epochs.
        #[pallet::call_index(30)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_tempo(origin: OriginFor<T>, netuid: NetUid, tempo: u16) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            ensure!(tempo != 0, Error::<T>::InvalidValue);
            subtensor::Tempo::<T>::insert(netuid, tempo);
            Ok(())
        }

        /// Least stake for a permit and for setting weights.
        #[pallet::call_index(42)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_stake_threshold(origin: OriginFor<T>, min_stake: u64) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::StakeThreshold::<T>::put(min_stake);
            Ok(())
        }

        /// Whether weights must be committed first.
        #[pallet::call_index(49)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_commit_reveal_weights_enabled(
            origin: OriginFor<T>,
            netuid: NetUid,
            enabled: bool,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::Pallet::<T>::set_commit_reveal(netuid, enabled);
            Ok(())
        }

        /// Epochs between a commit and its reveal, 1 to 100.
        #[pallet::call_index(57)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_commit_reveal_weights_interval(
            origin: OriginFor<T>,
            netuid: NetUid,
            interval: u64,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::Pallet::<T>::set_reveal_period(netuid, interval)
        }

        /// Whether alpha may be staked and moved.
        #[pallet::call_index(66)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_subtoken_enabled(
            origin: OriginFor<T>,
            netuid: NetUid,
            subtoken_enabled: bool,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::SubtokenEnabled::<T>::insert(netuid, subtoken_enabled);
            Ok(())
        }

        /// The version that timelocked commits must name.
        #[pallet::call_index(71)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_commit_reveal_version(origin: OriginFor<T>, version: u16) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::Pallet::<T>::set_commit_reveal_version(version);
            Ok(())
        }

        /// The number of a subnet's mechanisms.
        #[pallet::call_index(76)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_mechanism_count(
            origin: OriginFor<T>,
            netuid: NetUid,
            mechanism_count: MechId,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::Pallet::<T>::do_set_mechanism_count(netuid, mechanism_count)
        }

        /// How a subnet's mechanisms share its emission, in parts of 65,535; `None` is evenly.
        #[pallet::call_index(77)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_mechanism_emission_split(
            origin: OriginFor<T>,
            netuid: NetUid,
            maybe_split: Option<Vec<u16>>,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::Pallet::<T>::do_set_emission_split(netuid, maybe_split)
        }
    }
}
