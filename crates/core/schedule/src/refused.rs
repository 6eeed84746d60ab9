/// What an operator does about a call that the chain took and refused, by the chain's name of the error, such as
/// `SubtensorModule.NotEnoughStakeToSetWeights`. The names are the pallet's; one that is not listed here is new.
pub fn remedy(error: &str) -> &'static str {
    let name = error.rsplit_once('.').map_or(error, |(_, name)| name);
    match name {
        "SettingWeightsTooFast" | "CommittingWeightsTooFast" | "RateLimitExceeded" => {
            "nothing: something else with this hotkey set weights since; the next window waits for the rate limit"
        }
        "NotEnoughStakeToSetWeights" => "add stake to the hotkey until it reaches the chain's threshold",
        "IncorrectWeightVersionKey" => {
            "update this validator, or set emission.weight_version_key to the subnet's"
        }
        "NeuronNoValidatorPermit" => {
            "add stake: permits go to the top stakes at each epoch; the next window waits for one"
        }
        "HotKeyNotRegisteredInSubNet" | "HotKeyNotRegisteredInNetwork" | "NotRegistered" => {
            "register the hotkey on the subnet again"
        }
        "CommitRevealEnabled" | "CommitRevealDisabled" => {
            "nothing: the subnet's owner switched commit-reveal meanwhile; the next window goes by it"
        }
        "RevealTooEarly" | "ExpiredWeightCommit" | "NoWeightsCommitFound" => {
            "nothing: the subnet's epochs moved meanwhile; the next window commits anew"
        }
        "InvalidRevealCommitHashNotMatch" => {
            "run one validator per hotkey: another one committed and revealed since; the next window commits anew"
        }
        "TooManyUnrevealedCommits" => {
            "run one validator per hotkey; the commits expire with their epochs, then the next window is taken"
        }
        "IncorrectCommitRevealVersion" => "update this validator: the chain wants commits in another form",
        "InvalidRevealRound" => {
            "nothing: the beacon was faster than the blocks; the next window chooses a later round"
        }
        "WeightVecLengthIsLow" | "MaxWeightExceeded" => {
            "change the burn or the categories' shares: the subnet limits how weights may be spread"
        }
        "UidVecContainInvalidOne"
        | "UidsLengthExceedUidsInSubNet"
        | "MechanismDoesNotExist"
        | "SubnetNotExists" => {
            "check netuid, emission.burn_uid and emission.weight_mechanism: the subnet has no such neuron or mechanism"
        }
        _ => {
            "look the error up in the chain's documentation; the next window is tried after a tenth of the interval"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_known_with_and_without_their_pallet() {
        let bare = remedy("SettingWeightsTooFast");
        assert_eq!(remedy("SubtensorModule.SettingWeightsTooFast"), bare);
        assert_ne!(remedy("SubtensorModule.NeuronNoValidatorPermit"), bare);
        assert!(remedy("SubtensorModule.BrandNew").starts_with("look the error up"));
    }
}
