//! `state_*` about storage: values, keys, and news of values.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::state::state_of;
use super::{Answer, Arguments, bytes_of, error, hash_text, hex_of};
use crate::executor::State;
use crate::node::Node;
use crate::profile::Profile;
use crate::runtime::Hash;

/// Keys of one page.
const MAX_PAGE: u64 = 1_000;
/// Keys of one query or subscription.
const MAX_KEYS: usize = 10_000;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
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
    module.register_method("state_getKeys", |params, node, _| -> Answer<Vec<String>> {
        let mut arguments = Arguments::of(&params)?;
        let prefix = bytes_of(&arguments.optional::<String>("prefix")?.unwrap_or_default())?;
        let state = state_of(node, arguments.hash()?)?;
        Ok(keys_from(&state, &prefix, None).take(MAX_KEYS).map(|key| hex_of(key)).collect())
    })?;
    module.register_method("state_getPairs", |params, node, _| -> Answer<Vec<(String, String)>> {
        let mut arguments = Arguments::of(&params)?;
        let prefix = arguments.bytes("prefix")?;
        let state = state_of(node, arguments.hash()?)?;
        let pairs = keys_from(&state, &prefix, None).take(MAX_KEYS);
        Ok(pairs.filter_map(|key| Some((hex_of(key), hex_of(state.get(key)?)))).collect())
    })?;
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

fn change_set(state: &State, block: Hash, keys: &[Vec<u8>]) -> Value {
    let changes: Vec<Value> = keys
        .iter()
        .map(|key| json!([hex_of(key), value_of(state, key).map(|value| hex_of(value))]))
        .collect();
    json!({ "block": hash_text(&block), "changes": changes })
}

/// Sends the keys' values and then those that change, block by block.
async fn follow_storage(keys: Answer<Vec<Vec<u8>>>, pending: PendingSubscriptionSink, node: Arc<Node>) {
    let keys = match keys {
        Ok(keys) => keys,
        Err(refused) => return pending.reject(refused).await,
    };
    let (head, mut news) = node.follow();
    let Ok(sink) = pending.accept().await else { return };
    let mut last: Option<Arc<State>> = None;
    let mut block = head.hash;
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
        block = loop {
            let next = tokio::select! {
                next = news.recv() => next,
                () = sink.closed() => return,
            };
            match next {
                Ok(news) if news.best => break news.block.hash,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break node.best().hash,
                Err(RecvError::Closed) => return,
            }
        };
    }
}
