//! Why the pallet refuses. All errors of spec 365 are here under its numbers, because clients know them by number; an error
//! that is younger has the next free number.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod errors {
    #[pallet::error]
    pub enum Error<T> {
        #[codec(index = 0)]
        RootNetworkDoesNotExist,
        /// The IP version is neither 4 nor 6.
        #[codec(index = 1)]
        InvalidIpType,
        /// The address cannot be reached by others.
        #[codec(index = 2)]
        InvalidIpAddress,
        /// Port 0.
        #[codec(index = 3)]
        InvalidPort,
        /// The hotkey is not registered on this subnet.
        #[codec(index = 4)]
        HotKeyNotRegisteredInSubNet,
        #[codec(index = 5)]
        HotKeyAccountNotExists,
        /// The hotkey is not registered on any subnet that the call names.
        #[codec(index = 6)]
        HotKeyNotRegisteredInNetwork,
        /// The hotkey belongs to another coldkey.
        #[codec(index = 7)]
        NonAssociatedColdKey,
        #[codec(index = 8)]
        NotEnoughStake,
        #[codec(index = 9)]
        NotEnoughStakeToWithdraw,
        /// The hotkey's stake weight is below the threshold.
        #[codec(index = 10)]
        NotEnoughStakeToSetWeights,
        #[codec(index = 11)]
        NotEnoughStakeToSetChildkeys,
        /// The coldkey cannot pay the burn.
        #[codec(index = 12)]
        NotEnoughBalanceToStake,
        #[codec(index = 13)]
        BalanceWithdrawalError,
        #[codec(index = 14)]
        ZeroBalanceAfterWithdrawn,
        /// The neuron may not set weights for others.
        #[codec(index = 15)]
        NeuronNoValidatorPermit,
        /// The vectors of uids and weights differ in length.
        #[codec(index = 16)]
        WeightVecNotEqualSize,
        /// A uid occurs twice.
        #[codec(index = 17)]
        DuplicateUids,
        /// A uid does not exist on the subnet.
        #[codec(index = 18)]
        UidVecContainInvalidOne,
        /// Fewer weights than the subnet's minimum.
        #[codec(index = 19)]
        WeightVecLengthIsLow,
        #[codec(index = 20)]
        TooManyRegistrationsThisBlock,
        /// The hotkey has a uid here already.
        #[codec(index = 21)]
        HotKeyAlreadyRegisteredInSubNet,
        #[codec(index = 22)]
        NewHotKeyIsSameWithOld,
        #[codec(index = 23)]
        InvalidWorkBlock,
        #[codec(index = 24)]
        InvalidDifficulty,
        #[codec(index = 25)]
        InvalidSeal,
        /// One weight is above the subnet's maximum share.
        #[codec(index = 26)]
        MaxWeightExceeded,
        #[codec(index = 27)]
        HotKeyAlreadyDelegate,
        /// Weights were set less than the rate limit ago.
        #[codec(index = 28)]
        SettingWeightsTooFast,
        /// The version key is below the subnet's.
        #[codec(index = 29)]
        IncorrectWeightVersionKey,
        /// The endpoint was changed less than the rate limit ago.
        #[codec(index = 30)]
        ServingRateLimitExceeded,
        /// More weights than there are neurons.
        #[codec(index = 31)]
        UidsLengthExceedUidsInSubNet,
        #[codec(index = 32)]
        NetworkTxRateLimitExceeded,
        #[codec(index = 33)]
        DelegateTxRateLimitExceeded,
        #[codec(index = 34)]
        HotKeySetTxRateLimitExceeded,
        #[codec(index = 35)]
        StakingRateLimitExceeded,
        /// The subnet takes no registrations.
        #[codec(index = 36)]
        SubNetRegistrationDisabled,
        #[codec(index = 37)]
        TooManyRegistrationsThisInterval,
        #[codec(index = 38)]
        TransactorAccountShouldBeHotKey,
        #[codec(index = 39)]
        FaucetDisabled,
        #[codec(index = 40)]
        NotSubnetOwner,
        /// Registration on the root network goes another way.
        #[codec(index = 41)]
        RegistrationNotPermittedOnRootSubnet,
        #[codec(index = 42)]
        StakeTooLowForRoot,
        #[codec(index = 43)]
        AllNetworksInImmunity,
        #[codec(index = 44)]
        NotEnoughBalanceToPaySwapHotKey,
        #[codec(index = 45)]
        NotRootSubnet,
        /// The root network takes no weights of this kind.
        #[codec(index = 46)]
        CanNotSetRootNetworkWeights,
        /// Every neuron is immune and no uid is free.
        #[codec(index = 47)]
        NoNeuronIdAvailable,
        #[codec(index = 48)]
        DelegateTakeTooLow,
        #[codec(index = 49)]
        DelegateTakeTooHigh,
        #[codec(index = 50)]
        NoWeightsCommitFound,
        #[codec(index = 51)]
        InvalidRevealCommitHashNotMatch,
        /// The subnet takes only committed weights.
        #[codec(index = 52)]
        CommitRevealEnabled,
        #[codec(index = 53)]
        CommitRevealDisabled,
        #[codec(index = 54)]
        LiquidAlphaDisabled,
        #[codec(index = 55)]
        AlphaHighTooLow,
        #[codec(index = 56)]
        AlphaLowOutOfRange,
        #[codec(index = 57)]
        ColdKeyAlreadyAssociated,
        #[codec(index = 58)]
        NotEnoughBalanceToPaySwapColdKey,
        #[codec(index = 59)]
        ColdkeyIsInArbitration,
        #[codec(index = 60)]
        InvalidChild,
        #[codec(index = 61)]
        DuplicateChild,
        #[codec(index = 62)]
        ProportionOverflow,
        #[codec(index = 63)]
        TooManyChildren,
        #[codec(index = 64)]
        TxRateLimitExceeded,
        #[codec(index = 65)]
        SwapAlreadyScheduled,
        #[codec(index = 66)]
        FailedToSchedule,
        #[codec(index = 67)]
        NewColdKeyIsHotkey,
        #[codec(index = 68)]
        InvalidChildkeyTake,
        #[codec(index = 69)]
        TxChildkeyTakeRateLimitExceeded,
        #[codec(index = 70)]
        InvalidIdentity,
        /// The subnet or its mechanism does not exist.
        #[codec(index = 71)]
        MechanismDoesNotExist,
        #[codec(index = 72)]
        CannotUnstakeLock,
        /// The subnet does not exist.
        #[codec(index = 73)]
        SubnetNotExists,
        #[codec(index = 74)]
        TooManyUnrevealedCommits,
        #[codec(index = 75)]
        ExpiredWeightCommit,
        #[codec(index = 76)]
        RevealTooEarly,
        #[codec(index = 77)]
        InputLengthsUnequal,
        #[codec(index = 78)]
        CommittingWeightsTooFast,
        #[codec(index = 79)]
        AmountTooLow,
        #[codec(index = 80)]
        InsufficientLiquidity,
        #[codec(index = 81)]
        SlippageTooHigh,
        #[codec(index = 82)]
        TransferDisallowed,
        #[codec(index = 83)]
        ActivityCutoffTooLow,
        #[codec(index = 84)]
        CallDisabled,
        #[codec(index = 85)]
        FirstEmissionBlockNumberAlreadySet,
        #[codec(index = 86)]
        NeedWaitingMoreBlocksToStarCall,
        #[codec(index = 87)]
        NotEnoughAlphaOutToRecycle,
        #[codec(index = 88)]
        CannotBurnOrRecycleOnRootSubnet,
        #[codec(index = 89)]
        UnableToRecoverPublicKey,
        #[codec(index = 90)]
        InvalidRecoveredPublicKey,
        #[codec(index = 91)]
        SubtokenDisabled,
        #[codec(index = 92)]
        HotKeySwapOnSubnetIntervalNotPassed,
        #[codec(index = 93)]
        ZeroMaxStakeAmount,
        #[codec(index = 94)]
        SameNetuid,
        #[codec(index = 95)]
        InsufficientBalance,
        #[codec(index = 96)]
        StakingOperationRateLimitExceeded,
        #[codec(index = 97)]
        InvalidLeaseBeneficiary,
        #[codec(index = 98)]
        LeaseCannotEndInThePast,
        #[codec(index = 99)]
        LeaseNetuidNotFound,
        #[codec(index = 100)]
        LeaseDoesNotExist,
        #[codec(index = 101)]
        LeaseHasNoEndBlock,
        #[codec(index = 102)]
        LeaseHasNotEnded,
        #[codec(index = 103)]
        Overflow,
        #[codec(index = 104)]
        BeneficiaryDoesNotOwnHotkey,
        #[codec(index = 105)]
        ExpectedBeneficiaryOrigin,
        #[codec(index = 106)]
        AdminActionProhibitedDuringWeightsWindow,
        #[codec(index = 107)]
        SymbolDoesNotExist,
        #[codec(index = 108)]
        SymbolAlreadyInUse,
        #[codec(index = 109)]
        IncorrectCommitRevealVersion,
        #[codec(index = 110)]
        RevealPeriodTooLarge,
        #[codec(index = 111)]
        RevealPeriodTooSmall,
        #[codec(index = 112)]
        InvalidValue,
        #[codec(index = 113)]
        SubnetLimitReached,
        #[codec(index = 114)]
        CannotAffordLockCost,
        #[codec(index = 115)]
        EvmKeyAssociateRateLimitExceeded,
        #[codec(index = 116)]
        SameAutoStakeHotkeyAlreadySet,
        #[codec(index = 117)]
        UidMapCouldNotBeCleared,
        #[codec(index = 118)]
        TrimmingWouldExceedMaxImmunePercentage,
        #[codec(index = 119)]
        ChildParentInconsistency,
        #[codec(index = 120)]
        InvalidNumRootClaim,
        #[codec(index = 121)]
        InvalidRootClaimThreshold,
        #[codec(index = 122)]
        InvalidSubnetNumber,
        #[codec(index = 123)]
        PrecisionLoss,
        /// More uids over all mechanisms than a subnet may have.
        #[codec(index = 124)]
        TooManyUIDsPerMechanism,
        /// The price of registration is above the caller's limit.
        #[codec(index = 125)]
        RegistrationPriceLimitExceeded,
        /// The alpha is locked as collateral.
        #[codec(index = 126)]
        StakeUnavailable,
        /// The coldkey has collateral on too many hotkeys of the subnet.
        #[codec(index = 127)]
        ColdkeyCollateralPositionsFull,
        /// An owner's tempo is out of 360 to 50,400 blocks.
        #[codec(index = 128)]
        TempoOutOfBounds,
        /// The factor is out of 1,000 to 50,000.
        #[codec(index = 129)]
        ActivityCutoffFactorMilliOutOfBounds,
        /// An epoch is scheduled already, by a trigger or because it was deferred.
        #[codec(index = 130)]
        EpochTriggerAlreadyPending,
        /// The next epoch comes before a triggered one would.
        #[codec(index = 131)]
        AutoEpochAlreadyImminent,
        /// Commits are dated by epochs, so none may be triggered while weights are committed.
        #[codec(index = 132)]
        DynamicTempoBlockedByCommitReveal,
    }
}
