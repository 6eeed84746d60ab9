//! Submissions whose answer, connection or nonce is lost on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_ports::{Axon, AxonOutcome, Chain as _};

use crate::devchain::{Devchain, SUBNET, client, hotkey, soon};
use crate::proxy::{Proxy, Rewrite};

fn axon(address: &str) -> Axon {
    Axon { address: address.parse().unwrap() }
}

#[tokio::test]
async fn an_extrinsic_that_was_accepted_but_whose_answer_was_lost_is_found_and_not_sent_as_another() {
    let devchain = Devchain::start();
    let submissions = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&submissions);
    let proxy = Proxy::rewriting(&devchain.url, move |method: &str| {
        (method == "author_submitExtrinsic" && counted.fetch_add(1, Ordering::SeqCst) == 0)
            .then_some(Rewrite::Lose)
    });
    let chain = client(&[&proxy.url], "//Miner1");
    let served = soon("the end of it", chain.serve_axon(SUBNET, axon("10.1.2.3:9000"))).await.unwrap();
    let AxonOutcome::Served(block) = served else { panic!("{served:?}") };
    let metagraph = chain.metagraph(SUBNET).await.unwrap();
    assert_eq!(metagraph.neuron(&hotkey("//Miner1")).unwrap().axon, Some(axon("10.1.2.3:9000")));
    assert!(metagraph.block >= block);
    // The next extrinsic takes the very next nonce: nothing else was sent.
    let direct = devchain.client("//Miner1");
    assert_eq!(direct.serve_axon(SUBNET, axon("10.1.2.3:9000")).await.unwrap(), AxonOutcome::Unchanged);
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_request_of_a_write_changes_nothing_in_its_end() {
    let devchain = Devchain::start();
    // Every third request, from the handshake to the search for the end, is answered by a closed connection, once.
    for broken in (0..16).step_by(3) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let proxy = Proxy::rewriting(&devchain.url, move |_: &str| {
            (counted.fetch_add(1, Ordering::SeqCst) == broken).then_some(if broken % 2 == 0 {
                Rewrite::Lose
            } else {
                Rewrite::Drop
            })
        });
        let chain = client(&[&proxy.url], "//Miner2");
        let address = axon(&format!("10.1.2.3:{}", 9_000 + broken));
        let served = async {
            loop {
                match chain.serve_axon(SUBNET, address).await {
                    Ok(outcome) => return outcome,
                    // The serving rate limit of the address before, at the endpoint or at ours.
                    Err(error) => {
                        assert_eq!(error.class(), basilica_ports::FailureClass::Transient, "{error:?}")
                    }
                }
            }
        };
        let served = soon("serving", served).await;
        assert!(matches!(served, AxonOutcome::Served(_)), "request {broken}: {served:?}");
        let metagraph = devchain.client("//Miner2").metagraph(SUBNET).await.unwrap();
        assert_eq!(metagraph.neuron(&hotkey("//Miner2")).unwrap().axon, Some(address), "request {broken}");
    }
}
