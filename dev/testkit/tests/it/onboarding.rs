//! `basilica-miner nodes …` as an operator uses it: the real program, real sshd.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod rotation;
mod running;
mod traces;
mod twins;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use basilica_localnet::nodes::{Isolation, NodeFile, NodeHost, NodeSpec, Place};
use basilica_testkit::{Nodes, at_a_terminal, built, without_terminal, write_wallet};
use serde_json::Value;

const PASSWORD: &str = "correct horse";
/// As sshd stands on most fresh servers, but that root is let in, who is the only user here. How it asks follows.
const TAKES_PASSWORDS: &str = "Port 22\nListenAddress 0.0.0.0\nHostKey /etc/ssh/basilica_host_key\nPidFile none\nUsePAM yes\n\
    PermitRootLogin yes\n";
const BY_PASSWORD: &str = "PasswordAuthentication yes\nKbdInteractiveAuthentication no\n";
const BY_QUESTION: &str = "PasswordAuthentication no\nKbdInteractiveAuthentication yes\n";
const DOCKER: &str = "#!/bin/sh\ntest \"$1\" = version\n";
const NVIDIA_SMI: &str = "#!/bin/sh\nprintf 'NVIDIA H100 PCIe\\nNVIDIA H100 PCIe\\n'\n";

/// A miner's host: a home directory with a wallet and a configuration without nodes.
struct Operator {
    home: tempfile::TempDir,
}

impl Operator {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        write_wallet(&home.path().join(".bittensor"), "miner", "//Miner1");
        std::fs::create_dir(home.path().join("data")).unwrap();
        let shown = home.path().display();
        let config = format!(
            "# my miner\n[bittensor]\nnetwork = \"local\"\nread_only = true\nchain_endpoint = \"ws://127.0.0.1:1\"\n\
             [database]\nurl = \"sqlite://{shown}/data/miner.db\"\n[node_management]\n# my servers\nnodes = [\n]\n"
        );
        std::fs::write(home.path().join("miner.toml"), config).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.path("miner.toml")).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built("basilica-miner"));
        command.arg("--config").arg(self.path("miner.toml")).args(arguments).env("HOME", self.home.path());
        command
    }

    /// A command as the program prints it.
    fn shown(&self, arguments: &str) -> String {
        format!("basilica-miner -c {} {arguments}", self.path("miner.toml").display())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        without_terminal(&self.command(arguments)).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let output = self.run(&all);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The words of a failure with this exit code.
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let before = self.config();
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert_eq!(self.config(), before, "a failure changes nothing");
        said
    }

    /// A key of the operator's own, and its public half.
    fn own_key(&self) -> (String, String) {
        let path = self.path("id_ed25519");
        if !path.exists() {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "me@laptop", "-f"])
                .arg(&path)
                .status();
            assert!(made.unwrap().success());
        }
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        (path.display().to_string(), public.trim_end().to_owned())
    }

    fn miner_key(&self) -> String {
        let text = std::fs::read_to_string(self.path(".ssh/miner_node_key.pub")).unwrap();
        text.trim_end().to_owned()
    }
}

fn program(name: &str, script: &str) -> NodeFile {
    NodeFile { place: Place::Program(name.to_owned()), mode: 0o755, bytes: script.as_bytes().to_vec() }
}

/// A server that lets this line in, with containers and GPUs.
fn server(name: &str, line: &str) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        authorized_keys: vec!["# kept".to_owned(), line.to_owned()],
        files: vec![program("docker", DOCKER), program("nvidia-smi", NVIDIA_SMI)],
    }
}

/// A server that lets root in by password, and by no key.
fn server_with_password(name: &str, how: &str) -> NodeSpec {
    let hashed = Command::new("openssl").args(["passwd", "-6", PASSWORD]).output().unwrap();
    let hashed = String::from_utf8(hashed.stdout).unwrap();
    let anywhere = |path: &str, text: String| NodeFile {
        place: Place::Anywhere(path.into()),
        mode: 0o600,
        bytes: text.into_bytes(),
    };
    NodeSpec {
        name: name.to_owned(),
        authorized_keys: vec!["# kept".to_owned()],
        files: vec![
            anywhere("/etc/ssh/basilica_sshd_config", format!("{TAKES_PASSWORDS}{how}")),
            anywhere("/etc/shadow", format!("root:{}:19000:0:99999:7:::\n", hashed.trim_end())),
        ],
    }
}

