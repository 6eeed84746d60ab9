//! Nodes, miners and who checks what when.

use super::batches::many;
use super::*;

on_both_engines!(
    a_discovered_node_is_pinned_due_at_once_and_survives_a_restart,
    a_changed_host_key_is_an_event_and_wants_a_full_check,
    a_node_that_is_no_longer_named_or_available_is_not_checked,
    history_keeps_why_a_node_was_absent_and_each_change_of_it_once,
    dropped_nodes_are_forgotten_when_nothing_about_them_matters,
    a_batch_of_forgotten_nodes_is_bounded,
    miners_take_turns_and_unknown_miners_wait,
    a_backlog_of_one_kind_of_check_hides_nothing_of_the_other,
    who_is_due_for_both_checks_is_found_by_either,
    a_full_check_can_be_asked_for_beside_a_running_validator,
);

async fn a_discovered_node_is_pinned_due_at_once_and_survives_a_restart(on: On) {
    let fixture = Fixture::new(on).await;
    let changes = fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    assert_eq!(changes, [NodeChange::New(key(1, 7))]);
    assert!(fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap().is_empty());
    let fixture = fixture.reopened().await;
    let due = fixture.store.due_nodes(CheckKind::Full, NOW, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(
        (due[0].key, &due[0].host_keys, due[0].due),
        (key(1, 7), &report(7).host_keys, Due::at_once(NOW))
    );
}

async fn a_changed_host_key_is_an_event_and_wants_a_full_check(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let later = NOW + Millis(50);
    assert!(store.due_nodes(CheckKind::Full, later, 10).await.unwrap().is_empty());
    let changed = NodeReport { host_keys: vec![KEYS[1].parse().unwrap()], ..report(7) };
    let changes = store.record_discovery(miner(1), &[changed], later).await.unwrap();
    assert!(matches!(&changes[..], [NodeChange::HostKey { before, after, .. }] if before != after));
    let due = store.due_nodes(CheckKind::Full, later, 10).await.unwrap();
    assert_eq!(due[0].due.kind(later), Some(CheckKind::Full));
    let history = store.history(key(1, 7), NOW).await.unwrap();
    let absent = HistoryEntry::Unavailable(later, Absence::KeyPending);
    assert_eq!(history[1..], [HistoryEntry::Moved(later), absent, HistoryEntry::Available(later)]);
}

async fn a_node_that_is_no_longer_named_or_available_is_not_checked(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7), report(8)], NOW).await.unwrap();
    let pending = NodeReport { status: NodeStatus::KeyPending, host_keys: vec![], ..report(8) };
    store.record_discovery(miner(1), &[pending], NOW).await.unwrap();
    assert!(store.due_nodes(CheckKind::Full, NOW, 10).await.unwrap().is_empty());
    let node = store.node(key(1, 8)).await.unwrap().unwrap();
    assert_eq!((node.listed, node.host_keys.len()), (Some(NodeStatus::KeyPending), 1));
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().listed, None);
    store.record_discovery(miner(1), &[report(8)], NOW).await.unwrap();
    assert_eq!(store.due_nodes(CheckKind::Full, NOW, 10).await.unwrap().len(), 1);
}

async fn history_keeps_why_a_node_was_absent_and_each_change_of_it_once(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let with = |status| vec![NodeReport { status, ..report(7) }];
    let reports = [
        with(NodeStatus::Available),
        with(NodeStatus::Unreachable),
        with(NodeStatus::Unreachable),
        with(NodeStatus::Maintenance),
        // A new key during an absence does not begin it anew.
        vec![NodeReport {
            host_keys: vec![KEYS[1].parse().unwrap()],
            ..with(NodeStatus::Maintenance).remove(0)
        }],
        with(NodeStatus::KeyPending),
        vec![],
        vec![],
        with(NodeStatus::Available),
    ];
    let mut at = NOW;
    for reports in reports {
        store.record_discovery(miner(1), &reports, at).await.unwrap();
        at = at + Millis(1);
    }
    let absent = |ms, absence| HistoryEntry::Unavailable(NOW + Millis(ms), absence);
    let expected = [
        absent(1, Absence::Unreachable),
        absent(3, Absence::Maintenance),
        HistoryEntry::Moved(NOW + Millis(4)),
        HistoryEntry::Moved(NOW + Millis(5)),
        absent(5, Absence::KeyPending),
        absent(6, Absence::Unlisted),
        HistoryEntry::Available(NOW + Millis(8)),
    ];
    assert_eq!(store.history(key(1, 7), NOW).await.unwrap(), expected);
    let pending = NodeReport { status: NodeStatus::KeyPending, ..report(8) };
    store.record_discovery(miner(1), &[pending], at).await.unwrap();
    let first = HistoryEntry::Unavailable(at, Absence::KeyPending);
    assert_eq!(store.history(key(1, 8), NOW).await.unwrap(), [first], "absent from the start");
}

