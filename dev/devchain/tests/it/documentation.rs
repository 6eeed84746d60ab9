//! docs/devchain.md against the program: what it names exists, what exists is named, and what it shows runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use basilica_devchain::faults::Faults;
use basilica_devchain::genesis::Settings;
use basilica_devchain::rpc::server;
use basilica_devchain::runtime::{RuntimeCall, drand};
use frame_support::traits::GetCallMetadata as _;
use serde_json::{Value, json};

use crate::raw::post;
use crate::support::{Client, Devchain, PATIENCE, command};

/// Between two looks at a file.
const POLL: Duration = Duration::from_millis(20);
const PAGE: &str = include_str!("../../../../docs/devchain.md");

/// What stands in backticks within the text.
fn quoted() -> impl Iterator<Item = &'static str> {
    // Every second part between the fences of blocks is text.
    PAGE.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// What stands in backticks and begins like this, up to the first blank.
fn beginning(begin: &str) -> BTreeSet<String> {
    quoted()
        .filter(|quoted| quoted.starts_with(begin))
        .filter_map(|quoted| quoted.split([' ', '"']).next())
        .map(str::to_owned)
        .collect()
}

/// The blocks of a kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).collect()
}

/// The first column of the table that begins with this head.
fn column(head: &str) -> BTreeSet<String> {
    let (_, table) = PAGE.split_once(&format!("| {head} |")).expect("a table");
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| line.split('|').nth(1).unwrap_or("").split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The names that serde offers instead of one that does not exist.
fn offered(message: &str) -> BTreeSet<String> {
    let (_, names) = message.split_once("expected one of ").expect("a list of names");
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

async fn methods(client: &Client) -> BTreeSet<String> {
    let listed = client.call("rpc_methods", json!([])).await;
    listed["methods"].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn every_setter_is_documented_and_every_documented_one_exists() {
    let calls = RuntimeCall::get_call_names("AdminUtils").iter().map(|name| (*name).to_owned());
    assert_eq!(beginning("sudo_set_"), calls.collect());
}

#[tokio::test]
async fn every_method_is_documented_and_every_documented_one_exists() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let served = methods(&chain.client().await).await;
    let (controls, others): (BTreeSet<_>, BTreeSet<_>) =
        served.into_iter().partition(|name| name.starts_with("dev_"));
    assert_eq!(column("method"), controls);
    assert_eq!(column("methods"), others);
    let mut named = beginning("dev_");
    assert!(named.remove("dev_*"));
    assert_eq!(named, controls);
}

#[test]
fn every_flag_is_documented_and_every_documented_one_exists() {
    let output = command().arg("--help").output().expect("runs");
    let help = String::from_utf8(output.stdout).expect("text");
    let flags: BTreeSet<String> = help
        .lines()
        .filter_map(|line| {
            line.trim_start().strip_prefix("--").or_else(|| line.trim_start().strip_prefix("-h, --"))
        })
        .filter_map(|rest| rest.split([' ', ',']).next())
        .filter(|name| !["help", "version"].contains(name))
        .map(|name| format!("--{name}"))
        .collect();
    let first_words = |names: BTreeSet<String>| -> BTreeSet<String> {
        names.iter().filter_map(|name| name.split(' ').next()).map(str::to_owned).collect()
    };
    let mut documented = first_words(column("flag"));
    // The name of another flag stands in the description of one.
    documented.retain(|name| name.starts_with("--"));
    assert_eq!(documented, flags);
    for flag in beginning("--") {
        assert!(
            flags.contains(&flag) || ["--locked", "--seed"].contains(&flag.as_str()),
            "{flag} does not exist"
        );
    }
    for control in beginning("dev_").iter().filter(|name| help.contains(name.as_str())) {
        assert!(column("method").contains(control) || control == "dev_*");
    }
}

#[tokio::test]
async fn help_names_its_groups_examples_and_exit_codes() {
    let output = command().arg("--help").output().expect("runs");
    let help = String::from_utf8(output.stdout).expect("text");
    for part in ["Network:", "Blocks:", "Chain:", "State:", "Faults:", "Output:", "Examples:", "Exit codes:"]
    {
        assert!(help.contains(part), "{part} is missing");
    }
    let examples: Vec<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  basilica-devchain")).collect();
    assert!(examples.len() >= 5);
    for example in examples {
        runs(&format!("basilica-devchain{example}"), tempfile::tempdir().expect("a directory").path()).await;
    }
}

#[test]
fn exit_codes_are_as_documented() {
    let usage = command().arg("--no-such-flag").output().expect("runs");
    assert_eq!(usage.status.code(), Some(2));
    let both = command().args(["--json", "--silent"]).output().expect("runs");
    assert_eq!(both.status.code(), Some(2));
    let missing = command().args(["--genesis", "/nonexistent/genesis.json"]).output().expect("runs");
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).starts_with("error: "));
    assert_eq!(Devchain::start(&[]).terminate(), Some(0));
}

