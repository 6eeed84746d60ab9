use std::error::Error as _;
use std::net::TcpListener;

use basilica_chain::ChainOptions;
use basilica_ports::{Chain as _, ChainError, FailureClass};
use basilica_types::Millis;
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, client, client_with, deserted, options, soon};
use crate::proxy::Proxy;

#[tokio::test]
async fn an_unreachable_chain_is_told_with_the_endpoint_and_can_be_retried() {
    let url = deserted();
    let chain = client(&[&url], "//Validator1");
    for _ in 0..3 {
        let error = soon("an answer", chain.head()).await.unwrap_err();
        assert!(matches!(&error, ChainError::Unreachable { endpoint, .. } if *endpoint == url), "{error:?}");
        assert_eq!(error.class(), FailureClass::Transient);
        assert!(error.source().is_some());
    }
}

#[tokio::test]
async fn an_endpoint_that_accepts_and_says_nothing_is_unreachable_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let chain =
        client_with(ChainOptions { connect_deadline: Millis(200), ..options(&[&url]) }, "//Validator1");
    let error = soon("an answer", chain.head()).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tls_endpoint_that_is_none_is_unreachable() {
    let devchain = Devchain::start();
    let url = devchain.url.replace("ws://", "wss://");
    let chain =
        client_with(ChainOptions { connect_deadline: Millis(2_000), ..options(&[&url]) }, "//Validator1");
    let error = soon("an answer", chain.head()).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_call_never_outlasts_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let chain = client_with(ChainOptions { call_deadline: Millis(200), ..options(&[&url]) }, "//Validator1");
    let error = soon("an answer", chain.metagraph(SUBNET)).await.unwrap_err();
    assert!(matches!(error, ChainError::Deadline { call: "metagraph" }), "{error:?}");
}

#[tokio::test]
async fn the_next_endpoint_takes_over_at_the_start() {
    let devchain = Devchain::start();
    let chain = client(&[&deserted(), &devchain.url], "//Validator1");
    assert!(chain.identity().await.unwrap().development);
}

#[tokio::test]
async fn the_next_endpoint_takes_over_in_mid_use() {
    // Two chains of the same genesis stand for two endpoints of one chain.
    let (mut first, second) = (Devchain::start(), Devchain::start());
    let chain = client(&[&first.url, &second.url], "//Validator1");
    let before = chain.identity().await.unwrap();
    first.kill();
    assert_eq!(chain.identity().await.unwrap(), before);
    assert_eq!(chain.metagraph(SUBNET).await.unwrap().neurons.len(), 6);
}

#[tokio::test]
async fn an_endpoint_that_falls_silent_is_left() {
    let devchain = Devchain::start();
    let proxy = Proxy::before(&devchain.url);
    let impatient = ChainOptions { request_deadline: Millis(500), ..options(&[&proxy.url, &devchain.url]) };
    let chain = client_with(impatient, "//Validator1");
    chain.metagraph(SUBNET).await.unwrap();
    proxy.fall_silent();
    assert_eq!(soon("an answer", chain.metagraph(SUBNET)).await.unwrap().neurons.len(), 6);
}

#[tokio::test]
async fn calls_recover_when_a_dead_chain_comes_back() {
    let mut devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    let before = chain.head().await.unwrap();
    devchain.kill();
    assert!(matches!(chain.head().await, Err(ChainError::Unreachable { .. })));
    devchain.revive();
    soon("recovery", async { while chain.head().await.is_err() {} }).await;
    assert!(chain.head().await.unwrap() >= before);
    assert!(chain.identity().await.unwrap().development);
}

#[tokio::test]
async fn another_chain_at_the_same_address_is_refused() {
    let mut devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    chain.head().await.unwrap();
    devchain.replace(json!({ "block_time_ms": 150 }));
    let error = chain.head().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error:?}");
    let cause = error.source().unwrap().to_string();
    assert!(cause.starts_with("endpoint serves the chain with genesis 0x"), "{cause}");
}
