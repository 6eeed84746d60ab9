//! From a fresh host to a service by the scripts alone, in the order in which the older guides call them: `setup_ssh_keys.sh`, `generate_config.sh`,
//! `check_miner_health.py`, `build.sh`, `deploy.sh`. Hosts of their own, real ssh; [`SYSTEMCTL`] stands in for systemd.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::path::{Path, PathBuf};

use basilica_localnet::nodes::{Isolation, NodeFile, NodeSpec, Place};
use basilica_testkit::{Devchain, Nodes, eventually_async};
use serde_json::json;

use crate::doctor::DOCKER;
use crate::manual::{attempt, run, stand_in};
use crate::quick_setup::{NVIDIA_SMI, belongings, home, own_key, trust};

/// Starts what the unit says, as the user it says, and nothing else of it.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -eu
unit=/etc/systemd/system/basilica-miner.service
case "$*" in
    daemon-reload) test -s "$unit" ;;
    'enable basilica-miner') ;;
    'restart basilica-miner')
        if [ -e /run/miner.pid ]; then
            pid=$(cat /run/miner.pid)
            kill -s TERM "$pid"
            while grep -q . "/proc/$pid/cmdline" 2>/dev/null; do sleep 0.05; done
        fi
        cd "$(sed -n 's/^WorkingDirectory=//p' "$unit")"
        umask "$(sed -n 's/^UMask=//p' "$unit")"
        sudo -u "$(sed -n 's/^User=//p' "$unit")" $(sed -n 's/^ExecStart=//p' "$unit") </dev/null >>/run/log 2>&1 &
        echo $! >/run/miner.pid ;;
    '--no-pager status basilica-miner') kill -0 "$(cat /run/miner.pid)" ;;
    *) exit 2 ;;
esac
"#;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts")
}

/// All of `scripts/`, where the operator has the sources.
fn sources(folder: &Path, below: &str, files: &mut Vec<NodeFile>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            sources(&entry.path(), &name, files);
        } else {
            files.push(home(name, 0o755, &std::fs::read(entry.path()).unwrap()));
        }
    }
}

#[tokio::test]
async fn the_scripts_take_an_operator_from_nothing_to_a_service() {
    let directory = tempfile::tempdir().unwrap();
    let own = own_key(directory.path());
    let owner = std::fs::read_to_string(own.with_extension("pub")).unwrap();
    let nodes = Nodes::start_with(Isolation::Own, |key| {
        let mut files = belongings(&own);
        sources(&scripts(), "basilica/scripts", &mut files);
        let unit = Place::Anywhere("/etc/systemd/system/README".into());
        files.extend([
            NodeFile { place: unit, mode: 0o644, bytes: Vec::new() },
            stand_in("systemctl", SYSTEMCTL),
        ]);
        let mut server = NodeSpec::new("gpu-1", key);
        server.authorized_keys.push(owner.trim_end().to_owned());
        server.files = vec![stand_in("docker", DOCKER), stand_in("nvidia-smi", NVIDIA_SMI)];
        vec![NodeSpec { files, ..NodeSpec::new("miner", key) }, server]
    })
    .await;
    let here = nodes.gateway().expect("hosts of their own").into();
    let settings = json!({ "block_time_ms": 200, "tempo": 10, "commit_reveal": false });
    let chain = Devchain::start_on(here, &settings, &[]);
    let (miner, node) = (nodes.node("miner"), nodes.node("gpu-1"));
    trust(miner, node);
    let operator = async |command: &str| run(&nodes, "miner", "basilica", command).await;

    let login = node.address().to_string();
    let said = operator(&format!("./scripts/setup_ssh_keys.sh --nodes {login}")).await;
    assert!(said.contains("[ssh_session]") && said.contains("generate_config.sh"), "{said}");
    let write = "./scripts/generate_config.sh miner.toml --yes --network local --external-ip";
    let said = operator(&format!("{write} {} --node {login}=2.50", miner.address().host)).await;
    assert!(said.contains("miner.toml is written"), "{said}");
    operator(&format!(
        "sed -i 's|^chain_endpoint = \"[^\"]*\"|chain_endpoint = \"{}\"|' miner.toml",
        chain.url
    ))
    .await;
    let said = operator("./scripts/setup_ssh_keys.sh -- --yes").await;
    assert!(said.contains("host key"), "{said}");

    let check = "python3 scripts/check_miner_health.py --config";
    let (good, said) = attempt(&nodes, "miner", "basilica", &format!("{check} miner.toml")).await;
    assert!(!good && said.contains("ok     nodes") && said.contains("FAILED miner"), "{said}");

    operator("./scripts/miner/build.sh --release").await;
    // The first run finds no hotkey; and somebody has run a miner by hand there.
    operator("mv ~/.bittensor ~/away").await;
    let (good, said) = attempt(&nodes, "miner", "basilica", "sudo ./scripts/miner/deploy.sh").await;
    assert!(!good && said.contains("not started: put right what is said above"), "{said}");
    operator("mv ~/away ~/.bittensor && touch /opt/basilica/data/older").await;
    for _ in 0..2 {
        let said = operator("sudo ./scripts/miner/deploy.sh").await;
        assert!(said.contains("Configuration validation passed"), "{said}");
    }
    assert_eq!(operator("stat -c %U /opt/basilica/data/older").await, "basilica-miner\n");
    let held = "stat -c '%U %a' /opt/basilica/data /opt/basilica/.ssh/miner_node_key /opt/basilica/config/miner.toml";
    assert_eq!(operator(held).await, "basilica-miner 700\nbasilica-miner 600\nbasilica-miner 640\n");
    let installed = "/opt/basilica/basilica-miner --config /opt/basilica/config/miner.toml";
    let ask = format!("sudo -u basilica-miner {installed} health-check");
    eventually_async("all checks of the service pass", async || {
        attempt(&nodes, "miner", "/opt/basilica", &ask).await.0
    })
    .await;
    let (_, log) = attempt(&nodes, "miner", "/", "cat /run/log").await;
    assert!(log.contains("Node registered"), "{log}");
}
