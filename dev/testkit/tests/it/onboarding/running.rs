//! Commands about nodes beside a miner that runs: the real program twice, one real sshd.

use std::process::{Child, Stdio};

use basilica_ports::{Clock as _, DiscoveryProof, DiscoveryUse, MinerStore as _, NewSession, NonceUse};
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, OpenOptions};
use basilica_system::SystemClock;
use basilica_testkit::{eventually, eventually_async, free_address};
use basilica_types::{Digest, FencingToken, Hotkey, Millis, NodeId, SessionId};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// A miner that ends with the test. Its chain does not answer, so it keeps the keys that are noted and gives no others.
pub(super) struct Miner(Child);

impl Drop for Miner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Operator {
    pub(super) fn on_free_ports() -> Self {
        let operator = Self::new();
        let (grpc, health) = (free_address(), free_address());
        let text =
            operator.config().replace("# my servers\n", "# my servers\nhealth_check_interval = \"500ms\"\n");
        let ports = format!(
            "[validator_comms]\nhost = \"{}\"\nport = {}\n[health]\nlisten = \"{health}\"\n[metrics]\nenabled = false\n",
            grpc.ip(),
            grpc.port()
        );
        std::fs::write(operator.path("miner.toml"), ports + &text).unwrap();
        operator
    }

    fn start(&self) -> Miner {
        self.start_with_log(Stdio::null())
    }

    pub(super) fn start_with_log(&self, log: Stdio) -> Miner {
        let mut command = self.command(&[]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Miner(command.spawn().unwrap())
    }

    async fn store(&self) -> MinerDatabase {
        let url = format!("sqlite://{}", self.path("data/miner.db").display()).parse().unwrap();
        MinerDatabase::new(Database::open(&url, &MINER_SCHEMA, OpenOptions::default()).await.unwrap())
    }

    /// An open session whose key the node may carry.
    async fn deployed(&self, node: NodeId) -> SessionId {
        let (store, now) = (self.store().await, SystemClock::new().now());
        let (validator, id) = (Hotkey::from_bytes([1; 32]), SessionId::from_random([1; 8]));
        let expires_at = now + Millis::from_secs(3600);
        let nonce = |name: &str| NonceUse {
            validator,
            nonce: name.parse().unwrap(),
            signed_at: now,
            now,
            forget_at: expires_at,
            limit: 100,
        };
        let token_hash = Digest::from_bytes([1; 32]);
        let session = NewSession { id, token_hash, expires_at, rate: None };
        store.open_session(&nonce("open-0001"), &session).await.unwrap().unwrap();
        let discovery = DiscoveryUse {
            proof: DiscoveryProof::V2 { token_hash, epoch: FencingToken(1) },
            timestamp_secs: now.as_secs(),
            public_key: Some(KEY.parse().unwrap()),
            keyed_sessions: 5,
            rate: None,
        };
        store.admit_discovery(&nonce("ask-00001"), &discovery).await.unwrap().unwrap();
        assert_eq!(store.record_deployments(node, &[id], now).await.unwrap(), [id].into());
        id
    }
}

#[tokio::test]
async fn a_node_is_removed_beside_a_running_miner_and_put_back_by_hand() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (address, id) = (node.address().to_string(), node.address().node_id());
    let before = authorized_keys(node);
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    let listed = operator.config();
    operator.deployed(id).await;
    let miner = operator.start();
    eventually("the key is there", || authorized_keys(node).contains("restrict,")).await;
    let removed = operator.succeeds(&["nodes", "remove", &address]);
    assert_eq!(authorized_keys(node), before, "at once, and for good: {removed}");
    assert_eq!((&removed["validator_keys_removed"], &removed["miner"]["told"]), (&1.into(), &true.into()));
    drop(miner);
    let store = operator.store().await;
    assert!(store.deployments(id).await.unwrap().is_empty());
    // As somebody does who has changed their mind.
    std::fs::write(operator.path("miner.toml"), listed).unwrap();
    let _miner = operator.start();
    let mut maintenance = true;
    let back = async {
        while maintenance {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            maintenance =
                basilica_ports::MinerOperations::orders(&store).await.unwrap().maintenance.contains_key(&id);
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), back).await.expect("it is taken back");
}

