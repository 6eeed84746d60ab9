//! `basilica-miner keys rotate`: the real program, real sshd.

use std::process::{Child, Stdio};

use basilica_testkit::eventually;

use super::*;

/// A miner and its servers, which the operator's own key opens.
pub(super) struct Site<const N: usize> {
    pub(super) operator: Operator,
    /// The operator's key, and its public half.
    pub(super) identity: String,
    pub(super) public: String,
    pub(super) nodes: Nodes,
    pub(super) addresses: [String; N],
}

/// Servers of these names; the miner has the first `added` of them.
pub(super) async fn site<const N: usize>(names: [&str; N], added: usize) -> Site<N> {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let specs = names.map(|name| server(name, &public)).to_vec();
    let nodes = Nodes::start_with(Isolation::Best, |_| specs).await;
    let addresses = names.map(|name| nodes.node(name).address().to_string());
    for address in &addresses[..added] {
        operator.succeeds(&["nodes", "add", address, "--yes", "--identity", &identity]);
    }
    Site { operator, identity, public, nodes, addresses }
}

#[tokio::test]
async fn the_miners_key_is_replaced_on_all_nodes_or_on_none_and_a_rotation_goes_on_where_it_stood() {
    let Site { operator, public, mut nodes, .. } = site(["gpu-1", "gpu-2"], 2).await;
    let old = operator.miner_key();
    // The operator lets the miner in on the second one with these options.
    let options = "no-agent-forwarding,no-X11-forwarding ";
    let file = nodes.node("gpu-2").home().join(".ssh/authorized_keys");
    let before = ["gpu-1", "gpu-2"].map(|name| authorized_keys(nodes.node(name)));
    let restricted = before[1].replace(&old, &format!("{options}{old}"));
    nodes.node("gpu-2").write(&file, 0o600, restricted.as_bytes()).unwrap();

    nodes.node_mut("gpu-1").stop().await.unwrap();
    let said = operator.fails(&["keys", "rotate"], 1);
    assert!(said.contains("1 of 2 nodes is in the way") && said.contains("keys rotate` again"), "{said}");
    assert_eq!(operator.miner_key(), old, "one node is missing, so the old key stays in use");
    let told = notices(&operator);
    assert!(
        told.contains("has not come to its end: its new key, ") && told.contains("miner_node_key.next"),
        "{told}"
    );
    let next = std::fs::read_to_string(operator.path(".ssh/miner_node_key.next.pub")).unwrap();
    let next = next.trim_end();
    let both = format!("# kept\n{public}\n{options}{old}\n{options}{next}\n");
    assert_eq!(authorized_keys(nodes.node("gpu-2")), both);

    nodes.node_mut("gpu-1").start().await.unwrap();
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["failed"]), (&"done".into(), &serde_json::json!([])));
    assert_eq!(operator.miner_key(), next, "the key that was made first is the one");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), before[0].replace(&old, next));
    assert_eq!(authorized_keys(nodes.node("gpu-2")), restricted.replace(&old, next));
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
    assert!(!notices(&operator).contains("key"), "{}", notices(&operator));
}

/// What the check of the configuration says beside that it is valid.
fn notices(operator: &Operator) -> String {
    operator.succeeds(&["config", "validate"])["notices"].to_string()
}

