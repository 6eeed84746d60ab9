use std::collections::BTreeSet;

use basilica_ports::{
    Drained, KnownNode, MaintenanceWindow, MinerOperations as _, NodeHold, OrderedBy, Orders,
};
use basilica_types::NodeId;

use super::*;
use crate::{MinerLock, OpenError};

const DAY: i64 = 86_400_000;

fn id(host: &str) -> NodeId {
    node(host).node_id()
}

#[tokio::test]
async fn every_order_raises_the_revision_and_what_the_miner_writes_by_itself_does_not() {
    let f = fixture().await;
    let a = id("192.0.2.1");
    let mut last = f.store.revision().await.unwrap();
    assert_eq!(f.store.orders().await.unwrap(), Orders::default());
    f.store.pin_host_key(a, &node("192.0.2.1"), &key(1), START).await.unwrap();
    f.store.offer_host_key(a, &key(2), START).await.unwrap();
    f.store.open_session(&nonce(1, "aa", START), &session(1, START)).await.unwrap().unwrap();
    assert_eq!(f.store.revision().await.unwrap(), last);
    for step in 0..5 {
        match step {
            0 => {
                drop(f.store.begin_maintenance(a, OrderedBy::Command, Some("new fans"), START).await.unwrap())
            }
            1 => drop(f.store.end_maintenance(a, OrderedBy::Command, after(1)).await.unwrap()),
            2 => drop(f.store.hold_node(a, &NodeHold { since: START, why: "it died".into() }).await.unwrap()),
            3 => drop(f.store.release_node(a).await.unwrap()),
            _ => drop(f.store.approve_host_key(a, &key(2).fingerprint(), START).await.unwrap()),
        }
        let now = f.store.revision().await.unwrap();
        assert!(now > last, "step {step}");
        last = now;
    }
    // What changes nothing is no order.
    assert_eq!(f.store.end_maintenance(a, OrderedBy::Command, after(2)).await.unwrap(), None);
    assert_eq!(f.store.release_node(a).await.unwrap(), None);
    assert_eq!(f.store.orders().await.unwrap(), Orders { revision: last, ..Orders::default() });
}

#[tokio::test]
async fn maintenance_is_one_window_at_a_time_and_outlives_a_restart() {
    let f = fixture().await;
    let a = id("192.0.2.1");
    let began = f.store.begin_maintenance(a, OrderedBy::Command, Some("new fans"), START).await.unwrap();
    assert!(matches!(&began, Drained::Began(window) if window.reason.as_deref() == Some("new fans")));
    let again = f.store.begin_maintenance(a, OrderedBy::Command, None, after(5)).await.unwrap();
    assert_eq!(again, Drained::Already(began.window().clone()), "the reason and the beginning stay");
    let revision = f.store.revision().await.unwrap();
    let reworded =
        f.store.begin_maintenance(a, OrderedBy::Command, Some("old fans"), after(6)).await.unwrap();
    let window = MaintenanceWindow { reason: Some("old fans".to_owned()), ..began.window().clone() };
    assert_eq!(reworded, Drained::Reworded { window, earlier: Some("new fans".to_owned()) });
    assert!(f.store.revision().await.unwrap() > revision, "a running miner hears of it");
    let same = f.store.begin_maintenance(a, OrderedBy::Command, Some("old fans"), after(7)).await.unwrap();
    assert_eq!(same, Drained::Already(reworded.window().clone()));
    f.store.database.close().await;
    let reopened = open(&f.url).await;
    let orders = reopened.orders().await.unwrap();
    assert_eq!(orders.window(a, OrderedBy::Command), Some(reworded.window()));
    let ended = reopened.end_maintenance(a, OrderedBy::Command, after(3_600_000)).await.unwrap().unwrap();
    assert_eq!(ended.ended_at, Some(after(3_600_000)));
    assert!(reopened.orders().await.unwrap().maintenance.is_empty());
    assert_eq!(reopened.maintenance(START).await.unwrap()[&a], [ended]);
    assert!(reopened.maintenance(after(3_600_000)).await.unwrap().is_empty());
}

