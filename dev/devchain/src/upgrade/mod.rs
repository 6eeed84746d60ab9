//! Runtime upgrades while the chain runs: what a client sees of one, without another runtime.
//!
//! An upgrade is a list of [`Change`]s to what metadata says, and a higher `spec_version`. It is part of the state (the raw
//! key [`KEY`]), so a read at an older block gives the older version and metadata, a reorganisation takes an upgrade
//! back, and a restart keeps it. The rest is FRAME's: `CheckSpecVersion` refuses what was signed for the version before,
//! the next block updates `System.LastRuntimeUpgrade`, the upgrade's block carries `CodeUpdated` and its digest.
//!
//! Stored values keep their bytes and their keys. So [`Change::Wrap`] and [`Change::Opaque`] describe the same bytes by
//! another type, as upgrades of the public chain did; [`Change::RenameStorage`] and [`Change::RemoveStorage`] leave the
//! values where nobody looks any more.
//!
//! Rejected: building the runtime twice (every variant would have to exist at compile time), and swapping metadata for the
//! whole process (pinned reads before the upgrade would be told the new shape). A call with another index is not among the
//! changes: FRAME's executive decodes an extrinsic anew from the bytes that were signed, by its own indices.
#![expect(clippy::cast_possible_truncation, reason = "the codec macros cast indices")]

pub mod metadata;

use codec::{Decode, Encode};
use frame_support::traits::GetCallMetadata as _;
use serde::Deserialize;
use sp_runtime::generic::Preamble;
use sp_version::RuntimeVersion;

use crate::executor::State;
use crate::profile::calls::inner_calls;
use crate::runtime::{RuntimeCall, UncheckedExtrinsic};

/// Where a state keeps its upgrades; no pallet's prefix begins like this.
pub const KEY: &[u8] = b":basilica:upgrades";
/// Most that upgrades raise the version by, all together.
const MOST_VERSIONS: u32 = 1_000_000_000;
/// Changes that a state can carry in all.
pub const MAX_CHANGES: usize = 256;

/// One difference that an upgrade makes to metadata, named as metadata names things.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// The value of a storage item becomes a newtype of what it was; its encoding stays.
    #[codec(index = 0)]
    Wrap {
        /// The pallet.
        pallet: String,
        /// The storage item.
        item: String,
        /// The newtype's name, such as `NetUid`.
        name: String,
    },
    /// The value of a storage item becomes an opaque array of as many bytes: a shape that no client expects.
    #[codec(index = 1)]
    Opaque {
        /// The pallet.
        pallet: String,
        /// The storage item; its value must have a fixed size.
        item: String,
    },
    /// A storage item has another name; its values stay under the old key.
    #[codec(index = 2)]
    RenameStorage {
        /// The pallet.
        pallet: String,
        /// The storage item.
        item: String,
        /// Its new name.
        to: String,
    },
    /// A storage item is gone.
    #[codec(index = 3)]
    RemoveStorage {
        /// The pallet.
        pallet: String,
        /// The storage item.
        item: String,
    },
    /// A call is gone and refused.
    #[codec(index = 4)]
    RemoveCall {
        /// The pallet.
        pallet: String,
        /// The call.
        call: String,
    },
    /// A runtime API's method is gone, and `state_call` says so.
    #[codec(index = 5)]
    RemoveApi {
        /// The API, such as `SubnetInfoRuntimeApi`.
        api: String,
        /// The method.
        method: String,
    },
    /// There is one more transaction extension. One that carries a byte makes every signed extrinsic invalid, because
    /// none has it.
    #[codec(index = 6)]
    AddExtension {
        /// Its identifier.
        name: String,
        /// Whether it carries a byte in every extrinsic; otherwise it carries nothing.
        #[serde(default)]
        carries_byte: bool,
    },
}

impl Change {
    /// The name that this puts into metadata.
    fn new_name(&self) -> Option<&str> {
        match self {
            Self::Wrap { name, .. }
            | Self::RenameStorage { to: name, .. }
            | Self::AddExtension { name, .. } => Some(name),
            Self::Opaque { .. }
            | Self::RemoveStorage { .. }
            | Self::RemoveCall { .. }
            | Self::RemoveApi { .. } => None,
        }
    }
}

/// Whether clients can generate code for something of this name.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|part| part.is_ascii_alphanumeric() || part == '_')
}

