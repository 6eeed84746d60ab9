//! What this chain claims, compared item by item with the public chain's own metadata of spec 365.
//!
//! The metadata is data from the package of the published crate `bittensor-rs` 0.1.1; `cargo xtask test` fetches it and
//! names it in `BASILICA_FINNEY_METADATA`.

use std::collections::{BTreeMap, BTreeSet};

use basilica_devchain::executor;
use basilica_devchain::genesis::Settings;
use basilica_devchain::profile::catalogue::{self, Entry, Kind};
use basilica_devchain::profile::{self, Profile};
use codec::{Decode as _, Encode as _};
use frame_metadata::v16::RuntimeMetadataV16;
use frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};

use crate::shape::{Items, items};

const VARIABLE: &str = "BASILICA_FINNEY_METADATA";
const SHA_256: &str = "4fcee8d89551a48e96b6b04a4484b445621f8983c170885f670d5130a1182f9f";

fn version_16(metadata: RuntimeMetadata) -> RuntimeMetadataV16 {
    match metadata {
        RuntimeMetadata::V16(metadata) => metadata,
        other => panic!("metadata of version {}, not 16", other.version()),
    }
}

/// Spec 365 of the public chain.
pub(crate) fn finney() -> RuntimeMetadataV16 {
    let path = std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: it names the metadata of spec 365 (metadata/finney.scale of the crate bittensor-rs \
             0.1.1), which `cargo xtask test` fetches"
        )
    });
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    assert_eq!(hex::encode(sp_io::hashing::sha2_256(&bytes)), SHA_256, "{path} is another file");
    version_16(RuntimeMetadataPrefixed::decode(&mut &bytes[..]).expect("metadata decodes").1)
}

fn metadata(profile: Profile, version: u32) -> RuntimeMetadata {
    let settings = Settings { profile, block_time_ms: 12_000, ..Settings::default() };
    let state = settings.resolve().expect("valid").state().expect("builds");
    let answer = executor::call(&state, "Metadata_metadata_at_version", &version.encode()).expect("answers");
    let bytes = Option::<Vec<u8>>::decode(&mut &answer[..]).expect("an option").expect("has the version");
    RuntimeMetadataPrefixed::decode(&mut &bytes[..]).expect("metadata decodes").1
}

pub(crate) fn ours(profile: Profile) -> RuntimeMetadataV16 {
    version_16(metadata(profile, 16))
}

