//! What our chain client sends, judged byte by byte by the public SDK's codec on the same metadata.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{
    Axon, AxonOutcome, Chain as _, ChainError, Clock as _, FailureClass, PreparedWeights, Salt, WeightsCall,
    WeightsOrder, WeightsOutcome,
};
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{Digest, Hotkey, MechanismId, Millis, NetUid, Rao, Uid, Weight};
use basilica_wallet::{Secret, WalletSigner};
use serde_json::{Value, json};

const SUBNET: NetUid = NetUid(39);
/// Far above what anything here takes: reaching it is a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits for its line `listening URL`.
fn listening(command: &mut Command) -> (Process, String, BufReader<ChildStdout>) {
    let mut process = Process(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "{command:?} ended before it listened");
        if let Some(url) = line.trim().strip_prefix("listening ") {
            return (process, url.to_owned(), lines);
        }
    }
}

fn devchain(directory: &tempfile::TempDir, profile: &str, commit_reveal: bool) -> (Process, String) {
    let binaries = std::env::var_os("BASILICA_BIN_DIR")
        .expect("BASILICA_BIN_DIR is the directory of basilica-devchain; `cargo xtask test` sets it");
    let genesis = directory.path().join("genesis.json");
    // Slow enough that a block's age stays within an extrinsic's life while the peer looks at it.
    let settings = json!({
        "block_time_ms": 400, "tempo": if commit_reveal { 10 } else { 3 }, "weights_rate_limit": 1,
        "serving_rate_limit": 1, "commit_reveal": commit_reveal, "profile": profile,
    });
    std::fs::write(&genesis, settings.to_string()).unwrap();
    let mut command = Command::new(PathBuf::from(binaries).join("basilica-devchain"));
    command.args(["--listen", "127.0.0.1:0", "--genesis"]).arg(genesis);
    let (process, url, mut lines) = listening(&mut command);
    // Nobody else reads its output, and a full pipe would stop it.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    (process, url)
}

/// The SDK's codec with a proxy that keeps what goes through it.
struct Peer {
    process: Process,
    url: String,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn before(chain: &str) -> Self {
        let python = std::env::var_os("BASILICA_SDK_PYTHON").expect(
            "BASILICA_SDK_PYTHON names a Python with bittensor==11.3.0; `cargo xtask test` makes one",
        );
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/chain_peer.py")).arg(chain);
        let (process, url, answers) = listening(command.stdin(Stdio::piped()));
        Self { process, url, answers }
    }

    fn judge(mut self, question: &Value) -> Value {
        let mut stdin = self.process.0.stdin.take().unwrap();
        writeln!(stdin, "{question}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the peer found a difference; it is on standard error");
        serde_json::from_str(&answer).unwrap()
    }
}

fn signer(uri: &str) -> Arc<WalletSigner> {
    let secret = Secret::from_uri(uri, &OsEntropy).unwrap();
    Arc::new(WalletSigner::new(secret.into_keypair(), Arc::new(OsEntropy)))
}

fn hotkey(uri: &str) -> Hotkey {
    Secret::from_uri(uri, &OsEntropy).unwrap().keypair().hotkey()
}

fn client(url: &str, uri: &str) -> SubtensorChain {
    let options = ChainOptions {
        poll_max: Millis(200),
        era_blocks: 64,
        ..ChainOptions::new(vec![url.parse().unwrap()])
    };
    SubtensorChain::new(options, Some(signer(uri)), Arc::new(SystemClock::new()), Arc::new(OsEntropy))
        .unwrap()
}