#[tokio::test]
async fn windows_that_no_longer_count_are_forgotten_and_a_clock_set_back_breaks_nothing() {
    let f = fixture().await;
    let a = id("192.0.2.1");
    for day in [0, 1, 20] {
        f.store.begin_maintenance(a, OrderedBy::Command, None, after(day * DAY)).await.unwrap();
        f.store.end_maintenance(a, OrderedBy::Command, after(day * DAY + 1000)).await.unwrap();
    }
    assert_eq!(f.store.maintenance(Timestamp(0)).await.unwrap()[&a].len(), 1);
    f.store.begin_maintenance(a, OrderedBy::Command, None, after(21 * DAY)).await.unwrap();
    let ended = f.store.end_maintenance(a, OrderedBy::Command, after(20 * DAY)).await.unwrap().unwrap();
    assert_eq!(ended.ended_at, Some(ended.began_at));
    let same_moment =
        f.store.begin_maintenance(a, OrderedBy::Command, Some("again"), after(21 * DAY)).await.unwrap();
    assert!(matches!(same_moment, Drained::Began(_)));
    let orders = f.store.orders().await.unwrap();
    assert_eq!(orders.window(a, OrderedBy::Command).unwrap().reason.as_deref(), Some("again"));
}

#[tokio::test]
async fn each_order_ends_its_own_window_alone_whatever_its_reason_says() {
    let f = fixture().await;
    let a = id("192.0.2.1");
    let session = keyed_session(&f.store).await;
    for (at, by) in (0..).zip(OrderedBy::ALL) {
        // The words of another order are a command's own.
        let reason = (by == OrderedBy::Command).then_some("`maintenance = true` in the configuration");
        let began = f.store.begin_maintenance(a, by, reason, after(at)).await.unwrap();
        assert!(matches!(&began, Drained::Began(window) if window.by == by));
        assert_eq!(
            f.store.begin_maintenance(a, by, None, after(9)).await.unwrap(),
            Drained::Already(began.window().clone())
        );
    }
    // As after a death of the process at any point: what is in force is what was ordered and not taken back.
    let mut in_force = OrderedBy::ALL.to_vec();
    for by in [OrderedBy::Configuration, OrderedBy::Command, OrderedBy::Removal] {
        assert_eq!(f.store.record_deployments(a, &[session], START).await.unwrap(), BTreeSet::new());
        let ended = f.store.end_maintenance(a, by, after(10)).await.unwrap().unwrap();
        assert_eq!((ended.by, ended.ended_at), (by, Some(after(10))));
        assert_eq!(f.store.end_maintenance(a, by, after(11)).await.unwrap(), None);
        in_force.retain(|other| *other != by);
        let orders = open(&f.url).await.orders().await.unwrap();
        let left = orders.maintenance.get(&a).into_iter().flat_map(|windows| windows.keys());
        assert_eq!(left.copied().collect::<Vec<_>>(), in_force);
    }
    assert_eq!(f.store.record_deployments(a, &[session], START).await.unwrap(), [session].into());
    let windows = f.store.maintenance(START).await.unwrap();
    assert_eq!(
        windows[&a].iter().map(|window| window.by).collect::<Vec<_>>(),
        OrderedBy::ALL,
        "oldest first"
    );
}

