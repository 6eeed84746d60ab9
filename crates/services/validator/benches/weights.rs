//! Weights from the database: 256 miners with 10,000 available, scored nodes of eight GPUs, from rows to the vector.
//!
//! On SQLite (a file on disk) and on Postgres (a server of its own on a socket). The rows are written by the store's own
//! methods: each node is discovered, passes a full check and is scored.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run fails, and tells its figures"
)]

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::{
    CheckEntry, FleetStore as _, Leadership as _, NodeKey, Recorded, SeenMiner, StoredStanding,
    VerdictStore as _, VerdictSummary,
};
use basilica_postgres::Postgres;
use basilica_runtime_service::{ConfigSource, load};
use basilica_scoring::weights::vector;
use basilica_store::{OpenOptions, ValidatorDatabase};
use basilica_types::{
    BasisPoints, Category, Digest, GpuUuid, Hotkey, Millis, NodeAddress, Ppm, Timestamp, Uid,
};
use basilica_validator_service::{Settings, emission};
use basilica_verification::{CheckKind, Due, Outcome, ProvenGpu};
use basilica_wire::discovery::{NodeReport, NodeStatus};
use criterion::Criterion;
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const MINERS: u16 = 256;
const NODES: u32 = 10_000;
const GPUS: u8 = 8;
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn hotkey(uid: u16) -> Hotkey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&uid.to_le_bytes());
    Hotkey::from_bytes(bytes)
}

fn report(node: u32) -> NodeReport {
    let [_, a, b, c] = node.to_be_bytes();
    let address: NodeAddress = format!("root@100.{a}.{b}.{c}:22").parse().unwrap();
    NodeReport {
        node_id: address.node_id(),
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: None,
        host_keys: vec![HOST_KEY.parse().unwrap()],
    }
}

fn check(key: NodeKey, node: u32) -> CheckEntry {
    let digest = Digest::from_bytes(std::array::from_fn(|i| node.to_le_bytes()[i % 4]));
    let category = Category::ALL[node as usize % Category::ALL.len()];
    let gpus = (0..GPUS).map(|gpu| {
        let mut uuid = [gpu; 16];
        uuid[..4].copy_from_slice(&node.to_le_bytes());
        ProvenGpu { uuid: GpuUuid::from_bytes(uuid), category }
    });
    CheckEntry {
        key,
        verdict: vec![0; 300],
        digest,
        previous: None,
        started: NOW,
        host_keys: report(node).host_keys,
        prover: Digest::from_bytes([1; 32]),
        summary: VerdictSummary { digest, kind: CheckKind::Full, outcome: Outcome::Passed, finished: NOW },
        gpus: gpus.collect(),
        fingerprints: Vec::new(),
        identities: BTreeSet::new(),
        held_by: None,
        apart_from: BTreeSet::new(),
        gpus_stale_before: NOW,
        deadlines: None,
        transcript: None,
        due: Due { light: NOW, full: NOW },
    }
}

async fn fill(store: &ValidatorDatabase) {
    let miner =
        |uid| SeenMiner { hotkey: hotkey(uid), uid: Uid(uid), axon: "198.51.100.7:50051".parse().unwrap() };
    store.observe_miners(&(0..MINERS).map(miner).collect::<Vec<_>>(), NOW).await.unwrap();
    let mut standings = Vec::new();
    for uid in 0..MINERS {
        let nodes: Vec<u32> = (0..NODES).filter(|node| node % u32::from(MINERS) == u32::from(uid)).collect();
        let reports: Vec<NodeReport> = nodes.iter().map(|node| report(*node)).collect();
        store.record_discovery(hotkey(uid), &reports, NOW).await.unwrap();
        for (node, report) in nodes.into_iter().zip(reports) {
            let key = NodeKey { miner: hotkey(uid), node: report.node_id };
            assert_eq!(store.record_check(&check(key, node)).await.unwrap(), Recorded::Stored);
            let score = BasisPoints::new(u16::try_from(5_000 + node % 5_000).unwrap()).unwrap();
            let multiplier = Ppm::new(1 + node * 97 % 1_000_000).unwrap();
            let gate = "ok".to_owned();
            standings.push((key, StoredStanding { gate, score, multiplier, banned_until: None, at: NOW }));
        }
    }
    store.record_standings(&standings).await.unwrap();
}

fn settings() -> Settings {
    Settings::new(&load(&ConfigSource::default()).unwrap()).unwrap()
}

fn measure(criterion: &mut Criterion, runtime: &Runtime, name: &str, store: &ValidatorDatabase) {
    let (settings, uids) = (settings(), (0..MINERS).map(|uid| (hotkey(uid), Uid(uid))).collect());
    let uids: BTreeMap<Hotkey, Uid> = uids;
    runtime.block_on(fill(store));
    let once = || {
        let parts = runtime.block_on(emission(store, &uids, &settings, NOW)).unwrap();
        vector(&parts.unwrap())
    };
    let weights = once();
    let sum: u32 = weights.iter().map(|(_, weight)| u32::from(weight.0)).sum();
    println!("{name}: {} miners with weight, sum {sum}", weights.len());
    assert_eq!(sum, 65_535);
    criterion.bench_function(name, |b| b.iter(once));
}

fn main() {
    let mut criterion = Criterion::default().sample_size(30).configure_from_args();
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("validator.db").display()).parse().unwrap();
    let file = runtime.block_on(ValidatorDatabase::open(&url, OpenOptions::default())).unwrap();
    measure(&mut criterion, &runtime, "weights of 10,000 nodes from SQLite", &file);
    let server = Postgres::start();
    let url = server.database().parse().unwrap();
    let cluster = runtime.block_on(async {
        let cluster = ValidatorDatabase::open(&url, OpenOptions::default()).await.unwrap();
        cluster.campaign("bench", Millis::from_secs(3_600)).await.unwrap();
        cluster
    });
    measure(&mut criterion, &runtime, "weights of 10,000 nodes from Postgres", &cluster);
    criterion.final_summary();
}