fn authorized_keys(node: &NodeHost) -> String {
    let path = node.home().join(".ssh/authorized_keys");
    String::from_utf8(node.read(&path).unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_server_is_added_once_and_removed_without_a_trace() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1");
    let (address, fingerprint) = (node.address().to_string(), node.host_key().fingerprint());
    let before = (operator.config(), authorized_keys(node));
    let add = ["nodes", "add", &address, "--hourly-rate-per-gpu", "2.50", "--identity", &identity];

    let said = operator.fails(&add, 1);
    assert!(said.contains(&format!("give --fingerprint {fingerprint} , or --yes")), "{said}");
    let other = format!("SHA256:{}", "A".repeat(43));
    let said = operator.fails(&[&add[..], &["--fingerprint", &other]].concat(), 1);
    assert!(said.contains(&format!("host key {fingerprint}, not {other}")), "{said}");
    assert_eq!(authorized_keys(node), before.1, "nothing was installed on an unknown host");

    let added = operator.succeeds(&[&add[..], &["--fingerprint", &fingerprint]].concat());
    assert_eq!(added["change"], "added");
    assert_eq!(added["key"]["installed"], true);
    assert_eq!(added["containers"]["usable"], true);
    assert_eq!(added["gpus"].as_array().unwrap().len(), 2);
    assert_eq!(added["warnings"], serde_json::json!([]));
    assert_eq!(added["miner"]["running"], false);
    let key = operator.miner_key();
    assert_eq!(authorized_keys(node), format!("# kept\n{public}\n{key}\n"));
    let private = operator.path(".ssh/miner_node_key");
    assert_eq!((mode(&private), mode(&private.with_extension("pub"))), (0o600, 0o644));
    let line = format!(
        "  {{ host = \"{}\", port = {}, username = \"{}\", hourly_rate_per_gpu = 2.50, host_key = \"{}\" }},",
        node.address().host,
        node.address().port(),
        node.address().user,
        node.host_key()
    );
    let expected = before.0.replace("nodes = [\n]", &format!("nodes = [\n{line}\n]"));
    assert_eq!(operator.config(), expected);

    let again = operator.succeeds(&["nodes", "add", &address]);
    assert_eq!((&again["change"], &again["key"]["installed"]), (&"unchanged".into(), &false.into()));
    assert_eq!((operator.config(), authorized_keys(node)), (expected, format!("# kept\n{public}\n{key}\n")));
    let dearer =
        operator.succeeds(&["nodes", "add", &address, "--hourly-rate-per-gpu", "3", "--region", "eu-west"]);
    assert_eq!(dearer["change"], "updated");
    let listed = operator.succeeds(&["nodes", "list"]);
    assert_eq!(
        (&listed[0]["hourly_rate_per_gpu"], &listed[0]["region"]),
        (&"3.00".into(), &"eu-west".into())
    );
    assert_eq!(listed[0]["host_key"]["fingerprint"], fingerprint);

    let removed = operator.succeeds(&["nodes", "remove", &address]);
    assert_eq!((&removed["reached"], &removed["miner_key_removed"]), (&true.into(), &true.into()));
    assert_eq!((operator.config(), authorized_keys(node)), before);
    let said = operator.fails(&["nodes", "remove", &address], 1);
    assert!(said.contains("nothing is remembered of one") && said.contains("lists none"), "{said}");
}

#[tokio::test]
async fn a_server_is_named_by_its_id_or_by_what_no_other_has_of_its_address() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1").address();
    let (whole, id, host) = (node.to_string(), node.node_id().to_string(), node.host.to_string());
    let said = operator.fails(&["nodes", "add", &id, "--yes"], 1);
    assert!(said.contains("is a node's id, and of no node that is known here"), "{said}");
    operator.succeeds(&["nodes", "add", &whole, "--yes", "--identity", &identity]);
    let said = operator.fails(&["nodes", "add", &host], 1);
    let other = format!("may be {whole}, which is listed, or another login, ");
    assert!(said.contains(&other), "{said}");
    let said = operator.fails(&["host-key", "approve", "gpu-9", "SHA256:x"], 1);
    assert!(said.contains("there is no node \"gpu-9\"; name one by id") && said.contains(&whole), "{said}");
    let said = operator.fails(&["host-key", "approve", &host, "SHA256:x"], 1);
    assert!(said.contains(&format!("node {whole} has its host_key in the configuration")), "{said}");
    let added = operator.succeeds(&["nodes", "add", &id, "--hourly-rate-per-gpu", "3"]);
    assert_eq!((&added["change"], &added["address"]), (&"updated".into(), &whole.as_str().into()));
    let said = operator.fails(&["nodes", "remove", "gpu-9"], 1);
    assert!(said.contains("nothing is remembered of one") && said.contains(&whole), "{said}");
    let removed = operator.succeeds(&["nodes", "remove", &host]);
    assert_eq!((&removed["address"], &removed["reached"]), (&whole.as_str().into(), &true.into()));
}

