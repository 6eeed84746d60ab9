//! The newest profile against the words that the newest runtimes use, as the Python SDK was generated with them.
//!
//! Of those runtimes no metadata is to be had here, but the SDK's package has, for every storage item the name of its value's
//! type, for every call the names and types of its arguments, and the names of all methods of runtime APIs and errors. So
//! what is younger than spec 365, and the named numbers of everything else, have a judge too. Numbers (of calls, of errors) it does not
//! tell by name and are not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use basilica_devchain::profile::Profile;
use basilica_devchain::profile::metadata::is_unused;
use frame_metadata::v14::StorageEntryType;
use frame_metadata::v16::RuntimeMetadataV16;
use scale_info::TypeDef;
use serde::Deserialize;

use crate::finney::ours;

const PYTHON: &str = "BASILICA_SDK_PYTHON";

/// By pallet or API, then by name.
type Named<V> = BTreeMap<String, BTreeMap<String, V>>;

#[derive(Deserialize)]
struct Vocabulary {
    storage: Named<String>,
    methods: Named<String>,
    calls: Named<Vec<(String, String)>>,
    errors: BTreeSet<String>,
}

fn vocabulary() -> Vocabulary {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| {
        panic!("{PYTHON} is not set: it names a Python with bittensor 11, which `cargo xtask test` makes")
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/vocabulary.py");
    let output = Command::new(&python).arg(script).output().expect("Python starts");
    assert!(output.status.success(), "{python} {script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// The SDK's name of a type: the last segment of its path, or its structure where it has none.
fn ident(metadata: &RuntimeMetadataV16, id: u32) -> String {
    let of = |id: u32| ident(metadata, id);
    let ty = metadata.types.resolve(id).expect("metadata refers to its own types");
    if ty.path.ident().as_deref() == Some("Option") {
        return format!(
            "Option<{}>",
            ty.type_params.first().and_then(|some| some.ty).map_or_else(String::new, |some| of(some.id))
        );
    }
    if let Some(name) = ty.path.ident() {
        return name;
    }
    match &ty.type_def {
        TypeDef::Sequence(inner) => format!("Vec<{}>", of(inner.type_param.id)),
        TypeDef::Array(inner) => format!("[{}; {}]", of(inner.type_param.id), inner.len),
        TypeDef::Compact(inner) => of(inner.type_param.id),
        TypeDef::Tuple(parts) => {
            let parts: Vec<_> = parts.fields.iter().map(|part| of(part.id)).collect();
            format!("({})", parts.join(", "))
        }
        TypeDef::Primitive(primitive) => format!("{primitive:?}").to_lowercase(),
        other => format!("{other:?}"),
    }
}

/// A difference that is allowed, and why.
type Allowed = (&'static str, &'static [&'static str], &'static str);

const ALLOWED: &[Allowed] = &[
    ("call BasilicaDevchain", &["set_beacon_paused"], MARKER),
    ("storage BasilicaDevchain", &["BeaconPaused", "BlockTime", "Profile"], MARKER),
    ("storage System", &["BlockSize", "BlocksTillUpgrade"], FRAME),
    ("storage TransactionPayment", &["TxPaymentCredit"], FRAME),
    ("call Balances", &["force_unreserve"], BALANCES),
    ("storage Balances", &["InactiveIssuance", "TotalIssuance"], BALANCES),
    (
        "storage SubtensorModule",
        &["Alpha", "TotalHotkeyShares"],
        "the newest runtimes keep shares as floating numbers under other names; here they are as before in both profiles",
    ),
    (
        "storage SubtensorModule",
        &["RootClaimType"],
        "btcli 9.23.2 reads it together with items younger than spec 365, so its `subnets show` would work nowhere",
    ),
];

const MARKER: &str = "by this pallet a client knows the development chain";
const FRAME: &str = "this FRAME is newer than the public chain's";
const BALANCES: &str = "FRAME computes with balances, so they are plain numbers in its pallets";

fn complaints(metadata: &RuntimeMetadataV16, words: &Vocabulary) -> BTreeMap<String, String> {
    let mut complaints = BTreeMap::new();
    for pallet in &metadata.pallets {
        let name = &pallet.name;
        for entry in pallet.storage.iter().flat_map(|storage| &storage.entries) {
            let (StorageEntryType::Plain(value) | StorageEntryType::Map { value, .. }) = &entry.ty;
            let ours = ident(metadata, value.id);
            let theirs = words.storage.get(name).and_then(|items| items.get(&entry.name));
            if theirs != Some(&ours) {
                complaints
                    .insert(format!("storage {name}.{}", entry.name), format!("{ours}, not {theirs:?}"));
            }
        }
        for variant in variants(metadata, pallet.calls.as_ref().map(|calls| calls.ty.id)) {
            let ours: Vec<(String, String)> = variant
                .fields
                .iter()
                .map(|field| (field.name.clone().unwrap_or_default(), ident(metadata, field.ty.id)))
                .collect();
            let theirs = words.calls.get(name).and_then(|calls| calls.get(&variant.name));
            let is_same = theirs.is_some_and(|theirs| {
                let mut pairs = theirs.iter().zip(&ours);
                theirs.len() == ours.len()
                    && pairs
                        .all(|(theirs, ours)| theirs.0 == ours.0 && (theirs.1 == "Any" || theirs.1 == ours.1))
            });
            if !is_same {
                complaints
                    .insert(format!("call {name}.{}", variant.name), format!("{ours:?}, not {theirs:?}"));
            }
        }
        for variant in variants(metadata, pallet.error.as_ref().map(|error| error.ty.id)) {
            let error = format!("{name}.{}", variant.name);
            if !words.errors.contains(&error) && !is_unused(&variant.name) {
                complaints.insert(format!("error {error}"), "does not exist".to_owned());
            }
        }
    }
    for api in &metadata.apis {
        let theirs = words.methods.get(&api.name);
        for method in &api.methods {
            if !theirs.is_some_and(|methods| methods.contains_key(&method.name)) {
                complaints
                    .insert(format!("method {}.{}", api.name, method.name), "does not exist".to_owned());
            }
        }
    }
    complaints
}

fn variants(
    metadata: &RuntimeMetadataV16,
    id: Option<u32>,
) -> Vec<scale_info::Variant<scale_info::form::PortableForm>> {
    match id.and_then(|id| metadata.types.resolve(id)).map(|ty| &ty.type_def) {
        Some(TypeDef::Variant(all)) => all.variants.clone(),
        _ => Vec::new(),
    }
}

#[test]
fn newest_uses_the_words_of_the_newest_runtimes() {
    let mut complaints = complaints(&ours(Profile::Newest), &vocabulary());
    let mut stale = Vec::new();
    for (container, names, reason) in ALLOWED {
        for name in *names {
            let item = format!("{container}.{name}");
            if complaints.remove(&item).is_none() {
                stale.push(format!("{item} is allowed to differ ({reason}), but does not"));
            }
        }
    }
    let found: Vec<_> = complaints.iter().map(|(item, why)| format!("{item}: {why}")).collect();
    assert!(found.is_empty() && stale.is_empty(), "{}\n{}", found.join("\n"), stale.join("\n"));
}
