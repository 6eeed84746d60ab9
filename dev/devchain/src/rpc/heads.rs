//! `chain_subscribe*`: news of blocks. A subscriber that is too slow for news of heads skips some and goes on; news of
//! final blocks are read from the chain, so none is skipped that is still kept.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{Extensions, PendingSubscriptionSink, RpcModule};
use tokio::sync::broadcast::error::RecvError;

use super::chain::header;
use super::outlet::Outlet;
use crate::chain::KnownBlock;
use crate::node::Node;

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) -> Result<(), RegisterMethodError> {
    for (subscribe, notification, unsubscribe, all) in [
        ("chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads", false),
        ("chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads", true),
    ] {
        module.register_subscription(
            subscribe,
            notification,
            unsubscribe,
            move |_, sink, node, extensions| follow_heads(sink, Arc::clone(&node), extensions, all),
        )?;
    }
    module.register_subscription(
        "chain_subscribeFinalizedHeads",
        "chain_finalizedHead",
        "chain_unsubscribeFinalizedHeads",
        |_, sink, node, extensions| follow_finality(sink, Arc::clone(&node), extensions),
    )?;
    module.register_alias("chain_subscribeNewHead", "chain_subscribeNewHeads")?;
    module.register_alias("chain_unsubscribeNewHead", "chain_unsubscribeNewHeads")?;
    module.register_alias("subscribe_newHead", "chain_subscribeNewHeads")?;
    module.register_alias("unsubscribe_newHead", "chain_unsubscribeNewHeads")?;
    module.register_alias("chain_subscribeFinalisedHeads", "chain_subscribeFinalizedHeads")?;
    module.register_alias("chain_unsubscribeFinalisedHeads", "chain_unsubscribeFinalizedHeads")?;
    Ok(())
}

/// Sends the best block and then every new one; of a new branch only its best one, unless all are wanted.
async fn follow_heads(pending: PendingSubscriptionSink, node: Arc<Node>, extensions: Extensions, all: bool) {
    let (mut head, mut news) = node.follow();
    let Ok(sink) = pending.accept().await else { return };
    let outlet = Outlet::new(sink, &extensions);
    loop {
        if outlet.send(&header(&head)).await.is_none() {
            return;
        }
        head = loop {
            let next = tokio::select! {
                next = news.recv() => next,
                () = outlet.closed() => return,
            };
            match next {
                Ok(news) if news.best || all => break news.block,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        };
    }
}

/// Sends the last final block and then each one that becomes final, in order.
async fn follow_finality(pending: PendingSubscriptionSink, node: Arc<Node>, extensions: Extensions) {
    let mut finality = node.follow_finality();
    let Ok(sink) = pending.accept().await else { return };
    let outlet = Outlet::new(sink, &extensions);
    let mut sent: Option<Arc<KnownBlock>> = None;
    loop {
        let hash = *finality.borrow_and_update();
        if let Some(last) = node.block(Some(&hash)) {
            let from = sent.as_ref().map_or(last.header.number, |sent| sent.header.number.saturating_add(1));
            for number in from..last.header.number {
                let between = node.hash_of(number).and_then(|hash| node.block(Some(&hash)));
                if let Some(block) = between
                    && outlet.send(&header(&block)).await.is_none()
                {
                    return;
                }
            }
            if sent.as_ref().is_none_or(|sent| sent.hash != last.hash) {
                if outlet.send(&header(&last)).await.is_none() {
                    return;
                }
                sent = Some(last);
            }
        }
        tokio::select! {
            changed = finality.changed() => if changed.is_err() { return },
            () = outlet.closed() => return,
        }
    }
}
