//! What becomes of groups of requests beside what they decide.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_group_that_cannot_be_written_leaves_nothing_and_harms_no_later_one() {
    let f = fixture().await;
    f.store.open_session(&nonce(1, "first", START), &session(7, START)).await.unwrap().unwrap();
    let refusal = "CREATE TRIGGER refusal BEFORE INSERT ON sessions BEGIN SELECT raise(ABORT, 'as a full disk would'); END";
    sqlx::query(refusal).execute(f.store.database.writer()).await.unwrap();
    let second = nonce(1, "second", START);
    f.store.open_session(&second, &session(8, START)).await.unwrap_err();
    let late = f.store.admit_discovery(&second, &discovery(8, 0, 1)).await.unwrap();
    assert_eq!(late.unwrap_err(), Inadmissible::NoSession, "nor is there a session");
    sqlx::query("DROP TRIGGER refusal").execute(f.store.database.writer()).await.unwrap();
    assert_eq!(
        f.store.open_session(&second, &session(8, START)).await.unwrap(),
        Ok(()),
        "the nonce is unused"
    );
    let reopened = open(&f.url).await;
    assert_eq!(reopened.open_sessions(START).await.unwrap(), 2);
    assert_eq!(
        reopened.open_session(&second, &session(9, START)).await.unwrap(),
        Err(Inadmissible::Replayed),
        "what was admitted is on disk"
    );
}

/// The fleet is told by the answer, or else by the revision.
#[tokio::test]
async fn a_key_that_nobody_hears_of_raises_the_revision() {
    let f = fixture().await;
    f.store.open_session(&nonce(1, "open", START), &session(1, START)).await.unwrap().unwrap();
    let before = f.store.revision().await.unwrap();
    f.store.admit_discovery(&nonce(1, "heard", START), &discovery(1, 0, 1)).await.unwrap().unwrap();
    assert_eq!(f.store.revision().await.unwrap(), before);
    let log = crate::new_file::beside(f.url.as_path(), "-wal");
    std::fs::rename(&log, log.with_extension("away")).unwrap();
    let other = DiscoveryUse { public_key: Some(key(2)), ..discovery(1, 0, 2) };
    f.store.admit_discovery(&nonce(1, "unflushed", START), &other).await.unwrap_err();
    std::fs::rename(log.with_extension("away"), &log).unwrap();
    while f.store.revision().await.unwrap() == before {
        tokio::task::yield_now().await;
    }
    let again = DiscoveryUse { public_key: Some(key(2)), ..discovery(1, 0, 3) };
    f.store.admit_discovery(&nonce(1, "again", START), &again).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_write_ahead_log_is_copied_while_the_database_is_in_use() {
    let f = fixture().await;
    let size = || std::fs::metadata(f.url.as_path()).unwrap().len();
    let before = size();
    for at in 0..400 {
        let nonce = NonceUse { limit: 1_000, ..nonce(1, &format!("n{at}"), START) };
        f.store.open_session(&nonce, &session(1, START)).await.unwrap().unwrap();
    }
    let copied = async {
        while size() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), copied)
        .await
        .expect("it is far too short for a commit to copy it");
}

#[tokio::test]
async fn what_another_process_writes_counts_at_once() {
    let (f, rate) = (fixture().await, |nonce| NonceUse { limit: 3, ..nonce });
    let other = open(&f.url).await;
    f.store.open_session(&rate(nonce(1, "here", START)), &session(1, START)).await.unwrap().unwrap();
    other.open_session(&rate(nonce(1, "there", START)), &session(2, START)).await.unwrap().unwrap();
    let replay = f.store.open_session(&rate(nonce(1, "there", START)), &session(3, START)).await.unwrap();
    assert_eq!(replay, Err(Inadmissible::Replayed));
    let its_session =
        f.store.admit_discovery(&rate(nonce(1, "ask", START)), &discovery(2, 0, 1)).await.unwrap();
    assert_eq!(its_session.unwrap().id, SessionId::from_random([2; 8]));
    let full = other.open_session(&rate(nonce(1, "more", START)), &session(4, START)).await.unwrap();
    assert_eq!(full, Err(Inadmissible::Full));
    other.revoke_sessions(SessionChoice::All, START).await.unwrap();
    let later = after(660_000);
    let revoked = f.store.admit_discovery(&nonce(1, "late", later), &discovery(1, 0, 2)).await.unwrap();
    assert_eq!(revoked.unwrap_err(), Inadmissible::NoSession);
}

