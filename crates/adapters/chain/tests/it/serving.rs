use basilica_ports::{Axon, AxonOutcome, Chain as _, ChainError, FailureClass};

use crate::devchain::{Devchain, SUBNET, hotkey};

fn axon(address: &str) -> Axon {
    Axon { address: address.parse().unwrap() }
}

fn pool(result: Result<AxonOutcome, ChainError>) -> (String, FailureClass) {
    match result {
        Err(ChainError::Pool { reason, class }) => (reason, class),
        other => panic!("expected a refusal by the pool, got {other:?}"),
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
async fn refusals_of_the_pool_name_the_rule_and_what_to_do() {
    let devchain = Devchain::with(serde_json::json!({ "serving_rate_limit": 100_000 }));
    let miner = devchain.client("//Miner1");
    let stranger = devchain.client("//Bob").serve_axon(SUBNET, axon("10.0.0.1:9000")).await;
    assert_eq!(
        pool(stranger),
        (
            "custom error 10 (HotKeyNotRegisteredInNetwork): register the hotkey on the subnet".to_owned(),
            FailureClass::Permanent
        )
    );
    let (reason, class) = pool(miner.serve_axon(SUBNET, axon("127.0.0.1:9000")).await);
    assert!(reason.contains("custom error 11 (InvalidIpAddress)"), "{reason}");
    assert_eq!(class, FailureClass::Invalid);
    let (reason, _) = pool(miner.serve_axon(SUBNET, axon("10.0.0.1:0")).await);
    assert!(reason.contains("custom error 13 (InvalidPort)"), "{reason}");
    miner.serve_axon(SUBNET, axon("10.0.0.1:9000")).await.unwrap();
    let (reason, class) = pool(miner.serve_axon(SUBNET, axon("10.0.0.1:9001")).await);
    assert!(reason.contains("custom error 12 (ServingRateLimitExceeded)"), "{reason}");
    assert_eq!(class, FailureClass::Transient);
}
