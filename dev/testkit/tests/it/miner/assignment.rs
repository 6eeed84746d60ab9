//! Whose the nodes are, as the nodes themselves see it.

use basilica_miner_service::assignment::{AssignmentRule, Geographic, HighestStake};
use basilica_wire::discovery::NodeStatus;

use super::keys::{authorized_keys, nodes};
use super::*;

fn rule(rule: AssignmentRule) -> Settings {
    Settings { assignment: AssignmentConfig { rule, min_stake: None }, ..Settings::default() }
}

/// The answer's addresses, all of which must be available.
async fn reported(site: &Site, validator: &Validator) -> Vec<String> {
    let grant = validator.authenticate(site).await;
    let nodes = validator.discover(site, &grant).await.nodes;
    assert!(nodes.iter().all(|node| node.status == NodeStatus::Available), "{nodes:?}");
    nodes.iter().map(|node| node.address.to_string()).collect()
}

/// A miner whose second node belongs to the second validator.
async fn two_regions(nodes: &Nodes) -> Site {
    let second = Party::new(2).hotkey();
    let preferred = [("eu".parse().unwrap(), vec![second])].into_iter().collect();
    let geographic = Geographic::new(preferred, HighestStake::with_default_margin());
    let mut site = Site::prepare(Some(nodes), rule(AssignmentRule::Geographic(geographic)));
    site.node_configs[1].region = Some("eu".parse().unwrap());
    site.start_miner().await;
    site
}

#[tokio::test]
async fn a_validator_is_told_of_its_own_nodes_only_and_has_keys_on_no_other() {
    let nodes = nodes(&["gpu-1", "gpu-2"]).await;
    let site = two_regions(&nodes).await;
    let address = |at: usize| site.node_configs[at].address.to_string();
    assert_eq!(reported(&site, &site.first).await, [address(0)]);
    assert_eq!(reported(&site, &site.second).await, [address(1)]);
    for (name, own, other) in [("gpu-1", &site.first, &site.second), ("gpu-2", &site.second, &site.first)] {
        let keys = authorized_keys(&nodes, name);
        assert!(keys.contains(&own.party.hotkey().to_string()), "{keys}");
        assert!(!keys.contains(&other.party.hotkey().to_string()), "{keys}");
    }
}

#[tokio::test]
async fn with_open_access_every_permitted_validator_gets_every_node() {
    let nodes = nodes(&["gpu-1"]).await;
    let site = Site::start(Some(&nodes), rule(AssignmentRule::Open)).await;
    let address = site.node_configs[0].address.to_string();
    assert_eq!(reported(&site, &site.first).await, [address.as_str()]);
    assert_eq!(reported(&site, &site.second).await, [address.as_str()]);
    assert_eq!(authorized_keys(&nodes, "gpu-1").matches("restrict,").count(), 2);
    let request = site.unpermitted.auth_request(site.miner.hotkey());
    assert_eq!(code(site.client().await.authenticate(request).await), RefusalCode::PermissionDenied);
}

#[tokio::test]
async fn a_challenger_within_the_margin_takes_nothing_over_not_even_over_a_restart() {
    let nodes = nodes(&["gpu-1"]).await;
    let mut site = Site::start(Some(&nodes), Settings::default()).await;
    assert_eq!(reported(&site, &site.first).await.len(), 1);
    let deployed = authorized_keys(&nodes, "gpu-1");
    site.stop_miner().await;
    site.set_stakes(1000, 1005);
    site.start_miner().await;
    assert_eq!(reported(&site, &site.second).await.len(), 0);
    assert_eq!(authorized_keys(&nodes, "gpu-1"), deployed);
    site.set_stakes(1000, 1010);
    let old = site.first.party.hotkey().to_string();
    basilica_testkit::eventually("the first one's key is gone", || {
        !authorized_keys(&nodes, "gpu-1").contains(&old)
    })
    .await;
    assert_eq!(reported(&site, &site.second).await.len(), 1);
}

#[tokio::test]
async fn until_the_chain_answers_a_restarted_miner_repairs_keys_and_gives_none() {
    let nodes = nodes(&["gpu-1", "gpu-2"]).await;
    let mut site = two_regions(&nodes).await;
    reported(&site, &site.first).await;
    reported(&site, &site.second).await;
    site.stop_miner().await;
    *site.chain.metagraph.lock().unwrap() = None;
    let deployed = ["gpu-1", "gpu-2"].map(|name| (name, authorized_keys(&nodes, name)));
    for (name, keys) in &deployed {
        let edited: String =
            keys.split_inclusive('\n').filter(|line| !line.starts_with("restrict,")).collect();
        let path = nodes.node(name).home().join(".ssh/authorized_keys");
        nodes.node(name).write(&path, 0o600, edited.as_bytes()).unwrap();
    }
    site.start_miner().await;
    for (name, keys) in &deployed {
        let back = || authorized_keys(&nodes, name).contains("restrict,");
        basilica_testkit::eventually("the key is back", back).await;
        assert_eq!(authorized_keys(&nodes, name), *keys, "its own key and no other");
    }
}
