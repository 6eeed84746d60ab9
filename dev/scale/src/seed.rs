//! The database of a validator that has judged its nodes before.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use basilica_ports::{
    CheckEntry, EntropyRng, FleetStore as _, NodeKey, Recorded, SeenMiner, VerdictStore as _, VerdictSummary,
};
use basilica_store::{OpenOptions, ValidatorDatabase};
use basilica_system::OsEntropy;
use basilica_types::{Category, Digest, Hotkey, Millis, Timestamp, Uid};
use basilica_verification::{
    CheckKind, ClaimedGpu, Due, Evidence, Measured, Outcome, Probes, ProvenGpu, Verdict, host_key_digest,
};
use basilica_wire::{Keypair, Signed};
use codec::Encode as _;

use crate::nodes::Listed;

const DAY: Millis = Millis::from_secs(24 * 3600);

/// A miner with its slot and its nodes.
pub(crate) struct Operator<'a> {
    pub(crate) hotkey: Hotkey,
    pub(crate) uid: Uid,
    pub(crate) axon: SocketAddr,
    pub(crate) nodes: &'a [Listed],
}

/// What the results before the run have in common.
pub(crate) struct Past<'a> {
    pub(crate) validator: &'a Keypair,
    pub(crate) prover: Digest,
    /// When they were.
    pub(crate) at: Timestamp,
    /// When the light check of all nodes is due.
    pub(crate) light: Timestamp,
}

/// Makes the database. Nodes that are to prove themselves in the run are in it without a result.
pub(crate) async fn fill(path: &Path, operators: &[Operator<'_>], past: &Past<'_>) {
    let url = format!("sqlite:{}", path.display()).parse().unwrap();
    let store = ValidatorDatabase::open(&url, OpenOptions::default()).await.unwrap();
    let seen = |operator: &Operator<'_>| SeenMiner {
        hotkey: operator.hotkey,
        uid: operator.uid,
        axon: operator.axon,
    };
    store.observe_miners(&operators.iter().map(seen).collect::<Vec<_>>(), past.at).await.unwrap();
    for operator in operators {
        let reports: Vec<_> = operator.nodes.iter().map(Listed::report).collect();
        store.record_discovery(operator.hotkey, &reports, past.at).await.unwrap();
        for node in operator.nodes.iter().filter(|node| node.seeded) {
            let entry = passed(operator.hotkey, node, past);
            assert_eq!(store.record_check(&entry).await.unwrap(), Recorded::Stored);
        }
    }
    store.close().await;
}

fn passed(miner: Hotkey, node: &Listed, past: &Past<'_>) -> CheckEntry {
    let key = NodeKey { miner, node: node.address.node_id() };
    let gpus = vec![ProvenGpu { uuid: node.gpu, category: Category::H100 }];
    let verdict = Verdict {
        miner,
        node: key.node,
        validator: past.validator.hotkey(),
        previous: None,
        kind: CheckKind::Full,
        started: past.at,
        finished: past.at,
        outcome: Outcome::Passed,
        gpus: gpus.clone(),
        policy: Digest::from_bytes([0; 32]),
        evidence: Evidence {
            host_key: Some(host_key_digest(&node.host_key)),
            tries: 1,
            claims: vec![ClaimedGpu { index: 0, uuid: node.gpu, class: "simulated-H100".parse().unwrap() }],
            transcript: None,
            prover: past.prover,
            measured: Measured::default(),
            probes: Probes::default(),
        },
    };
    let signed = Signed::new(verdict, past.validator, EntropyRng(&OsEntropy));
    let digest = signed.digest();
    let summary =
        VerdictSummary { digest, kind: CheckKind::Full, outcome: Outcome::Passed, finished: past.at };
    CheckEntry {
        key,
        verdict: signed.encode(),
        digest,
        previous: None,
        started: past.at,
        host_keys: vec![node.host_key.clone()],
        prover: past.prover,
        summary,
        gpus,
        fingerprints: Vec::new(),
        identities: BTreeSet::new(),
        held_by: None,
        apart_from: BTreeSet::new(),
        gpus_stale_before: past.at,
        deadlines: None,
        transcript: None,
        due: Due { light: past.light, full: past.light + DAY },
    }
}
