//! Why a node's pool refuses an extrinsic: the runtime's reasons as words, with what an operator can do.
//!
//! A node answers a refused submission with a code of the JSON-RPC and prose. The prose is not read: the runtime is
//! asked again by `TaggedTransactionQueue_validate_transaction`, which answers with numbers.

use basilica_ports::{ChainError, FailureClass};
use subxt::transactions::{TransactionInvalid, TransactionUnknown, ValidationResult};

use FailureClass::{Invalid, Permanent, Transient};

/// `author_submitExtrinsic` refused because the runtime says so.
pub(crate) const INVALID_TRANSACTION: i32 = 1010;
/// As above, but the runtime could not tell.
pub(crate) const UNKNOWN_VALIDITY: i32 = 1011;
/// The pool saw these bytes fail a moment ago and does not look at them for a while.
pub(crate) const TEMPORARILY_BANNED: i32 = 1012;
/// The pool has these bytes.
pub(crate) const ALREADY_IMPORTED: i32 = 1013;
/// The pool has another extrinsic with this nonce.
pub(crate) const TOO_LOW_PRIORITY: i32 = 1014;
/// The pool would wait for itself.
pub(crate) const CYCLE: i32 = 1015;
/// The pool is full.
pub(crate) const IMMEDIATELY_DROPPED: i32 = 1016;

/// What the runtime's verdict means for an extrinsic that is being followed.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing that a caller should hear of: it is on its way, or its life has ended and finality will tell.
    Wait,
    /// The pool refuses.
    Refused(ChainError),
}

/// Reasons of `InvalidTransaction::Custom(n)`, which the chain's own extension gives: name, what to do, class.
const CUSTOM: [(u8, &str, &str, FailureClass); 29] = [
    (0, "ColdkeyInSwapSchedule", "wait until the coldkey's swap is done", Transient),
    (1, "StakeAmountTooLow", "add stake to the hotkey", Permanent),
    (2, "BalanceTooLow", "fund the coldkey", Permanent),
    (3, "SubnetNotExists", "check the netuid and the network", Permanent),
    (4, "HotkeyAccountDoesntExist", "register the hotkey first", Permanent),
    (5, "NotEnoughStakeToWithdraw", "ask for less", Invalid),
    (6, "RateLimitExceeded", "wait for the rate limit", Transient),
    (7, "InsufficientLiquidity", "ask for less or wait", Transient),
    (8, "SlippageTooHigh", "ask for less or allow more slippage", Transient),
    (9, "TransferDisallowed", "the subnet forbids transfers", Permanent),
    (10, "HotKeyNotRegisteredInNetwork", "register the hotkey on the subnet", Permanent),
    (11, "InvalidIpAddress", "serve an address that others can reach", Invalid),
    (12, "ServingRateLimitExceeded", "wait for the subnet's serving rate limit", Transient),
    (13, "InvalidPort", "serve a port other than 0", Invalid),
    (14, "ZeroMaxAmount", "ask for more than 0", Invalid),
    (15, "InvalidRevealRound", "take a later reveal round", Invalid),
    (16, "CommitNotFound", "commit before revealing", Invalid),
    (17, "CommitBlockNotInRevealRange", "reveal in the right epoch", Transient),
    (18, "InputLengthsUnequal", "give as many weights as uids", Invalid),
    (19, "UidNotFound", "read the metagraph again", Invalid),
    (20, "EvmKeyAssociateRateLimitExceeded", "wait for the rate limit", Transient),
    (21, "ColdkeySwapDisputed", "settle the dispute over the coldkey", Permanent),
    (22, "InvalidRealAccount", "check the proxy's account", Invalid),
    (23, "FailedShieldedTxParsing", "do not encrypt the extrinsic", Invalid),
    (24, "InvalidShieldedTxPubKeyHash", "encrypt to the present key", Transient),
    (25, "NonAssociatedColdKey", "use the coldkey that owns the hotkey", Permanent),
    (26, "DelegateTakeTooLow", "give a higher take", Invalid),
    (27, "DelegateTakeTooHigh", "give a lower take", Invalid),
    (255, "BadRequest", "compare the call with the subnet's settings", Invalid),
];

