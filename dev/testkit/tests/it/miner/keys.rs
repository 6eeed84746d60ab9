//! Keys of validators on real nodes: deployed, gated, repaired and gone in time, and no other line touched.

use basilica_localnet::nodes::{Isolation, NodeSpec};
use basilica_ports::{ExitStatus, HostKeyApproval, MinerStore as _, Output, OutputLimits, Shell, ShellError};
use basilica_testkit::eventually;
use basilica_types::Argv;
use basilica_wire::discovery::NodeStatus;

use super::*;

const LIMITS: OutputLimits = OutputLimits { deadline: Millis::from_secs(20), stdout: 1 << 16, stderr: 4096 };
/// Lines that are an operator's business, as hostile as sshd lets them be.
const FOREIGN: [&str; 4] = [
    "# keys of ours: validator-room, see wiki",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f validator-5G3qVaXzKMPDm5AJ3dpzbpUC27kpccBvDwzSWXrq8M6qMmbC\r",
    "",
    "command=\"echo no\",no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4g backup",
];

pub(super) async fn nodes(names: &[&str]) -> Nodes {
    Nodes::start_with(Isolation::Best, |key| {
        let spec = |name: &&str| {
            let mut spec = NodeSpec::new(*name, key);
            spec.authorized_keys.extend(FOREIGN.iter().map(ToString::to_string));
            spec
        };
        names.iter().map(spec).collect()
    })
    .await
}

pub(super) fn authorized_keys(nodes: &Nodes, name: &str) -> String {
    let node = nodes.node(name);
    String::from_utf8(node.read(&node.home().join(".ssh/authorized_keys")).unwrap()).unwrap()
}

pub(super) async fn login(validator: &Validator, node: &NodeReport) -> Arc<dyn Shell> {
    RusshShell.connect(&validator.dial(node)).await.expect("the validator is let in")
}

pub(super) async fn run(shell: &dyn Shell, script: &'static str) -> Output {
    shell.run(&Argv::script(script, [""; 0]).unwrap(), b"", LIMITS).await.expect("an answer")
}

async fn sleep(ms: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
}

async fn until_past(secs: i64) {
    while now_secs() <= secs {
        sleep(50).await;
    }
}

/// The status of the only node, asked again until it is `wanted`.
pub(super) async fn until_status(
    site: &Site,
    validator: &Validator,
    grant: &AuthGrant,
    wanted: NodeStatus,
) -> NodeReport {
    let became = async {
        loop {
            let node = validator.discover(site, grant).await.nodes.remove(0);
            if node.status == wanted {
                return node;
            }
            sleep(50).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), became).await.expect("the status in time")
}

