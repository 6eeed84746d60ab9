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
    let ValueDef::Variant(Variant { name, values }) = &error.value else { return format!("unknown {error}") };
    match (name.as_str(), first(values)) {
        ("Module", Some(module)) => {
            module_name(module, metadata).unwrap_or_else(|| format!("unknown {module}"))
        }
        (outer, Some(Value { value: ValueDef::Variant(inner), .. })) => format!("{outer}.{}", inner.name),
        (outer, _) => outer.to_owned(),
    }
}

fn first(values: &Composite<()>) -> Option<&Value> {
    values.values().next()
}

fn module_name(module: &Value, metadata: &Metadata) -> Option<String> {
    let ValueDef::Composite(Composite::Named(fields)) = &module.value else { return None };
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let index = byte(field("index")?)?;
    // The error was one byte once and is four today; the first is the variant in both.
    let error = field("error")?;
    let variant = match &error.value {
        ValueDef::Composite(bytes) => byte(first(bytes)?)?,
        _ => byte(error)?,
    };
    let pallet = metadata.pallet_by_error_index(index)?;
    Some(format!("{}.{}", pallet.name(), pallet.error_variant_by_index(variant)?.name))
}

fn byte(value: &Value) -> Option<u8> {
    value.as_u128().and_then(|number| u8::try_from(number).ok())
}
