//! Metadata as an upgraded runtime would give it: versions 14, 15 and 16 decoded, changed, encoded again.

use codec::{Compact, Decode as _, Encode as _};
use frame_metadata::v14::StorageEntryType;
use frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed, v14, v15, v16};
use scale_info::form::PortableForm;
use scale_info::{
    Field, Path, PortableRegistry, PortableType, Type, TypeDef, TypeDefArray, TypeDefComposite,
    TypeDefPrimitive, TypeDefTuple, Variant,
};

use super::{Change, UpgradeError, Upgrades};

/// How deep types may nest while their size is computed.
const MAX_DEPTH: u8 = 16;

/// What a `Metadata_*` method answered, with the upgrades in it. What is no metadata (the list of versions) stays.
#[must_use]
pub fn answer(upgrades: &Upgrades, answer: Vec<u8>) -> Vec<u8> {
    // `metadata_at_version` answers an option, `metadata` does not.
    if let Ok(Some(bytes)) = Option::<Vec<u8>>::decode(&mut &answer[..])
        && let Some(changed) = changed(upgrades, &bytes)
    {
        return Some(changed).encode();
    }
    match Vec::<u8>::decode(&mut &answer[..]).ok().and_then(|bytes| changed(upgrades, &bytes)) {
        Some(changed) => changed.encode(),
        None => answer,
    }
}

fn changed(upgrades: &Upgrades, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut prefixed = RuntimeMetadataPrefixed::decode(&mut &bytes[..]).ok()?;
    for change in &upgrades.changes {
        // Each was checked when it was made; a version of metadata without the thing (an API in 14) has nothing to change.
        let _ = apply(&mut prefixed.1, change);
    }
    Some(prefixed.encode())
}

/// Checks changes against what `Metadata_metadata_at_version` answers and refuses those that do not fit.
pub(super) fn check(answer: &[u8], changes: &[Change]) -> Result<(), UpgradeError> {
    let bytes =
        Option::<Vec<u8>>::decode(&mut &answer[..]).ok().flatten().ok_or(UpgradeError::Undecodable)?;
    let mut prefixed =
        RuntimeMetadataPrefixed::decode(&mut &bytes[..]).map_err(|_| UpgradeError::Undecodable)?;
    changes.iter().try_for_each(|change| apply(&mut prefixed.1, change))
}

/// What the versions of metadata have in common of one storage item.
struct Item<'a> {
    name: &'a mut String,
    kind: &'a mut StorageEntryType<PortableForm>,
}

/// Applies one change.
fn apply(metadata: &mut RuntimeMetadata, change: &Change) -> Result<(), UpgradeError> {
    match change {
        Change::Wrap { pallet, item, name } => retype(metadata, pallet, item, |types, inner| {
            let field = Field::new(None, inner, None, Vec::new());
            Ok(add_type(types, name, TypeDefComposite::new([field]).into()))
        }),
        Change::Opaque { pallet, item } => retype(metadata, pallet, item, |types, inner| {
            let size = fixed_size(types, inner, 0)
                .ok_or_else(|| UpgradeError::NoFixedSize(format!("{pallet}.{item}")))?;
            let byte = byte_type(types)?;
            let array = add_type(types, "", TypeDefArray::new(size, byte.into()).into());
            let field = Field::new(None, array.into(), None, Vec::new());
            Ok(add_type(types, "Opaque", TypeDefComposite::new([field]).into()))
        }),
        Change::RenameStorage { pallet, item, to } => {
            if with_item(metadata, pallet, to, |_, _| Ok(())).is_ok() {
                return Err(UpgradeError::Taken(format!("{pallet}.{to}")));
            }
            with_item(metadata, pallet, item, |item, _| {
                item.name.clone_from(to);
                Ok(())
            })
        }
        Change::RemoveStorage { pallet, item } => {
            with_item(metadata, pallet, item, |_, _| Ok(()))?;
            remove_item(metadata, pallet, item);
            Ok(())
        }
        Change::RemoveCall { pallet, call } => with_calls(metadata, pallet, |calls| {
            let position = calls
                .iter()
                .position(|variant| variant.name == *call)
                .ok_or_else(|| UpgradeError::Unknown(format!("call {pallet}.{call}")))?;
            calls.remove(position);
            Ok(())
        }),
        Change::RemoveApi { api, method } => remove_method(metadata, api, method),
        Change::AddExtension { name, carries_byte } => add_extension(metadata, name, *carries_byte),
    }
}

