//! The same reads and writes on both generations of the public chain's metadata.

use basilica_ports::{
    Axon, AxonOutcome, Chain as _, EpochClock, FailureClass, SubnetReads as _, WeightsCall, WeightsOrder,
    WeightsOutcome,
};
use basilica_types::{Coldkey, MechanismId, NetUid, Rao, Uid, Weight};
use serde_json::json;
use subxt::dynamic;
use subxt::ext::scale_decode::DecodeAsType;

use crate::devchain::{Devchain, SUBNET, hotkey, permitted};
use crate::raw::Raw;

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
        let absent = chain.hyperparameters(NetUid(40)).await.unwrap_err();
        assert_eq!(absent.class(), FailureClass::Permanent, "{profile}: {absent:?}");
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
        assert_eq!(
            chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
            weights,
            "{profile}"
        );
        let axon = Axon { address: "10.1.2.3:9000".parse().unwrap() };
        let served = devchain.client("//Miner1").serve_axon(SUBNET, axon).await.unwrap();
        assert!(matches!(served, AxonOutcome::Served(_)), "{profile}: {served:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_kept_with_its_endpoint_and_a_new_one_is_served_again() {
    for profile in PROFILES {
        let devchain = Devchain::of(profile, json!({ "serving_rate_limit": 0 }));
        let (miner, raw) = (devchain.client("//Miner1"), Raw::connect(&devchain).await);
        let axon = Axon { address: "10.1.2.3:9000".parse().unwrap() };
        let serve = async |key: u8| {
            miner.serve_axon_tls(SUBNET, axon, &[vec![4u8], vec![key; 32]].concat()).await.unwrap()
        };
        for key in [7, 8] {
            let served = serve(key).await;
            assert!(matches!(served, AxonOutcome::Served(_)), "{profile}: {served:?}");
            assert_eq!(serve(key).await, AxonOutcome::Unchanged, "{profile}");
            assert_eq!(certificate_of(&raw, "//Miner1").await, (vec![key; 32], 4), "{profile}");
        }
        let metagraph = miner.metagraph(SUBNET).await.unwrap();
        assert_eq!(metagraph.neuron(&hotkey("//Miner1")).unwrap().axon, Some(axon), "{profile}");
        let nobody = devchain.client("//Bob").serve_axon_tls(SUBNET, axon, &[4, 1]).await.unwrap_err();
        assert!(nobody.to_string().contains("not registered on subnet 39"), "{profile}: {nobody:?}");
    }
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Certificate {
    public_key: Vec<u8>,
    algorithm: u8,
}

/// The key and the algorithm that the chain keeps of a hotkey.
async fn certificate_of(raw: &Raw, uri: &str) -> (Vec<u8>, u8) {
    let address = dynamic::storage::<(u16, [u8; 32]), Certificate>("SubtensorModule", "NeuronCertificates");
    let keys = (SUBNET.0, *hotkey(uri).as_bytes());
    let kept = raw.at().await.storage().fetch(address, keys).await.unwrap().decode().unwrap();
    (kept.public_key, kept.algorithm)
}
