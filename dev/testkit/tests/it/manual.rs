//! The commands of docs/validator.md and docs/high-availability.md, run as they stand there: two hosts of their own (namespaces, which need root)
//! become validators of one development chain, and share a Postgres. What the pages have an operator look at on a network with
//! nodes runs on the localnet (`localnet`).
//!
//! What no machine of ours allows is here alone: [`SYSTEMCTL`], [`SUDO`] and [`CARGO`] stand in for it, the database's server has no
//! certificate, and the network is a development chain. The systemd unit's hardening is checked by nobody.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::path::Path;
use std::process::Command;

use basilica_localnet::nodes::{Isolation, NodeFile, NodeSpec, Place};
use basilica_ports::{ExitStatus, OutputLimits};
use basilica_postgres::Postgres;
use basilica_testkit::{Devchain, Nodes, built, eventually_async, write_wallet};
use basilica_types::{Argv, Millis};
use serde_json::json;

use crate::shown::prints;

const VALIDATOR: &str = include_str!("../../../../docs/validator.md");
const AVAILABILITY: &str = include_str!("../../../../docs/high-availability.md");
const UNIT: &str = include_str!("../../../../deploy/systemd/basilica-validator.service");

/// No systemd runs in a namespace: starts and stops what the unit says, as the user it says, and nothing else of it.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -eu
unit=/etc/systemd/system/basilica-validator.service
case "$1" in
    daemon-reload) test -s "$unit" ;;
    enable | start)
        cd "$(sed -n 's/^WorkingDirectory=//p' "$unit")"
        umask "$(sed -n 's/^UMask=//p' "$unit")"
        sudo -u "$(sed -n 's/^User=//p' "$unit")" $(sed -n 's/^ExecStart=//p' "$unit") </dev/null >>/run/log 2>&1 &
        echo $! >/run/validator.pid ;;
    stop)
        pid=$(cat /run/validator.pid)
        kill -s TERM "$pid"
        # Nobody waits for it in this namespace, so that it may stay as a zombie, which has no command line.
        while grep -q . "/proc/$pid/cmdline" 2>/dev/null; do sleep 0.05; done ;;
    *) exit 2 ;;
esac
"#;
/// Root asks, and sudo may not be installed: another user's environment, and nothing else.
pub(crate) const SUDO: &str = r#"#!/bin/sh
if [ "$1" != -u ]; then exec "$@"; fi
user=$2
shift 2
home=$(getent passwd "$user" | cut -d: -f6)
exec env -i PATH="$PATH" HOME="$home" setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"
"#;
/// The programs of this build are where a build would put them.
const CARGO: &str = "#!/bin/sh\ntest \"$1 $2\" = 'build --release'\n";
/// Where the operator's copy of the sources is.
const SOURCES: &str = "basilica";
const CONFIG: &str = "/etc/basilica/validator.toml";

/// Contents of the blocks of one kind.
pub(crate) fn blocks<'a>(page: &'a str, kind: &str) -> Vec<&'a str> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).collect()
}

/// The lines of a page's blocks of shell commands.
fn commands(page: &str) -> Vec<&str> {
    blocks(page, "sh")
        .into_iter()
        .flat_map(str::lines)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect()
}

/// Runs a command in a directory as the host's root; what it says, and whether it succeeded.
pub(crate) async fn attempt(nodes: &Nodes, host: &str, directory: &str, command: &str) -> (bool, String) {
    let argv = Argv::script("cd \"$1\" && eval \"$2\" 2>&1", [directory, command]).unwrap();
    let limits = OutputLimits { deadline: Millis::from_secs(60), stdout: 1 << 20, stderr: 4096 };
    let output = nodes.shell(host).await.run(&argv, b"", limits).await;
    let output = output.unwrap_or_else(|error| panic!("{host}: {command}: {error}"));
    (output.status == ExitStatus::Code(0), String::from_utf8(output.stdout).unwrap())
}

pub(crate) async fn run(nodes: &Nodes, host: &str, directory: &str, command: &str) -> String {
    let (good, said) = attempt(nodes, host, directory, command).await;
    assert!(good, "{host}: {command}: {said}");
    said
}

