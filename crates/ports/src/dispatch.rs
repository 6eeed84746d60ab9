//! What to do about a dispatch error, by the chain's name of it.
//!
//! Names are identifiers of the runtime's metadata, not prose: they are what survives upgrades.

use crate::FailureClass;

use FailureClass::{Invalid, Permanent, Transient};

/// What an operator should do about a call that failed on chain, and whether time can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchAdvice {
    /// In words.
    pub action: &'static str,
    /// Whether waiting can help.
    pub class: FailureClass,
}

/// Names without their pallet: the same error has lived in more than one.
const KNOWN: [(&str, &str, FailureClass); 48] = [
    ("AccountNotAllowedCommit", "register the hotkey on the subnet before publishing", Permanent),
    ("BadOrigin", "sign with the key that the call asks for", Invalid),
    (
        "CommitRevealDisabled",
        "nothing: the subnet's owner switched commit-reveal meanwhile; the next window goes by it",
        Transient,
    ),
    (
        "CommitRevealEnabled",
        "nothing: the subnet's owner switched commit-reveal meanwhile; the next window goes by it",
        Transient,
    ),
    (
        "CommittingWeightsTooFast",
        "nothing: something else with this hotkey set weights since; the next window waits for the rate limit",
        Transient,
    ),
    ("DuplicateUids", "name each uid once", Invalid),
    (
        "ExpiredWeightCommit",
        "nothing: the subnet's epochs moved meanwhile; the next window commits anew",
        Transient,
    ),
    ("FundsUnavailable", "fund the coldkey", Permanent),
    ("HotKeyAccountNotExists", "register the hotkey first", Permanent),
    ("HotKeyAlreadyRegisteredInSubNet", "the hotkey is registered already; nothing is to be done", Invalid),
    ("HotKeyNotRegisteredInNetwork", "register the hotkey on the subnet", Permanent),
    ("HotKeyNotRegisteredInSubNet", "register the hotkey on the subnet", Permanent),
    (
        "IncorrectCommitRevealVersion",
        "update this validator: the chain wants commits in another form",
        Permanent,
    ),
    (
        "IncorrectWeightVersionKey",
        "update this validator, or set emission.weight_version_key to the subnet's",
        Permanent,
    ),
    ("InputLengthsUnequal", "give lists of equal length", Invalid),
    ("InsufficientBalance", "fund the coldkey", Permanent),
    ("InvalidIpAddress", "serve an address that others can reach", Invalid),
    ("InvalidIpType", "serve an IPv4 or IPv6 address", Invalid),
    ("InvalidPort", "serve a port other than 0", Invalid),
    (
        "InvalidRevealCommitHashNotMatch",
        "run one validator per hotkey: another one committed and revealed since; the next window commits anew",
        Invalid,
    ),
    (
        "InvalidRevealRound",
        "nothing: the beacon was faster than the blocks; the next window chooses a later round",
        Transient,
    ),
    (
        "MaxWeightExceeded",
        "change the burn or the categories' shares: the subnet limits how weights may be spread",
        Invalid,
    ),
    (
        "MechanismDoesNotExist",
        "check netuid, emission.burn_uid and emission.weight_mechanism: the subnet has no such neuron or mechanism",
        Permanent,
    ),
    (
        "NeuronNoValidatorPermit",
        "add stake: permits go to the top stakes at each epoch; the next window waits for one",
        Transient,
    ),
    ("NoNeuronIdAvailable", "wait until a slot can be replaced", Transient),
    (
        "NoWeightsCommitFound",
        "nothing: the subnet's epochs moved meanwhile; the next window commits anew",
        Transient,
    ),
    ("NonAssociatedColdKey", "use the coldkey that owns the hotkey", Permanent),
    ("NotEnoughBalanceToStake", "fund the coldkey", Permanent),
    ("NotEnoughStake", "add stake to the hotkey", Permanent),
    (
        "NotEnoughStakeToSetWeights",
        "add stake to the hotkey until it reaches the chain's threshold",
        Permanent,
    ),
    ("NotRegistered", "register the hotkey on the subnet", Permanent),
    (
        "RateLimitExceeded",
        "nothing: something else with this hotkey set weights since; the next window waits for the rate limit",
        Transient,
    ),
    ("RegistrationNotPermittedOnRootSubnet", "choose a subnet other than 0", Invalid),
    (
        "RevealTooEarly",
        "nothing: the subnet's epochs moved meanwhile; the next window commits anew",
        Transient,
    ),
    ("ServingRateLimitExceeded", "wait for the subnet's serving rate limit", Transient),
    (
        "SettingWeightsTooFast",
        "nothing: something else with this hotkey set weights since; the next window waits for the rate limit",
        Transient,
    ),
    ("SlippageTooHigh", "allow a higher price, or wait", Transient),
    ("SubNetRegistrationDisabled", "wait until the subnet's owner admits registrations", Permanent),
    ("SubnetNotExists", "check the netuid and the network", Permanent),
    ("SubtokenDisabled", "wait until the subnet is started", Permanent),
    ("TooManyRegistrationsThisBlock", "try again in the next block", Transient),
    ("TooManyRegistrationsThisInterval", "try again in the next interval", Transient),
    (
        "TooManyUnrevealedCommits",
        "run one validator per hotkey; the commits expire with their epochs, then the next window is taken",
        Transient,
    ),
    ("TxRateLimitExceeded", "wait for the chain's rate limit", Transient),
    (
        "UidVecContainInvalidOne",
        "check netuid, emission.burn_uid and emission.weight_mechanism: the subnet has no such neuron or mechanism",
        Invalid,
    ),
    (
        "UidsLengthExceedUidsInSubNet",
        "check netuid, emission.burn_uid and emission.weight_mechanism: the subnet has no such neuron or mechanism",
        Invalid,
    ),
    (
        "WeightVecLengthIsLow",
        "change the burn or the categories' shares: the subnet limits how weights may be spread",
        Invalid,
    ),
    ("WeightVecNotEqualSize", "give as many weights as uids", Invalid),
];

impl DispatchAdvice {
    /// What is said of an error that this version does not know.
    pub const UNKNOWN: Self = Self {
        action: "look the error up in the chain's documentation and compare the call with the subnet's settings",
        class: Invalid,
    };
}

/// Advice on the error that the chain calls `name`, such as `SubtensorModule.SettingWeightsTooFast`.
pub fn dispatch_advice(name: &str) -> DispatchAdvice {
    let bare = name.rsplit_once('.').map_or(name, |(_, bare)| bare);
    KNOWN
        .iter()
        .find(|(known, ..)| *known == bare)
        .map_or(DispatchAdvice::UNKNOWN, |(_, action, class)| DispatchAdvice { action, class: *class })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_error_is_known_once_with_or_without_its_pallet() {
        let names: HashSet<_> = KNOWN.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), KNOWN.len());
        assert_eq!(dispatch_advice("SubtensorModule.SettingWeightsTooFast").class, Transient);
        assert_eq!(dispatch_advice("BadOrigin").class, Invalid);
        assert_eq!(dispatch_advice("SubtensorModule.IncorrectWeightVersionKey").class, Permanent);
        assert_eq!(dispatch_advice("SubtensorModule.NobodyKnowsIt"), DispatchAdvice::UNKNOWN);
    }
}
