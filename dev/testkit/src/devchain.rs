//! A development chain as a process of its own, its controls, and calls signed by anybody.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use basilica_ports::EntropyRng;
use basilica_system::OsEntropy;
use basilica_types::{Hotkey, NetUid};
use basilica_wallet::Secret;
use basilica_wire::Keypair;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use codec::{Compact, Encode as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::localnet::built;

/// Indices of the pallets and calls, stable since the public chain's first days.
const SUDO_SUDO: [u8; 2] = [12, 0];
const SET_COMMIT_REVEAL: [u8; 2] = [19, 49];

/// The key of a development URI such as `//Validator1`.
pub fn keypair(uri: &str) -> Keypair {
    Secret::from_uri(uri, &OsEntropy).unwrap().into_keypair()
}

/// Its account.
pub fn hotkey(uri: &str) -> Hotkey {
    keypair(uri).hotkey()
}

/// A running chain, ended with the test.
#[derive(Debug)]
pub struct Devchain {
    child: Child,
    /// Where it listens.
    pub url: String,
    block_time_ms: u64,
    _directory: TempDir,
}

impl Devchain {
    /// A chain with these settings of its genesis file, which say how long a block takes, and these flags.
    ///
    /// # Panics
    /// Here and below: if the chain does not do what is asked.
    pub fn start(settings: &Value, flags: &[&str]) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), settings, flags)
    }

    /// The same on this address, which is one of this machine's own.
    pub fn start_on(address: IpAddr, settings: &Value, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let genesis = directory.path().join("genesis.json");
        std::fs::write(&genesis, settings.to_string()).unwrap();
        let mut child = Command::new(built("basilica-devchain"))
            .args(["--dev-rpc", "on", "--listen", &SocketAddr::new(address, 0).to_string(), "--genesis"])
            .arg(&genesis)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let url = loop {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the chain ended before it listened");
            if let Some(url) = line.trim().strip_prefix("listening ") {
                break url.to_owned();
            }
        };
        // Nobody else reads its output, and a full pipe would stop it.
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let block_time_ms = settings["block_time_ms"].as_u64().unwrap();
        Self { child, url, block_time_ms, _directory: directory }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("ws://").unwrap()
    }

    /// The result of a JSON-RPC call over HTTP.
    pub fn ask(&self, method: &str, params: &Value) -> Value {
        self.try_ask(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same, or the error object that it is answered with.
    ///
    /// # Errors
    /// That object.
    pub fn try_ask(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address(),
            body.len()
        );
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut answer: Value = serde_json::from_str(body).unwrap();
        if answer["error"].is_null() { Ok(answer["result"].take()) } else { Err(answer["error"].take()) }
    }

    /// No block comes by itself any more.
    pub fn stand_still(&self) {
        self.ask("dev_setMining", &json!({ "mode": "manual" }));
    }

    /// Blocks come again, at the pace of the settings.
    pub fn go_on(&self) {
        self.ask("dev_setMining", &json!({ "mode": "interval", "block_time_ms": self.block_time_ms }));
    }

    /// Whether weights must be committed first on a subnet, by the chain's sudo account.
    pub fn set_commit_reveal(&self, netuid: NetUid, enabled: bool) {
        self.sudo(&[&SET_COMMIT_REVEAL[..], &(netuid.0, enabled).encode()].concat());
    }

    /// Submits a call in the name of the chain's root.
    pub fn sudo(&self, call: &[u8]) {
        self.submit("//Alice", &[&SUDO_SUDO[..], call].concat());
    }

    /// Submits a call, which is the indices of its pallet and itself and then its arguments.
    pub fn submit(&self, uri: &str, call: &[u8]) {
        let extrinsic = self.signed(uri, call);
        self.ask("author_submitExtrinsic", &json!([format!("0x{}", hex::encode(extrinsic))]));
    }

    /// How many calls of this account were taken.
    pub fn nonce(&self, account: &Hotkey) -> u64 {
        self.ask("system_accountNextIndex", &json!([account.to_string()])).as_u64().unwrap()
    }

    /// Signed for ever, version 4: era, nonce, tip and the mode of `CheckMetadataHash` are all that extensions carry.
    pub fn signed(&self, uri: &str, call: &[u8]) -> Vec<u8> {
        let version = self.ask("state_getRuntimeVersion", &json!([]));
        let number = |name: &str| u32::try_from(version[name].as_u64().unwrap()).unwrap();
        let genesis = self.ask("chain_getBlockHash", &json!([0]));
        let genesis = hex::decode(genesis.as_str().unwrap().trim_start_matches("0x")).unwrap();
        let pair = keypair(uri);
        let nonce = self.nonce(&pair.hotkey());
        let extra = [vec![0], Compact(nonce).encode(), Compact(0u64).encode(), vec![0]].concat();
        let implied = [
            (number("specVersion"), number("transactionVersion")).encode(),
            genesis.clone(),
            genesis,
            vec![0],
        ];
        let payload = [call.to_vec(), extra.clone(), implied.concat()].concat();
        let payload = if payload.len() > 256 { Blake2b::<U32>::digest(&payload).to_vec() } else { payload };
        let signature = pair.sign(&payload, EntropyRng(&OsEntropy));
        let head = [&[0x84, 0][..], pair.hotkey().as_bytes(), &[1], signature.as_bytes()].concat();
        let body = [head, extra, call.to_vec()].concat();
        [Compact(u32::try_from(body.len()).unwrap()).encode(), body].concat()
    }

    /// All extrinsics until now with their block, as the chain keeps them.
    pub fn extrinsics(&self) -> Vec<(u64, Vec<u8>)> {
        let head = self.ask("chain_getHeader", &json!([]));
        let head =
            u64::from_str_radix(head["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let mut all = Vec::new();
        for number in 1..=head {
            let hash = self.ask("chain_getBlockHash", &json!([number]));
            let block = self.ask("chain_getBlock", &json!([hash]));
            for extrinsic in block["block"]["extrinsics"].as_array().unwrap() {
                all.push((
                    number,
                    hex::decode(extrinsic.as_str().unwrap().trim_start_matches("0x")).unwrap(),
                ));
            }
        }
        all
    }
}

impl Drop for Devchain {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay before the chain that can be cut off.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub url: String,
    cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    /// Passes on what comes.
    pub fn before(chain: &Devchain) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (cut, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (refuses, kept, target) = (Arc::clone(&cut), Arc::clone(&open), chain.address().to_owned());
        // Its threads end with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { continue };
                if refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let pairs = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
                for (mut from, mut to) in pairs {
                    kept.lock().unwrap().push(from.try_clone().unwrap());
                    thread::spawn(move || {
                        // Either side may go away.
                        let _ = std::io::copy(&mut from, &mut to);
                    });
                }
            }
        });
        Self { url, cut, open }
    }

    /// Ends what is open and takes nothing more.
    pub fn cut_off(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            // It may have been closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether anything ever went through.
    pub fn is_used(&self) -> bool {
        !self.open.lock().unwrap().is_empty()
    }
}
