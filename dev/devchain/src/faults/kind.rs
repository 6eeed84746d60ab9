//! What can go wrong, as `dev_fault` names it.

use frame_support::traits::GetCallMetadata as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::runtime::RuntimeCall;

/// The longest delay of an answer, in milliseconds.
const MAX_DELAY_MS: u64 = 600_000;

/// Names of methods; one that ends in `*` covers all that begin so. Empty covers every method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Methods(Vec<String>);

impl Methods {
    /// Whether this names the method.
    #[must_use]
    pub fn cover(&self, method: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|name| match name.strip_suffix('*') {
                Some(prefix) => method.starts_with(prefix),
                None => name == method,
            })
    }

    /// The first name that covers none of these methods.
    pub(crate) fn outside(&self, served: &[String]) -> Option<&str> {
        let covers_any = |name: &String| {
            let alone = Self(vec![name.clone()]);
            served.iter().any(|method| alone.cover(method))
        };
        self.0.iter().find(|name| !covers_any(name)).map(String::as_str)
    }
}

/// When an extrinsic of a refused class is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// On submission, as `InvalidTransaction::Custom(code)`.
    Never,
    /// After it was accepted: it leaves the pool as dropped when the next block is made.
    Dropped,
}

/// A kind of fault. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Answers come late.
    Delay {
        /// By how much.
        ms: u64,
        /// To which methods.
        #[serde(default)]
        methods: Methods,
    },
    /// Answers never come.
    Hang {
        /// To which methods.
        #[serde(default)]
        methods: Methods,
    },
    /// The connection is cut when a request arrives; nothing is done about it.
    Disconnect {
        /// By which methods.
        #[serde(default)]
        methods: Methods,
    },
    /// The answer is the JSON-RPC error 429.
    RateLimit {
        /// To which methods.
        #[serde(default)]
        methods: Methods,
    },
    /// A new WebSocket or an HTTP request is answered with this HTTP status.
    Handshake {
        /// 400 to 599.
        #[serde(default = "too_many_requests")]
        status: u16,
        /// Seconds in `retry-after`.
        #[serde(default)]
        retry_after_s: Option<u32>,
    },
    /// A new WebSocket or an HTTP request is cut off before a byte is answered.
    RefuseConnection {},
    /// The extrinsic is accepted, and then the connection is cut instead of an answer.
    LoseAnswer {},
    /// Extrinsics that call this are turned away.
    RefuseExtrinsic {
        /// The pallet, as metadata names it.
        pallet: String,
        /// The call; any if left out.
        #[serde(default)]
        call: Option<String>,
        /// The number in `InvalidTransaction::Custom`.
        #[serde(default = "bad_request")]
        code: u8,
        /// When.
        #[serde(default = "on_submission")]
        late: Late,
    },
    /// Blocks do not become final. `count` counts blocks.
    StallFinality {},
    /// No block is made by itself; `dev_newBlock` still makes some. `count` counts blocks not made.
    StallBlocks {},
    /// After a block, so many unfinalised ones are replaced; fewer where fewer are unfinalised.
    Reorg {
        /// How many, at least 1.
        depth: u32,
        /// Whether their extrinsics are gone instead of going back to the pool.
        #[serde(default)]
        drop_extrinsics: bool,
    },
}

fn too_many_requests() -> u16 {
    429
}

fn bad_request() -> u8 {
    255
}

fn on_submission() -> Late {
    Late::Never
}

/// Why a description is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It is no object.
    #[error("a fault is an object such as {{\"kind\": \"delay\", \"ms\": 500}}")]
    NotAnObject,
    /// Its fields are not those of its kind.
    #[error("this is no fault: {0}")]
    Fields(String),
    /// Faults do not touch such a method.
    #[error(
        "{0:?} covers no method that a fault can touch; rpc_methods lists them, and dev_* is never touched"
    )]
    Method(String),
    /// There is no such call.
    #[error("there is no call {0}; the metadata names the pallets and their calls")]
    Call(String),
    /// More blocks than are ever unfinalised.
    #[error(
        "a reorganisation {depth} blocks deep never comes: {unfinalised} are not final; \
         start with --finality-lag, or stall finality first"
    )]
    TooDeep {
        /// How many were to be replaced.
        depth: u32,
        /// How many can be.
        unfinalised: u32,
    },
    /// A value is out of its range.
    #[error("{field} of a fault must be {rule}")]
    Range {
        /// Which.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// A fault with how often and how long.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) kind: Kind,
    pub(super) probability_ppm: u32,
    pub(super) count: Option<u64>,
    pub(super) seed: Option<u64>,
}

