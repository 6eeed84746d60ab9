//! One server at two addresses, and two servers with one host key: the real program, real sshd.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;

use basilica_localnet::nodes::NodeHost;
use basilica_testkit::eventually;

use super::*;

/// Another address of a node's sshd, until the test's process ends.
struct Alias {
    address: String,
}

impl Alias {
    fn of(node: &NodeHost) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (user, local) = (&node.address().user, listener.local_addr().unwrap());
        let address = format!("{user}@{local}");
        let sshd = (node.address().host.to_string(), node.address().port());
        // The commands are waited for on the test's own thread, which alone enters the nodes' network, and from there every thread it makes.
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if let Ok(far) = TcpStream::connect(&sshd) {
                    let (back, forth) = (far.try_clone().unwrap(), near.try_clone().unwrap());
                    std::thread::spawn(move || pass(&near, &far));
                    std::thread::spawn(move || pass(&back, &forth));
                }
            }
        });
        Self { address }
    }

    /// Its line in the configuration, as a person writes it.
    fn line(&self, host_key: &str) -> String {
        line(&self.address).replace(" },", &format!(", host_key = \"{host_key}\" }},"))
    }
}

fn line(address: &str) -> String {
    let (user, rest) = address.split_once('@').unwrap();
    let (host, port) = rest.split_once(':').unwrap();
    format!("  {{ host = \"{host}\", port = {port}, username = \"{user}\", hourly_rate_per_gpu = 1 }},\n")
}

/// Either side may end it at any time.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[tokio::test]
async fn a_server_that_is_listed_at_another_address_is_not_added_and_keeps_its_key_when_one_of_two_is_removed()
 {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (first, alias) = (node.address().to_string(), Alias::of(node));
    let second = alias.address.clone();
    operator.succeeds(&["nodes", "add", &first, "--yes", "--identity", &identity]);
    let with_key = authorized_keys(node);
    let said = operator.fails(&["nodes", "add", &second, "--yes"], 1);
    let instead = operator.shown(&format!("nodes remove {first} --keep-key"));
    for words in [&format!("{second} is listed already, as {first}"), "so it was not added", &instead] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(authorized_keys(node), with_key);

    // Written by hand all the same.
    let line = alias.line(&node.host_key().to_string());
    std::fs::write(
        operator.path("miner.toml"),
        operator.config().replace("nodes = [\n", &format!("nodes = [\n{line}")),
    )
    .unwrap();
    let told = format!("{first} shows the same host key as {second}");
    let valid = operator.succeeds(&["config", "validate"]);
    assert!(valid["notices"].to_string().contains(&told), "{valid}");
    let listed = operator.run(&["nodes", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&format!("same host key as {second}")), "{listed}");

    let removed = operator.succeeds(&["nodes", "remove", &first]);
    assert_eq!(
        (&removed["miner_key_removed"], &removed["miner_key_kept_for"]),
        (&false.into(), &second.as_str().into())
    );
    assert_eq!(authorized_keys(nodes.node("gpu-1")), with_key, "the other one needs it");
    // Nothing is owed either: what is done to that one is done to this.
    operator.succeeds(&["keys", "rotate"]);
    let with_new = with_key.replace(with_key.lines().last().unwrap(), &operator.miner_key());
    assert_eq!(authorized_keys(nodes.node("gpu-1")), with_new);

    // One that did not answer its removal is not taken for a server of its own later.
    operator.succeeds(&["nodes", "remove", &second, "--keep-key"]);
    operator.succeeds(&["nodes", "add", &first, "--yes"]);
    let with_first = operator.config();
    operator.succeeds(&["nodes", "remove", &first, "--keep-key"]);
    operator.succeeds(&["nodes", "add", &second, "--yes"]);
    let line = with_first.lines().find(|line| line.contains("host_key")).unwrap();
    std::fs::write(
        operator.path("miner.toml"),
        operator.config().replace("nodes = [\n", &format!("nodes = [\n{line}\n")),
    )
    .unwrap();
    nodes.node_mut("gpu-1").stop().await.unwrap();
    assert_eq!(operator.run(&["nodes", "remove", &first]).status.code(), Some(1));
    nodes.node_mut("gpu-1").start().await.unwrap();
    let rotated = operator.succeeds(&["keys", "rotate"]);
    assert_eq!(rotated["stage"], "done", "{rotated}");
    assert!(authorized_keys(nodes.node("gpu-1")).contains(&operator.miner_key()), "it is listed still");
    let removed = operator.succeeds(&["nodes", "remove", &second]);
    assert_eq!(removed["miner_key_removed"], true, "nobody needs it any more: {removed}");
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
}

