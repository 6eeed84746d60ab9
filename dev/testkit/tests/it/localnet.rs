//! The whole network, run as a user runs it.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::net::SocketAddr;
use std::process::Command;

use basilica_localnet::{Cheat, Report, get_file, get_json};
use basilica_testkit::{Localnet, built};
use basilica_types::NodeAddress;
use serde_json::Value;

fn node<'a>(report: &'a Report, name: &str) -> &'a basilica_localnet::Node {
    report.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("{name} in {report:?}"))
}

/// What issue and README promise of the first settled weights.
fn assert_told_apart(report: &Report) {
    for honest in ["gpu-node-1", "gpu-node-2", "gpu-node-3"] {
        let node = node(report, honest);
        assert_eq!((node.verdict.as_str(), node.reason.as_str()), ("passed", "ok"), "{node:?}");
        assert!(node.score.is_some_and(|score| score > 0), "{node:?}");
    }
    let tampered = node(report, "gpu-node-4");
    assert_eq!((tampered.verdict.as_str(), tampered.score), ("failed", Some(0)), "{tampered:?}");
    assert!(tampered.reason.starts_with("proof_"), "the reason names the failed check: {tampered:?}");
    assert!(report.weights_match(), "{:?}", report.weights);
    for miner in ["miner-1", "miner-2"] {
        let row = report.weights.iter().find(|row| row.who == miner).expect("a weight for each miner");
        assert!(row.on_chain.is_some_and(|weight| weight > 0), "{row:?}");
    }
}

#[test]
fn once_ends_with_the_honest_paid_and_the_tampered_caught() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(built("basilica"))
        .args(["localnet", "--dir"])
        .arg(directory.path())
        .args(["up", "--once", "--json", "--ports", "auto"])
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{progress}");
    assert_told_apart(&serde_json::from_slice(&output.stdout).unwrap());
    for step in ["chain listens", "node gpu-node-4", "miner-2 serves", "validator runs", "weights on chain"] {
        assert!(progress.contains(step), "no progress line for {step:?} in:\n{progress}");
    }
}

#[tokio::test]
async fn every_cheater_is_caught_for_what_it_does_and_the_honest_are_paid() {
    let names = Cheat::ALL.map(Cheat::name).join(",");
    let localnet = Localnet::start_with(&["--cheaters", &names]);
    let report = localnet.until_settled().await;
    let (honest, cheaters): (Vec<_>, Vec<_>) = report.nodes.iter().partition(|node| node.cheat.is_none());
    assert_eq!(honest.len(), 3);
    for node in honest {
        assert_eq!((node.verdict.as_str(), node.reason.as_str()), ("passed", "ok"), "{node:?}");
        assert!(node.score.is_some_and(|score| score > 0), "{node:?}");
    }
    for cheat in Cheat::ALL {
        let nodes: Vec<_> = cheaters.iter().filter(|node| node.cheat == Some(cheat)).collect();
        let caught: Vec<_> = nodes.iter().filter(|node| node.reason == cheat.reason()).collect();
        // A GPU of two nodes is the first one's until both are challenged at once: it is there, and it is one.
        assert_eq!(
            (caught.len(), nodes.len()),
            (1, if cheat == Cheat::ShareGpu { 2 } else { 1 }),
            "{nodes:?}"
        );
        for node in caught {
            assert_eq!((node.verdict.as_str(), node.score), ("failed", Some(0)), "{node:?}");
        }
    }
    assert!(report.weights_match(), "{:?}", report.weights);
    for miner in ["miner-1", "miner-2"] {
        let row = report.weights.iter().find(|row| row.who == miner).expect("a weight for each miner");
        assert!(row.on_chain.is_some_and(|weight| weight > 0), "{row:?}");
    }
    localnet.down();
}