#[tokio::test]
async fn what_is_over_is_forgotten_in_the_file_too_and_the_rest_is_not() {
    let f = fixture().await;
    for (name, at) in [("old", 0), ("young", 600_000)] {
        let opened = session(u8::try_from(at / 10_000).unwrap(), after(at));
        f.store.open_session(&nonce(1, name, after(at)), &opened).await.unwrap().unwrap();
    }
    f.store.prune(after(660_000)).await.unwrap();
    let left =
        || sqlx::query_scalar::<_, String>("SELECT nonce FROM nonces").fetch_all(f.store.database.readers());
    assert_eq!(left().await.unwrap(), ["nonce-young"]);
    for store in [&f.store, &open(&f.url).await] {
        let replay =
            store.open_session(&nonce(1, "young", after(660_000)), &session(9, START)).await.unwrap();
        assert_eq!(replay, Err(Inadmissible::Replayed));
    }
    // As a clock that is a year ahead leaves it.
    let ahead = NonceUse { limit: 9, ..nonce(1, "ahead", after(31_536_000_000)) };
    f.store.open_session(&ahead, &session(8, START)).await.unwrap().unwrap();
    for name in ["younger", "youngest"] {
        let used = NonceUse { limit: 9, ..nonce(1, name, after(700_000)) };
        f.store.open_session(&used, &session(7, START)).await.unwrap().unwrap();
    }
    f.store.prune(after(10_000_000)).await.unwrap();
    assert_eq!(left().await.unwrap(), ["nonce-ahead", "nonce-youngest"], "numbers do not come again");
}

#[tokio::test]
async fn nothing_is_forgotten_by_the_migration_that_puts_rows_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let url: DatabasePath =
        format!("sqlite://{}", directory.path().join("miner.db").display()).parse().unwrap();
    let before = Schema { migrations: &MINER_SCHEMA.migrations[..5], ..MINER_SCHEMA };
    let database = Database::open(&url, &before, OpenOptions::default()).await.unwrap();
    let (validator, gpu) = (hotkey(1).to_string(), node("192.0.2.1").node_id());
    let text = format!(
        "INSERT INTO validators (hotkey, nonces, seen_v2, last_epoch, last_ts_secs) VALUES ('{validator}', 2, 1, 3, 100);
         INSERT INTO nonces VALUES ('{validator}', 'nonce-later', {0} + 700000), ('{validator}', 'nonce-sooner', {0} + 1);
         INSERT INTO sessions (id, validator, token_hash, opened_at, expires_at, public_key) VALUES
             ('{1}', '{validator}', x'{2}', {0}, {0} + 9000000, '{KEY}');
         INSERT INTO deployments VALUES ('{gpu}', '{1}')",
        START.0,
        SessionId::from_random([7; 8]),
        Digest::from_bytes([7; 32]),
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(database.writer()).await.unwrap();
    database.close().await;
    let store = open(&url).await;
    assert_eq!(store.deployments(gpu).await.unwrap(), [(SessionId::from_random([7; 8]), hotkey(1))]);
    assert_eq!(store.deployed_until(gpu).await.unwrap(), Some(after(9_000_000)));
    let asked = |name, epoch| (nonce(1, name, after(2)), discovery(7, epoch, 100));
    let ask = async |(nonce, discovery)| store.admit_discovery(&nonce, &discovery).await.unwrap();
    assert_eq!(ask(asked("later", 9)).await.unwrap_err(), Inadmissible::Replayed);
    assert_eq!(ask(asked("other", 3)).await.unwrap_err(), Inadmissible::Superseded);
    assert_eq!(ask(asked("sooner", 4)).await.unwrap().id, SessionId::from_random([7; 8]));
    store.prune(after(1_000_000)).await.unwrap();
    let replay = ask((nonce(1, "later", after(3)), discovery(7, 10, 200))).await;
    assert!(replay.is_ok(), "pruned with the time that it counted for: {replay:?}");
}
