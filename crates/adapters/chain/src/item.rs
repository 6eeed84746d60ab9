//! Named items of the runtime: storage entries and runtime APIs, found in the metadata of the block that is asked.
//!
//! Values are decoded by name and shape, not by layout: newtypes and compact numbers are looked through and fields that
//! we do not name are skipped, which is what survives upgrades. What cannot be decoded so is
//! [`ChainError::Unsupported`] with the item's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_ports::ChainError;
use scale_info::TypeDef;
use subxt::config::substrate::H256;
use subxt::dynamic::{self, Value};
use subxt::error::{RuntimeApiError, StorageError};
use subxt::ext::frame_decode::storage::{IntoDecodableValues, IntoEncodableValues};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::storage::PrefixOf;
use tracing::error;

use crate::link::{AtBlock, Link};

/// JSON-RPC's code for a method that a server does not have.
const METHOD_NOT_FOUND: i32 = -32_601;

#[derive(Debug, thiserror::Error)]
#[error("{0} bytes are left over")]
struct Leftover(usize);

/// The pallet that holds subnets.
pub(crate) const SUBTENSOR: &str = "SubtensorModule";

/// A storage entry: its pallet, its name there and its full name for reports.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pallet: &'static str,
    name: &'static str,
    pub(crate) full: &'static str,
}

macro_rules! entries {
    ($pallet:literal: $($constant:ident = $name:literal;)*) => {
        $(pub(crate) const $constant: Entry =
            Entry { pallet: $pallet, name: $name, full: concat!($pallet, ".", $name) };)*
    };
}

entries! { "SubtensorModule":
    AXONS = "Axons";
    BLOCKS_SINCE_LAST_STEP = "BlocksSinceLastStep";
    BURN = "Burn";
    BURN_MAX = "MaxBurn";
    BURN_MIN = "MinBurn";
    COLLATERAL_LOCK_SHARE = "CollateralLockShare";
    COMMIT_REVEAL = "CommitRevealWeightsEnabled";
    COMMIT_REVEAL_VERSION = "CommitRevealWeightsVersion";
    IMMUNITY_PERIOD = "ImmunityPeriod";
    LAST_EPOCH_BLOCK = "LastEpochBlock";
    LAST_UPDATE = "LastUpdate";
    MAX_VALIDATORS = "MaxAllowedValidators";
    MAX_WEIGHTS_LIMIT = "MaxWeightsLimit";
    MECHANISM_COUNT = "MechanismCountCurrent";
    MIN_ALLOWED_WEIGHTS = "MinAllowedWeights";
    NETWORKS_ADDED = "NetworksAdded";
    NEURON_CERTIFICATES = "NeuronCertificates";
    PENDING_EPOCH_AT = "PendingEpochAt";
    REGISTRATION_ALLOWED = "NetworkRegistrationAllowed";
    REVEAL_PERIOD = "RevealPeriodEpochs";
    SERVING_RATE_LIMIT = "ServingRateLimit";
    STAKE_THRESHOLD = "StakeThreshold";
    SUBNET_EPOCH_CONSENSUS = "SubnetEpochConsensus";
    SUBNET_EPOCH_INDEX = "SubnetEpochIndex";
    SUBNET_OWNER = "SubnetOwner";
    SUBNET_OWNER_HOTKEY = "SubnetOwnerHotkey";
    TEMPO = "Tempo";
    TIMELOCKED_COMMITS = "TimelockedWeightCommits";
    UIDS = "Uids";
    WEIGHTS = "Weights";
    WEIGHTS_RATE_LIMIT = "WeightsSetRateLimit";
    WEIGHTS_VERSION_KEY = "WeightsVersionKey";
    WEIGHT_COMMITS = "WeightCommits";
}

entries! { "Commitments":
    COMMITMENT_OF = "CommitmentOf";
}

entries! { "System":
    ACCOUNT = "Account";
}

entries! { "Timestamp":
    NOW = "Now";
}

entries! { "Drand":
    BEACON_CONFIG = "BeaconConfig";
    LAST_STORED_ROUND = "LastStoredRound";
}

/// A runtime API's method.
#[derive(Clone, Copy)]
pub(crate) struct Method {
    pub(crate) api: &'static str,
    pub(crate) name: &'static str,
    pub(crate) full: &'static str,
}