async fn dropped_nodes_are_forgotten_when_nothing_about_them_matters(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let (judged, banned, listed, unjudged) = (key(1, 7), key(1, 8), key(1, 9), key(1, 10));
    let all = [7, 8, 9, 10].map(report);
    store.record_discovery(miner(1), &all, NOW).await.unwrap();
    for (digest, key) in [(1, judged), (2, banned), (3, listed)] {
        store.record_check(&passed(key, digest, None, vec![gpu(digest)])).await.unwrap();
    }
    let ban = NOW + Millis(5_000);
    let standing = StoredStanding {
        gate: "executor_banned".into(),
        score: BasisPoints::ZERO,
        multiplier: Ppm::ZERO,
        banned_until: Some(ban),
        at: NOW,
    };
    store.record_standings(&[(banned, standing)]).await.unwrap();
    assert_eq!(store.prune_nodes(ban, ban, 10).await.unwrap(), 0, "listed nodes stay, whatever their age");
    let dropped = NOW + Millis(1_000);
    store.record_discovery(miner(1), &[report(9)], dropped).await.unwrap();
    assert_eq!(store.nodes_of(miner(1)).await.unwrap().len(), 4);
    // Within retention only the node goes of which nobody ever knew anything.
    assert_eq!(store.prune_nodes(dropped, dropped, 10).await.unwrap(), 1);
    assert_eq!(store.node(unjudged).await.unwrap(), None);
    let later = dropped + Millis(1);
    assert_eq!(store.prune_nodes(later, later, 10).await.unwrap(), 1, "the banned node stays");
    assert_eq!(store.node(judged).await.unwrap(), None);
    assert!(store.history(judged, NOW).await.unwrap().is_empty());
    assert!(store.transcript(Digest::from_bytes([1; 32]), 0, 1).await.unwrap().is_none());
    let claim = passed(listed, 4, Some(3), vec![gpu(1)]);
    assert_eq!(store.record_check(&claim).await.unwrap(), Recorded::Stored, "its gpu is free");
    assert_eq!(store.prune_nodes(later, ban, 10).await.unwrap(), 1);
    assert_eq!(store.nodes_of(miner(1)).await.unwrap(), [listed.node]);
}

async fn a_batch_of_forgotten_nodes_is_bounded(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let many: Vec<_> = (10..20).map(report).collect();
    store.record_discovery(miner(1), &many, NOW).await.unwrap();
    store.record_discovery(miner(1), &[], NOW).await.unwrap();
    assert_eq!(store.prune_nodes(NOW, NOW, 4).await.unwrap(), 4);
    assert_eq!(store.nodes_of(miner(1)).await.unwrap().len(), 6);
}

async fn miners_take_turns_and_unknown_miners_wait(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let many: Vec<_> = (10..30).map(report).collect();
    store.record_discovery(miner(1), &many, NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(7), report(8)], NOW).await.unwrap();
    let due = store.due_nodes(CheckKind::Full, NOW, 4).await.unwrap();
    assert_eq!(due.iter().filter(|n| n.key.miner == miner(2)).count(), 2);
    store.observe_miners(&[], NOW).await.unwrap();
    assert!(store.due_nodes(CheckKind::Full, NOW, 4).await.unwrap().is_empty());
    assert!(store.miners().await.unwrap().iter().all(|m| m.uid.is_none()));
}

