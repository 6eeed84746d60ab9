//! `author_*`: submitting and watching extrinsics.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{Extensions, PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::line::Line;
use super::outlet::Outlet;
use super::{Answer, Arguments, error, hash_text, hex_of};
use crate::executor;
use crate::faults::Kind;
use crate::node::{Node, SubmitError};
use crate::pool::{STATUSES, Status};
use crate::runtime::Hash;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method(
        "author_submitExtrinsic",
        |params, node, extensions| -> Answer<String> {
            let bytes = Arguments::of(&params)?.bytes("extrinsic")?;
            let hash = node.submit(bytes, None).map_err(|e| error::submit(&e))?;
            lose_answer(&node, &extensions);
            Ok(hash_text(&hash))
        },
    )?;
    module.register_method("author_pendingExtrinsics", |_, node, _| {
        node.pending().iter().map(|bytes| hex_of(bytes)).collect::<Vec<_>>()
    })?;
    module.register_method("author_removeExtrinsic", |params, node, _| -> Answer<Vec<String>> {
        let named: Vec<Value> = Arguments::of(&params)?.required("hashes")?;
        let hashes = named.iter().map(named_hash).collect::<Answer<Vec<_>>>()?;
        Ok(node.remove(&hashes).iter().map(hash_text).collect())
    })?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, sink, node, extensions| {
            let bytes = Arguments::of(&params).and_then(|mut arguments| arguments.bytes("extrinsic"));
            watch(bytes, sink, Arc::clone(&node), extensions)
        },
    )?;
    Ok(())
}

/// Cuts the connection if a fault takes the answer to an accepted extrinsic.
fn lose_answer(node: &Node, extensions: &Extensions) {
    if let Some(line) = extensions.get::<Line>()
        && node.faults.strike(|kind| matches!(kind, Kind::LoseAnswer {}).then_some(())).is_some()
    {
        line.cut();
    }
}

/// An extrinsic named by its hash or its bytes, as substrate takes it.
fn named_hash(named: &Value) -> Answer<Hash> {
    match (named.get("hash"), named.get("extrinsic"), named) {
        (Some(Value::String(hash)), _, _) | (None, None, Value::String(hash)) => super::hash_of(hash),
        (None, Some(Value::String(bytes)), _) => Ok(executor::extrinsic_hash(&super::bytes_of(bytes)?)),
        _ => Err(error::invalid_params("an extrinsic is named by {hash} or {extrinsic}".to_owned())),
    }
}

fn status_json(status: Status) -> Value {
    match status {
        Status::Future => json!("future"),
        Status::Ready => json!("ready"),
        Status::InBlock(hash) => json!({ "inBlock": hash_text(&hash) }),
        Status::Retracted(hash) => json!({ "retracted": hash_text(&hash) }),
        Status::FinalityTimeout(hash) => json!({ "finalityTimeout": hash_text(&hash) }),
        Status::Dropped => json!("dropped"),
        Status::Finalized(hash) => json!({ "finalized": hash_text(&hash) }),
        Status::Usurped(hash) => json!({ "usurped": hash_text(&hash) }),
        Status::Invalid => json!("invalid"),
    }
}

/// Submits and reports every status until the last; the pool drops its end after that one.
async fn watch(
    bytes: Answer<Vec<u8>>,
    pending: PendingSubscriptionSink,
    node: Arc<Node>,
    extensions: Extensions,
) {
    let (watcher, mut statuses) = mpsc::channel(STATUSES);
    let connection = extensions.clone();
    let submitted = match bytes {
        Ok(bytes) => tokio::task::spawn_blocking(move || {
            let hash = node.submit(bytes, Some(watcher))?;
            lose_answer(&node, &extensions);
            Ok(hash)
        })
        .await
        .map_err(|source| error::internal(format!("submission ended early: {source}")))
        .and_then(|submitted| submitted.map_err(|e: SubmitError| error::submit(&e))),
        Err(refused) => Err(refused),
    };
    if let Err(refused) = submitted {
        return pending.reject(refused).await;
    }
    let Ok(sink) = pending.accept().await else { return };
    let outlet = Outlet::new(sink, &connection);
    loop {
        let status = tokio::select! {
            status = statuses.recv() => status,
            () = outlet.closed() => return,
        };
        let Some(status) = status else { return };
        if outlet.send(&status_json(status)).await.is_none() {
            return;
        }
    }
}
