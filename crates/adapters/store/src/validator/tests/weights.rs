//! Windows of weights.

use super::*;

on_both_engines!(
    one_window_is_under_way_at_a_time_even_across_a_restart,
    a_committed_window_survives_a_restart_with_its_salt_and_its_reveal,
    every_end_is_kept_with_its_reason,
    a_stale_leader_cannot_open_a_window,
);

/// A window that whoever leads may open.
pub(super) fn window(store: &ValidatorDatabase) -> NewWindow {
    NewWindow {
        netuid: NetUid(39),
        mechanism: MechanismId(0),
        fencing: store.held().unwrap(),
        created: NOW,
        weights: vec![(Uid(0), Weight(60_000)), (Uid(4), Weight(5_535))],
        expected: vec![(Uid(0), Weight(65_535)), (Uid(4), Weight(6_046))],
        version_key: u64::MAX,
        form: WindowForm::Open,
        prepared: PreparedWeights {
            extrinsic: vec![1, 2, 3],
            hash: Digest::from_bytes([7; 32]),
            nonce: 3,
            netuid: NetUid(39),
            mechanism: MechanismId(0),
            effect: Effect::Weights,
            genesis: Digest::from_bytes([8; 32]),
            born: BlockNumber(100),
            born_hash: Digest::from_bytes([9; 32]),
            dies: BlockNumber(108),
        },
    }
}

async fn one_window_is_under_way_at_a_time_even_across_a_restart(on: On) {
    let fixture = Fixture::new(on).await;
    let opened = window(&fixture.store);
    let Opened::Window(id) = fixture.store.open_window(&opened, &[]).await.unwrap() else {
        panic!("not opened")
    };
    let Fixture { store, place: _keep } = fixture.reopened().await;
    assert_eq!(store.open_window(&window(&store), &[]).await.unwrap(), Opened::Busy(id));
    let kept = store.windows(5).await.unwrap();
    assert_eq!((kept.len(), &kept[0].opened, &kept[0].state), (1, &opened, &WindowState::Prepared));
    let set = WindowEnd::Set { block: BlockNumber(103) };
    store.end_window(id, &set).await.unwrap();
    store.end_window(id, &WindowEnd::Expired(Expiry::EraOver)).await.unwrap();
    store.record_read_back(id, &opened.expected).await.unwrap();
    let kept = store.windows(5).await.unwrap();
    assert_eq!(kept[0].state, WindowState::Ended(set), "an end is final");
    assert_eq!(kept[0].read_back, Some(opened.expected));
    assert_eq!(store.last_set().await.unwrap(), Some(BlockNumber(103)));
    assert!(matches!(store.open_window(&window(&store), &[]).await.unwrap(), Opened::Window(_)));
}

fn committing(store: &ValidatorDatabase, form: WindowForm) -> NewWindow {
    NewWindow { form, ..window(store) }
}

fn reveal(store: &ValidatorDatabase) -> PreparedWeights {
    PreparedWeights {
        extrinsic: vec![4, 5],
        nonce: 4,
        effect: Effect::Reveal,
        born: BlockNumber(150),
        dies: BlockNumber(213),
        ..window(store).prepared
    }
}

async fn a_committed_window_survives_a_restart_with_its_salt_and_its_reveal(on: On) {
    let mut fixture = Fixture::new(on).await;
    let hash = Digest::from_bytes([3; 32]);
    let opened = committing(&fixture.store, WindowForm::Hash { hash, salt: Salt::new(vec![1, 65_535, 7]) });
    let Opened::Window(id) = fixture.store.open_window(&opened, &[]).await.unwrap() else {
        panic!("not opened")
    };
    let stale = FencingToken(7);
    let reveal = reveal(&fixture.store);
    let mut token = fixture.store.held().unwrap();
    assert_eq!(fixture.store.open_reveal(id, token, &reveal).await.unwrap(), Opened::Busy(id));
    fixture.store.record_commit(id, BlockNumber(101)).await.unwrap();
    fixture = fixture.reopened().await;
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!(kept.opened, opened);
    assert_eq!(kept.state, WindowState::Committed { block: BlockNumber(101) });
    assert_eq!(fixture.store.open_window(&window(&fixture.store), &[]).await.unwrap(), Opened::Busy(id));
    assert!(matches!(fixture.store.open_reveal(id, stale, &reveal).await.unwrap(), Opened::Fenced { .. }));
    token = fixture.store.held().unwrap();
    assert_eq!(fixture.store.open_reveal(id, token, &reveal).await.unwrap(), Opened::Window(id));
    assert_eq!(fixture.store.open_reveal(id, token, &reveal).await.unwrap(), Opened::Busy(id));
    fixture = fixture.reopened().await;
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!(
        (kept.reveal, kept.state),
        (Some(reveal.clone()), WindowState::Revealing { block: BlockNumber(101) })
    );
    fixture.store.drop_reveal(id).await.unwrap();
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!((kept.reveal, kept.state), (None, WindowState::Committed { block: BlockNumber(101) }));
    token = fixture.store.held().unwrap();
    fixture.store.open_reveal(id, token, &reveal).await.unwrap();
    let end = WindowEnd::Revealed { committed: BlockNumber(101), block: BlockNumber(160) };
    fixture.store.end_window(id, &end).await.unwrap();
    fixture.store.drop_reveal(id).await.unwrap();
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!((kept.reveal, kept.state), (Some(reveal.clone()), WindowState::Ended(end)));
    assert_eq!(fixture.store.last_set().await.unwrap(), Some(BlockNumber(160)));
}

