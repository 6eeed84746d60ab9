//! What a client that stays up makes of runtimes that lose runtime APIs, wrap values or change their shape, one upgrade
//! after the other on a chain that goes on.

use basilica_chain::SubtensorChain;
use basilica_ports::{
    Chain as _, ChainError, Consensus, EpochClock, FailureClass, Hyperparameters, Metagraph,
    SubnetReads as _, WeightRules, WeightsCall, WeightsOrder, WeightsOutcome,
};
use basilica_types::{BlockNumber, MechanismId, NetUid, Rao, Timestamp, Uid, Weight};
use serde_json::{Value, json};

use crate::devchain::{Devchain, SUBNET, hotkey, permitted};

const MECHANISM: MechanismId = MechanismId(0);

fn upgrade(devchain: &Devchain, changes: &[Value]) {
    devchain.ask("dev_upgradeRuntime", json!({ "spec_versions": 1, "changes": changes }));
}

fn without_method(method: &str) -> Value {
    json!({ "change": "remove_api", "api": "SubnetInfoRuntimeApi", "method": method })
}

fn storage(change: &str, item: &str) -> Value {
    json!({ "change": change, "pallet": "SubtensorModule", "item": item })
}

fn wrapped(item: &str) -> Value {
    json!({ "change": "wrap", "pallet": "SubtensorModule", "item": item, "name": "Newtype" })
}

fn lacks<T: std::fmt::Debug>(result: Result<T, ChainError>, expected: &str) {
    let error = result.unwrap_err();
    assert!(matches!(&error, ChainError::Unsupported { item, .. } if *item == expected), "{error:?}");
    assert_eq!(error.class(), FailureClass::Permanent);
    assert!(error.to_string().contains(expected), "{error}");
}

/// All that stays the same from block to block.
fn lasting(metagraph: &Metagraph) -> Metagraph {
    let mut neurons = metagraph.neurons.clone();
    for neuron in &mut neurons {
        // Emission adds to it.
        neuron.stake = Rao(0);
    }
    Metagraph { block: BlockNumber(0), at: Timestamp(0), neurons, ..metagraph.clone() }
}

#[tokio::test]
async fn the_metagraph_comes_from_the_next_best_runtime_api() {
    for profile in ["newest", "legacy"] {
        let devchain = Devchain::of(profile, json!({}));
        let chain = devchain.client("//Validator1");
        let first = lasting(&permitted(&chain).await);
        for method in ["get_metagraph", "get_selective_metagraph"] {
            upgrade(&devchain, &[without_method(method)]);
            let found = chain.metagraph(SUBNET).await.unwrap();
            assert_eq!(lasting(&found), first, "{profile} without {method}");
            assert!(found.neurons[1].stake > Rao(0), "{profile} without {method}");
            let absent = chain.metagraph(NetUid(40)).await.unwrap_err();
            assert_eq!(absent.class(), FailureClass::Permanent, "{profile}: {absent:?}");
            // Rows tell alpha only, which no threshold is for.
            let stake = rules(&chain).await.unwrap().own.unwrap().stake;
            assert_eq!(stake.is_some(), method == "get_metagraph", "{profile} without {method}");
        }
        let rows =
            json!({ "change": "remove_api", "api": "NeuronInfoRuntimeApi", "method": "get_neurons_lite" });
        upgrade(&devchain, &[rows]);
        lacks(chain.metagraph(SUBNET).await, "NeuronInfoRuntimeApi.get_neurons_lite");
    }
}

/// The settings that every form tells.
fn common(all: &Hyperparameters) -> (Option<u128>, Option<u128>, Option<u128>, Option<bool>) {
    (
        all.number("tempo"),
        all.number("weights_rate_limit"),
        all.number("min_allowed_weights"),
        all.flag("registration_allowed"),
    )
}

#[tokio::test]
async fn hyperparameters_come_from_older_forms_and_at_last_from_storage() {
    for profile in ["newest", "legacy"] {
        let devchain = Devchain::of(profile, json!({ "tempo": 9, "min_allowed_weights": 2 }));
        let chain = devchain.client("//Validator1");
        let expected = (Some(9), Some(2), Some(2), Some(true));
        let first = chain.hyperparameters(SUBNET).await.unwrap();
        assert_eq!(common(&first), expected, "{profile}: {first:?}");
        for method in ["get_subnet_hyperparams_v3", "get_subnet_hyperparams_v2", "get_subnet_hyperparams"] {
            if profile == "legacy" && method.ends_with("v3") {
                continue;
            }
            upgrade(&devchain, &[without_method(method)]);
            let next = chain.hyperparameters(SUBNET).await.unwrap();
            assert_eq!(common(&next), expected, "{profile} without {method}: {next:?}");
        }
    }
}

async fn rules(chain: &SubtensorChain) -> Result<WeightRules, ChainError> {
    chain.weight_rules(SUBNET, MECHANISM).await
}

