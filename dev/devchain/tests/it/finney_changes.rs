//! The comparison with spec 365 must see every kind of change: each is made to the metadata of the legacy profile, and the
//! item that it is made to must be complained about.

use basilica_devchain::profile::Profile;
use frame_metadata::v14::{StorageEntryModifier, StorageEntryType, StorageHasher};
use frame_metadata::v16::{PalletMetadata, RuntimeMetadataV16, StorageEntryMetadata};
use scale_info::form::PortableForm;
use scale_info::interner::UntrackedSymbol;
use scale_info::{TypeDef, TypeDefPrimitive, Variant};

use crate::finney::{ALLOWED, Allowed, complaints, finney, ours};
use crate::shape::items;

type Pallet = PalletMetadata<PortableForm>;
type Id = UntrackedSymbol<std::any::TypeId>;

fn pallet<'m>(metadata: &'m mut RuntimeMetadataV16, name: &str) -> &'m mut Pallet {
    metadata.pallets.iter_mut().find(|pallet| pallet.name == name).expect("the pallet exists")
}

fn entry<'m>(metadata: &'m mut RuntimeMetadataV16, name: &str) -> &'m mut StorageEntryMetadata<PortableForm> {
    let storage = pallet(metadata, "SubtensorModule").storage.as_mut().expect("it has storage");
    storage.entries.iter_mut().find(|entry| entry.name == name).expect("the item exists")
}

/// A variant of an enum of the pallet: of its calls, events or errors.
fn variant<'m>(
    metadata: &'m mut RuntimeMetadataV16,
    of: fn(&Pallet) -> Id,
    name: &str,
) -> &'m mut Variant<PortableForm> {
    let id = of(pallet(metadata, "SubtensorModule"));
    let ty = metadata.types.types.get_mut(id.id as usize).expect("its own type");
    let TypeDef::Variant(all) = &mut ty.ty.type_def else { panic!("no enum") };
    all.variants.iter_mut().find(|variant| variant.name == name).expect("the variant exists")
}

fn calls(pallet: &Pallet) -> Id {
    pallet.calls.as_ref().expect("it has calls").ty
}

fn events(pallet: &Pallet) -> Id {
    pallet.event.as_ref().expect("it has events").ty
}

fn errors(pallet: &Pallet) -> Id {
    pallet.error.as_ref().expect("it has errors").ty
}

/// A type that nothing here changes to by accident.
fn characters(metadata: &RuntimeMetadataV16) -> Id {
    let is_string = |ty: &TypeDef<PortableForm>| matches!(ty, TypeDef::Primitive(TypeDefPrimitive::Str));
    let found = metadata.types.types.iter().find(|found| is_string(&found.ty.type_def));
    Id::from(found.expect("something is a string").id)
}

fn hash_otherwise(metadata: &mut RuntimeMetadataV16) {
    let StorageEntryType::Map { hashers, .. } = &mut entry(metadata, "Uids").ty else { panic!("no map") };
    hashers[1] = StorageHasher::Twox64Concat;
}

fn another_key(metadata: &mut RuntimeMetadataV16) {
    let other = characters(metadata);
    let StorageEntryType::Map { key, .. } = &mut entry(metadata, "Tempo").ty else { panic!("no map") };
    *key = other;
}

fn another_value(metadata: &mut RuntimeMetadataV16) {
    let other = characters(metadata);
    let StorageEntryType::Map { value, .. } = &mut entry(metadata, "Burn").ty else { panic!("no map") };
    *value = other;
}

fn another_argument(metadata: &mut RuntimeMetadataV16) {
    let other = characters(metadata);
    variant(metadata, calls, "serve_axon").fields[3].ty = other;
}

fn another_constant(metadata: &mut RuntimeMetadataV16) {
    let constants = &mut pallet(metadata, "SubtensorModule").constants;
    let tempo = constants.iter_mut().find(|constant| constant.name == "InitialTempo");
    tempo.expect("the constant exists").value[0] ^= 1;
}

fn with_method(metadata: &mut RuntimeMetadataV16, change: fn(&mut Id, &mut String, Id)) {
    let other = characters(metadata);
    let api =
        metadata.apis.iter_mut().find(|api| api.name == "NeuronInfoRuntimeApi").expect("the API exists");
    let method = api.methods.iter_mut().find(|method| method.name == "get_neuron").expect("it exists");
    change(&mut method.output, &mut method.inputs[0].name, other);
}

fn another_part_of_a_record(metadata: &mut RuntimeMetadataV16) {
    let is_axon = |path: &[String]| path.last().is_some_and(|name| name == "AxonInfo");
    let axon = metadata.types.types.iter_mut().find(|found| is_axon(&found.ty.path.segments));
    let TypeDef::Composite(axon) = &mut axon.expect("it exists").ty.type_def else { panic!("no record") };
    axon.fields.swap(0, 1);
}