#[tokio::test]
async fn a_node_that_is_drained_while_its_sshd_is_down_says_why_it_is_not_clean() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (address, id) = (node.address().to_string(), node.address().node_id());
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    operator.deployed(id).await;
    let _miner = operator.start();
    eventually("the key is there", || authorized_keys(node).contains("restrict,")).await;
    let status = || {
        let output = operator.command(&["--json", "status"]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["status"].clone()
    };
    eventually("the status has the key", || status()["nodes"][0]["keys"][0].is_string()).await;
    nodes.node_mut("gpu-1").stop().await.unwrap();
    eventually("it is noticed", || status()["nodes"][0]["error"].is_string()).await;
    let output = operator
        .command(&["--json", "nodes", "drain", &address, "--wait", "--timeout", "2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let drained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let why = drained[0]["error"].as_str().unwrap();
    assert!(why.contains("connect to") && why.contains("its last key ends at"), "{why}");
    let is_told = || {
        let alerts = status()["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().any(|alert| alert["what"].to_string().contains("validators' keys may still be on it"))
    };
    eventually("an alert says so", is_told).await;
}

#[tokio::test]
async fn a_removal_that_was_cut_off_beside_a_running_miner_goes_on() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (address, id) = (node.address().to_string(), node.address().node_id());
    let before = authorized_keys(node);
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    operator.deployed(id).await;
    let _miner = operator.start();
    eventually("the key is there", || authorized_keys(node).contains("restrict,")).await;
    // While the node does not answer the miner, the command waits.
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let mut cut_off = operator.command(&["nodes", "remove", &address]);
    let mut cut_off =
        cut_off.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the file has lost it", || !operator.config().contains("host_key =")).await;
    cut_off.kill().unwrap();
    cut_off.wait().unwrap();
    nodes.node_mut("gpu-1").resume().await.unwrap();
    let removed = operator.succeeds(&["nodes", "remove", &id.to_string()]);
    assert_eq!(
        (&removed["resumed"], &removed["miner_key_removed"]),
        (&true.into(), &true.into()),
        "{removed}"
    );
    assert_eq!(authorized_keys(nodes.node("gpu-1")), before);
    let orders = basilica_ports::MinerOperations::orders(&operator.store().await).await.unwrap();
    assert!(orders.maintenance.is_empty(), "{orders:?}");
    let again = operator.run(&["nodes", "remove", &address]);
    let said = String::from_utf8(again.stdout).unwrap();
    assert!(again.status.success() && said.contains("nothing is left to do"), "{said}");

    // Whether that is so cannot be known while it does not answer.
    nodes.node_mut("gpu-1").stop().await.unwrap();
    assert_eq!(operator.run(&["nodes", "remove", &address]).status.code(), Some(1));
    let told = operator.succeeds(&["config", "validate"])["notices"].to_string();
    assert!(told.contains("1 unlisted server may") && told.contains(&address), "{told}");
}

#[tokio::test]
async fn a_node_that_did_not_answer_when_it_was_removed_is_left_by_the_same_command_when_it_does() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let address = node.address().to_string();
    let before = authorized_keys(node);
    drop(operator.store().await);
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    operator.succeeds(&["nodes", "drain", &address, "--reason", "new fans"]);
    nodes.node_mut("gpu-1").stop().await.unwrap();
    let remove = ["nodes", "remove", &address];
    let output = operator.run(&remove);
    let said = String::from_utf8(output.stderr).unwrap();
    let then = format!("when it answers, run this again: {}", operator.shown(&remove.join(" ")));
    assert!(output.status.code() == Some(1) && said.contains(&then), "{said}");
    nodes.node_mut("gpu-1").start().await.unwrap();
    let removed = operator.succeeds(&remove);
    assert_eq!((&removed["resumed"], &removed["reached"]), (&true.into(), &true.into()), "{removed}");
    let orders = basilica_ports::MinerOperations::orders(&operator.store().await).await.unwrap();
    let left: Vec<_> = orders.maintenance.values().flat_map(|windows| windows.keys()).collect();
    assert_eq!(left, [&basilica_ports::OrderedBy::Command], "the removal is over");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), before);
    let said = operator.fails(&["nodes", "remove", "root@192.0.2.77"], 1);
    assert!(said.contains("nothing is remembered of one"), "{said}");
    // What a command ordered outlives all that.
    let added = operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    let undrain =
        format!("(new fans), and stays out until: {}", operator.shown(&format!("nodes undrain {address}")));
    assert!(added["warnings"][0].as_str().unwrap().ends_with(&undrain), "{added}");
}

