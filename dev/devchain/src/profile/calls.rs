//! Which calls decode under a profile.

use frame_support::traits::GetCallMetadata as _;

use super::Profile;
use super::catalogue::{Kind, hides};
use crate::runtime::RuntimeCall;

impl Profile {
    /// Whether a call and every call inside of it exist under this profile.
    #[must_use]
    pub fn has_call(self, call: &RuntimeCall) -> bool {
        let metadata = call.get_call_metadata();
        !hides(self, Kind::Call, metadata.pallet_name, metadata.function_name)
            && inner_calls(call).into_iter().all(|inner| self.has_call(inner))
    }
}

/// The calls that a call carries.
pub(crate) fn inner_calls(call: &RuntimeCall) -> Vec<&RuntimeCall> {
    use pallet_sudo::Call as Sudo;
    use pallet_utility::Call as Utility;
    match call {
        RuntimeCall::Utility(
            Utility::batch { calls } | Utility::batch_all { calls } | Utility::force_batch { calls },
        ) => calls.iter().collect(),
        RuntimeCall::Utility(
            Utility::as_derivative { call, .. }
            | Utility::dispatch_as { call, .. }
            | Utility::with_weight { call, .. }
            | Utility::dispatch_as_fallible { call, .. },
        )
        | RuntimeCall::Sudo(
            Sudo::sudo { call } | Sudo::sudo_unchecked_weight { call, .. } | Sudo::sudo_as { call, .. },
        ) => vec![call],
        RuntimeCall::Utility(Utility::if_else { main, fallback }) => vec![main, fallback],
        _ => Vec::new(),
    }
}