fn refused(reason: String, class: FailureClass) -> Verdict {
    Verdict::Refused(ChainError::Pool { reason, class })
}

fn custom(code: u8) -> Verdict {
    match CUSTOM.iter().find(|(known, ..)| *known == code) {
        Some((_, name, action, class)) => refused(format!("custom error {code} ({name}): {action}"), *class),
        None => refused(format!("custom error {code}, unknown to this version: update it"), Permanent),
    }
}

/// What the runtime says about an extrinsic that a pool did not take.
pub(crate) fn verdict(result: &ValidationResult) -> Verdict {
    match result {
        // The state moved on between the two questions.
        ValidationResult::Valid(_) => Verdict::Wait,
        ValidationResult::Unknown(TransactionUnknown::Custom(code)) => {
            refused(format!("validity unknown, custom {code}"), Transient)
        }
        ValidationResult::Unknown(
            TransactionUnknown::CannotLookup | TransactionUnknown::NoUnsignedValidator,
        ) => refused("validity unknown".to_owned(), Transient),
        ValidationResult::Invalid(invalid) => invalid_verdict(invalid),
    }
}

fn invalid_verdict(invalid: &TransactionInvalid) -> Verdict {
    match invalid {
        // Stale: included in a block that is not final yet, or another extrinsic took the nonce. Ancient: its life is
        // over. Future: waits for one before it. In each case the finalised chain will tell.
        TransactionInvalid::Stale | TransactionInvalid::AncientBirthBlock | TransactionInvalid::Future => Verdict::Wait,
        TransactionInvalid::ExhaustsResources => refused("the block is full".to_owned(), Transient),
        TransactionInvalid::Payment => {
            refused("the signer cannot pay the fee: fund the account".to_owned(), Permanent)
        }
        TransactionInvalid::BadProof => refused(
            "bad signature: the runtime was upgraded after signing; a new extrinsic can be signed when this one's \
             life has ended"
                .to_owned(),
            Transient,
        ),
        TransactionInvalid::Custom(code) => custom(*code),
        TransactionInvalid::Call => refused("the call is not allowed now".to_owned(), Permanent),
        TransactionInvalid::BadSigner => refused("the signer is not allowed".to_owned(), Permanent),
        TransactionInvalid::BadMandatory | TransactionInvalid::MandatoryValidation => {
            refused("the call is reserved to block authors".to_owned(), Invalid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(invalid: TransactionInvalid) -> Option<(String, FailureClass)> {
        match verdict(&ValidationResult::Invalid(invalid)) {
            Verdict::Refused(error) => Some((error.to_string(), error.class())),
            Verdict::Wait => None,
        }
    }

    #[test]
    fn every_custom_code_has_a_name_an_action_and_a_class() {
        for code in (0..=27).chain([255]) {
            let (reason, _) = reason(TransactionInvalid::Custom(code)).unwrap();
            assert!(reason.contains(&format!("custom error {code} (")), "{reason}");
        }
        let codes: Vec<u8> = CUSTOM.iter().map(|(code, ..)| *code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "each code once");
    }

    #[test]
    fn codes_that_were_seen_on_the_real_runtime_say_what_to_do() {
        let of = |code| reason(TransactionInvalid::Custom(code)).unwrap();
        let start = "the chain's pool refused the extrinsic: ";
        assert_eq!(
            of(10),
            (
                format!(
                    "{start}custom error 10 (HotKeyNotRegisteredInNetwork): register the hotkey on the subnet"
                ),
                Permanent
            )
        );
        assert_eq!(of(11).1, Invalid);
        assert_eq!(
            of(12),
            (
                format!(
                    "{start}custom error 12 (ServingRateLimitExceeded): wait for the subnet's serving rate limit"
                ),
                Transient
            )
        );
        assert_eq!(
            of(77),
            (format!("{start}custom error 77, unknown to this version: update it"), Permanent)
        );
    }

    #[test]
    fn what_finality_will_settle_is_no_refusal() {
        for invalid in
            [TransactionInvalid::Stale, TransactionInvalid::AncientBirthBlock, TransactionInvalid::Future]
        {
            assert_eq!(reason(invalid), None);
        }
    }
}
