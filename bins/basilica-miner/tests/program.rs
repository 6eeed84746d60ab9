//! The real program: what it prints, how it ends, and that it never ends with a backtrace.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "program/audit.rs"]
mod audit;
#[path = "program/config.rs"]
mod config;
#[path = "program/database.rs"]
mod database;
#[path = "program/disk.rs"]
mod disk;
#[path = "program/nodes.rs"]
mod nodes;
#[path = "program/other_files.rs"]
mod other_files;
#[path = "program/sessions.rs"]
mod sessions;
#[path = "program/tls.rs"]
mod tls;
#[path = "program/view.rs"]
mod view;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use basilica_ports::EntropyRng;
use basilica_system::OsEntropy;
use basilica_testkit::{eventually, free_address, spawn_unread};
use basilica_wallet::{NoPassword, Wallets};
use basilica_wire::Keypair;
use serde_json::Value;

/// A home directory with a wallet, a node key and a configuration whose ports are free.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(home.path().join("data")).unwrap();
        let key = home.path().join("node_key");
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key).unwrap();
        file.write_all(b"not a key; no node is there to use it").unwrap();
        home.write_wallet();
        home.configure("");
        home
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("miner.toml")
    }

    fn write_wallet(&self) {
        let path = self.path().join(".bittensor/wallets/w/hotkeys");
        std::fs::create_dir_all(&path).unwrap();
        let pair = Keypair::from_seed(&[9; 32]).unwrap();
        // Shows that the pair can sign, before a program is asked to.
        assert!(pair.sign(b"x", EntropyRng(&OsEntropy)).verifies(&pair.hotkey(), b"x"));
        let public = hex::encode(pair.hotkey().as_bytes());
        let secret = hex::encode(*pair.to_secret_bytes());
        let json = serde_json::json!({
            "accountId": format!("0x{public}"), "publicKey": format!("0x{public}"),
            "privateKey": format!("0x{secret}"), "secretSeed": format!("0x{}", "09".repeat(32)),
            "ss58Address": pair.hotkey().to_string(),
        });
        std::fs::write(path.join("h"), json.to_string()).unwrap();
        std::fs::set_permissions(path.join("h"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Wallets::in_home(self.path()).hotkey("w", "h", &NoPassword).unwrap();
    }

    /// Writes the configuration; `more` comes first, so that it can open the same sections.
    fn configure(&self, more: &str) {
        let home = self.path().display();
        let text = format!(
            "{more}\n[bittensor]\nwallet_name = \"w\"\nhotkey_name = \"h\"\nnetwork = \"local\"\nread_only = true\n\
             chain_endpoint = \"ws://127.0.0.1:1\"\n[database]\nurl = \"sqlite://{home}/data/miner.db\"\n\
             [ssh_session]\nminer_node_key_path = \"{home}/node_key\"\n"
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_basilica-miner"));
        command
            .env_clear()
            .env("HOME", self.path())
            .env("RUST_BACKTRACE", "1")
            .arg("--config")
            .arg(self.config());
        for (section, value) in [
            ("VALIDATOR_COMMS__HOST", "127.0.0.1"),
            ("VALIDATOR_COMMS__PORT", "0"),
            ("METRICS__PROMETHEUS__PORT", "0"),
            ("HEALTH__LISTEN", "127.0.0.1:0"),
        ] {
            command.env(format!("BASILICA_{section}"), value);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command().args(arguments).output().unwrap())
    }
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ended {
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in:\n{}", self.err);
        }
        assert!(!self.err.contains("panicked") && !self.err.contains("stack backtrace"), "{}", self.err);
    }
}

/// A running miner, killed when the test ends.
struct Running {
    child: Child,
    health: SocketAddr,
}

impl Running {
    fn start(home: &Home) -> Self {
        Self::spawn(home.command())
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        // The log goes to one of the two; the first line of either that names the addresses is waited for.
        let (found, lines) = std::sync::mpsc::sync_channel(1);
        for stream in [Box::new(out) as Box<dyn std::io::Read + Send>, Box::new(err)] {
            let found = found.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if line.contains("basilica-miner starts") {
                        let _ = found.try_send(line);
                    }
                }
            });
        }
        let line = lines.recv_timeout(std::time::Duration::from_secs(20)).expect("the miner starts");
        let line: Value = serde_json::from_str(&line).unwrap();
        let health = line["fields"]["health"].as_str().or_else(|| line["health"].as_str()).unwrap();
        Self { child, health: health.parse().unwrap() }
    }

    fn get(&self, path: &str) -> (String, String) {
        self.try_get(path).expect("the miner answers")
    }

    /// None while it does not listen yet.
    fn try_get(&self, path: &str) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(self.health).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.lines().next()?.to_owned(), body.to_owned()))
    }

    /// As an operator ends it.
    fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_missing_database_directory_is_named() {
    let home = Home::new();
    std::fs::remove_dir(home.path().join("data")).unwrap();
    home.run(&[]).fails(1, &["unable to open database file", "data does not exist", "mkdir -p"]);
}

