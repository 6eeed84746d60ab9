//! A running chain as a child process, a client on it, and signed extrinsics.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use basilica_devchain::genesis::dev_pair;
use basilica_devchain::profile::Profile;
use basilica_devchain::runtime::{
    AccountId, Address, Hash, RuntimeCall, TxExtension, UncheckedExtrinsic, extensions, version_of,
};
use codec::Encode as _;
use jsonrpsee::core::client::{ClientT as _, Error, Subscription, SubscriptionClientT as _};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde_json::Value;
use sp_core::Pair as _;
use sp_runtime::generic::{Era, SignedPayload};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A chain in a process of its own; it dies with this value.
pub(crate) struct Devchain {
    child: Child,
    /// Its WebSocket URL.
    pub(crate) url: String,
    /// What it printed before it listened.
    pub(crate) printed: Vec<String>,
}

impl Drop for Devchain {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_basilica-devchain"))
}

impl Devchain {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let child = command()
            .args(["--listen", "127.0.0.1:0", "--block-time", "50ms", "--tempo", "10"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the devchain starts");
        let mut chain = Self { child, url: String::new(), printed: Vec::new() };
        let stdout = chain.child.stdout.take().expect("stdout is piped");
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("stdout reads");
            if let Some(url) = line.strip_prefix("listening ") {
                url.clone_into(&mut chain.url);
                return chain;
            }
            chain.printed.push(line);
        }
        panic!("the devchain ended before it listened; it printed {:?}", chain.printed);
    }

    pub(crate) fn with_state(file: &Path) -> Self {
        Self::start(&["--state", file.to_str().expect("a plain path")])
    }

    /// SIGKILL, which no process can prepare for.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the signal is sent");
        self.child.wait().expect("it ends").code()
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it has.
    pub(crate) fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    pub(crate) async fn client(&self) -> Client {
        let client =
            WsClientBuilder::default().request_timeout(PATIENCE).build(&self.url).await.expect("connects");
        Client { client }
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) client: WsClient,
}

fn array(params: &Value) -> ArrayParams {
    let mut array = ArrayParams::new();
    // The controls take one object in place of positions.
    let values = params.as_array().cloned().unwrap_or_else(|| vec![params.clone()]);
    for value in values {
        array.insert(value).expect("JSON");
    }
    array
}

