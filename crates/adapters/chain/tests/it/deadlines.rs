//! No call waits for ever, whichever it is and whatever the endpoint did before it fell silent.

use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{
    Axon, Chain as _, ChainError, FailureClass, HotkeySigner, SubnetReads as _, WeightsCall, WeightsOrder,
};
use basilica_system::OsEntropy;
use basilica_types::{Coldkey, MechanismId, Millis, Rao, Uid, Weight};
use basilica_wallet::WalletSigner;
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, client_with, hotkey, keypair, options, permitted, soon};

const MECHANISM: MechanismId = MechanismId(0);

fn signer(uri: &str) -> impl HotkeySigner {
    WalletSigner::new(keypair(uri), Arc::new(OsEntropy))
}

fn order() -> WeightsOrder {
    let weights = vec![(Uid(4), Weight(1)), (Uid(5), Weight(2))];
    WeightsOrder { netuid: SUBNET, mechanism: MECHANISM, call: WeightsCall::Set { weights, version_key: 0 } }
}

fn failure<T: std::fmt::Debug>(
    call: &'static str,
    result: Result<T, ChainError>,
) -> (&'static str, ChainError) {
    (call, result.expect_err(call))
}

/// Every call of the client, each of which must fail.
async fn failures(
    chain: &SubtensorChain,
    prepared: &basilica_ports::PreparedWeights,
) -> Vec<(&'static str, ChainError)> {
    let axon = Axon { address: "10.1.2.3:9000".parse().unwrap() };
    let certificate = [vec![4u8], vec![7; 32]].concat();
    let (own, coldkey) = (hotkey("//Validator1"), Coldkey::from_bytes([1; 32]));
    let payer = signer("//Validator1Cold");
    vec![
        failure("identity", chain.identity().await),
        failure("head", chain.head().await),
        failure("metagraph", chain.metagraph(SUBNET).await),
        failure("metagraph_within", chain.metagraph_within(SUBNET, Millis(0)).await),
        failure("serve_axon", chain.serve_axon(SUBNET, axon).await),
        failure("serve_axon_tls", chain.serve_axon_tls(SUBNET, axon, &certificate).await),
        failure("weight_rules", chain.weight_rules(SUBNET, MECHANISM).await),
        failure("prepare_weights", chain.prepare_weights(&order()).await),
        failure("conclude_weights", chain.conclude_weights(prepared).await),
        failure("weights", chain.weights_of(SUBNET, MECHANISM, &hotkey("//Validator1")).await),
        failure("hyperparameters", chain.hyperparameters(SUBNET).await),
        failure("stake", chain.stake(SUBNET, &own, &coldkey).await),
        failure("commitment", chain.commitment(SUBNET, &own).await),
        failure("commitments", chain.commitments(SUBNET).await),
        failure("collateral", chain.collateral(SUBNET).await),
        failure("subnet_owner", chain.subnet_owner(SUBNET).await),
        failure("registration_terms", chain.registration_terms(SUBNET).await),
        failure("register", chain.register(&payer, SUBNET, &hotkey("//Newcomer"), Rao(u64::MAX)).await),
    ]
}

#[tokio::test]
async fn every_call_ends_when_its_endpoint_falls_silent() {
    let devchain = Devchain::start();
    let impatient = || ChainOptions {
        connect_deadline: Millis(400),
        request_deadline: Millis(100),
        call_deadline: Millis(300),
        conclude_deadline: Millis(400),
        backoff: (Millis(1), Millis(2)),
        ..options(&[&devchain.url])
    };
    let patient = devchain.client("//Validator1");
    permitted(&patient).await;
    let prepared = patient.prepare_weights(&order()).await.unwrap();
    // Both a client that is connected when it happens, and one that was not yet.
    let (connected, fresh) =
        (client_with(impatient(), "//Validator1"), client_with(impatient(), "//Validator1"));
    soon("a connection", async { while connected.head().await.is_err() {} }).await;
    devchain.fail(json!({ "kind": "hang" }));
    for chain in [connected, fresh] {
        // Eighteen short deadlines; the default of a minute would outlast the patience with the second call.
        let failures = soon("the end of every call", failures(&chain, &prepared)).await;
        for (call, error) in &failures {
            let is_late = matches!(error, ChainError::Deadline { .. } | ChainError::Unreachable { .. });
            assert!(is_late && error.class() == FailureClass::Transient, "{call}: {error:?}");
        }
    }
    devchain.heal();
    soon("recovery", async { while patient.head().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_slow_endpoint_is_not_a_dead_one() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    devchain.fail(json!({ "kind": "delay", "ms": 60 }));
    assert_eq!(chain.metagraph(SUBNET).await.unwrap().neurons.len(), 6);
    assert_eq!(chain.weight_rules(SUBNET, MECHANISM).await.unwrap().neurons, 6);
    let report = chain.endpoints();
    assert!(report[0].in_use && report[0].failure.is_none(), "{report:?}");
}
