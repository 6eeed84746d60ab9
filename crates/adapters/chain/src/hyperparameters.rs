//! A subnet's settings by name, from whichever form the runtime tells them in.
//!
//! The third version of the runtime API is a list of named values, the two before are records; all three become the same
//! map. A form that this program cannot read is passed over for the one before it, and where the runtime has none of
//! them, the settings are read one by one.

use std::collections::BTreeMap;

use basilica_ports::{ChainError, Hyperparameter, Hyperparameters};
use basilica_types::NetUid;
use subxt::ext::scale_value::{Composite, Primitive, Value, ValueDef};

use crate::item::{
    BURN_MAX, BURN_MIN, COMMIT_REVEAL, Entry, IMMUNITY_PERIOD, MAX_VALIDATORS, MAX_WEIGHTS_LIMIT,
    MIN_ALLOWED_WEIGHTS, Method, NETWORKS_ADDED, REGISTRATION_ALLOWED, REVEAL_PERIOD, SERVING_RATE_LIMIT,
    TEMPO, View, WEIGHTS_RATE_LIMIT, WEIGHTS_VERSION_KEY,
};
use crate::metagraph::no_subnet;

macro_rules! method {
    ($name:literal) => {
        Method { api: "SubnetInfoRuntimeApi", name: $name, full: concat!("SubnetInfoRuntimeApi.", $name) }
    };
}

/// Newest first.
const METHODS: [Method; 3] = [
    method!("get_subnet_hyperparams_v3"),
    method!("get_subnet_hyperparams_v2"),
    method!("get_subnet_hyperparams"),
];

/// Where each setting is kept, for runtimes without the API.
const ENTRIES: [(&str, Entry); 13] = [
    ("commit_reveal_period", REVEAL_PERIOD),
    ("commit_reveal_weights_enabled", COMMIT_REVEAL),
    ("immunity_period", IMMUNITY_PERIOD),
    ("max_burn", BURN_MAX),
    ("max_validators", MAX_VALIDATORS),
    ("max_weights_limit", MAX_WEIGHTS_LIMIT),
    ("min_allowed_weights", MIN_ALLOWED_WEIGHTS),
    ("min_burn", BURN_MIN),
    ("registration_allowed", REGISTRATION_ALLOWED),
    ("serving_rate_limit", SERVING_RATE_LIMIT),
    ("tempo", TEMPO),
    ("weights_rate_limit", WEIGHTS_RATE_LIMIT),
    ("weights_version", WEIGHTS_VERSION_KEY),
];

/// Why an answer is no settings.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("the answer is neither a record nor a list of named values")]
    Shape,
}

pub(crate) async fn read(view: &View, netuid: NetUid) -> Result<Hyperparameters, ChainError> {
    for method in METHODS.into_iter().filter(|method| view.has_method(*method)) {
        let answer: Option<Value> = view.ask(method, (netuid.0,)).await?;
        let answer = answer.ok_or_else(|| no_subnet(netuid))?;
        match flatten(&answer) {
            Some(found) => return Ok(Hyperparameters(found)),
            None => {
                let _ = view.unsupported(method.full, &AnswerError::Shape);
            }
        }
    }
    one_by_one(view, netuid).await
}

async fn one_by_one(view: &View, netuid: NetUid) -> Result<Hyperparameters, ChainError> {
    if !view.value::<_, bool>(NETWORKS_ADDED, (netuid.0,)).await? {
        return Err(no_subnet(netuid));
    }
    let mut all = BTreeMap::new();
    for (name, entry) in ENTRIES {
        let found: Option<Value> = view.if_present(entry, (netuid.0,)).await?;
        if let Some(value) = found.as_ref().and_then(setting) {
            all.insert(name.to_owned(), value);
        }
    }
    Ok(Hyperparameters(all))
}

/// The named values of a record or of a list of `{ name, value }`.
fn flatten(answer: &Value) -> Option<BTreeMap<String, Hyperparameter>> {
    let named = match &answer.value {
        ValueDef::Composite(Composite::Named(fields)) => {
            fields.iter().filter_map(|(name, value)| Some((name.clone(), setting(value)?))).collect()
        }
        ValueDef::Composite(Composite::Unnamed(entries)) => {
            entries.iter().filter_map(entry).collect::<BTreeMap<_, _>>()
        }
        _ => return None,
    };
    (!named.is_empty()).then_some(named)
}

/// The name and value of one `{ name, value }`.
fn entry(value: &Value) -> Option<(String, Hyperparameter)> {
    let ValueDef::Composite(Composite::Named(fields)) = &value.value else { return None };
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let name = String::from_utf8(bytes(field("name")?)?).ok()?;
    Some((name, setting(field("value")?)?))
}

/// A number or a flag, through newtypes and the variants that name a type. Anything else is not a setting that we read.
fn setting(value: &Value) -> Option<Hyperparameter> {
    match &value.value {
        ValueDef::Primitive(Primitive::Bool(flag)) => Some(Hyperparameter::Flag(*flag)),
        ValueDef::Primitive(Primitive::U128(number)) => Some(Hyperparameter::Number(*number)),
        ValueDef::Composite(inner) => only(inner).and_then(setting),
        ValueDef::Variant(variant) => only(&variant.values).and_then(setting),
        _ => None,
    }
}

pub(crate) fn only(composite: &Composite<()>) -> Option<&Value> {
    let mut values = composite.values();
    values.next().filter(|_| values.next().is_none())
}

/// A list of bytes, through newtypes.
pub(crate) fn bytes(value: &Value) -> Option<Vec<u8>> {
    let ValueDef::Composite(inner) = &value.value else { return None };
    let all: Option<Vec<u8>> =
        inner.values().map(|byte| byte.as_u128().and_then(|byte| u8::try_from(byte).ok())).collect();
    all.or_else(|| only(inner).and_then(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_lists_of_named_values_become_the_same_map() {
        let record = Value::named_composite([("tempo", Value::u128(360)), ("open", Value::bool(true))]);
        let named = |name: &str, value: Value| {
            Value::named_composite([("name", Value::from_bytes(name)), ("value", value)])
        };
        let newtype = Value::unnamed_composite([Value::u128(360)]);
        let list = Value::unnamed_composite([
            named("tempo", Value::unnamed_variant("U16", [newtype])),
            named("open", Value::unnamed_variant("Bool", [Value::bool(true)])),
        ]);
        let flat = flatten(&record).unwrap();
        assert_eq!(flatten(&list), Some(flat.clone()));
        let all = Hyperparameters(flat);
        assert_eq!((all.number("tempo"), all.flag("open"), all.flag("tempo")), (Some(360), Some(true), None));
    }

    #[test]
    fn what_is_no_setting_is_left_out_and_never_guessed() {
        let fixed = Value::named_composite([("bits", Value::i128(-5))]);
        let record = Value::named_composite([("steepness", fixed), ("tempo", Value::u128(1))]);
        assert_eq!(flatten(&record).unwrap().len(), 1);
        assert_eq!(flatten(&Value::u128(5)), None);
        assert_eq!(flatten(&Value::unnamed_composite([Value::u128(5)])), None);
    }
}
