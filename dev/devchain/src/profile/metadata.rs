//! Metadata as a profile shows it: versions 14, 15 and 16 decoded, cut and encoded again.
//!
//! A named number is erased by giving its type's number the definition of the plain one, so nothing else changes for
//! it; types that nothing refers to any more are left out at the end.

use codec::{Compact, Decode as _, Encode as _};
use frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed, v15, v16};
use scale_info::form::PortableForm;
use scale_info::{PortableRegistry, TypeDef, Variant};

use super::apis::LEGACY_PREFIX;
use super::catalogue::{Kind, hides};
use super::{Profile, paths, registry};

/// The named numbers that spec 365 shows as plain ones.
const NEWTYPES: [&str; 6] =
    ["AlphaBalance", "MechId", "NetUid", "NetUidStorageIndex", "PerU16", "TaoBalance"];

/// What a `Metadata_*` method answers under a profile. What is no metadata (the list of versions) stays.
#[must_use]
pub fn answer(profile: Profile, method: &str, answer: Vec<u8>) -> Vec<u8> {
    let shown = |encoded: Vec<u8>| match RuntimeMetadataPrefixed::decode(&mut &encoded[..]) {
        Ok(mut metadata) => {
            show(profile, &mut metadata.1);
            metadata.encode()
        }
        Err(_) => encoded,
    };
    match method {
        "Metadata_metadata" => Vec::<u8>::decode(&mut &answer[..]).map(|encoded| shown(encoded).encode()),
        "Metadata_metadata_at_version" => {
            Option::<Vec<u8>>::decode(&mut &answer[..]).map(|encoded| encoded.map(shown).encode())
        }
        _ => return answer,
    }
    .unwrap_or(answer)
}

/// Cuts metadata to what a profile has.
pub fn show(profile: Profile, metadata: &mut RuntimeMetadata) {
    macro_rules! pallets {
        ($metadata:expr) => {
            for pallet in &mut $metadata.pallets {
                let name = pallet.name.clone();
                let has = |kind, item: &str| !hides(profile, kind, &name, item);
                if let Some(storage) = &mut pallet.storage {
                    storage.entries.retain(|entry| has(Kind::Storage, &entry.name));
                }
                pallet.constants.retain(|constant| has(Kind::Constant, &constant.name));
                let enums = [
                    (Kind::Call, pallet.calls.as_ref().map(|calls| calls.ty.id)),
                    (Kind::Event, pallet.event.as_ref().map(|event| event.ty.id)),
                    (Kind::Error, pallet.error.as_ref().map(|error| error.ty.id)),
                ];
                for (kind, id) in enums {
                    if let Some(id) = id {
                        retain_variants(&mut $metadata.types, id, |variant| has(kind, &variant.name));
                        if kind == Kind::Error {
                            close_gaps(&mut $metadata.types, id);
                        }
                    }
                }
            }
        };
    }
    match metadata {
        RuntimeMetadata::V14(inner) => {
            pallets!(inner);
            inner
                .extrinsic
                .signed_extensions
                .retain(|extension| !hides(profile, Kind::Extension, "", &extension.identifier));
            show_types(profile, &mut inner.types);
        }
        RuntimeMetadata::V15(inner) => {
            pallets!(inner);
            inner
                .extrinsic
                .signed_extensions
                .retain(|extension| !hides(profile, Kind::Extension, "", &extension.identifier));
            show_apis_15(profile, &mut inner.apis);
            show_types(profile, &mut inner.types);
        }
        RuntimeMetadata::V16(inner) => {
            pallets!(inner);
            show_extensions_16(profile, &mut inner.extrinsic);
            show_apis_16(profile, &mut inner.apis);
            show_types(profile, &mut inner.types);
        }
        // FRAME gives no other version.
        _ => {}
    }
    registry::prune(metadata);
}

fn retain_variants(types: &mut PortableRegistry, id: u32, keep: impl FnMut(&Variant<PortableForm>) -> bool) {
    if let Some(TypeDef::Variant(all)) = types.types.get_mut(id as usize).map(|found| &mut found.ty.type_def)
    {
        all.variants.retain(keep);
    }
}

