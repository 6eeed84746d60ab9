//! What a large fleet costs: statements, which take a round trip each on a server, and transactions, which keep others waiting.

use super::conduct::{MINUTE, PASSED, REJECTED, check, conducts};
use super::*;
use crate::batch;
use crate::sql::counted;

on_both_engines!(
    a_large_fleet_is_written_in_few_statements,
    a_miner_that_says_what_it_said_before_costs_two_statements,
    a_large_history_is_folded_anew_page_by_page_and_in_short_writes,
    what_is_added_while_history_is_folded_anew_is_in_it,
    a_gpu_of_a_damaged_record_takes_the_need_to_fold_along,
);

/// The reports of a large miner.
pub(super) fn many(nodes: u32) -> Vec<NodeReport> {
    let report = |node: u32| {
        let [_, a, b, c] = node.to_be_bytes();
        let address: NodeAddress = format!("root@100.{a}.{b}.{c}:22").parse().unwrap();
        NodeReport { node_id: address.node_id(), address, ..report(1) }
    };
    (0..nodes).map(report).collect()
}

fn keys(owner: u8, reports: &[NodeReport]) -> Vec<NodeKey> {
    reports.iter().map(|report| NodeKey { miner: miner(owner), node: report.node_id }).collect()
}

/// How many statements this took.
async fn statements<T>(work: impl Future<Output = T>) -> u64 {
    let before = counted::so_far();
    work.await;
    counted::so_far() - before
}

