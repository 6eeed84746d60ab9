//! `system_*`, `payment_*`: who this is, account nonces, fees.

use std::sync::Arc;

use codec::{Decode as _, Encode as _};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use pallet_transaction_payment_rpc_runtime_api::RuntimeDispatchInfo;
use serde_json::{Value, json};
use sp_core::crypto::Ss58Codec as _;

use super::state::state_of;
use super::{Answer, Arguments, bytes_of, error};
use crate::node::Node;
use crate::runtime::{AccountId, Balance};

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
    module.register_method("system_nodeRoles", |_, _, _| json!(["Authority"]))?;
    module.register_method("system_peers", |_, _, _| json!([]))?;
    module.register_method("system_localListenAddresses", |_, _, _| json!([]))?;
    module.register_blocking_method("payment_queryInfo", |params, node, _| -> Answer<Value> {
        let mut arguments = Arguments::of(&params)?;
        let extrinsic = arguments.bytes("extrinsic")?;
        let state = state_of(&node, arguments.hash()?)?;
        let length = u32::try_from(extrinsic.len()).unwrap_or(u32::MAX);
        let call = [extrinsic, length.encode()].concat();
        let answer =
            node.call(&state, "TransactionPaymentApi_query_info", &call).map_err(|e| error::call(&e))?;
        let info = RuntimeDispatchInfo::<Balance>::decode(&mut &answer[..])
            .map_err(|source| error::internal(format!("the fee does not decode: {source}")))?;
        Ok(json!({
            "weight": { "ref_time": info.weight.ref_time(), "proof_size": info.weight.proof_size() },
            "class": info.class,
            "partialFee": info.partial_fee.to_string(),
        }))
    })?;
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