#[tokio::test]
async fn a_removed_server_that_has_validators_keys_holds_up_no_rotation_and_keeps_none_of_any_key() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let specs = ["gpu-1", "gpu-2"].map(|name| server(name, &public)).to_vec();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| specs).await;
    let [address, other] = ["gpu-1", "gpu-2"].map(|name| nodes.node(name).address().to_string());
    let id = nodes.node("gpu-1").address().node_id();
    for address in [&address, &other] {
        operator.succeeds(&["nodes", "add", address, "--yes", "--identity", &identity]);
    }
    operator.deployed(id).await;
    let miner = operator.start();
    eventually("the key is there", || authorized_keys(nodes.node("gpu-1")).contains("restrict,")).await;
    drop(miner);
    nodes.node_mut("gpu-1").stop().await.unwrap();
    assert_eq!(operator.run(&["nodes", "remove", &address]).status.code(), Some(1));
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["nodes"]), (&"left_behind".into(), &1.into()), "{rotated}");
    assert_eq!(rotated["removed_and_not_met"][0]["address"], address.as_str());

    nodes.node_mut("gpu-1").start().await.unwrap();
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!(rotated["stage"], "done", "{rotated}");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
    let store = operator.store().await;
    assert!(store.deployments(id).await.unwrap().is_empty());
    let orders = basilica_ports::MinerOperations::orders(&store).await.unwrap();
    assert!(orders.maintenance.is_empty(), "the removal is over: {orders:?}");
}

#[tokio::test]
async fn a_removed_server_that_the_running_miner_is_leaving_gets_no_new_key_and_keeps_none() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let specs = ["gpu-1", "gpu-2"].map(|name| server(name, &public)).to_vec();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| specs).await;
    let [address, other] = ["gpu-1", "gpu-2"].map(|name| nodes.node(name).address().to_string());
    for address in [&address, &other] {
        operator.succeeds(&["nodes", "add", address, "--yes", "--identity", &identity]);
    }
    operator.deployed(nodes.node("gpu-1").address().node_id()).await;
    let _miner = operator.start();
    eventually("the key is there", || authorized_keys(nodes.node("gpu-1")).contains("restrict,")).await;
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let mut removing = operator.command(&["nodes", "remove", &address]);
    let mut removing =
        removing.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the file has lost it", || operator.config().matches("host_key =").count() == 1).await;
    removing.kill().unwrap();
    removing.wait().unwrap();
    nodes.node_mut("gpu-1").resume().await.unwrap();
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!((&rotated["stage"], &rotated["nodes"]), (&"done".into(), &1.into()), "{rotated}");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
}

#[tokio::test]
async fn a_node_whose_line_comes_back_by_hand_while_it_is_being_left_is_not_told_as_served() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (address, id) = (node.address().to_string(), node.address().node_id());
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    let listed = operator.config();
    operator.deployed(id).await;
    let miner = operator.start();
    eventually("the key is there", || authorized_keys(node).contains("restrict,")).await;
    // Its keys cannot be taken off, so it is being left for as long as that.
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let hang_up = || kill_process(Pid::from_child(&miner.0), Signal::HUP).unwrap();
    let without: Vec<&str> = listed.lines().filter(|line| !line.contains("host_key =")).collect();
    std::fs::write(operator.path("miner.toml"), without.join("\n")).unwrap();
    hang_up();
    let store = operator.store().await;
    eventually_async("it is being left", async || {
        !basilica_ports::MinerOperations::orders(&store).await.unwrap().maintenance.is_empty()
    })
    .await;
    std::fs::write(operator.path("miner.toml"), &listed).unwrap();
    let told = || operator.succeeds(&["nodes", "list"])[0]["maintenance"].to_string();
    assert!(told().contains("not in service"), "{}", told());
    let said = operator.fails(&["nodes", "undrain", &address], 1);
    assert!(said.contains("is not in service: the running miner has not read yet"), "{said}");
    hang_up();
    eventually("it is served again", || told() == "null").await;
    nodes.node_mut("gpu-1").resume().await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_written_keeps_the_node_as_it_is() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let address = node.address().to_string();
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    let installed = authorized_keys(node);
    // Its draft stands there already: as in a directory that takes no further file, but for root too.
    let mut command = Command::new("sh");
    command.args(["-c", "touch \"$1.new-$$\" && exec \"$2\" --config \"$1\" nodes remove \"$3\"", "sh"]);
    command.arg(operator.path("miner.toml")).arg(built("basilica-miner")).arg(&address);
    let output = command.env("HOME", operator.home.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("write beside"), "{said}");
    assert_eq!(authorized_keys(node), installed, "nothing has happened");
    let listed = operator.succeeds(&["nodes", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_revoked_key_is_off_the_node_when_the_command_says_so() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let address = node.address().to_string();
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    let without = authorized_keys(node);
    let session = operator.deployed(node.address().node_id()).await;
    let _miner = operator.start();
    eventually("the key is there", || authorized_keys(node).contains("restrict,")).await;
    let revoked = operator.succeeds(&["sessions", "revoke", &session.to_string(), "--yes"]);
    assert_eq!(authorized_keys(node), without);
    assert_eq!((&revoked["miner_running"], &revoked["still_on"]), (&true.into(), &serde_json::json!([])));
    let listed = operator.succeeds(&["sessions", "list", "--all"]);
    assert_eq!((&listed[0]["ended_why"], &listed[0]["nodes"]), (&"revoked".into(), &serde_json::json!([])));
}
