//! Which of two generations of the public chain this chain looks like: clients in the field meet both.
//!
//! [`Profile::Newest`] has named numbers in metadata, the stateful epoch clock, collateral and the newest records of runtime
//! APIs. [`Profile::Legacy`] has the shape of spec 365: plain `u16`/`u64`, mechanisms, epochs by the block number, none of
//! what came later. There is one runtime, which has everything of both; a profile is a view of it:
//!
//! - metadata is decoded, cut to what the profile has, and encoded again ([`metadata`]);
//! - what a profile does not have is one list, [`catalogue`]: hidden storage cannot be read through JSON-RPC, hidden calls
//!   do not decode, hidden methods of runtime APIs are not exported;
//! - where both have a method but not its shape, the runtime implements it twice, in `SomeApi` and `LegacySomeApi`; the
//!   legacy view exports the second under the first's name ([`apis`]);
//! - the few rules that differ ask [`Profile`] in the runtime (the epoch clock).
//!
//! The profile is part of the first state, so it shows in the genesis hash, a state directory keeps it, and a pinned read
//! is of the right one. Each profile has its own `spec_version`: SDKs cache metadata under genesis and version.
//!
//! Rejected: compiling the runtime twice. Every pallet would be generic over the names of its numbers, the build (the
//! slowest of this repository) would double, and the two could drift apart unseen. As a view, the difference between the
//! generations is data that a test compares with the public chain's own metadata.

pub mod apis;
pub mod calls;
pub mod catalogue;
pub mod metadata;
pub mod paths;
pub mod registry;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use sp_io::hashing::twox_128;

use crate::executor::State;
use crate::runtime::{Runtime, marker};
use catalogue::Kind;

/// A generation of the public chain.
#[derive(
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Deserialize,
    Serialize,
    clap::ValueEnum,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Debug,
    Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The newest: named numbers, stateful epoch clock, collateral.
    #[default]
    Newest,
    /// The shape of spec 365: plain numbers, epochs by the block number, no collateral.
    Legacy,
}

impl core::fmt::Display for Profile {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Newest => "newest",
            Self::Legacy => "legacy",
        })
    }
}

impl Profile {
    /// The profile of a state. A state without one was made before there were two.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let key = marker::Profile::<Runtime>::hashed_key();
        state.get(key.as_slice()).and_then(|value| Self::decode(&mut &value[..]).ok()).unwrap_or_default()
    }

    /// Whether a storage key may be read by clients.
    #[must_use]
    pub fn shows_key(self, key: &[u8]) -> bool {
        catalogue::hidden(self, Kind::Storage)
            .all(|(pallet, item)| !key.starts_with(&storage_prefix(pallet, item)))
    }
}

/// What all keys of a storage item begin with.
fn storage_prefix(pallet: &str, item: &str) -> [u8; 32] {
    let mut prefix = [0; 32];
    prefix[..16].copy_from_slice(&twox_128(pallet.as_bytes()));
    prefix[16..].copy_from_slice(&twox_128(item.as_bytes()));
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{self, CallError};
    use crate::genesis::Settings;
    use crate::runtime::newtypes::NetUid;
    use crate::runtime::{RuntimeCall, subtensor};

    fn state(profile: Profile) -> State {
        let settings = Settings { profile, ..Settings::default() };
        settings.resolve().expect("valid").state().expect("builds")
    }

    #[test]
    fn a_profile_shows_its_own_storage_and_not_the_other_generations() {
        let younger = subtensor::LastEpochBlock::<Runtime>::hashed_key_for(NetUid(39));
        let older = subtensor::Rank::<Runtime>::hashed_key_for(NetUid(39));
        let of_both = subtensor::Tempo::<Runtime>::hashed_key_for(NetUid(39));
        let shown = |profile: Profile| [&younger, &older, &of_both].map(|key| profile.shows_key(key));
        assert_eq!(shown(Profile::Newest), [true, false, true]);
        assert_eq!(shown(Profile::Legacy), [false, true, true]);
    }

    #[test]
    fn a_call_is_as_old_as_the_youngest_call_inside_of_it() {
        let call = || RuntimeCall::System(frame_system::Call::remark { remark: Vec::new() });
        let batch = RuntimeCall::Utility(pallet_utility::Call::batch { calls: vec![call(), call()] });
        let sudo = RuntimeCall::Sudo(pallet_sudo::Call::sudo { call: Box::new(batch.clone()) });
        assert_eq!(inner(&sudo), [&batch]);
        assert_eq!(inner(&batch), [&call(), &call()]);
        assert!(Profile::Legacy.has_call(&sudo));
    }

    fn inner(call: &RuntimeCall) -> Vec<&RuntimeCall> {
        calls::inner_calls(call)
    }

    #[test]
    fn a_method_answers_in_the_shape_that_the_profiles_metadata_gives() {
        let arguments = NetUid(39).encode();
        let call = |profile, method| executor::call(&state(profile), method, &arguments);
        let method = "SubnetInfoRuntimeApi_get_metagraph";
        let newest = call(Profile::Newest, method).expect("answers");
        let legacy = call(Profile::Legacy, method).expect("answers");
        // Three columns of collateral, each the number of six neurons and six zeroes.
        assert_eq!(newest.len() - legacy.len(), 3 * 7);
        let own = format!("Legacy{method}");
        for profile in [Profile::Newest, Profile::Legacy] {
            assert_eq!(call(profile, &own), Err(CallError::UnknownMethod(own.clone())));
        }
    }
}
