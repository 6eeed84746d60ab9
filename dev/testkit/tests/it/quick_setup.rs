//! The miner's set-up by hand, walked through literally: the commands that are pinned in `quick_setup/commands.txt`, which are docs/miner.md's too, are
//! run by real shells on real hosts, with the real programs, until a real validator has authenticated and has its key on the node.
//!
//! Nothing but hosts is changed ([`Changes`]): the wallet has the names that the commands give it, the paths are those of the miner's own
//! host, and what the network differs in is said by the environment ([`ENVIRONMENT`]). [`CARGO`] and [`SUDO`] stand in for what no such host has.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod interface;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use basilica_localnet::nodes::{Isolation, NodeFile, NodeHost, NodeSpec, Place};
use basilica_testkit::{Devchain, Nodes, built, eventually, write_validator, write_wallet};
use basilica_types::Host;
use serde_json::json;

use self::interface::{Changes, steps};
use crate::doctor::DOCKER;
use crate::manual::{SUDO, attempt, run, stand_in, stripped};
use crate::older;
use crate::watching::every_panel_asks_for_what_this_miner_tells;

const EXAMPLE: &[u8] = include_bytes!("../../../../config/miner.toml.example");
const BUILD: &[u8] = include_bytes!("../../../../scripts/miner/build.sh");
/// Plays a card; there is no GPU where tests run.
pub(crate) const NVIDIA_SMI: &str = r#"#!/bin/sh
case "$*" in
  *noheader,nounits*) echo '0, GPU-5e1c3a4b-0c1d-4e2f-8a9b-0123456789ab, NVIDIA H100 80GB HBM3, 570.124.06, 97, 70123, 81559, 64, 650.12, 700.00' ;;
  *query-gpu*) echo '570.124.06, NVIDIA H100 80GB HBM3' ;;
  *) echo '| NVIDIA-SMI 570.124.06  Driver Version: 570.124.06  CUDA Version: 12.8 |' ;;
esac
"#;
/// Where the operator's copy of the sources is.
const SOURCES: &str = "basilica";
/// Blocks of an epoch.
const TEMPO: u64 = 10;
const LOG: &str = "/root/miner.log";
/// That this chain is no finney, and that metrics are read from another host.
const ENVIRONMENT: &str = "BASILICA_BITTENSOR__NETWORK=local BASILICA_METRICS__PROMETHEUS__HOST=0.0.0.0";
/// The programs of this build are where a build would put them.
const CARGO: &str =
    "#!/bin/sh\ntest \"$*\" = 'build --locked -p basilica-miner -p basilica-prover --release'\n";
/// That nodes on private addresses are allowed on this network, and how often the validator looks at the chain and asks miners: one whose axon comes
/// onto the chain just after a look would wait five minutes for the next.
const VALIDATOR: &str = "[verification]\nallow_private_hosts = true\nallow_simulated_gpus = true\nprover_path = \"PROVER\"\n\
    cache_miner_info_ttl = \"1s\"\n[automatic_verification]\ndiscovery_interval = \"1s\"\nrediscovery_pause = \"1s\"\n\
    [metrics.prometheus]\nport = 0\n";

pub(crate) fn home(path: impl Into<PathBuf>, mode: u32, bytes: &[u8]) -> NodeFile {
    NodeFile { place: Place::Home(path.into()), mode, bytes: bytes.to_vec() }
}

/// What an operator has before the first command: the sources, a wallet, and a way onto the node.
pub(crate) fn belongings(own_key: &Path) -> Vec<NodeFile> {
    let wallet = tempfile::tempdir().unwrap();
    write_wallet(wallet.path(), "miner", "//Miner1");
    let hotkey = std::fs::read(wallet.path().join("wallets/miner/hotkeys/default")).unwrap();
    vec![
        home(".bittensor/wallets/your_wallet/hotkeys/your_hotkey", 0o600, &hotkey),
        home(".ssh/id_ed25519", 0o600, &std::fs::read(own_key).unwrap()),
        home(format!("{SOURCES}/config/miner.toml.example"), 0o644, EXAMPLE),
        home(format!("{SOURCES}/scripts/miner/build.sh"), 0o755, BUILD),
        home(format!("{SOURCES}/target/release/basilica-miner"), 0o755, &stripped("basilica-miner")),
        home(format!("{SOURCES}/target/release/basilica-prover"), 0o755, &stripped("basilica-prover")),
        stand_in("cargo", CARGO),
        stand_in("sudo", SUDO),
    ]
}

/// A key of the operator's own; its public half is beside it.
pub(crate) fn own_key(directory: &Path) -> PathBuf {
    let key = directory.join("id_ed25519");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    key
}

/// The validator's process; ends with the test.
struct Running(Child);

