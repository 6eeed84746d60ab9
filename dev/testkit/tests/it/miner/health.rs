//! Nodes that are taken out, die, come back, or shut the miner out; seen by a validator and by whoever looks at the miner.

use basilica_miner_service::NodeView;
use basilica_miner_service::health::Cause;
use basilica_ports::{MinerOperations as _, OrderedBy};
use basilica_status::NodeState;
use basilica_testkit::{eventually, eventually_async};
use basilica_wire::discovery::NodeStatus;

use super::keys::{authorized_keys, login, nodes, run, until_status};
use super::*;

fn view(site: &Site) -> NodeView {
    site.running().fleet.nodes().remove(0)
}

#[tokio::test]
async fn a_drained_node_is_told_as_maintenance_and_carries_no_key_and_no_process() {
    let nodes = nodes(&["gpu-1", "gpu-2"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let reports = site.first.discover(&site, &grant).await.nodes;
    assert!(reports.iter().all(|node| node.status == NodeStatus::Available));
    let shell = login(&site.first, &reports[0]).await;
    run(shell.as_ref(), "setsid sleep 51.7 >/dev/null 2>&1 </dev/null &").await;
    let runs = || nodes.node("gpu-1").processes().iter().any(|p| p.contains("51.7"));
    eventually("it runs", runs).await;
    // As the command does, from another process.
    let store = &site.running().store;
    let id = reports[0].node_id;
    store
        .begin_maintenance(id, OrderedBy::Command, Some("new fans"), SystemClock::new().now())
        .await
        .unwrap();
    let clean = async {
        while store.deployed_until(id).await.unwrap().is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), clean).await.expect("the node is clean");
    assert!(!runs(), "clean is without its processes");
    assert_eq!(authorized_keys(&nodes, "gpu-1"), before);
    let statuses = |nodes: Vec<NodeReport>| nodes.iter().map(|n| n.status).collect::<Vec<_>>();
    let drained = [NodeStatus::Maintenance, NodeStatus::Available];
    assert_eq!(statuses(site.first.discover(&site, &grant).await.nodes), drained);
    assert_eq!(view(&site).state, NodeState::Maintenance);
    assert_eq!(authorized_keys(&nodes, "gpu-1"), before, "a discovery changes nothing");
    store.end_maintenance(id, OrderedBy::Command, SystemClock::new().now()).await.unwrap();
    let taken_back = async {
        while site.first.discover(&site, &grant).await.nodes[0].status != NodeStatus::Available {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), taken_back).await.expect("it is back");
}

#[tokio::test]
async fn maintenance_outlives_a_restart_of_the_miner_and_is_no_failure_of_a_dead_node() {
    let mut nodes = nodes(&["gpu-1"]).await;
    let mut site = Site::start(Some(&nodes), Settings::default()).await;
    let id = nodes.node("gpu-1").address().node_id();
    let store = &site.running().store;
    store.begin_maintenance(id, OrderedBy::Command, None, SystemClock::new().now()).await.unwrap();
    site.stop_miner().await;
    nodes.node_mut("gpu-1").hang().await.unwrap();
    site.start_miner().await;
    let grant = site.first.authenticate(&site).await;
    until_status(&site, &site.first, &grant, NodeStatus::Maintenance).await;
}

#[tokio::test]
async fn a_node_that_dies_is_tried_again_before_it_is_lost_and_is_taken_back_when_it_answers() {
    let mut nodes = nodes(&["gpu-1"]).await;
    let settings = Settings { retries: 2, timeout: Millis(1500), ..Settings::default() };
    let site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Available);
    let well = view(&site);
    assert_eq!((well.state, well.attempts, well.last_failure), (NodeState::Healthy, 0, None));
    assert!(well.keys.len() == 1 && well.latency.is_some() && well.host_keys.len() == 1);
    nodes.node_mut("gpu-1").hang().await.unwrap();
    eventually("it is tried again", || view(&site).state == NodeState::Degraded).await;
    assert_eq!(view(&site).keys.len(), 1, "nothing says yet that the key is gone");
    eventually("it is lost", || view(&site).state == NodeState::Unreachable).await;
    let lost = view(&site);
    assert!(lost.attempts >= 3 && lost.keys.is_empty() && lost.since > well.since, "{lost:?}");
    let failure = lost.last_failure.unwrap();
    assert_eq!(failure.cause, Cause::Network);
    assert!(failure.text.contains("Failed to connect to node") && !failure.remedy.is_empty(), "{failure:?}");
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Unreachable);
    nodes.node_mut("gpu-1").resume().await.unwrap();
    until_status(&site, &site.first, &grant, NodeStatus::Available).await;
    let back = view(&site);
    assert_eq!((back.state, back.attempts), (NodeState::Healthy, 0));
    assert!(back.last_failure.is_some(), "what happened can still be read");
    let json = serde_json::to_value(&back).unwrap();
    assert_eq!(json["state"], "healthy");
    assert_eq!(json["last_failure"]["cause"], "network");
}

/// Ends the sshd that listens; its open connections live on.
const END_LISTENER: &str = r#"
process=$PPID
while [ "$process" -gt 1 ]; do
  case "$(tr '\0' ' ' < "/proc/$process/cmdline")" in *"[listener]"*) kill "$process"; exit ;; esac
  process=$(sed 's/.*) //' "/proc/$process/stat" | cut -d ' ' -f 2)
done
exit 1
"#;