impl Client {
    pub(crate) async fn try_call(&self, method: &str, params: Value) -> Result<Value, Error> {
        self.client.request(method, array(&params)).await
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The code and data of the error that a call must give.
    pub(crate) async fn refusal(&self, method: &str, params: Value) -> (i32, String) {
        match self.try_call(method, params).await {
            Err(Error::Call(error)) => (
                error.code(),
                error.data().map_or_else(|| error.message().to_owned(), |data| data.get().to_owned()),
            ),
            other => panic!("{method} must be refused, got {other:?}"),
        }
    }

    pub(crate) async fn subscribe(
        &self,
        method: &str,
        params: Value,
        unsubscribe: &str,
    ) -> Subscription<Value> {
        self.client.subscribe(method, array(&params), unsubscribe).await.expect("subscribes")
    }

    /// Whether a subscription is refused.
    pub(crate) async fn refuses_subscription(&self, method: &str, params: Value, unsubscribe: &str) -> bool {
        let subscribed = self.client.subscribe::<Value, _>(method, array(&params), unsubscribe).await;
        matches!(subscribed, Err(Error::Call(_)))
    }

    pub(crate) async fn number(&self) -> u64 {
        number_of(&self.call("chain_getHeader", serde_json::json!([])).await)
    }

    pub(crate) async fn genesis(&self) -> Hash {
        hash_of(&self.call("chain_getBlockHash", serde_json::json!([0])).await)
    }

    /// The account's nonce with what waits.
    pub(crate) async fn nonce(&self, uri: &str) -> u32 {
        let nonce = self.call("account_nextIndex", serde_json::json!([address_of(uri)])).await;
        u32::try_from(nonce.as_u64().expect("a number")).expect("a nonce")
    }

    /// Signs a call with the account's next nonce.
    pub(crate) async fn signed(&self, uri: &str, call: RuntimeCall) -> String {
        sign(uri, call, self.nonce(uri).await, Era::Immortal, (self.genesis().await, None))
    }

    /// Submits, and waits for every status to the last.
    pub(crate) async fn watch(&self, extrinsic: &str) -> Vec<Value> {
        let params = serde_json::json!([extrinsic]);
        let updates =
            self.subscribe("author_submitAndWatchExtrinsic", params, "author_unwatchExtrinsic").await;
        statuses(updates).await
    }

    /// Reads a storage value and decodes it.
    pub(crate) async fn storage<V: codec::Decode>(&self, key: &[u8]) -> Option<V> {
        let value = self.call("state_getStorage", serde_json::json!([hex::encode(key)])).await;
        let text = value.as_str()?;
        let bytes = hex::decode(text.trim_start_matches("0x")).expect("hex");
        Some(V::decode(&mut &bytes[..]).expect("the value decodes"))
    }

    /// Waits until a check of the chain holds.
    pub(crate) async fn until<F: AsyncFn(&Self) -> bool>(&self, what: &str, holds: F) {
        let mut heads = self
            .subscribe("chain_subscribeNewHeads", serde_json::json!([]), "chain_unsubscribeNewHeads")
            .await;
        let waiting = async {
            while !holds(self).await {
                heads.next().await.expect("heads go on").expect("a head");
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not happen"));
    }
}

/// Every status until the subscription's last.
pub(crate) async fn statuses(mut updates: Subscription<Value>) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let update = tokio::time::timeout(PATIENCE, updates.next()).await.expect("a status in time");
        let Some(update) = update else { return all };
        let update = update.expect("a status");
        let is_last = matches!(&update, Value::String(name) if name == "invalid" || name == "dropped")
            || update.get("finalityTimeout").is_some()
            || update.get("finalized").is_some()
            || update.get("usurped").is_some();
        all.push(update);
        if is_last {
            return all;
        }
    }
}

pub(crate) fn number_of(header: &Value) -> u64 {
    let text = header["number"].as_str().expect("a number in hex");
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("hex digits")
}

pub(crate) fn hash_of(value: &Value) -> Hash {
    let bytes = hex::decode(value.as_str().expect("a hash").trim_start_matches("0x")).expect("hex");
    Hash::from_slice(&bytes)
}

pub(crate) fn account_of(uri: &str) -> AccountId {
    AccountId::new(dev_pair(uri).expect("a dev uri").public().0)
}

pub(crate) fn address_of(uri: &str) -> String {
    use sp_core::crypto::Ss58Codec as _;
    account_of(uri).to_ss58check()
}

/// A signed extrinsic as hex. `anchor` is the genesis hash and, for a mortal era, the hash of its birth block.
pub(crate) fn sign(
    uri: &str,
    call: RuntimeCall,
    nonce: u32,
    era: Era,
    anchor: (Hash, Option<Hash>),
) -> String {
    let extrinsic = sign_under(Profile::Newest, uri, (call, nonce), era, anchor);
    format!("0x{}", hex::encode(extrinsic.encode()))
}

/// Signs a call with a nonce for a chain of a profile.
pub(crate) fn sign_under(
    profile: Profile,
    uri: &str,
    (call, nonce): (RuntimeCall, u32),
    era: Era,
    anchor: (Hash, Option<Hash>),
) -> UncheckedExtrinsic {
    let (genesis, birth) = anchor;
    let pair = dev_pair(uri).expect("a dev uri");
    let extension: TxExtension = (
        (
            frame_system::CheckNonZeroSender::new(),
            frame_system::CheckSpecVersion::new(),
            frame_system::CheckTxVersion::new(),
            frame_system::CheckGenesis::new(),
            extensions::CheckMortality::from(era),
            frame_system::CheckNonce::from(nonce),
            frame_system::CheckWeight::new(),
        ),
        (
            pallet_transaction_payment::ChargeTransactionPayment::from(0),
            extensions::SudoTransactionExtension::default(),
            extensions::CheckShieldedTxValidity::default(),
            extensions::SubtensorTransactionExtension::default(),
            extensions::DrandPriority::default(),
        ),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
    );
    let version = version_of(profile);
    let versions = (version.spec_version, version.transaction_version);
    let implicit =
        (((), versions.0, versions.1, genesis, birth.unwrap_or(genesis), (), ()), ((), (), (), (), ()), None);
    let payload = SignedPayload::from_raw(call.clone(), extension.clone(), implicit);
    let signature = payload.using_encoded(|bytes| pair.sign(bytes));
    let address = Address::Id(account_of(uri));
    UncheckedExtrinsic::new_signed(call, address, signature.into(), extension)
}