#[tokio::test]
async fn a_validator_gets_onto_every_node_and_no_line_of_others_changes() {
    let nodes = nodes(&["gpu-1", "gpu-2"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let response = site.first.discover(&site, &grant).await;
    assert_eq!(response.nodes.len(), 2);
    for (report, name) in response.nodes.iter().zip(["gpu-1", "gpu-2"]) {
        assert_eq!(report.status, NodeStatus::Available);
        assert_eq!(report.host_keys, [nodes.node(name).host_key().clone()]);
        let shell = login(&site.first, report).await;
        let output = run(shell.as_ref(), "echo \"$BASILICA_KEY\"; exit 3").await;
        assert_eq!(output.status, ExitStatus::Code(3));
        let tag = String::from_utf8(output.stdout).unwrap();
        assert!(tag.starts_with(&format!("validator-{}-", site.first.party.hotkey())), "{tag}");
        assert_eq!(run(shell.as_ref(), "cat").await.stdout, b"");
        let after = authorized_keys(&nodes, name);
        assert!(after.starts_with(&before), "{after}");
        assert_eq!(after.matches("restrict,").count(), 1);
        assert!(after.contains(",expiry-time=\""), "{after}");
    }
}

#[tokio::test]
async fn a_second_discovery_changes_nothing_on_the_node() {
    let nodes = nodes(&["gpu-1"]).await;
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    let once = authorized_keys(&nodes, "gpu-1");
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Available);
    assert_eq!(authorized_keys(&nodes, "gpu-1"), once);
}

#[tokio::test]
async fn a_validator_that_is_not_assigned_gets_an_empty_list_and_no_key() {
    let nodes = nodes(&["gpu-1"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.second.authenticate(&site).await;
    assert_eq!(site.second.discover(&site, &grant).await.nodes, []);
    assert_eq!(authorized_keys(&nodes, "gpu-1"), before);
}

#[tokio::test]
async fn past_its_end_a_key_neither_logs_in_nor_runs_commands_even_without_its_miner() {
    let nodes = nodes(&["gpu-1"]).await;
    let settings = Settings { session_lifetime: Millis::from_secs(4), ..Settings::default() };
    let mut site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    assert_eq!(node.status, NodeStatus::Available);
    let open = login(&site.first, &node).await;
    assert_eq!(run(open.as_ref(), "echo in").await.stdout, b"in\n");
    site.stop_miner().await;
    until_past(grant.expires_at_secs).await;
    let late = run(open.as_ref(), "echo still in").await;
    assert_eq!((late.status, late.stdout), (ExitStatus::Code(97), Vec::new()));
    let denied = RusshShell.connect(&site.first.dial(&node)).await;
    assert!(matches!(denied, Err(ShellError::Denied { .. })), "{:?}", denied.err());
    assert!(authorized_keys(&nodes, "gpu-1").contains("restrict,"), "nobody removed the line");
}

#[tokio::test]
async fn at_its_end_a_key_is_removed_and_what_it_started_is_ended() {
    let nodes = nodes(&["gpu-1"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let settings = Settings { session_lifetime: Millis::from_secs(3), ..Settings::default() };
    let site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let shell = login(&site.first, &node).await;
    run(shell.as_ref(), "setsid sleep 31.7 >/dev/null 2>&1 </dev/null & echo $!").await;
    let operator = nodes.shell("gpu-1").await;
    run(operator.as_ref(), "setsid sleep 32.8 >/dev/null 2>&1 </dev/null &").await;
    let runs = |nodes: &Nodes, what: &str| nodes.node("gpu-1").processes().iter().any(|p| p.contains(what));
    assert!(runs(&nodes, "31.7") && runs(&nodes, "32.8"), "{:?}", nodes.node("gpu-1").processes());
    eventually("the line is gone", || authorized_keys(&nodes, "gpu-1") == before).await;
    eventually("its process is gone", || !runs(&nodes, "31.7")).await;
    assert!(runs(&nodes, "32.8"), "the operator's own process stays");
    assert!(now_secs() >= grant.expires_at_secs);
}

#[tokio::test]
async fn a_hung_node_is_reported_and_the_others_are_not_held_up() {
    let mut nodes = nodes(&["gpu-1", "gpu-2", "gpu-3"]).await;
    nodes.node_mut("gpu-2").hang().await.unwrap();
    let site = Site::start(Some(&nodes), Settings { timeout: Millis(1500), ..Settings::default() }).await;
    let grant = site.first.authenticate(&site).await;
    let statuses = |response: DiscoverResponse| response.nodes.iter().map(|n| n.status).collect::<Vec<_>>();
    let found = statuses(site.first.discover(&site, &grant).await);
    assert_eq!(found, [NodeStatus::Available, NodeStatus::Unreachable, NodeStatus::Available]);
    nodes.node_mut("gpu-2").resume().await.unwrap();
    let recovered = async {
        while !statuses(site.first.discover(&site, &grant).await).iter().all(|s| *s == NodeStatus::Available)
        {
            sleep(100).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), recovered).await.expect("the node comes back");
}

#[tokio::test]
async fn a_node_that_dies_behind_a_kept_connection_is_unreachable() {
    let mut nodes = nodes(&["gpu-1"]).await;
    // Only a nudge starts a round, so that the one which finds the node dead is the one that answers the discovery.
    let settings =
        Settings { interval: Millis::from_secs(3600), timeout: Millis(1500), ..Settings::default() };
    let site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Available);
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let grant = site.first.authenticate(&site).await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Unreachable);
}

#[tokio::test]
async fn a_process_that_does_not_end_keeps_no_validator_out() {
    let nodes = nodes(&["gpu-1"]).await;
    let settings = Settings { session_lifetime: Millis::from_secs(4), ..Settings::default() };
    let site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let shell = login(&site.first, &node).await;
    // Whatever is killed of the key's processes is started again by one that does not carry the key.
    let script = "(env -u BASILICA_KEY TAG=\"$BASILICA_KEY\" setsid sh -c 'until [ -e ~/enough ]; do BASILICA_KEY=$TAG sleep 31.7; done' \
                  >/dev/null 2>&1 </dev/null &)";
    run(shell.as_ref(), script).await;
    let runs = || nodes.node("gpu-1").processes().iter().any(|p| p.contains("31.7"));
    eventually("it runs", runs).await;
    until_past(grant.expires_at_secs).await;
    eventually("the line is gone", || !authorized_keys(&nodes, "gpu-1").contains("restrict,")).await;
    let grant = site.first.authenticate(&site).await;
    until_status(&site, &site.first, &grant, NodeStatus::Available).await;
    assert!(runs(), "it was running all the time");
    nodes.node("gpu-1").write(&nodes.node("gpu-1").home().join("enough"), 0o600, b"").unwrap();
    eventually("its processes are ended in a later round", || !runs()).await;
}

#[tokio::test]
async fn processes_of_an_ended_key_end_even_where_its_line_cannot_be_removed() {
    let nodes = nodes(&["gpu-1"]).await;
    let settings = Settings { session_lifetime: Millis::from_secs(4), ..Settings::default() };
    let site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let shell = login(&site.first, &node).await;
    run(shell.as_ref(), "setsid sleep 41.3 >/dev/null 2>&1 </dev/null & echo $!").await;
    let runs = || nodes.node("gpu-1").processes().iter().any(|p| p.contains("41.3"));
    eventually("it runs", runs).await;
    // Longer than any file that a miner touches.
    let giant = format!("{}{}\n", authorized_keys(&nodes, "gpu-1"), "#".repeat(300 * 1024));
    let path = nodes.node("gpu-1").home().join(".ssh/authorized_keys");
    nodes.node("gpu-1").write(&path, 0o600, giant.as_bytes()).unwrap();
    eventually("its process is gone", || !runs()).await;
    assert!(now_secs() >= grant.expires_at_secs);
    assert_eq!(authorized_keys(&nodes, "gpu-1"), giant);
}

#[tokio::test]
async fn a_host_key_that_was_shown_in_between_cannot_be_approved_any_more() {
    let nodes = nodes(&["gpu-1"]).await;
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let store = &site.running().store;
    // Somebody was in the way for a while.
    let other = site.second.key();
    assert!(store.offer_host_key(node.node_id, &other, SystemClock::new().now()).await.unwrap());
    let withdrawn = async {
        while store.host_key(node.node_id).await.unwrap().unwrap().offered.is_some() {
            sleep(50).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), withdrawn)
        .await
        .expect("the offer is withdrawn");
    let now = SystemClock::new().now();
    let late = store.approve_host_key(node.node_id, &other.fingerprint(), now).await.unwrap();
    assert_eq!(late, HostKeyApproval::NothingOffered);
}

#[tokio::test]
async fn a_changed_host_key_is_refused_until_it_is_approved() {
    let mut nodes = nodes(&["gpu-1"]).await;
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let old = site.first.discover(&site, &grant).await.nodes.remove(0);
    assert_eq!(old.status, NodeStatus::Available);
    nodes.node_mut("gpu-1").change_host_key().await.unwrap();
    let new = nodes.node("gpu-1").host_key().clone();
    let refused = until_status(&site, &site.first, &grant, NodeStatus::Unreachable).await;
    assert_eq!(refused.host_keys, old.host_keys, "the new key is not vouched for");
    let store = &site.running().store;
    let offered = async {
        while store.host_key(old.node_id).await.unwrap().unwrap().offered.as_ref() != Some(&new) {
            sleep(50).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), offered).await.expect("the new key is offered");
    let now = SystemClock::new().now();
    let approval = store.approve_host_key(old.node_id, &new.fingerprint(), now).await.unwrap();
    assert!(matches!(approval, HostKeyApproval::Approved(_)), "{approval:?}");
    let approved = until_status(&site, &site.first, &grant, NodeStatus::Available).await;
    assert_eq!(approved.host_keys, [new]);
}

#[tokio::test]
async fn a_removed_or_altered_line_is_repaired_and_the_editors_own_change_stays() {
    let nodes = nodes(&["gpu-1"]).await;
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let path = nodes.node("gpu-1").home().join(".ssh/authorized_keys");
    let deployed = authorized_keys(&nodes, "gpu-1");
    let edited: String =
        deployed.lines().filter(|l| !l.starts_with("restrict,")).map(|l| format!("{l}\n")).collect();
    let edited = format!("# a new line of the operator\n{edited}");
    nodes.node("gpu-1").write(&path, 0o600, edited.as_bytes()).unwrap();
    eventually("the key is back", || authorized_keys(&nodes, "gpu-1").contains("restrict,")).await;
    assert!(authorized_keys(&nodes, "gpu-1").starts_with("# a new line of the operator\n"));
    login(&site.first, &node).await;
}

#[tokio::test]
async fn re_assignment_moves_the_nodes_to_the_new_validator() {
    let nodes = nodes(&["gpu-1"]).await;
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    let shell = login(&site.first, &node).await;
    site.set_stakes(1, 2);
    let old = site.first.party.hotkey().to_string();
    eventually("the old key is gone", || !authorized_keys(&nodes, "gpu-1").contains(&old)).await;
    // The line that the gate looks for is gone: the open connection runs nothing more.
    assert_eq!(run(shell.as_ref(), "echo in").await.status, ExitStatus::Code(97));
    assert_eq!(site.first.discover(&site, &grant).await.nodes, []);
    let grant = site.second.authenticate(&site).await;
    let node = site.second.discover(&site, &grant).await.nodes.remove(0);
    assert_eq!(node.status, NodeStatus::Available);
    assert_eq!(run(login(&site.second, &node).await.as_ref(), "echo in").await.stdout, b"in\n");
}

#[tokio::test]
async fn a_restarted_miner_keeps_sessions_keys_and_what_to_remove() {
    let nodes = nodes(&["gpu-1"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let settings = Settings { session_lifetime: Millis::from_secs(6), ..Settings::default() };
    let mut site = Site::start(Some(&nodes), settings).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    let deployed = authorized_keys(&nodes, "gpu-1");
    site.stop_miner().await;
    site.start_miner().await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes[0].status, NodeStatus::Available);
    assert_eq!(authorized_keys(&nodes, "gpu-1"), deployed);
    eventually("the key ends with its session", || authorized_keys(&nodes, "gpu-1") == before).await;
}

#[tokio::test]
async fn a_miner_that_is_told_so_takes_its_keys_along_when_it_stops() {
    let nodes = nodes(&["gpu-1"]).await;
    let before = authorized_keys(&nodes, "gpu-1");
    let mut site =
        Site::start(Some(&nodes), Settings { remove_keys_on_shutdown: true, ..Settings::default() }).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    assert_ne!(authorized_keys(&nodes, "gpu-1"), before);
    site.stop_miner().await;
    assert_eq!(authorized_keys(&nodes, "gpu-1"), before);
    site.start_miner().await;
    let ended = site.first.discover_request(&grant);
    assert_eq!(code(site.client().await.discover(ended).await), RefusalCode::Unauthenticated);
}

#[tokio::test]
async fn links_modes_and_foreign_formats_of_the_file_are_kept() {
    let nodes = nodes(&["gpu-1"]).await;
    let operator = nodes.shell("gpu-1").await;
    run(operator.as_ref(), "cd ~/.ssh && mkdir -p real && mv authorized_keys real/keys && chmod 640 real/keys && ln -s real/keys authorized_keys").await;
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    let node = site.first.discover(&site, &grant).await.nodes.remove(0);
    assert_eq!(node.status, NodeStatus::Available);
    let told =
        run(operator.as_ref(), "cd ~/.ssh && stat -c '%F %a' authorized_keys real/keys && ls real").await;
    assert_eq!(String::from_utf8(told.stdout).unwrap(), "symbolic link 777\nregular file 640\nkeys\n");
}