#[tokio::test]
async fn a_password_is_enough_for_a_start() {
    let operator = Operator::new();
    let specs = vec![server_with_password("gpu-1", BY_PASSWORD), server_with_password("gpu-2", BY_QUESTION)];
    let nodes = Nodes::start_with(Isolation::Own, |_| specs).await;
    let (one, two) = (nodes.node("gpu-1"), nodes.node("gpu-2"));
    let file = operator.path("password");
    let password_file = file.display().to_string();
    let write = |text: &str| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let address = one.address().to_string();
    let said = operator.fails(&["nodes", "add", &address, "--yes"], 1);
    assert!(said.contains("no terminal to ask for a password at; give --identity"), "{said}");
    write("wrong\n");
    let add = ["nodes", "add", &address, "--yes", "--password-file", &password_file];
    let said = operator.fails(&add, 1);
    assert!(said.contains("neither the miner's key nor what is in"), "{said}");
    write(&format!("{PASSWORD}\n"));
    let added = operator.succeeds(&add);
    assert_eq!((&added["change"], &added["key"]["installed"]), (&"added".into(), &true.into()));
    assert_eq!(authorized_keys(one), format!("# kept\n{}\n", operator.miner_key()));
    // The fixture has neither.
    let warnings = added["warnings"].to_string();
    assert!(warnings.contains("nvidia-smi") && warnings.contains("--hourly-rate-per-gpu"), "{warnings}");

    // A person compares the fingerprint, mistypes once, and needs no flag.
    let at = two.address().to_string();
    let ask = "Password of root@";
    let answers = [("Is it the node's? [y/N] ", "y"), (ask, "correct house"), (ask, PASSWORD)];
    let (code, shown) = at_a_terminal(&operator.command(&["nodes", "add", &at]), &answers);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(&two.host_key().fingerprint()) && shown.contains("permission denied"), "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert_eq!(operator.succeeds(&["nodes", "list"]).as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn who_says_no_to_a_fingerprint_sends_nothing() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let address = nodes.node("gpu-1").address().to_string();
    let command = operator.command(&["nodes", "add", &address, "--identity", &identity]);
    let before = (operator.config(), authorized_keys(nodes.node("gpu-1")));
    let (code, shown) = at_a_terminal(&command, &[("[y/N] ", "")]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("was not accepted; nothing was changed"), "{shown}");
    assert_eq!((operator.config(), authorized_keys(nodes.node("gpu-1"))), before);
}

#[tokio::test]
async fn a_changed_host_key_is_believed_only_by_its_fingerprint() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let address = nodes.node("gpu-1").address().to_string();
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    nodes.node_mut("gpu-1").change_host_key().await.unwrap();
    let now = nodes.node("gpu-1").host_key().clone();
    let said = operator.fails(&["nodes", "add", &address, "--yes"], 1);
    let fingerprint = now.fingerprint();
    assert!(
        said.contains(&operator.shown(&format!("nodes add {address} --fingerprint {fingerprint}"))),
        "{said}"
    );
    let updated = operator.succeeds(&["nodes", "add", &address, "--fingerprint", &fingerprint]);
    assert_eq!(updated["change"], "updated");
    assert!(operator.config().contains(&now.to_string()), "{}", operator.config());
}