#[test]
fn an_occupied_port_is_named() {
    let home = Home::new();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap();
    for (variable, value, key) in [
        ("BASILICA_VALIDATOR_COMMS__PORT", address.port().to_string(), "validator_comms.port"),
        ("BASILICA_METRICS__PROMETHEUS__PORT", address.port().to_string(), "metrics.prometheus.port: "),
        ("BASILICA_HEALTH__LISTEN", address.to_string(), "health.listen: "),
    ] {
        let ended = Ended::from(home.command().env(variable, &value).output().unwrap());
        ended.fails(1, &[&address.to_string(), "in use", key]);
        let doctor = home.command().env(variable, value).args(["doctor", "--quick"]).output().unwrap();
        let named = format!("set another port in {}", key.trim_end_matches(": "));
        let told = Ended::from(doctor).out;
        assert!(told.contains(&named), "{named}: {told}");
    }
}

#[test]
fn an_address_of_another_host_is_no_place_to_listen() {
    let home = Home::new();
    // Documentation's own network.
    let ended =
        Ended::from(home.command().env("BASILICA_VALIDATOR_COMMS__HOST", "192.0.2.1").output().unwrap());
    ended.fails(1, &["192.0.2.1:0 is not an address of this host; configure one that is"]);
}

#[test]
fn without_a_chain_it_lives_but_is_not_ready_and_stops_in_order() {
    let home = Home::new();
    let mut running = Running::start(&home);
    assert!(running.get("/live").0.contains("200"));
    let (status, body) = running.get("/ready");
    assert!(status.contains("503") && body.contains("metagraph"), "{status} {body}");
    running.terminate();
}

#[test]
fn its_log_is_as_the_configuration_says_and_health_answers_on_a_second_port() {
    let home = Home::new();
    home.configure("[logging]\nlevel = \"error\"");
    let compat = free_address();
    let mut command = home.command();
    command.env("BASILICA_HEALTH__LISTEN", SocketAddr::new(compat.ip(), 0).to_string());
    command.env("BASILICA_HEALTH__COMPAT_PORT", compat.port().to_string());
    command.env("RUST_LOG", "info");
    let mut running = Running::spawn(command);
    running.health = compat;
    assert!(running.get("/health").1.contains("status"));
    running.terminate();
    // Without RUST_LOG the level counts: the notice about read_only is a warning, and stays out.
    std::fs::remove_dir_all(home.path().join(".bittensor")).unwrap();
    let quiet = home.run(&[]);
    assert_eq!(quiet.err.lines().count(), 1, "{}", quiet.err);
    home.configure("[logging]\nformat = \"json\"");
    let json = home.run(&[]);
    let first: Value = serde_json::from_str(json.err.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "WARN", "{first}");
}

#[tokio::test]
async fn it_lives_on_when_nobody_reads_its_log() {
    let home = Home::new();
    let health = free_address();
    let mut command = home.command();
    command.env("BASILICA_HEALTH__LISTEN", health.to_string()).arg("-v");
    let mut running = Running { child: spawn_unread(&mut command), health };
    eventually("it asks the chain, and says so to nobody", || {
        running.try_get("/ready").is_some_and(|(_, body)| body.contains("the chain does not answer"))
    })
    .await;
    running.terminate();
}

