//! `doctor` and its sisters as a user runs them, on a machine without nodes: words, JSON and exit codes. What they find on nodes is tested
//! in `dev/testkit`, which has some.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use basilica_testkit::{free_address, write_wallet};
use serde_json::Value;

struct Home(tempfile::TempDir);

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    /// The codes of all findings here.
    fn here(&self) -> Vec<String> {
        let value: Value =
            serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err));
        let codes = value["here"].as_array().unwrap().iter();
        codes.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    }
}

impl Home {
    /// With one node at an address where nobody listens.
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.path().join("data")).unwrap();
        write_wallet(home.path(), "w", "//Miner");
        home.make_key("");
        let (node, directory) = (free_address(), home.path().display().to_string());
        let text = format!(
            "[bittensor]\nwallet_name = \"w\"\nhotkey_name = \"default\"\nwallet_path = \"{directory}/wallets\"\nnetwork = \"local\"\nread_only = true\n\
             chain_endpoint = \"ws://127.0.0.1:1\"\n[database]\nurl = \"sqlite://{directory}/data/miner.db\"\n\
             [ssh_session]\nminer_node_key_path = \"{directory}/node_key\"\n\
             [validator_comms]\nhost = \"127.0.0.1\"\nport = 0\n[health]\nlisten = \"127.0.0.1:0\"\n\
             [metrics]\nenabled = false\n\
             [node_management]\nnodes = [{{ host = \"127.0.0.1\", port = {}, username = \"node\" }}]\n",
            node.port()
        );
        std::fs::write(home.path().join("miner.toml"), text).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn key(&self) -> PathBuf {
        self.path().join("node_key")
    }

    fn make_key(&self, passphrase: &str) {
        for file in [self.key(), self.key().with_extension("pub")] {
            let _ = std::fs::remove_file(file);
        }
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
            .arg(self.key())
            .status()
            .unwrap();
        assert!(made.success());
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_basilica-miner"))
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .arg("--config")
            .arg(self.path().join("miner.toml"))
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ended = Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
        ended
    }
}

#[test]
fn every_way_in_which_the_key_file_is_unusable_has_its_code() {
    let home = Home::new();
    assert!(!home.run(&["doctor", "--quick", "--json"]).here().iter().any(|code| code.starts_with("key-")));
    home.make_key("secret words");
    assert!(home.run(&["doctor", "--quick", "--json"]).here().contains(&"key-passphrase".to_owned()));
    std::fs::write(home.key(), "ssh-ed25519 AAAA").unwrap();
    assert!(home.run(&["doctor", "--quick", "--json"]).here().contains(&"key-invalid".to_owned()));
    std::fs::remove_file(home.key()).unwrap();
    // Without the file the configuration is wrong, and says so.
    let missing = home.run(&["doctor", "--quick"]);
    assert_eq!(missing.code, Some(78));
    assert!(missing.err.contains("does not exist") && missing.err.contains("ssh-keygen"), "{}", missing.err);
}

