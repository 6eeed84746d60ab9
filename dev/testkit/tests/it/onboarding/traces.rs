//! Where the miner's key is that nobody would look for: the real program, real sshd.

use std::process::{Child, Stdio};

use basilica_testkit::{INTERRUPT, eventually};

use super::rotation::{Site, key_files, site};
use super::*;

/// Does not answer before it is let.
const HELD_UP: &str = "#!/bin/sh\nuntil [ -e \"$HOME/enough\" ]; do sleep 0.1; done\n";

/// A server that is being added, and has the miner's key.
async fn with_the_key(operator: &Operator, arguments: &[&str], node: &NodeHost) -> Child {
    let mut command = operator.command(arguments);
    let adding = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let key = operator.miner_key();
    eventually("the key is on it", || authorized_keys(node).contains(&key)).await;
    adding
}

#[tokio::test]
async fn a_server_whose_addition_does_not_come_to_its_end_does_not_keep_the_key() {
    let Site { operator, identity, public, nodes, addresses } = site(["gpu-1", "gpu-2"], 1).await;
    let (node, address) = (nodes.node("gpu-2"), &addresses[1]);
    let (bare, config) = (format!("# kept\n{public}\n"), operator.config());
    node.place(&program("docker", HELD_UP)).unwrap();
    let add = ["nodes", "add", address, "--yes", "--identity", &identity];

    let mut killed = with_the_key(&operator, &add, node).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(operator.config(), config);
    let told = operator.succeeds(&["config", "validate"])["notices"].to_string();
    assert!(told.contains("1 unlisted server may") && told.contains(address), "{told}");
    let removed = operator.succeeds(&["nodes", "remove", address]);
    assert_eq!(removed["miner_key_removed"], true, "{removed}");
    assert_eq!(authorized_keys(node), bare);
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);

    let adding = with_the_key(&operator, &add, node).await;
    std::fs::write(operator.path("miner.toml"), "nodes = [").unwrap();
    node.write(&node.home().join("enough"), 0o600, b"").unwrap();
    let ended = tokio::task::spawn_blocking(|| adding.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    std::fs::write(operator.path("miner.toml"), config).unwrap();
    let off = operator.shown(&format!("nodes remove {address}"));
    assert!(
        !ended.status.success()
            && said.contains(&format!("The miner's key may be in ~/.ssh/authorized_keys on {address}"))
            && said.contains(&format!("take the key off with: {off}")),
        "{said}"
    );
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["nodes"]), (&"done".into(), &1.into()), "{rotated}");
    assert_eq!(authorized_keys(node), bare);
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
}

#[tokio::test]
async fn servers_that_are_not_listed_are_freed_of_the_key_also_where_no_node_is_left_to_replace_it_on() {
    let Site { operator, public, mut nodes, addresses, .. } = site(["gpu-1"], 1).await;
    let key = operator.miner_key();
    nodes.node_mut("gpu-1").stop().await.unwrap();
    operator.run(&["nodes", "remove", &addresses[0]]);
    let said = operator.fails(&["keys", "rotate"], 1);
    assert!(said.contains("1 server may still let the miner's key in"), "{said}");
    nodes.node_mut("gpu-1").start().await.unwrap();
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["new_key"]), (&"no_node".into(), &Value::Null), "{rotated}");
    assert_eq!(rotated["removed_and_freed"][0]["address"], addresses[0].as_str());
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
    assert_eq!(operator.miner_key(), key);
    let said = operator.fails(&["keys", "rotate"], 1);
    assert!(said.contains("is this the right configuration?"), "{said}");
}

