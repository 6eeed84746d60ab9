//! Runtime upgrades under a client that stays up: items that vanish, come back or change shape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_chain::SubtensorChain;
use basilica_ports::{Chain as _, ChainError, FailureClass};
use basilica_types::MechanismId;
use serde_json::Value;

use crate::devchain::{Devchain, SUBNET, client};
use crate::proxy::{Proxy, Rewrite};

/// A chain whose runtime is upgraded by a relay: `upgrades` counts them, and while it is odd `from` is named `to` in the
/// metadata.
struct Upgrading {
    upgrades: Arc<AtomicU32>,
    proxy: Proxy,
    _devchain: Devchain,
}

impl Upgrading {
    fn renaming(from: &'static str, to: &'static str) -> Self {
        assert_eq!(from.len(), to.len(), "the metadata keeps its layout");
        let devchain = Devchain::start();
        let upgrades = Arc::new(AtomicU32::new(0));
        let shared = Arc::clone(&upgrades);
        let proxy = Proxy::rewriting_requests(&devchain.url, move |request| {
            let upgrades = shared.load(Ordering::SeqCst);
            let call = request["params"][0].as_str().unwrap_or_default();
            let change: Box<dyn FnOnce(Value) -> Value + Send> = match call {
                "Core_version" => Box::new(move |version| upgraded(&version, upgrades)),
                "Metadata_metadata_at_version" if upgrades % 2 == 1 => Box::new(move |metadata| {
                    metadata.as_str().unwrap().replace(&hex::encode(from), &hex::encode(to)).into()
                }),
                _ => return None,
            };
            Some(Rewrite::Result(change))
        });
        Self { upgrades, proxy, _devchain: devchain }
    }

    fn client(&self) -> SubtensorChain {
        client(&[&self.proxy.url], "//Validator1")
    }

    fn upgrade(&self) {
        self.upgrades.fetch_add(1, Ordering::SeqCst);
    }
}

/// The SCALE form of a runtime version with a higher spec version: two names, the authoring version, then that.
fn upgraded(version: &Value, by: u32) -> Value {
    let mut bytes = hex::decode(version.as_str().unwrap().trim_start_matches("0x")).unwrap();
    let first = 1 + usize::from(bytes[0] >> 2);
    let at = first + 1 + usize::from(bytes[first] >> 2) + 4;
    let spec = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) + by;
    bytes[at..at + 4].copy_from_slice(&spec.to_le_bytes());
    format!("0x{}", hex::encode(bytes)).into()
}

fn lacks(error: &ChainError, expected: &str) {
    assert!(matches!(error, ChainError::Unsupported { item, .. } if *item == expected), "{error:?}");
    assert_eq!(error.class(), FailureClass::Permanent);
    assert!(error.action().contains("an upgrade brings it"), "{}", error.action());
}

#[tokio::test]
async fn an_item_that_an_upgrade_takes_away_is_named_and_heals_with_the_next() {
    let chain = Upgrading::renaming("MinAllowedWeights", "OldAllowedWeights");
    let client = chain.client();
    let rules = async || client.weight_rules(SUBNET, MechanismId(0)).await;
    let first = client.identity().await.unwrap().spec_version;
    assert_eq!(rules().await.unwrap().neurons, 6);
    chain.upgrade();
    lacks(&rules().await.unwrap_err(), "SubtensorModule.MinAllowedWeights");
    // What the upgrade left alone goes on.
    assert_eq!(client.metagraph(SUBNET).await.unwrap().neurons.len(), 6);
    assert_eq!(client.identity().await.unwrap().spec_version, first + 1);
    chain.upgrade();
    assert_eq!(rules().await.unwrap().neurons, 6);
    assert_eq!(client.identity().await.unwrap().spec_version, first + 2);
}

#[tokio::test]
async fn the_time_of_the_block_is_named_where_an_upgrade_takes_it_away() {
    // As the metadata has the name of the entry: behind its length.
    let chain = Upgrading::renaming("\u{c}Now", "\u{c}Old");
    let client = chain.client();
    client.metagraph(SUBNET).await.unwrap();
    chain.upgrade();
    lacks(&client.metagraph(SUBNET).await.unwrap_err(), "Timestamp.Now");
    chain.upgrade();
    client.metagraph(SUBNET).await.unwrap();
}

#[tokio::test]
async fn a_runtime_api_that_an_upgrade_takes_away_is_replaced_by_the_next_best() {
    let chain = Upgrading::renaming("get_metagraph", "old_metagraph");
    let client = chain.client();
    let before = client.metagraph(SUBNET).await.unwrap();
    chain.upgrade();
    let after = client.metagraph(SUBNET).await.unwrap();
    assert_eq!(after.owner_hotkey, before.owner_hotkey);
    let hotkeys = |metagraph: &basilica_ports::Metagraph| -> Vec<_> {
        metagraph.neurons.iter().map(|neuron| neuron.hotkey).collect()
    };
    assert_eq!(hotkeys(&after), hotkeys(&before));
}

#[tokio::test]
async fn a_field_that_an_upgrade_renames_is_a_failure_that_names_the_item() {
    let chain = Upgrading::renaming("validator_permit", "validator_grants");
    let client = chain.client();
    client.metagraph(SUBNET).await.unwrap();
    chain.upgrade();
    lacks(&client.metagraph(SUBNET).await.unwrap_err(), "SubnetInfoRuntimeApi.get_metagraph");
    chain.upgrade();
    client.metagraph(SUBNET).await.unwrap();
}

#[tokio::test]
async fn upgrades_between_any_two_requests_of_a_call_are_taken_up() {
    let devchain = Devchain::start();
    let count = Arc::new(AtomicU32::new(0));
    // Every seventh request an upgrade, whatever the request is.
    let proxy = Proxy::rewriting_requests(&devchain.url, move |request| {
        let upgrades = count.fetch_add(1, Ordering::SeqCst) / 7;
        (request["params"][0] == "Core_version")
            .then(|| Rewrite::Result(Box::new(move |version| upgraded(&version, upgrades))))
    });
    let client = client(&[&proxy.url], "//Validator1");
    for _ in 0..6 {
        assert_eq!(client.metagraph(SUBNET).await.unwrap().neurons.len(), 6);
        assert_eq!(client.weight_rules(SUBNET, MechanismId(0)).await.unwrap().neurons, 6);
    }
}
