//! The commands of docs/miner.md, run by a shell as they stand there, on a machine without nodes: its one node is an address where nothing listens, and
//! its chain does not answer. What a node or a chain is needed for is walked through elsewhere (`quick_setup`, `onboarding`); here such a
//! command has to say which of the two it lacks.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use basilica_testkit::{built, eventually, free_address, without_terminal, write_wallet};

use crate::guides::commands_of;
use crate::older::said;

const PAGE: &str = include_str!("../../../../docs/miner.md");
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// In this order, while no miner runs: the line of the page, its exit code, and what it says.
const ALONE: [(&str, i32, &str); 28] = [
    ("basilica-miner --gen-config", 0, "[node_management]"),
    ("basilica-miner init", 1, "miner.toml exists already and is left alone"),
    ("basilica-miner config validate", 0, "Configuration validation passed"),
    ("basilica-miner config show", 0, "bittensor.netuid = 39"),
    ("basilica-miner database migrate", 0, "database migrated from schema 0"),
    ("basilica-miner database health", 0, "no miner runs on it"),
    ("basilica-miner nodes add basilica@192.0.2.10 --hourly-rate-per-gpu 2.50", 1, "Connection refused"),
    ("basilica-miner nodes add NODE --fingerprint SHA256:...", 1, "Connection refused"),
    ("basilica-miner nodes list", 0, "NODE  2.50 USD/h"),
    ("basilica-miner host-key list", 0, "from the configuration"),
    ("basilica-miner host-key approve NODE SHA256:...", 1, "has its host_key in the configuration"),
    ("basilica-miner keys rotate", 1, "1 of 1 node is in the way"),
    ("basilica-miner sessions list", 0, "no open sessions"),
    ("basilica-miner sessions revoke ID", 1, "no open session fits"),
    (
        "basilica-miner nodes drain NODE --reason \"new power supply\" --wait",
        0,
        "taken out (new power supply)",
    ),
    ("basilica-miner nodes undrain NODE", 0, "taken back after"),
    ("basilica-miner nodes recover NODE", 0, "does not wait for you"),
    ("basilica-miner service test-ssh", 1, "Connection refused"),
    ("basilica-miner service test-bittensor", 1, "does not answer"),
    ("basilica-miner health-check", 1, "ok   wallet"),
    ("basilica-miner doctor", 1, "error chain-unreachable"),
    ("basilica-miner status", 1, "not running"),
    ("basilica-miner top", 1, "no miner tells its status on"),
    ("basilica-miner top --once", 1, "no miner tells its status on"),
    (
        "basilica-miner tls self-signed --host 203.0.113.7 --cert certs/server.crt --key certs/server.key",
        0,
        "tls_cert_path = \"HOME/certs/server.crt\"",
    ),
    ("basilica-miner audit", 1, "there is no audit log at"),
    ("basilica-miner audit --head HASH", 1, "there is no audit log at"),
    ("basilica-miner database restore --from miner.db.backup", 1, "miner.db is there already"),
];
/// The line that starts the miner, and what is asked while it runs.
const START: &str = "basilica-miner 2>> miner.log";
const BESIDE: [(&str, i32, &str); 6] = [
    ("basilica-miner status", 0, "running: "),
    ("basilica-miner top --once", 0, "NODE"),
    ("basilica-miner database health", 0, "a miner runs on it"),
    ("basilica-miner database backup --to miner.db.backup", 0, "is in miner.db.backup"),
    ("basilica-miner database restore --from miner.db.backup", 1, "runs already on database file"),
    ("basilica-miner audit", 0, "the log holds"),
];
/// After it has ended, and the database was moved away as the page says.
const AFTER: [(&str, i32, &str); 5] = [
    ("basilica-miner database restore --from miner.db.backup", 0, "miner.db.backup is now sqlite:"),
    ("basilica-miner database health", 0, " is healthy; schema "),
    ("basilica-miner audit MOVED.log ssh_audit.log", 0, "the log holds"),
    ("basilica-miner audit --head HASH", 1, "HASH"),
    ("basilica-miner nodes remove NODE", 1, "taken out of miner.toml"),
];

/// An operator's home with a wallet, a key and a configuration.
struct Operator {
    home: tempfile::TempDir,
    /// Where nothing listens.
    nobody: SocketAddr,
}

