//! `author_*`: submitting and watching extrinsics.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Answer, Arguments, error, hash_text, hex_of};
use crate::node::Node;
use crate::pool::{STATUSES, Status};

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("author_submitExtrinsic", |params, node, _| -> Answer<String> {
        let bytes = Arguments::of(&params)?.bytes("extrinsic")?;
        node.submit(bytes, None).map(|hash| hash_text(&hash)).map_err(|e| error::submit(&e))
    })?;
    module.register_method("author_pendingExtrinsics", |_, node, _| {
        node.pending().iter().map(|bytes| hex_of(bytes)).collect::<Vec<_>>()
    })?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, sink, node, _| {
            let bytes = Arguments::of(&params).and_then(|mut arguments| arguments.bytes("extrinsic"));
            watch(bytes, sink, Arc::clone(&node))
        },
    )?;
    Ok(())
}

fn status_json(status: Status) -> Value {
    match status {
        Status::Future => json!("future"),
        Status::Ready => json!("ready"),
        Status::InBlock(hash) => json!({ "inBlock": hash_text(&hash) }),
        Status::Finalized(hash) => json!({ "finalized": hash_text(&hash) }),
        Status::Usurped(hash) => json!({ "usurped": hash_text(&hash) }),
        Status::Invalid => json!("invalid"),
    }
}

/// Submits and reports every status until the last; the pool drops its end after that one.
async fn watch(bytes: Answer<Vec<u8>>, pending: PendingSubscriptionSink, node: Arc<Node>) {
    let (watcher, mut statuses) = mpsc::channel(STATUSES);
    let submitted = match bytes {
        Ok(bytes) => tokio::task::spawn_blocking(move || node.submit(bytes, Some(watcher)))
            .await
            .map_err(|source| error::invalid_params(format!("submission ended early: {source}")))
            .and_then(|submitted| submitted.map_err(|e| error::submit(&e))),
        Err(refused) => Err(refused),
    };
    if let Err(refused) = submitted {
        return pending.reject(refused).await;
    }
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let status = tokio::select! {
            status = statuses.recv() => status,
            () = sink.closed() => return,
        };
        let Some(status) = status else { return };
        let Ok(message) = jsonrpsee::core::to_json_raw_value(&status_json(status)) else { return };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}
