//! `state_*`: storage, runtime calls, versions.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::{Answer, Arguments, bytes_of, error, hash_text, hex_of};
use crate::executor::State;
use crate::node::Node;
use crate::profile::Profile;
use crate::runtime::{Hash, version_of};

/// Keys of one page.
const MAX_PAGE: u64 = 1_000;
/// Keys of one query or subscription.
const MAX_KEYS: usize = 10_000;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    register_storage(module)?;
    module.register_blocking_method("state_call", |params, node, _| -> Answer<String> {
        let mut arguments = Arguments::of(&params)?;
        let method: String = arguments.required("method")?;
        let data = arguments.bytes("data")?;
        let state = state_of(&node, arguments.hash()?)?;
        node.call(&state, &method, &data).map(|answer| hex_of(&answer)).map_err(|e| error::call(&e))
    })?;
    module.register_alias("state_callAt", "state_call")?;
    module.register_blocking_method("state_getMetadata", |params, node, _| -> Answer<String> {
        let state = state_of(&node, Arguments::of(&params)?.hash()?)?;
        let answer = node.call(&state, "Metadata_metadata", &[]).map_err(|e| error::call(&e))?;
        let metadata: Vec<u8> = codec::Decode::decode(&mut &answer[..])
            .map_err(|source| error::invalid_params(format!("metadata does not decode: {source}")))?;
        Ok(hex_of(&metadata))
    })?;
    module.register_method("state_getRuntimeVersion", |params, node, _| -> Answer<Value> {
        Ok(version(&*state_of(node, Arguments::of(&params)?.hash()?)?))
    })?;
    module.register_alias("chain_getRuntimeVersion", "state_getRuntimeVersion")?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, sink, node, _| follow_version(sink, Arc::clone(&node)),
    )?;
    module.register_alias("chain_subscribeRuntimeVersion", "state_subscribeRuntimeVersion")?;
    module.register_alias("chain_unsubscribeRuntimeVersion", "state_unsubscribeRuntimeVersion")?;
    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        |params, sink, node, _| {
            let keys = Arguments::of(&params)
                .and_then(|mut arguments| arguments.required::<Vec<String>>("keys"))
                .and_then(|keys| keys_of(&keys));
            follow_storage(keys, sink, Arc::clone(&node))
        },
    )?;
    module.register_alias("state_unsubscribeStorageAt", "state_unsubscribeStorage")?;
    Ok(())
}

fn register_storage(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_method("state_getStorage", |params, node, _| -> Answer<Option<String>> {
        let mut arguments = Arguments::of(&params)?;
        let key = arguments.bytes("key")?;
        let state = state_of(node, arguments.hash()?)?;
        Ok(value_of(&state, &key).map(|value| hex_of(value)))
    })?;
    module.register_alias("state_getStorageAt", "state_getStorage")?;
    module.register_method("state_getStorageHash", |params, node, _| -> Answer<Option<String>> {
        let mut arguments = Arguments::of(&params)?;
        let key = arguments.bytes("key")?;
        let state = state_of(node, arguments.hash()?)?;
        Ok(value_of(&state, &key).map(|value| hex_of(&sp_io::hashing::blake2_256(value))))
    })?;
    module.register_alias("state_getStorageHashAt", "state_getStorageHash")?;
    module.register_method("state_getStorageSize", |params, node, _| -> Answer<Option<usize>> {
        let mut arguments = Arguments::of(&params)?;
        let key = arguments.bytes("key")?;
        let state = state_of(node, arguments.hash()?)?;
        Ok(value_of(&state, &key).map(Vec::len))
    })?;
    module.register_alias("state_getStorageSizeAt", "state_getStorageSize")?;
    module.register_method("state_queryStorageAt", |params, node, _| -> Answer<Value> {
        let mut arguments = Arguments::of(&params)?;
        let keys = keys_of(&arguments.required::<Vec<String>>("keys")?)?;
        let block = arguments.hash()?.unwrap_or_else(|| node.best().hash);
        let state = state_of(node, Some(block))?;
        Ok(json!([change_set(&state, block, &keys)]))
    })?;
    module.register_method("state_getKeysPaged", |params, node, _| -> Answer<Vec<String>> {
        let mut arguments = Arguments::of(&params)?;
        let prefix = bytes_of(&arguments.optional::<String>("prefix")?.unwrap_or_default())?;
        let count: u64 = arguments.required("count")?;
        if count > MAX_PAGE {
            return Err(error::invalid_params(format!("count {count} is above {MAX_PAGE}")));
        }
        let start = arguments.optional::<String>("start key")?.map(|key| bytes_of(&key)).transpose()?;
        let state = state_of(node, arguments.hash()?)?;
        Ok(keys_from(&state, &prefix, start)
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .map(|key| hex_of(key))
            .collect())
    })?;
    module.register_alias("state_getKeysPagedAt", "state_getKeysPaged")?;
    Ok(())
}

