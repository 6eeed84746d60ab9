//! The validator's own program, with scores that it finds in its database.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use basilica_ports::{
    CheckEntry, Clock as _, FleetStore as _, NodeKey, SeenMiner, VerdictStore as _, VerdictSummary,
    WeightStore as _, WeightWindow,
};
use basilica_store::{Database, OpenOptions, VALIDATOR_SCHEMA, ValidatorDatabase};
use basilica_system::SystemClock;
use basilica_testkit::{built, free_address, hotkey, write_validator};
use basilica_types::{Category, Digest, GpuUuid, Millis, NodeAddress, Timestamp, Uid, UsdMicros};
use basilica_verification::{CheckKind, Due, Outcome, ProvenGpu};
use basilica_wire::discovery::{NodeReport, NodeStatus};
use tempfile::TempDir;

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
/// Far above what anything here takes: reaching it is a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Millis = Millis::from_secs(24 * 3600);

/// A validator that has nothing to do but to set weights: its two nodes are judged already, and checked again tomorrow.
pub(crate) struct Validator {
    /// Where its metrics are.
    pub(crate) metrics: SocketAddr,
    directory: TempDir,
    /// The same file, as an operator may look at it meanwhile.
    store: ValidatorDatabase,
    child: Option<Child>,
}

impl Validator {
    /// Starts the program on these endpoints; `emission` is more of that section.
    pub(crate) async fn start(endpoints: &[&str], emission: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("validator.db").display());
        let database =
            Database::open(&url.parse().unwrap(), &VALIDATOR_SCHEMA, OpenOptions::default()).await.unwrap();
        let store = ValidatorDatabase::new(database);
        judge(&store, SystemClock::new().now()).await;
        std::fs::write(directory.path().join("prover"), b"\x7fELF\x02 that is never run").unwrap();
        let metrics = free_address();
        write_validator(directory.path(), endpoints, &url, &config(&directory, metrics, emission));
        let mut validator = Self { metrics, directory, store, child: None };
        validator.start_again();
        validator
    }

    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let path = self.directory.path().join("validator.log");
        let log = File::options().create(true).append(true).open(path).unwrap();
        let mut command = Command::new(built("basilica-validator"));
        command.arg("-c").arg(self.directory.path().join("validator.toml")).arg("start");
        command.env_clear().env("HOME", self.directory.path()).stdin(Stdio::null());
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// SIGKILL, which no process can prepare for.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether it is ready, in its own words.
    pub(crate) fn readiness(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("validator.log")).unwrap();
        // The latest start's.
        let (_, rest) = text.rsplit_once("api.address").expect("it tells where its API listens");
        let address: String = rest
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(|c| "0123456789.:".contains(*c))
            .collect();
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// All windows, oldest first.
    pub(crate) async fn windows(&self) -> Vec<WeightWindow> {
        let mut windows = self.store.windows(1_000).await.unwrap();
        windows.sort_by_key(|window| window.id);
        windows
    }

    /// The first window that `holds`, which must come.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&WeightWindow) -> bool) -> WeightWindow {
        let wait = async {
            loop {
                if let Some(child) = &mut self.child
                    && let Some(status) = child.try_wait().unwrap()
                {
                    panic!("the validator ended with {status}: {}", log(&self.directory));
                }
                let windows = self.store.windows(1_000).await.unwrap();
                if let Some(window) = windows.into_iter().rev().find(&holds) {
                    return window;
                }
                SystemClock::new().sleep(Millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(window) => window,
            Err(_) => panic!(
                "{what} did not happen within {PATIENCE:?}; windows {:#?}; {}",
                self.store.windows(5).await.unwrap(),
                log(&self.directory)
            ),
        }
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn log(directory: &TempDir) -> String {
    let text = std::fs::read_to_string(directory.path().join("validator.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// One node of each miner passed its full check: one an hour ago, one just now. Their uptime ramps then grow apart, so
/// that the scores of two moments never give the same vector.
async fn judge(store: &ValidatorDatabase, now: Timestamp) {
    let ages = [("//Miner1", 4, Millis::from_secs(3600)), ("//Miner2", 5, Millis(0))];
    let seen = ages.map(|(uri, uid, _)| SeenMiner {
        hotkey: hotkey(uri),
        uid: Uid(uid),
        axon: "198.51.100.7:50051".parse().unwrap(),
    });
    store.observe_miners(&seen, now).await.unwrap();
    for (index, (uri, _, age)) in (1u8..).zip(ages) {
        let at = Timestamp(now.0 - i64::try_from(age.0).unwrap());
        let address: NodeAddress = format!("root@198.51.100.{index}:22").parse().unwrap();
        let key = NodeKey { miner: hotkey(uri), node: address.node_id() };
        let report = NodeReport {
            node_id: key.node,
            address,
            status: NodeStatus::Available,
            hourly_rate_per_gpu: Some(UsdMicros(2_500_000)),
            host_keys: vec![HOST_KEY.parse().unwrap()],
        };
        store.record_discovery(key.miner, &[report], at).await.unwrap();
        store.record_check(&passed(key, index, at, now)).await.unwrap();
    }
}

fn passed(key: NodeKey, index: u8, at: Timestamp, now: Timestamp) -> CheckEntry {
    let digest = Digest::from_bytes([index; 32]);
    CheckEntry {
        key,
        verdict: vec![index],
        digest,
        previous: None,
        started: at,
        host_keys: vec![HOST_KEY.parse().unwrap()],
        prover: Digest::from_bytes([4; 32]),
        summary: VerdictSummary { digest, kind: CheckKind::Full, outcome: Outcome::Passed, finished: at },
        gpus: vec![ProvenGpu { uuid: GpuUuid::from_bytes([index; 16]), category: Category::H100 }],
        fingerprints: Vec::new(),
        identities: BTreeSet::new(),
        held_by: None,
        apart_from: BTreeSet::new(),
        gpus_stale_before: at,
        deadlines: None,
        transcript: None,
        due: Due { light: now + DAY, full: now + DAY },
    }
}

fn config(directory: &TempDir, metrics: SocketAddr, emission: &str) -> String {
    let home = directory.path().display();
    format!(
        r#"
[metrics.prometheus]
host = "{}"
port = {}

[verification]
prover_path = "{home}/prover"
session_grace = "1h"
verification_interval = "1h"
cache_miner_info_ttl = "1s"

[scoring]
interval = "200ms"
ramp_duration = "2h"

[emission]
burn_percentage = 10.0
burn_uid = 0
gpu_allocations = {{ H100 = 100 }}
weight_set_interval_blocks = 10
poll_interval = "100ms"
{emission}
"#,
        metrics.ip(),
        metrics.port(),
    )
}
