//! Records are what history comes to, whenever it is folded.

use basilica_ports::{NodeConduct, PaidGpu};
use basilica_scoring::history::{self, Entry, Gate, Policy};
use basilica_scoring::weights::Part;

use super::*;

on_both_engines!(
    a_record_is_what_history_comes_to,
    what_is_folded_anew_is_the_same,
    a_damaged_record_is_folded_anew_and_so_is_one_of_another_policy,
    a_gpu_takes_its_conduct_to_its_next_node,
    a_new_host_serves_the_ban_of_one_that_is_gone,
    who_got_what_is_kept_with_its_window_and_goes_with_it,
    scores_are_those_of_available_nodes,
    the_memory_that_a_gpu_showed_is_kept_with_what_is_paid,
);

pub(super) const MINUTE: u64 = 60_000;

/// A check of a node that follows its last verdict, at that many minutes.
pub(super) async fn check(
    store: &ValidatorDatabase,
    key: NodeKey,
    minute: u64,
    kind: CheckKind,
    outcome: Outcome,
    gpus: &[u8],
) {
    let node = store.node(key).await.unwrap().unwrap();
    let finished = NOW + Millis(minute * MINUTE);
    let digest = Digest::from_bytes(*blake(key, minute).as_bytes());
    let entry = CheckEntry {
        digest,
        previous: node.last_verdict.map(|verdict| verdict.digest),
        started: finished,
        host_keys: node.host_keys,
        summary: VerdictSummary { digest, kind, outcome, finished },
        gpus: gpus.iter().map(|n| gpu(*n)).collect(),
        gpus_stale_before: finished,
        transcript: None,
        ..passed(key, 0, None, vec![])
    };
    assert_eq!(store.record_check(&entry).await.unwrap(), Recorded::Stored);
}

/// Bytes of their own for every verdict.
fn blake(key: NodeKey, minute: u64) -> Bytes {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&key.node.to_string().as_bytes()[..16]);
    bytes[16..24].copy_from_slice(&minute.to_le_bytes());
    bytes[24] = key.miner.as_bytes()[0];
    Bytes(bytes)
}

struct Bytes([u8; 32]);

impl Bytes {
    const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

pub(super) const PASSED: Outcome = Outcome::Passed;
pub(super) const REJECTED: Outcome =
    Outcome::Failed { reason: Reason::ProofOpeningMismatch, fault: Fault::Node { confirmed: true } };
const DEAD: Outcome =
    Outcome::Failed { reason: Reason::ConnectionTimeout, fault: Fault::Node { confirmed: true } };

/// A week in which two nodes do what nodes do.
async fn live(store: &ValidatorDatabase) {
    let (a, b) = (key(1, 7), key(2, 8));
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(8)], NOW).await.unwrap();
    check(store, a, 1, CheckKind::Full, PASSED, &[1, 2]).await;
    check(store, b, 2, CheckKind::Full, PASSED, &[3]).await;
    check(store, a, 11, CheckKind::Light, PASSED, &[]).await;
    check(store, a, 21, CheckKind::Light, DEAD, &[]).await;
    check(store, a, 25, CheckKind::Light, PASSED, &[]).await;
    let moved = NodeReport { host_keys: vec![KEYS[1].parse().unwrap()], ..report(8) };
    store.record_discovery(miner(2), &[moved], NOW + Millis(30 * MINUTE)).await.unwrap();
    check(store, b, 40, CheckKind::Light, DEAD, &[]).await;
    let away = NodeReport { status: NodeStatus::Maintenance, ..report(7) };
    store.record_discovery(miner(1), &[away], NOW + Millis(50 * MINUTE)).await.unwrap();
    store.record_discovery(miner(1), &[report(7)], NOW + Millis(60 * MINUTE)).await.unwrap();
    check(store, a, 400, CheckKind::Full, PASSED, &[1]).await;
    check(store, b, 401, CheckKind::Full, REJECTED, &[]).await;
    check(store, b, 431, CheckKind::Full, REJECTED, &[]).await;
    check(store, b, 461, CheckKind::Full, PASSED, &[3, 4]).await;
}

