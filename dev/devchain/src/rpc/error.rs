//! Substrate's error codes, messages and data, as clients parse them.

use jsonrpsee::types::ErrorObjectOwned;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError, UnknownTransaction};

use crate::chain::StateUnavailable;
use crate::executor::{CallError, Refusal};
use crate::node::SubmitError;
use crate::node::controls::ControlError;
use crate::pool::PoolRefusal;

const CLIENT: i32 = 4003;
const TOO_MANY_KEYS: i32 = 4002;
const BAD_FORMAT: i32 = 1001;
const VERIFICATION: i32 = 1002;
const INVALID: i32 = 1010;
const UNKNOWN_VALIDITY: i32 = 1011;
const ALREADY_IMPORTED: i32 = 1013;
const TOO_LOW_PRIORITY: i32 = 1014;
const IMMEDIATELY_DROPPED: i32 = 1016;
/// What rate-limiting proxies in front of public nodes answer.
const TOO_MANY_REQUESTS: i32 = 429;
const BUSY: i32 = -32_009;

fn plain(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

fn with_data(code: i32, message: impl Into<String>, data: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, Some(data.into()))
}

pub(super) fn invalid_params(message: String) -> ErrorObjectOwned {
    plain(jsonrpsee::types::error::INVALID_PARAMS_CODE, message)
}

/// Something of ours that should not be.
pub(super) fn internal(message: String) -> ErrorObjectOwned {
    plain(jsonrpsee::types::error::INTERNAL_ERROR_CODE, message)
}

/// A control that was not carried out.
pub(super) fn control(error: &ControlError) -> ErrorObjectOwned {
    let code = match error {
        ControlError::Stopping | ControlError::Breaks => jsonrpsee::types::error::INTERNAL_ERROR_CODE,
        _ => jsonrpsee::types::error::INVALID_PARAMS_CODE,
    };
    plain(code, error.to_string())
}

/// A page of more keys than are given at once.
pub(super) fn too_many_keys(asked: u64, most: u64) -> ErrorObjectOwned {
    plain(TOO_MANY_KEYS, format!("count exceeds maximum value. value: {asked}, max: {most}"))
}

pub(super) fn too_many_requests() -> ErrorObjectOwned {
    plain(TOO_MANY_REQUESTS, "Too Many Requests")
}

pub(super) fn too_many_in_flight(limit: usize) -> ErrorObjectOwned {
    plain(BUSY, format!("more than {limit} requests of this connection wait for an answer"))
}

pub(super) fn state(error: StateUnavailable) -> ErrorObjectOwned {
    let message = match error {
        StateUnavailable::UnknownBlock(hash) => {
            format!("Client error: UnknownBlock: Header was not found in the database: {hash:?}")
        }
        StateUnavailable::Discarded(hash) => {
            format!("Client error: UnknownBlock: State already discarded for {hash:?}")
        }
    };
    plain(CLIENT, message)
}

pub(super) fn call(error: &CallError) -> ErrorObjectOwned {
    let message = match error {
        CallError::UnknownMethod(method) => {
            format!("Client error: Execution failed: Other: Exported method {method} is not found")
        }
        CallError::BadArguments { method, .. } => {
            format!("Client error: Execution failed: Other: Bad input data provided to {method}")
        }
    };
    plain(CLIENT, message)
}

fn invalid(error: InvalidTransaction) -> ErrorObjectOwned {
    let data = match error {
        InvalidTransaction::Custom(code) => format!("Custom error: {code}"),
        other => <&'static str>::from(other).to_owned(),
    };
    with_data(INVALID, "Invalid Transaction", data)
}

fn unknown(error: UnknownTransaction) -> ErrorObjectOwned {
    let data = match error {
        UnknownTransaction::Custom(code) => format!("Custom error: {code}"),
        other => <&'static str>::from(other).to_owned(),
    };
    with_data(UNKNOWN_VALIDITY, "Unknown Transaction Validity", data)
}

pub(super) fn submit(error: &SubmitError) -> ErrorObjectOwned {
    match error {
        SubmitError::Refused(Refusal::Undecodable(source)) => {
            plain(BAD_FORMAT, format!("Extrinsic has invalid format: {source}"))
        }
        SubmitError::Refused(Refusal::Unsigned) => unknown(UnknownTransaction::NoUnsignedValidator),
        SubmitError::Refused(Refusal::Invalid(TransactionValidityError::Invalid(error))) => invalid(*error),
        SubmitError::Refused(Refusal::Invalid(TransactionValidityError::Unknown(error))) => unknown(*error),
        SubmitError::Refused(Refusal::Unchecked(_)) => with_data(
            VERIFICATION,
            "Verification Error: Runtime error: Execution failed",
            "RuntimeApi(\"Execution failed\")",
        ),
        SubmitError::Pool(PoolRefusal::AlreadyImported(hash)) => {
            with_data(ALREADY_IMPORTED, "Transaction Already Imported", format!("{hash:?}"))
        }
        SubmitError::Pool(PoolRefusal::TooLowPriority { old, new }) => with_data(
            TOO_LOW_PRIORITY,
            format!("Priority is too low: ({old} vs {new})"),
            "The transaction has too low priority to replace another transaction already in the pool.",
        ),
        SubmitError::Pool(PoolRefusal::Full) => with_data(
            IMMEDIATELY_DROPPED,
            "Immediately Dropped",
            "The transaction couldn't enter the pool because of the limit",
        ),
    }
}
