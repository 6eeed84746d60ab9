//! Which chain this is, and whether simulated hardware may count on it (RULES R18).

use std::sync::Arc;

use basilica_ports::{ChainError, ChainIdentity};
use basilica_types::{BlockHash, Network};
use subxt::dynamic;

use crate::item::View;
use crate::link::Link;

/// `BasilicaDevchain.Marker` of our development chain; no public chain carries a pallet of this name.
const MARKER_PALLET: &str = "BasilicaDevchain";
const MARKER_CONSTANT: &str = "Marker";
const MARKER: [u8; 32] = *b"basilica-devchain/v1\0\0\0\0\0\0\0\0\0\0\0\0";

/// The public networks with their first blocks. Never development chains, whatever their metadata says.
const PUBLIC: [(Network, &str); 2] = [
    (Network::Finney, "2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03"),
    (Network::Test, "8f9cf856bf558a14440e75569c9e58594757048d7b3a84b5d25f6bd978263105"),
];

/// First block of a public network; a local one has none that is known.
pub(crate) fn genesis_of(network: Network) -> Option<BlockHash> {
    let known = PUBLIC.iter().find(|(public, _)| *public == network);
    known.and_then(|(_, genesis)| genesis.parse().ok())
}

#[derive(Debug, thiserror::Error)]
#[error("the runtime version has no specName")]
struct NoSpecName;

pub(crate) async fn fetch(link: Arc<Link>) -> Result<ChainIdentity, ChainError> {
    let call = "state_getRuntimeVersion";
    let view = View::finalized(link).await?;
    let version = view
        .link
        .rpc
        .state_get_runtime_version(Some(view.at.block_hash()))
        .await
        .map_err(|error| view.link.fault(call, error))?;
    let spec_name = version.other.get("specName").and_then(|name| name.as_str());
    let genesis = BlockHash::from_bytes(view.link.genesis().0);
    let constants = view.at.constants();
    // A constant that is absent or has another type is not the marker.
    let marker = constants.entry(dynamic::constant::<[u8; 32]>(MARKER_PALLET, MARKER_CONSTANT)).ok();
    Ok(ChainIdentity {
        genesis,
        spec_name: spec_name.ok_or_else(|| view.link.fault(call, NoSpecName))?.to_owned(),
        spec_version: view.at.spec_version(),
        development: is_development(genesis, marker),
    })
}

fn is_development(genesis: BlockHash, marker: Option<[u8; 32]>) -> bool {
    marker == Some(MARKER) && PUBLIC.iter().all(|(network, _)| genesis_of(*network) != Some(genesis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_networks_are_never_development_chains() {
        for (network, genesis) in PUBLIC {
            assert!(!is_development(genesis.parse().unwrap(), Some(MARKER)), "{network}");
        }
    }

    #[test]
    fn the_first_blocks_of_public_networks_are_known() {
        let finney = genesis_of(Network::Finney).unwrap().to_string();
        assert_eq!(finney, "2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03");
        assert!(genesis_of(Network::Test).is_some() && genesis_of(Network::Local).is_none());
    }

    #[test]
    fn only_the_marker_makes_a_development_chain() {
        let genesis = BlockHash::from_bytes([1; 32]);
        assert!(is_development(genesis, Some(MARKER)));
        assert!(!is_development(genesis, Some([0; 32])));
        assert!(!is_development(genesis, None));
    }
}