/// Waits until a command succeeds and prints this.
async fn until_prints(nodes: &Nodes, host: &str, directory: &str, command: &str, shown: &[&str]) {
    eventually_async(&format!("{host}: {command} prints {shown:?}"), async || {
        let (good, said) = attempt(nodes, host, directory, command).await;
        good && shown.iter().all(|line| prints(&said, line))
    })
    .await;
}

/// A program as small as it gets: files of hosts are in memory.
pub(crate) fn stripped(name: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let small = directory.path().join(name);
    let status = Command::new("strip").arg("-o").arg(&small).arg(built(name)).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "strip is missing; install it: apt-get install binutils"
    );
    std::fs::read(small).unwrap()
}

/// A program of a host.
pub(crate) fn stand_in(name: &str, script: &str) -> NodeFile {
    NodeFile { place: Place::Program(name.to_owned()), mode: 0o755, bytes: script.as_bytes().to_vec() }
}

/// What an operator has before the first command: the sources, and a wallet.
fn belongings() -> Vec<NodeFile> {
    let own = tempfile::tempdir().unwrap();
    write_wallet(own.path(), "validator", "//Validator1");
    let key = "wallets/validator/hotkeys/default";
    let home = |path: String, mode, bytes| NodeFile { place: Place::Home(path.into()), mode, bytes };
    let unit = NodeFile {
        // A system with systemd has the directory.
        place: Place::Anywhere("/etc/systemd/system/README".into()),
        mode: 0o644,
        bytes: Vec::new(),
    };
    let mut files = vec![
        home(format!(".bittensor/{key}"), 0o600, std::fs::read(own.path().join(key)).unwrap()),
        home(format!("{SOURCES}/deploy/systemd/basilica-validator.service"), 0o644, UNIT.as_bytes().to_vec()),
        stand_in("systemctl", SYSTEMCTL),
        stand_in("sudo", SUDO),
        stand_in("cargo", CARGO),
        unit,
    ];
    for program in ["basilica-validator", "basilica-prover"] {
        files.push(home(format!("{SOURCES}/target/release/{program}"), 0o755, stripped(program)));
    }
    files
}

/// Runs the commands from nothing to a configuration that a start would take.
async fn set_up(nodes: &Nodes, host: &str, chain: &str, commands: &[&str]) {
    for command in commands {
        run(nodes, host, SOURCES, command).await;
        if command.contains(&format!("tee {CONFIG}")) {
            let local = format!(
                "sed -i 's|^network = .*|network = \"local\"|; s|^# chain_endpoint = .*|chain_endpoint = \"{chain}\"|' {CONFIG}"
            );
            run(nodes, host, SOURCES, &local).await;
        }
    }
}

