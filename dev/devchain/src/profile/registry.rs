//! The registry of types without those that nothing refers to: what a profile hides must not stay behind as a type, because
//! SDKs that look a type up by its path would find two.

use std::any::TypeId;
use std::collections::BTreeSet;

use frame_metadata::RuntimeMetadata;
use frame_metadata::v14::StorageEntryType;
use scale_info::interner::UntrackedSymbol;

type Id = UntrackedSymbol<TypeId>;

/// Leaves the types that metadata refers to, and numbers them anew.
pub fn prune(metadata: &mut RuntimeMetadata) {
    let mut used = BTreeSet::new();
    each_reference(metadata, &mut |id| {
        used.insert(id.id);
    });
    let renumbered = match metadata {
        RuntimeMetadata::V14(inner) => inner.types.retain(|id| used.contains(&id)),
        RuntimeMetadata::V15(inner) => inner.types.retain(|id| used.contains(&id)),
        RuntimeMetadata::V16(inner) => inner.types.retain(|id| used.contains(&id)),
        _ => return,
    };
    each_reference(metadata, &mut |id| {
        if let Some(new) = renumbered.get(&id.id) {
            *id = Id::from(*new);
        }
    });
}

fn each_in_storage(
    ty: &mut StorageEntryType<scale_info::form::PortableForm>,
    visit: &mut impl FnMut(&mut Id),
) {
    match ty {
        StorageEntryType::Plain(value) => visit(value),
        StorageEntryType::Map { key, value, .. } => {
            visit(key);
            visit(value);
        }
    }
}

/// Visits every number of a type outside of the registry itself.
fn each_reference(metadata: &mut RuntimeMetadata, visit: &mut impl FnMut(&mut Id)) {
    macro_rules! pallets {
        ($metadata:expr) => {
            for pallet in &mut $metadata.pallets {
                for entry in pallet.storage.iter_mut().flat_map(|storage| &mut storage.entries) {
                    each_in_storage(&mut entry.ty, visit);
                }
                pallet.calls.iter_mut().for_each(|calls| visit(&mut calls.ty));
                pallet.event.iter_mut().for_each(|event| visit(&mut event.ty));
                pallet.error.iter_mut().for_each(|error| visit(&mut error.ty));
                pallet.constants.iter_mut().for_each(|constant| visit(&mut constant.ty));
            }
        };
    }
    macro_rules! apis_and_enums {
        ($metadata:expr) => {
            for method in $metadata.apis.iter_mut().flat_map(|api| &mut api.methods) {
                method.inputs.iter_mut().for_each(|input| visit(&mut input.ty));
                visit(&mut method.output);
            }
            let enums = &mut $metadata.outer_enums;
            [&mut enums.call_enum_ty, &mut enums.event_enum_ty, &mut enums.error_enum_ty]
                .into_iter()
                .for_each(&mut *visit);
            $metadata.custom.map.values_mut().for_each(|custom| visit(&mut custom.ty));
            let extrinsic = &mut $metadata.extrinsic;
            [&mut extrinsic.address_ty, &mut extrinsic.call_ty, &mut extrinsic.signature_ty]
                .into_iter()
                .for_each(&mut *visit);
        };
    }
    match metadata {
        RuntimeMetadata::V14(inner) => {
            pallets!(inner);
            visit(&mut inner.ty);
            visit(&mut inner.extrinsic.ty);
            for extension in &mut inner.extrinsic.signed_extensions {
                visit(&mut extension.ty);
                visit(&mut extension.additional_signed);
            }
        }
        RuntimeMetadata::V15(inner) => {
            pallets!(inner);
            apis_and_enums!(inner);
            visit(&mut inner.ty);
            visit(&mut inner.extrinsic.extra_ty);
            for extension in &mut inner.extrinsic.signed_extensions {
                visit(&mut extension.ty);
                visit(&mut extension.additional_signed);
            }
        }
        RuntimeMetadata::V16(inner) => {
            pallets!(inner);
            apis_and_enums!(inner);
            for extension in &mut inner.extrinsic.transaction_extensions {
                visit(&mut extension.ty);
                visit(&mut extension.implicit);
            }
            for pallet in &mut inner.pallets {
                pallet.associated_types.iter_mut().for_each(|associated| visit(&mut associated.ty));
                for function in &mut pallet.view_functions {
                    function.inputs.iter_mut().for_each(|input| visit(&mut input.ty));
                    visit(&mut function.output);
                }
            }
        }
        _ => {}
    }
}