/// All upgrades of a state together.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Default)]
pub struct Upgrades {
    spec_versions: u32,
    changes: Vec<Change>,
}

/// Why an upgrade cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// Metadata has no such thing.
    #[error("the metadata has no {0}")]
    Unknown(String),
    /// The value has no fixed size.
    #[error("the value of {0} has no fixed size, so no array of bytes has its encoding")]
    NoFixedSize(String),
    /// A name that no type, storage item or extension can have.
    #[error("{0:?} is no name: a letter or _, then letters, digits and _")]
    Name(String),
    /// A storage item has the name already.
    #[error("the metadata has a storage item {0} already")]
    Taken(String),
    /// The version would stay.
    #[error("spec_versions must be at least 1: an upgrade raises the version")]
    SameVersion,
    /// The version would leave its type one day.
    #[error("upgrades raise spec_version by at most {MOST_VERSIONS} in all")]
    TooHigh,
    /// A bound is reached.
    #[error("a chain carries at most {MAX_CHANGES} changes of metadata")]
    TooMany,
    /// The metadata could not be read.
    #[error("the runtime's metadata does not decode")]
    Undecodable,
}

/// The upgrades of a state, if it has any.
#[must_use]
pub fn of(state: &State) -> Option<Upgrades> {
    state.get(KEY).and_then(|value| Upgrades::decode(&mut &value[..]).ok())
}

/// A runtime's version with what the upgrades of the state at hand add; to be called on a state.
#[must_use]
pub fn current_version(base: RuntimeVersion) -> RuntimeVersion {
    let upgrades = sp_io::storage::get(KEY).and_then(|value| Upgrades::decode(&mut &value[..]).ok());
    match upgrades {
        Some(upgrades) => {
            RuntimeVersion { spec_version: base.spec_version.saturating_add(upgrades.spec_versions), ..base }
        }
        None => base,
    }
}

impl Upgrades {
    /// These upgrades and one more, `spec_versions` (at least 1) higher. `metadata` is what
    /// `Metadata_metadata_at_version(15)` answers on the state as it is.
    ///
    /// # Errors
    /// A change does not fit the metadata, or the version would stay or leave its bounds.
    pub fn and(
        mut self,
        spec_versions: u32,
        changes: Vec<Change>,
        metadata: &[u8],
    ) -> Result<Self, UpgradeError> {
        if self.changes.len() + changes.len() > MAX_CHANGES {
            return Err(UpgradeError::TooMany);
        }
        if spec_versions == 0 {
            return Err(UpgradeError::SameVersion);
        }
        if let Some(name) = changes.iter().filter_map(Change::new_name).find(|name| !is_identifier(name)) {
            return Err(UpgradeError::Name(name.to_owned()));
        }
        metadata::check(metadata, &changes)?;
        let raised = self.spec_versions.checked_add(spec_versions).filter(|sum| *sum <= MOST_VERSIONS);
        self.spec_versions = raised.ok_or(UpgradeError::TooHigh)?;
        self.changes.extend(changes);
        Ok(self)
    }

    /// Whether these took a runtime API's method away.
    #[must_use]
    pub fn hides_method(&self, exported: &str) -> bool {
        self.changes.iter().any(|change| match change {
            Change::RemoveApi { api, method } => exported
                .strip_prefix(api.as_str())
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|rest| rest == method),
            _ => false,
        })
    }

    /// Whether these leave an extrinsic with a meaning: its call and those inside of it are still there, and no
    /// extension's byte is missing.
    #[must_use]
    pub fn understands(&self, extrinsic: &UncheckedExtrinsic) -> bool {
        let is_signed = matches!(extrinsic.preamble, Preamble::Signed(..));
        self.changes.iter().all(|change| match change {
            Change::RemoveCall { pallet, call } => !calls_any(&extrinsic.function, pallet, call),
            Change::AddExtension { carries_byte: true, .. } => !is_signed,
            _ => true,
        })
    }
}

/// Whether this is such a call, or carries one.
fn calls_any(call: &RuntimeCall, pallet: &str, name: &str) -> bool {
    let named = call.get_call_metadata();
    (named.pallet_name, named.function_name) == (pallet, name)
        || inner_calls(call).into_iter().any(|inner| calls_any(inner, pallet, name))
}