/// A block on a link, to read from.
pub(crate) struct View {
    pub(crate) link: Arc<Link>,
    pub(crate) at: AtBlock,
    /// Values that were fetched together, by their keys; nothing is stored under those without one.
    fetched: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl View {
    /// The newest finalised block.
    pub(crate) async fn finalized(link: Arc<Link>) -> Result<Self, ChainError> {
        let at = link.finalized().await?;
        Ok(Self { link, at, fetched: BTreeMap::new() })
    }

    /// The block with this hash.
    pub(crate) async fn of_block(link: Arc<Link>, hash: H256) -> Result<Self, ChainError> {
        let at = link.at(hash).await?;
        Ok(Self { link, at, fetched: BTreeMap::new() })
    }

    /// The key of a value to be fetched with others; none where the runtime has no such entry.
    pub(crate) fn key<K>(&self, entry: Entry, keys: K) -> Result<Option<Vec<u8>>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues + Send + Sync,
    {
        if !self.has_entry(entry) {
            return Ok(None);
        }
        let address = dynamic::storage::<K, Value>(entry.pallet, entry.name);
        let key = self.at.storage().entry(address).and_then(|found| found.fetch_key(keys));
        key.map(Some).map_err(|shape| self.unsupported(entry.full, &shape))
    }

    /// Fetches what is under all these keys with one request; reading any of it then asks nobody. An endpoint without
    /// such a request is asked for each value as it is read.
    pub(crate) async fn fetch(&mut self, keys: Vec<Vec<u8>>) -> Result<(), ChainError> {
        if keys.is_empty() {
            return Ok(());
        }
        let call = "state_queryStorageAt";
        let at = Some(self.at.block_hash());
        let changes = match self.link.rpc.state_query_storage_at(keys.iter().map(Vec::as_slice), at).await {
            Err(subxt::rpcs::Error::User(answer)) if answer.code == METHOD_NOT_FOUND => return Ok(()),
            answer => answer.map_err(|error| self.link.fault(call, error))?,
        };
        self.fetched.extend(keys.into_iter().map(|key| (key, None)));
        for (key, value) in changes.into_iter().flat_map(|set| set.changes) {
            self.fetched.insert(key.0, value.map(|value| value.0));
        }
        Ok(())
    }

    pub(crate) fn has_entry(&self, entry: Entry) -> bool {
        let pallet = self.at.metadata_ref().pallet_by_name(entry.pallet);
        pallet.and_then(|pallet| pallet.storage()).is_some_and(|all| all.entry_by_name(entry.name).is_some())
    }

    pub(crate) fn has_call(&self, call: &str) -> bool {
        let pallet = self.at.metadata_ref().pallet_by_name(SUBTENSOR);
        pallet.is_some_and(|pallet| pallet.call_variant_by_name(call).is_some())
    }

    pub(crate) fn has_method(&self, method: Method) -> bool {
        let api = self.at.metadata_ref().runtime_api_trait_by_name(method.api);
        api.is_some_and(|api| api.method_by_name(method.name).is_some())
    }

    /// The value of an entry, or the chain's default for it; `None` where it has neither.
    pub(crate) async fn storage<K, V>(&self, entry: Entry, keys: K) -> Result<Option<V>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues + Clone + Send + Sync,
        V: DecodeAsType + Send + Sync,
    {
        let failed = |error| match error {
            StorageError::CannotFetchValue(source) => self.link.fault(entry.full, source),
            shape => self.unsupported(entry.full, &shape),
        };
        let address = dynamic::storage::<K, V>(entry.pallet, entry.name);
        let found = self.at.storage().entry(address).map_err(failed)?;
        let key = found.fetch_key(keys.clone()).map_err(failed)?;
        if let Some(Some(bytes)) = self.fetched.get(&key) {
            return self.decoded(entry, bytes).map(Some);
        }
        let value = if self.fetched.contains_key(&key) {
            found.default_value()
        } else {
            found.try_fetch(keys).await.map_err(failed)?
        };
        value.map(|value| value.decode()).transpose().map_err(|shape| self.unsupported(entry.full, &shape))
    }

    fn decoded<V: DecodeAsType>(&self, entry: Entry, mut bytes: &[u8]) -> Result<V, ChainError> {
        let metadata = self.at.metadata_ref();
        let storage = metadata.pallet_by_name(entry.pallet).and_then(|pallet| pallet.storage());
        let value = storage.and_then(|all| all.entry_by_name(entry.name)).map(|found| found.value_ty());
        let value = value.ok_or_else(|| self.absent(entry.full))?;
        let decoded = V::decode_as_type(&mut bytes, value, metadata.types())
            .map_err(|shape| self.unsupported(entry.full, &shape))?;
        if bytes.is_empty() { Ok(decoded) } else { Err(self.unsupported(entry.full, &Leftover(bytes.len()))) }
    }

    /// As [`Self::storage`], for an entry that always has a value.
    pub(crate) async fn value<K, V>(&self, entry: Entry, keys: K) -> Result<V, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues + Clone + Send + Sync,
        V: DecodeAsType + Send + Sync,
    {
        self.storage(entry, keys).await?.ok_or_else(|| self.absent(entry.full))
    }

    /// As [`Self::value`], where the runtime has the entry.
    pub(crate) async fn if_present<K, V>(&self, entry: Entry, keys: K) -> Result<Option<V>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues + Clone + Send + Sync,
        V: DecodeAsType + Send + Sync,
    {
        if self.has_entry(entry) { self.storage(entry, keys).await } else { Ok(None) }
    }

    /// All values under the first keys of a map, with all their keys.
    pub(crate) async fn all<P, K, V>(&self, entry: Entry, prefix: P) -> Result<Vec<(K, V)>, ChainError>
    where
        P: PrefixOf<K>,
        K: IntoEncodableValues + IntoDecodableValues + Send + Sync,
        V: DecodeAsType + Send + Sync,
    {
        let failed = |error| match error {
            StorageError::StreamFailure(source) | StorageError::CannotIterateValues(source) => {
                self.link.fault(entry.full, source)
            }
            shape => self.unsupported(entry.full, &shape),
        };
        let address = dynamic::storage::<K, V>(entry.pallet, entry.name);
        let mut entries = self.at.storage().iter(address, prefix).await.map_err(failed)?;
        let mut all = Vec::new();
        while let Some(found) = entries.next().await {
            let found = found.map_err(failed)?;
            let key = found.key().and_then(|key| key.decode());
            let key = key.map_err(|shape| self.unsupported(entry.full, &shape))?;
            let value = found.value().decode().map_err(|shape| self.unsupported(entry.full, &shape))?;
            all.push((key, value));
        }
        Ok(all)
    }

    /// Whether the answer of a runtime API, through an option, is a record with this field.
    pub(crate) fn answer_has(&self, method: Method, field: &str) -> bool {
        let metadata = self.at.metadata_ref();
        let api = metadata.runtime_api_trait_by_name(method.api);
        let Some(output) = api.and_then(|api| api.method_by_name(method.name)).map(|found| found.output_ty())
        else {
            return false;
        };
        let types = metadata.types();
        let resolve = |id: u32| types.resolve(id).map(|found| &found.type_def);
        let inner = match resolve(output) {
            Some(TypeDef::Variant(option)) => option.variants.iter().find_map(|some| some.fields.first()),
            _ => None,
        };
        match inner.and_then(|field| resolve(field.ty.id)) {
            Some(TypeDef::Composite(record)) => {
                record.fields.iter().any(|found| found.name.as_deref() == Some(field))
            }
            _ => false,
        }
    }

    pub(crate) async fn ask<A, R>(&self, method: Method, arguments: A) -> Result<R, ChainError>
    where
        A: IntoEncodableValues + Send + Sync,
        R: DecodeAsType + Send + Sync,
    {
        let call = dynamic::runtime_api_call::<A, R>(method.api, method.name, arguments);
        self.at.runtime_apis().call(call).await.map_err(|error| match error {
            RuntimeApiError::CannotCallApi(source) => self.link.fault(method.full, source),
            shape => self.unsupported(method.full, &shape),
        })
    }

    /// The runtime has no such item.
    pub(crate) fn absent(&self, item: &'static str) -> ChainError {
        ChainError::Unsupported { item, spec_version: self.at.spec_version() }
    }

    /// Reports an item whose shape we do not know; the details are for the log, the caller learns the name.
    pub(crate) fn unsupported(&self, item: &'static str, detail: &dyn std::error::Error) -> ChainError {
        let spec_version = self.at.spec_version();
        error!(chain.item = item, chain.spec_version = spec_version, error = %detail, "runtime item has an unknown shape");
        ChainError::Unsupported { item, spec_version }
    }
}
