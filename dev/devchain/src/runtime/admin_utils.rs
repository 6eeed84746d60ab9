//! Setters of hyperparameters, for the sudo key, and some for the subnet's owner. Names, arguments, indices and bounds are
//! the public chain's, of those that set something this chain has.
//!
//! Left out: the window before an epoch in which owners may not set anything, and the rate limit of owners; with epochs every few
//! seconds either would close the setters for good.
#![expect(clippy::cast_possible_truncation, reason = "the pallet macros cast indices")]

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use frame_support::dispatch::DispatchClass;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    use crate::runtime::newtypes::{MechId, NetUid, TaoBalance};
    use crate::runtime::subtensor;
    use crate::runtime::subtensor::collateral::{MAX_DRAIN_RATIO, MAX_LOCK_SHARE};
    use crate::runtime::subtensor::info_types::{EpochConsensus, FixedU128, RecycleOrBurnEnum};
    use crate::runtime::subtensor::mechanisms::MAX_UIDS_OVER_MECHANISMS;
    use crate::runtime::subtensor::registration::{BURN_INCREASES, MAX_BURN_HALF_LIFE};

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
        /// The root network has no such thing.
        #[codec(index = 11)]
        NotPermittedOnRootSubnet,
        /// More than 95 % of the price would be locked.
        #[codec(index = 14)]
        CollateralLockShareTooHigh,
        /// The ratio is 0, so that nothing would ever be released, or above 10.
        #[codec(index = 15)]
        CollateralDrainRatioOutOfBounds,
    }

    const FREE: (Weight, DispatchClass, Pays) =
        (Weight::from_parts(5_000_000, 0), DispatchClass::Operational, Pays::No);

    fn ensure_root_for<T: Config>(origin: OriginFor<T>, netuid: NetUid) -> DispatchResult {
        ensure_root(origin)?;
        ensure!(subtensor::NetworksAdded::<T>::get(netuid), Error::<T>::SubnetDoesNotExist);
        Ok(())
    }

    /// Lets the sudo key and the subnet's owner pass.
    fn ensure_owner_or_root<T: Config>(origin: OriginFor<T>, netuid: NetUid) -> DispatchResult {
        ensure!(subtensor::NetworksAdded::<T>::get(netuid), Error::<T>::SubnetDoesNotExist);
        let caller = ensure_signed_or_root(origin)?;
        let is_allowed = caller.is_none_or(|who| who == subtensor::SubnetOwner::<T>::get(netuid));
        ensure!(is_allowed, DispatchError::BadOrigin);
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
            ensure_owner_or_root::<T>(origin, netuid)?;
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
            ensure_owner_or_root::<T>(origin, netuid)?;
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
            ensure_owner_or_root::<T>(origin, netuid)?;
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
            ensure_owner_or_root::<T>(origin, netuid)?;
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
            ensure_owner_or_root::<T>(origin, netuid)?;
            let neurons = subtensor::SubnetworkN::<T>::get(netuid);
            ensure!(max_allowed_uids >= neurons, Error::<T>::MaxAllowedUIdsLessThanCurrentUIds);
            let most = match T::ModularEpochs::get() {
                true => <T as subtensor::Config>::InitialMaxAllowedUids::get(),
                false => MAX_UIDS_OVER_MECHANISMS,
            };
            ensure!(max_allowed_uids <= most, Error::<T>::MaxAllowedUidsGreaterThanDefaultMaxAllowedUids);
            let mechanisms = subtensor::MechanismCountCurrent::<T>::get(netuid);
            subtensor::Pallet::<T>::ensure_uids_over_mechanisms(max_allowed_uids, mechanisms)?;
            subtensor::MaxAllowedUids::<T>::insert(netuid, max_allowed_uids);
            Ok(())
        }

        /// Blocks without an update after which a validator no longer counts; the newest runtimes go by the factor instead.
        #[pallet::call_index(18)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_activity_cutoff(
            origin: OriginFor<T>,
            netuid: NetUid,
            activity_cutoff: u16,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            let least = subtensor::MinActivityCutoff::<T>::get();
            ensure!(activity_cutoff >= least, subtensor::Error::<T>::ActivityCutoffTooLow);
            subtensor::ActivityCutoff::<T>::insert(netuid, activity_cutoff);
            Ok(())
        }

        /// Thousandths of the tempo without an update after which a validator no longer counts, 1,000 to 50,000.
        #[pallet::call_index(97)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_activity_cutoff_factor(
            origin: OriginFor<T>,
            netuid: NetUid,
            factor_milli: u32,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::Pallet::<T>::set_activity_cutoff_factor(netuid, factor_milli)
        }

        /// Which consensus the subnet's epochs compute.
        #[pallet::call_index(111)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_epoch_consensus(
            origin: OriginFor<T>,
            netuid: NetUid,
            mode: EpochConsensus,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::Pallet::<T>::do_set_epoch_consensus(netuid, mode)
        }

        /// Blocks after which an epoch that an owner triggers runs.
        #[pallet::call_index(74)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_admin_freeze_window(origin: OriginFor<T>, window: u16) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::AdminFreezeWindow::<T>::put(window);
            Ok(())
        }

        /// Epochs that one block runs.
        #[pallet::call_index(96)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_max_epochs_per_block(
            origin: OriginFor<T>,
            max_epochs_per_block: u8,
        ) -> DispatchResult {
            ensure_root(origin)?;
            ensure!(max_epochs_per_block >= 1, Error::<T>::ValueNotInBounds);
            subtensor::MaxEpochsPerBlock::<T>::put(max_epochs_per_block);
            Ok(())
        }

        /// How much a block's flow of TAO weighs in its moving average.
        #[pallet::call_index(83)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_tao_flow_smoothing_factor(
            origin: OriginFor<T>,
            smoothing_factor: u64,
        ) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::FlowEmaSmoothingFactor::<T>::put(smoothing_factor);
            Ok(())
        }

        /// Blocks of an interval of registration.
        #[pallet::call_index(8)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_adjustment_interval(
            origin: OriginFor<T>,
            netuid: NetUid,
            adjustment_interval: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::AdjustmentInterval::<T>::insert(netuid, adjustment_interval);
            Ok(())
        }

        /// A third of the registrations that an interval takes at most.
        #[pallet::call_index(21)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_target_registrations_per_interval(
            origin: OriginFor<T>,
            netuid: NetUid,
            target_registrations_per_interval: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::TargetRegistrationsPerInterval::<T>::insert(netuid, target_registrations_per_interval);
            Ok(())
        }

        /// Registrations that a block takes at most.
        #[pallet::call_index(27)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_max_registrations_per_block(
            origin: OriginFor<T>,
            netuid: NetUid,
            max_registrations_per_block: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::MaxRegistrationsPerBlock::<T>::insert(netuid, max_registrations_per_block);
            Ok(())
        }

        /// Blocks in which the price of registration halves, 1 to 36,100.
        #[pallet::call_index(89)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_burn_half_life(
            origin: OriginFor<T>,
            netuid: NetUid,
            burn_half_life: u16,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            ensure!(!netuid.is_root(), Error::<T>::NotPermittedOnRootSubnet);
            ensure!((1..=MAX_BURN_HALF_LIFE).contains(&burn_half_life), Error::<T>::InvalidValue);
            subtensor::BurnHalfLife::<T>::insert(netuid, burn_half_life);
            Ok(())
        }

        /// What a registration multiplies the price with, 1 to 3, with 64 fractional bits.
        #[pallet::call_index(90)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_burn_increase_mult(
            origin: OriginFor<T>,
            netuid: NetUid,
            burn_increase_mult: FixedU128,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            ensure!(!netuid.is_root(), Error::<T>::NotPermittedOnRootSubnet);
            ensure!(BURN_INCREASES.contains(&burn_increase_mult.bits), Error::<T>::InvalidValue);
            subtensor::BurnIncreaseMult::<T>::insert(netuid, burn_increase_mult);
            Ok(())
        }

        /// Opens or closes registration. An owner may open it on the newest runtimes; closing it would leave no way to
        /// register, since there is no proof of work here, and is the sudo key's alone.
        #[pallet::call_index(19)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_network_registration_allowed(
            origin: OriginFor<T>,
            netuid: NetUid,
            registration_allowed: bool,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin.clone(), netuid)?;
            if ensure_root(origin).is_err() {
                ensure!(!T::ModularEpochs::get(), DispatchError::BadOrigin);
                ensure!(registration_allowed, Error::<T>::InvalidValue);
            }
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
            let most = subtensor::MaxAllowedUids::<T>::get(netuid);
            ensure!(max_allowed_validators <= most, Error::<T>::MaxValidatorsLargerThanMaxUIds);
            subtensor::MaxAllowedValidators::<T>::insert(netuid, max_allowed_validators);
            Ok(())
        }

        /// Blocks between epochs; the owner's are 360 to 50,400, on the newest runtimes alone.
        #[pallet::call_index(30)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_tempo(origin: OriginFor<T>, netuid: NetUid, tempo: u16) -> DispatchResult {
            ensure_owner_or_root::<T>(origin.clone(), netuid)?;
            if ensure_root(origin).is_err() {
                subtensor::Pallet::<T>::ensure_owners_tempo(tempo)?;
            }
            ensure!(tempo != 0, Error::<T>::InvalidValue);
            subtensor::Pallet::<T>::set_tempo(netuid, tempo);
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
            ensure_owner_or_root::<T>(origin, netuid)?;
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
            ensure_owner_or_root::<T>(origin, netuid)?;
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
            ensure_owner_or_root::<T>(origin, netuid)?;
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
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::Pallet::<T>::do_set_emission_split(netuid, maybe_split)
        }

        /// The share of stake that must support a weight, in parts of 65,535.
        #[pallet::call_index(16)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_kappa(origin: OriginFor<T>, netuid: NetUid, kappa: u16) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::Kappa::<T>::insert(netuid, kappa);
            Ok(())
        }

        /// The steepness of the old trust; nothing reads it any more.
        #[pallet::call_index(17)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_rho(origin: OriginFor<T>, netuid: NetUid, rho: u16) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::Rho::<T>::insert(netuid, rho);
            Ok(())
        }

        /// The least price of registration.
        #[pallet::call_index(22)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_min_burn(
            origin: OriginFor<T>,
            netuid: NetUid,
            min_burn: TaoBalance,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            ensure!(min_burn <= subtensor::MaxBurn::<T>::get(netuid), Error::<T>::ValueNotInBounds);
            subtensor::MinBurn::<T>::insert(netuid, min_burn);
            Ok(())
        }

        /// The highest price of registration.
        #[pallet::call_index(23)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_max_burn(
            origin: OriginFor<T>,
            netuid: NetUid,
            max_burn: TaoBalance,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            ensure!(max_burn >= subtensor::MinBurn::<T>::get(netuid), Error::<T>::ValueNotInBounds);
            subtensor::MaxBurn::<T>::insert(netuid, max_burn);
            Ok(())
        }

        /// How much of old bonds an epoch keeps, in parts of 1,000,000.
        #[pallet::call_index(26)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_bonds_moving_average(
            origin: OriginFor<T>,
            netuid: NetUid,
            bonds_moving_average: u64,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            ensure!(bonds_moving_average <= 975_000, Error::<T>::BondsMovingAverageMaxReached);
            subtensor::BondsMovingAverage::<T>::insert(netuid, bonds_moving_average);
            Ok(())
        }

        /// The owners' part of what is created, in parts of 65,535.
        #[pallet::call_index(28)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_subnet_owner_cut(origin: OriginFor<T>, subnet_owner_cut: u16) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::SubnetOwnerCut::<T>::put(subnet_owner_cut);
            Ok(())
        }

        /// Blocks between two registrations of subnets.
        #[pallet::call_index(29)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_network_rate_limit(origin: OriginFor<T>, rate_limit: u64) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::NetworkRateLimit::<T>::put(rate_limit);
            Ok(())
        }

        /// The least cost of registering a subnet, and what its pool begins with.
        #[pallet::call_index(36)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_network_min_lock_cost(origin: OriginFor<T>, lock_cost: TaoBalance) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::NetworkMinLockCost::<T>::put(lock_cost);
            Ok(())
        }

        /// How many subnets there may be beside the root network.
        #[pallet::call_index(37)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_subnet_limit(origin: OriginFor<T>, max_subnets: u16) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::SubnetLimit::<T>::put(max_subnets);
            Ok(())
        }

        /// Blocks in which the cost of registering a subnet falls back.
        #[pallet::call_index(38)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_lock_reduction_interval(origin: OriginFor<T>, interval: u64) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::NetworkLockReductionInterval::<T>::put(interval);
            Ok(())
        }

        /// The sum of what registrations paid.
        #[pallet::call_index(39)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_rao_recycled(
            origin: OriginFor<T>,
            netuid: NetUid,
            rao_recycled: TaoBalance,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::RAORecycledForRegistration::<T>::insert(netuid, rao_recycled);
            Ok(())
        }

        /// How far bonds follow clipped weights, in parts of 65,535.
        #[pallet::call_index(60)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_bonds_penalty(
            origin: OriginFor<T>,
            netuid: NetUid,
            bonds_penalty: u16,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::BondsPenalty::<T>::insert(netuid, bonds_penalty);
            Ok(())
        }

        /// Whether stake may be given to another coldkey.
        #[pallet::call_index(61)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_toggle_transfer(
            origin: OriginFor<T>,
            netuid: NetUid,
            toggle: bool,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::TransferToggle::<T>::insert(netuid, toggle);
            Ok(())
        }

        /// The owner's hotkey.
        #[pallet::call_index(64)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_subnet_owner_hotkey(
            origin: OriginFor<T>,
            netuid: NetUid,
            hotkey: T::AccountId,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::SubnetOwnerHotkey::<T>::insert(netuid, hotkey);
            Ok(())
        }

        /// The owner's hotkey.
        #[pallet::call_index(67)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_sn_owner_hotkey(
            origin: OriginFor<T>,
            netuid: NetUid,
            hotkey: T::AccountId,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::SubnetOwnerHotkey::<T>::insert(netuid, hotkey);
            Ok(())
        }

        /// How many of the owner's uids are never replaced, 1 to 10.
        #[pallet::call_index(72)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_owner_immune_neuron_limit(
            origin: OriginFor<T>,
            netuid: NetUid,
            immune_neurons: u16,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            ensure!((1..=10).contains(&immune_neurons), Error::<T>::InvalidValue);
            subtensor::ImmuneOwnerUidsLimit::<T>::insert(netuid, immune_neurons);
            Ok(())
        }

        /// What becomes of alpha that the weights give to the owner.
        #[pallet::call_index(80)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_recycle_or_burn(
            origin: OriginFor<T>,
            netuid: NetUid,
            recycle_or_burn: RecycleOrBurnEnum,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            subtensor::RecycleOrBurn::<T>::insert(netuid, recycle_or_burn);
            Ok(())
        }

        /// How many neurons must stay replaceable before immune ones are replaced.
        #[pallet::call_index(84)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_min_non_immune_uids(
            origin: OriginFor<T>,
            netuid: NetUid,
            min: u16,
        ) -> DispatchResult {
            ensure_root_for::<T>(origin, netuid)?;
            subtensor::MinNonImmuneUids::<T>::insert(netuid, min);
            Ok(())
        }

        /// The part of a registration's price that becomes collateral, of 65,535.
        #[pallet::call_index(98)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_collateral_lock_share(
            origin: OriginFor<T>,
            netuid: NetUid,
            lock_share: u16,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            ensure!(lock_share <= MAX_LOCK_SHARE, Error::<T>::CollateralLockShareTooHigh);
            subtensor::CollateralLockShare::<T>::insert(netuid, lock_share);
            Ok(())
        }

        /// Alpha of collateral that one alpha of earned emission releases, with 64 fractional bits.
        #[pallet::call_index(99)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_collateral_drain_ratio(
            origin: OriginFor<T>,
            netuid: NetUid,
            drain_ratio: FixedU128,
        ) -> DispatchResult {
            ensure_owner_or_root::<T>(origin, netuid)?;
            let is_within = (1..=MAX_DRAIN_RATIO).contains(&drain_ratio.bits);
            ensure!(is_within, Error::<T>::CollateralDrainRatioOutOfBounds);
            subtensor::CollateralDrainRatio::<T>::insert(netuid, drain_ratio);
            Ok(())
        }

        /// Blocks during which a new subnet does not make room for another.
        #[pallet::call_index(35)]
        #[pallet::weight(FREE)]
        pub fn sudo_set_network_immunity_period(
            origin: OriginFor<T>,
            immunity_period: u64,
        ) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::NetworkImmunityPeriod::<T>::put(immunity_period);
            Ok(())
        }
    }
}
