//! Endpoints that can be reached and do not serve: how they are told from a question that nobody can answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_chain::{ChainOptions, EndpointState};
use basilica_ports::{Chain as _, ChainError, Clock as _};
use basilica_system::SystemClock;
use basilica_types::{MechanismId, Millis};
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, client, client_with, options, soon};
use crate::proxy::{Proxy, Rewrite};

/// A relay that answers a method with an error of this code; counts how often.
fn erring(devchain: &Devchain, method: &'static str, code: i32) -> (Proxy, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let proxy = Proxy::rewriting(&devchain.url, move |asked: &str| {
        (asked == method).then(|| {
            counted.fetch_add(1, Ordering::SeqCst);
            Rewrite::Error(code, "State already discarded".to_owned())
        })
    });
    (proxy, count)
}

#[tokio::test]
async fn an_endpoint_that_answers_a_read_with_an_error_is_left_for_one_that_serves_it() {
    let devchain = Devchain::start();
    for code in [-32_603, -32_000, 4_003] {
        let (broken, count) = erring(&devchain, "state_call", code);
        let chain = client(&[&broken.url, &devchain.url], "//Validator1");
        assert_eq!(chain.metagraph(SUBNET).await.unwrap().neurons.len(), 6, "{code}");
        assert_eq!(count.load(Ordering::SeqCst), 1, "{code}");
        chain.head().await.unwrap();
        let report = chain.endpoints();
        assert!(report[1].in_use && report[1].state == EndpointState::Healthy, "{code}: {report:?}");
        assert_eq!(report[0].state, EndpointState::Suspect, "{code}: {report:?}");
        let failure = report[0].failure.as_ref().unwrap();
        assert!(failure.contains("State already discarded"), "{code}: {failure}");
    }
}

#[tokio::test]
async fn a_submission_that_an_endpoint_does_not_take_goes_to_the_next() {
    let devchain = Devchain::start();
    // Method not found, as of a node that takes no transactions.
    let (deaf, count) = erring(&devchain, "author_submitExtrinsic", -32_601);
    let chain = client(&[&deaf.url, &devchain.url], "//Miner1");
    let axon = basilica_ports::Axon { address: "10.1.2.3:9000".parse().unwrap() };
    let served = soon("the end of it", chain.serve_axon(SUBNET, axon)).await.unwrap();
    assert!(matches!(served, basilica_ports::AxonOutcome::Served(_)), "{served:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_no_endpoint_serves_is_asked_of_each_once_and_leaves_none() {
    let devchain = Devchain::start();
    let (one, at_one) = erring(&devchain, "state_call", -32_603);
    let (other, at_other) = erring(&devchain, "state_call", -32_603);
    let chain = client(&[&one.url, &other.url], "//Validator1");
    let error = soon("an answer", chain.metagraph(SUBNET)).await.unwrap_err();
    assert!(matches!(error, ChainError::Call { .. }), "{error:?}");
    assert_eq!((at_one.load(Ordering::SeqCst), at_other.load(Ordering::SeqCst)), (1, 1));
    chain.head().await.unwrap();
    let report = chain.endpoints();
    assert!(report.iter().all(|endpoint| endpoint.state == EndpointState::Healthy), "{report:?}");
}

#[tokio::test]
async fn probes_of_the_head_do_not_bring_calls_back_to_an_endpoint_that_fails_them() {
    let devchain = Devchain::start();
    let (heads, calls) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (seen_heads, seen_calls) = (Arc::clone(&heads), Arc::clone(&calls));
    let broken = Proxy::rewriting(&devchain.url, move |asked: &str| match asked {
        "chain_getFinalizedHead" => {
            seen_heads.fetch_add(1, Ordering::SeqCst);
            None
        }
        "state_call" => {
            seen_calls.fetch_add(1, Ordering::SeqCst);
            Some(Rewrite::Error(-32_603, "no".to_owned()))
        }
        _ => None,
    });
    let watchful = ChainOptions {
        health_interval: Millis(20),
        max_lag: 1_000,
        ..options(&[&broken.url, &devchain.url])
    };
    let chain = client_with(watchful, "//Validator1");
    chain.metagraph(SUBNET).await.unwrap();
    let probed = async {
        let before = heads.load(Ordering::SeqCst);
        while heads.load(Ordering::SeqCst) < before + 4 {
            chain.metagraph(SUBNET).await.unwrap();
            SystemClock::new().sleep(Millis(20)).await;
        }
    };
    tokio::select! {
        () = soon("four probes", probed) => {}
        () = chain.watch() => unreachable!("the watch never ends"),
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1, "asked once and not again");
    let report = chain.endpoints();
    assert!(report[1].in_use && report[0].state == EndpointState::Suspect, "{report:?}");
}

#[tokio::test]
async fn an_endpoint_that_is_too_slow_for_a_whole_call_is_left() {
    let (slow, quick) = (Devchain::start(), Devchain::start());
    let hasty =
        ChainOptions { call_deadline: Millis(4_000), max_lag: 100_000, ..options(&[&slow.url, &quick.url]) };
    let chain = client_with(hasty, "//Validator1");
    chain.weight_rules(SUBNET, MechanismId(0)).await.unwrap();
    assert!(chain.endpoints()[0].in_use);
    // Each answer comes long before its own deadline of 15 s.
    slow.fail(json!({ "kind": "delay", "ms": 2_100 }));
    let late = chain.weight_rules(SUBNET, MechanismId(0)).await.unwrap_err();
    assert!(matches!(late, ChainError::Deadline { call: "weight_rules" }), "{late:?}");
    let rules = soon("the quick one", async {
        loop {
            if let Ok(rules) = chain.weight_rules(SUBNET, MechanismId(0)).await {
                return rules;
            }
        }
    });
    assert_eq!(rules.await.neurons, 6);
    let report = chain.endpoints();
    assert!(report[1].in_use && report[0].failure.as_ref().unwrap().contains("within 4000 ms"), "{report:?}");
}

#[tokio::test]
async fn an_endpoint_that_says_429_to_the_first_question_is_left_alone() {
    let devchain = Devchain::start();
    let (busy, count) = erring(&devchain, "chain_getFinalizedHead", 429);
    let minute = Millis::from_secs(60);
    let patient = ChainOptions { backoff: (minute, minute), ..options(&[&busy.url, &devchain.url]) };
    let chain = client_with(patient, "//Validator1");
    chain.head().await.unwrap();
    let report = chain.endpoints();
    assert!(matches!(report[0].state, EndpointState::Resting(rest) if rest.0 > 1_000), "{report:?}");
    assert!(report[1].in_use && count.load(Ordering::SeqCst) == 1, "{report:?}");
}