impl Spec {
    pub(super) fn parse(spec: Value) -> Result<Self, SpecError> {
        let Value::Object(mut fields) = spec else { return Err(SpecError::NotAnObject) };
        let mut whole = |name: &'static str| match fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or(SpecError::Range { field: name, rule: "a whole number that is not negative" }),
        };
        let (count, seed) = (whole("count")?, whole("seed")?);
        if count == Some(0) {
            return Err(SpecError::Range { field: "count", rule: "at least 1" });
        }
        let probability_ppm = match fields.remove("probability") {
            None | Some(Value::Null) => super::CERTAIN_PPM,
            Some(value) => ppm(&value)?,
        };
        if fields.get("kind").is_some_and(|kind| !kind.is_string()) {
            return Err(SpecError::Range { field: "kind", rule: "the name of one, such as \"delay\"" });
        }
        if fields.get("methods").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            let rule = "a list of at least one name; left out, every method is touched";
            return Err(SpecError::Range { field: "methods", rule });
        }
        let kind: Kind = serde_json::from_value(Value::Object(fields))
            .map_err(|error| SpecError::Fields(error.to_string()))?;
        kind.check()?;
        Ok(Self { kind, probability_ppm, count, seed })
    }
}

fn ppm(value: &Value) -> Result<u32, SpecError> {
    let refused = SpecError::Range { field: "probability", rule: "a number above 0 and at most 1" };
    let Some(probability) = value.as_f64().filter(|probability| (0.0..=1.0).contains(probability)) else {
        return Err(refused);
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million by the check above"
    )]
    match (probability * f64::from(super::CERTAIN_PPM)).round() as u32 {
        0 => Err(refused),
        ppm => Ok(ppm),
    }
}

/// Whether the runtime has such a call; any of the pallet if none is named.
fn has_call(pallet: &str, call: Option<&str>) -> bool {
    RuntimeCall::get_module_names().contains(&pallet)
        && call.is_none_or(|call| RuntimeCall::get_call_names(pallet).contains(&call))
}

impl Kind {
    fn check(&self) -> Result<(), SpecError> {
        let refused = |field, rule| Err(SpecError::Range { field, rule });
        match self {
            Self::Delay { ms, .. } if !(1..=MAX_DELAY_MS).contains(ms) => refused("ms", "1 to 600000"),
            Self::Handshake { status, .. } if !(400..600).contains(status) => {
                refused("status", "an HTTP status from 400 to 599")
            }
            Self::Reorg { depth: 0, .. } => refused("depth", "at least 1"),
            Self::RefuseExtrinsic { pallet, call, .. } if !has_call(pallet, call.as_deref()) => {
                let call = call.as_ref().map(|call| format!(".{call}")).unwrap_or_default();
                Err(SpecError::Call(format!("{pallet}{call}")))
            }
            _ => Ok(()),
        }
    }

    /// The methods that it is told to touch, if it is told any.
    pub(crate) fn methods(&self) -> Option<&Methods> {
        match self {
            Self::Delay { methods, .. }
            | Self::Hang { methods }
            | Self::Disconnect { methods }
            | Self::RateLimit { methods } => Some(methods),
            _ => None,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        // A derived serialisation of plain fields cannot fail.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nonsense_is_refused_with_what_is_wrong() {
        for (spec, part) in [
            (json!("hang"), "a fault is an object"),
            (json!({}), "kind"),
            (json!({"kind": 5}), "kind of a fault must be the name of one"),
            (json!({"kind": "explode"}), "unknown variant `explode`"),
            (json!({"kind": "delay"}), "missing field `ms`"),
            (json!({"kind": "delay", "ms": 1_000_000_000u64}), "1 to 600000"),
            (json!({"kind": "delay", "ms": 0}), "1 to 600000"),
            (json!({"kind": "hang", "methods": []}), "at least one name"),
            (json!({"kind": "hang", "probability": 0}), "above 0 and at most 1"),
            (json!({"kind": "hang", "probability": 1e-9}), "above 0 and at most 1"),
            (json!({"kind": "hang", "method": "x"}), "unknown field `method`"),
            (json!({"kind": "hang", "probability": 2}), "above 0 and at most 1"),
            (json!({"kind": "hang", "count": -1}), "not negative"),
            (json!({"kind": "hang", "count": 0}), "at least 1"),
            (json!({"kind": "refuse_extrinsic", "pallet": "Nope", "call": "x"}), "no call Nope.x"),
            (json!({"kind": "refuse_extrinsic", "pallet": "Nope"}), "no call Nope;"),
            (json!({"kind": "refuse_extrinsic", "pallet": "System", "call": "x"}), "no call System.x"),
            (json!({"kind": "handshake", "status": 200}), "400 to 599"),
            (json!({"kind": "reorg", "depth": 0}), "at least 1"),
            (json!({"kind": "stall_finality", "depth": 0}), "unknown field"),
        ] {
            let message = Spec::parse(spec.clone()).expect_err("must be refused").to_string();
            assert!(message.contains(part), "{spec} says {message:?}");
        }
        let spec = Spec::parse(json!({"kind": "hang", "probability": 0.5})).expect("fine");
        assert_eq!(spec.probability_ppm, 500_000);
    }
}
