use basilica_ports::{Chain as _, FailureClass};
use basilica_types::{MechanismId, NetUid, Rao, Uid};

use crate::devchain::{Devchain, SUBNET, hotkey, metagraph_when};

#[tokio::test]
async fn the_development_chain_is_known_by_its_marker() {
    let devchain = Devchain::start();
    let identity = devchain.client("//Validator1").identity().await.unwrap();
    assert!(identity.development, "{identity:?}");
    assert!(!identity.spec_name.is_empty() && identity.spec_version > 0, "{identity:?}");
}

#[tokio::test]
async fn the_metagraph_names_everyone_with_stake_and_permit() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    let metagraph = metagraph_when(&chain, "permits", |m| m.neurons.iter().any(|n| n.validator_permit)).await;
    assert_eq!((metagraph.netuid, metagraph.tempo), (SUBNET, 5));
    assert_eq!(metagraph.owner_hotkey, Some(hotkey("//Owner")));
    let names = ["//Owner", "//Validator1", "//Validator2", "//Validator3", "//Miner1", "//Miner2"];
    let hotkeys: Vec<_> = metagraph.neurons.iter().map(|neuron| neuron.hotkey).collect();
    assert_eq!(hotkeys, names.map(hotkey));
    let validator = metagraph.neuron(&hotkey("//Validator1")).unwrap();
    assert_eq!(validator.uid, Uid(1));
    assert!(validator.validator_permit && validator.stake >= Rao(100_000_000_000_000), "{validator:?}");
    let miner = metagraph.neuron(&hotkey("//Miner1")).unwrap();
    assert!(!miner.validator_permit && miner.axon.is_none() && miner.stake == Rao(0), "{miner:?}");
    assert!(metagraph.block <= chain.head().await.unwrap());
}

#[tokio::test]
async fn many_readers_at_once_all_get_their_answer() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    let (a, b, c, d) =
        tokio::join!(chain.metagraph(SUBNET), chain.metagraph(SUBNET), chain.head(), chain.identity());
    assert_eq!(a.unwrap().neurons.len(), b.unwrap().neurons.len());
    c.unwrap();
    d.unwrap();
}

#[tokio::test]
async fn a_subnet_that_does_not_exist_is_an_error_and_not_an_empty_one() {
    let devchain = Devchain::start();
    let chain = devchain.client("//Validator1");
    let error = chain.metagraph(NetUid(40)).await.unwrap_err();
    assert!(error.to_string().contains("subnet 40 does not exist; check the netuid"), "{error}");
    assert_eq!(error.class(), FailureClass::Permanent);
    assert_eq!(
        chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        [],
        "nothing set yet"
    );
    let (_, of_a_stranger) = chain.weights_of(SUBNET, MechanismId(0), &hotkey("//Stranger")).await.unwrap();
    assert_eq!(of_a_stranger, None);
}
