//! A client that shares no code with ours passes, and is refused as docs/miner-protocol.md says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::keys::{authorized_keys, nodes};
use super::*;

const PROTOCOL: &str = include_str!("../../../../../docs/miner-protocol.md");
/// How many sessions the other validator of the client may open.
const SESSIONS: u32 = 5;

/// The client's own report.
fn run(question: &Value) -> Value {
    let python = std::env::var_os("BASILICA_GRPC_PYTHON")
        .expect("BASILICA_GRPC_PYTHON names a Python with grpcio-tools; `cargo xtask test` makes one");
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/miner_peer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the Python of BASILICA_GRPC_PYTHON runs");
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

/// The rows of the document's first table of refusals: what, status, text. `…` stands for what depends on the request.
fn documented() -> Vec<[String; 3]> {
    let table = PROTOCOL.split("<!-- refusals -->").nth(1).expect("the table of refusals");
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| What"));
    let cells = |row: &str| -> [String; 3] {
        let cells: Vec<String> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        cells.try_into().expect("three cells")
    };
    rows.map(cells).collect()
}

/// Whether `text` is what the document says.
fn fits(documented: &str, text: &str) -> bool {
    match documented.split_once('…') {
        None => documented == text,
        Some((head, tail)) => {
            text.len() > head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
        }
    }
}

#[tokio::test]
async fn a_client_made_of_grpcio_and_the_proto_files_is_served_and_refused_as_documented() {
    let nodes = nodes(&["gpu-1"]).await;
    let rate = SessionRate { most: SESSIONS, within: Millis::from_secs(3600) };
    // The client's assigned validator opens a session in each spelling and one for the replay, within the same limit.
    let site = Site::start(Some(&nodes), Settings { session_rate: Some(rate), ..Settings::default() }).await;
    let seed = |seed: u8| hex::encode([seed; 32]);
    let question = json!({
        "endpoint": site.running().address.to_string(),
        "proto": concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/adapters/rpc/proto"),
        "miner": site.miner.hotkey().to_string(),
        "validator": seed(1), "other": seed(2), "stranger": seed(3),
        "key": site.first.key().to_string(),
        "sessions": SESSIONS,
    });
    let report = tokio::task::spawn_blocking(move || run(&question)).await.unwrap();
    let node = &site.node_configs[0];
    let (address, id) = (&node.address, node.id.to_string());
    let expected = json!([[
        id,
        address.user.to_string(),
        address.host.to_string(),
        address.port().to_string(),
        "available",
        250
    ]]);
    for spelling in ["basilca.miner.v1", "basilica.miner.v1"] {
        assert_eq!(report["nodes"][spelling], expected, "{spelling}");
        assert_eq!(report["nodes"][format!("{spelling} (not assigned)")], json!([]));
    }
    assert!(authorized_keys(&nodes, "gpu-1").contains(&site.first.key().to_string()));
    let came: Vec<[String; 3]> = serde_json::from_value(report["refusals"].clone()).unwrap();
    let documented = documented();
    for [what, status, text] in &came {
        let row = documented
            .iter()
            .find(|row| row[0] == *what)
            .unwrap_or_else(|| panic!("{what} is not documented"));
        assert_eq!(row[1], *status, "{what}");
        assert!(fits(&row[2], text), "{what}: documented {:?}, came {text:?}", row[2]);
    }
    let names = |rows: &[[String; 3]]| rows.iter().map(|row| row[0].clone()).collect::<BTreeSet<_>>();
    assert_eq!(names(&documented), names(&came), "every documented refusal came");
}
