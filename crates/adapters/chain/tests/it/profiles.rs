//! The same reads and writes on both generations of the public chain's metadata.

use basilica_ports::{
    Axon, AxonOutcome, Chain as _, ChainError, EpochClock, SubnetReads as _, WeightsCall, WeightsOrder,
    WeightsOutcome,
};
use basilica_types::{Coldkey, MechanismId, NetUid, Rao, Uid, Weight};
use serde_json::json;

use crate::devchain::{Devchain, SUBNET, hotkey, permitted};

const PROFILES: [&str; 2] = ["newest", "legacy"];

fn coldkey(uri: &str) -> Coldkey {
    Coldkey::from_bytes(*hotkey(uri).as_bytes())
}

#[tokio::test]
async fn settings_and_terms_are_read_by_name() {
    for profile in PROFILES {
        let devchain = Devchain::of(profile, json!({ "tempo": 7 }));
        let chain = devchain.client("//Validator1");
        let settings = chain.hyperparameters(SUBNET).await.unwrap();
        assert_eq!(settings.number("tempo"), Some(7), "{profile}: {settings:?}");
        assert_eq!(settings.number("weights_rate_limit"), Some(2), "{profile}");
        assert_eq!(settings.number("serving_rate_limit"), Some(2), "{profile}");
        assert_eq!(settings.flag("commit_reveal_weights_enabled"), Some(false), "{profile}");
        assert_eq!(settings.flag("registration_allowed"), Some(true), "{profile}");
        let absent = chain.hyperparameters(NetUid(7)).await.unwrap_err();
        assert!(matches!(absent, ChainError::Call { .. }), "{profile}: {absent:?}");
        let terms = chain.registration_terms(SUBNET).await.unwrap();
        assert!(terms.price > Rao(0) && terms.allowed, "{profile}: {terms:?}");
        assert_eq!(terms.collateral_share.is_some(), profile == "newest", "{profile}: {terms:?}");
        assert_eq!(chain.subnet_owner(SUBNET).await.unwrap(), Some(coldkey("//OwnerCold")), "{profile}");
        let staked =
            chain.stake(SUBNET, &hotkey("//Validator1"), &coldkey("//Validator1Cold")).await.unwrap();
        assert!(staked.unwrap() > Rao(0), "{profile}");
        let stranger = chain.stake(SUBNET, &hotkey("//Validator1"), &coldkey("//Bob")).await.unwrap();
        assert!(stranger.is_none_or(|stake| stake == Rao(0)), "{profile}: {stranger:?}");
        assert_eq!(chain.commitment(SUBNET, &hotkey("//Miner1")).await.unwrap(), None, "{profile}");
        assert!(chain.commitments(SUBNET).await.unwrap().is_empty(), "{profile}");
        let collateral = chain.collateral(SUBNET).await.unwrap();
        assert!(profile == "newest" || collateral.is_none(), "{profile}: {collateral:?}");
    }
}

#[tokio::test]
async fn weights_are_set_and_endpoints_served() {
    for profile in PROFILES {
        let devchain = Devchain::of(profile, json!({}));
        let chain = devchain.client("//Validator1");
        permitted(&chain).await;
        let rules = chain.weight_rules(SUBNET, MechanismId(0)).await.unwrap();
        let stateful = matches!(rules.epochs, EpochClock::Stateful { .. });
        assert_eq!(stateful, profile == "newest", "{profile}: {rules:?}");
        assert_eq!(
            (rules.neurons, &rules.commit_reveal, rules.open_commits.len()),
            (6, &None, 0),
            "{profile}"
        );
        let weights = vec![(Uid(4), Weight(u16::MAX)), (Uid(5), Weight(0))];
        let call = WeightsCall::Set { weights: weights.clone(), version_key: 0 };
        let order = WeightsOrder { netuid: SUBNET, mechanism: MechanismId(0), call };
        let prepared = chain.prepare_weights(&order).await.unwrap();
        let outcome = chain.conclude_weights(&prepared).await.unwrap();
        assert!(matches!(outcome, WeightsOutcome::Set { .. }), "{profile}: {outcome:?}");
        assert_eq!(chain.weights(SUBNET, MechanismId(0), Uid(1)).await.unwrap().1, weights, "{profile}");
        let axon = Axon { address: "10.1.2.3:9000".parse().unwrap() };
        let served = devchain.client("//Miner1").serve_axon(SUBNET, axon).await.unwrap();
        assert!(matches!(served, AxonOutcome::Served(_)), "{profile}: {served:?}");
    }
}

#[tokio::test]
async fn an_item_that_a_runtime_lacks_is_named() {
    let devchain = Devchain::of("legacy", json!({}));
    let miner = devchain.client("//Miner1");
    let axon = Axon { address: "10.1.2.3:9000".parse().unwrap() };
    let certificate = [vec![4u8], vec![7; 32]].concat();
    // Whether the development chain has the TLS form depends on its version; either it serves or it names the item.
    match miner.serve_axon_tls(SUBNET, axon, &certificate).await {
        Ok(served) => {
            assert!(matches!(served, AxonOutcome::Served(_)));
            let again = miner.serve_axon_tls(SUBNET, axon, &certificate).await.unwrap();
            assert_eq!(again, AxonOutcome::Unchanged);
        }
        Err(ChainError::Unsupported { item, .. }) => {
            assert!(item.starts_with("SubtensorModule."), "{item}");
        }
        Err(other) => panic!("{other:?}"),
    }
}
