//! The names of dispatch errors, as `Pallet.Error`.

use subxt::Metadata;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_value::{Composite, Value, ValueDef, Variant};

/// The fields of `System.ExtrinsicFailed` that we name.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct ExtrinsicFailed {
    pub(crate) dispatch_error: Value,
}

/// `SubtensorModule.NotEnoughStakeToSetWeights`, `Token.FundsUnavailable`, `BadOrigin`.
pub(crate) fn name(error: &Value, metadata: &Metadata) -> String {
    name_with(error, |pallet, error| {
        let pallet = metadata.pallet_by_error_index(pallet)?;
        Some(format!("{}.{}", pallet.name(), pallet.error_variant_by_index(error)?.name))
    })
}

/// The name, with the names of pallets' errors by the indices of pallet and error.
fn name_with(error: &Value, pallet_error: impl Fn(u8, u8) -> Option<String>) -> String {
    let ValueDef::Variant(Variant { name, values }) = &error.value else { return format!("unknown {error}") };
    match (name.as_str(), first(values)) {
        ("Module", Some(module)) => module_indices(module)
            .and_then(|(pallet, error)| pallet_error(pallet, error))
            .unwrap_or_else(|| format!("unknown {module}")),
        (outer, Some(Value { value: ValueDef::Variant(inner), .. })) => format!("{outer}.{}", inner.name),
        (outer, _) => outer.to_owned(),
    }
}

fn first(values: &Composite<()>) -> Option<&Value> {
    values.values().next()
}

/// The indices of pallet and error.
fn module_indices(module: &Value) -> Option<(u8, u8)> {
    let ValueDef::Composite(Composite::Named(fields)) = &module.value else { return None };
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    // The error was one byte once and is four today; the first is the variant in both.
    let error = field("error")?;
    let variant = match &error.value {
        ValueDef::Composite(bytes) => first(bytes)?,
        _ => error,
    };
    Some((byte(field("index")?)?, byte(variant)?))
}

fn byte(value: &Value) -> Option<u8> {
    value.as_u128().and_then(|number| u8::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(index: u128, error: Value) -> Value {
        let fields = Value::named_composite([("index", Value::u128(index)), ("error", error)]);
        Value::unnamed_variant("Module", [fields])
    }

    fn four_bytes(first: u128) -> Value {
        Value::unnamed_composite([first, 0, 0, 0].map(Value::u128))
    }

    fn named(error: &Value) -> String {
        name_with(error, |pallet, error| {
            (pallet == 7 && error == 5).then(|| "SubtensorModule.TooFast".to_owned())
        })
    }

    #[test]
    fn errors_of_pallets_are_named_in_both_forms() {
        assert_eq!(named(&module(7, four_bytes(5))), "SubtensorModule.TooFast");
        assert_eq!(named(&module(7, Value::u128(5))), "SubtensorModule.TooFast");
    }

    #[test]
    fn errors_of_the_runtime_are_named() {
        assert_eq!(named(&Value::unnamed_variant("BadOrigin", [])), "BadOrigin");
        let token = Value::unnamed_variant("Token", [Value::unnamed_variant("FundsUnavailable", [])]);
        assert_eq!(named(&token), "Token.FundsUnavailable");
    }

    #[test]
    fn what_has_no_name_is_shown_and_never_a_panic() {
        assert!(named(&module(8, four_bytes(5))).starts_with("unknown "));
        assert!(named(&module(700, four_bytes(5))).starts_with("unknown "));
        assert!(named(&Value::u128(5)).starts_with("unknown "));
        assert_eq!(named(&Value::unnamed_variant("New", [Value::u128(5)])), "New");
    }
}