#[tokio::test]
async fn any_process_can_be_killed_and_started_again() {
    let localnet = Localnet::start();
    localnet.until_settled().await;
    for name in ["validator", "miner-1", "chain", "miner-2"] {
        localnet.kill(name);
        let down = |report: &Report| report.processes.iter().any(|p| p.name == name && p.pid.is_none());
        localnet.until("the death of a process", down).await;
        localnet.start_again(name);
        let report = localnet.until_settled().await;
        assert_told_apart(&report);
    }
    let report = localnet.until_settled().await;
    assert_verifiable(&report).await;
    assert_looked_at(&localnet, &report);
    localnet.down();
}

const VERIFY: &str = include_str!("../../../../docs/verify.md");

/// The validator's API.
fn api(report: &Report) -> SocketAddr {
    let process = report.processes.iter().find(|p| p.name == "validator").expect("a validator");
    let address = process.address.as_deref().and_then(|a| a.strip_prefix("http://")).expect("its API");
    address.parse().expect("an address")
}

/// The validator's answer for `path`.
async fn validator(report: &Report, path: &str) -> Value {
    get_json(api(report), path).await.expect("the validator answers")
}

/// Anyone can check what the validator says of each node, by the documentation's commands and nothing but two files.
async fn assert_verifiable(report: &Report) {
    let directory = tempfile::tempdir().unwrap();
    let commands: Vec<Vec<&str>> = VERIFY
        .lines()
        .filter_map(|line| Some(line.strip_prefix("$ basilica ")?.split(' ').collect()))
        .collect();
    assert_eq!(commands.len(), 3, "the documentation's commands are found");
    for (name, holds) in [("gpu-node-1", true), ("gpu-node-4", false)] {
        let address: NodeAddress = node(report, name).address.parse().unwrap();
        let page = validator(report, &format!("/nodes/{}/verdicts", address.node_id())).await;
        let verdict =
            page["verdicts"].as_array().unwrap().iter().find(|v| !v["transcript"].is_null()).unwrap();
        for (file, kind, key) in [("verdict", "verdicts", "digest"), ("proof", "transcripts", "transcript")] {
            let path = format!("/{kind}/{}", verdict[key].as_str().unwrap());
            let bytes = get_file(api(report), &path).await.unwrap();
            std::fs::write(directory.path().join(file), bytes).unwrap();
        }
        let run = |arguments: &[&str]| {
            let mut command = Command::new(built("basilica"));
            let output = command.args(arguments).current_dir(directory.path()).output().unwrap();
            (
                output.status.code(),
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
            )
        };
        for command in &commands {
            let (code, text) = run(command);
            let expected = if command[0] == "proof" && !holds { 5 } else { 0 };
            assert_eq!(code, Some(expected), "{name}, {command:?}: {text}");
            let compared = command.contains(&"--transcript");
            assert_eq!(text.contains("and its proof bears it out"), compared, "{name}, {command:?}: {text}");
        }
    }
}

/// What docs/validator.md and docs/verify.md have an operator ask: the command, its exit code, and what it says. `NODE` and `ID` are those of an honest
/// node, `CHEAT` is another one, `NEW` an empty folder. `|` stands between words of which one is enough.
const LOOKS: [(&str, i32, &str); 19] = [
    ("status", 0, "validator is healthy"),
    ("why NODE", 0, "gate       ok: "),
    ("why NODE --json", 0, "\"transcript\":\""),
    ("why ID", 0, "address    root@"),
    ("connect NODE", 0, "speaks SSH"),
    ("connect ID", 0, "host key SHA256:"),
    ("verify --timeout 2m --node NODE", 0, "passed"),
    // Where a check was under way, that one has found it out, and no other is made for the question.
    ("verify --timeout 2m --node CHEAT", 1, "fault: node|by the node's own fault"),
    ("audit", 0, "none was changed, left out or put in between"),
    ("config validate", 0, "Configuration validation passed"),
    ("config show", 0, "allow_simulated_gpus = true"),
    ("config gen --output NEW/example.toml", 0, ""),
    ("--config NEW/example.toml config show", 0, "netuid = 39"),
    ("database health", 0, " is healthy; schema "),
    ("database stats", 0, " verdicts"),
    ("database backup --to NEW/backup", 0, " rows of sqlite:"),
    // Into another database; where that is says the environment.
    ("database restore --from NEW/backup", 0, " are in sqlite:"),
    ("database health", 0, "NEW/restored.db is healthy"),
    ("database migrate", 0, " already"),
];

