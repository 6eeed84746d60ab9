//! `system_*`, `payment_*`: who this is, account nonces, fees.

use std::sync::Arc;

use codec::Encode as _;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::Params;
use pallet_transaction_payment_rpc_runtime_api::{FeeDetails, RuntimeDispatchInfo};
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
    module.register_method("system_syncState", |_, node, _| {
        let best = node.best().header.number;
        json!({ "startingBlock": 0, "currentBlock": best, "highestBlock": best })
    })?;
    register_fees(module)
}

/// What a runtime API of fees says of an extrinsic at a block.
fn fees<T: codec::Decode>(params: &Params<'_>, node: &Node, method: &str) -> Answer<T> {
    let mut arguments = Arguments::of(params)?;
    let extrinsic = arguments.bytes("extrinsic")?;
    let state = state_of(node, arguments.hash()?)?;
    let length = u32::try_from(extrinsic.len()).unwrap_or(u32::MAX);
    let answer =
        node.call(&state, method, &[extrinsic, length.encode()].concat()).map_err(|e| error::call(&e))?;
    T::decode(&mut &answer[..])
        .map_err(|source| error::internal(format!("the fee does not decode: {source}")))
}

fn register_fees(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("payment_queryInfo", |params, node, _| -> Answer<Value> {
        let info: RuntimeDispatchInfo<Balance> = fees(&params, &node, "TransactionPaymentApi_query_info")?;
        Ok(json!({
            "weight": { "ref_time": info.weight.ref_time(), "proof_size": info.weight.proof_size() },
            "class": info.class,
            "partialFee": info.partial_fee.to_string(),
        }))
    })?;
    module.register_blocking_method("payment_queryFeeDetails", |params, node, _| -> Answer<Value> {
        let details: FeeDetails<Balance> = fees(&params, &node, "TransactionPaymentApi_query_fee_details")?;
        let hex = |fee: Balance| format!("{fee:#x}");
        let inclusion = details.inclusion_fee.map(|fee| {
            json!({
                "baseFee": hex(fee.base_fee),
                "lenFee": hex(fee.len_fee),
                "adjustedWeightFee": hex(fee.adjusted_weight_fee),
            })
        });
        Ok(json!({ "inclusionFee": inclusion }))
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