/// The configuration with what the page's block says in its place.
fn shared(config: &str, block: &str) -> String {
    let block = block.replace("sslmode=verify-full", "sslmode=disable");
    let (database, ha) = block.split_once("[ha]").expect("a section of its own");
    let database = database.trim_start().strip_prefix("[database]").expect("the first section");
    let lines = config.lines().map(|line| match line {
        line if line.starts_with("url = ") => database.trim().to_owned(),
        "[ha]" => format!("[ha]{ha}"),
        line => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn two_validators_are_set_up_and_joined_as_the_manuals_say() {
    let hosts = ["val-1", "val-2"];
    let nodes = Nodes::start_with(Isolation::Own, |key| {
        let files = belongings();
        hosts.iter().map(|host| NodeSpec { files: files.clone(), ..NodeSpec::new(*host, key) }).collect()
    })
    .await;
    let here = nodes.gateway().expect("hosts of their own").into();
    let chain =
        Devchain::start_on(here, &json!({ "block_time_ms": 200, "tempo": 10, "commit_reveal": false }), &[]);

    let all = commands(VALIDATOR);
    let start = all.iter().position(|line| line.starts_with("sudo systemctl enable")).expect("it is started");
    let [status, why] = all[start + 1..] else { panic!("{all:?} ends with looks at it") };
    assert!(start > 8 && status.ends_with(" status") && why.contains(" why "), "{all:?}");
    set_up(&nodes, "val-1", &chain.url, &all[..=start]).await;
    until_prints(&nodes, "val-1", SOURCES, status, &["validator is healthy", "chain: ok", "database: ok"])
        .await;

    // The same hotkey on a second machine, and a database of both.
    set_up(&nodes, "val-2", &chain.url, &all[..start]).await;
    let server = Postgres::start_on(here);
    let [sql] = blocks(AVAILABILITY, "sql")[..] else { panic!("the users and databases to be made") };
    for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
        server.sql("postgres", statement);
    }
    let [toml] = blocks(AVAILABILITY, "toml")[..] else { panic!("the settings") };
    run(&nodes, "val-1", "/etc/basilica", "cp validator.toml old.toml").await;
    for host in hosts {
        let node = nodes.node(host);
        let names = format!("127.0.0.1 localhost {host}\n{here} db.example\n");
        node.write(Path::new("/etc/hosts"), 0o644, names.as_bytes()).unwrap();
        let config = String::from_utf8(node.read(Path::new(CONFIG)).unwrap()).unwrap();
        let config = shared(&config, &toml.replace("val-1", host));
        assert!(config.contains("db.example") && config.contains(&format!("name = \"{host}\"")), "{config}");
        node.write(Path::new(CONFIG), 0o644, config.as_bytes()).unwrap();
        run(&nodes, host, "/", "install -o basilica -m 600 /dev/null /opt/basilica/database.password").await;
        run(&nodes, host, "/", "echo '…' >/opt/basilica/database.password").await;
    }
    let [first, second] = hosts;
    for command in commands(AVAILABILITY) {
        run(&nodes, first, "/etc/basilica", command).await;
    }
    run(&nodes, first, "/", "systemctl start basilica-validator").await;
    let [session] = blocks(AVAILABILITY, "console")[..] else { panic!("what both say") };
    let steps: Vec<&str> = session.split("$ ").skip(1).collect();
    assert_eq!(steps.len(), 2, "{session}");
    for step in steps {
        let (command, shown) = step.trim_end().split_once("\n").expect("a command and what it prints");
        let shown = shown.replace("verify-full", "disable");
        let shown: Vec<&str> = shown.lines().map(str::trim).collect();
        until_prints(&nodes, first, "/etc/basilica", command.trim(), &shown).await;
    }
    run(&nodes, second, "/", "systemctl start basilica-validator").await;
    let leadership = "curl -s http://127.0.0.1:8080/leadership";
    until_prints(&nodes, second, "/", leadership, &["\"role\":\"standby\""]).await;
    run(&nodes, first, "/", "systemctl stop basilica-validator").await;
    until_prints(&nodes, second, "/", leadership, &["\"role\":\"leader\""]).await;
}

/// Every command line within the text of a page, as `basilica-validator …`.
#[test]
fn every_command_that_the_pages_name_exists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut found = 0;
    for file in std::fs::read_dir(folder).unwrap().flatten().filter(|file| file.path().is_file()) {
        let page = std::fs::read_to_string(file.path()).unwrap();
        let text = page.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
        for line in text.filter_map(|code| code.strip_prefix("basilica-validator ")) {
            // A usage's brackets and dots are no arguments, and names stand for what is to be filled in.
            let digest = "07".repeat(32);
            let words = line.split_whitespace().map(|word| match word.trim_matches(['[', ']', '.']) {
                "N" | "S" => "1",
                "HASH" => &digest,
                "NAME" => "tampered",
                "NODE" => "root@203.0.113.7:22",
                word => word,
            });
            let output =
                Command::new(built("basilica-validator")).args(words).arg("--help").output().unwrap();
            // The one flag that takes no other.
            let alone = line == "--gen-config";
            assert!(output.status.success() || alone, "{}: {line}: {output:?}", file.path().display());
            found += 1;
        }
    }
    assert!(found >= 12, "{found}");
}
