//! The real Python SDK looks at a running localnet and must see what we see.

use std::process::Command;

use basilica_testkit::Localnet;
use serde_json::Value;

/// The SDK's view of the chain.
fn probe(url: &str) -> Value {
    let python = std::env::var_os("BASILICA_SDK_PYTHON")
        .expect("BASILICA_SDK_PYTHON names a Python with bittensor==11.3.0; `cargo xtask test` makes one");
    let cache = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/sdk_probe.py"))
        .args(["--url", url, "--netuid", "39"])
        .env("BITTENSOR_RUNTIME_CACHE_DIR", cache.path())
        .output()
        .expect("the Python of BASILICA_SDK_PYTHON runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the probe prints JSON")
}

#[tokio::test]
async fn the_real_sdk_reads_the_same_metagraph_and_weights() {
    let localnet = Localnet::start();
    // Full multipliers: from then on every window sets the same vector.
    let steady = localnet
        .until("the end of the ramp", |report| {
            let full = |node: &basilica_localnet::Node| {
                node.verdict != "passed" || node.multiplier == Some(1_000_000)
            };
            report.waiting_for.is_none() && report.nodes.iter().all(full)
        })
        .await;
    let (mut before, mut seen) = (steady, Value::Null);
    for _ in 0..5 {
        seen = probe(&before.chain_url);
        let after = localnet.until_settled().await;
        // A window between the two looks would make them differ for a good reason.
        if after.weights == before.weights {
            break;
        }
        before = after;
    }
    let ours: Vec<Value> =
        before.weights.iter().filter_map(|row| Some(serde_json::json!([row.uid, row.on_chain?]))).collect();
    assert_eq!(seen["weights"]["1"], Value::Array(ours), "weights of the validator, uid 1");
    let neurons = seen["neurons"].as_array().unwrap();
    assert_eq!(neurons.len(), 6, "owner, three validators, two miners");
    for (uid, name) in [(4, "miner-1"), (5, "miner-2")] {
        let process = before.processes.iter().find(|process| process.name == name).unwrap();
        assert_eq!(neurons[uid]["axon"].as_str(), process.address.as_deref(), "axon of {name}");
    }
    let permits: Vec<bool> = neurons.iter().map(|n| n["validator_permit"].as_bool().unwrap()).collect();
    assert_eq!(permits, [true, true, true, true, false, false], "the owner always has one");
    localnet.down();
}