#[tokio::test]
async fn a_key_is_kept_for_no_node_that_another_command_takes_out_meanwhile() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (first, alias) = (node.address().to_string(), Alias::of(node));
    operator.succeeds(&["nodes", "add", &first, "--yes", "--identity", &identity]);
    let line = alias.line(&node.host_key().to_string());
    let both = operator.config().replace("nodes = [\n", &format!("nodes = [\n{line}"));
    std::fs::write(operator.path("miner.toml"), both).unwrap();
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let mut removing = operator.command(&["--json", "nodes", "remove", &first]);
    let removing = removing.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    eventually("the file has lost it", || operator.config().matches("host_key =").count() == 1).await;
    operator.succeeds(&["nodes", "remove", &alias.address, "--keep-key"]);
    nodes.node_mut("gpu-1").resume().await.unwrap();
    let ended = tokio::task::spawn_blocking(|| removing.unwrap().wait_with_output().unwrap()).await.unwrap();
    let removed: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(
        (&removed["miner_key_removed"], &removed["miner_key_kept_for"]),
        (&true.into(), &Value::Null),
        "{removed}"
    );
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("# kept\n{public}\n"));
}

#[tokio::test]
async fn servers_of_one_image_that_share_a_host_key_are_two_and_are_warned_of() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let host_key = std::fs::read(&identity).unwrap();
    let image = |name: &str| {
        let mut spec = server(name, &public);
        let place = Place::Anywhere("/etc/ssh/basilica_host_key".into());
        spec.files.push(NodeFile { place, mode: 0o600, bytes: host_key.clone() });
        spec
    };
    let specs = vec![image("gpu-1"), image("gpu-2")];
    let mut nodes = Nodes::start_with(Isolation::Own, |_| specs).await;
    let [first, second] = ["gpu-1", "gpu-2"].map(|name| nodes.node(name).address().to_string());
    operator.succeeds(&["nodes", "add", &first, "--yes", "--identity", &identity]);
    let added = operator.succeeds(&["nodes", "add", &second, "--yes", "--identity", &identity]);
    let told = format!("{second} shows the same host key as {first}");
    assert!(added["warnings"].to_string().contains(&told), "{added}");

    // Whether it is the same server cannot be known while the other does not answer.
    nodes.node_mut("gpu-1").stop().await.unwrap();
    let output = operator.run(&["nodes", "remove", &second]);
    let said = String::from_utf8(output.stderr).unwrap();
    let why = format!(
        "{first} shows the same host key and may be the same server, which it does not say, so the miner's key stays"
    );
    assert!(output.status.code() == Some(1) && said.contains(&why), "{said}");
    nodes.node_mut("gpu-1").start().await.unwrap();
    let removed = operator.succeeds(&["nodes", "remove", &second]);
    assert_eq!(removed["miner_key_removed"], true, "{removed}");
    let bare = format!("# kept\n{public}\n");
    assert_eq!(authorized_keys(nodes.node("gpu-2")), bare);
    assert_eq!(authorized_keys(nodes.node("gpu-1")), format!("{bare}{}\n", operator.miner_key()));
}

#[tokio::test]
async fn a_running_miner_warns_of_a_server_that_it_meets_twice_and_so_does_the_check_from_then_on() {
    let operator = Operator::on_free_ports();
    let (identity, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (first, second) = (node.address().to_string(), Alias::of(node).address);
    std::fs::create_dir(operator.path(".ssh")).unwrap();
    std::fs::copy(identity, operator.path(".ssh/miner_node_key")).unwrap();
    let lines = format!("nodes = [\n{}{}", line(&first), line(&second));
    std::fs::write(operator.path("miner.toml"), operator.config().replace("nodes = [\n", &lines)).unwrap();
    let told = format!("{second} shows the same host key as {first}");
    let notices = || operator.succeeds(&["config", "validate"])["notices"].to_string();
    assert!(!notices().contains("same host key"), "nobody has met it: {}", notices());
    let log = operator.path("miner.log");
    let miner = operator.start_with_log(std::fs::File::create(&log).unwrap().into());
    let logged = || std::fs::read_to_string(&log).unwrap();
    eventually("it is told", || logged().contains("shows the same host key as")).await;
    drop(miner);
    assert!(notices().contains(&told), "{}", notices());
}