#[tokio::test]
async fn another_login_of_a_listed_machine_is_told_and_so_is_which_host_key_was_expected() {
    let operator = Operator::new();
    let (_, public) = operator.own_key();
    let nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let node = nodes.node("gpu-1").address();
    let other = format!("{{ host = \"{}\", port = {}, username = \"other\" }},", node.host, node.port());
    std::fs::write(
        operator.path("miner.toml"),
        operator.config().replace("nodes = [", &format!("nodes = [\n{other}")),
    )
    .unwrap();
    std::fs::create_dir(operator.path(".ssh")).unwrap();
    std::fs::rename(operator.path("id_ed25519"), operator.path(".ssh/miner_node_key")).unwrap();
    let given = operator.own_key().1;
    let address = node.to_string();
    let add = ["nodes", "add", &address];
    let said = operator.fails(&[&add[..], &["--host-key", &given]].concat(), 1);
    let given = given.parse::<basilica_types::HostKey>().unwrap().fingerprint();
    let shown = nodes.node("gpu-1").host_key().fingerprint();
    assert!(said.contains(&format!("presents the host key {shown}, where {given} was expected")), "{said}");
    let added = operator.succeeds(&[&add[..], &["--yes", "--hourly-rate-per-gpu", "2"]].concat());
    let told =
        format!("{address} is another login of the machine of node 0 (other@{}:{})", node.host, node.port());
    assert!(added["warnings"][0].as_str().unwrap().starts_with(&told), "{added}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_added_and_can_still_be_removed() {
    let operator = Operator::new();
    let (identity, public) = operator.own_key();
    let mut nodes = Nodes::start_with(Isolation::Best, |_| vec![server("gpu-1", &public)]).await;
    let address = nodes.node("gpu-1").address().to_string();
    operator.succeeds(&["nodes", "add", &address, "--yes", "--identity", &identity]);
    nodes.node_mut("gpu-1").stop().await.unwrap();
    let output = operator.run(&["--json", "nodes", "remove", &address]);
    let removed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&removed["reached"], &removed["miner_key_removed"]), (&false.into(), &false.into()));
    assert_eq!(output.status.code(), Some(1), "the key may still be there");
    assert!(!operator.config().contains("host ="), "{}", operator.config());
    let said = operator.fails(&["nodes", "add", &address, "--yes"], 1);
    assert!(said.contains("connect to ") && said.contains("ssh -v -p "), "{said}");
    // Another login of its host, listed since, is not what a repeated command means.
    let node = nodes.node("gpu-1").address();
    let (host, port) = (node.host.to_string(), node.port());
    let other = format!("nodes = [\n{{ host = \"{host}\", port = {port}, username = \"ops\" }},\n");
    std::fs::write(operator.path("miner.toml"), operator.config().replace("nodes = [\n", &other)).unwrap();
    let said = operator.fails(&["nodes", "remove", &host], 1);
    assert!(said.contains("fits several nodes") && said.contains(&address), "{said}");
}