#[test]
fn every_field_of_the_genesis_file_is_documented_and_the_example_is_taken() {
    let error = serde_json::from_str::<Settings>(r#"{"no_such_field":1}"#).expect_err("no such field");
    assert_eq!(column("field"), offered(&error.to_string()));
    let [example] = blocks("json")[..] else { panic!("one example of a genesis file") };
    let settings: Settings = serde_json::from_str(example).expect("settings");
    settings.resolve().expect("settings that a chain can begin with");
}

#[test]
fn every_fault_and_change_is_documented_and_every_recipe_is_taken() {
    let faults = Faults::new(0);
    let unknown = faults.add(json!({ "kind": "none" })).expect_err("no such kind");
    assert_eq!(column("kind"), offered(&unknown.to_string()));
    let recipes: Vec<&str> = quoted().filter(|quoted| quoted.starts_with("{\"kind\"")).collect();
    assert!(recipes.len() >= 7);
    for recipe in recipes {
        let spec = serde_json::from_str(recipe).expect("JSON");
        faults.add(spec).unwrap_or_else(|error| panic!("{recipe}: {error}"));
    }
}

#[tokio::test]
async fn every_change_of_an_upgrade_is_documented_and_the_examples_are_taken() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let unknown = client.refusal("dev_upgradeRuntime", json!({ "changes": [{ "change": "none" }] })).await;
    assert_eq!(column("change"), offered(&unknown.1));
    let examples: Vec<&str> = quoted().filter(|quoted| quoted.starts_with("{\"changes\"")).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        client.call("dev_upgradeRuntime", serde_json::from_str(example).expect("JSON")).await;
    }
}

#[test]
fn the_key_of_the_beacon_is_the_one_that_is_printed() {
    let key = hex::encode(drand::development_key().as_bytes());
    assert_eq!(blocks("key"), [format!("{key}\n")]);
    assert!(Devchain::start(&[]).printed.iter().any(|line| line.ends_with(&key)));
}

#[test]
fn bounds_are_as_documented() {
    for bound in [
        format!("{} connections", server::MAX_CONNECTIONS),
        format!("{} sockets", server::MAX_SOCKETS),
        format!("{} MiB; 1,000 in a batch", server::MAX_REQUEST >> 20),
        format!("{} MiB, then -32008", server::MAX_RESPONSE >> 20),
    ] {
        let (number, words) = bound.split_once(' ').expect("two parts");
        let near = PAGE.lines().any(|line| {
            line.starts_with('|') && line.contains(number) && words.split(' ').all(|word| line.contains(word))
        });
        assert!(near, "{bound} is not documented");
    }
    assert_eq!((server::MAX_BATCH, server::MAX_SUBSCRIPTIONS), (1_000, 1_024));
}