/// Lets this line in by a file that the miner does not look into: the one that sshd reads besides, whichever way the node stands.
fn let_in_elsewhere(node: &NodeHost, line: &str) {
    let check = node.home().join(".sshd/check.pub");
    match node.read(&check) {
        Ok(other) => {
            let other = String::from_utf8(other).unwrap();
            let first = other.lines().next().unwrap();
            node.write(&check, 0o600, format!("{first}\n{line}\n").as_bytes()).unwrap();
        }
        Err(_) => {
            let second = node.home().join(".ssh/authorized_keys2");
            node.write(&second, 0o600, format!("{line}\n").as_bytes()).unwrap();
        }
    }
}

const ELSEWHERE: &str = "still lets the key in by another file than ~/.ssh/authorized_keys";

#[tokio::test]
async fn an_old_key_that_another_file_lets_in_is_not_gone_and_is_kept() {
    let Site { operator, public, nodes, .. } = site(["gpu-1", "gpu-2"], 2).await;
    let old = operator.miner_key();
    let_in_elsewhere(nodes.node("gpu-1"), &old);
    for _ in 0..2 {
        let output = operator.run(&["--json", "keys", "rotate"]);
        let rotated: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &rotated["stage"]), (Some(1), &"retire".into()), "{rotated}");
        let failed = rotated["failed"].as_array().unwrap();
        assert!(failed.len() == 1 && failed[0]["error"].as_str().unwrap().contains(ELSEWHERE), "{rotated}");
        assert!(key_files(&operator).contains(&"miner_node_key.former".to_owned()));
        let file = format!("# kept\n{public}\n{}\n", operator.miner_key());
        assert_eq!(authorized_keys(nodes.node("gpu-1")), file);
    }
    let_in_elsewhere(nodes.node("gpu-1"), "");
    assert_eq!(operator.succeeds(&["keys", "rotate"])["stage"], "done");
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
}

#[tokio::test]
async fn a_removed_server_that_lets_the_key_in_by_another_file_stays_noted() {
    let Site { operator, public, nodes, addresses, .. } = site(["gpu-1", "gpu-2"], 2).await;
    let (node, address) = (nodes.node("gpu-1"), &addresses[0]);
    let_in_elsewhere(node, &operator.miner_key());
    let output = operator.run(&["nodes", "remove", address]);
    let said = String::from_utf8(output.stderr).unwrap();
    let gone = operator.shown(&format!("nodes remove {address} --keep-key"));
    assert!(output.status.code() == Some(1) && said.contains(ELSEWHERE) && said.contains(&gone), "{said}");
    assert_eq!(authorized_keys(node), format!("# kept\n{public}\n"));

    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!(rotated["stage"], "left_behind", "{rotated}");
    let why = rotated["removed_and_not_met"][0]["error"].as_str().unwrap();
    assert!(why.contains(ELSEWHERE), "{rotated}");
    let said = operator.fails(&["nodes", "remove", address], 1);
    assert!(said.contains(ELSEWHERE), "by the old key, which it knows alone: {said}");
    let_in_elsewhere(node, "");
    operator.succeeds(&["nodes", "remove", address, "--keep-key"]);
    assert_eq!(operator.succeeds(&["keys", "rotate"])["stage"], "done");
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
}

#[tokio::test]
async fn who_waits_for_a_removal_knows_what_is_done_and_that_it_can_be_ended_and_taken_up() {
    let Site { operator, public, mut nodes, addresses, .. } = site(["gpu-1"], 1).await;
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let command = operator.command(&["nodes", "remove", &addresses[0]]);
    let waits = format!("waiting for an answer of {}", addresses[0]);
    let (code, shown) = at_a_terminal(&command, &[(&waits, INTERRUPT)]);
    assert_ne!(code, Some(0), "ended at the terminal: {shown}");
    let done = format!("taken out of {}; leaving it", operator.path("miner.toml").display());
    assert!(shown.contains(&done), "{shown}");
    nodes.node_mut("gpu-1").resume().await.unwrap();
    let removed = operator.succeeds(&["nodes", "remove", &addresses[0]]);
    assert_eq!((&removed["resumed"], &removed["miner_key_removed"]), (&true.into(), &true.into()));
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
}