#[test]
fn commands_end_as_they_should_when_nobody_reads_their_answer() {
    let home = Home::new();
    for (arguments, code) in [
        (["config", "validate"].as_slice(), 0),
        (&["config", "show"], 0),
        (&["config", "validate", "--path", "/nowhere"], 78),
        (&["--json", "frobnicate"], 2),
        (&["--help"], 0),
        (&["--gen-config"], 0),
    ] {
        let mut child = spawn_unread(home.command().args(arguments));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn status_and_migrate_answer_in_words_and_in_json() {
    let home = Home::new();
    for question in [&["status"][..], &["host-key", "list"]] {
        let told = home.run(question);
        told.fails(1, &[]);
        let said = format!("{}{}", told.out, told.err);
        for words in ["basilica-miner has not run yet", " database migrate`"] {
            assert!(said.contains(words), "{said}");
        }
        assert!(!home.path().join("data/miner.db").exists(), "a question leaves no file behind");
    }
    assert!(home.run(&["migrate"]).out.contains("database migrated from schema 0 to"));
    assert!(home.run(&["migrate"]).out.contains("already"));
    let json: Value = serde_json::from_str(&home.run(&["--json", "status"]).out).unwrap();
    assert_eq!((&json["running"], &json["open_sessions"]), (&Value::from(false), &Value::from(0)));
    let down = home.run(&["status"]);
    assert!(down.out.contains("not running"), "{}", down.out);
    down.fails(1, &["health address"]);
    let nobody = free_address().to_string();
    home.run(&["top", "--address", &nobody])
        .fails(1, &["no miner tells its status on", &nobody, "is it running"]);
}

#[test]
fn approving_a_host_key_that_nobody_offers_is_refused() {
    let home = Home::new();
    home.run(&["migrate"]);
    home.run(&["host-key", "approve", "gpu@node.example:22", "SHA256:x"]).fails(1, &["there is no node"]);
    home.run(&["host-key", "approve", "nonsense", "SHA256:x"]).fails(1, &["there is no node"]);
}

#[test]
fn host_keys_of_the_configuration_are_listed_too() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let home = Home::new();
    let nodes = format!("nodes = [{{ host = \"node.example\", username = \"gpu\", host_key = \"{KEY}\" }}]");
    home.configure(&format!("[node_management]\n{nodes}"));
    home.run(&["migrate"]);
    let listed = home.run(&["host-key", "list"]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    assert!(listed.out.contains("gpu@node.example:22  SHA256:"), "{}", listed.out);
    assert!(listed.out.contains("from the configuration"), "{}", listed.out);
    let json: Value = serde_json::from_str(&home.run(&["--json", "host-key", "list"]).out).unwrap();
    assert_eq!((json[0]["configured"].as_bool(), json[0]["offered"].is_null()), (Some(true), true));
}

#[test]
fn with_json_a_failure_is_one_json_object() {
    let home = Home::new();
    home.configure("[validator_coms]\nport = 1");
    for (arguments, code, words) in [
        (["--json", "config", "validate"].as_slice(), 78, "miner.toml:1:"),
        (&["--json"], 78, "miner.toml:1:"),
        (&["--json", "frobnicate"], 2, "unrecognized subcommand"),
    ] {
        let ended = home.run(arguments);
        ended.fails(code, &[words]);
        let error: Value = serde_json::from_str(&ended.err).unwrap();
        assert_eq!(error["exit_code"], code);
    }
}

#[test]
fn a_wrong_command_line_is_usage() {
    Home::new().run(&["frobnicate"]).fails(2, &["frobnicate"]);
    Home::new().run(&["--gen-config", "status"]).fails(2, &["takes no command"]);
}

#[test]
fn help_documents_the_exit_codes() {
    let help = Home::new().run(&["--help"]).out;
    assert!(help.contains("78  wrong configuration"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}

#[test]
fn an_answer_that_a_full_disk_does_not_take_is_a_failure() {
    let home = Home::new();
    for arguments in [["--help"].as_slice(), &["--gen-config"], &["config", "show"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = Ended::from(home.command().args(arguments).stdout(full).output().unwrap());
        ended.fails(1, &["write to standard output"]);
    }
}

#[test]
fn it_may_open_as_many_files_as_the_system_lets_it() {
    let home = Home::new();
    let direct = home.command();
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", "ulimit -Sn 200 && exec \"$0\" \"$@\""])
        .arg(direct.get_program())
        .args(direct.get_args())
        .env_clear()
        .envs(direct.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let running = Running::spawn(limited);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    assert_ne!(numbers[0], "200", "the test's own limit is too low to show anything");
}
