//! The log of verdicts, day by day.

use basilica_ports::{LogEnd, LogEntry, VerdictLogStore as _};
use basilica_verification::verdict_log::{BLOCK, Day, DayTree};

use super::*;

on_both_engines!(
    days_are_kept_in_order_and_each_follows_the_newest,
    a_verdict_is_found_in_the_block_and_day_that_it_was_stored_in,
);

fn digest(n: u64) -> Digest {
    Digest::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// Verdicts that nothing but the log asks for.
async fn store_verdicts(store: &ValidatorDatabase, numbers: std::ops::Range<u64>) {
    let mut transaction = store.begin("store verdicts").await.unwrap();
    for n in numbers {
        query("INSERT INTO verdicts (digest, miner, node, finished, bytes) VALUES ($1, 'm', 'n', 0, $2)")
            .bind(digest(n).to_string())
            .bind(vec![0u8])
            .execute(&mut transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
}

/// The record of all verdicts since the one before.
async fn entry(store: &ValidatorDatabase, day: u32) -> LogEntry {
    let after = store.log_end().await.unwrap().map_or(0, |end| end.through);
    let through = store.log_head().await.unwrap();
    let mut tree = DayTree::default();
    for (place, leaf) in store.log_leaves(after, through, 100_000).await.unwrap() {
        tree.push(place, &leaf);
    }
    let signed = day.to_le_bytes().to_vec();
    LogEntry { end: LogEnd { day: Day(day), through, digest: tree.root() }, signed, blocks: tree.blocks() }
}

async fn days_are_kept_in_order_and_each_follows_the_newest(on: On) {
    let fixture = Fixture::new(on).await;
    let store = &fixture.store;
    assert_eq!(store.log_end().await.unwrap(), None);
    store_verdicts(store, 0..3).await;
    let first = entry(store, 7).await;
    assert!(!store.end_day(&first, Some(digest(9))).await.unwrap(), "there is none that it could follow");
    assert!(store.end_day(&first, None).await.unwrap());
    assert!(!store.end_day(&first, None).await.unwrap(), "a day is ended once");
    assert_eq!(store.log_end().await.unwrap(), Some(first.end));
    store_verdicts(store, 3..4).await;
    let second = entry(store, 9).await;
    assert!(store.end_day(&second, Some(first.end.digest)).await.unwrap());
    let fixture = fixture.reopened().await;
    let store = &fixture.store;
    assert_eq!(store.days(None, 10).await.unwrap(), [second.signed.clone(), first.signed.clone()]);
    assert_eq!(store.days(Some(Day(9)), 10).await.unwrap(), std::slice::from_ref(&first.signed));
    assert_eq!(store.days(None, 1).await.unwrap(), [second.signed]);
    assert_eq!(store.day(Day(7)).await.unwrap(), Some(first.signed));
    assert_eq!(store.day(Day(8)).await.unwrap(), None);
}

async fn a_verdict_is_found_in_the_block_and_day_that_it_was_stored_in(on: On) {
    let fixture = Fixture::new(on).await;
    let store = &fixture.store;
    let block = BLOCK as u64;
    store_verdicts(store, 0..block + 10).await;
    let first = entry(store, 7).await;
    assert!(store.end_day(&first, None).await.unwrap());
    // A day without verdicts is none's.
    let quiet = entry(store, 8).await;
    assert!(store.end_day(&quiet, Some(first.end.digest)).await.unwrap());
    store_verdicts(store, block + 10..block + 15).await;
    assert_eq!(store.logged(digest(block + 12)).await.unwrap(), None, "its day goes on");
    let third = entry(store, 9).await;
    assert!(store.end_day(&third, Some(quiet.end.digest)).await.unwrap());
    for (n, signed, at, leaves) in [
        (0, &first.signed, 0, 0..block),
        (block - 1, &first.signed, 0, 0..block),
        (block, &first.signed, 1, block..block + 10),
        (block + 9, &first.signed, 1, block..block + 10),
        (block + 12, &third.signed, 0, block + 10..block + 15),
    ] {
        let found = store.logged(digest(n)).await.unwrap().expect("it is in a record");
        assert_eq!((&found.signed, found.block), (signed, at), "{n}");
        assert_eq!(found.leaves, leaves.map(digest).collect::<Vec<_>>(), "{n}");
    }
    assert_eq!(store.logged(digest(99_999)).await.unwrap(), None, "nobody's verdict");
}

/// Places are given before their transactions commit, so the newest place is only told once none is under way.
#[tokio::test]
async fn on_postgres_the_head_waits_for_verdicts_under_way() {
    let fixture = Fixture::new(On::Postgres).await;
    let store = &fixture.store;
    let mut under_way = store.begin("store a verdict").await.unwrap();
    query("INSERT INTO verdicts (digest, miner, node, finished, bytes) VALUES ($1, 'm', 'n', 0, $2)")
        .bind(digest(1).to_string())
        .bind(vec![0u8])
        .execute(&mut under_way)
        .await
        .unwrap();
    // With a connection of its own, as a process has whose term ends just now.
    let other = ValidatorDatabase::open_beside(&fixture.place.url, OpenOptions::default()).await.unwrap();
    other.seat.sit(other.readers()).await.unwrap();
    let head = async {
        let head = other.log_head().await.unwrap();
        (head, other.log_leaves(0, head, 10).await.unwrap().len())
    };
    let commit = async {
        // The other connection comes to wait for this one's row, or has not got that far; both end the same.
        tokio::task::yield_now().await;
        under_way.commit().await.unwrap();
    };
    let ((head, leaves), ()) = tokio::join!(head, commit);
    assert!(head > 0);
    assert_eq!(leaves, 1, "no verdict at or before the head is missing");
}