#[tokio::test]
async fn the_old_key_is_kept_for_a_node_that_was_left_behind_until_that_has_the_new_one_or_is_removed() {
    let Site { operator, public, mut nodes, addresses, .. } = site(["gpu-1", "gpu-2"], 2).await;
    let first = operator.miner_key();
    let before = ["gpu-1", "gpu-2"].map(|name| authorized_keys(nodes.node(name)));
    let kept = ["miner_node_key", "miner_node_key.former", "miner_node_key.former.pub", "miner_node_key.pub"];

    nodes.node_mut("gpu-1").stop().await.unwrap();
    let without = ["keys", "rotate", "--leave-behind", &addresses[0]];
    let rotated = operator.succeeds(&without);
    assert_eq!((&rotated["stage"], &rotated["nodes"]), (&"left_behind".into(), &1.into()));
    assert_eq!(rotated["left_behind"][0]["address"], addresses[0].as_str());
    assert_eq!(key_files(&operator), kept);
    let second = operator.miner_key();
    assert_ne!(second, first);
    let again = operator.run(&without);
    let said = String::from_utf8(again.stdout).unwrap();
    for words in [
        "the old one is kept in",
        "miner_node_key.former\nThose that were left behind",
        &addresses[0],
        &format!("`{}` again", operator.shown("keys rotate")),
    ] {
        assert!(again.status.success() && said.contains(words), "{words}: {said}");
    }
    assert_eq!(operator.miner_key(), second, "no third key is made");
    assert_eq!(key_files(&operator), kept);
    operator.fails(&["keys", "rotate"], 1);

    nodes.node_mut("gpu-1").start().await.unwrap();
    assert_eq!(authorized_keys(nodes.node("gpu-1")), before[0], "it still knows the first key alone");
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["resumed"]), (&"done".into(), &true.into()));
    assert_eq!(operator.miner_key(), second);
    for (name, before) in ["gpu-1", "gpu-2"].iter().zip(&before) {
        assert_eq!(authorized_keys(nodes.node(name)), before.replace(&first, &second), "{name}");
    }
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);

    nodes.node_mut("gpu-1").stop().await.unwrap();
    operator.succeeds(&without);
    nodes.node_mut("gpu-1").start().await.unwrap();
    let removed = operator.succeeds(&["nodes", "remove", &addresses[0]]);
    assert_eq!(removed["miner_key_removed"], true, "by the old key, which alone it knows: {removed}");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
    operator.succeeds(&["keys", "rotate"]);
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
}

#[tokio::test]
async fn a_server_that_did_not_answer_its_removal_keeps_no_key_of_the_miner_whatever_was_replaced_since() {
    let Site { operator, public, mut nodes, addresses, .. } = site(["gpu-1", "gpu-2", "gpu-3"], 3).await;
    let bare = format!("# kept\n{public}\n");
    for (name, address) in [("gpu-1", &addresses[0]), ("gpu-2", &addresses[1])] {
        nodes.node_mut(name).stop().await.unwrap();
        let output = operator.run(&["nodes", "remove", address]);
        let said = String::from_utf8(output.stderr).unwrap();
        let then = operator.shown(&format!("nodes remove {address}"));
        assert!(
            output.status.code() == Some(1) && said.contains(&format!("run this again: {then} (")),
            "{said}"
        );
    }
    let owed = std::fs::read_to_string(operator.path(".ssh/miner_node_key.owed")).unwrap();
    let first = operator.miner_key();

    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["nodes"]), (&"left_behind".into(), &1.into()));
    let not_met: Vec<_> = rotated["removed_and_not_met"].as_array().unwrap().iter().collect();
    assert_eq!(not_met.len(), 2, "{rotated}");
    assert!(not_met.iter().all(|host| owed.contains(host["address"].as_str().unwrap())), "{rotated}");
    assert!(key_files(&operator).contains(&"miner_node_key.former".to_owned()), "they may know it alone");
    let told = notices(&operator);
    let list = operator.succeeds(&["nodes", "list"]);
    let listed: Vec<_> = list.as_array().unwrap().iter().map(|node| &node["listed"]).collect();
    assert_eq!(listed, [true, false, false], "{list}");
    for words in ["the key before, ", "2 unlisted servers may still let in the miner's key: "] {
        assert!(told.contains(words), "{words}: {told}");
    }

    // One is left by the same command, the other by the next rotation.
    nodes.node_mut("gpu-1").start().await.unwrap();
    assert!(authorized_keys(nodes.node("gpu-1")).contains(&first), "it lets the first key in");
    let removed = operator.succeeds(&["nodes", "remove", &addresses[0]]);
    assert_eq!((&removed["resumed"], &removed["miner_key_removed"]), (&true.into(), &true.into()));
    assert_eq!(authorized_keys(nodes.node("gpu-1")), bare);
    nodes.node_mut("gpu-2").start().await.unwrap();
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["resumed"]), (&"done".into(), &true.into()));
    assert_eq!(authorized_keys(nodes.node("gpu-2")), bare);
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
}

