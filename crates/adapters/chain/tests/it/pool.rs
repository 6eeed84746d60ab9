//! How endpoints are chosen, left and returned to.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use basilica_chain::{ChainOptions, EndpointState, SubtensorChain};
use basilica_ports::{Chain as _, ChainError, Clock as _};
use basilica_system::SystemClock;
use basilica_types::{Millis, Network};
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, client_with, options, soon};
use crate::proxy::{Proxy, Rewrite};

/// An endpoint that answers every handshake alike; counts them.
fn refusing(answer: &'static str) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU32::new(0));
    let shared = Arc::clone(&count);
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            shared.fetch_add(1, Ordering::SeqCst);
            let _ = client.read(&mut [0u8; 4096]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    (url, count)
}

async fn pause() {
    SystemClock::new().sleep(Millis(20)).await;
}

/// Waits until the report of one endpoint `holds`, with its guard running.
async fn until(
    chain: &SubtensorChain,
    what: &str,
    holds: impl Fn(&[basilica_chain::EndpointReport]) -> bool,
) {
    let look = async {
        while !holds(&chain.endpoints()) {
            pause().await;
        }
    };
    tokio::select! {
        () = soon(what, look) => {}
        () = chain.watch() => unreachable!("the watch never ends"),
    }
}

fn watchful(urls: &[&str]) -> ChainOptions {
    ChainOptions { health_interval: Millis(50), max_lag: 5, ..options(urls) }
}

#[tokio::test]
async fn an_endpoint_that_throttles_the_handshake_is_left_alone_for_as_long_as_it_says() {
    let devchain = Devchain::start();
    let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n";
    let (busy, count) = refusing(answer);
    let chain = client_with(options(&[&busy, &devchain.url]), "//Validator1");
    for _ in 0..5 {
        chain.head().await.unwrap();
    }
    let report = chain.endpoints();
    let EndpointState::Resting(rest) = report[0].state else { panic!("{report:?}") };
    assert!(rest > Millis(100_000) && rest <= Millis(120_000), "{rest}");
    assert!(report[0].failure.as_ref().unwrap().contains("HTTP status 429"), "{report:?}");
    assert!(report[1].in_use && report[1].state == EndpointState::Healthy, "{report:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn when_all_endpoints_ask_to_be_left_alone_calls_say_so_at_once() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
    let (busy, count) = refusing(answer);
    let chain = client_with(options(&[&busy]), "//Validator1");
    for _ in 0..3 {
        let error = soon("an answer", chain.head()).await.unwrap_err();
        assert!(matches!(&error, ChainError::Unreachable { endpoint, .. } if *endpoint == busy), "{error:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "and do not ask again");
    let error = chain.head().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("every endpoint rests for") && cause.contains("HTTP status 503"), "{cause}");
}

#[tokio::test]
async fn an_endpoint_that_throttles_requests_is_left_for_the_next() {
    let devchain = Devchain::start();
    for code in [429, -32_005, -32_009, -32_999] {
        let proxy = Proxy::rewriting(&devchain.url, move |method: &str| {
            (method == "state_call").then(|| Rewrite::Error(code, "slow down".to_owned()))
        });
        let chain = client_with(options(&[&proxy.url, &devchain.url]), "//Validator1");
        assert_eq!(chain.metagraph(SUBNET).await.unwrap().neurons.len(), 6);
        let report = chain.endpoints();
        assert!(report[1].in_use && report[0].state != EndpointState::Healthy, "{code}: {report:?}");
    }
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_skipped_and_taken_again_when_it_serves_ours() {
    let right = Devchain::start();
    let mut wrong = Devchain::with(json!({ "tempo": 7 }));
    let genesis = right.client("//Validator1").identity().await.unwrap().genesis;
    let pinned =
        ChainOptions { genesis: Some(genesis), max_lag: 100_000, ..watchful(&[&wrong.url, &right.url]) };
    let chain = client_with(pinned, "//Validator1");
    assert_eq!(chain.identity().await.unwrap().genesis, genesis);
    let report = chain.endpoints();
    assert!(report[0].failure.as_ref().unwrap().contains("endpoint serves the chain with genesis 0x"));
    assert!(report[1].in_use, "{report:?}");
    wrong.replace(json!({}));
    until(&chain, "the return to the preferred endpoint", |report| report[0].in_use).await;
    assert_eq!(chain.identity().await.unwrap().genesis, genesis);
}

#[tokio::test]
async fn a_named_network_is_never_another_chain_whoever_answers_first() {
    let devchain = Devchain::start();
    for network in [Network::Finney, Network::Test] {
        let chain = client_with(options(&[&devchain.url]).of_network(network), "//Validator1");
        let error = soon("an answer", chain.identity()).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("genesis 0x") && cause.contains("check the endpoint"), "{network}: {cause}");
    }
    let local = client_with(options(&[&devchain.url]).of_network(Network::Local), "//Validator1");
    assert!(local.identity().await.unwrap().development);
}

#[tokio::test]
async fn an_endpoint_whose_head_stands_still_while_anothers_moves_is_left() {
    let (ahead, behind) = (Devchain::start(), Devchain::start());
    let frozen = Arc::new(OnceLock::new());
    let stuck = Proxy::rewriting(&behind.url, move |method: &str| {
        let frozen = Arc::clone(&frozen);
        (method == "chain_getFinalizedHead")
            .then(|| Rewrite::Result(Box::new(move |head| frozen.get_or_init(|| head).clone())))
    });
    let chain = client_with(watchful(&[&stuck.url, &ahead.url]), "//Validator1");
    let old = chain.head().await.unwrap();
    assert!(chain.endpoints()[0].in_use, "nothing else is known yet");
    until(&chain, "leaving the stuck endpoint", |report| report[1].in_use).await;
    assert!(chain.head().await.unwrap() > old);
    let report = chain.endpoints();
    assert!(report[0].failure.as_ref().unwrap().contains("blocks behind another"), "{report:?}");
    // Alone, it is better than nothing.
    drop(ahead);
    let alone = async {
        loop {
            if let Ok(head) = chain.head().await {
                return head;
            }
        }
    };
    assert_eq!(soon("an answer", alone).await, old);
}

#[tokio::test]
async fn a_preferred_endpoint_is_returned_to_when_it_is_back() {
    let (mut first, second) = (Devchain::start(), Devchain::start());
    let chain =
        client_with(ChainOptions { max_lag: 1_000, ..watchful(&[&first.url, &second.url]) }, "//Validator1");
    chain.head().await.unwrap();
    first.kill();
    chain.head().await.unwrap();
    assert!(chain.endpoints()[1].in_use);
    first.revive();
    until(&chain, "the return", |report| report[0].in_use).await;
    chain.head().await.unwrap();
    assert_eq!(chain.endpoints()[0].state, EndpointState::Healthy);
}

#[tokio::test]
async fn an_endpoint_that_always_breaks_after_its_greeting_rests() {
    let devchain = Devchain::start();
    let proxy =
        Proxy::rewriting(&devchain.url, |method: &str| (method == "state_call").then_some(Rewrite::Drop));
    let minute = Millis::from_secs(60);
    let patient = ChainOptions { backoff: (minute, minute), ..options(&[&proxy.url]) };
    let chain = client_with(patient, "//Validator1");
    let error = soon("an answer", chain.metagraph(SUBNET)).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error:?}");
    let report = chain.endpoints();
    assert!(matches!(report[0].state, EndpointState::Resting(rest) if rest.0 > 1_000), "{report:?}");
    let both = client_with(options(&[&proxy.url, &devchain.url]), "//Validator1");
    assert_eq!(both.metagraph(SUBNET).await.unwrap().neurons.len(), 6);
}
