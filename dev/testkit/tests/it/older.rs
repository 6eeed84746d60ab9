//! docs/seed-compatibility.md against the programs: each row says what comes of something that older guides have their readers type, write or
//! look for, and each is tried.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use basilica_testkit::{built, write_wallet};
use basilica_types::SshPublicKey;

use crate::printed::printed_by_the_miner;

const PAGE: &str = include_str!("../../../../docs/seed-compatibility.md");

/// A row: what it is about, what comes of it, and the words on the right.
struct Row {
    subject: &'static str,
    outcome: &'static str,
    words: &'static str,
}

impl Row {
    /// What the words on the right quote.
    fn quoted(&self) -> impl Iterator<Item = &'static str> {
        self.words.split('`').skip(1).step_by(2)
    }
}

fn rows(section: &str) -> Vec<Row> {
    let (_, rest) = PAGE.split_once(&format!("\n## {section}\n")).expect("the section");
    let lines = rest.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<Row> = lines
        .map(|line| {
            let (subject, rest) = line.split_once("` | ").unwrap_or_else(|| panic!("{line}"));
            let (outcome, words) = rest.split_once(" |").unwrap_or_else(|| panic!("{line}"));
            Row { subject, outcome, words }
        })
        .collect();
    assert!(!rows.is_empty(), "{section} has rows");
    rows
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn miner(arguments: &[&str]) -> Output {
    Command::new(built("basilica-miner")).args(arguments).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn every_command_of_older_guides_is_one_or_is_refused_with_these_words() {
    for row in rows("Commands") {
        let line = row.subject.strip_prefix("basilica-miner ").expect("a command of the miner");
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if row.outcome == "refused" {
            let output = miner(&words);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{line}: {said}");
            assert!(row.quoted().next().is_some_and(|words| said.contains(words)), "{line}: {said}");
            continue;
        }
        // The one flag that takes no other.
        if line != "--gen-config" {
            words.push("--help");
        }
        let output = miner(&words);
        assert!(output.status.success(), "{line}: {}", said(&output));
        if row.outcome == "differs" {
            let flag = row.quoted().next().and_then(|words| words.split(' ').next()).unwrap();
            assert!(said(&output).contains(flag), "{line}: {}", said(&output));
        }
    }
}

#[test]
fn every_file_of_older_guides_is_there() {
    for row in rows("Scripts and files") {
        assert!(root().join(row.subject).is_file(), "{}", row.subject);
    }
}

/// A home with a wallet and a key, and configurations in it.
pub(crate) struct Home(pub(crate) tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let wallets = home.0.path().join(".bittensor");
        write_wallet(&wallets, "your_wallet", "//Miner1");
        let hotkeys = wallets.join("wallets/your_wallet/hotkeys");
        std::fs::copy(hotkeys.join("default"), hotkeys.join("your_hotkey")).unwrap();
        std::fs::create_dir(home.0.path().join(".ssh")).unwrap();
        let key = home.0.path().join(".ssh/miner_node_key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        home
    }

    /// Writes a configuration that has `row` in place of what it would have there.
    pub(crate) fn configure(&self, row: &str) {
        let database = format!("database.url = \"sqlite://{}/miner.db\"", self.0.path().display());
        let usual = [
            "bittensor.wallet_name = \"your_wallet\"",
            "bittensor.hotkey_name = \"your_hotkey\"",
            "bittensor.external_ip = \"203.0.113.45\"",
            &database,
            "node_management.nodes = [{ host = \"gpu-1.example.com\", username = \"basilica\", hourly_rate_per_gpu = 2.5 }]",
        ];
        let key = |line: &str| line.split(" = ").next().unwrap().to_owned();
        let kept = usual.into_iter().filter(|line| key(line) != key(row));
        let text: Vec<&str> = kept.chain([row]).collect();
        std::fs::write(self.0.path().join("miner.toml"), text.join("\n")).unwrap();
    }

    pub(crate) fn run(&self, variable: Option<&str>, arguments: &[&str]) -> Output {
        let mut command = Command::new(built("basilica-miner"));
        command.args(arguments).current_dir(self.0.path()).env_clear().env("HOME", self.0.path());
        command.envs(variable.map(|variable| variable.split_once('=').unwrap()));
        command.output().unwrap()
    }
}

#[test]
fn every_key_of_older_guides_is_taken_or_answered_with_what_to_do() {
    let home = Home::new();
    for row in rows("Configuration") {
        home.configure(row.subject);
        let output = home.run(None, &["config", "validate"]);
        let (said, subject) = (said(&output), row.subject);
        let key = subject.split(" = ").next().unwrap();
        let warned = said.lines().any(|line| line.contains("warning") && line.contains(key));
        if row.outcome == "refused" {
            assert_eq!(output.status.code(), Some(78), "{subject}: {said}");
            assert!(row.quoted().next().is_some_and(|words| said.contains(words)), "{subject}: {said}");
            continue;
        }
        // That the directory of the guides' database is not on this machine is no fault of the key.
        let valid = output.status.success() || said.contains("is valid, but");
        assert!(valid, "{subject}: {said}");
        let expected = row.outcome == "ignored" || row.outcome.ends_with("with a warning");
        assert_eq!(warned, expected, "{subject}: {said}");
    }
}

#[test]
fn every_variable_of_older_guides_counts() {
    let home = Home::new();
    home.configure("bittensor.netuid = 39");
    for row in rows("Environment") {
        let shown = said(&home.run(Some(row.subject), &["config", "show"]));
        assert!(shown.contains("bittensor.netuid = 387"), "{}: {shown}", row.subject);
        let checked = said(&home.run(Some(row.subject), &["config", "validate"]));
        let expected = row.outcome.ends_with("with a warning");
        assert_eq!(checked.contains("misspelt"), expected, "{}: {checked}", row.subject);
    }
}

/// Runs what older guides have in a script, in the home.
fn shell(home: &Home, script: &str) {
    let done = Command::new("sh").args(["-euc", script]).current_dir(home.0.path()).status().unwrap();
    assert!(done.success(), "{script}");
}

#[test]
fn lines_for_the_shell_do_what_their_rows_say() {
    let rows = rows("Lines for the shell");
    let row = |start: &str| rows.iter().find(|row| row.subject.starts_with(start)).expect("its row");
    let cargo = row("cargo run").subject.strip_prefix("cargo run -p basilica-miner -- ").unwrap();
    let output = miner(&cargo.split(' ').chain(["--help"]).collect::<Vec<_>>());
    assert!(output.status.success() && root().join("bins/basilica-miner/Cargo.toml").is_file(), "{output:?}");

    let home = Home::new();
    home.configure("bittensor.netuid = 39");
    // What `sqlite3 ".backup"` does, by the same call of the same library.
    assert!(row("sqlite3").outcome == "works" && row("sqlite3").words.contains("database restore --from"));
    assert!(home.run(None, &["database", "migrate"]).status.success());
    let backup = "import sqlite3; sqlite3.connect('miner.db').backup(sqlite3.connect('old.db'))";
    shell(&home, &format!("python3 -c \"{backup}\"; mkdir away; mv miner.db* away"));
    let restored = home.run(None, &["database", "restore", "--from", "old.db"]);
    assert!(restored.status.success(), "{}", said(&restored));
    let health = home.run(None, &["database", "health"]);
    assert!(said(&health).contains(" is healthy; schema "), "{}", said(&health));

    // The guides' script for a new key, with two keys that are made and a node that is not asked.
    let end = row("mv ");
    let script = "cp .ssh/miner_node_key .ssh/miner_node_key.new; OLD_KEY=.ssh/miner_node_key; NEW_KEY=$OLD_KEY.new; \
                  printf '\\n%s\\n' 'ssh_session.miner_node_key_path = \"~/.ssh/miner_node_key\"' >>miner.toml; \
                  sed -i 's/miner_node_key\"/miner_node_key.new\"/' miner.toml; rm $OLD_KEY; ";
    shell(&home, &format!("{script}{}", end.subject));
    let refused = home.run(None, &["config", "validate"]);
    let mut words = end.quoted().nth(1).unwrap().split(" … ");
    assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
    assert!(words.all(|words| said(&refused).contains(words)), "{}", said(&refused));
    // Ours makes the directory that a unit of the guides wants to be there.
    let unit = std::fs::read_to_string(root().join("deploy/systemd/basilica-miner.service")).unwrap();
    assert!(
        row("ReadWritePaths").subject.ends_with(" /var/log/basilica")
            && unit.contains("\nLogsDirectory=basilica\n")
    );
}

#[test]
fn the_types_of_validators_keys_are_taken_or_refused_as_the_rows_say() {
    for row in rows("Validators' keys") {
        let kind = row.subject.strip_prefix("ecdsa-sha2-nistp256").map_or(row.subject, |_| "ecdsa");
        let folder = tempfile::tempdir().unwrap();
        let line = match kind {
            // No ssh-keygen of today makes one.
            "ssh-dss" => "ssh-dss AAAAB3NzaC1kc3M=".to_owned(),
            kind => {
                let kind = kind.trim_start_matches("ssh-");
                let key = folder.path().join("key");
                let made =
                    Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(&key).status();
                assert!(made.unwrap().success(), "{kind}");
                std::fs::read_to_string(key.with_extension("pub")).unwrap()
            }
        };
        assert!(line.starts_with(row.subject), "{line}");
        let taken: Result<SshPublicKey, _> = line.parse();
        match row.outcome {
            "works" => assert!(taken.is_ok(), "{line}: {taken:?}"),
            _ => {
                let why = taken.unwrap_err().to_string();
                assert!(row.quoted().next().is_some_and(|words| why.contains(words)), "{why}");
            }
        }
    }
}

/// Metrics that a miner with a validator and a GPU has to tell.
pub(crate) fn metrics() -> BTreeSet<String> {
    rows("Metrics").iter().map(|row| row.subject.to_owned()).collect()
}

/// The lines that lead to docker and its compose.
pub(crate) fn docker_lines() -> Vec<&'static str> {
    rows("Docker").iter().map(|row| row.subject).collect()
}

/// Pages of a running miner.
pub(crate) fn pages() -> Vec<&'static str> {
    rows("Ports and pages").iter().map(|row| row.subject).filter(|page| page.starts_with("http")).collect()
}

#[test]
fn every_message_of_older_guides_is_printed_or_told_why_not() {
    // Of the system, not of ours.
    const SYSTEM: &str = "Address already in use (os error 98)";
    let text = printed_by_the_miner();
    let can = |message: &str| message.split('…').map(str::trim).all(|part| text.contains(part));
    for Row { subject, outcome, words } in rows("Messages") {
        match outcome {
            "works" => assert!(can(subject) || subject == SYSTEM, "no program says {subject:?}"),
            "differs" => {
                let other = words.split('`').nth(1).expect("what is said instead");
                assert!(can(other), "no program says {other:?}");
            }
            _ => assert!(outcome == "absent" && !can(subject), "{subject:?} can be said"),
        }
    }
    assert_eq!(std::io::Error::from_raw_os_error(98).to_string(), SYSTEM);
}
