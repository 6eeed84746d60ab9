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
const KNOWN: [(&str, &str, FailureClass); 46] = [
    ("AccountNotAllowedCommit", "register the hotkey on the subnet before publishing", Permanent),
    ("BadOrigin", "sign with the key that the call asks for", Invalid),
    ("CommitRevealDisabled", "set weights in the open: commit-reveal was switched off", Transient),
    ("CommitRevealEnabled", "commit the weights: commit-reveal was switched on", Transient),
    ("CommittingWeightsTooFast", "wait for the subnet's rate limit", Transient),
    ("DuplicateUids", "name each uid once", Invalid),
    ("ExpiredWeightCommit", "the epoch of the reveal has passed; commit again", Transient),
    ("FundsUnavailable", "fund the coldkey", Permanent),
    ("HotKeyAlreadyRegisteredInSubNet", "the hotkey is registered already; nothing is to be done", Invalid),
    ("HotKeyNotRegisteredInNetwork", "register the hotkey on the subnet", Permanent),
    ("HotKeyNotRegisteredInSubNet", "register the hotkey on the subnet", Permanent),
    ("HotKeyAccountNotExists", "register the hotkey first", Permanent),
    (
        "IncorrectCommitRevealVersion",
        "update this program: the chain takes another form of commits",
        Permanent,
    ),
    ("IncorrectWeightVersionKey", "update this program: the subnet asks for a newer version key", Permanent),
    ("InvalidIpAddress", "serve an address that others can reach", Invalid),
    ("InvalidIpType", "serve an IPv4 or IPv6 address", Invalid),
    ("InvalidPort", "serve a port other than 0", Invalid),
    ("InvalidRevealCommitHashNotMatch", "reveal exactly what was committed", Invalid),
    ("InvalidRevealRound", "take a later round of the beacon", Transient),
    ("MaxWeightExceeded", "give no uid more than the subnet's largest share", Invalid),
    ("MechanismDoesNotExist", "check the netuid and the mechanism", Permanent),
    ("NeuronNoValidatorPermit", "add stake: permits go to the top stakes at each epoch", Transient),
    ("NoNeuronIdAvailable", "wait until a slot can be replaced", Transient),
    ("NoWeightsCommitFound", "the chain holds no commit of this hotkey; commit again", Transient),
    ("NonAssociatedColdKey", "use the coldkey that owns the hotkey", Permanent),
    ("InputLengthsUnequal", "give lists of equal length", Invalid),
    ("InsufficientBalance", "fund the coldkey", Permanent),
    ("SlippageTooHigh", "allow a higher price, or wait", Transient),
    ("SubtokenDisabled", "wait until the subnet is started", Permanent),
    ("TxRateLimitExceeded", "wait for the chain's rate limit", Transient),
    ("UidsLengthExceedUidsInSubNet", "give no more weights than there are neurons", Invalid),
    ("NotEnoughBalanceToStake", "fund the coldkey", Permanent),
    ("NotEnoughStakeToSetWeights", "add stake to the hotkey", Permanent),
    ("NotEnoughStake", "add stake to the hotkey", Permanent),
    ("RegistrationNotPermittedOnRootSubnet", "choose a subnet other than 0", Invalid),
    ("RevealTooEarly", "reveal in the epoch that the subnet's reveal period says", Transient),
    ("ServingRateLimitExceeded", "wait for the subnet's serving rate limit", Transient),
    ("SettingWeightsTooFast", "wait for the subnet's rate limit", Transient),
    ("SubNetRegistrationDisabled", "wait until the subnet's owner admits registrations", Permanent),
    ("SubnetNotExists", "check the netuid and the network", Permanent),
    ("TooManyRegistrationsThisBlock", "try again in the next block", Transient),
    ("TooManyRegistrationsThisInterval", "try again in the next interval", Transient),
    ("TooManyUnrevealedCommits", "wait until commits are revealed or expire", Transient),
    ("UidVecContainInvalidOne", "read the metagraph again: a uid does not exist", Invalid),
    ("WeightVecLengthIsLow", "give at least as many weights as the subnet asks for", Invalid),
    ("WeightVecNotEqualSize", "give as many weights as uids", Invalid),
];

/// Advice on the error that the chain calls `name`, such as `SubtensorModule.SettingWeightsTooFast`.
pub fn dispatch_advice(name: &str) -> DispatchAdvice {
    let bare = name.rsplit_once('.').map_or(name, |(_, bare)| bare);
    match KNOWN.iter().find(|(known, ..)| *known == bare) {
        Some((_, action, class)) => DispatchAdvice { action, class: *class },
        None => DispatchAdvice {
            action: "compare the call with the subnet's settings; this version does not know the error",
            class: Invalid,
        },
    }
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
        let new = dispatch_advice("SubtensorModule.NobodyKnowsIt");
        assert_eq!(new.class, Invalid);
        assert!(new.action.contains("does not know the error"));
    }
}
