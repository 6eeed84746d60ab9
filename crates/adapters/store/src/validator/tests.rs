//! What the validator's store promises, on real files.

mod fleet;
mod verdicts;
mod weights;

use std::collections::BTreeSet;

use basilica_ports::{
    Absence, CheckEntry, Effect, Expiry, FleetStore, HistoryEntry, Holds, Lost, NewWindow, NodeChange,
    NodeKey, Opened, PreparedWeights, Recorded, Salt, SeenMiner, StoredStanding, VerdictStore,
    VerdictSummary, WeightStore, WindowEnd, WindowForm, WindowState,
};
use basilica_proof::DeviceFacts;
use basilica_types::{
    BasisPoints, BlockNumber, Category, Digest, FencingToken, GpuUuid, Hotkey, MechanismId, Millis, NetUid,
    NodeAddress, Ppm, Timestamp, Uid, UsdMicros, Weight,
};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::fleet::{Claimant, Identity};
use basilica_verification::timing::{DeadlineRecord, Observed, Tests};
use basilica_verification::{CheckKind, Control, Due, Fault, Outcome, ProvenGpu, Reason, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::{VALIDATOR_SCHEMA, ValidatorDatabase};
use crate::{Database, OpenOptions, Schema};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const PROVER: Digest = Digest::from_bytes([4; 32]);
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4e",
];

struct Fixture {
    store: ValidatorDatabase,
    directory: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory).await;
        let miners = [1, 2].map(|n| SeenMiner {
            hotkey: miner(n),
            uid: Uid(u16::from(n)),
            axon: "198.51.100.7:50051".parse().unwrap(),
        });
        store.observe_miners(&miners, NOW).await.unwrap();
        Self { store, directory }
    }

    /// The same file as another process finds it after `kill -9`: what was not committed is not there.
    async fn reopened(self) -> Self {
        let Self { store, directory } = self;
        drop(store);
        Self { store: open(&directory).await, directory }
    }
}

async fn open(directory: &tempfile::TempDir) -> ValidatorDatabase {
    let url = format!("sqlite:{}", directory.path().join("validator.db").display()).parse().unwrap();
    ValidatorDatabase::new(Database::open(&url, &VALIDATOR_SCHEMA, OpenOptions::default()).await.unwrap())
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

#[tokio::test]
async fn pruning_keeps_the_last_link_the_newest_transcripts_and_open_windows() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    for digest in 1..=4u8 {
        let previous = (digest > 1).then(|| digest - 1);
        store.record_check(&passed(key(1, 7), digest, previous, vec![])).await.unwrap();
    }
    store.open_window(&weights::window(0)).await.unwrap();
    let end = NOW + Millis(1_000);
    let mut removed = 0;
    for _ in 0..10 {
        let pruned = store.prune(end, 2, 1).await.unwrap();
        assert!(pruned.history <= 1, "each call is bounded");
        removed += pruned.history;
    }
    assert_eq!(removed, 4);
    assert_eq!(store.verdicts(key(1, 7), 10).await.unwrap().len(), 1);
    let mut kept = 0;
    for digest in 1..=4u8 {
        kept += usize::from(store.transcript(Digest::from_bytes([digest; 32])).await.unwrap().is_some());
    }
    assert_eq!((kept, store.windows(5).await.unwrap().len()), (2, 1));
}