/// Whether an answer is what the page shows, where `…` stands for anything.
fn like(shown: &Value, answer: &Value) -> bool {
    match (shown, answer) {
        (Value::String(any), _) if any == "…" => true,
        (Value::Object(shown), Value::Object(answer)) => {
            shown.len() == answer.len()
                && shown
                    .iter()
                    .all(|(name, shown)| answer.get(name).is_some_and(|answer| like(shown, answer)))
        }
        (Value::Array(shown), Value::Array(answer)) => {
            shown.len() == answer.len() && shown.iter().zip(answer).all(|(shown, answer)| like(shown, answer))
        }
        _ => shown == answer,
    }
}

#[tokio::test]
async fn the_session_runs_as_it_is_shown() {
    assert!(PAGE.contains("A session with `--mining manual --finality-lag 8`"));
    let chain = Devchain::start(&["--mining", "manual", "--finality-lag", "8"]);
    let client = chain.client().await;
    let mut shown_methods = BTreeSet::new();
    for line in blocks("session").iter().flat_map(|block| block.lines()) {
        let (request, shown) = line.split_once(" → ").unwrap_or_else(|| panic!("{line}"));
        let (method, params) = request.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (params, shown) = (params.trim(), serde_json::from_str(shown).expect("JSON"));
        let answer = client.call(method, serde_json::from_str(params).expect("JSON")).await;
        assert!(like(&shown, &answer), "{line}: {answer}");
        shown_methods.insert(method.to_owned());
    }
    assert_eq!(shown_methods, column("method"));
}

/// Starts a chain as a command says, but on a free port, and waits until it listens.
async fn runs(line: &str, directory: &Path) {
    let address = directory.join("where it listens");
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("basilica-devchain"), "{line}");
    let mut child = command()
        .args(words)
        .args(["--listen", "127.0.0.1:0", "--print-addr", address.to_str().expect("a plain path")])
        .current_dir(directory)
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut ended = None;
    let listening = async {
        while !address.exists() && ended.is_none() {
            ended = child.try_wait().expect("is a child");
            // A file cannot be waited for otherwise.
            tokio::time::sleep(POLL).await;
        }
    };
    // What was not there in time is told below.
    let _ = tokio::time::timeout(PATIENCE, listening).await;
    let listens = address.exists();
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
    assert!(listens, "{line} ended with {ended:?}");
}

#[tokio::test]
async fn every_command_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let [genesis] = blocks("json")[..] else { panic!("one example of a genesis file") };
    std::fs::write(directory.path().join("genesis.json"), genesis).expect("writes");
    let chain = Devchain::start(&["--mining", "manual"]);
    let mut started = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let here = line.replace("ws://127.0.0.1:9944", &chain.url);
        match line.split(' ').next().unwrap_or("") {
            "basilica-devchain" => {
                runs(line, directory.path()).await;
                started += 1;
            }
            // What cargo runs so is what this test runs.
            "cargo" => {
                assert_eq!(line, concat!("cargo run -p ", env!("CARGO_PKG_NAME")));
                runs(env!("CARGO_PKG_NAME"), directory.path()).await;
                started += 1;
            }
            "curl" => {
                assert!(
                    line.contains(" http://127.0.0.1:9944 ")
                        && line.contains("'content-type: application/json'")
                );
                let (_, body) = line.split_once("-d '").expect("a body");
                let answer = post(&chain, body.trim_end_matches('\'').as_bytes());
                assert!(answer.contains("\"result\""), "{line}: {answer}");
            }
            "python" => {
                let python = std::env::var_os("BASILICA_SDK_PYTHON").expect(
                    "BASILICA_SDK_PYTHON names a Python with bittensor==11.3.0; `cargo xtask test` makes one",
                );
                let (_, program) = here.split_once("-c '").expect("a program");
                let program = program.trim_end_matches('\'');
                let output = Command::new(python).args(["-c", program]).output().expect("Python runs");
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && output.stdout.ends_with(b"\n"), "{line}: {errors}");
            }
            // btcli's commands are run by the matrix of SDKs.
            "btcli" => assert!(line.starts_with("btcli subnets list --network")),
            other => panic!("nothing runs {other}"),
        }
    }
    assert!(started >= 7, "{started}");
}