fn retype(
    metadata: &mut RuntimeMetadata,
    pallet: &str,
    item: &str,
    new_type: impl FnOnce(
        &mut PortableRegistry,
        scale_info::interner::UntrackedSymbol<std::any::TypeId>,
    ) -> Result<u32, UpgradeError>,
) -> Result<(), UpgradeError> {
    with_item(metadata, pallet, item, |item, types| {
        let value = match item.kind {
            StorageEntryType::Plain(value) | StorageEntryType::Map { value, .. } => value,
        };
        *value = new_type(types, *value)?.into();
        Ok(())
    })
}

/// Runs the same lines on whichever version of metadata this is.
macro_rules! each_version {
    ($metadata:expr, $inner:ident => $body:expr) => {
        match $metadata {
            RuntimeMetadata::V14($inner) => $body,
            RuntimeMetadata::V15($inner) => $body,
            RuntimeMetadata::V16($inner) => $body,
            _ => Err(UpgradeError::Undecodable),
        }
    };
}

fn with_item(
    metadata: &mut RuntimeMetadata,
    pallet: &str,
    item: &str,
    change: impl FnOnce(Item<'_>, &mut PortableRegistry) -> Result<(), UpgradeError>,
) -> Result<(), UpgradeError> {
    let unknown = || UpgradeError::Unknown(format!("storage item {pallet}.{item}"));
    each_version!(metadata, inner => {
        let entry = inner
            .pallets
            .iter_mut()
            .find(|candidate| candidate.name == pallet)
            .and_then(|pallet| pallet.storage.as_mut())
            .and_then(|storage| storage.entries.iter_mut().find(|entry| entry.name == item))
            .ok_or_else(unknown)?;
        change(Item { name: &mut entry.name, kind: &mut entry.ty }, &mut inner.types)
    })
}

fn remove_item(metadata: &mut RuntimeMetadata, pallet: &str, item: &str) {
    let removed: Result<(), UpgradeError> = each_version!(metadata, inner => {
        for storage in inner
            .pallets
            .iter_mut()
            .filter(|candidate| candidate.name == pallet)
            .filter_map(|pallet| pallet.storage.as_mut())
        {
            storage.entries.retain(|entry| entry.name != item);
        }
        Ok(())
    });
    debug_assert!(removed.is_ok(), "the item was found in this metadata before");
}

fn with_calls(
    metadata: &mut RuntimeMetadata,
    pallet: &str,
    change: impl FnOnce(&mut Vec<Variant<PortableForm>>) -> Result<(), UpgradeError>,
) -> Result<(), UpgradeError> {
    let unknown = || UpgradeError::Unknown(format!("pallet {pallet} with calls"));
    each_version!(metadata, inner => {
        let calls = inner
            .pallets
            .iter()
            .find(|candidate| candidate.name == pallet)
            .and_then(|pallet| Some(pallet.calls.as_ref()?.ty.id))
            .ok_or_else(unknown)?;
        match inner.types.types.get_mut(calls as usize).map(|found| &mut found.ty.type_def) {
            Some(TypeDef::Variant(calls)) => change(&mut calls.variants),
            _ => Err(unknown()),
        }
    })
}

fn remove_method(metadata: &mut RuntimeMetadata, api: &str, method: &str) -> Result<(), UpgradeError> {
    let unknown = || UpgradeError::Unknown(format!("runtime API method {api}_{method}"));
    macro_rules! remove {
        ($inner:expr) => {{
            let methods = $inner
                .apis
                .iter_mut()
                .find(|candidate| candidate.name == api)
                .map(|api| &mut api.methods)
                .ok_or_else(unknown)?;
            let position =
                methods.iter().position(|candidate| candidate.name == method).ok_or_else(unknown)?;
            methods.remove(position);
            Ok(())
        }};
    }
    match metadata {
        RuntimeMetadata::V15(inner) => remove!(inner),
        RuntimeMetadata::V16(inner) => remove!(inner),
        // Version 14 knows nothing of APIs.
        RuntimeMetadata::V14(_) => Ok(()),
        _ => Err(UpgradeError::Undecodable),
    }
}

fn add_extension(metadata: &mut RuntimeMetadata, name: &str, carries_byte: bool) -> Result<(), UpgradeError> {
    let identifier = name.to_owned();
    let add = |types: &mut PortableRegistry| -> Result<(u32, u32), UpgradeError> {
        let unit = add_type(types, "", TypeDefTuple::new_portable([]).into());
        Ok((if carries_byte { byte_type(types)? } else { unit }, unit))
    };
    match metadata {
        RuntimeMetadata::V14(inner) => {
            let (ty, additional) = add(&mut inner.types)?;
            let (ty, additional_signed) = (ty.into(), additional.into());
            inner.extrinsic.signed_extensions.push(v14::SignedExtensionMetadata {
                identifier,
                ty,
                additional_signed,
            });
        }
        RuntimeMetadata::V15(inner) => {
            let (ty, additional) = add(&mut inner.types)?;
            let (ty, additional_signed) = (ty.into(), additional.into());
            inner.extrinsic.signed_extensions.push(v15::SignedExtensionMetadata {
                identifier,
                ty,
                additional_signed,
            });
        }
        RuntimeMetadata::V16(inner) => {
            let (ty, implicit) = add(&mut inner.types)?;
            let (ty, implicit) = (ty.into(), implicit.into());
            let extensions = &mut inner.extrinsic.transaction_extensions;
            let index = Compact(u32::try_from(extensions.len()).unwrap_or(u32::MAX));
            extensions.push(v16::TransactionExtensionMetadata { identifier, ty, implicit });
            inner
                .extrinsic
                .transaction_extensions_by_version
                .values_mut()
                .for_each(|indexes| indexes.push(index));
        }
        _ => return Err(UpgradeError::Undecodable),
    }
    Ok(())
}

/// Adds a type and says its number.
fn add_type(types: &mut PortableRegistry, name: &str, type_def: TypeDef<PortableForm>) -> u32 {
    let id = u32::try_from(types.types.len()).unwrap_or(u32::MAX);
    let segments = (!name.is_empty()).then(|| name.to_owned());
    let path = Path::from_segments_unchecked(segments);
    types
        .types
        .push(PortableType { id, ty: Type { path, type_params: Vec::new(), type_def, docs: Vec::new() } });
    id
}

fn byte_type(types: &PortableRegistry) -> Result<u32, UpgradeError> {
    types
        .types
        .iter()
        .find(|candidate| matches!(candidate.ty.type_def, TypeDef::Primitive(TypeDefPrimitive::U8)))
        .map(|found| found.id)
        .ok_or_else(|| UpgradeError::Unknown("type u8".to_owned()))
}

/// The size of every encoding of a type, if all have the same.
fn fixed_size(
    types: &PortableRegistry,
    id: scale_info::interner::UntrackedSymbol<std::any::TypeId>,
    depth: u8,
) -> Option<u32> {
    if depth > MAX_DEPTH {
        return None;
    }
    match &types.resolve(id.id)?.type_def {
        TypeDef::Composite(composite) => composite
            .fields
            .iter()
            .try_fold(0u32, |sum, field| sum.checked_add(fixed_size(types, field.ty, depth + 1)?)),
        TypeDef::Tuple(tuple) => tuple
            .fields
            .iter()
            .try_fold(0u32, |sum, field| sum.checked_add(fixed_size(types, *field, depth + 1)?)),
        TypeDef::Array(array) => fixed_size(types, array.type_param, depth + 1)?.checked_mul(array.len),
        TypeDef::Primitive(primitive) => match primitive {
            TypeDefPrimitive::Bool | TypeDefPrimitive::U8 | TypeDefPrimitive::I8 => Some(1),
            TypeDefPrimitive::U16 | TypeDefPrimitive::I16 => Some(2),
            TypeDefPrimitive::U32 | TypeDefPrimitive::I32 | TypeDefPrimitive::Char => Some(4),
            TypeDefPrimitive::U64 | TypeDefPrimitive::I64 => Some(8),
            TypeDefPrimitive::U128 | TypeDefPrimitive::I128 => Some(16),
            TypeDefPrimitive::U256 | TypeDefPrimitive::I256 => Some(32),
            TypeDefPrimitive::Str => None,
        },
        _ => None,
    }
}