async fn every_end_is_kept_with_its_reason(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let ends = [
        WindowEnd::Refused { block: BlockNumber(5), error: "SubtensorModule.NotRegistered".into() },
        WindowEnd::Expired(Expiry::EraOver),
        WindowEnd::Expired(Expiry::NonceTaken),
        WindowEnd::Expired(Expiry::OtherChain),
        WindowEnd::Lost(Lost::EpochPassed),
        WindowEnd::Lost(Lost::SwitchedOff),
        WindowEnd::Lost(Lost::Gone),
        WindowEnd::Lost(Lost::OutOfReach),
        WindowEnd::Lost(Lost::NotRevealed),
    ];
    let digest = Digest::from_bytes([4; 32]);
    for end in ends {
        let opened = committing(&store, WindowForm::Timelocked { digest, round: 77 });
        let Opened::Window(id) = store.open_window(&opened, &[]).await.unwrap() else { panic!("not opened") };
        store.end_window(id, &end).await.unwrap();
        let kept = store.windows(1).await.unwrap().pop().unwrap();
        assert_eq!((kept.opened, kept.state), (opened, WindowState::Ended(end)));
    }
    assert_eq!(store.last_set().await.unwrap(), None);
}

#[tokio::test]
async fn windows_of_the_first_schema_are_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("validator.db").display()).parse().unwrap();
    let old = Schema { migrations: &VALIDATOR_SCHEMA.migrations[..1], ..VALIDATOR_SCHEMA };
    let database = Database::open(&url, &old, OpenOptions::default()).await.unwrap();
    let mut transaction = database.begin("write as the first version did").await.unwrap();
    let zeros = "0".repeat(64);
    for (state, block, error) in [
        ("set", "9", "NULL"),
        ("failed", "12", "'Some.Error'"),
        ("expired", "NULL", "NULL"),
        ("prepared", "NULL", "NULL"),
    ] {
        let insert = format!(
            "INSERT INTO windows (netuid, fencing, created, weights, expected, extrinsic, hash, nonce, genesis, born,
                 born_hash, dies, state, block, error)
             VALUES (39, 0, 1, '[[0,65535]]', '[[0,65535]]', x'01', '{zeros}', 3, '{zeros}', 8, '{zeros}', 9, '{state}',
                 {block}, {error})"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    drop(database);
    let database = Database::open(&url, &VALIDATOR_SCHEMA, OpenOptions::default()).await.unwrap();
    let states: Vec<WindowState> =
        ValidatorDatabase::new(database).windows(9).await.unwrap().into_iter().map(|w| w.state).collect();
    let refused = WindowEnd::Refused { block: BlockNumber(12), error: "Some.Error".into() };
    assert_eq!(
        states,
        [
            WindowState::Prepared,
            WindowState::Ended(WindowEnd::Expired(Expiry::EraOver)),
            WindowState::Ended(refused),
            WindowState::Ended(WindowEnd::Set { block: BlockNumber(9) }),
        ]
    );
}

async fn a_stale_leader_cannot_open_a_window(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let current = store.held().unwrap();
    let stale = NewWindow { fencing: FencingToken(current.0 + 1), ..window(&store) };
    assert_eq!(store.open_window(&stale, &[]).await.unwrap(), Opened::Fenced { current });
    assert!(store.windows(5).await.unwrap().is_empty());
}
