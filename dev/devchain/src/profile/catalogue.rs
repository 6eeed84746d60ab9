//! What one generation of the public chain has and the other has not, as far as this chain has it at all.
//!
//! A test compares both views with the public chain's spec 365, so an entry that is missing or not needed fails.

use super::Profile;

/// What an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A storage item of a pallet.
    Storage,
    /// A call of a pallet.
    Call,
    /// An event of a pallet.
    Event,
    /// An error of a pallet.
    Error,
    /// A constant of a pallet.
    Constant,
    /// A method of a runtime API.
    Method,
    /// A transaction extension; it has no container.
    Extension,
}

/// A kind, a container (a pallet or an API) and the names in it.
pub type Entry = (Kind, &'static str, &'static [&'static str]);

/// What came after spec 365.
pub const YOUNGER: &[Entry] = &[
    (
        Kind::Storage,
        "SubtensorModule",
        &[
            "ActivityCutoffFactorMilli",
            "BurnHalfLife",
            "BurnIncreaseMult",
            "ColdkeyCollateralHotkeys",
            "ColdkeyMinerCollateral",
            "CollateralDrainRatio",
            "CollateralLockShare",
            "DecayingHotkeyLock",
            "DecayingOwnerLock",
            "HotkeyLock",
            "LastEpochBlock",
            "LastYumaStepBlock",
            "Lock",
            "MaturityRate",
            "MaxEpochsPerBlock",
            "MinerCollateral",
            "OwnerLock",
            "PendingEpochAt",
            "SavedYumaMaxAllowedValidators",
            "SubnetEpochConsensus",
            "SubnetEpochIndex",
            "UnlockRate",
        ],
    ),
    (
        Kind::Call,
        "SubtensorModule",
        &["add_collateral", "register_limit", "set_min_collateral", "trigger_epoch"],
    ),
    (
        Kind::Call,
        "AdminUtils",
        &[
            "sudo_set_activity_cutoff_factor",
            "sudo_set_burn_half_life",
            "sudo_set_burn_increase_mult",
            "sudo_set_collateral_drain_ratio",
            "sudo_set_collateral_lock_share",
            "sudo_set_epoch_consensus",
            "sudo_set_max_epochs_per_block",
        ],
    ),
    (
        Kind::Event,
        "SubtensorModule",
        &["CollateralLocked", "EpochDeferred", "EpochTriggered", "MinCollateralSet"],
    ),
    (
        Kind::Error,
        "AdminUtils",
        &["CollateralDrainRatioOutOfBounds", "CollateralLockShareTooHigh", "NotPermittedOnRootSubnet"],
    ),
    (
        Kind::Error,
        "SubtensorModule",
        &[
            "ActivityCutoffFactorMilliOutOfBounds",
            "AutoEpochAlreadyImminent",
            "ColdkeyCollateralPositionsFull",
            "DynamicTempoBlockedByCommitReveal",
            "EpochTriggerAlreadyPending",
            "RegistrationPriceLimitExceeded",
            "StakeUnavailable",
            "TempoOutOfBounds",
            "TooManyUIDsPerMechanism",
        ],
    ),
    (
        Kind::Method,
        "SubnetInfoRuntimeApi",
        &[
            "get_block_emission",
            "get_next_epoch_start_block",
            "get_subnet_account_id",
            "get_subnet_hyperparams_v3",
        ],
    ),
    (
        Kind::Method,
        "StakeInfoRuntimeApi",
        &[
            "get_coldkey_lock",
            "get_hotkey_conviction",
            "get_most_convicted_hotkey_on_subnet",
            "get_stake_availability_for_coldkeys",
        ],
    ),
    (Kind::Method, "SwapRuntimeApi", &["current_alpha_price_all"]),
    (
        Kind::Constant,
        "SubtensorModule",
        &["InitialStartCallDelay", "MaxActivityCutoffFactorMilli", "MinActivityCutoffFactorMilli"],
    ),
    (Kind::Storage, "MevShield", &["NextKeyExpiresAt", "PendingKey", "PendingKeyExpiresAt"]),
    (Kind::Extension, "", &["CheckShieldedTxValidity"]),
];

/// What both have, but not in the same shape, and of which this chain has only the newest: an encrypted extrinsic lost its
/// commitment, and since then the author opens it in the block of its carrier.
pub const RENEWED: &[Entry] = &[(Kind::Call, "MevShield", &["submit_encrypted"])];

/// What spec 365 has and the newest runtimes no longer have.
pub const OLDER: &[Entry] = &[
    (Kind::Storage, "SubtensorModule", &["PruningScores", "Rank", "Trust"]),
    (Kind::Call, "SubtensorModule", &["set_root_claim_type"]),
    (Kind::Event, "SubtensorModule", &["RootClaimTypeSet"]),
    (Kind::Call, "AdminUtils", &["sudo_set_subnet_owner_hotkey"]),
    (
        Kind::Error,
        "SubtensorModule",
        &[
            "CannotUnstakeLock",
            "ColdkeyIsInArbitration",
            "FailedToSchedule",
            "InsufficientBalance",
            "InvalidNumRootClaim",
            "InvalidSubnetNumber",
            "PrecisionLoss",
            "StakingOperationRateLimitExceeded",
            "SwapAlreadyScheduled",
            "ZeroMaxStakeAmount",
        ],
    ),
];

/// Methods of runtime APIs that both have, but not in the same shape: `LegacySomeApi` answers for `SomeApi`.
pub const RESHAPED: &[(&str, &[&str])] = &[(
    "SubnetInfoRuntimeApi",
    &[
        "get_all_mechagraphs",
        "get_all_metagraphs",
        "get_mechagraph",
        "get_metagraph",
        "get_selective_mechagraph",
        "get_selective_metagraph",
    ],
)];

/// What a profile does not have: (container, name) of every entry of a kind.
pub fn hidden(profile: Profile, kind: Kind) -> impl Iterator<Item = (&'static str, &'static str)> {
    let entries = match profile {
        Profile::Newest => [OLDER, &[]],
        Profile::Legacy => [YOUNGER, RENEWED],
    };
    entries
        .into_iter()
        .flatten()
        .filter(move |(of, _, _)| *of == kind)
        .flat_map(|(_, container, names)| names.iter().map(|name| (*container, *name)))
}

/// Whether a profile does not have this.
#[must_use]
pub fn hides(profile: Profile, kind: Kind, container: &str, name: &str) -> bool {
    hidden(profile, kind).any(|entry| entry == (container, name))
}
