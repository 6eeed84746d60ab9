//! What becomes of extrinsics whose blocks the chain forgot before their end was known, and of searches on endpoints
//! that are slow or break often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{
    Chain as _, ChainError, Clock as _, Expiry, FailureClass, OpenCommitForm, PreparedWeights, Salt,
    WeightsCall, WeightsOrder, WeightsOutcome, WindowForm,
};
use basilica_schedule::Follow;
use basilica_system::SystemClock;
use basilica_timelock::commit_hash;
use basilica_types::{BlockNumber, Digest, MechanismId, Millis, Uid, Weight};
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, client_with, hotkey, options, permitted, soon};
use crate::proxy::{Proxy, Rewrite};
use crate::raw::{Raw, number};
use crate::weights::{head_past, order, set_in};

fn forgetful() -> Devchain {
    Devchain::with(json!({ "block_time_ms": 50 }))
}

/// Waits until the chain has no state of the blocks that may contain the extrinsic any more.
async fn forgotten(devchain: &mut Devchain, chain: &SubtensorChain, prepared: &PreparedWeights) {
    // It keeps 256 states, and in memory the few that were asked for last.
    let end = BlockNumber(prepared.dies.0 + 300);
    while chain.head().await.unwrap() <= end {
        devchain.ask("dev_newBlock", json!([100]));
    }
    devchain.kill();
    devchain.revive();
}

/// Validator1's weights, set in a block that the chain has forgotten since.
async fn set_and_forgotten() -> (Devchain, PreparedWeights, BlockNumber) {
    let mut devchain = forgetful();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let prepared = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    let block = set_in(chain.conclude_weights(&prepared).await.unwrap());
    forgotten(&mut devchain, &chain, &prepared).await;
    (devchain, prepared, block)
}

#[tokio::test]
async fn weights_that_were_set_in_a_block_that_the_chain_forgot_are_set() {
    let (devchain, prepared, block) = set_and_forgotten().await;
    // The validator was killed before it stored that, and is back only now.
    let restarted = devchain.client("//Validator1");
    assert_eq!(set_in(restarted.conclude_weights(&prepared).await.unwrap()), block);
}

#[tokio::test]
async fn a_call_that_failed_in_a_block_that_the_chain_forgot_has_failed() {
    let (devchain, prepared, block) = set_and_forgotten().await;
    // As seen by a neuron whose weights were not set then: it sent the same bytes, and they did nothing for it.
    let other = devchain.client("//Validator2");
    match other.conclude_weights(&prepared).await.unwrap() {
        WeightsOutcome::Failed { block: failed, error } => {
            assert_eq!((failed, error.as_str()), (block, "unknown, the block's state is gone"));
        }
        outcome => panic!("expected a failure, got {outcome:?}"),
    }
}

