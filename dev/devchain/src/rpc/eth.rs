//! The few Ethereum names by which clients find out what a node is. There is no EVM here.

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use crate::node::Node;

/// The chain id of the public chain's local networks.
const CHAIN_ID: u64 = 42;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_method("eth_chainId", |_, _, _| format!("{CHAIN_ID:#x}"))?;
    module.register_method("net_version", |_, _, _| CHAIN_ID.to_string())?;
    module.register_method("eth_blockNumber", |_, node, _| format!("{:#x}", node.best().header.number))?;
    module.register_method("web3_clientVersion", |_, _, _| {
        concat!("basilica-devchain/", env!("CARGO_PKG_VERSION"))
    })?;
    Ok(())
}