#[test]
fn a_configuration_is_made_from_flags_and_overwrites_nothing() {
    let operator = Operator::new();
    let file = operator.path("new.toml");
    let shown = file.display().to_string();
    let init = [
        &["init", "--yes", "--network", "local", "--output", shown.as_str()][..],
        &["--node", "root@10.0.0.1:2222=2.50", "--node", "gpu.example.com"],
    ]
    .concat();
    let made = operator.succeeds(&init);
    assert_eq!((&made["wallet"], &made["hotkey"]), (&"miner".into(), &"default".into()));
    assert_eq!((&made["netuid"], &made["external_ip"]), (&39.into(), &"127.0.0.2".into()));
    let next = format!("basilica-miner -c {shown} nodes add root@10.0.0.1:2222");
    assert_eq!(made["next"][0], next, "{made}");
    let text = std::fs::read_to_string(&file).unwrap();
    for line in [
        "  { host = \"10.0.0.1\", port = 2222, username = \"root\", hourly_rate_per_gpu = 2.50 },",
        "  { host = \"gpu.example.com\", port = 22, username = \"basilica\" },",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(operator.path(".ssh/miner_node_key").exists());
    let valid = operator.succeeds(&["config", "validate", "--path", &shown]);
    assert_eq!(valid["valid"], true);

    let said = operator.fails(&init, 1);
    assert!(said.contains("exists already and is left alone") && said.contains("--force"), "{said}");
    operator.succeeds(&[&init[..], &["--force", "--netuid", "7"]].concat());
    assert_eq!(std::fs::read_to_string(operator.path("new.toml.old")).unwrap(), text);
    assert!(std::fs::read_to_string(&file).unwrap().contains("netuid = 7 "));

    let nobody = ["init", "--yes", "--output", "other.toml", "--wallet", "nobody"];
    let said = operator.fails(&nobody, 1);
    assert!(said.contains("no such hotkey") && said.contains("basilica wallet new"), "{said}");
    let said = operator.fails(&["init", "--output", "other.toml"], 1);
    assert!(said.contains("give --yes and what is not usual"), "{said}");
    operator.fails(&["init", "--yes", "--external-ip", "127.0.0.1"], 2);
    operator.fails(&["init", "--yes", "--node", "a b"], 2);
}

#[test]
fn what_speaks_against_an_answer_is_told_and_a_refusal_leaves_nothing_behind() {
    let operator = Operator::new();
    let init = ["init", "--yes", "--network", "test", "--output"];
    let output = operator.path("new.toml").display().to_string();
    let made = operator.succeeds(&[&init[..], &[&output, "--external-ip", "10.0.0.1"]].concat());
    let warning = made["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with(&format!("{output}:"))
            && warning.contains("10.0.0.1 is not an address of the internet")
    );
    let valid = operator.succeeds(&["config", "validate", "--path", &output]);
    assert!(valid["notices"].to_string().contains("10.0.0.1 is not an address of the internet"), "{valid}");

    std::fs::remove_dir_all(operator.path(".ssh")).unwrap();
    let (output, directory) = (operator.path("x.toml").display().to_string(), operator.path("new/a?b"));
    let refused = [&init[..], &[&output, "--external-ip", "9.9.9.9", "--data-dir"]].concat();
    let said = operator.fails(&[&refused[..], &[&directory.display().to_string()]].concat(), 1);
    assert!(said.contains("was not written"), "{said}");
    for name in ["new", ".ssh", "x.toml"] {
        assert!(!operator.path(name).exists(), "{name}");
    }
    let twice = [
        "init",
        "--yes",
        "--network",
        "local",
        "--output",
        &output,
        "--node",
        "root@gpu",
        "--node",
        "root@GPU:22=2",
    ];
    let said = operator.fails(&twice, 1);
    assert!(said.contains("--node root@gpu:22 is given already"), "{said}");
    let said = operator.fails(&["init", "--yes", "--network", "local", "--external-ip", "127.0.0.1"], 2);
    assert!(said.contains("127.0.0.2 or another of 127.0.0.0/8"), "{said}");
    write_wallet(&operator.path(".bittensor"), "other", "//Miner2");
    let said = operator.fails(&["init", "--yes", "--network", "local", "--output", &output], 1);
    assert!(said.contains("give --wallet and --hotkey: "), "{said}");
}

#[test]
fn a_person_is_asked_only_what_cannot_be_known_and_again_where_it_is_wrong() {
    let operator = Operator::new();
    write_wallet(&operator.path(".bittensor"), "other", "//Miner2");
    let file = operator.path("new.toml");
    let command = operator.command(&["init", "--output", &file.display().to_string()]);
    let answers = [
        ("Network (finney, test or local) [finney]: ", "mainnet"),
        ("finney, test or local\r\nNetwork (finney, test or local) [finney]: ", "test"),
        ("Wallet and hotkey (miner/default, other/default): ", "miner"),
        ("one of miner/default, other/default", "other/default"),
        ("Public IP address of this server", "127.0.0.1"),
        ("the chain does not take 127.0.0.1", "203.0.113.5"),
        ("GPU server as USER@HOST", "root@10.0.0.1=cheap"),
        ("GPU server as USER@HOST", "root@10.0.0.1=1.25"),
        ("GPU server as USER@HOST", "root@10.0.0.1:22=2"),
        ("root@10.0.0.1:22 is given already", ""),
    ];
    let (code, shown) = at_a_terminal(&command, &answers);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("nodes add root@10.0.0.1:22"), "{shown}");
    let text = std::fs::read_to_string(&file).unwrap();
    for line in ["wallet_name = \"other\"", "netuid = 387", "external_ip = \"203.0.113.5\"", "= 1.25 },"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
