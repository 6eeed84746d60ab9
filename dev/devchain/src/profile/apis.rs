//! Which methods of runtime APIs a profile exports, and which of the runtime's own answers each.

use blake2::digest::consts::U8;
use blake2::{Blake2b, Digest as _};

use super::Profile;
use super::catalogue::{Kind, RESHAPED, hides};

/// What the name of an API begins with whose methods stand in for those of the API that is named like the rest.
pub const LEGACY_PREFIX: &str = "Legacy";

/// Whether the id in a runtime version is that of a legacy API, which no client is told of.
#[must_use]
pub fn is_legacy_api(id: [u8; 8]) -> bool {
    // An API's id is the hash of its name.
    let id_of = |api: &str| Blake2b::<U8>::digest(format!("{LEGACY_PREFIX}{api}"));
    RESHAPED.iter().any(|(api, _)| id_of(api)[..] == id)
}

impl Profile {
    /// The runtime's own name of a method that a client calls; `None` if this profile does not export it.
    #[must_use]
    pub fn exported(self, exported: &str) -> Option<String> {
        // An API's name has no underscore.
        let (api, method) = exported.split_once('_').unwrap_or((exported, ""));
        if api.starts_with(LEGACY_PREFIX) || hides(self, Kind::Method, api, method) {
            return None;
        }
        let reshaped = RESHAPED.iter().any(|(of, methods)| *of == api && methods.contains(&method));
        Some(if reshaped && self == Self::Legacy {
            format!("{LEGACY_PREFIX}{exported}")
        } else {
            exported.to_owned()
        })
    }
}