impl Operator {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        write_wallet(&home.path().join(".bittensor"), "miner", "//Miner1");
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        let key = home.path().join(".ssh/miner_node_key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let operator = Self { home, nobody: free_address() };
        let [grpc, health, metrics] = [(); 3].map(|()| free_address());
        let text = format!(
            "[bittensor]\nnetwork = \"local\"\nchain_endpoint = \"ws://{nobody}\"\nread_only = true\n\
             [database]\nurl = \"sqlite://{home}/miner.db\"\n\
             [validator_comms]\nhost = \"{}\"\nport = {}\n[health]\nlisten = \"{health}\"\n\
             [metrics.prometheus]\nhost = \"{}\"\nport = {}\n\
             [ssh_session]\naudit_log_path = \"{home}/audit.log\"\n\
             [node_management]\nnodes = [\n  {{ host = \"{}\", port = {}, username = \"basilica\", hourly_rate_per_gpu = 2.50, \
             host_key = \"{KEY}\" }},\n]\n",
            grpc.ip(),
            grpc.port(),
            metrics.ip(),
            metrics.port(),
            operator.nobody.ip(),
            operator.nobody.port(),
            nobody = operator.nobody,
            home = operator.path().display(),
        );
        std::fs::write(operator.path().join("miner.toml"), text).unwrap();
        operator
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    /// With what the page leaves to be filled in.
    fn filled(&self, line: &str) -> String {
        let node = format!("basilica@{}", self.nobody);
        let fingerprint = format!("SHA256:{}", "A".repeat(43));
        line.replace("basilica@192.0.2.10", &node)
            .replace("NODE", &node)
            .replace("SHA256:...", &fingerprint)
            .replace("ssh_audit.log", "audit.log")
            .replace("HASH", &"07".repeat(32))
            .replace(" ID", " 0123456789abcdef")
            .replace("HOME", &self.path().display().to_string())
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        self.at_home(command)
    }

    fn at_home(&self, mut command: Command) -> Command {
        let program = built("basilica-miner");
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        command.current_dir(self.path()).env_clear().env("HOME", self.path()).env("PATH", path);
        command
    }

    fn run(&self, table: &[(&str, i32, &str)]) {
        for (line, code, words) in table {
            let output = self.at_home(without_terminal(&self.shell(&self.filled(line)))).output().unwrap();
            let (said, words) = (said(&output), self.filled(words));
            assert_eq!(output.status.code(), Some(*code), "{line}: {said}");
            assert!(said.contains(&words), "{line} does not say {words:?}: {said}");
        }
    }
}

/// The running miner; ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_pages_commands_do_what_a_machine_without_nodes_allows() {
    let operator = Operator::new();
    operator.run(&ALONE);
    let mut start = operator.shell(&format!("exec {START}"));
    let running = Running(start.spawn().unwrap());
    let reads = |name: &str| std::fs::read_to_string(operator.path().join(name)).unwrap_or_default();
    let status = || said(&operator.shell("basilica-miner status").output().unwrap());
    eventually("the node was tried", || {
        status().contains("nodes: 1")
            && !status().contains("not checked yet")
            && !reads("audit.log").is_empty()
    })
    .await;
    operator.run(&BESIDE);
    std::fs::rename(operator.path().join("audit.log"), operator.path().join("MOVED.log")).unwrap();
    eventually("the log goes on at its place", || !reads("audit.log").is_empty()).await;
    drop(running);
    assert!(reads("miner.log").contains("basilica-miner starts"), "{}", reads("miner.log"));
    let moved = operator.shell("mkdir away && mv miner.db miner.db-* away").status().unwrap();
    assert!(moved.success());
    operator.run(&AFTER);
    // Whether `config show` hides what the page says it hides.
    let shown = said(&operator.shell("basilica-miner config show").output().unwrap());
    for line in shown.lines().filter(|line| line.contains("(hidden; ")) {
        let key = line.split(" = ").next().unwrap().rsplit('.').next().unwrap();
        assert!(PAGE.contains(&format!("`{key}`")), "{line}");
    }
}

#[test]
fn no_command_of_the_page_is_left_out() {
    let tables = [&ALONE[..], &BESIDE, &AFTER];
    let run: BTreeSet<&str> = tables.into_iter().flatten().map(|(line, ..)| *line).chain([START]).collect();
    // The start without a file for its log is `quick_setup`'s.
    let named: BTreeSet<&str> =
        commands_of(PAGE).into_iter().filter(|line| *line != "basilica-miner").collect();
    assert_eq!(run, named);
}