/// What stands where a profile hides an error.
const UNUSED: &str = "Unused";

/// Whether an error only keeps the place of one that the profile hides.
#[must_use]
pub fn is_unused(error: &str) -> bool {
    error.strip_prefix(UNUSED).is_some_and(|index| index.parse::<u8>().is_ok())
}

/// Puts something in the place of each number that has no error: `async-substrate-interface` takes the number of an error
/// for its place in the list, which holds on the public chain.
fn close_gaps(types: &mut PortableRegistry, id: u32) {
    let Some(TypeDef::Variant(all)) = types.types.get_mut(id as usize).map(|found| &mut found.ty.type_def)
    else {
        return;
    };
    let last = all.variants.iter().map(|variant| variant.index).max().unwrap_or(0);
    for index in 0..last {
        if !all.variants.iter().any(|variant| variant.index == index) {
            let docs = vec!["Never occurs.".to_owned()];
            all.variants.push(Variant { name: format!("{UNUSED}{index}"), fields: Vec::new(), index, docs });
        }
    }
    all.variants.sort_by_key(|variant| variant.index);
}

/// Shows types where the public chain has them, and named numbers as plain ones if the profile is that old.
fn show_types(profile: Profile, types: &mut PortableRegistry) {
    paths::rename(types);
    if profile == Profile::Legacy {
        erase_newtypes(types);
    }
}

/// Gives every named number's type the definition of the plain number.
pub fn erase_newtypes(types: &mut PortableRegistry) {
    let plain: Vec<(usize, u32)> = types
        .types
        .iter()
        .enumerate()
        .filter_map(|(position, found)| {
            let name = found.ty.path.ident()?;
            let TypeDef::Composite(composite) = &found.ty.type_def else { return None };
            match composite.fields.as_slice() {
                [field] if NEWTYPES.contains(&name.as_str()) => Some((position, field.ty.id)),
                _ => None,
            }
        })
        .collect();
    for (position, inner) in plain {
        if let Some(inner) = types.resolve(inner).cloned() {
            types.types[position].ty = inner;
        }
    }
}

/// Takes the legacy APIs out; under [`Profile::Legacy`] their methods replace those of the API they stand in for.
macro_rules! show_apis {
    ($name:ident, $api:ty) => {
        fn $name(profile: Profile, apis: &mut Vec<$api>) {
            let (legacy, mut shown): (Vec<_>, Vec<_>) =
                std::mem::take(apis).into_iter().partition(|api| api.name.starts_with(LEGACY_PREFIX));
            for api in &mut shown {
                api.methods.retain(|method| !hides(profile, Kind::Method, &api.name, &method.name));
            }
            if profile == Profile::Legacy {
                for stand_in in legacy {
                    let name = &stand_in.name[LEGACY_PREFIX.len()..];
                    let Some(api) = shown.iter_mut().find(|api| api.name == name) else { continue };
                    for method in stand_in.methods {
                        match api.methods.iter_mut().find(|shown| shown.name == method.name) {
                            Some(shown) => *shown = method,
                            None => api.methods.push(method),
                        }
                    }
                }
            }
            *apis = shown;
        }
    };
}
show_apis!(show_apis_15, v15::RuntimeApiMetadata<PortableForm>);
show_apis!(show_apis_16, v16::RuntimeApiMetadata<PortableForm>);

fn show_extensions_16(profile: Profile, extrinsic: &mut v16::ExtrinsicMetadata<PortableForm>) {
    let kept: Vec<u32> = (0u32..)
        .zip(&extrinsic.transaction_extensions)
        .filter(|(_, extension)| !hides(profile, Kind::Extension, "", &extension.identifier))
        .map(|(index, _)| index)
        .collect();
    extrinsic
        .transaction_extensions
        .retain(|extension| !hides(profile, Kind::Extension, "", &extension.identifier));
    let renumbered = |old: Compact<u32>| {
        (0u32..).zip(&kept).find(|(_, index)| **index == old.0).map(|(new, _)| Compact(new))
    };
    for indexes in extrinsic.transaction_extensions_by_version.values_mut() {
        *indexes = indexes.iter().copied().filter_map(renumbered).collect();
    }
}
