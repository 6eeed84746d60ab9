//! `state_*`: runtime calls, metadata, versions.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{Extensions, PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::outlet::Outlet;
use super::{Answer, Arguments, error, hex_of};
use crate::executor::State;
use crate::node::Node;
use crate::runtime::Hash;
use crate::upgrade;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
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
    module.register_blocking_method("state_getRuntimeVersion", |params, node, _| -> Answer<Value> {
        let state = state_of(&node, Arguments::of(&params)?.hash()?)?;
        version(&node, &state)
    })?;
    module.register_alias("chain_getRuntimeVersion", "state_getRuntimeVersion")?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, sink, node, extensions| follow_version(sink, Arc::clone(&node), extensions),
    )?;
    module.register_alias("chain_subscribeRuntimeVersion", "state_subscribeRuntimeVersion")?;
    module.register_alias("chain_unsubscribeRuntimeVersion", "state_unsubscribeRuntimeVersion")?;
    Ok(())
}

pub(super) fn state_of(node: &Node, hash: Option<Hash>) -> Answer<Arc<State>> {
    node.state(hash.as_ref()).map_err(error::state)
}

/// The version that the runtime of a state says it has.
fn version(node: &Node, state: &State) -> Answer<Value> {
    let answer = node.call(state, "Core_version", &[]).map_err(|e| error::call(&e))?;
    let version: sp_version::RuntimeVersion = codec::Decode::decode(&mut &answer[..])
        .map_err(|source| error::internal(format!("the version does not decode: {source}")))?;
    let apis: Vec<Value> = version.apis.iter().map(|(id, version)| json!([hex_of(id), version])).collect();
    Ok(json!({
        "specName": version.spec_name,
        "implName": version.impl_name,
        "authoringVersion": version.authoring_version,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "apis": apis,
        "transactionVersion": version.transaction_version,
        "systemVersion": version.system_version,
        "stateVersion": version.system_version,
    }))
}

/// Sends the version, and again whenever an upgrade, or its undoing, changes it.
async fn follow_version(pending: PendingSubscriptionSink, node: Arc<Node>, extensions: Extensions) {
    let (mut head, mut news) = node.follow();
    let Ok(sink) = pending.accept().await else { return };
    let outlet = Outlet::new(sink, &extensions);
    let mut told: Option<Option<Vec<u8>>> = None;
    loop {
        if let Ok(state) = node.state(Some(&head.hash)) {
            let upgrades = state.get(upgrade::KEY).cloned();
            if told.as_ref() != Some(&upgrades) {
                let Ok(version) = version(&node, &state) else { return };
                if outlet.send(&version).await.is_none() {
                    return;
                }
                told = Some(upgrades);
            }
        }
        head = loop {
            let next = tokio::select! {
                next = news.recv() => next,
                () = outlet.closed() => return,
            };
            match next {
                Ok(news) if news.best => break news.block,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break node.best(),
                Err(RecvError::Closed) => return,
            }
        };
    }
}