/// A difference that is allowed: items by kind and container, their names, and why.
pub(crate) type Allowed = (&'static str, &'static [&'static str], &'static str);

/// What neither generation of the public chain has like this, under both profiles. Everything else that we show must be
/// equal; an entry that is not needed fails.
pub(crate) const ALLOWED: &[Allowed] = &[
    ("pallet BasilicaDevchain", &[""], MARKER),
    ("prefix BasilicaDevchain", &[""], MARKER),
    ("calls BasilicaDevchain", &[""], MARKER),
    ("constant BasilicaDevchain", &["Marker"], MARKER),
    ("storage BasilicaDevchain", &["BeaconPaused", "BlockTime", "Profile"], MARKER),
    ("call BasilicaDevchain", &["set_beacon_paused"], MARKER),
    ("storage System", &["BlockSize", "BlocksTillUpgrade"], FRAME),
    ("storage TransactionPayment", &["TxPaymentCredit"], FRAME),
    ("constant System", &["BlockLength"], FRAME),
    ("event System", &["CodeUpdated"], FRAME),
    (
        "event Balances",
        &[
            "Burned",
            "BurnedDebt",
            "BurnedHeld",
            "Frozen",
            "Held",
            "Issued",
            "Locked",
            "MintedCredit",
            "Released",
            "Rescinded",
            "Restored",
            "Suspended",
            "Thawed",
            "TotalIssuanceForced",
            "TransferAndHold",
            "TransferOnHold",
            "Unexpected",
            "Unlocked",
            "Upgraded",
        ],
        FRAME,
    ),
    ("method Core", &["execute_block"], FRAME),
    ("method BlockBuilder", &["check_inherents"], FRAME),
    ("extrinsic", &["signature"], "this FRAME takes one kind of signature more"),
    ("method BlockBuilder", &["apply_extrinsic", "inherent_extrinsics"], SELF_CONTAINED),
    ("method TaggedTransactionQueue", &["validate_transaction"], SELF_CONTAINED),
    ("method TransactionPaymentApi", &["query_fee_details", "query_info"], SELF_CONTAINED),
    ("call Utility", &["dispatch_as", "dispatch_as_fallible"], "there are no Ethereum origins here"),
    ("constant System", &["Version"], "a chain must say which it is"),
    ("constant System", &["BlockHashCount"], "a block's state root hashes every remembered hash again"),
    ("constant System", &["BlockWeights"], "blocks may follow each other faster than every 12 seconds"),
    ("constant Timestamp", &["MinimumPeriod"], "blocks may follow each other faster than every 12 seconds"),
];

const MARKER: &str = "by this pallet a client knows the development chain";
const FRAME: &str = "this FRAME is newer than the public chain's";
const SELF_CONTAINED: &str = "the public chain wraps extrinsics for Ethereum; the bytes are the same";

/// Every difference that is not allowed and every allowance that is not needed.
pub(crate) fn complaints(ours: &Items, finney: &Items, allowed: &[Allowed]) -> Vec<String> {
    let differs = |name: &str| finney.get(name) != ours.get(name);
    let mut unused: BTreeMap<String, &str> = allowed
        .iter()
        .flat_map(|(container, names, reason)| names.iter().map(move |name| (container, name, reason)))
        .map(|(container, name, reason)| match (*name, *container) {
            ("", _) => ((*container).to_owned(), *reason),
            (name, "extrinsic" | "extension") => (format!("{container} {name}"), *reason),
            (name, _) => (format!("{container}.{name}"), *reason),
        })
        .collect();
    let mut complaints = Vec::new();
    for (name, text) in ours.iter().filter(|(name, _)| differs(name)) {
        if unused.remove(name).is_none() {
            let theirs = finney.get(name).map_or("does not exist", String::as_str);
            complaints.push(format!("{name}\n    ours   {text}\n    theirs {theirs}"));
        }
    }
    complaints.extend(
        unused.iter().map(|(name, reason)| format!("{name} is allowed to differ ({reason}), but does not")),
    );
    complaints
}

/// The catalogue's entries as items.
fn catalogued(entries: &[Entry]) -> BTreeSet<String> {
    let item = |kind, container: &str, name: &str| match kind {
        Kind::Storage => format!("storage {container}.{name}"),
        Kind::Call => format!("call {container}.{name}"),
        Kind::Event => format!("event {container}.{name}"),
        Kind::Error => format!("error {container}.{name}"),
        Kind::Constant => format!("constant {container}.{name}"),
        Kind::Method => format!("method {container}.{name}"),
        Kind::Extension => format!("extension {name}"),
    };
    entries
        .iter()
        .flat_map(|(kind, container, names)| names.iter().map(move |name| item(*kind, container, name)))
        .collect()
}

#[test]
fn newest_is_spec_365_with_named_numbers_and_the_catalogued_changes() {
    let mut newest = ours(Profile::Newest);
    profile::metadata::erase_newtypes(&mut newest.types);
    let (newest, finney) = (items(&newest), items(&finney()));
    let younger = catalogued(catalogue::YOUNGER);
    for item in &younger {
        assert!(newest.contains_key(item), "{item} is catalogued as younger, but newest has no such item");
        assert!(!finney.contains_key(item), "{item} is catalogued as younger, but spec 365 has it");
    }
    for item in catalogued(catalogue::OLDER) {
        assert!(!newest.contains_key(&item), "{item} is catalogued as older, but newest shows it");
        assert!(finney.contains_key(&item), "{item} is catalogued as older, but spec 365 has no such item");
    }
    let reshaped: Vec<Entry> =
        catalogue::RESHAPED.iter().map(|(api, methods)| (Kind::Method, *api, *methods)).collect();
    let reshaped = catalogued(&reshaped);
    for item in &reshaped {
        assert_ne!(newest.get(item), finney.get(item), "{item} has not changed, so it needs no legacy form");
    }
    let renewed = catalogued(catalogue::RENEWED);
    for item in &renewed {
        assert_ne!(newest.get(item), finney.get(item), "{item} has not changed, so legacy may show it");
        assert!(finney.contains_key(item), "{item} is catalogued as renewed, but spec 365 has no such item");
    }
    let has_changed = |item: &String| [&younger, &reshaped, &renewed].iter().any(|set| set.contains(item));
    let unchanged: Items = newest.into_iter().filter(|(item, _)| !has_changed(item)).collect();
    let complaints = complaints(&unchanged, &finney, ALLOWED);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Storage items and transaction extensions of any version of metadata.
fn names(metadata: &RuntimeMetadata) -> BTreeSet<String> {
    macro_rules! names {
        ($metadata:expr, $extensions:ident) => {{
            let storage = $metadata.pallets.iter().flat_map(|pallet| {
                let entries = pallet.storage.iter().flat_map(|storage| &storage.entries);
                entries.map(|entry| format!("{}.{}", pallet.name, entry.name))
            });
            let extensions = &$metadata.extrinsic.$extensions;
            storage.chain(extensions.iter().map(|extension| extension.identifier.clone())).collect()
        }};
    }
    match metadata {
        RuntimeMetadata::V14(inner) => names!(inner, signed_extensions),
        RuntimeMetadata::V15(inner) => names!(inner, signed_extensions),
        RuntimeMetadata::V16(inner) => names!(inner, transaction_extensions),
        other => panic!("metadata of version {}", other.version()),
    }
}

#[test]
fn every_version_of_metadata_shows_the_same_of_a_profile() {
    for profile in [Profile::Newest, Profile::Legacy] {
        let is_newest = profile == Profile::Newest;
        let of_16 = names(&metadata(profile, 16));
        assert_eq!(of_16.contains("SubtensorModule.SubnetEpochIndex"), is_newest);
        assert_eq!(of_16.contains("SubtensorModule.PruningScores"), !is_newest);
        assert_eq!(of_16.contains("CheckShieldedTxValidity"), is_newest);
        assert_eq!(names(&metadata(profile, 15)), of_16);
        assert_eq!(names(&metadata(profile, 14)), of_16);
    }
}

/// Paths under which more than one type of the public chain's own stands.
fn twice(metadata: &RuntimeMetadataV16) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let paths = metadata.types.types.iter().map(|found| found.ty.path.segments.join("::"));
    paths
        .filter(|path| path.starts_with("pallet_subtensor::rpc_info") && !seen.insert(path.clone()))
        .collect()
}

#[test]
fn a_profile_has_the_types_of_one_generation() {
    for profile in [Profile::Newest, Profile::Legacy] {
        assert_eq!(twice(&ours(profile)), Vec::<String>::new());
    }
    let legacy = ours(Profile::Legacy).types;
    let younger = ["EpochConsensus", "MinerCollateralState", "AlphaBalance", "TaoBalance", "NetUid"];
    for found in &legacy.types {
        assert!(!found.ty.path.ident().is_some_and(|name| younger.contains(&name.as_str())), "{found:?}");
    }
}

/// The transaction extensions in their order, which is that of their bytes.
fn extensions(metadata: &RuntimeMetadataV16) -> Vec<String> {
    metadata.extrinsic.transaction_extensions.iter().map(|extension| extension.identifier.clone()).collect()
}

#[test]
fn transaction_extensions_stand_in_the_order_of_spec_365() {
    let expected = extensions(&finney());
    assert_eq!(extensions(&ours(Profile::Legacy)), expected);
    let mut newest = extensions(&ours(Profile::Newest));
    newest.retain(|name| !catalogue::hides(Profile::Legacy, Kind::Extension, "", name));
    assert_eq!(newest, expected);
}

#[test]
fn legacy_is_spec_365() {
    let complaints = complaints(&items(&ours(Profile::Legacy)), &items(&finney()), ALLOWED);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