#[test]
fn a_key_that_others_can_read_is_told_and_fixed() {
    let home = Home::new();
    std::fs::set_permissions(home.key(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = home.run(&["doctor", "--quick"]);
    assert_eq!(told.code, Some(78));
    for words in ["Permissions 0644 for", "are too open", "chmod 600"] {
        assert!(told.err.contains(words), "{words:?} is not in\n{}", told.err);
    }
    let fixed = home.run(&["doctor", "--quick", "--fix", "--json"]);
    assert!(!fixed.here().contains(&"key-too-open".to_owned()), "{}", fixed.out);
    assert!(fixed.err.contains("0644 -> 0600"), "{}", fixed.err);
    let mode = std::fs::metadata(home.key()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn what_is_wrong_is_told_in_words_and_in_json_with_an_exit_code() {
    let home = Home::new();
    let told = home.run(&["doctor", "--quick"]);
    assert_eq!(told.code, Some(1), "{}", told.err);
    for words in ["chain-unreachable", "port-closed", "Connection refused", "effect:", "docs/doctor.md"] {
        assert!(told.out.contains(words), "{words:?} is not in\n{}", told.out);
    }
    // Commands can be pasted: they name the configuration that was looked at.
    let named = format!("basilica-miner -c {}", home.path().join("miner.toml").display());
    let value: Value = serde_json::from_str(&home.run(&["doctor", "--quick", "--json"]).out).unwrap();
    let fixes =
        value["here"].as_array().unwrap().iter().flat_map(|finding| finding["fix"].as_array().unwrap());
    let fixes: Vec<&str> = fixes.map(|line| line.as_str().unwrap()).collect();
    assert!(fixes.iter().any(|line| line.contains(&named)), "{fixes:?}");
    assert_eq!(value["ok"], false);
    let finding = &value["nodes"][0]["findings"][0];
    assert_eq!(
        (finding["code"].as_str(), finding["severity"].as_str()),
        (Some("port-closed"), Some("error"))
    );
    assert!(finding["fix"].as_array().is_some_and(|lines| !lines.is_empty()));
    let unknown = home.run(&["doctor", "--node", "elsewhere"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("there is no node \"elsewhere\""), "{}", unknown.err);
    assert_eq!(home.run(&["doctor", "--admin-user", "root"]).code, Some(2), "without a key");
}

#[test]
fn the_sisters_say_less_and_end_the_same_way() {
    let home = Home::new();
    let health = home.run(&["health-check"]);
    assert_eq!(health.code, Some(1));
    for words in [
        "ok   wallet",
        "FAIL chain",
        "0 of 1 reachable; ",
        "(port-closed)",
        "FAIL gpus           unknown",
        "FAIL miner",
    ] {
        assert!(health.out.contains(words), "{words:?} is not in\n{}", health.out);
    }
    let ssh = home.run(&["service", "test-ssh"]);
    assert_eq!(ssh.code, Some(1));
    assert!(ssh.out.contains("Connection refused (port-closed)"), "{}", ssh.out);
    let chain = home.run(&["service", "test-bittensor"]);
    assert_eq!(chain.code, Some(1));
    assert!(chain.err.contains("ws://127.0.0.1:1"), "{}", chain.err);
    let file = home.path().join("miner.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let secret = "ws://user:hunter2@127.0.0.1:1/hunter2?token=hunter2";
    std::fs::write(&file, text.replace("ws://127.0.0.1:1", secret)).unwrap();
    for arguments in [&["-vvv"][..], &["--json"]] {
        let chain = home.run(&[arguments, &["service", "test-bittensor"]].concat());
        let said = chain.out + &chain.err;
        assert!(said.contains("ws://127.0.0.1:1") && !said.contains("hunter2"), "{said}");
    }
    home.make_key("secret words");
    let valid = home.run(&["config", "validate"]);
    assert!(
        valid.out.contains("no node can be reached") && valid.out.contains("passphrase"),
        "{}{}",
        valid.out,
        valid.err
    );
    let ssh = home.run(&["service", "test-ssh"]);
    assert!(ssh.err.contains("has a passphrase"), "{}", ssh.err);
}

#[test]
fn the_sisters_do_not_pass_where_there_is_nothing_to_try() {
    let home = Home::new();
    let file = home.path().join("miner.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (others, _) = text.split_once("[node_management]").unwrap();
    std::fs::write(&file, others).unwrap();
    let add = format!("basilica-miner -c {} nodes add USER@HOST", file.display());
    let todo = format!("none are configured: {add}");
    let health = home.run(&["health-check"]);
    assert_eq!((health.code, health.out.contains(&todo)), (Some(1), true), "{}", health.out);
    let ssh = home.run(&["service", "test-ssh"]);
    let todo = format!("no nodes are configured; add one with: {add}");
    assert_eq!((ssh.code, ssh.out.contains(&todo)), (Some(1), true), "{}{}", ssh.out, ssh.err);
    let told: Value = serde_json::from_str(&home.run(&["--json", "service", "test-ssh"]).out).unwrap();
    assert_eq!((&told["ok"], &told["nodes"]), (&Value::from(false), &serde_json::json!([])));
}

#[test]
fn whatever_is_wrong_with_the_database_has_its_code() {
    let home = Home::new();
    let file = home.path().join("data/miner.db");
    let found = || -> Vec<String> {
        let here = home.run(&["doctor", "--quick", "--json"]).here();
        let checked = home.run(&["health-check"]);
        let codes: Vec<String> = here.into_iter().filter(|code| code.starts_with("database-")).collect();
        assert_eq!(checked.out.contains("FAIL database"), !codes.is_empty(), "{}", checked.out);
        codes
    };
    assert_eq!(found(), [""; 0]);
    let checked = home.run(&["health-check"]);
    assert!(checked.out.contains("ok   database       there is none yet"), "{}", checked.out);
    assert_eq!(home.run(&["database", "migrate"]).code, Some(0));
    assert_eq!(found(), [""; 0]);
    let whole = std::fs::read(&file).unwrap();
    let written = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        std::fs::write(&file, changed).unwrap();
        found()
    };
    assert_eq!(written(4096, &[0xab; 4096]), ["database-damaged"]);
    let status = home.run(&["status"]);
    assert_eq!(status.code, Some(1));
    assert!(
        status.out.starts_with("not running\nnodes: 1\ndatabase: ") && status.out.contains("is damaged"),
        "{}",
        status.out
    );
    let status: Value = serde_json::from_str(&home.run(&["--json", "status"]).out).unwrap();
    assert!(status["database_error"].as_str().unwrap().contains("is damaged"), "{status}");
    // The places of SQLite's `user_version` and `application_id` in a file.
    assert_eq!(written(60, &[0, 0, 1, 0]), ["database-newer"]);
    assert_eq!(written(68, &[1, 2, 3, 4]), ["database-foreign"]);
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_dir_all(home.path().join("data")).unwrap();
    assert_eq!(found(), ["database-unwritable"]);
    std::fs::create_dir(home.path().join("data")).unwrap();
    let configuration = home.path().join("miner.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    let text = text.replace("[database]\n", "[database]\nrun_migrations = false\n");
    std::fs::write(&configuration, text).unwrap();
    assert_eq!(found(), ["database-outdated"]);
}
