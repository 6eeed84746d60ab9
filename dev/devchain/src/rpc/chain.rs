//! `chain_*`: blocks, headers and hashes.

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use serde_json::{Value, json};

use super::{Answer, Arguments, error, hash_text, hex_of};
use crate::chain::KnownBlock;
use crate::node::Node;

/// Block numbers asked for at once.
const MAX_NUMBERS: usize = 1_000;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_method("chain_getBlockHash", |params, node, _| -> Answer<Value> {
        block_hash(node, &Arguments::of(&params)?.optional("number")?.unwrap_or(Value::Null))
    })?;
    module.register_alias("chain_getHead", "chain_getBlockHash")?;
    module.register_method("chain_getFinalizedHead", |_, node, _| hash_text(&node.finalized().1))?;
    module.register_alias("chain_getFinalisedHead", "chain_getFinalizedHead")?;
    module.register_method("chain_getHeader", |params, node, _| -> Answer<Value> {
        let hash = Arguments::of(&params)?.hash()?;
        Ok(node.block(hash.as_ref()).map_or(Value::Null, |block| header(&block)))
    })?;
    module.register_method("chain_getBlock", |params, node, _| -> Answer<Value> {
        let hash = Arguments::of(&params)?.hash()?;
        Ok(node.block(hash.as_ref()).map_or(Value::Null, |block| {
            let extrinsics: Vec<String> = block.extrinsics.iter().map(|bytes| hex_of(bytes)).collect();
            json!({
                "block": { "header": header(&block), "extrinsics": extrinsics },
                "justifications": null,
            })
        }))
    })?;
    Ok(())
}

pub(super) fn header(block: &KnownBlock) -> Value {
    let header = &block.header;
    json!({
        "parentHash": hash_text(&header.parent_hash),
        "number": format!("{:#x}", header.number),
        "stateRoot": hash_text(&header.state_root),
        "extrinsicsRoot": hash_text(&header.extrinsics_root),
        "digest": { "logs": header.digest.logs.iter().map(|log| hex_of(&codec::Encode::encode(log))).collect::<Vec<_>>() },
    })
}

fn block_hash(node: &Node, number: &Value) -> Answer<Value> {
    let of = |number: u32| node.hash_of(number).map_or(Value::Null, |hash| Value::String(hash_text(&hash)));
    match number {
        Value::Null => Ok(Value::String(hash_text(&node.best().hash))),
        Value::Array(numbers) if numbers.len() <= MAX_NUMBERS => numbers
            .iter()
            .map(|number| Ok(of(block_number(number)?)))
            .collect::<Answer<Vec<_>>>()
            .map(Value::Array),
        number => Ok(of(block_number(number)?)),
    }
}

fn block_number(value: &Value) -> Answer<u32> {
    let number = match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => {
            text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok())
        }
        _ => None,
    };
    number.ok_or_else(|| error::invalid_params(format!("not a block number: {value}")))
}
