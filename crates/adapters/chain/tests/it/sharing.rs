//! One fetch for many callers, and what is kept when there is nobody to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_ports::{Chain as _, ChainError};
use basilica_types::{MechanismId, Millis};
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, client, soon};
use crate::proxy::{Proxy, Rewrite};

/// A relay that counts how often the metagraph is asked for.
fn counting(devchain: &Devchain) -> (Proxy, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let proxy = Proxy::rewriting_requests(&devchain.url, move |request| {
        if request["params"][0] == "SubnetInfoRuntimeApi_get_metagraph" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        None
    });
    (proxy, count)
}

#[tokio::test]
async fn callers_at_the_same_time_cost_one_fetch() {
    let devchain = Devchain::start();
    let (proxy, count) = counting(&devchain);
    let chain = client(&[&proxy.url], "//Validator1");
    let ask = || chain.metagraph(SUBNET);
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    let first = a.unwrap();
    for other in [b, c, d] {
        assert_eq!(other.unwrap(), first);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    ask().await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "who comes later asks again");
}

#[tokio::test]
async fn the_rules_of_weights_share_the_fetch_and_cost_few_requests() {
    let devchain = Devchain::with(json!({ "commit_reveal": true }));
    let (all, graphs) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (seen, seen_graphs) = (Arc::clone(&all), Arc::clone(&graphs));
    let proxy = Proxy::rewriting_requests(&devchain.url, move |request| {
        seen.fetch_add(1, Ordering::SeqCst);
        if request["params"][0] == "SubnetInfoRuntimeApi_get_metagraph" {
            seen_graphs.fetch_add(1, Ordering::SeqCst);
        }
        None
    });
    let chain = client(&[&proxy.url], "//Validator1");
    let first = chain.weight_rules(SUBNET, MechanismId(0)).await.unwrap().block;
    let before = all.load(Ordering::SeqCst);
    chain.weight_rules(SUBNET, MechanismId(0)).await.unwrap();
    let cost = all.load(Ordering::SeqCst) - before;
    assert!(cost <= 7, "{cost} requests");
    // A new block, and none after it.
    devchain.ask("dev_setMining", json!(["manual"]));
    let last = chain.head().await.unwrap();
    soon("a new final block", async {
        while chain.head().await.unwrap() <= last {
            devchain.ask("dev_newBlock", json!([]));
        }
    })
    .await;
    graphs.store(0, Ordering::SeqCst);
    let rules = || chain.weight_rules(SUBNET, MechanismId(0));
    let (a, b, c, d) = tokio::join!(rules(), chain.metagraph(SUBNET), rules(), chain.metagraph(SUBNET));
    let (a, c) = (a.unwrap(), c.unwrap());
    assert_eq!(a, c);
    assert!(a.block > first && b.unwrap().block == a.block && d.unwrap().block == a.block);
    assert_eq!(graphs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn rules_are_read_one_by_one_where_values_cannot_be_asked_for_together() {
    let devchain = Devchain::with(json!({ "commit_reveal": true }));
    let plain = Proxy::rewriting(&devchain.url, |method: &str| {
        (method == "state_queryStorageAt").then(|| Rewrite::Error(-32_601, "Method not found".to_owned()))
    });
    devchain.ask("dev_setMining", json!(["manual"]));
    let read =
        async |url: &str| client(&[url], "//Validator1").weight_rules(SUBNET, MechanismId(0)).await.unwrap();
    assert_eq!(read(&plain.url).await, read(&devchain.url).await);
}

#[tokio::test]
async fn an_old_metagraph_is_given_with_its_age_while_no_endpoint_answers() {
    let mut devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    let fresh = chain.metagraph(SUBNET).await.unwrap();
    devchain.kill();
    assert!(matches!(chain.metagraph(SUBNET).await, Err(ChainError::Unreachable { .. })));
    let minute = Millis::from_secs(60);
    let kept = chain.metagraph_within(SUBNET, minute).await.unwrap();
    assert_eq!(*kept.value, fresh);
    assert!(kept.age > Millis(0) && kept.age < minute, "{}", kept.age);
    let later = chain.metagraph_within(SUBNET, minute).await.unwrap();
    assert!(later.age >= kept.age && Arc::ptr_eq(&later.value, &kept.value));
    // Too old for whoever says so.
    assert!(chain.metagraph_within(SUBNET, Millis(1)).await.is_err());
}
