//! What the validator's store promises: one suite, run on real files of SQLite and on real servers of Postgres.

/// Makes a test of each function for each engine.
macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::On::Sqlite).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::On::Postgres).await;
            })+
        }
    };
}

mod backup;
mod batches;
mod conduct;
mod fleet;
mod leadership;
mod measures;
mod schema;
mod verdict_log;
mod verdicts;
mod weights;

use std::collections::BTreeSet;

use basilica_ports::{
    Absence, Campaign, CheckEntry, Effect, Expiry, FleetStore, HistoryEntry, Holds, Leadership, Lost,
    NewWindow, NodeChange, NodeKey, Opened, PaidGpu, PreparedWeights, Recorded, Salt, SeenMiner, StoreError,
    StoredStanding, VerdictStore, VerdictSummary, VerdictsOf, WeightStore, WindowEnd, WindowForm,
    WindowState,
};
use basilica_postgres::Postgres;
use basilica_proof::DeviceFacts;
use basilica_types::{
    BasisPoints, BlockNumber, Category, DatabasePath, DatabaseUrl, Digest, FencingToken, GpuUuid, Hotkey,
    MechanismId, Millis, NetUid, NodeAddress, Ppm, Timestamp, Uid, UsdMicros, Weight,
};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::fleet::{Claimant, Identity};
use basilica_verification::timing::{DeadlineRecord, Observed, Tests};
use basilica_verification::{CheckKind, Control, Due, Fault, Outcome, ProvenGpu, Reason, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::{VALIDATOR_SCHEMA, ValidatorDatabase};
use crate::sql::query;
use crate::{Database, OpenError, OpenOptions, Schema};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const PROVER: Digest = Digest::from_bytes([4; 32]);
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4e",
];

/// Which engine a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Sqlite,
    Postgres,
}

/// Where the tables are, as long as this lives.
struct Place {
    url: DatabaseUrl,
    server: Option<Postgres>,
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    fn new(on: On) -> Self {
        match on {
            On::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", directory.path().join("validator.db").display());
                Self { url: url.parse().unwrap(), server: None, _directory: Some(directory) }
            }
            On::Postgres => {
                let server = Postgres::start();
                Self { url: server.database().parse().unwrap(), server: Some(server), _directory: None }
            }
        }
    }

    /// The store of another process, which does not lead.
    async fn open(&self) -> ValidatorDatabase {
        ValidatorDatabase::open(&self.url, OpenOptions::default()).await.unwrap()
    }

    /// The store of a process that leads, by a lease that is over at once: the next one need not wait.
    async fn lead(&self) -> ValidatorDatabase {
        let store = self.open().await;
        assert!(matches!(store.campaign("test", Millis(0)).await.unwrap(), Campaign::Won(_)));
        store
    }
}

struct Fixture {
    store: ValidatorDatabase,
    place: Place,
}

impl Fixture {
    async fn new(on: On) -> Self {
        let place = Place::new(on);
        let store = place.lead().await;
        let miners = [1, 2].map(|n| SeenMiner {
            hotkey: miner(n),
            uid: Uid(u16::from(n)),
            axon: "198.51.100.7:50051".parse().unwrap(),
        });
        store.observe_miners(&miners, NOW).await.unwrap();
        Self { store, place }
    }

    /// The same tables as another process finds them after `kill -9`: what was not committed is not there.
    async fn reopened(self) -> Self {
        let Self { store, place } = self;
        drop(store);
        Self { store: place.lead().await, place }
    }
}

/// How many verdicts of a node are kept.
async fn kept(store: &ValidatorDatabase, key: NodeKey) -> usize {
    store.verdict_page(VerdictsOf::Node(key.node), None, 99).await.unwrap().len()
}

fn miner(n: u8) -> Hotkey {
    Hotkey::from_bytes([n; 32])
}

fn report(host: u8) -> NodeReport {
    let address: NodeAddress = format!("root@198.51.100.{host}:22").parse().unwrap();
    NodeReport {
        node_id: address.node_id(),
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: Some(UsdMicros(2_500_000)),
        host_keys: vec![KEYS[0].parse().unwrap()],
    }
}

fn key(owner: u8, host: u8) -> NodeKey {
    NodeKey { miner: miner(owner), node: report(host).address.node_id() }
}

/// As a node is paid for it whose memory was not written down.
fn paid(n: u8) -> PaidGpu {
    PaidGpu { gpu: gpu(n), memory_bytes: None }
}

fn gpu(n: u8) -> ProvenGpu {
    ProvenGpu { uuid: GpuUuid::from_bytes([n; 16]), category: Category::H100 }
}

/// A passed full check of a node, its verdict named by `digest`.
fn passed(key: NodeKey, digest: u8, previous: Option<u8>, gpus: Vec<ProvenGpu>) -> CheckEntry {
    let digest = Digest::from_bytes([digest; 32]);
    let finished = NOW + Millis(5);
    CheckEntry {
        key,
        verdict: vec![1, 2, 3],
        digest,
        previous: previous.map(|d| Digest::from_bytes([d; 32])),
        started: NOW,
        host_keys: report(7).host_keys,
        prover: PROVER,
        summary: VerdictSummary { digest, kind: CheckKind::Full, outcome: Outcome::Passed, finished },
        gpus,
        fingerprints: Vec::new(),
        identities: BTreeSet::new(),
        held_by: None,
        apart_from: BTreeSet::new(),
        gpus_stale_before: NOW,
        deadlines: None,
        transcript: Some((digest, vec![9; 100])),
        due: Due { light: NOW + Millis(100), full: NOW + Millis(200) },
    }
}

on_both_engines!(pruning_keeps_the_last_link_the_newest_transcripts_and_open_windows);

async fn pruning_keeps_the_last_link_the_newest_transcripts_and_open_windows(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    for digest in 1..=4u8 {
        let previous = (digest > 1).then(|| digest - 1);
        store.record_check(&passed(key(1, 7), digest, previous, vec![])).await.unwrap();
    }
    store.open_window(&weights::window(&store), &[]).await.unwrap();
    let end = NOW + Millis(1_000);
    let mut removed = 0;
    for _ in 0..10 {
        let pruned = store.prune(end, 2, 1).await.unwrap();
        assert!(pruned.history <= 1, "each call is bounded");
        removed += pruned.history;
    }
    assert_eq!(removed, 4);
    assert_eq!(kept(&store, key(1, 7)).await, 1);
    let mut kept = 0;
    for digest in 1..=4u8 {
        kept +=
            usize::from(store.transcript(Digest::from_bytes([digest; 32]), 0, 1).await.unwrap().is_some());
    }
    assert_eq!((kept, store.windows(5).await.unwrap().len()), (2, 1));
}
