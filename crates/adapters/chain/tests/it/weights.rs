use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{
    Chain as _, ChainError, Clock as _, Expiry, FailureClass, PreparedWeights, WeightsCall, WeightsOrder,
    WeightsOutcome,
};
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{BlockNumber, MechanismId, Millis, NetUid, Uid, Weight};
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, client_with, hotkey, options, permitted, soon};

pub(crate) fn order(pairs: &[(u16, u16)]) -> WeightsOrder {
    let weights = pairs.iter().map(|(uid, weight)| (Uid(*uid), Weight(*weight))).collect();
    WeightsOrder {
        netuid: SUBNET,
        mechanism: MechanismId(0),
        call: WeightsCall::Set { weights, version_key: 0 },
    }
}

/// RULES R5: what the chain stores for these weights.
fn upscaled(pairs: &[(u16, u16)]) -> Vec<(Uid, Weight)> {
    let max = u128::from(pairs.iter().map(|(_, weight)| *weight).max().unwrap());
    let scale = |v: u128| {
        let product = if max > 32_768 { v * ((65_535 << 32) / max) } else { ((v * 65_535) << 32) / max };
        u16::try_from((product + (1 << 31)) >> 32).unwrap()
    };
    pairs.iter().map(|(uid, weight)| (Uid(*uid), Weight(scale((*weight).into())))).collect()
}

pub(crate) fn set_in(outcome: WeightsOutcome) -> BlockNumber {
    match outcome {
        WeightsOutcome::Set { block } => block,
        other => panic!("weights were not set: {other:?}"),
    }
}

fn refused(result: Result<PreparedWeights, ChainError>) -> (String, FailureClass) {
    match result {
        Err(ChainError::Preflight { rule, class }) => (rule, class),
        other => panic!("expected a refusal by our own check, got {other:?}"),
    }
}

