//! The paths of our own types as the public chain's metadata names them.
//!
//! Some SDKs recognise a type by its path: the codec of `bittensor` 10 and of the command line takes an enum for the outer
//! event only if its path has two segments and ends in `RuntimeEvent`. So every type that is declared here is shown where
//! the public chain declares it.

use scale_info::form::PortableForm;
use scale_info::{Path, PortableRegistry};

/// Modules of types that the public chain does not declare where we do.
const TYPES: &[(&str, &[&str])] = &[
    ("node_subtensor_runtime::check_nonce", &["CheckNonce"]),
    ("node_subtensor_runtime::sudo_wrapper", &["SudoTransactionExtension"]),
    ("pallet_commitments::types", &["CommitmentInfo", "Data", "Registration", "UsageTracker"]),
    ("pallet_drand::drand_priority", &["DrandPriority"]),
    ("pallet_drand::types", &["BeaconConfiguration", "Metadata", "Pulse"]),
    (
        "pallet_subtensor::pallet",
        &[
            "RecycleOrBurnEnum",
            "RootClaimTypeEnum",
            "AxonInfo",
            "MinerCollateralState",
            "ChainIdentityV2",
            "NeuronCertificate",
            "PrometheusInfo",
            "SubnetIdentityV3",
        ],
    ),
    ("pallet_subtensor::rpc_info::delegate_info", &["DelegateInfo"]),
    ("pallet_subtensor::rpc_info::dynamic_info", &["DynamicInfo"]),
    ("pallet_subtensor::rpc_info::metagraph", &["Metagraph", "SelectiveMetagraph"]),
    ("pallet_subtensor::rpc_info::neuron_info", &["NeuronInfo", "NeuronInfoLite"]),
    ("pallet_subtensor::rpc_info::show_subnet", &["SubnetState"]),
    ("pallet_subtensor::rpc_info::stake_info", &["StakeAvailability", "StakeInfo"]),
    (
        "pallet_subtensor::rpc_info::subnet_info",
        &["SubnetHyperparams", "SubnetHyperparamsV2", "SubnetInfo", "SubnetInfov2"],
    ),
    ("pallet_subtensor_swap_runtime_api", &["SimSwapResult"]),
    ("pallet_subtensor::transaction_extension", &["SubtensorTransactionExtension"]),
    ("sp_consensus_slots", &["Slot"]),
    ("substrate_fixed", &["FixedI128", "FixedI64", "FixedU128", "FixedU64"]),
];

/// Modules of this crate's runtime and where the public chain has what is in them.
const MODULES: &[(&str, &str)] = &[
    ("admin_utils", "pallet_admin_utils"),
    ("aura", "pallet_aura"),
    ("commitments", "pallet_commitments"),
    ("mev_shield", "pallet_shield"),
    ("drand", "pallet_drand"),
    ("newtypes", "subtensor_runtime_common"),
    ("subtensor", "pallet_subtensor"),
];

/// Shows every type under the public chain's path.
pub fn rename(types: &mut PortableRegistry) {
    for found in &mut types.types {
        let segments: Vec<&str> = found.ty.path.segments.iter().map(String::as_str).collect();
        if let Some(public) = public(&segments) {
            let segments = public.split("::").map(str::to_owned);
            found.ty.path = Path::<PortableForm>::from_segments_unchecked(segments);
        }
    }
}

/// The public chain's path of a type of ours; `None` where it is the same.
fn public(path: &[&str]) -> Option<String> {
    let name = path.last()?;
    match path {
        ["basilica_devchain", ..] | ["frame_system", "extensions", "check_nonce", _] => {}
        // The public chain has a pallet of its own with the same calls.
        ["pallet_utility", rest @ ..] => {
            return Some(format!("pallet_subtensor_utility::{}", rest.join("::")));
        }
        _ => return None,
    }
    if let Some((module, _)) = TYPES.iter().find(|(_, names)| names.contains(name)) {
        return Some(format!("{module}::{name}"));
    }
    match path {
        ["basilica_devchain", "runtime", name] => Some(format!("node_subtensor_runtime::{name}")),
        ["basilica_devchain", "runtime", module, rest @ ..] => {
            let (_, public) = MODULES.iter().find(|(ours, _)| ours == module)?;
            Some(format!("{public}::{}", rest.join("::")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::public;

    #[test]
    fn types_stand_where_the_public_chain_has_them() {
        let of = |path: &str| public(&path.split("::").collect::<Vec<_>>());
        for (ours, theirs) in [
            ("basilica_devchain::runtime::RuntimeEvent", "node_subtensor_runtime::RuntimeEvent"),
            ("basilica_devchain::runtime::subtensor::pallet::Call", "pallet_subtensor::pallet::Call"),
            ("basilica_devchain::runtime::newtypes::NetUid", "subtensor_runtime_common::NetUid"),
            ("basilica_devchain::runtime::aura::pallet::Slot", "sp_consensus_slots::Slot"),
        ] {
            assert_eq!(of(ours).as_deref(), Some(theirs));
        }
        assert_eq!(of("basilica_devchain::profile::Profile"), None);
        assert_eq!(of("frame_system::pallet::Event"), None);
    }
}
