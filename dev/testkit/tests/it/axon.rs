//! Two miners with one hotkey: the one whose address went from the chain says so, and takes its place again.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_http::client;
use basilica_ports::{Axon, Chain as _};
use basilica_ssh::create_key;
use basilica_system::{OsEntropy, SystemClock};
use basilica_testkit::{
    Devchain, built, eventually_async, free_address, hotkey, keypair, miner_sections, write_wallet,
};
use basilica_types::{Millis, NetUid};
use basilica_wallet::WalletSigner;
use serde_json::json;

const MINER: &str = "//Miner1";
const SUBNET: NetUid = NetUid(39);

/// Ends with the test.
struct Miner(Child);

impl Drop for Miner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(home: &Path) -> Miner {
    let mut command = Command::new(built("basilica-miner"));
    command.arg("--config").arg(home.join("miner.toml")).env_clear().env("HOME", home);
    Miner(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Why the service is not ready; none while nobody listens.
async fn told(health: SocketAddr) -> Option<String> {
    let (_, body) = client::get(health, "/ready", None).await.ok()?;
    Some(String::from_utf8(body.to_vec()).unwrap())
}

async fn is_ready(health: SocketAddr) -> bool {
    told(health).await.is_some_and(|told| told == "ready\n")
}

#[tokio::test]
async fn an_axon_that_another_miner_took_is_told_and_a_start_takes_it_back() {
    let (home, axon, health) = (tempfile::tempdir().unwrap(), free_address(), free_address());
    write_wallet(home.path(), "miner", MINER);
    let genesis = json!({ "block_time_ms": 200, "tempo": 10, "miners": [{ "hotkey": MINER }] });
    let chain = Devchain::start(&genesis, &[]);
    let announced = format!("external_ip = \"{}\"\naxon_port = {}", axon.ip(), axon.port());
    let key = home.path().join("miner_node_key");
    create_key(&key, "operator", &OsEntropy).unwrap();
    let more = format!(
        "[validator_assignment]\nrefresh_interval = \"200ms\"\n[ssh_session]\nminer_node_key_path = \"{}\"\n",
        key.display()
    );
    let text = miner_sections(home.path(), &chain.url, (axon, health), &announced) + &more;
    std::fs::write(home.path().join("miner.toml"), text).unwrap();

    let options =
        ChainOptions { poll_max: Millis(200), ..ChainOptions::new(vec![chain.url.parse().unwrap()]) };
    let signer = Arc::new(WalletSigner::new(keypair(MINER), Arc::new(OsEntropy)));
    let other = SubtensorChain::new(options, Some(signer), Arc::new(SystemClock::new()), Arc::new(OsEntropy))
        .unwrap();
    let on_chain = async || {
        let metagraph = other.metagraph(SUBNET).await.unwrap();
        metagraph.neuron(&hotkey(MINER)).unwrap().axon.map(|axon| axon.address)
    };

    let miner = start(home.path());
    eventually_async("the own axon is on the chain", async || {
        is_ready(health).await && on_chain().await == Some(axon)
    })
    .await;
    let elsewhere = "127.0.0.9:50051".parse().unwrap();
    // The chain has it wait some blocks.
    eventually_async("the other miner publishes its own", async || {
        other.serve_axon(SUBNET, Axon { address: elsewhere }).await.is_ok()
    })
    .await;
    let words = format!("the chain has {elsewhere} for this hotkey, not {axon}");
    eventually_async("the miner says so", async || {
        told(health).await.is_some_and(|told| told.contains(&words))
    })
    .await;
    let block = async || other.metagraph(SUBNET).await.unwrap().block;
    let later = block().await.0 + 10;
    eventually_async("the chain goes on", async || block().await.0 > later).await;
    assert_eq!(on_chain().await, Some(elsewhere), "not taken back at once");
    drop(miner);
    let _miner = start(home.path());
    eventually_async("a start takes it back", async || {
        is_ready(health).await && on_chain().await == Some(axon)
    })
    .await;
}
