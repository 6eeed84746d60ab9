use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_ports::{Axon, AxonOutcome, Chain as _, ChainError, FailureClass};

use crate::devchain::{Devchain, SUBNET, client, hotkey};
use crate::proxy::Proxy;

fn axon(address: &str) -> Axon {
    Axon { address: address.parse().unwrap() }
}

fn refused(result: Result<AxonOutcome, ChainError>) -> (String, FailureClass) {
    match result {
        Err(ChainError::Preflight { rule, class }) => (rule, class),
        other => panic!("expected a refusal by our own check, got {other:?}"),
    }
}

#[tokio::test]
async fn an_axon_is_served_once_and_again_only_when_it_changed() {
    let devchain = Devchain::with(serde_json::json!({ "serving_rate_limit": 0 }));
    let chain = devchain.client("//Miner1");
    for address in ["127.0.0.2:9000", "10.1.2.3:9000", "[2001:db8::7]:9001"] {
        let served = chain.serve_axon(SUBNET, axon(address)).await.unwrap();
        assert!(matches!(served, AxonOutcome::Served(block) if block.0 > 0), "{served:?}");
        assert_eq!(chain.serve_axon(SUBNET, axon(address)).await.unwrap(), AxonOutcome::Unchanged);
        let metagraph = chain.metagraph(SUBNET).await.unwrap();
        assert_eq!(metagraph.neuron(&hotkey("//Miner1")).unwrap().axon, Some(axon(address)));
    }
}

#[tokio::test]
async fn what_the_chain_would_refuse_is_refused_before_signing() {
    let devchain = Devchain::with(serde_json::json!({ "serving_rate_limit": 100_000 }));
    let sent = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&sent);
    let proxy = Proxy::rewriting(&devchain.url, move |method: &str| {
        counted.fetch_add(u32::from(method == "author_submitExtrinsic"), Ordering::SeqCst);
        None
    });
    let miner = client(&[&proxy.url], "//Miner1");
    // In the chain's order: an unreachable address on port 0 of a stranger is a stranger's first.
    let stranger = client(&[&proxy.url], "//Bob").serve_axon(SUBNET, axon("127.0.0.1:0")).await;
    let (rule, class) = refused(stranger);
    assert!(rule.contains("not registered on subnet 39") && class == FailureClass::Permanent, "{rule}");
    let (rule, class) = refused(miner.serve_axon(SUBNET, axon("127.0.0.1:0")).await);
    assert_eq!(
        (rule.as_str(), class),
        ("nobody can reach 127.0.0.1; serve a public address", FailureClass::Invalid)
    );
    let (rule, class) = refused(miner.serve_axon(SUBNET, axon("10.0.0.1:0")).await);
    assert!(rule.contains("port 0") && class == FailureClass::Invalid, "{rule}");
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    let AxonOutcome::Served(block) = miner.serve_axon(SUBNET, axon("10.0.0.1:9000")).await.unwrap() else {
        panic!("not served")
    };
    let certificate = [vec![4u8], vec![7; 32]].concat();
    for late in [
        miner.serve_axon(SUBNET, axon("10.0.0.1:0")).await,
        miner.serve_axon_tls(SUBNET, axon("10.0.0.1:9000"), &certificate).await,
    ] {
        let (rule, class) = refused(late);
        assert!(rule.ends_with(&format!("again at block {}", block.0 + 100_000)), "{rule}");
        assert_eq!(class, FailureClass::Transient);
    }
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}