#[tokio::test]
async fn newtypes_around_everything_that_is_read_change_nothing() {
    let devchain = Devchain::with(json!({ "commit_reveal": false }));
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let before = rules(&chain).await.unwrap();
    let items = [
        "NetworksAdded",
        "MechanismCountCurrent",
        "StakeThreshold",
        "WeightsVersionKey",
        "WeightsSetRateLimit",
        "MinAllowedWeights",
        "MaxWeightsLimit",
        "SubnetEpochConsensus",
        "CommitRevealWeightsEnabled",
        "RevealPeriodEpochs",
        "Tempo",
        "LastEpochBlock",
        "PendingEpochAt",
        "SubnetEpochIndex",
        "BlocksSinceLastStep",
        "LastUpdate",
        "WeightCommits",
        "TimelockedWeightCommits",
        "Weights",
    ];
    upgrade(&devchain, &items.map(wrapped));
    let after = rules(&chain).await.unwrap();
    let fixed = |rules: &WeightRules| WeightRules {
        block: BlockNumber(0),
        own: None,
        epochs: EpochClock::Modular { tempo: 0 },
        beacon: None,
        ..rules.clone()
    };
    assert_eq!(fixed(&after), fixed(&before));
    assert!(
        matches!(after.epochs, EpochClock::Stateful { tempo: 5, .. }) && after.consensus == Consensus::Yuma
    );
    let weights = vec![(Uid(4), Weight(u16::MAX)), (Uid(5), Weight(3))];
    let call = WeightsCall::Set { weights: weights.clone(), version_key: 0 };
    let prepared =
        chain.prepare_weights(&WeightsOrder { netuid: SUBNET, mechanism: MECHANISM, call }).await.unwrap();
    let outcome = chain.conclude_weights(&prepared).await.unwrap();
    assert!(matches!(outcome, WeightsOutcome::Set { .. }), "{outcome:?}");
    assert_eq!(
        chain.weights_of(SUBNET, MECHANISM, &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        weights
    );
}

#[tokio::test]
async fn an_item_that_is_gone_or_unreadable_is_named_and_the_rest_goes_on() {
    let items = ["MinAllowedWeights", "WeightsSetRateLimit", "Tempo", "StakeThreshold"];
    for (item, change) in items.iter().zip(["opaque", "remove_storage", "opaque", "remove_storage"]) {
        let devchain = Devchain::start();
        let chain = devchain.client("//Validator1");
        rules(&chain).await.unwrap();
        upgrade(&devchain, &[storage(change, item)]);
        lacks(rules(&chain).await, &format!("SubtensorModule.{item}"));
        assert_eq!(chain.metagraph(SUBNET).await.unwrap().neurons.len(), 6, "{item}");
    }
}

#[tokio::test]
async fn a_call_that_an_upgrade_takes_away_is_replaced_by_the_older_one_and_then_named() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let order = WeightsOrder {
        netuid: SUBNET,
        mechanism: MECHANISM,
        call: WeightsCall::Set { weights: vec![(Uid(4), Weight(1)), (Uid(5), Weight(1))], version_key: 0 },
    };
    let without = |call: &str| json!({ "change": "remove_call", "pallet": "SubtensorModule", "call": call });
    upgrade(&devchain, &[without("set_mechanism_weights")]);
    let prepared = chain.prepare_weights(&order).await.unwrap();
    let outcome = chain.conclude_weights(&prepared).await.unwrap();
    assert!(matches!(outcome, WeightsOutcome::Set { .. }), "{outcome:?}");
    upgrade(&devchain, &[without("set_weights")]);
    let refused = loop {
        match chain.prepare_weights(&order).await {
            // The rate limit is asked first.
            Err(ChainError::Preflight { .. }) => {}
            other => break other,
        }
    };
    lacks(refused, "SubtensorModule.set_mechanism_weights");
}

#[tokio::test]
async fn a_call_that_was_signed_before_an_upgrade_ends_as_expired_and_never_twice() {
    let devchain = Devchain::with(json!({ "block_time_ms": 50 }));
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let call = WeightsCall::Set { weights: vec![(Uid(4), Weight(1)), (Uid(5), Weight(1))], version_key: 0 };
    let order = WeightsOrder { netuid: SUBNET, mechanism: MECHANISM, call };
    let void = chain.prepare_weights(&order).await.unwrap();
    upgrade(&devchain, &[]);
    let outcome = crate::devchain::soon("its end", async {
        loop {
            match chain.conclude_weights(&void).await {
                Ok(outcome) => return outcome,
                Err(ChainError::Pool { reason, class }) => {
                    assert!(reason.contains("upgraded after signing"), "{reason}");
                    assert_eq!(class, FailureClass::Transient);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(outcome, WeightsOutcome::Expired(basilica_ports::Expiry::EraOver));
    let again = chain.prepare_weights(&order).await.unwrap();
    assert_eq!(again.nonce, void.nonce);
    assert!(matches!(chain.conclude_weights(&again).await.unwrap(), WeightsOutcome::Set { .. }));
}