fn another_path(metadata: &mut RuntimeMetadataV16) {
    let id = events(pallet(metadata, "SubtensorModule"));
    metadata.types.types[id.id as usize].ty.path.segments[0] = "elsewhere".to_owned();
}

fn another_implicit(metadata: &mut RuntimeMetadataV16) {
    let other = characters(metadata);
    metadata.extrinsic.transaction_extensions[0].implicit = other;
}

fn a_new_entry(metadata: &mut RuntimeMetadataV16) {
    let mut new = entry(metadata, "Tempo").clone();
    new.name = "Novelty".to_owned();
    let storage = pallet(metadata, "SubtensorModule").storage.as_mut().expect("it has storage");
    storage.entries.push(new);
}

/// An item, and a change to it that a client would notice.
type Change = (&'static str, fn(&mut RuntimeMetadataV16));

const CHANGES: &[Change] = &[
    ("storage SubtensorModule.Uids", hash_otherwise),
    ("storage SubtensorModule.Tempo", another_key),
    ("storage SubtensorModule.Burn", another_value),
    ("storage SubtensorModule.Tempo", |metadata| entry(metadata, "Tempo").default[0] ^= 1),
    ("storage SubtensorModule.Tempo", |metadata| {
        entry(metadata, "Tempo").modifier = StorageEntryModifier::Optional;
    }),
    ("storage SubtensorModule.Axons", another_part_of_a_record),
    ("storage SubtensorModule.Novelty", a_new_entry),
    ("prefix SubtensorModule", |metadata| {
        pallet(metadata, "SubtensorModule").storage.as_mut().expect("it has storage").prefix.push('2');
    }),
    ("pallet Drand", |metadata| pallet(metadata, "Drand").index += 1),
    ("call SubtensorModule.set_weights", |metadata| variant(metadata, calls, "set_weights").index += 1),
    ("call SubtensorModule.commit_weights", |metadata| {
        variant(metadata, calls, "commit_weights").fields[1].name = Some("hash".to_owned());
    }),
    ("call SubtensorModule.reveal_weights", |metadata| {
        variant(metadata, calls, "reveal_weights").fields.swap(1, 2);
    }),
    ("call SubtensorModule.serve_axon", another_argument),
    ("call SubtensorModule.novelty", |metadata| {
        variant(metadata, calls, "set_weights").name = "novelty".to_owned();
    }),
    ("event SubtensorModule.WeightsSet", |metadata| variant(metadata, events, "WeightsSet").index += 1),
    ("event SubtensorModule.AxonServed", |metadata| {
        variant(metadata, events, "AxonServed").fields.swap(0, 1);
    }),
    ("events SubtensorModule", another_path),
    ("error SubtensorModule.InvalidPort", |metadata| variant(metadata, errors, "InvalidPort").index += 1),
    ("constant SubtensorModule.InitialTempo", another_constant),
    ("method NeuronInfoRuntimeApi.get_neuron", |metadata| {
        with_method(metadata, |output, _, other| *output = other);
    }),
    ("method NeuronInfoRuntimeApi.get_neuron", |metadata| {
        with_method(metadata, |_, input, _| "subnet".clone_into(input));
    }),
    ("extension CheckNonZeroSender", another_implicit),
    ("extrinsic versions", |metadata| metadata.extrinsic.versions.push(9)),
];

#[test]
fn every_kind_of_change_is_complained_about() {
    let (legacy, finney) = (ours(Profile::Legacy), items(&finney()));
    for (position, (item, change)) in CHANGES.iter().enumerate() {
        let mut changed = legacy.clone();
        change(&mut changed);
        let complaints = complaints(&items(&changed), &finney, ALLOWED);
        let is_named = complaints.iter().any(|complaint| complaint.lines().next() == Some(item));
        assert!(is_named, "change {position} to {item} gives only {complaints:?}");
    }
}

#[test]
fn an_allowance_that_is_not_needed_and_one_that_is_missing_are_complained_about() {
    let (legacy, finney) = (items(&ours(Profile::Legacy)), items(&finney()));
    let stale: Allowed = ("storage SubtensorModule", &["Tempo"], "tried");
    let allowed: Vec<Allowed> = ALLOWED.iter().copied().chain([stale]).collect();
    assert_eq!(
        complaints(&legacy, &finney, &allowed),
        ["storage SubtensorModule.Tempo is allowed to differ (tried), but does not"]
    );
    for position in 0..ALLOWED.len() {
        let mut fewer = ALLOWED.to_vec();
        let (container, names, _) = fewer.remove(position);
        let found = complaints(&legacy, &finney, &fewer).len();
        assert_eq!(found, names.len(), "without the allowance for {container} {names:?}");
    }
}