/// Runs them.
fn assert_looked_at(localnet: &Localnet, report: &Report) {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().to_str().unwrap();
    let (honest, cheat) = (&node(report, "gpu-node-1").address, &node(report, "gpu-node-4").address);
    let id = honest.parse::<NodeAddress>().unwrap().node_id().to_string();
    let words = [("NODE", honest.as_str()), ("CHEAT", cheat), ("ID", &id), ("NEW", new)];
    let filled =
        |text: &str| words.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let mut restored = false;
    for (line, code, says) in LOOKS {
        restored |= line.starts_with("database restore");
        let mut command = Command::new(built("basilica-validator"));
        if !line.contains("--config") {
            command.arg("--config").arg(localnet.config("validator"));
        }
        if restored {
            command.env("BASILICA_DATABASE__URL", format!("sqlite:{new}/restored.db"));
        }
        let output = command.args(filled(line).split(' ')).output().unwrap();
        // What fails says so on the other stream.
        let said =
            [output.stdout.as_slice(), if code == 0 { &[] } else { output.stderr.as_slice() }].concat();
        let text = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
        let is_said = says.split('|').any(|says| text.contains(&filled(says)));
        assert!(is_said, "{line} does not say {says:?}: {output:?}");
    }
}

/// Digests of a node's verdicts, newest first; each must name the one before it.
async fn verdict_chain(report: &Report, node: &Value) -> Vec<String> {
    let path = format!("/nodes/{}/verdicts", node["node_id"].as_str().expect("an id"));
    let page = validator(report, &path).await;
    let verdicts = page["verdicts"].as_array().expect("a list");
    for (newer, older) in verdicts.iter().zip(&verdicts[1..]) {
        assert_eq!(newer["previous"], older["digest"], "a verdict is missing or was made twice");
    }
    verdicts.iter().map(|v| v["digest"].as_str().expect("a digest").to_owned()).collect()
}

#[tokio::test]
async fn a_validator_killed_between_verdict_and_weights_loses_nothing_and_repeats_nothing() {
    let localnet = Localnet::start();
    let judged = |report: &Report| report.nodes.iter().any(|node| node.verdict == "passed");
    let report = localnet.until("a verdict", judged).await;
    let nodes = validator(&report, "/nodes").await;
    let node = nodes["nodes"].as_array().expect("a list").iter().find(|n| !n["last_full"].is_null());
    let node = node.expect("a judged node").clone();
    let before = verdict_chain(&report, &node).await;
    localnet.kill("validator");
    let down = |report: &Report| report.processes.iter().any(|p| p.name == "validator" && p.pid.is_none());
    localnet.until("the validator's death", down).await;
    localnet.start_again("validator");

    let settled = localnet.until_settled().await;
    let after = verdict_chain(&settled, &node).await;
    let oldest = before.last().expect("a verdict was there before");
    assert!(after.contains(oldest), "the verdict before the kill is lost: {oldest} in {after:?}");
    let window = validator(&settled, "/weights").await["latest"].clone();
    // One extrinsic for each window and no other: the account's nonce counts them.
    let (id, nonce) = (window["window"].as_u64(), window["nonce"].as_u64());
    assert_eq!(id, nonce.map(|nonce| nonce + 1), "{window}");
    localnet.down();
}

#[test]
fn commands_without_a_localnet_say_so() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["status"][..], &["down"], &["start", "chain"]] {
        let output = Command::new(built("basilica"))
            .args(["localnet", "--dir"])
            .arg(directory.path())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no localnet is running"), "{said}");
    }
}
