//! What two validators find to do: miners with an axon that nobody answers, nodes that were judged, and nodes to be judged all the time.

use std::collections::BTreeSet;

use basilica_ports::{
    Campaign, CheckEntry, Clock as _, FleetStore as _, Leadership as _, NodeKey, SeenMiner,
    VerdictStore as _, VerdictSummary,
};
use basilica_store::{OpenOptions, ValidatorDatabase};
use basilica_system::SystemClock;
use basilica_testkit::{Devchain, hotkey};
use basilica_types::{Category, DatabaseUrl, Digest, GpuUuid, Millis, NodeAddress, Timestamp, Uid};
use basilica_verification::{CheckKind, Due, Outcome, ProvenGpu};
use basilica_wire::discovery::{NodeReport, NodeStatus};
use codec::Encode as _;

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const DAY: Millis = Millis::from_secs(24 * 3600);
/// `SubtensorModule.serve_axon`.
const SERVE_AXON: [u8; 2] = [7, 4];
/// Nodes whose checks conclude all the time: their miner has no session, which is its own verdict.
const BUSY_NODES: u8 = 6;
const MINERS: [&str; 2] = ["//Miner1", "//Miner2"];

/// Puts axons on chain that nobody answers at.
pub(crate) fn serve_axons(chain: &Devchain, subnet: u16) {
    for (uri, last) in MINERS.into_iter().zip(1u32..) {
        let ip = u128::from((198 << 24) | (51 << 16) | (100 << 8) | last);
        let call = (subnet, 1u32, ip, 50_051u16, 4u8, 4u8, 0u8, 0u8).encode();
        chain.submit(uri, &[&SERVE_AXON[..], &call].concat());
    }
}

/// Makes the tables and fills them, as a validator that led before.
pub(crate) async fn fill(url: &DatabaseUrl) {
    let store = ValidatorDatabase::open(url, OpenOptions::default()).await.unwrap();
    let won = store.campaign("seed", Millis::from_secs(60)).await.unwrap();
    assert!(matches!(won, Campaign::Won(_)));
    let now = SystemClock::new().now();
    let seen = |(uri, uid): (&str, u16)| SeenMiner {
        hotkey: hotkey(uri),
        uid: Uid(uid),
        axon: "198.51.100.7:50051".parse().unwrap(),
    };
    store.observe_miners(&MINERS.into_iter().zip(4..).map(seen).collect::<Vec<_>>(), now).await.unwrap();
    // Two nodes with a past that pays: one an hour old, one new, so that scores of two moments never give the same vector.
    for (index, (uri, age)) in (1u8..).zip(MINERS.into_iter().zip([Millis::from_secs(3600), Millis(0)])) {
        let at = Timestamp(now.0 - i64::try_from(age.0).unwrap());
        let mut reports = vec![report(index)];
        if index == 1 {
            reports.extend((10..10 + BUSY_NODES).map(report));
        }
        store.record_discovery(hotkey(uri), &reports, at).await.unwrap();
        let key = NodeKey { miner: hotkey(uri), node: reports[0].node_id };
        store.record_check(&passed(key, index, at, now)).await.unwrap();
    }
    store.resign().await.unwrap();
    store.close().await;
}

fn report(host: u8) -> NodeReport {
    let address: NodeAddress = format!("root@198.51.100.{host}:22").parse().unwrap();
    NodeReport {
        node_id: address.node_id(),
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: None,
        host_keys: vec![HOST_KEY.parse().unwrap()],
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