/// Signs as soon as the chain's rules allow it.
async fn prepared(chain: &SubtensorChain, mechanism: MechanismId, call: WeightsCall) -> PreparedWeights {
    let order = WeightsOrder { netuid: SUBNET, mechanism, call };
    soon("the chain's leave", async {
        loop {
            match chain.prepare_weights(&order).await {
                Err(ChainError::Preflight { class: FailureClass::Transient, .. }) => {
                    SystemClock::new().sleep(Millis(20)).await;
                }
                other => return other.unwrap(),
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_reveal_in_a_block_that_the_chain_forgot_is_judged_by_the_weights() {
    let mut devchain = Devchain::with(json!({ "block_time_ms": 50, "tempo": 40, "commit_reveal": true }));
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let weights = vec![(Uid(4), Weight(u16::MAX)), (Uid(5), Weight(7))];
    let salt = vec![1, 2, 3];
    let hash = commit_hash(&hotkey("//Validator1"), SUBNET.0, (&[4, 5], &[u16::MAX, 7]), &salt, 0);
    let (hash, salt) = (Digest::from_bytes(hash), Salt::new(salt));
    let commit = prepared(&chain, MechanismId(0), WeightsCall::CommitHash { hash }).await;
    let committed = set_in(chain.conclude_weights(&commit).await.unwrap());
    let call = WeightsCall::Reveal { weights: weights.clone(), salt: salt.clone(), version_key: 0 };
    let reveal = prepared(&chain, MechanismId(0), call).await;
    set_in(chain.conclude_weights(&reveal).await.unwrap());
    forgotten(&mut devchain, &chain, &reveal).await;
    let restarted = devchain.client("//Validator1");
    let outcome = restarted.conclude_weights(&reveal).await.unwrap();
    assert_eq!(outcome, WeightsOutcome::Expired(Expiry::EraOver), "not refused: nobody can say so");
    // Which leads to the only witness that is left.
    let rules = restarted.weight_rules(SUBNET, MechanismId(0)).await.unwrap();
    assert!(rules.open_commits.iter().all(|open| open.form != OpenCommitForm::Hash(hash)), "{rules:?}");
    let follow = rules.follow(&WindowForm::Hash { hash, salt }, committed, &weights, 0);
    assert!(matches!(follow, Follow::AskWeights(_)), "{follow:?}");
    assert_eq!(
        restarted.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        weights
    );
}

#[tokio::test]
async fn each_mechanism_is_judged_by_its_own_last_weights() {
    let second = MechanismId(1);
    let mut devchain = forgetful();
    let (chain, raw) = (devchain.client("//Validator1"), Raw::connect(&devchain).await);
    permitted(&chain).await;
    let first = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    let set = set_in(chain.conclude_weights(&first).await.unwrap());
    let few = vec![("netuid", number(39u16)), ("max_allowed_uids", number(64u16))];
    raw.submit("//OwnerCold", ("AdminUtils", "sudo_set_max_allowed_uids"), few).await;
    let two = vec![("netuid", number(39u16)), ("mechanism_count", number(2u8))];
    raw.submit("//OwnerCold", ("AdminUtils", "sudo_set_mechanism_count"), two).await;
    let own = async |mechanism| chain.weight_rules(SUBNET, mechanism).await.unwrap().own.unwrap().last_update;
    assert_eq!((own(MechanismId(0)).await, own(second).await), (set, BlockNumber(0)), "the second: never");
    let call = WeightsCall::Set { weights: vec![(Uid(4), Weight(u16::MAX))], version_key: 0 };
    let later = prepared(&chain, second, call).await;
    assert_eq!(later.mechanism, second);
    let block = set_in(chain.conclude_weights(&later).await.unwrap());
    assert_eq!((own(MechanismId(0)).await, own(second).await), (set, block));
    forgotten(&mut devchain, &chain, &later).await;
    let restarted = devchain.client("//Validator1");
    assert_eq!(set_in(restarted.conclude_weights(&later).await.unwrap()), block);
}

/// An extrinsic that nobody submitted, and all of whose 32 blocks are final.
async fn over(chain: &SubtensorChain) -> PreparedWeights {
    permitted(chain).await;
    let prepared = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    head_past(chain, prepared.dies).await;
    prepared
}

#[tokio::test]
async fn a_search_ends_on_an_endpoint_that_breaks_every_few_blocks() {
    let devchain = Devchain::with(json!({ "block_time_ms": 30 }));
    let blocks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&blocks);
    let fragile = Proxy::rewriting(&devchain.url, move |method: &str| {
        let breaks = method == "chain_getBlock" && counted.fetch_add(1, Ordering::SeqCst) % 5 == 4;
        breaks.then_some(Rewrite::Drop)
    });
    let short = |url: &str| ChainOptions { era_blocks: 32, ..options(&[url]) };
    let prepared = over(&client_with(short(&devchain.url), "//Validator1")).await;
    let chain = client_with(short(&fragile.url), "//Validator1");
    let outcome = soon("the end of the search", async {
        loop {
            match chain.conclude_weights(&prepared).await {
                Ok(outcome) => return outcome,
                Err(error) => assert_eq!(error.class(), FailureClass::Transient, "{error:?}"),
            }
        }
    });
    assert_eq!(outcome.await, WeightsOutcome::Expired(Expiry::EraOver));
    let asked = blocks.load(Ordering::SeqCst);
    assert!((31..45).contains(&asked), "{asked} blocks asked for, of 31");
}

#[tokio::test]
async fn a_search_ends_on_an_endpoint_that_is_slow() {
    let devchain = Devchain::with(json!({ "block_time_ms": 30 }));
    let hasty = ChainOptions { era_blocks: 32, call_deadline: Millis(3_000), ..options(&[&devchain.url]) };
    let chain = client_with(hasty, "//Validator1");
    let prepared = over(&chain).await;
    // 31 blocks take 62 requests, more than 3 s; a look at eight of them is done in half of that.
    devchain.fail(json!({ "kind": "delay", "ms": 60 }));
    let outcome = chain.conclude_weights(&prepared).await.unwrap();
    assert_eq!(outcome, WeightsOutcome::Expired(Expiry::EraOver));
}
