//! `system_*`: who this is, and account nonces.

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use serde_json::json;
use sp_core::crypto::Ss58Codec as _;

use super::{Answer, Arguments, bytes_of, error};
use crate::node::Node;
use crate::runtime::AccountId;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_method("system_accountNextIndex", |params, node, _| -> Answer<u32> {
        let text: String = Arguments::of(&params)?.required("account")?;
        Ok(node.next_nonce(&account_of(&text)?))
    })?;
    module.register_alias("account_nextIndex", "system_accountNextIndex")?;
    module.register_method("system_chain", |_, _, _| "Basilica Development")?;
    module.register_method("system_chainType", |_, _, _| "Local")?;
    module.register_method("system_name", |_, _, _| "basilica-devchain")?;
    module.register_method("system_version", |_, _, _| env!("CARGO_PKG_VERSION"))?;
    module.register_method(
        "system_properties",
        |_, _, _| json!({ "isEthereum": false, "ss58Format": 42, "tokenDecimals": 9, "tokenSymbol": "TAO" }),
    )?;
    module.register_method(
        "system_health",
        |_, _, _| json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }),
    )?;
    module.register_method("system_syncState", |_, node, _| {
        let best = node.best().header.number;
        json!({ "startingBlock": 0, "currentBlock": best, "highestBlock": best })
    })?;
    Ok(())
}

fn account_of(text: &str) -> Answer<AccountId> {
    if let Ok(account) = AccountId::from_ss58check(text) {
        return Ok(account);
    }
    let bytes: [u8; 32] = bytes_of(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| error::invalid_params(format!("not an account: {text}")))?;
    Ok(AccountId::new(bytes))
}
