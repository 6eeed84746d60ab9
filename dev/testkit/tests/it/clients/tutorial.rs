//! The commands of `btcli` that docs/devchain-clients.md shows step by step: each runs as it is written there, prints
//! what is shown under it, and leaves on the chain what our own client then finds.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use basilica_testkit::Devchain;
use serde_json::{Value, json};
use tokio::process::Command;

use super::client;
use super::table::PAGE;
use super::witness::Witness;
use crate::shown::prints;

const HEADING: &str = "\n## `btcli`, step by step\n";
/// Where the page has the chain listen.
const URL: &str = "ws://127.0.0.1:9944";
/// The sign by which `btcli` marks a failure; its exit code says nothing.
const FAILED: char = '\u{274c}';
/// Far above what one command takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command and the lines that are shown under it.
struct Step {
    command: String,
    shown: Vec<String>,
}

impl Step {
    fn of(blocks: &[&str]) -> Self {
        let [command, shown] = blocks else { panic!("a command without what it prints") };
        let command = command.strip_prefix("sh\n").unwrap_or_else(|| panic!("no command: {command}"));
        let shown = shown.strip_prefix("text\n").unwrap_or_else(|| panic!("no output: {shown}"));
        assert_eq!(command.lines().count(), 1, "one command in a block: {command}");
        assert!(!shown.trim().is_empty(), "nothing is shown under {command}");
        Self { command: command.trim_end().to_owned(), shown: shown.lines().map(str::to_owned).collect() }
    }
}

/// The steps of the page, in order.
fn steps(page: &str) -> Vec<Step> {
    let (_, section) = page.split_once(HEADING).expect("the page has the steps");
    let section = section.split("\n## ").next().unwrap_or(section);
    let blocks: Vec<&str> = section.split("```").skip(1).step_by(2).collect();
    blocks.chunks(2).map(Step::of).collect()
}

/// Runs a command as a person's shell would; all that it prints.
async fn run(program: &Path, folder: &Path, command: &str) -> String {
    let programs = program.parent().expect("it lies in a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    let mut shell: Command = client(Path::new("sh"), folder);
    let run = shell
        .args(["-c", command])
        .env("PATH", std::env::join_paths(path).expect("a path"))
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("it ends").expect("the shell runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
    assert!(output.status.success() && !said.contains(FAILED), "{command}: {}\n{said}", output.status);
    said
}

/// The address in a file of the wallet that the steps make.
fn address(folder: &Path, file: &str) -> String {
    let text = std::fs::read(folder.join("wallets/mine").join(file)).expect("the wallet is there");
    let wallet: Value = serde_json::from_slice(&text).expect("JSON");
    wallet["ss58Address"].as_str().expect("an address").to_owned()
}

#[tokio::test]
async fn the_steps_with_btcli_are_as_shown() {
    let program = std::env::var_os("BASILICA_BTCLI").expect(
        "BASILICA_BTCLI names btcli of bittensor-cli 9.23.2; `cargo xtask test` makes its environment",
    );
    let steps = steps(&std::fs::read_to_string(PAGE).expect("the page is there"));
    assert!(steps.len() >= 14, "{}", steps.len());
    let folder = tempfile::tempdir().expect("a temporary directory");
    // As it starts without flags, only faster.
    let devchain = Devchain::start(&json!({ "block_time_ms": 100 }), &[]);
    for Step { command, shown } in &steps {
        assert!(command.starts_with("btcli "), "{command}");
        let said = run(Path::new(&program), folder.path(), &command.replace(URL, &devchain.url)).await;
        for line in shown {
            assert!(prints(&said, line), "{command} does not print {line:?} but\n{said}");
        }
    }

    let hotkey = address(folder.path(), "hotkeys/defaultpub.txt");
    let coldkey = address(folder.path(), "coldkeypub.txt");
    let witness = Witness::of(&devchain);
    for fact in [
        json!({ "fact": "subnet", "neurons": 7 }),
        json!({ "fact": "neuron", "uid": 6, "hotkey": hotkey, "coldkey": coldkey, "axon": "127.0.0.2:9000" }),
        json!({ "fact": "stake", "hotkey": hotkey, "coldkey": coldkey, "at_least": 59_000_000_000u64,
                "below": 60_000_000_000u64 }),
    ] {
        witness.see(&fact).await.unwrap_or_else(|otherwise| panic!("{fact}, but {otherwise}"));
    }
}