async fn permitted(chain: &SubtensorChain, own: &Hotkey) {
    let permit = async {
        while !chain.metagraph(SUBNET).await.unwrap().neuron(own).unwrap().validator_permit {
            SystemClock::new().sleep(Millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, permit).await.expect("a permit comes with the first epoch");
}

fn order(call: WeightsCall) -> WeightsOrder {
    WeightsOrder { netuid: SUBNET, mechanism: MechanismId(0), call }
}

/// The extrinsic of a call, as soon as the chain's rules allow it; none if they never will.
async fn prepared(chain: &SubtensorChain, call: WeightsCall) -> Result<PreparedWeights, ChainError> {
    let order = order(call);
    let allowed = async {
        loop {
            match chain.prepare_weights(&order).await {
                Err(error) if error.class() == FailureClass::Transient => {
                    SystemClock::new().sleep(Millis(200)).await;
                }
                other => return other,
            }
        }
    };
    tokio::time::timeout(PATIENCE, allowed).await.expect("the chain's rules allow or refuse it")
}

/// A reveal: allowed only in one epoch, which a slow machine may miss and then tries again.
async fn revealed(chain: &SubtensorChain, reveal: &WeightsCall) -> PreparedWeights {
    for _ in 0..5 {
        let commit = WeightsCall::CommitHash { hash: Digest::from_bytes([9; 32]) };
        let commit = prepared(chain, commit).await.unwrap();
        let outcome = chain.conclude_weights(&commit).await.unwrap();
        assert!(matches!(outcome, WeightsOutcome::Set { .. }), "{outcome:?}");
        if let Ok(prepared) = prepared(chain, reveal.clone()).await {
            return prepared;
        }
    }
    panic!("five commits could not be revealed in their epoch");
}

/// What the peer is to compose; without `bytes` it takes the call that was submitted.
fn expected(function: &str, uri: &str, params: Value, bytes: Option<&PreparedWeights>) -> Value {
    let mut wanted =
        json!({ "function": function, "signer": hex::encode(hotkey(uri).as_bytes()), "params": params });
    if let Some(prepared) = bytes {
        wanted["extrinsic"] = hex::encode(&prepared.extrinsic).into();
    }
    wanted
}

/// The peer's verdict over these extrinsics; the answer's keys.
async fn judged(peer: Peer, wanted: Vec<Value>) -> Vec<Value> {
    let count = wanted.len();
    let question = json!({ "extrinsics": wanted });
    let mut answer = tokio::task::spawn_blocking(move || peer.judge(&question)).await.unwrap();
    assert_eq!(answer["extrinsics"].as_array().unwrap().len(), count, "{answer}");
    match answer["keys"].take() {
        Value::Array(keys) => keys,
        other => panic!("keys are no list: {other}"),
    }
}

fn assert_asked(keys: &[Value], item: &str, params: &Value) {
    let key = json!(["SubtensorModule", item, params]);
    assert!(keys.contains(&key), "{key} was not asked for: {keys:?}");
}

#[tokio::test]
async fn open_weights_axons_and_registrations_are_the_bytes_of_the_public_sdk() {
    judge_open("newest").await;
}

#[tokio::test]
async fn open_weights_axons_and_registrations_are_those_bytes_on_an_older_chain_too() {
    judge_open("legacy").await;
}

async fn judge_open(profile: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (_chain, url) = devchain(&directory, profile, false);
    let peer = Peer::before(&url);
    let validator = client(&peer.url, "//Validator1");
    permitted(&validator, &hotkey("//Validator1")).await;

    let weights = vec![(Uid(0), Weight(16_384)), (Uid(4), Weight(65_535))];
    let set = prepared(&validator, WeightsCall::Set { weights, version_key: 7 }).await.unwrap();
    let axon = Axon { address: SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 9_000)) };
    let served = client(&peer.url, "//Miner1").serve_axon(SUBNET, axon).await.unwrap();
    assert!(matches!(served, AxonOutcome::Served(_)), "{served:?}");
    let (coldkey, newcomer) = ("//Validator1Cold", hotkey("//Newcomer"));
    let limit = Rao(1_000_000_000_000);
    validator.register(&*signer(coldkey), SUBNET, &newcomer, limit).await.unwrap();
    let mut registered = json!({ "netuid": 39, "hotkey": newcomer.to_string() });
    // Only the younger generation has the call that takes a limit.
    let register = if profile == "newest" { "register_limit" } else { "burned_register" };
    if profile == "newest" {
        registered["limit_price"] = limit.0.into();
    }
    assert_eq!(
        validator.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap(),
        [],
        "never submitted"
    );

    let wanted = vec![
        expected(
            "set_mechanism_weights",
            "//Validator1",
            json!({ "netuid": 39, "mecid": 0, "dests": [0, 4], "weights": [16_384, 65_535], "version_key": 7 }),
            Some(&set),
        ),
        expected(
            "serve_axon",
            "//Miner1",
            json!({
                "netuid": 39, "version": 1, "ip": u32::from(Ipv4Addr::new(127, 0, 0, 2)), "port": 9_000,
                "ip_type": 4, "protocol": 4, "placeholder1": 0, "placeholder2": 0,
            }),
            None,
        ),
        expected(register, coldkey, registered, None),
    ];
    let keys = judged(peer, wanted).await;
    assert_asked(&keys, "Axons", &json!([39, hotkey("//Miner1").to_string()]));
    assert_asked(&keys, "Weights", &json!([39, 1]));
    for item in ["CommitRevealWeightsEnabled", "LastUpdate", "MinAllowedWeights", "WeightsSetRateLimit"] {
        assert_asked(&keys, item, &json!([39]));
    }
}

#[tokio::test]
async fn committed_weights_are_the_bytes_of_the_public_sdk() {
    judge_committed("newest").await;
}

#[tokio::test]
async fn committed_weights_are_those_bytes_on_an_older_chain_too() {
    judge_committed("legacy").await;
}

async fn judge_committed(profile: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (_chain, url) = devchain(&directory, profile, true);
    let peer = Peer::before(&url);
    let validator = client(&peer.url, "//Validator1");
    permitted(&validator, &hotkey("//Validator1")).await;

    let salt = vec![1, 2, 65_535];
    let reveal = WeightsCall::Reveal {
        weights: vec![(Uid(0), Weight(1)), (Uid(4), Weight(65_535))],
        salt: Salt::new(salt.clone()),
        version_key: 7,
    };
    let reveal = revealed(&validator, &reveal).await;
    let ciphertext: Vec<u8> = (0..=255).cycle().take(700).collect();
    let sealed = WeightsCall::CommitTimelocked {
        ciphertext: ciphertext.clone(),
        reveal_round: u64::from(u32::MAX),
        version: 4,
    };
    let sealed = prepared(&validator, sealed).await.unwrap();

    let signer = "//Validator1";
    let hash = format!("0x{}", hex::encode([9; 32]));
    let wanted = vec![
        expected(
            "commit_mechanism_weights",
            signer,
            json!({ "netuid": 39, "mecid": 0, "commit_hash": hash }),
            None,
        ),
        expected(
            "reveal_mechanism_weights",
            signer,
            json!({
                "netuid": 39, "mecid": 0, "uids": [0, 4], "values": [1, 65_535], "salt": salt, "version_key": 7,
            }),
            Some(&reveal),
        ),
        expected(
            "commit_timelocked_mechanism_weights",
            signer,
            json!({
                "netuid": 39, "mecid": 0, "commit": format!("0x{}", hex::encode(ciphertext)),
                "reveal_round": u32::MAX, "commit_reveal_version": 4,
            }),
            Some(&sealed),
        ),
    ];
    let keys = judged(peer, wanted).await;
    assert_asked(&keys, "WeightCommits", &json!([39, hotkey("//Validator1").to_string()]));
    for item in ["RevealPeriodEpochs", "CommitRevealWeightsEnabled"] {
        assert_asked(&keys, item, &json!([39]));
    }
}
