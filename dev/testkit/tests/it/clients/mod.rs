//! The clients that people use, unmodified from PyPI, on a development chain of either profile: what works, and how the
//! rest fails, is the table in docs/devchain-clients.md and nothing else.
//!
//! One test per client and profile compares its column. `BASILICA_UPDATE_DOCS=1` writes the columns instead, to be read
//! before they are committed. What a script tells of the chain after an operation must be found there by our own client
//! before the script goes on.

mod table;
mod tutorial;
mod witness;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use basilica_testkit::Devchain;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use table::{Cell, Table, WORKS, compare};
use witness::Witness;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/matrix");
/// Far above what a script takes on a busy machine: reaching it is a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(500);

/// A chain in everything as it starts without flags, but for the profile and epochs long enough to reveal in.
fn devchain(profile: &str) -> Devchain {
    Devchain::start(&json!({ "block_time_ms": 250, "tempo": 40 }), &["--profile", profile])
}

/// The Python that a variable names, or that lies beside the program it names.
fn python(variable: &str) -> PathBuf {
    let program = std::env::var_os(variable).unwrap_or_else(|| {
        panic!(
            "{variable} is not set: it names a program of a client from PyPI; `cargo xtask test` makes them"
        )
    });
    Path::new(&program).with_file_name("python")
}

/// A client's Python in a folder of its own: clients cache metadata by genesis and version, and keep settings and wallets
/// at home.
fn client(python: &Path, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("BITTENSOR_RUNTIME_CACHE_DIR", folder.join("cache"))
        .envs([("NO_CACHE", "1"), ("NO_COLOR", "1"), ("COLUMNS", "1000")])
        .kill_on_drop(true);
    command
}

/// What each operation of a script came to, in its order. What it tells of the chain is looked up before it goes on.
async fn results(variable: &str, script: &str, profile: &str) -> Vec<Cell> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let devchain = devchain(profile);
    let complaints = folder.path().join("complaints");
    let mut child = client(&python(variable), folder.path())
        .arg(Path::new(SCRIPTS).join(script))
        .args([&devchain.url, profile])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&complaints).expect("a file of its own"))
        .spawn()
        .expect("the client's Python runs");
    let witness = Witness::of(&devchain);
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut cells = Vec::new();
    while let Some(line) = lines.next_line().await.expect("its output can be read") {
        cells.push(judged(&witness, &serde_json::from_str(&line).expect("JSON")).await);
        // A script that is gone says below why.
        if stdin.write_all(b"seen\n").await.is_err() {
            break;
        }
    }
    let status = child.wait().await.expect("it ends");
    let complaints = std::fs::read_to_string(complaints).unwrap_or_default();
    assert!(status.success() && cells.len() > 1, "{script}: {status} after {cells:?}: {complaints}");
    cells
}

/// An operation and its cell; what it told is true.
async fn judged(witness: &Witness<'_>, line: &Value) -> Cell {
    let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let operation = field("operation");
    if field("outcome") != "ok" {
        let words: String = field("message").replace('|', "/").chars().take(160).collect();
        return (operation, format!("`{}`: {}", field("error"), words.trim()));
    }
    let facts = line["facts"].as_array().expect("facts are a list");
    assert!(!facts.is_empty(), "{operation} worked, but told nothing that can be looked up");
    for fact in facts {
        if let Err(otherwise) = witness.see(fact).await {
            panic!("{operation} told {fact}, but {otherwise}");
        }
    }
    (operation, WORKS.to_owned())
}

macro_rules! cells {
    ($($name:ident: $variable:literal, $script:literal, $profile:literal, $column:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let results = tokio::time::timeout(PATIENCE, results($variable, $script, $profile));
            compare($column, &results.await.expect("the script comes to its end"));
        }
    )*};
}

cells! {
    bittensor_11_on_newest: "BASILICA_SDK_PYTHON", "sdk11.py", "newest", "11.3.0, newest";
    bittensor_11_on_legacy: "BASILICA_SDK_PYTHON", "sdk11.py", "legacy", "11.3.0, legacy";
    bittensor_10_on_newest: "BASILICA_SDK10_PYTHON", "sdk10.py", "newest", "10.5.0, newest";
    bittensor_10_on_legacy: "BASILICA_SDK10_PYTHON", "sdk10.py", "legacy", "10.5.0, legacy";
    btcli_on_newest: "BASILICA_BTCLI", "btcli.py", "newest", "btcli 9.23.2, newest";
    btcli_on_legacy: "BASILICA_BTCLI", "btcli.py", "legacy", "btcli 9.23.2, legacy";
}

/// What a client cannot do on any chain, the public one included.
const BROKEN_ITSELF: &[(&str, &str)] = &[("btcli 9.23.2, newest", "commit weights (hash)")];

#[test]
fn every_client_works_in_newest() {
    let table = Table::of_the_page();
    for column in ["11.3.0, newest", "10.5.0, newest", "btcli 9.23.2, newest"] {
        let cells = table.column(column);
        let broken: Vec<_> = cells
            .iter()
            .filter(|(operation, cell)| cell != WORKS && !BROKEN_ITSELF.contains(&(column, operation)))
            .collect();
        assert!(cells.len() > 10 && broken.is_empty(), "{column}: {broken:#?} of {}", cells.len());
    }
}

/// `btcli weights commit` asks for storage under the names that functions have in the public chain's source.
#[test]
fn the_item_that_btcli_misses_is_missing_on_the_public_chain_too() {
    let path = std::env::var_os("BASILICA_FINNEY_METADATA").expect(
        "BASILICA_FINNEY_METADATA names the public chain's metadata of spec 365; `cargo xtask test` fetches it",
    );
    let metadata = std::fs::read(path).expect("the metadata can be read");
    let has = |name: &str| metadata.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(has("CommitRevealWeightsEnabled") && !has("get_commit_reveal_weights_enabled"));
}
