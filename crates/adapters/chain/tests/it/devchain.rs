//! A development chain for one test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{Chain as _, Clock as _, HotkeySigner, Metagraph};
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{Hotkey, Millis, NetUid};
use basilica_wallet::WalletSigner;
use basilica_wire::Keypair;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SUBNET: NetUid = NetUid(39);
/// Far above what anything here takes: reaching it is a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running chain, ended with the test.
pub(crate) struct Devchain {
    child: Child,
    pub(crate) url: String,
    settings: Value,
    flags: &'static [&'static str],
    dir: TempDir,
}

fn binary() -> PathBuf {
    let directory = match std::env::var_os("BASILICA_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        // target/PROFILE/deps/TEST
        None => std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned(),
    };
    let binary = directory.join("basilica-devchain");
    assert!(
        binary.exists(),
        "{} does not exist: build it with `cargo build -p basilica-devchain`, or point BASILICA_BIN_DIR at it",
        binary.display()
    );
    binary
}

impl Devchain {
    /// A chain with quick blocks, an epoch every half second and no rate limits worth waiting for.
    pub(crate) fn start() -> Self {
        Self::with(serde_json::json!({}))
    }

    /// The same with other settings of its genesis file.
    pub(crate) fn with(changes: Value) -> Self {
        Self::with_flags(changes, &[])
    }

    /// The same with more flags of its command line.
    pub(crate) fn with_flags(changes: Value, flags: &'static [&'static str]) -> Self {
        let settings = settings(changes);
        let dir = tempfile::tempdir().unwrap();
        let (child, url) = launch(&dir, (&settings, flags), "127.0.0.1:0");
        Self { child, url, settings, flags, dir }
    }

    /// The same in the shape of one generation of the public chain.
    pub(crate) fn of(profile: &str, mut changes: Value) -> Self {
        changes["profile"] = profile.into();
        Self::with(changes)
    }

    /// Ends the process without warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Brings a killed chain back where it was, at the same address.
    pub(crate) fn revive(&mut self) {
        let address = self.url.strip_prefix("ws://").unwrap();
        (self.child, self.url) = launch(&self.dir, (&self.settings, self.flags), address);
    }

    /// Puts a fresh chain with other settings at the address of this one.
    pub(crate) fn replace(&mut self, changes: Value) {
        self.kill();
        std::fs::remove_file(self.dir.path().join("state")).unwrap();
        self.settings = settings(changes);
        self.revive();
    }

    pub(crate) fn client(&self, uri: &str) -> SubtensorChain {
        client(&[&self.url], uri)
    }

    /// The result of a method, asked past every fault.
    pub(crate) fn ask(&self, method: &str, params: Value) -> Value {
        let request = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = post(self.url.strip_prefix("ws://").unwrap(), "/dev", &request);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Faults from now on, until they have happened as often as they say.
    pub(crate) fn fail(&self, fault: Value) {
        self.ask("dev_fault", fault);
    }

    /// No faults any more.
    pub(crate) fn heal(&self) {
        self.ask("dev_clearFaults", serde_json::json!([]));
    }
}

impl Drop for Devchain {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(changes: Value) -> Value {
    let mut settings = serde_json::json!({
        "block_time_ms": 100,
        "tempo": 5,
        "weights_rate_limit": 2,
        "serving_rate_limit": 2,
    });
    settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    settings
}

/// One JSON-RPC request over HTTP.
pub(crate) fn post(target: &str, path: &str, request: &Value) -> Value {
    let body = request.to_string();
    let mut stream = TcpStream::connect(target).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {target}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let start = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    serde_json::from_slice(&answer[start..]).unwrap()
}

fn launch(dir: &TempDir, (settings, flags): (&Value, &[&str]), address: &str) -> (Child, String) {
    let genesis = dir.path().join("genesis.json");
    std::fs::write(&genesis, settings.to_string()).unwrap();
    let mut child = Command::new(binary())
        .args(["--listen", address])
        .arg("--genesis")
        .arg(&genesis)
        .arg("--state")
        .arg(dir.path().join("state"))
        .args(flags)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening ").map(str::to_owned))
        .unwrap_or_else(|| panic!("basilica-devchain ended before it listened: {:?}", child.wait()));
    (child, url)
}

/// The key of a development URI such as `//Validator1`.
pub(crate) fn keypair(uri: &str) -> Keypair {
    let mut seed = [0u8; 32];
    hex::decode_to_slice("fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e", &mut seed)
        .unwrap();
    Keypair::from_seed(&seed).unwrap().derive_hard(uri.strip_prefix("//").unwrap())
}

pub(crate) fn hotkey(uri: &str) -> Hotkey {
    keypair(uri).hotkey()
}

pub(crate) fn options(endpoints: &[&str]) -> ChainOptions {
    ChainOptions {
        backoff: (Millis(50), Millis(500)),
        poll_max: Millis(200),
        // Blocks are quick here, and a loaded machine is slow.
        era_blocks: 64,
        ..ChainOptions::new(endpoints.iter().map(|url| url.parse().unwrap()).collect())
    }
}

pub(crate) fn client(endpoints: &[&str], uri: &str) -> SubtensorChain {
    client_with(options(endpoints), uri)
}

pub(crate) fn client_with(options: ChainOptions, uri: &str) -> SubtensorChain {
    let entropy = Arc::new(OsEntropy);
    let signer: Arc<dyn HotkeySigner> = Arc::new(WalletSigner::new(keypair(uri), entropy.clone()));
    SubtensorChain::new(options, Some(signer), Arc::new(SystemClock::new()), entropy).unwrap()
}

/// An address at which nobody listens.
pub(crate) fn deserted() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("ws://{}", listener.local_addr().unwrap())
}

/// The result of `work`, which must come.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
}

/// The first metagraph that `holds`.
pub(crate) async fn metagraph_when(
    chain: &SubtensorChain,
    what: &str,
    holds: impl Fn(&Metagraph) -> bool,
) -> Metagraph {
    soon(what, async {
        loop {
            let metagraph = chain.metagraph(SUBNET).await.unwrap();
            if holds(&metagraph) {
                return metagraph;
            }
            SystemClock::new().sleep(Millis(50)).await;
        }
    })
    .await
}

/// Waits for the validator permit of `//Validator1`.
pub(crate) async fn permitted(chain: &SubtensorChain) -> Metagraph {
    let validator = hotkey("//Validator1");
    metagraph_when(chain, "a permit", |m| m.neuron(&validator).unwrap().validator_permit).await
}