impl Running {
    fn start(directory: &Path, chain: &str) -> Self {
        let prover = built("basilica-prover").display().to_string();
        let database = format!("sqlite:{}", directory.join("validator.db").display());
        let config = write_validator(directory, &[chain], &database, &VALIDATOR.replace("PROVER", &prover));
        let mut command = Command::new(built("basilica-validator"));
        command.arg("-c").arg(config).arg("start").env_clear().env("HOME", directory).stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The operator has logged in on the node before.
pub(crate) fn trust(miner: &NodeHost, node: &NodeHost) {
    let known = format!("{} {}\n", node.address().host, node.host_key());
    miner.write(Path::new("/root/.ssh/known_hosts"), 0o644, known.as_bytes()).unwrap();
}

/// The newest block's number.
fn head(chain: &Devchain) -> u64 {
    let header = chain.ask("chain_getHeader", &json!([]));
    u64::from_str_radix(header["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

fn text(host: &NodeHost, path: &str) -> String {
    String::from_utf8(host.read(Path::new(path)).unwrap_or_default()).unwrap()
}

/// Waits until the miner's log has these words.
async fn says(miner: &NodeHost, words: &str) {
    let mut log = String::new();
    let said = basilica_testkit::holds_within(std::time::Duration::from_secs(60), || {
        log = text(miner, LOG);
        log.contains(words)
    })
    .await;
    assert!(said, "{words:?} is not in the miner's log: {log}");
}

#[tokio::test]
async fn the_pinned_set_up_by_hand_ends_with_an_authenticated_validator() {
    let directory = tempfile::tempdir().unwrap();
    let own = own_key(directory.path());
    let owner = std::fs::read_to_string(own.with_extension("pub")).unwrap();
    let nodes = Nodes::start_with(Isolation::Own, |key| {
        let programs = [("sudo", SUDO), ("nvidia-smi", NVIDIA_SMI), ("docker", DOCKER)];
        let files = programs.map(|(name, script)| stand_in(name, script)).to_vec();
        let server = NodeSpec { files, ..NodeSpec::new("gpu-1", key) };
        vec![NodeSpec { files: belongings(&own), ..NodeSpec::new("miner", key) }, server]
    })
    .await;
    let here = nodes.gateway().expect("hosts of their own").into();
    let (miner, node) = (nodes.node("miner"), nodes.node("gpu-1"));
    let settings = json!({ "block_time_ms": 200, "tempo": TEMPO, "commit_reveal": false });
    let chain = Devchain::start_on(here, &settings, &[]);

    // Docker's installation makes the group, and the owner of the server has a key there.
    run(&nodes, "gpu-1", "/", "groupadd docker").await;
    let host = |host: &NodeHost| host.address().host.to_string();
    let changes = Changes::new(&host(node), &host(miner), &chain.url);
    run(&nodes, "gpu-1", "/", &format!("set -e\n{}", changes.commands("node"))).await;
    // Without PAM, which distributions' sshd has, sshd takes an account that has no password yet for a locked one.
    run(&nodes, "gpu-1", "/", "usermod -p '*' basilica").await;
    let keys = "/home/basilica/.ssh/authorized_keys";
    run(&nodes, "gpu-1", "/", &format!("echo '{}' >> {keys}", owner.trim_end())).await;
    trust(miner, node);

    let last = changes.commands("own build");
    let (build, start) = last.rsplit_once('\n').expect("build, then run");
    let first = ["key", "data directory", "template", "configuration"].map(|step| changes.commands(step));
    for commands in first.iter().map(String::as_str).chain([build]) {
        run(&nodes, "miner", SOURCES, &format!("set -e\n{commands}")).await;
    }
    let installed = text(node, keys);
    let own = text(miner, "/root/.ssh/miner_node_key.pub");
    assert!(installed.starts_with(&owner) && installed.contains(own.trim_end()), "{installed}");
    // Permits come with the first epoch, and a miner that looks before it looks again after a minute.
    eventually("two epochs are over", || head(&chain) > 2 * TEMPO).await;
    run(&nodes, "miner", SOURCES, &format!("{ENVIRONMENT} {start} </dev/null >{LOG} 2>&1 &")).await;
    says(miner, "Node registered").await;

    let _validator = Running::start(directory.path(), &chain.url);
    says(miner, "Validator authenticated").await;
    eventually("the validator's key is on the node, and what stood there still is", || {
        let now = text(node, keys);
        now.starts_with(&installed) && now.contains(" validator-")
    })
    .await;
    for words in [
        "Registered node",
        "Successfully authenticated validator",
        "Deploying SSH key for validator",
        "Deployed SSH key to node",
    ] {
        says(miner, words).await;
    }
    let Host::Ip(ip) = &miner.address().host else { panic!("hosts have addresses") };
    every_panel_asks_for_what_this_miner_tells((*ip, 9090).into()).await;
    look_after_it(&nodes).await;
}

/// What the guide has an operator type afterwards, at the running miner; and the pages and metrics that older guides look at.
async fn look_after_it(nodes: &Nodes) {
    run(nodes, "miner", "/", "ln -s /root/basilica/basilica-miner /usr/local/bin/").await;
    let node = nodes.node("gpu-1").address().to_string().replace("root@", "basilica@");
    let mut tried = 0;
    for section in ["Look after it", "Take nodes out and back", "Back up"] {
        for line in steps(section).into_iter().flat_map(str::lines) {
            let command = format!("export {ENVIRONMENT}; {}", line.replace("NODE", &node));
            let (good, said) = attempt(nodes, "miner", SOURCES, &command).await;
            // Nothing proves work where no GPU is.
            let right = if line.ends_with(" doctor") { said.contains("docs/doctor.md") } else { good };
            assert!(right, "{line}: {said}");
            tried += 1;
        }
    }
    assert!(tried >= 12, "{tried}");
    for page in older::pages() {
        run(nodes, "miner", "/", &format!("curl -sf {page}")).await;
    }
    let told = run(nodes, "miner", "/", "curl -s http://127.0.0.1:9090/metrics").await;
    for metric in older::metrics() {
        assert!(told.lines().any(|line| line.starts_with(&metric)), "{metric} is not in {told}");
    }
}