/// A server that was removed while it was down, and has this file now that it is back.
async fn back_with<const N: usize>(site: &mut Site<N>, file: impl FnOnce(String) -> String) -> String {
    let Site { operator, nodes, addresses, .. } = site;
    let file = file(authorized_keys(nodes.node("gpu-1")));
    nodes.node_mut("gpu-1").stop().await.unwrap();
    assert_eq!(operator.run(&["nodes", "remove", &addresses[0]]).status.code(), Some(1));
    nodes.node_mut("gpu-1").start().await.unwrap();
    put(nodes.node("gpu-1"), &file);
    file
}

pub(super) fn put(node: &NodeHost, file: &str) {
    node.write(&node.home().join(".ssh/authorized_keys"), 0o600, file.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_removed_server_that_refuses_the_key_may_have_it_and_keeps_it_noted_until_its_operator_gives_it_up()
{
    let mut site = site(["gpu-1", "gpu-2"], 2).await;
    let with_key = authorized_keys(site.nodes.node("gpu-1"));
    let bare = format!("# kept\n{}\n", site.public);
    // As with a home directory that is not mounted yet.
    back_with(&mut site, |_| bare.clone()).await;
    let Site { operator, nodes, addresses, .. } = &site;
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!(rotated["stage"], "left_behind", "{rotated}");
    let why = "refuses the miner's key, which does not show that the key is gone from it";
    assert!(rotated["removed_and_not_met"][0]["error"].as_str().unwrap().contains(why), "{rotated}");
    assert!(key_files(operator).contains(&"miner_node_key.former".to_owned()));
    let said = operator.fails(&["nodes", "remove", &addresses[0]], 1);
    let given_up = operator.shown(&format!("nodes remove {} --keep-key", addresses[0]));
    assert!(said.contains(why) && said.contains(&format!("say so: {given_up} .")), "{said}");
    assert!(key_files(operator).contains(&"miner_node_key.owed".to_owned()));

    put(nodes.node("gpu-1"), &with_key);
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!(rotated["stage"], "done", "{rotated}");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), bare);
    assert_eq!(key_files(operator), ["miner_node_key", "miner_node_key.pub"]);
}

#[tokio::test]
async fn lines_that_the_operator_wrote_stay_on_a_removed_server_until_they_are_asked_for() {
    let mut site = site(["gpu-1", "gpu-2"], 2).await;
    let old = site.operator.miner_key();
    let written = |file: String| file.replace(&old, &format!("no-agent-forwarding {old}\n{old}"));
    let own = back_with(&mut site, written).await.replace(&format!("\n{old}"), "");
    let Site { operator, public, nodes, addresses, .. } = &site;
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!(rotated["stage"], "left_behind", "{rotated}");
    let error = rotated["removed_and_not_met"][0]["error"].as_str().unwrap();
    assert!(error.contains("that it did not write stay") && error.contains("no-agent-forwarding"), "{error}");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), own, "it took out its own alone");
    let said = operator.fails(&["nodes", "remove", &addresses[0]], 1);
    assert!(said.contains("did not write stay") && said.contains("--all-lines ; to leave them"), "{said}");
    assert!(key_files(operator).contains(&"miner_node_key.owed".to_owned()), "it lets the old key in");
    let removed = operator.succeeds(&["nodes", "remove", &addresses[0], "--all-lines"]);
    assert_eq!(removed["miner_key_removed"], true);
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
    assert_eq!(operator.succeeds(&["keys", "rotate"])["stage"], "done");
    assert_eq!(key_files(operator), ["miner_node_key", "miner_node_key.pub"]);
}

