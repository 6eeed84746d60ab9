//! Only final blocks count: what a block that is replaced said, nobody heard.

use std::sync::Arc;

use basilica_chain::SubtensorChain;
use basilica_ports::{Chain as _, ChainError, PreparedWeights, WeightsCall, WeightsOrder, WeightsOutcome};
use basilica_types::{BlockNumber, MechanismId, Uid, Weight};
use serde_json::json;
use tokio::task::JoinSet;

use crate::devchain::{Devchain, SUBNET, hotkey, permitted, soon};

/// A chain that stands still, with a permit, a prepared call and the task that sees it to its end.
struct Scene {
    devchain: Devchain,
    chain: Arc<SubtensorChain>,
    prepared: PreparedWeights,
    concluding: JoinSet<Result<WeightsOutcome, ChainError>>,
}

const WEIGHTS: [(Uid, Weight); 2] = [(Uid(4), Weight(32_768)), (Uid(5), Weight(65_535))];

impl Scene {
    async fn submitted(profile: &str) -> Self {
        let devchain = Devchain::with_flags(json!({ "profile": profile }), &["--finality-lag", "3"]);
        let chain = Arc::new(devchain.client("//Validator1"));
        permitted(&chain).await;
        devchain.ask("dev_setMining", json!({ "mode": "manual" }));
        let call = WeightsCall::Set { weights: WEIGHTS.to_vec(), version_key: 0 };
        let order = WeightsOrder { netuid: SUBNET, mechanism: MechanismId(0), call };
        let prepared = chain.prepare_weights(&order).await.unwrap();
        let (follower, bytes) = (Arc::clone(&chain), prepared.clone());
        let mut concluding = JoinSet::new();
        concluding.spawn(async move { follower.conclude_weights(&bytes).await });
        let scene = Self { devchain, chain, prepared, concluding };
        scene.until_waiting().await;
        scene
    }

    /// Waits until the pool has the call.
    async fn until_waiting(&self) {
        soon("the submission", async {
            while self.devchain.ask("author_pendingExtrinsics", json!([])).as_array().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Makes blocks until the call's end is known.
    async fn end(self) -> (WeightsOutcome, Devchain, Arc<SubtensorChain>) {
        let Self { devchain, chain, mut concluding, .. } = self;
        devchain.ask("dev_setMining", json!({ "mode": "interval", "block_time_ms": 100 }));
        let outcome = soon("the end of the call", concluding.join_next()).await.unwrap().unwrap().unwrap();
        (outcome, devchain, chain)
    }

    fn is_in_the_best_block(&self) -> bool {
        let block = self.devchain.ask("chain_getBlock", json!([]));
        let ours = format!("0x{}", hex::encode(&self.prepared.extrinsic));
        block["block"]["extrinsics"].as_array().unwrap().iter().any(|extrinsic| *extrinsic == json!(ours))
    }
}

async fn last_update(chain: &SubtensorChain) -> BlockNumber {
    chain.metagraph(SUBNET).await.unwrap().neuron(&hotkey("//Validator1")).unwrap().last_update
}

#[tokio::test]
async fn a_call_whose_block_is_replaced_is_set_in_the_block_that_stays() {
    for (profile, dropped) in [("newest", false), ("newest", true), ("legacy", true)] {
        let mut scene = Scene::submitted(profile).await;
        scene.devchain.ask("dev_newBlock", json!([1]));
        assert!(scene.is_in_the_best_block(), "{profile}");
        let before = scene.devchain.ask("chain_getHeader", json!([]))["number"].clone();
        scene.devchain.ask("dev_reorg", json!({ "depth": 1, "drop_extrinsics": dropped }));
        assert_eq!(
            scene.is_in_the_best_block(),
            !dropped && scene.devchain.ask("chain_getHeader", json!([]))["number"] == before
        );
        assert!(scene.concluding.try_join_next().is_none(), "nothing is final yet");
        let (outcome, _devchain, chain) = scene.end().await;
        let WeightsOutcome::Set { block } = outcome else { panic!("{profile}: {outcome:?}") };
        assert_eq!(last_update(&chain).await, block, "{profile}");
        assert_eq!(
            chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
            WEIGHTS,
            "{profile}"
        );
    }
}

#[tokio::test]
async fn nothing_is_told_before_it_is_final() {
    let mut scene = Scene::submitted("newest").await;
    scene.devchain.fail(json!({ "kind": "stall_finality" }));
    scene.devchain.ask("dev_newBlock", json!([8]));
    // Looks go on: the follower has seen all of these blocks' heads by now, had it asked for them.
    let seen = scene.chain.head().await.unwrap();
    for _ in 0..20 {
        assert_eq!(scene.chain.head().await.unwrap(), seen, "finality stands");
    }
    assert!(scene.concluding.try_join_next().is_none());
    scene.devchain.heal();
    let (outcome, _devchain, chain) = scene.end().await;
    let WeightsOutcome::Set { block } = outcome else { panic!("{outcome:?}") };
    assert_eq!(last_update(&chain).await, block);
}