#[tokio::test]
async fn a_node_that_takes_no_logins_any_more_is_lost_although_the_open_connection_works() {
    let nodes = nodes(&["gpu-1"]).await;
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Available);
    let shell = nodes.shell("gpu-1").await;
    run(shell.as_ref(), END_LISTENER).await;
    eventually("it is lost", || view(&site).state == NodeState::Unreachable).await;
    run(shell.as_ref(), "true").await;
    let failure = view(&site).last_failure.unwrap();
    assert!(failure.text.contains("Connection refused"), "{failure:?}");
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Unreachable);
    shell.close().await;
}

#[tokio::test]
async fn a_lost_node_that_is_not_taken_back_by_itself_waits_for_its_operator_even_over_a_restart() {
    let mut nodes = nodes(&["gpu-1"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let settings = Settings { auto_recovery: false, timeout: Millis(1500), ..Settings::default() };
    let mut site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Available);
    nodes.node_mut("gpu-1").hang().await.unwrap();
    eventually("it waits", || view(&site).state == NodeState::AwaitingOperator).await;
    nodes.node_mut("gpu-1").resume().await.unwrap();
    eventually("it answers again", || view(&site).attempts == 0).await;
    eventually("its key is gone", || authorized_keys(&nodes, "gpu-1") == before).await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Unreachable);
    site.stop_miner().await;
    site.start_miner().await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Unreachable);
    let id = nodes.node("gpu-1").address().node_id();
    let hold = site.running().store.release_node(id).await.unwrap().expect("it was held");
    assert!(hold.why.contains("Failed to connect to node"), "{hold:?}");
    until_status(&site, &site.first, &grant, NodeStatus::Available).await;
}

#[tokio::test]
async fn the_list_of_nodes_changes_under_an_open_session_and_a_removed_node_is_left_clean() {
    let nodes = nodes(&["gpu-1", "gpu-2"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let mut site = Site::prepare(Some(&nodes), Settings::default());
    let second = site.node_configs.pop().unwrap();
    site.start_miner().await;
    let grant = site.first.authenticate(&site).await;
    let alone = site.first.discover(&site, &grant).await.nodes;
    assert_eq!(alone.iter().map(|n| n.status).collect::<Vec<_>>(), [NodeStatus::Available]);
    let shell = login(&site.first, &alone[0]).await;
    site.node_configs.push(second);
    site.running().fleet.apply(site.fleet_config(), site.operator.clone());
    let both = async {
        loop {
            let found = site.first.discover(&site, &grant).await.nodes;
            if found.len() == 2 && found.iter().all(|node| node.status == NodeStatus::Available) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), both).await.expect("the new node takes part");
    assert_eq!(run(shell.as_ref(), "echo in").await.stdout, b"in\n", "the session goes on");
    site.node_configs.remove(0);
    site.running().fleet.apply(site.fleet_config(), site.operator.clone());
    eventually("its keys are gone", || authorized_keys(&nodes, "gpu-1") == before).await;
    eventually("its keeper is gone", || site.running().fleet.nodes().len() == 1).await;
    assert_eq!(site.running().store.known_nodes().await.unwrap().len(), 1);
    assert_eq!(site.first.discover(&site, &grant).await.nodes.len(), 1);
}

#[tokio::test]
async fn a_node_that_was_removed_while_it_was_down_is_not_forgotten_over_a_restart() {
    let mut nodes = nodes(&["gpu-1", "gpu-2"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let mut site = Site::start(Some(&nodes), Settings { timeout: Millis(1500), ..Settings::default() }).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    assert_ne!(authorized_keys(&nodes, "gpu-1"), before);
    nodes.node_mut("gpu-1").hang().await.unwrap();
    site.stop_miner().await;
    site.node_configs.remove(0);
    site.start_miner().await;
    let leaving = || site.running().fleet.nodes().iter().any(|view| view.leaving);
    eventually("it is being left", leaving).await;
    nodes.node_mut("gpu-1").resume().await.unwrap();
    eventually("its keys are gone", || authorized_keys(&nodes, "gpu-1") == before).await;
    eventually("its keeper is gone", || !leaving()).await;
}

#[tokio::test]
async fn a_list_from_before_a_removal_does_not_end_it() {
    let mut nodes = nodes(&["gpu-1", "gpu-2", "gpu-3"]).await;
    let mut site = Site::start(Some(&nodes), Settings { timeout: Millis(1500), ..Settings::default() }).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    nodes.node_mut("gpu-1").hang().await.unwrap();
    site.stop_miner().await;
    site.node_configs.remove(0);
    site.start_miner().await;
    let leaving = || site.running().fleet.nodes().iter().any(|view| view.leaving);
    eventually("one is being left", leaving).await;
    // As the command does from another process, before this one hears that its list is old.
    let (store, now) = (&site.running().store, SystemClock::new().now());
    let (removed, other) = (site.node_configs[0].id, site.node_configs[1].id);
    store.begin_maintenance(removed, OrderedBy::Removal, None, now).await.unwrap();
    // It is noted again together with whatever else of the list is.
    store.forget_node(other, now).await.unwrap();
    nodes.node_mut("gpu-1").resume().await.unwrap();
    eventually_async("the list is looked at again", async || {
        let known = store.known_nodes().await.unwrap();
        known.iter().any(|known| known.node_id == other)
    })
    .await;
    assert!(!leaving());
    assert!(store.orders().await.unwrap().window(removed, OrderedBy::Removal).is_some());
}
