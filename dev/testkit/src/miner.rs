//! What every configuration of a miner says that a program here writes.

use std::net::SocketAddr;
use std::path::Path;

use basilica_types::{HostKey, NodeAddress};

/// Who a miner is and where it listens: the wallet that [`write_wallet`](crate::write_wallet) wrote as `miner` below `home`, on the development chain, with a
/// database beside it and no metrics. `bittensor` is what else that section says.
pub fn miner_sections(
    home: &Path,
    chain: &str,
    (axon, health): (SocketAddr, SocketAddr),
    bittensor: &str,
) -> String {
    let (home, ip, port) = (home.display(), axon.ip(), axon.port());
    format!(
        r#"
[bittensor]
wallet_name = "miner"
wallet_path = "{home}/wallets"
network = "local"
netuid = 39
chain_endpoint = "{chain}"
{bittensor}

[database]
url = "sqlite://{home}/miner.db"

[validator_comms]
host = "{ip}"
port = {port}

[health]
listen = "{health}"

[metrics]
enabled = false
"#
    )
}

/// A node's line in `node_management.nodes`; `more` are other keys of it, each with a comma behind.
pub fn miner_node(address: &NodeAddress, host_key: &HostKey, more: &str) -> String {
    let (host, port, user) = (&address.host, address.port(), &address.user);
    format!(
        "  {{ host = \"{host}\", port = {port}, username = \"{user}\", {more}host_key = \"{host_key}\" }},\n"
    )
}
