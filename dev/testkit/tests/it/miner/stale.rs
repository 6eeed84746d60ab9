//! Keys and processes of sessions that are over, where somebody else or a steady demand is in the way.

use basilica_localnet::nodes::{NodeFile, Place};
use basilica_ports::{MinerSessions as _, MinerStore as _, SessionChoice};
use basilica_testkit::{eventually, eventually_async};

use super::keys::{authorized_keys, login, nodes, run};
use super::*;

/// Another program of this name on the node from now on. It begins with `notes`, and goes on as the real one once it is let.
fn hold_up(nodes: &Nodes, program: &str, notes: &str) {
    let script = format!(
        "#!/bin/sh\nexport PATH=/usr/bin:/bin\n{notes}\nuntil [ -e \"$HOME/enough\" ]; do sleep 0.1; done\nexec {program} \"$@\"\n"
    );
    let place = Place::Program(program.to_owned());
    nodes.node("gpu-1").place(&NodeFile { place, mode: 0o755, bytes: script.into_bytes() }).unwrap();
}

/// What the program noted.
fn noted(nodes: &Nodes) -> String {
    let host = nodes.node("gpu-1");
    String::from_utf8(host.read(&host.home().join("noted")).unwrap_or_default()).unwrap()
}

/// A node is held up in ending what a revoked key started when another key has to go too.
async fn a_key_goes_while_processes_end(orders: impl AsyncFnOnce(&mut Site)) {
    let nodes = nodes(&["gpu-1"]).await;
    let (interval, timeout) = (Millis::from_secs(600), Millis::from_secs(60));
    let mut site = Site::start(Some(&nodes), Settings { interval, timeout, ..Settings::default() }).await;
    let store = site.running().store.clone();
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let sessions = store.sessions(SystemClock::new().now()).await.unwrap();
    let shell = login(&site.first, &node).await;
    run(shell.as_ref(), "setsid sleep 67.3 >/dev/null 2>&1 </dev/null & echo $!").await;
    let runs = || nodes.node("gpu-1").processes().iter().any(|p| p.contains("67.3"));
    eventually("it runs", runs).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    let keys = || authorized_keys(&nodes, "gpu-1").matches("restrict,").count();
    assert_eq!(keys(), 2);
    hold_up(&nodes, "grep", "echo >> \"$HOME/noted\"");
    store.revoke_sessions(SessionChoice::One(sessions[0].id), SystemClock::new().now()).await.unwrap();
    eventually("its process is looked for", || !noted(&nodes).is_empty()).await;
    assert_eq!(keys(), 1);
    orders(&mut site).await;
    eventually("the other key goes", || keys() == 0).await;
    assert!(runs(), "nobody has found it yet");
    assert_eq!(store.deployments(node.node_id).await.unwrap().len(), 2, "both may still run something");
    let host = nodes.node("gpu-1");
    host.write(&host.home().join("enough"), 0o600, b"").unwrap();
    eventually("it ends", || !runs()).await;
    eventually_async("and that is known", async || store.deployments(node.node_id).await.unwrap().is_empty())
        .await;
}

#[tokio::test]
async fn a_key_that_is_revoked_while_processes_end_goes_before() {
    a_key_goes_while_processes_end(async |site| {
        let store = &site.running().store;
        store.revoke_sessions(SessionChoice::All, SystemClock::new().now()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_key_whose_node_becomes_anothers_while_processes_end_goes_before() {
    a_key_goes_while_processes_end(async |site| site.set_stakes(500, 1000)).await;
}

#[tokio::test]
async fn a_key_whose_node_is_listed_no_more_while_processes_end_goes_before() {
    a_key_goes_while_processes_end(async |site| {
        site.node_configs.clear();
        site.running().fleet.apply(site.fleet_config(), site.operator.clone());
    })
    .await;
}

#[tokio::test]
async fn a_key_that_a_newer_session_displaces_is_gone_when_that_is_answered() {
    let nodes = nodes(&["gpu-1"]).await;
    let mut settings = Settings { interval: Millis::from_secs(600), ..Settings::default() };
    settings.max_sessions = NonZeroU32::new(1).unwrap();
    let site = Site::start(Some(&nodes), settings).await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let grant = site.first.authenticate(&site).await;
        site.first.discover(&site, &grant).await;
        let after = authorized_keys(&nodes, "gpu-1");
        let ours: Vec<String> =
            after.lines().filter(|line| line.contains("restrict,")).map(ToOwned::to_owned).collect();
        assert_eq!(ours.len(), 1, "{after}");
        keys.extend(ours);
    }
    keys.dedup();
    assert_eq!(keys.len(), 3, "each session's is another line");
}

#[tokio::test]
async fn a_key_that_is_revoked_while_a_node_is_asked_for_its_gpus_does_not_wait_for_the_answer() {
    let nodes = nodes(&["gpu-1"]).await;
    hold_up(&nodes, "nvidia-smi", "grep -c ^restrict, \"$HOME/.ssh/authorized_keys\" >> \"$HOME/noted\"");
    let settings = Settings { interval: Millis::from_secs(600), ..Settings::default() };
    let site = Site::start(Some(&nodes), Settings { timeout: Millis::from_secs(60), ..settings }).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    eventually("it is asked with the key on it", || noted(&nodes).ends_with("1\n")).await;
    let store = &site.running().store;
    store.revoke_sessions(SessionChoice::All, SystemClock::new().now()).await.unwrap();
    // A question that got no answer in its own time is not asked again by the next round.
    eventually("the question is cut short and asked again without it", || noted(&nodes).ends_with("0\n"))
        .await;
}

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