/// Leaves no record that can be read.
pub(super) async fn spoil(store: &ValidatorDatabase) {
    let mut transaction = store.begin("test").await.unwrap();
    for table in ["UPDATE nodes SET record = $1", "UPDATE gpus SET record = $1"] {
        query(table).bind(vec![1, 2, 3]).execute(&mut transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn a_large_fleet_is_written_in_few_statements(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let reports = many(1_000);
    let keys = keys(1, &reports);
    let seen = statements(async { store.record_discovery(miner(1), &reports, NOW).await.unwrap() }).await;
    assert!(seen <= 8, "{seen} statements for a thousand new nodes");
    let standing = |node: usize| StoredStanding {
        gate: "ok".into(),
        score: BasisPoints::new(u16::try_from(node).unwrap()).unwrap(),
        multiplier: Ppm::ONE,
        banned_until: node.is_multiple_of(2).then_some(NOW),
        at: NOW,
    };
    let standings: Vec<_> = keys.iter().enumerate().map(|(node, key)| (*key, standing(node))).collect();
    let scored = statements(async { store.record_standings(&standings).await.unwrap() }).await;
    assert!(scored <= 6, "{scored} statements for a thousand scores");
    for (key, standing) in standings.iter().step_by(97) {
        assert_eq!(store.node(*key).await.unwrap().unwrap().standing.as_ref(), Some(standing));
    }
    let away: Vec<NodeReport> = reports
        .iter()
        .map(|report| NodeReport { status: NodeStatus::Maintenance, ..report.clone() })
        .collect();
    let left =
        statements(async { store.record_discovery(miner(1), &away, NOW + Millis(1)).await.unwrap() }).await;
    assert!(left <= 18, "{left} statements for a thousand nodes that go into maintenance");
    assert!(store.due_nodes(CheckKind::Full, NOW + Millis(2), 10).await.unwrap().is_empty());
    assert_eq!(store.record_discovery(miner(1), &[], NOW + Millis(2)).await.unwrap(), []);
    let forgotten = async {
        let later = NOW + Millis(86_400_000);
        assert_eq!(store.prune_nodes(later, later, 1_000).await.unwrap(), 1_000);
    };
    let pruned = statements(forgotten).await;
    assert!(pruned <= 40, "{pruned} statements to forget a thousand nodes");
    assert!(store.nodes().await.unwrap().is_empty());
}

async fn a_miner_that_says_what_it_said_before_costs_two_statements(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let mut reports = many(300);
    reports.push(NodeReport { status: NodeStatus::KeyPending, host_keys: vec![], ..report(9) });
    store.record_discovery(miner(1), &reports, NOW).await.unwrap();
    let nodes = store.nodes().await.unwrap();
    let later = NOW + Millis(60_000);
    // On Postgres one more, which locks the leadership's row.
    let said = statements(async {
        assert_eq!(store.record_discovery(miner(1), &reports, later).await.unwrap(), []);
    });
    assert!(said.await <= 3);
    assert_eq!(store.nodes().await.unwrap(), nodes);
    let known = store.miners().await.unwrap().into_iter().find(|known| known.hotkey == miner(1));
    assert_eq!(known.unwrap().discovered, Some(later));
}

/// Ten minutes apart, `rows` light checks of each node that passed, as checks write them.
async fn history(store: &ValidatorDatabase, keys: &[NodeKey], rows: i64) {
    let mut transaction = store.begin("test").await.unwrap();
    for turn in 0..rows {
        let at = NOW.0 + 600_000 * turn;
        let row = |key: &NodeKey| {
            batch::row![key.miner.to_string(), key.node.to_string(), at, "light", at, "passed"]
        };
        let insert = "INSERT INTO history (miner, node, at, entry, started, outcome) VALUES {rows}";
        batch::execute(&mut transaction, insert, keys.iter().map(row).collect()).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn a_large_history_is_folded_anew_page_by_page_and_in_short_writes(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let reports = many(1_200);
    let keys = keys(1, &reports);
    store.record_discovery(miner(1), &reports, NOW).await.unwrap();
    history(&store, &keys, 20).await;
    spoil(&store).await;
    let folded = statements(async { assert_eq!(store.refold().await.unwrap(), 1_200) });
    // 24,000 rows in 12 pages, and three transactions, each of which looks for more, clears GPUs and writes 512 nodes.
    let folded = folded.await;
    assert!(folded <= 12 + 5 + 3 * (3 + 2 + 2), "{folded} statements");
    let all = conducts(&store).await;
    assert_eq!(all.len(), 1_200);
    let expected = store.history(keys[700], NOW).await.unwrap();
    let entries: Vec<_> = expected.iter().map(basilica_scoring::history::Entry::from).collect();
    let policy = basilica_scoring::history::Policy::default();
    let now = NOW + Millis(20 * 600_000);
    let whole = basilica_scoring::history::standing(&entries, &policy, now);
    assert!(all.iter().all(|node| node.record.as_ref().unwrap().standing([], &policy, now) == whole));
    assert_eq!(store.refold().await.unwrap(), 0);
}

async fn what_is_added_while_history_is_folded_anew_is_in_it(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let reports = many(600);
    store.record_discovery(miner(1), &reports, NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(8), report(9)], NOW).await.unwrap();
    check(&store, key(2, 8), 1, CheckKind::Full, REJECTED, &[]).await;
    check(&store, key(2, 8), 31, CheckKind::Full, REJECTED, &[]).await;
    check(&store, key(2, 9), 32, CheckKind::Full, PASSED, &[3, 4]).await;
    history(&store, &keys(1, &reports), 8).await;
    spoil(&store).await;
    let write = async {
        // The banned host goes, a new one serves its ban, and GPUs move.
        store.record_discovery(miner(2), &[report(9), report(7)], NOW + Millis(33 * MINUTE)).await.unwrap();
        check(&store, key(2, 7), 34, CheckKind::Full, PASSED, &[3]).await;
        for minute in 40..60 {
            check(&store, key(2, 9), minute, CheckKind::Light, PASSED, &[]).await;
        }
    };
    let (written, ()) = tokio::join!(store.refold(), write);
    written.unwrap();
    store.refold().await.unwrap();
    let folded = conducts(&store).await;
    assert!(folded.iter().all(|node| node.record.is_some()));
    spoil(&store).await;
    assert_eq!(store.refold().await.unwrap(), 603);
    assert_eq!(conducts(&store).await, folded);
}

async fn a_gpu_of_a_damaged_record_takes_the_need_to_fold_along(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7), report(8)], NOW).await.unwrap();
    check(&store, key(1, 7), 1, CheckKind::Full, PASSED, &[1]).await;
    check(&store, key(1, 8), 2, CheckKind::Full, PASSED, &[2]).await;
    let mut transaction = store.begin("test").await.unwrap();
    let damage = query("UPDATE nodes SET record = $1 WHERE node = $2").bind(vec![1, 2, 3]);
    damage.bind(key(1, 7).node.to_string()).execute(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    // What happens now is in nobody's record, and the GPU goes on to the other node.
    check(&store, key(1, 7), 10, CheckKind::Full, REJECTED, &[]).await;
    check(&store, key(1, 8), 20, CheckKind::Full, PASSED, &[1, 2]).await;
    assert!(conducts(&store).await.iter().all(|node| node.record.is_none()));
    store.refold().await.unwrap();
    let folded = conducts(&store).await;
    spoil(&store).await;
    store.refold().await.unwrap();
    assert_eq!(conducts(&store).await, folded);
}
