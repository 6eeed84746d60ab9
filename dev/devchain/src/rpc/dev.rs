//! `dev_*`: the controls. Parameters come by name, as `{...}` or `[{...}]`, or by position in the order of the fields.

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::Params;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Answer, bytes_of, error, hash_text};
use crate::chain::KnownBlock;
use crate::node::Node;
use crate::node::controls::Extrinsics;
use crate::node::mine::Mining;
use crate::upgrade::Change;

/// Keys set at once.
const MAX_KEYS: usize = 10_000;

/// Parameters as an object, whatever way they came.
fn named(params: &Params<'_>, names: &[&str]) -> Answer<Value> {
    let given: Value = match params.as_str() {
        None => return Ok(json!({})),
        Some(_) => params.parse()?,
    };
    match given {
        Value::Array(mut values) if values.len() == 1 && values[0].is_object() => Ok(values.remove(0)),
        Value::Array(values) if values.len() > names.len() => Err(error::invalid_params(match names {
            [] => "no parameters are taken".to_owned(),
            names => format!("at most {} parameters: {}", names.len(), names.join(", ")),
        })),
        Value::Array(values) => {
            Ok(Value::Object(names.iter().map(|name| (*name).to_owned()).zip(values).collect::<Map<_, _>>()))
        }
        Value::Object(fields) => Ok(Value::Object(fields)),
        _ => Err(error::invalid_params("parameters are an array or an object".to_owned())),
    }
}

/// Refuses parameters where none are taken.
fn none(params: &Params<'_>) -> Answer<()> {
    match named(params, &[])?.as_object() {
        Some(fields) if fields.is_empty() => Ok(()),
        _ => Err(error::invalid_params("no parameters are taken".to_owned())),
    }
}

fn parse<T: DeserializeOwned>(params: &Params<'_>, names: &[&str]) -> Answer<T> {
    serde_path_to_error::deserialize(named(params, names)?)
        .map_err(|source| error::invalid_params(source.to_string()))
}