#[tokio::test]
async fn the_migration_that_sets_orders_apart_knows_whose_each_was() {
    let directory = tempfile::tempdir().unwrap();
    let url: DatabasePath =
        format!("sqlite://{}", directory.path().join("miner.db").display()).parse().unwrap();
    let before = Schema { migrations: &MINER_SCHEMA.migrations[..7], ..MINER_SCHEMA };
    let database = Database::open(&url, &before, OpenOptions::default()).await.unwrap();
    let [a, b, c, d] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(id);
    let text = format!(
        "INSERT INTO maintenance (node_id, began_at, ended_at, reason) VALUES
             ('{a}', 1, NULL, '`maintenance = true` in the configuration'), ('{b}', 2, NULL, 'removed by `nodes remove`'),
             ('{c}', 3, NULL, 'new fans'), ('{d}', 4, 5, NULL), ('{d}', 6, NULL, NULL)"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(database.writer()).await.unwrap();
    database.close().await;
    let windows = open(&url).await.maintenance(Timestamp(0)).await.unwrap();
    let window = |began_at, ended_at: Option<i64>, by, reason: Option<&str>| MaintenanceWindow {
        began_at: Timestamp(began_at),
        ended_at: ended_at.map(Timestamp),
        by,
        reason: reason.map(ToOwned::to_owned),
    };
    let expected = [
        (a, vec![window(1, None, OrderedBy::Configuration, None)]),
        (b, vec![window(2, None, OrderedBy::Removal, None)]),
        (c, vec![window(3, None, OrderedBy::Command, Some("new fans"))]),
        (d, vec![window(4, Some(5), OrderedBy::Command, None), window(6, None, OrderedBy::Command, None)]),
    ];
    assert_eq!(windows, expected.into());
}

#[tokio::test]
async fn a_node_in_maintenance_takes_no_further_key() {
    let f = fixture().await;
    let (a, b) = (id("192.0.2.1"), id("192.0.2.2"));
    let session = keyed_session(&f.store).await;
    f.store.begin_maintenance(a, OrderedBy::Command, None, START).await.unwrap();
    assert_eq!(f.store.record_deployments(a, &[session], START).await.unwrap(), BTreeSet::new());
    assert_eq!(f.store.deployments(a).await.unwrap(), []);
    assert_eq!(f.store.record_deployments(b, &[session], START).await.unwrap(), [session].into());
    f.store.end_maintenance(a, OrderedBy::Command, after(1)).await.unwrap();
    assert_eq!(f.store.record_deployments(a, &[session], START).await.unwrap(), [session].into());
}

#[tokio::test]
async fn no_key_of_a_session_that_is_over_is_noted_and_each_is_known_until_it_is_worthless() {
    let f = fixture().await;
    let a = id("192.0.2.1");
    for seed in 1..=3u8 {
        let at = after(i64::from(seed));
        let opened = NonceUse { limit: 100, ..nonce(seed, "opened", at) };
        f.store.open_session(&opened, &session(seed, at)).await.unwrap().unwrap();
        let asked = NonceUse { limit: 100, ..nonce(seed, "asked", at) };
        f.store.admit_discovery(&asked, &discovery(seed, 0, i64::from(seed))).await.unwrap().unwrap();
    }
    let sessions = [1, 2, 3].map(|seed| SessionId::from_random([seed; 8]));
    f.store.revoke_sessions(SessionChoice::One(sessions[1]), after(10)).await.unwrap();
    let taken = f.store.record_deployments(a, &sessions, after(3_600_001)).await.unwrap();
    assert_eq!(taken, [sessions[2]].into(), "one has expired, one was revoked");
    assert_eq!(f.store.deployments(a).await.unwrap(), [(sessions[2], hotkey(3))]);
    let mut known = f.store.unexpired_keys(after(3_600_001)).await.unwrap();
    known.sort_unstable();
    assert_eq!(known, [(sessions[1], hotkey(2)), (sessions[2], hotkey(3))]);
    assert_eq!(f.store.unexpired_keys(after(3_600_003)).await.unwrap(), []);
}

#[tokio::test]
async fn a_held_node_keeps_its_first_reason_until_it_is_released() {
    let f = fixture().await;
    let a = id("192.0.2.1");
    let first = NodeHold { since: START, why: "connection refused".into() };
    f.store.hold_node(a, &first).await.unwrap();
    f.store.hold_node(a, &NodeHold { since: after(9), why: "timed out".into() }).await.unwrap();
    assert_eq!(f.store.orders().await.unwrap().holds.get(&a), Some(&first));
    assert_eq!(f.store.release_node(a).await.unwrap(), Some(first));
    assert!(f.store.orders().await.unwrap().holds.is_empty());
}

#[tokio::test]
async fn nodes_stay_known_until_they_were_left() {
    let f = fixture().await;
    let known = |host: &str, host_key| {
        let address = node(host);
        KnownNode { node_id: address.node_id(), address, host_key }
    };
    let (a, b) = (known("192.0.2.1", None), known("192.0.2.2", Some(key(3))));
    f.store.remember_nodes(&[b.clone(), a.clone()], START).await.unwrap();
    let a = KnownNode { host_key: Some(key(4)), ..a };
    f.store.remember_nodes(std::slice::from_ref(&a), START).await.unwrap();
    assert_eq!(f.store.known_nodes().await.unwrap(), [a.clone(), b.clone()]);
    let session = keyed_session(&f.store).await;
    f.store.record_deployments(a.node_id, &[session], START).await.unwrap();
    assert_eq!(f.store.deployed_until(a.node_id).await.unwrap(), Some(after(3_600_000)));
    f.store.forget_node(a.node_id, after(1)).await.unwrap();
    assert_eq!(f.store.deployed_until(a.node_id).await.unwrap(), None);
    assert_eq!(f.store.known_nodes().await.unwrap(), [b]);
    assert_eq!(f.store.deployments(a.node_id).await.unwrap(), []);
}

#[tokio::test]
async fn a_removed_node_that_is_listed_again_is_in_force_and_one_that_was_taken_out_stays_out() {
    let f = fixture().await;
    let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|host| {
        let address = node(host);
        KnownNode { node_id: address.node_id(), address, host_key: None }
    });
    f.store.begin_maintenance(a.node_id, OrderedBy::Removal, None, START).await.unwrap();
    f.store.begin_maintenance(b.node_id, OrderedBy::Command, Some("new fans"), START).await.unwrap();
    let before = f.store.revision().await.unwrap();
    f.store.remember_nodes(&[a.clone(), b.clone()], after(5)).await.unwrap();
    let orders = f.store.orders().await.unwrap();
    assert_eq!(orders.maintenance.keys().collect::<Vec<_>>(), [&b.node_id]);
    assert!(orders.revision > before, "the running miner is told");
    let windows = f.store.maintenance(START).await.unwrap();
    assert_eq!(windows[&a.node_id][0].ended_at, Some(after(5)), "what was is remembered");
    f.store.remember_nodes(&[a, b], after(6)).await.unwrap();
    assert_eq!(f.store.revision().await.unwrap(), orders.revision, "nothing more to tell");
}

