//! Metadata as a list of items, each with everything that a client depends on written out: for comparing two runtimes.
//!
//! Types are resolved to their structure and stand under their paths, because some SDKs decode by them. Generic parameters
//! and documentation are left out.

use std::collections::BTreeMap;

use basilica_devchain::profile::metadata::is_unused;
use frame_metadata::v14::StorageEntryType;
use frame_metadata::v16::RuntimeMetadataV16;
use scale_info::form::PortableForm;
use scale_info::{Field, PortableRegistry, TypeDef, Variant};

/// Enums over all pallets. Two runtimes have the same when the pallets that both have are equal, which is compared item
/// by item, so their names are enough.
const OUTER: [&str; 6] =
    ["Call", "RuntimeCall", "RuntimeError", "RuntimeEvent", "RuntimeFreezeReason", "RuntimeHoldReason"];

/// Items by kind and name, such as `storage SubtensorModule.Tempo`, with what each is.
pub(crate) type Items = BTreeMap<String, String>;

struct Types<'a>(&'a PortableRegistry);

impl Types<'_> {
    fn text(&self, id: u32) -> String {
        let mut open = Vec::new();
        self.open(id, &mut open)
    }

    /// The structure of a type; `open` are those it is being written inside of.
    fn open(&self, id: u32, open: &mut Vec<u32>) -> String {
        let ty = self.0.resolve(id).expect("metadata refers to its own types");
        let name = ty.path.segments.join("::");
        let is_outer = ty.path.ident().is_some_and(|last| OUTER.contains(&last.as_str()));
        if is_outer || open.contains(&id) {
            return name;
        }
        open.push(id);
        let text = match &ty.type_def {
            TypeDef::Composite(composite) => format!("{name}{}", self.fields(&composite.fields, open)),
            TypeDef::Variant(variants) => {
                let variants: Vec<_> =
                    variants.variants.iter().map(|variant| self.variant(variant, open)).collect();
                format!("{name}[{}]", variants.join("|"))
            }
            TypeDef::Sequence(sequence) => format!("Vec<{}>", self.open(sequence.type_param.id, open)),
            TypeDef::Array(array) => format!("[{}; {}]", self.open(array.type_param.id, open), array.len),
            TypeDef::Tuple(tuple) => {
                let parts: Vec<_> = tuple.fields.iter().map(|part| self.open(part.id, open)).collect();
                format!("({})", parts.join(", "))
            }
            TypeDef::Primitive(primitive) => format!("{primitive:?}").to_lowercase(),
            TypeDef::Compact(compact) => format!("Compact<{}>", self.open(compact.type_param.id, open)),
            TypeDef::BitSequence(bits) => format!(
                "Bits<{}, {}>",
                self.open(bits.bit_store_type.id, open),
                self.open(bits.bit_order_type.id, open)
            ),
        };
        open.pop();
        text
    }

    fn fields(&self, fields: &[Field<PortableForm>], open: &mut Vec<u32>) -> String {
        let parts: Vec<_> = fields
            .iter()
            .map(|field| {
                let ty = self.open(field.ty.id, open);
                field.name.as_ref().map_or_else(|| ty.clone(), |name| format!("{name}: {ty}"))
            })
            .collect();
        format!("{{{}}}", parts.join(", "))
    }

    fn variant(&self, variant: &Variant<PortableForm>, open: &mut Vec<u32>) -> String {
        format!("{} {}{}", variant.index, variant.name, self.fields(&variant.fields, open))
    }

    fn variants(&self, kind: &str, pallet: &str, id: u32, items: &mut Items) {
        let ty = self.0.resolve(id).expect("metadata refers to its own types");
        let TypeDef::Variant(variants) = &ty.type_def else { panic!("{kind}s of {pallet} are no enum") };
        items.insert(format!("{kind}s {pallet}"), ty.path.segments.join("::"));
        for variant in variants.variants.iter().filter(|variant| !is_unused(&variant.name)) {
            let mut open = vec![id];
            items.insert(format!("{kind} {pallet}.{}", variant.name), self.variant(variant, &mut open));
        }
    }
}

/// Every item of a runtime.
pub(crate) fn items(metadata: &RuntimeMetadataV16) -> Items {
    let types = Types(&metadata.types);
    let mut items = Items::new();
    for pallet in &metadata.pallets {
        let name = &pallet.name;
        items.insert(format!("pallet {name}"), pallet.index.to_string());
        if let Some(storage) = &pallet.storage {
            items.insert(format!("prefix {name}"), storage.prefix.clone());
        }
        for entry in pallet.storage.iter().flat_map(|storage| &storage.entries) {
            let kind = match &entry.ty {
                StorageEntryType::Plain(value) => types.text(value.id),
                StorageEntryType::Map { hashers, key, value } => {
                    format!("{hashers:?} {} -> {}", types.text(key.id), types.text(value.id))
                }
            };
            let text = format!("{:?} {kind} = 0x{}", entry.modifier, hex::encode(&entry.default));
            items.insert(format!("storage {name}.{}", entry.name), text);
        }
        for constant in &pallet.constants {
            let text = format!("{} = 0x{}", types.text(constant.ty.id), hex::encode(&constant.value));
            items.insert(format!("constant {name}.{}", constant.name), text);
        }
        for (kind, id) in [
            ("call", pallet.calls.as_ref().map(|calls| calls.ty.id)),
            ("event", pallet.event.as_ref().map(|event| event.ty.id)),
            ("error", pallet.error.as_ref().map(|error| error.ty.id)),
        ] {
            if let Some(id) = id {
                types.variants(kind, name, id, &mut items);
            }
        }
    }
    for api in &metadata.apis {
        for method in &api.methods {
            let inputs: Vec<_> = method
                .inputs
                .iter()
                .map(|input| format!("{}: {}", input.name, types.text(input.ty.id)))
                .collect();
            let text = format!("({}) -> {}", inputs.join(", "), types.text(method.output.id));
            items.insert(format!("method {}.{}", api.name, method.name), text);
        }
    }
    for (name, ty) in [
        ("call", metadata.outer_enums.call_enum_ty),
        ("event", metadata.outer_enums.event_enum_ty),
        ("error", metadata.outer_enums.error_enum_ty),
    ] {
        items.insert(format!("outer {name}"), types.text(ty.id));
    }
    let extrinsic = &metadata.extrinsic;
    items.insert("extrinsic versions".to_owned(), format!("{:?}", extrinsic.versions));
    items.insert("extrinsic address".to_owned(), types.text(extrinsic.address_ty.id));
    items.insert("extrinsic signature".to_owned(), types.text(extrinsic.signature_ty.id));
    for extension in &extrinsic.transaction_extensions {
        let text = format!("{}, implicit {}", types.text(extension.ty.id), types.text(extension.implicit.id));
        items.insert(format!("extension {}", extension.identifier), text);
    }
    items
}