fn block_json(block: &KnownBlock) -> Value {
    json!({ "number": block.header.number, "hash": hash_text(&block.hash) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBlock {
    count: Option<u32>,
    advance_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeTravel {
    ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetTime {
    timestamp_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotId {
    id: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultId {
    id: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reorg {
    depth: u32,
    #[serde(default)]
    drop_extrinsics: bool,
}

/// A field that is there, null or not.
fn given<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(value).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetStorage {
    key: Option<String>,
    /// `Some(None)` is null, which removes.
    #[serde(default, deserialize_with = "given")]
    value: Option<Option<String>>,
    #[serde(default)]
    entries: Vec<(String, Option<String>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Interval,
    Instant,
    Manual,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetMining {
    mode: Mode,
    block_time_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upgrade {
    #[serde(default)]
    changes: Vec<Change>,
    spec_versions: Option<u32>,
}

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    register_blocks(module)?;
    register_time(module)?;
    register_snapshots(module)?;
    register_faults(module)?;
    module.register_blocking_method("dev_setStorage", |params, node, _| -> Answer<Value> {
        let set: SetStorage = parse(&params, &["key", "value"])?;
        let one = match (set.key, set.value) {
            (Some(key), Some(value)) => Some((key, value)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(error::invalid_params("missing field `value`; null removes the key".to_owned()));
            }
            (None, Some(_)) => return Err(error::invalid_params("missing field `key`".to_owned())),
        };
        let entries = one.into_iter().chain(set.entries);
        let changes = entries
            .map(|(key, value)| Ok((bytes_of(&key)?, value.as_deref().map(bytes_of).transpose()?)))
            .collect::<Answer<Vec<_>>>()?;
        if changes.is_empty() || changes.len() > MAX_KEYS {
            return Err(error::invalid_params(format!("1 to {MAX_KEYS} keys are set at once")));
        }
        node.set_storage(changes).map(|block| block_json(&block)).map_err(|e| error::control(&e))
    })?;
    module.register_blocking_method("dev_upgradeRuntime", |params, node, _| -> Answer<Value> {
        let upgrade: Upgrade = parse(&params, &["changes", "spec_versions"])?;
        node.upgrade(upgrade.spec_versions.unwrap_or(1), upgrade.changes)
            .map(|block| block_json(&block))
            .map_err(|e| error::control(&e))
    })?;
    Ok(())
}

fn register_blocks(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("dev_newBlock", |params, node, _| -> Answer<Value> {
        let order: NewBlock = parse(&params, &["count", "advance_ms"])?;
        node.new_blocks(order.count.unwrap_or(1), order.advance_ms)
            .map(|block| block_json(&block))
            .map_err(|e| error::control(&e))
    })?;
    module.register_blocking_method("dev_reorg", |params, node, _| -> Answer<Value> {
        let reorg: Reorg = parse(&params, &["depth", "drop_extrinsics"])?;
        let extrinsics = if reorg.drop_extrinsics { Extrinsics::Drop } else { Extrinsics::Pool };
        node.reorganise(reorg.depth, extrinsics)
            .map(|block| block_json(&block))
            .map_err(|e| error::control(&e))
    })?;
    module.register_blocking_method("dev_setMining", |params, node, _| -> Answer<Value> {
        let wanted: SetMining = parse(&params, &["mode", "block_time_ms"])?;
        let mining = match (wanted.mode, wanted.block_time_ms) {
            (Mode::Instant, None) => Mining::Instant,
            (Mode::Manual, None) => Mining::Manual,
            (Mode::Interval, Some(ms)) if (10..=60_000).contains(&ms) => Mining::Interval(ms),
            (Mode::Interval, _) => {
                return Err(error::invalid_params(
                    "interval needs block_time_ms from 10 to 60000".to_owned(),
                ));
            }
            (_, Some(_)) => {
                return Err(error::invalid_params("block_time_ms goes with interval alone".to_owned()));
            }
        };
        node.set_mining(mining);
        Ok(Value::Null)
    })?;
    Ok(())
}

fn register_time(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("dev_timeTravel", |params, node, _| -> Answer<Value> {
        let travel: TimeTravel = parse(&params, &["ms"])?;
        node.travel(travel.ms).map(|now_ms| json!({ "now_ms": now_ms })).map_err(|e| error::control(&e))
    })?;
    module.register_blocking_method("dev_setTime", |params, node, _| -> Answer<Value> {
        let time: SetTime = parse(&params, &["timestamp_ms"])?;
        node.set_time(time.timestamp_ms)
            .map(|now_ms| json!({ "now_ms": now_ms }))
            .map_err(|e| error::control(&e))
    })?;
    module.register_blocking_method("dev_now", |params, node, _| -> Answer<Value> {
        none(&params)?;
        Ok(json!({ "now_ms": node.now_ms() }))
    })?;
    Ok(())
}

fn register_snapshots(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("dev_snapshot", |params, node, _| -> Answer<Value> {
        none(&params)?;
        node.snapshot().map(|id| json!({ "id": id })).map_err(|e| error::control(&e))
    })?;
    module.register_blocking_method("dev_restore", |params, node, _| -> Answer<Value> {
        let snapshot: SnapshotId = parse(&params, &["id"])?;
        node.restore(snapshot.id).map(|block| block_json(&block)).map_err(|e| error::control(&e))
    })?;
    module.register_blocking_method("dev_dropSnapshot", |params, node, _| -> Answer<Value> {
        let snapshot: SnapshotId = parse(&params, &["id"])?;
        node.drop_snapshot(snapshot.id).map(|()| Value::Null).map_err(|e| error::control(&e))
    })?;
    Ok(())
}

fn register_faults(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    let mut served: Vec<String> = module.method_names().map(str::to_owned).collect();
    // The list itself is registered after everything that it lists.
    served.push("rpc_methods".to_owned());
    served.retain(|name| !name.starts_with("dev_"));
    module.register_method("dev_fault", move |params, node, _| -> Answer<Value> {
        let spec = named(&params, &["kind"])?;
        let id = node.add_fault(spec, &served).map_err(|e| error::invalid_params(e.to_string()))?;
        Ok(json!({ "id": id }))
    })?;
    module.register_method("dev_faults", |params, node, _| -> Answer<Value> {
        none(&params)?;
        Ok(node.faults.list())
    })?;
    module.register_method("dev_clearFaults", |params, node, _| -> Answer<Value> {
        let fault: FaultId = parse(&params, &["id"])?;
        let cleared = node.faults.clear(fault.id).map_err(|e| error::invalid_params(e.to_string()))?;
        Ok(json!({ "cleared": cleared }))
    })?;
    Ok(())
}
