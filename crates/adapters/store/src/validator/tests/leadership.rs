//! Who may write.

use super::*;

on_both_engines!(writes_of_whoever_was_succeeded_are_refused, whoever_never_led_writes_nothing);

async fn miners_of(store: &ValidatorDatabase, n: u8) -> Result<(), StoreError> {
    let axon = "198.51.100.7:50051".parse().unwrap();
    store.observe_miners(&[SeenMiner { hotkey: miner(n), uid: Uid(7), axon }], NOW).await
}

const HOUR: Millis = Millis::from_secs(3600);

async fn writes_of_whoever_was_succeeded_are_refused(on: On) {
    let Fixture { store: first, place } = Fixture::new(on).await;
    let old = first.held().unwrap();
    if on == On::Sqlite {
        // A second process is refused before it could ask; this one leads for ever, with a token of 0.
        assert_eq!((old, first.is_shared()), (FencingToken(0), false));
        first.step_down();
        first.resign().await.unwrap();
        first.renew(HOUR).await.unwrap();
        assert_eq!(first.campaign("me", HOUR).await.unwrap(), Campaign::Won(FencingToken(0)));
        miners_of(&first, 3).await.unwrap();
        return;
    }
    let second = place.open().await;
    let Campaign::Won(new) = second.campaign("second", HOUR).await.unwrap() else { panic!("not won") };
    assert!(new > old);
    let refused = miners_of(&first, 3).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Fenced { held: Some(h), current } if h == old && current == new),
        "{refused}"
    );
    assert!(matches!(first.renew(HOUR).await, Err(StoreError::Fenced { .. })));
    assert_eq!(first.held(), None, "it knows now");
    assert_eq!(first.miners().await.unwrap().len(), 2, "it still reads, and nothing was written");
    miners_of(&second, 3).await.unwrap();
    let Campaign::Lost(leader) = first.campaign("first", HOUR).await.unwrap() else { panic!("won") };
    assert_eq!((leader.token, leader.holder.as_deref()), (new, Some("second")));
    assert!(leader.lease_left > Millis(0) && leader.lease_left <= HOUR);
    second.renew(HOUR).await.unwrap();
    second.resign().await.unwrap();
    assert!(matches!(miners_of(&second, 4).await, Err(StoreError::Fenced { held: None, .. })));
    let Campaign::Won(newest) = first.campaign("first", HOUR).await.unwrap() else { panic!("not won") };
    assert!(newest > new, "no token is given out twice");
}

async fn whoever_never_led_writes_nothing(on: On) {
    let place = Place::new(on);
    let store = place.open().await;
    let written = miners_of(&store, 3).await;
    match on {
        On::Sqlite => written.unwrap(),
        On::Postgres => assert!(matches!(written, Err(StoreError::Fenced { held: None, .. }))),
    }
}

/// A process that is stopped in the middle of a write holds the row's lock. The server ends its session.
#[tokio::test]
async fn a_leader_that_stands_still_inside_a_write_does_not_keep_others_from_leading() {
    let Fixture { store: first, place } = Fixture::new(On::Postgres).await;
    let mut stalled = first.begin("stall").await.unwrap();
    query("UPDATE miners SET failure = 'half written'").execute(&mut stalled).await.unwrap();
    let second = place.open().await;
    let Campaign::Won(_) = second.campaign("second", HOUR).await.unwrap() else { panic!("not won") };
    let late = query("UPDATE miners SET failure = 'late'").execute(&mut stalled).await;
    assert!(late.is_err(), "its session is gone");
    drop(stalled);
    assert!(second.miners().await.unwrap().iter().all(|miner| miner.failure.is_none()));
    assert!(matches!(miners_of(&first, 3).await, Err(StoreError::Fenced { .. })));
}

/// Or no write might be longer than the lease.
#[tokio::test]
async fn a_lease_is_renewed_beside_a_write_of_any_length() {
    let Fixture { store: first, place } = Fixture::new(On::Postgres).await;
    let second = place.open().await;
    let mut long = first.begin("long").await.unwrap();
    query("UPDATE miners SET failure = 'long'").execute(&mut long).await.unwrap();
    first.renew(HOUR).await.unwrap();
    assert!(matches!(second.campaign("second", HOUR).await.unwrap(), Campaign::Lost(_)));
    long.commit().await.unwrap();
    assert!(first.miners().await.unwrap().iter().all(|miner| miner.failure.as_deref() == Some("long")));
}

/// What was acknowledged under a token is stored before the next one is given out.
#[tokio::test]
async fn a_change_of_leadership_waits_for_the_write_under_way() {
    let Fixture { store: first, place } = Fixture::new(On::Postgres).await;
    let second = place.open().await;
    let mut write = first.begin("write").await.unwrap();
    query("UPDATE miners SET failure = 'stored'").execute(&mut write).await.unwrap();
    let (campaign, ()) = tokio::join!(second.campaign("second", HOUR), async {
        // Waits until the campaign waits. Asked beside it: it would not get on while this thread waits for a program.
        loop {
            let waiting = query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
            if waiting.scalar::<i64>(second.readers()).await.unwrap() == 1 {
                break;
            }
        }
        write.commit().await.unwrap();
    });
    assert!(matches!(campaign.unwrap(), Campaign::Won(_)));
    assert!(second.miners().await.unwrap().iter().all(|miner| miner.failure.as_deref() == Some("stored")));
    assert!(matches!(miners_of(&first, 3).await, Err(StoreError::Fenced { .. })));
}

#[tokio::test]
async fn a_store_goes_on_after_its_server_was_restarted() {
    let Fixture { store, mut place } = Fixture::new(On::Postgres).await;
    let server = place.server.as_mut().unwrap();
    server.crash();
    assert!(store.miners().await.is_err() && miners_of(&store, 3).await.is_err());
    server.start_again();
    assert_eq!(store.miners().await.unwrap().len(), 2);
    miners_of(&store, 3).await.unwrap();
    assert_eq!(store.miners().await.unwrap().len(), 3);
}

/// A newer standby migrates while an older version leads.
#[tokio::test]
async fn statements_go_on_after_somebody_added_a_column() {
    let Fixture { store, place } = Fixture::new(On::Postgres).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    assert_eq!(store.nodes().await.unwrap().len(), 1);
    place.server.as_ref().unwrap().sql("db0", "ALTER TABLE nodes ADD COLUMN newer BIGINT");
    assert_eq!(store.nodes().await.unwrap().len(), 1, "a read is made again");
    // A write is refused once, and whoever wanted it comes again.
    let _ = store.record_discovery(miner(1), &[report(7), report(8)], NOW).await;
    store.record_discovery(miner(1), &[report(7), report(8)], NOW).await.unwrap();
    assert_eq!(store.nodes().await.unwrap().len(), 2);
}

#[tokio::test]
async fn of_many_who_campaign_at_once_one_wins() {
    let place = Place::new(On::Postgres);
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(place.open().await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (n, store) in stores.into_iter().enumerate() {
        tasks.spawn(async move { store.campaign(&n.to_string(), HOUR).await.unwrap() });
    }
    let won = tasks.join_all().await.into_iter().filter(|c| matches!(c, Campaign::Won(_))).count();
    assert_eq!(won, 1);
}