/// Sets when the checks of nodes are due.
async fn set_due(store: &ValidatorDatabase, dues: &[(NodeKey, Due)]) {
    let mut transaction = store.begin("test").await.unwrap();
    for (key, due) in dues {
        query("UPDATE nodes SET due_light = $3, due_full = $4 WHERE miner = $1 AND node = $2")
            .bind(key.miner.to_string())
            .bind(key.node.to_string())
            .bind(due.light.0)
            .bind(due.full.0)
            .execute(&mut transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn a_backlog_of_one_kind_of_check_hides_nothing_of_the_other(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let reports = many(2_000);
    store.record_discovery(miner(1), &reports, NOW).await.unwrap();
    store.record_discovery(miner(2), &[7, 8, 9].map(report), NOW).await.unwrap();
    let backlog: Vec<NodeKey> =
        reports.iter().map(|r| NodeKey { miner: miner(1), node: r.node_id }).collect();
    let others = [7, 8, 9].map(|host| key(2, host));
    let (soon, later) = (NOW + Millis(1), NOW + Millis(60_000));
    for (long_due, due, due_after) in [
        (CheckKind::Full, Due { light: later, full: NOW }, Due { light: soon, full: later }),
        (CheckKind::Light, Due { light: NOW, full: later }, Due { light: later, full: soon }),
    ] {
        let dues = backlog.iter().map(|key| (*key, due)).chain(others.map(|key| (key, due_after)));
        set_due(&store, &dues.collect::<Vec<_>>()).await;
        for kind in [CheckKind::Full, CheckKind::Light] {
            let due = store.due_nodes(kind, soon, 10).await.unwrap();
            let found: BTreeSet<NodeKey> = due.iter().map(|node| node.key).collect();
            if kind == long_due {
                assert!(due.len() == 10 && found.is_disjoint(&others.into()));
            } else {
                assert_eq!(found, others.into(), "behind 2,000 of the other kind");
            }
        }
    }
}

async fn who_is_due_for_both_checks_is_found_by_either(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &many(20), NOW).await.unwrap();
    store.record_discovery(miner(2), &[7, 8, 9].map(report), NOW).await.unwrap();
    let (soon, later) = (NOW + Millis(1), NOW + Millis(60_000));
    let [full, light, both] = [7, 8, 9].map(|host| key(2, host));
    let dues = [
        (full, Due { light: later, full: soon }),
        (light, Due { light: soon, full: later }),
        (both, Due::at_once(NOW)),
    ];
    set_due(&store, &dues).await;
    for (kind, expected) in [(CheckKind::Full, [both, full]), (CheckKind::Light, [both, light])] {
        let due = store.due_nodes(kind, soon, 4).await.unwrap();
        let found: Vec<NodeKey> = due.iter().map(|n| n.key).filter(|key| key.miner == miner(2)).collect();
        assert_eq!(found, expected, "by how long this kind has been due, miners taking turns");
    }
}

async fn a_full_check_can_be_asked_for_beside_a_running_validator(on: On) {
    let fixture = Fixture::new(on).await;
    let store = &fixture.store;
    store.record_discovery(miner(1), &[report(7), report(8)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let later = NOW + Millis(50);
    let kind = async || store.node(key(1, 7)).await.unwrap().unwrap().due.kind(later);
    assert_eq!(kind().await, None);
    let options = OpenOptions { migrate: false, ..OpenOptions::default() };
    let beside = ValidatorDatabase::open_beside(&fixture.place.url, options).await.unwrap();
    assert_eq!(beside.hasten(key(1, 7).node, later).await.unwrap(), 1);
    assert_eq!(kind().await, Some(CheckKind::Full));
    assert_eq!(beside.hasten(key(1, 8).node, later).await.unwrap(), 1);
    let other = store.node(key(1, 8)).await.unwrap().unwrap();
    assert_eq!(other.due, Due::at_once(NOW), "what is due already stays so");
    assert_eq!(beside.hasten(key(1, 9).node, later).await.unwrap(), 0, "nobody names it");
    store.record_deadlines(key(1, 7), DeadlineRecord::default()).await.expect("the validator writes on");
}
