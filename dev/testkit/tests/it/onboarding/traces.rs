//! Where the miner's key is that nobody would look for: the real program, real sshd.

use std::process::{Child, Stdio};

use basilica_testkit::eventually;

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