#[tokio::test]
async fn time_after_a_removed_node_was_left_is_no_maintenance() {
    let f = fixture().await;
    let [a, b] = ["192.0.2.1", "192.0.2.2"].map(id);
    f.store.begin_maintenance(a, OrderedBy::Removal, None, START).await.unwrap();
    f.store.begin_maintenance(a, OrderedBy::Command, Some("new fans"), START).await.unwrap();
    let before = f.store.revision().await.unwrap();
    f.store.forget_node(a, after(5)).await.unwrap();
    let orders = f.store.orders().await.unwrap();
    assert!(orders.revision > before, "the running miner is told");
    assert_eq!(orders.maintenance[&a].keys().collect::<Vec<_>>(), [&OrderedBy::Command]);
    let windows = f.store.maintenance(START).await.unwrap();
    let ended: Vec<_> = windows[&a].iter().map(|window| (window.by, window.ended_at)).collect();
    let left = Some(after(5));
    assert_eq!(ended, [(OrderedBy::Command, left), (OrderedBy::Removal, left), (OrderedBy::Command, None)]);
    let back = KnownNode { node_id: a, address: node("192.0.2.1"), host_key: None };
    f.store.remember_nodes(std::slice::from_ref(&back), after(900)).await.unwrap();
    f.store.remember_nodes(&[back], after(950)).await.unwrap();
    let windows = f.store.maintenance(START).await.unwrap();
    let open = windows[&a].iter().find(|window| window.ended_at.is_none()).unwrap();
    assert_eq!((open.began_at, open.reason.as_deref()), (after(900), Some("new fans")));
    let orders = f.store.orders().await.unwrap();
    f.store.forget_node(b, after(6)).await.unwrap();
    assert_eq!(f.store.revision().await.unwrap(), orders.revision, "nothing more to tell");
}

#[tokio::test]
async fn one_miner_at_a_time_has_a_database() {
    let f = fixture().await;
    let lock = MinerLock::take(&f.url).unwrap();
    let error = MinerLock::take(&f.url).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(!error.to_string().contains("validator"), "{error}");
    drop(lock);
    MinerLock::take(&f.url).unwrap();
}
