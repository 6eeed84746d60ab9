//! Why the pallet refuses.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod errors {
    #[pallet::error]
    pub enum Error<T> {
        /// The root network takes no weights of this kind.
        CanNotSetRootNetworkWeights,
        /// The vectors of uids and weights differ in length.
        WeightVecNotEqualSize,
        /// The subnet or its mechanism does not exist.
        MechanismDoesNotExist,
        /// More weights than there are neurons.
        UidsLengthExceedUidsInSubNet,
        /// The hotkey is not registered on this subnet.
        HotKeyNotRegisteredInSubNet,
        /// The hotkey is not registered on any subnet that the call names.
        HotKeyNotRegisteredInNetwork,
        /// The hotkey's stake weight is below the threshold.
        NotEnoughStakeToSetWeights,
        /// The version key is below the subnet's.
        IncorrectWeightVersionKey,
        /// Weights were set less than the rate limit ago.
        SettingWeightsTooFast,
        /// The neuron may not set weights for others.
        NeuronNoValidatorPermit,
        /// A uid occurs twice.
        DuplicateUids,
        /// A uid does not exist on the subnet.
        UidVecContainInvalidOne,
        /// Fewer weights than the subnet's minimum.
        WeightVecLengthIsLow,
        /// One weight is above the subnet's maximum share.
        MaxWeightExceeded,
        /// The subnet takes only committed weights.
        CommitRevealEnabled,
        /// The subnet does not exist.
        SubnetNotExists,
        /// The IP version is neither 4 nor 6.
        InvalidIpType,
        /// The address cannot be reached by others.
        InvalidIpAddress,
        /// Port 0.
        InvalidPort,
        /// The endpoint was changed less than the rate limit ago.
        ServingRateLimitExceeded,
        /// Registration on the root network goes another way.
        RegistrationNotPermittedOnRootSubnet,
        /// The subnet takes no registrations.
        SubNetRegistrationDisabled,
        /// The hotkey has a uid here already.
        HotKeyAlreadyRegisteredInSubNet,
        /// The hotkey belongs to another coldkey.
        NonAssociatedColdKey,
        /// The coldkey cannot pay the burn.
        NotEnoughBalanceToStake,
        /// Every neuron is immune and no uid is free.
        NoNeuronIdAvailable,
    }
}