#[tokio::test]
async fn a_server_that_is_gone_for_good_is_given_up_on_request_and_one_that_is_added_again_is_owed_no_more() {
    let Site { operator, identity, mut nodes, addresses, .. } = site(["gpu-1", "gpu-2", "gpu-3"], 3).await;
    for (name, address) in [("gpu-1", &addresses[0]), ("gpu-2", &addresses[1])] {
        nodes.node_mut(name).stop().await.unwrap();
        operator.run(&["nodes", "remove", address]);
    }
    let removed = operator.succeeds(&["nodes", "remove", &addresses[0], "--keep-key"]);
    assert_eq!((&removed["reached"], &removed["miner_key_removed"]), (&false.into(), &false.into()));
    nodes.node_mut("gpu-2").start().await.unwrap();
    let added = operator.succeeds(&["nodes", "add", &addresses[1], "--yes", "--identity", &identity]);
    assert_eq!(added["key"]["installed"], false);
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["nodes"]), (&"done".into(), &2.into()), "{rotated}");
    assert_eq!(key_files(&operator), ["miner_node_key", "miner_node_key.pub"]);
}

#[tokio::test]
async fn a_node_that_comes_while_the_key_is_replaced_is_refused_or_gets_the_new_key_too() {
    let Site { operator, identity, mut nodes, addresses, .. } = site(["gpu-1", "gpu-2", "gpu-3"], 2).await;
    let whole = operator.config();
    let old = operator.miner_key();
    // As a person writes it: the second node is in the file only once the rotation has begun.
    let second = nodes.node("gpu-2").address().host.to_string();
    let line = whole.lines().find(|line| line.contains(&format!("{second:?}"))).unwrap();
    std::fs::write(operator.path("miner.toml"), whole.replace(&format!("{line}\n"), "")).unwrap();

    nodes.node_mut("gpu-1").hang().await.unwrap();
    let rotating = begun(&operator).await;
    let process = format!("in use by process {} (", rotating.id());
    let add = ["nodes", "add", &addresses[2], "--yes", "--identity", &identity];
    for refused in [&add[..], &["nodes", "remove", &addresses[0]], &["keys", "rotate"]] {
        let said = operator.fails(refused, 1);
        for words in [&process, "keys rotate)", "let that end, then run this command again"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    std::fs::write(operator.path("miner.toml"), &whole).unwrap();
    nodes.node_mut("gpu-1").resume().await.unwrap();
    let ended = tokio::task::spawn_blocking(|| rotating.wait_with_output().unwrap()).await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let rotated: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&rotated["stage"], &rotated["nodes"]), (&"done".into(), &2.into()));
    for name in ["gpu-1", "gpu-2"] {
        let file = authorized_keys(nodes.node(name));
        assert!(file.contains(&operator.miner_key()) && !file.contains(&old), "{name}: {file}");
    }
    operator.succeeds(&add);
}

/// A rotation that has made its key, and waits for a node that hangs.
async fn begun(operator: &Operator) -> Child {
    let mut command = operator.command(&["--json", "keys", "rotate"]);
    let rotating = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let next = operator.path(".ssh/miner_node_key.next");
    eventually("a new key is made", || next.exists()).await;
    rotating.unwrap()
}

pub(super) fn key_files(operator: &Operator) -> Vec<String> {
    let entries = std::fs::read_dir(operator.path(".ssh")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_node_that_is_removed_while_the_key_is_replaced_keeps_neither_key() {
    let Site { operator, public, mut nodes, addresses, .. } = site(["gpu-1", "gpu-2"], 2).await;
    nodes.node_mut("gpu-1").stop().await.unwrap();
    operator.fails(&["keys", "rotate"], 1);
    let next = std::fs::read_to_string(operator.path(".ssh/miner_node_key.next.pub")).unwrap();
    assert!(authorized_keys(nodes.node("gpu-2")).contains(next.trim_end()));
    operator.succeeds(&["nodes", "remove", &addresses[1]]);
    assert_eq!(authorized_keys(nodes.node("gpu-2")), format!("# kept\n{public}\n"));
}