pub(super) async fn conducts(store: &ValidatorDatabase) -> Vec<NodeConduct> {
    store.conducts().await.unwrap()
}

async fn a_record_is_what_history_comes_to(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    live(&store).await;
    let now = NOW + Millis(500 * MINUTE);
    for node in conducts(&store).await {
        let history = store.history(node.key, NOW).await.unwrap();
        let entries: Vec<Entry> = history.iter().map(Entry::from).collect();
        let whole = history::standing(&entries, &Policy::default(), now);
        assert_eq!(node.record.unwrap().standing([], &Policy::default(), now), whole);
        assert_eq!(node.gpus.len(), if node.key == key(1, 7) { 1 } else { 2 });
    }
}

async fn what_is_folded_anew_is_the_same(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    live(&store).await;
    let before = conducts(&store).await;
    assert_eq!(store.refold().await.unwrap(), 0, "what has a record keeps it");
    batches::spoil(&store).await;
    assert_eq!(store.refold().await.unwrap(), 2);
    assert_eq!(conducts(&store).await, before);
}

async fn a_damaged_record_is_folded_anew_and_so_is_one_of_another_policy(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    live(&store).await;
    let before = conducts(&store).await;
    let mut transaction = store.begin("test").await.unwrap();
    query("UPDATE nodes SET record = $1").bind(vec![1, 2, 3]).execute(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(conducts(&store).await.iter().all(|node| node.record.is_none()));
    check(&store, key(1, 7), 500, CheckKind::Light, PASSED, &[]).await;
    store.refold().await.unwrap();
    let after = conducts(&store).await;
    assert_eq!((&after[1], after[0] != before[0]), (&before[1], true), "what was added meanwhile is in it");
    let lenient = Policy { downtime_tolerance: Millis(86_400_000), ..Policy::default() };
    let store = store.scored_by(lenient);
    assert!(conducts(&store).await.iter().all(|node| node.record.is_none()));
    store.refold().await.unwrap();
    assert!(conducts(&store).await.iter().all(|node| node.record.is_some() && !node.gpus.is_empty()));
}

async fn a_gpu_takes_its_conduct_to_its_next_node(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    live(&store).await;
    let of = |all: Vec<NodeConduct>, key| all.into_iter().find(|node| node.key == key).unwrap();
    let before = of(conducts(&store).await, key(2, 8));
    let banned = before.gpus[0].conduct().banned_until(NOW + Millis(440 * MINUTE));
    assert_eq!(banned, Some(NOW + Millis(461 * MINUTE)));
    check(&store, key(1, 7), 1_200, CheckKind::Full, PASSED, &[1, 3]).await;
    let (a, b) = (of(conducts(&store).await, key(1, 7)), of(conducts(&store).await, key(2, 8)));
    assert_eq!((a.gpus.len(), b.gpus.len()), (2, 1));
    assert_eq!(a.gpus[1].conduct().banned_until(NOW + Millis(440 * MINUTE)), banned);
    let folded = conducts(&store).await;
    batches::spoil(&store).await;
    store.refold().await.unwrap();
    assert_eq!(conducts(&store).await, folded);
}

async fn a_new_host_serves_the_ban_of_one_that_is_gone(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    check(&store, key(1, 7), 0, CheckKind::Full, REJECTED, &[]).await;
    check(&store, key(1, 7), 30, CheckKind::Full, REJECTED, &[]).await;
    store.record_discovery(miner(1), &[report(9)], NOW + Millis(31 * MINUTE)).await.unwrap();
    check(&store, key(1, 9), 32, CheckKind::Full, PASSED, &[5]).await;
    let standing = |nodes: Vec<NodeConduct>, minute: u64| {
        let new = nodes.into_iter().find(|node| node.key == key(1, 9)).unwrap();
        new.record.unwrap().standing(&new.gpus, &Policy::default(), NOW + Millis(minute * MINUTE))
    };
    assert_eq!(standing(conducts(&store).await, 33).banned_until, Some(NOW + Millis(60 * MINUTE)));
    assert_eq!(standing(conducts(&store).await, 60).gate, Gate::Open);
    let folded = conducts(&store).await;
    batches::spoil(&store).await;
    store.refold().await.unwrap();
    assert_eq!(conducts(&store).await, folded);
}

async fn who_got_what_is_kept_with_its_window_and_goes_with_it(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let part = |uid, category, points: u128| Part {
        uid: Uid(uid),
        category,
        points,
        total: u128::MAX,
        weight: Weight(uid),
    };
    let parts =
        [part(1, Some(Category::H100), u128::MAX), part(2, Some(Category::Other), 1), part(204, None, 0)];
    let Opened::Window(id) = store.open_window(&weights::window(&store), &parts).await.unwrap() else {
        panic!("not opened")
    };
    assert_eq!(store.emission(id, 0, 10).await.unwrap(), parts);
    assert_eq!(store.emission(id, 1, 1).await.unwrap(), parts[1..2]);
    let expired = WindowEnd::Expired(Expiry::EraOver);
    store.end_window(id, &expired).await.unwrap();
    assert!(matches!(store.open_window(&weights::window(&store), &[]).await.unwrap(), Opened::Window(_)));
    store.prune(NOW + Millis(86_400_000), 1, 10).await.unwrap();
    assert_eq!(store.emission(id, 0, 10).await.unwrap(), []);
}

async fn scores_are_those_of_available_nodes(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    live(&store).await;
    let standing = StoredStanding {
        gate: "ok".into(),
        score: BasisPoints::ONE,
        multiplier: Ppm::ONE,
        banned_until: None,
        at: NOW + Millis(9),
    };
    let all: Vec<_> = [key(1, 7), key(2, 8)].map(|key| (key, standing.clone())).into();
    store.record_standings(&all).await.unwrap();
    let scores = store.scores().await.unwrap();
    assert_eq!((scores.nodes.len(), scores.last_pass), (2, Some(NOW + Millis(9))));
    assert_eq!(
        (scores.nodes[0].key, &scores.nodes[0].gpus),
        (key(1, 7), &vec![PaidGpu { gpu: gpu(1), memory_bytes: None }])
    );
    let away = NodeReport { status: NodeStatus::Maintenance, ..report(7) };
    store.record_discovery(miner(1), &[away], NOW + Millis(600 * MINUTE)).await.unwrap();
    store.record_discovery(miner(2), &[], NOW + Millis(600 * MINUTE)).await.unwrap();
    let scores = store.scores().await.unwrap();
    assert_eq!(
        (scores.nodes.len(), scores.waiting_since),
        (0, Some(NOW)),
        "one is listed, and not available"
    );
}

async fn the_memory_that_a_gpu_showed_is_kept_with_what_is_paid(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let facts = DeviceFacts::simulated(&"simulated-H100".parse().unwrap(), 0);
    let memory = facts.memory_bytes;
    let uuid = gpu(1).uuid;
    let mut entry = passed(key(1, 7), 1, None, vec![gpu(1), gpu(2)]);
    entry.fingerprints = vec![Fingerprint { uuid, facts, machine: None }];
    store.record_check(&entry).await.unwrap();
    let standing = StoredStanding {
        gate: "ok".into(),
        score: BasisPoints::ONE,
        multiplier: Ppm::ONE,
        banned_until: None,
        at: NOW,
    };
    store.record_standings(&[(key(1, 7), standing)]).await.unwrap();
    let known = PaidGpu { gpu: gpu(1), memory_bytes: Some(memory) };
    let unknown = PaidGpu { gpu: gpu(2), memory_bytes: None };
    assert_eq!(store.scores().await.unwrap().nodes[0].gpus, [known, unknown]);
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().last_proof.unwrap().1, [known, unknown]);
}
