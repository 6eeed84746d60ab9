//! `state_*` about storage: values, keys, and news of values.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{Extensions, PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::outlet::Outlet;
use super::state::state_of;
use super::{Answer, Arguments, bytes_of, error, hash_text, hex_of, server};
use crate::executor::State;
use crate::node::Node;
use crate::profile::Profile;
use crate::runtime::Hash;

/// Keys of one page.
const MAX_PAGE: u64 = 1_000;
/// Keys of one query.
const MAX_KEYS: usize = 10_000;
/// Keys of one subscription.
const MAX_WATCHED: usize = 1_000;
/// Their bytes: the chain keeps them as long as the subscription lives.
const MAX_WATCHED_BYTES: usize = 128 << 10;

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
        Ok(json!([change_set(&state, block, &keys)?]))
    })?;
    module.register_method("state_getKeysPaged", |params, node, _| -> Answer<Vec<String>> {
        let mut arguments = Arguments::of(&params)?;
        let prefix = bytes_of(&arguments.optional::<String>("prefix")?.unwrap_or_default())?;
        let count: u64 = arguments.required("count")?;
        if count > MAX_PAGE {
            return Err(error::too_many_keys(count, MAX_PAGE));
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
        |params, sink, node, extensions| {
            let keys = Arguments::of(&params)
                .and_then(|mut arguments| arguments.required::<Vec<String>>("keys"))
                .and_then(|keys| watched_keys(&keys));
            follow_storage(keys, sink, Arc::clone(&node), extensions)
        },
    )?;
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

fn watched_keys(keys: &[String]) -> Answer<Vec<Vec<u8>>> {
    let bytes: usize = keys.iter().map(String::len).sum();
    if keys.len() > MAX_WATCHED || bytes > 2 * MAX_WATCHED_BYTES {
        return Err(error::invalid_params(format!(
            "{} keys of {bytes} digits are above {MAX_WATCHED} keys of {MAX_WATCHED_BYTES} bytes in all; watch them in \
             several subscriptions",
            keys.len()
        )));
    }
    keys_of(keys)
}

/// The keys' values at a block. A key may be named twice, and so may the values be more than the state.
fn change_set(state: &State, block: Hash, keys: &[Vec<u8>]) -> Answer<Value> {
    let mut room = server::MAX_RESPONSE as usize / 2;
    let mut changes = Vec::with_capacity(keys.len());
    for key in keys {
        let value = value_of(state, key);
        room = room.checked_sub(key.len() + value.map_or(0, Vec::len)).ok_or_else(|| {
            error::invalid_params("the values are above 7 MiB in all; ask for fewer keys".to_owned())
        })?;
        changes.push(json!([hex_of(key), value.map(|value| hex_of(value))]));
    }
    Ok(json!({ "block": hash_text(&block), "changes": changes }))
}

/// What a value is known by, so that a subscriber that is slow does not hold on to an old state.
fn print_of(state: &State, key: &[u8]) -> Option<[u8; 32]> {
    value_of(state, key).map(|value| sp_io::hashing::blake2_256(value))
}

/// Sends the keys' values and then those that change, block by block.
async fn follow_storage(
    keys: Answer<Vec<Vec<u8>>>,
    pending: PendingSubscriptionSink,
    node: Arc<Node>,
    extensions: Extensions,
) {
    let keys = match keys {
        Ok(keys) => keys,
        Err(refused) => return pending.reject(refused).await,
    };
    let (head, mut news) = node.follow();
    let Ok(sink) = pending.accept().await else { return };
    let outlet = Outlet::new(sink, &extensions);
    let mut sent: Option<Vec<Option<[u8; 32]>>> = None;
    let mut block = head.hash;
    loop {
        // Too many to be sent: the subscription ends, as nothing that it could tell would be true.
        let Ok(changes) = changed(&node, block, &keys, &mut sent) else { return };
        if let Some(changes) = changes
            && outlet.send(&changes).await.is_none()
        {
            return;
        }
        block = loop {
            let next = tokio::select! {
                next = news.recv() => next,
                () = outlet.closed() => return,
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

/// The values that are not as they were sent; `None` where there are none, or the block is gone.
fn changed(
    node: &Node,
    block: Hash,
    keys: &[Vec<u8>],
    sent: &mut Option<Vec<Option<[u8; 32]>>>,
) -> Answer<Option<Value>> {
    let Ok(state) = node.state(Some(&block)) else { return Ok(None) };
    let now: Vec<_> = keys.iter().map(|key| print_of(&state, key)).collect();
    let new: Vec<Vec<u8>> = (0..)
        .zip(keys)
        .filter(|(index, _)| sent.as_ref().is_none_or(|sent| sent.get(*index) != now.get(*index)))
        .map(|(_, key)| key.clone())
        .collect();
    *sent = Some(now);
    if new.is_empty() {
        return Ok(None);
    }
    change_set(&state, block, &new).map(Some)
}
