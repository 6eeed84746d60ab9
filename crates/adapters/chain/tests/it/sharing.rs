//! One fetch for many callers, and what is kept when there is nobody to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_ports::{Chain as _, ChainError};
use basilica_types::Millis;

use crate::devchain::{Devchain, SUBNET, client};
use crate::proxy::Proxy;

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
