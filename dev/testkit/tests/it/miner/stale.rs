//! Keys and processes of sessions that are over, where somebody else or a steady demand is in the way.

use basilica_ports::{MinerSessions as _, MinerStore as _, SessionChoice};
use basilica_testkit::{eventually, eventually_async};

use super::keys::{authorized_keys, login, nodes, run};
use super::*;

#[tokio::test]
async fn a_revoked_key_that_another_editor_brings_back_goes_again_with_its_processes() {
    let nodes = nodes(&["gpu-1"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let deployed = authorized_keys(&nodes, "gpu-1");
    let store = &site.running().store;
    store.revoke_sessions(SessionChoice::All, SystemClock::new().now()).await.unwrap();
    eventually_async("nothing is left of it", async || {
        store.deployments(node.node_id).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(authorized_keys(&nodes, "gpu-1"), before);
    // An editor that had read the file before saves it now, and the validator comes in once more.
    let host = nodes.node("gpu-1");
    host.write(&host.home().join(".ssh/authorized_keys"), 0o600, deployed.as_bytes()).unwrap();
    if let Ok(shell) = RusshShell.connect(&site.first.dial(&node)).await {
        run(shell.as_ref(), "setsid sleep 53.1 >/dev/null 2>&1 </dev/null & echo $!").await;
    }
    eventually("the key goes again", || authorized_keys(&nodes, "gpu-1") == before).await;
    eventually("and what it started", || !host.processes().iter().any(|p| p.contains("53.1"))).await;
}

#[tokio::test]
async fn processes_of_a_revoked_key_end_however_often_others_ask() {
    let nodes = nodes(&["gpu-1"]).await;
    let mut settings = Settings { interval: Millis::from_secs(600), ..Settings::default() };
    settings.max_sessions = NonZeroU32::new(64).unwrap();
    let site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let shell = login(&site.first, &node).await;
    let stubborn =
        "setsid sh -c 'trap \"\" TERM; while :; do sleep 61.9; done' >/dev/null 2>&1 </dev/null & echo $!";
    run(shell.as_ref(), stubborn).await;
    let runs = || nodes.node("gpu-1").processes().iter().any(|p| p.contains("61.9"));
    eventually("it runs", runs).await;
    let store = &site.running().store;
    let ended = store.revoke_sessions(SessionChoice::All, SystemClock::new().now()).await.unwrap();
    let asking = async {
        loop {
            let grant = site.first.authenticate(&site).await;
            let asked = site.first.discover(&site, &grant);
            // Not one waits for the answer to the one before.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), asked).await;
        }
    };
    let gone = async || {
        let deployed = store.deployments(node.node_id).await.unwrap();
        deployed.iter().all(|(session, _)| *session != ended[0].id)
    };
    tokio::select! {
        () = asking => {}
        () = eventually_async("it is known to be gone", gone) => {}
    }
    assert!(!runs());
}