fn keys_from<'a>(
    state: &'a State,
    prefix: &'a [u8],
    after: Option<Vec<u8>>,
) -> impl Iterator<Item = &'a Vec<u8>> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let begin = match after {
        Some(key) if key.as_slice() >= prefix => Excluded(key),
        _ => Included(prefix.to_vec()),
    };
    let profile = Profile::of(state);
    state
        .range((begin, Unbounded))
        .map(|(key, _)| key)
        .take_while(move |key| key.starts_with(prefix))
        .filter(move |key| profile.shows_key(key))
}

/// The value of a key, if the chain's profile has the storage item.
fn value_of<'a>(state: &'a State, key: &[u8]) -> Option<&'a Vec<u8>> {
    state.get(key).filter(|_| Profile::of(state).shows_key(key))
}

fn keys_of(keys: &[String]) -> Answer<Vec<Vec<u8>>> {
    if keys.len() > MAX_KEYS {
        return Err(error::invalid_params(format!("{} keys are above {MAX_KEYS}", keys.len())));
    }
    keys.iter().map(|key| bytes_of(key)).collect()
}

fn state_of(node: &Node, hash: Option<Hash>) -> Answer<Arc<State>> {
    node.state(hash.as_ref()).map_err(error::state)
}

fn change_set(state: &State, block: Hash, keys: &[Vec<u8>]) -> Value {
    let changes: Vec<Value> = keys
        .iter()
        .map(|key| json!([hex_of(key), value_of(state, key).map(|value| hex_of(value))]))
        .collect();
    json!({ "block": hash_text(&block), "changes": changes })
}

fn version(state: &State) -> Value {
    let version = version_of(Profile::of(state));
    let apis: Vec<Value> = version.apis.iter().map(|(id, version)| json!([hex_of(id), version])).collect();
    json!({
        "specName": version.spec_name,
        "implName": version.impl_name,
        "authoringVersion": version.authoring_version,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "apis": apis,
        "transactionVersion": version.transaction_version,
        "systemVersion": version.system_version,
        "stateVersion": version.system_version,
    })
}

/// Sends the version once; this chain's never changes while it runs.
async fn follow_version(pending: PendingSubscriptionSink, node: Arc<Node>) {
    let Ok(state) = node.state(None) else { return };
    let version = version(&state);
    let Ok(sink) = pending.accept().await else { return };
    let Ok(message) = jsonrpsee::core::to_json_raw_value(&version) else { return };
    if sink.send(message).await.is_ok() {
        sink.closed().await;
    }
}

/// Sends the keys' values and then those that change, block by block.
async fn follow_storage(keys: Answer<Vec<Vec<u8>>>, pending: PendingSubscriptionSink, node: Arc<Node>) {
    let keys = match keys {
        Ok(keys) => keys,
        Err(refused) => return pending.reject(refused).await,
    };
    let mut heads = node.heads();
    let Ok(sink) = pending.accept().await else { return };
    let mut last: Option<Arc<State>> = None;
    let mut block = node.best().hash;
    loop {
        if let Ok(state) = node.state(Some(&block)) {
            let changed: Vec<Vec<u8>> = keys
                .iter()
                .filter(|key| last.as_ref().is_none_or(|last| last.get(*key) != state.get(*key)))
                .cloned()
                .collect();
            if !changed.is_empty() {
                let set = change_set(&state, block, &changed);
                let Ok(message) = jsonrpsee::core::to_json_raw_value(&set) else { return };
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            last = Some(state);
        }
        let next = tokio::select! {
            next = heads.recv() => next,
            () = sink.closed() => return,
        };
        match next {
            Ok(head) => block = head.hash,
            Err(RecvError::Lagged(_)) => block = node.best().hash,
            Err(RecvError::Closed) => return,
        }
    }
}