pub(crate) async fn head_past(chain: &SubtensorChain, block: BlockNumber) {
    soon("blocks", async {
        while chain.head().await.unwrap() <= block {
            SystemClock::new().sleep(Millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn weights_read_back_as_the_chain_upscales_them() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let cases: [&[(u16, u16)]; 3] = [
        &[(0, 30_000), (4, 20_000), (5, 15_535)],
        &[(0, 40_001), (4, 25_533), (5, 1)],
        &[(0, 65_535), (4, 0)],
    ];
    for pairs in cases {
        let prepared = prepare_when_allowed(&chain, pairs).await;
        assert_eq!(prepared.dies.0, prepared.born.0 + 63);
        let block = set_in(chain.conclude_weights(&prepared).await.unwrap());
        assert!(block > prepared.born && block <= prepared.dies);
        assert_eq!(
            chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
            upscaled(pairs)
        );
        let metagraph = chain.metagraph(SUBNET).await.unwrap();
        assert_eq!(metagraph.neuron(&hotkey("//Validator1")).unwrap().last_update, block);
    }
}

/// Prepares as soon as the rate limit has passed.
async fn prepare_when_allowed(chain: &SubtensorChain, pairs: &[(u16, u16)]) -> PreparedWeights {
    soon("the rate limit", async {
        loop {
            match chain.prepare_weights(&order(pairs)).await {
                Err(ChainError::Preflight { class: FailureClass::Transient, .. }) => {
                    SystemClock::new().sleep(Millis(50)).await;
                }
                other => return other.unwrap(),
            }
        }
    })
    .await
}

#[tokio::test]
async fn concluding_again_sets_nothing_again() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let prepared = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    let first = set_in(chain.conclude_weights(&prepared).await.unwrap());
    head_past(&chain, BlockNumber(first.0 + 3)).await;
    assert_eq!(set_in(chain.conclude_weights(&prepared).await.unwrap()), first);
    // A process that crashed after submitting, or another leader, knows nothing but the bytes.
    assert_eq!(set_in(devchain.client("//Validator1").conclude_weights(&prepared).await.unwrap()), first);
    let metagraph = chain.metagraph(SUBNET).await.unwrap();
    assert_eq!(metagraph.neuron(&hotkey("//Validator1")).unwrap().last_update, first);
}

#[tokio::test]
async fn two_leaders_with_the_same_bytes_set_once() {
    let devchain = Devchain::start();
    let (one, other) = (devchain.client("//Validator1"), devchain.client("//Validator1"));
    permitted(&one).await;
    let prepared = one.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    let (a, b) = tokio::join!(one.conclude_weights(&prepared), other.conclude_weights(&prepared));
    assert_eq!(set_in(a.unwrap()), set_in(b.unwrap()));
}

#[tokio::test]
async fn the_chain_may_die_between_preparing_and_concluding() {
    let mut devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let prepared = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    devchain.kill();
    assert!(matches!(chain.conclude_weights(&prepared).await, Err(ChainError::Unreachable { .. })));
    devchain.revive();
    let block = soon("inclusion", async {
        loop {
            match chain.conclude_weights(&prepared).await {
                Ok(outcome) => return set_in(outcome),
                Err(error) => assert_eq!(error.class(), FailureClass::Transient, "{error:?}"),
            }
        }
    })
    .await;
    assert!(block <= prepared.dies);
    assert_eq!(
        chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        upscaled(&[(4, 1), (5, 2)])
    );
}

#[tokio::test]
async fn an_extrinsic_that_nobody_submitted_expires_and_sets_nothing() {
    let devchain = Devchain::start();
    let short = ChainOptions { era_blocks: 4, ..options(&[&devchain.url]) };
    let chain = client_with(short, "//Validator1");
    permitted(&chain).await;
    let prepared = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    head_past(&chain, prepared.dies).await;
    assert_eq!(chain.conclude_weights(&prepared).await.unwrap(), WeightsOutcome::Expired(Expiry::EraOver));
    assert_eq!(
        chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        []
    );
}

#[tokio::test]
async fn an_extrinsic_of_a_chain_that_was_wiped_expires_at_once() {
    let mut devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let prepared = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    // Another genesis, and far from the height at which the extrinsic would have died.
    devchain.replace(json!({ "tempo": 6 }));
    let restarted = devchain.client("//Validator1");
    assert_eq!(
        restarted.conclude_weights(&prepared).await.unwrap(),
        WeightsOutcome::Expired(Expiry::OtherChain)
    );
}

#[tokio::test]
async fn an_extrinsic_signed_on_another_block_than_the_chain_has_at_that_height_expires() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let prepared = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    let elsewhere = PreparedWeights { born_hash: basilica_types::BlockHash::from_bytes([7; 32]), ..prepared };
    assert_eq!(
        chain.conclude_weights(&elsewhere).await.unwrap(),
        WeightsOutcome::Expired(Expiry::OtherChain)
    );
    assert_eq!(
        chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        [],
        "nothing was submitted"
    );
}

#[tokio::test]
async fn a_second_extrinsic_with_the_same_nonce_never_takes_effect() {
    let devchain = Devchain::start();
    let short = ChainOptions { era_blocks: 32, ..options(&[&devchain.url]) };
    let chain = client_with(short, "//Validator1");
    permitted(&chain).await;
    let winner = chain.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    let loser = chain.prepare_weights(&order(&[(4, 2), (5, 1)])).await.unwrap();
    assert_eq!(winner.nonce, loser.nonce);
    set_in(chain.conclude_weights(&winner).await.unwrap());
    let outcome = soon("the end of it", chain.conclude_weights(&loser)).await;
    assert_eq!(outcome.unwrap(), WeightsOutcome::Expired(Expiry::NonceTaken));
    assert_eq!(
        chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        upscaled(&[(4, 1), (5, 2)])
    );
}

#[tokio::test]
async fn a_call_that_fails_in_its_block_is_told_by_the_chains_name_of_the_error() {
    // Blocks slow enough to sign the second while the first waits in the pool.
    // Newer runtimes refuse the second before the pool instead.
    let settings =
        json!({ "profile": "legacy", "block_time_ms": 2_000, "tempo": 2, "weights_rate_limit": 5 });
    let devchain = Devchain::with(settings);
    let (one, other) = (devchain.client("//Validator1"), devchain.client("//Validator1"));
    permitted(&one).await;
    // Right after a block there is the most time before the next.
    head_past(&one, one.head().await.unwrap()).await;
    let first = one.prepare_weights(&order(&[(4, 1), (5, 2)])).await.unwrap();
    let follow = async {
        let second = soon("the next nonce", async {
            loop {
                let second = other.prepare_weights(&order(&[(4, 2), (5, 1)])).await.unwrap();
                if second.nonce > first.nonce {
                    return second;
                }
            }
        })
        .await;
        other.conclude_weights(&second).await
    };
    let (first_outcome, second_outcome) = tokio::join!(one.conclude_weights(&first), follow);
    set_in(first_outcome.unwrap());
    match second_outcome.unwrap() {
        WeightsOutcome::Failed { error, .. } => assert_eq!(error, "SubtensorModule.SettingWeightsTooFast"),
        other => panic!("expected a dispatch error, got {other:?}"),
    }
    assert_eq!(
        one.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        upscaled(&[(4, 1), (5, 2)])
    );
}

#[tokio::test]
async fn what_the_chain_would_refuse_is_refused_before_signing() {
    let devchain = Devchain::with(json!({ "min_allowed_weights": 2, "weights_rate_limit": 1_000 }));
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let vector = async |pairs: &[(u16, u16)]| chain.prepare_weights(&order(pairs)).await;
    let (rule, class) = refused(devchain.client("//Bob").prepare_weights(&order(&[(4, 1), (5, 1)])).await);
    assert!(rule.contains("not registered on subnet 39"), "{rule}");
    assert_eq!(class, FailureClass::Permanent);
    let (rule, class) = refused(devchain.client("//Miner1").prepare_weights(&order(&[(4, 1), (5, 1)])).await);
    assert_eq!(
        rule,
        "stake weight 0 rao is below the threshold of 1000000000000 rao; add stake to the hotkey"
    );
    assert_eq!(class, FailureClass::Permanent);
    assert_eq!(
        refused(vector(&[(4, 1), (4, 1)]).await),
        ("uid 4 occurs twice".to_owned(), FailureClass::Invalid)
    );
    assert_eq!(refused(vector(&[(4, 1), (9, 1)]).await).0, "uid 9 does not exist, the subnet has 6 neurons");
    assert_eq!(refused(vector(&[(4, 1)]).await).0, "1 weights are fewer than the 2 that the subnet asks for");
    assert_eq!(refused(vector(&[(4, 1); 7]).await).0, "7 weights for 6 neurons");
    let nowhere = WeightsOrder { netuid: NetUid(40), ..order(&[(4, 1), (5, 1)]) };
    // Commit-reveal is on by default, and that is asked first.
    assert!(
        refused(chain.prepare_weights(&nowhere).await)
            .0
            .starts_with("subnet 40 takes committed weights only")
    );
    let prepared = vector(&[(4, 1), (5, 1)]).await.unwrap();
    let block = set_in(chain.conclude_weights(&prepared).await.unwrap());
    let (rule, class) = refused(vector(&[(4, 1), (5, 1)]).await);
    assert!(rule.ends_with(&format!("the next setting is allowed at block {}", block.0 + 1_000)), "{rule}");
    assert_eq!(class, FailureClass::Transient);
}

#[tokio::test]
async fn without_a_permit_there_is_nothing_to_sign_until_an_epoch() {
    let devchain = Devchain::with(json!({ "tempo": 10_000 }));
    let chain = devchain.client("//Validator1");
    let (rule, class) = refused(chain.prepare_weights(&order(&[(4, 1), (5, 1)])).await);
    assert!(rule.contains("no validator permit"), "{rule}");
    assert_eq!(class, FailureClass::Transient);
}

#[tokio::test]
async fn a_subnet_with_commit_reveal_is_refused_with_the_way_out() {
    let devchain = Devchain::with(json!({ "commit_reveal": true }));
    let (rule, class) = refused(devchain.client("//Validator1").prepare_weights(&order(&[(4, 1)])).await);
    assert!(rule.contains("sudo_set_commit_reveal_weights_enabled"), "{rule}");
    assert_eq!(class, FailureClass::Permanent);
}

#[tokio::test]
async fn a_client_without_a_hotkey_only_reads() {
    let devchain = Devchain::start();
    let clock = Arc::new(SystemClock::new());
    let reader = SubtensorChain::new(options(&[&devchain.url]), None, clock, Arc::new(OsEntropy)).unwrap();
    reader.metagraph(SUBNET).await.unwrap();
    assert_eq!(refused(reader.prepare_weights(&order(&[(4, 1)])).await).1, FailureClass::Invalid);
}
