//! What a power cut can take, and how the miner makes up for it.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::restore_miner;

/// A miner under one run of the kernel, which began at [`START`].
struct Run {
    store: MinerDatabase,
    /// How long the kernel has run, in milliseconds.
    up: Arc<AtomicI64>,
}

async fn during(boot: impl Into<Option<&'static str>>, url: &DatabasePath) -> Run {
    let database = Database::open(url, &MINER_SCHEMA, OpenOptions::default()).await;
    let up = Arc::new(AtomicI64::new(0));
    let read = Arc::clone(&up);
    let boot = Boot::told(boot.into(), move || Millis(read.load(Ordering::Relaxed).try_into().unwrap()));
    Run { store: MinerDatabase::during(boot, database.unwrap()), up }
}

impl Run {
    async fn resume(&self, now: i64) {
        self.up.store(now, Ordering::Relaxed);
        self.store.resume(after(now)).await.unwrap();
    }

    /// What becomes of a request that is signed and arrives then; the clock is right.
    async fn asked(&self, name: &str, (signed_at, now): (i64, i64)) -> Result<(), Inadmissible> {
        self.up.store(now, Ordering::Relaxed);
        asked(&self.store, name, (signed_at, now)).await
    }
}

fn signed(name: &str, signed_at: Timestamp, now: Timestamp) -> NonceUse {
    NonceUse { signed_at, limit: 100, ..nonce(1, &format!("of-{name}"), now) }
}

async fn asked(store: &MinerDatabase, name: &str, at: (i64, i64)) -> Result<(), Inadmissible> {
    let (signed_at, now) = (after(at.0), after(at.1));
    store.open_session(&signed(name, signed_at, now), &session(1, now)).await.unwrap()
}

const FORGOTTEN_UNTIL_15: Result<(), Inadmissible> =
    Err(Inadmissible::Forgotten { sign_after: Timestamp(START.0 + 15_000) });

#[tokio::test]
async fn after_a_reboot_only_requests_that_are_signed_after_it_are_admitted() {
    let f = fixture().await;
    let store = during("first", &f.url).await;
    assert_eq!(store.asked("a", (0, 0)).await, Ok(()));
    let again = during("first", &f.url).await;
    assert_eq!(again.asked("b", (-290_000, 1_000)).await, Ok(()), "the process ended, and not the machine");
    assert_eq!(again.asked("a", (0, 1_000)).await, Err(Inadmissible::Replayed));

    let rebooted = during("second", &f.url).await;
    rebooted.resume(10_000).await;
    // As the nonce was flushed, it would be known; one that was not is refused all the same.
    assert_eq!(rebooted.asked("a", (0, 11_000)).await, FORGOTTEN_UNTIL_15);
    assert_eq!(rebooted.asked("lost", (9_000, 11_000)).await, FORGOTTEN_UNTIL_15);
    assert_eq!(rebooted.asked("lost", (15_000, 16_000)).await, FORGOTTEN_UNTIL_15);
    assert_eq!(rebooted.asked("later", (15_001, 16_000)).await, Ok(()));
    assert_eq!(rebooted.asked("later", (15_001, 17_000)).await, Err(Inadmissible::Replayed));

    let restarted = during("second", &f.url).await;
    restarted.resume(60_000).await;
    assert_eq!(restarted.asked("lost", (9_000, 61_000)).await, FORGOTTEN_UNTIL_15, "nor by a restart");
    assert_eq!(restarted.asked("new", (20_000, 61_000)).await, Ok(()), "which loses nothing itself");
}

#[tokio::test]
async fn a_kernel_without_a_name_is_another_one_each_time() {
    let f = fixture().await;
    for (name, now) in [("a", 0), ("b", 100_000), ("c", 200_000)] {
        let store = during(None, &f.url).await;
        let admitted = store.asked(name, (now, now)).await;
        let sign_after = after(now + 5_000);
        assert_eq!(admitted, if now == 0 { Ok(()) } else { Err(Inadmissible::Forgotten { sign_after }) });
    }
}

/// The moment is one of the kernel's run, which no clock on the wall has a say in.
#[tokio::test]
async fn a_clock_that_was_wrong_at_the_start_neither_admits_nor_shuts_out() {
    for error in [-7_200_000, 7_200_000] {
        let f = fixture().await;
        assert_eq!(during("first", &f.url).await.asked("a", (0, 0)).await, Ok(()));
        let run = during("second", &f.url).await;
        run.up.store(10_000, Ordering::Relaxed);
        run.store.resume(after(10_000 + error)).await.unwrap();
        run.up.store(11_000, Ordering::Relaxed);
        let until = Err(Inadmissible::Forgotten { sign_after: after(15_000 + error) });
        assert_eq!(asked(&run.store, "b", (14_000 + error, 11_000 + error)).await, until, "as it is wrong");
        assert_eq!(run.asked("lost", (9_000, 20_000)).await, FORGOTTEN_UNTIL_15, "once it is right");
        assert_eq!(run.asked("new", (16_000, 20_000)).await, Ok(()));
    }
}

#[tokio::test]
async fn what_was_refused_under_the_run_before_is_refused_on() {
    let f = fixture().await;
    let mut writing = f.store.database.begin("interrupt").await.unwrap();
    crate::miner::admission::interrupt(&mut writing).await.unwrap();
    writing.commit().await.unwrap();
    let until = Err(Inadmissible::Forgotten { sign_after: after(310_000) });
    during("first", &f.url).await.resume(10_000).await;
    let rebooted = during("second", &f.url).await;
    rebooted.resume(100_000).await;
    assert_eq!(rebooted.asked("a", (290_000, 101_000)).await, until);
    let late = during("third", &f.url).await;
    late.resume(307_000).await;
    let until = Err(Inadmissible::Forgotten { sign_after: after(312_000) });
    assert_eq!(late.asked("a", (311_000, 308_000)).await, until, "and never less than after a power cut");
}

#[tokio::test]
async fn what_schema_8_kept_is_taken_for_another_run() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("miner.db").display()).parse().unwrap();
    let before = Schema { migrations: &MINER_SCHEMA.migrations[..8], ..MINER_SCHEMA };
    let database = Database::open(&url, &before, OpenOptions::default()).await.unwrap();
    let text = format!("INSERT INTO continuity VALUES (1, 'first', {})", after(-50_000).0);
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(database.writer()).await.unwrap();
    database.close().await;
    let run = during("first", &url).await;
    run.resume(10_000).await;
    assert_eq!(run.asked("a", (15_000, 16_000)).await, FORGOTTEN_UNTIL_15);
}

#[tokio::test]
async fn a_copy_knows_nothing_of_what_was_asked_after_it() {
    let f = fixture().await;
    assert_eq!(asked(&f.store, "a", (0, 0)).await, Ok(()));
    let place = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", place.path().join("miner.db").display()).parse().unwrap();
    let copy = place.path().join("copy");
    f.store.database.back_up(&copy).await.unwrap();
    assert_eq!(asked(&f.store, "b", (1_000, 1_000)).await, Ok(()));
    restore_miner(&copy, &url, after(9_000)).await.unwrap();
    let restored = during("first", &url).await;
    restored.resume(10_000).await;
    // Those that were signed far ahead were flushed into another file.
    let until = Err(Inadmissible::Forgotten { sign_after: after(310_000) });
    assert_eq!(restored.asked("b", (1_000, 11_000)).await, until);
    assert_eq!(restored.asked("b", (290_000, 12_000)).await, until);
    let restarted = during("first", &url).await;
    assert_eq!(restarted.asked("b", (290_000, 13_000)).await, until, "nor by a restart");
    assert_eq!(restarted.asked("c", (311_000, 311_000)).await, Ok(()));
}

#[tokio::test]
async fn only_groups_of_requests_leave_their_commits_unflushed() {
    let f = fixture().await;
    let asked = "PRAGMA synchronous";
    let mut turn = f.store.database.turn("look").await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(asked).fetch_one(turn.connection()).await.unwrap(), 1, "NORMAL");
    turn.over();
    let writer = sqlx::query_scalar::<_, i64>(asked).fetch_one(f.store.database.writer()).await.unwrap();
    assert_eq!(writer, 2, "FULL");
}

/// A request that is answered before the note is on the disk could be answered again after a power cut.
#[tokio::test]
async fn the_first_note_is_flushed_whoever_makes_it() {
    for early in [true, false] {
        let f = fixture().await;
        // The log is there with the first turn.
        f.store.database.turn("look").await.unwrap().over();
        let log = crate::new_file::beside(f.url.as_path(), "-wal");
        std::fs::rename(&log, log.with_extension("away")).unwrap();
        let opened =
            async |name| f.store.open_session(&signed(name, START, START), &session(1, START)).await.is_ok();
        assert!(!if early { f.store.resume(START).await.is_ok() } else { opened("a").await });
        assert!(!opened("b").await, "nor is it taken for flushed");
        std::fs::rename(log.with_extension("away"), &log).unwrap();
        assert!(opened("c").await);
        std::fs::rename(&log, log.with_extension("away")).unwrap();
        assert!(opened("d").await, "which needs no flush itself");
    }
}

#[tokio::test]
async fn a_database_behind_a_link_is_flushed_too() {
    let f = fixture().await;
    let place = tempfile::tempdir().unwrap();
    let link = place.path().join("linked.db");
    std::os::unix::fs::symlink(f.url.as_path(), &link).unwrap();
    let store = open(&format!("sqlite://{}", link.display()).parse().unwrap()).await;
    store.open_session(&nonce(1, "through", START), &session(1, START)).await.unwrap().unwrap();
    store.admit_discovery(&nonce(1, "with-key", START), &discovery(1, 0, 1)).await.unwrap().unwrap();
}

/// The log without its name can be written and no longer be opened to be flushed: who succeeds was not flushed.
#[tokio::test]
async fn what_a_loss_would_not_outdate_is_flushed_before_it_is_answered() {
    let f = fixture().await;
    let key = |seed: Option<u8>| DiscoveryUse { public_key: seed.map(super::key), ..discovery(1, 0, 0) };
    let open = async |name, signed_at: i64| {
        f.store.open_session(&signed(name, after(signed_at), START), &session(1, START)).await.is_ok()
    };
    let discover = async |secs: i64, wanted: DiscoveryUse| {
        let used = signed(&format!("d{secs}"), START, START);
        let wanted = DiscoveryUse { timestamp_secs: secs, ..wanted };
        f.store.admit_discovery(&used, &wanted).await.map(Result::unwrap).is_ok()
    };
    assert!(open("a", 0).await);
    assert!(discover(1, key(Some(1))).await);
    let log = crate::new_file::beside(f.url.as_path(), "-wal");
    let take = || std::fs::rename(&log, log.with_extension("away")).unwrap();
    let put_back = async |name| {
        std::fs::rename(log.with_extension("away"), &log).unwrap();
        assert!(open(name, 0).await, "and what was read anew is flushed");
    };
    take();
    assert!(discover(2, key(Some(1))).await, "the key is with the session already");
    assert!(discover(3, key(None)).await);
    assert!(open("b", 5_000).await);
    assert!(open("c", -300_000).await);
    assert!(!discover(4, key(Some(2))).await, "another key");
    put_back("d").await;
    take();
    assert!(!open("e", 5_001).await, "signed far ahead");
    put_back("f").await;
    assert!(open("g", 5_001).await);
}

#[tokio::test]
async fn that_a_hotkey_signs_with_v2_is_flushed_once() {
    let f = fixture().await;
    let ask = async |name: &str, secs: i64| {
        let wanted = DiscoveryUse { public_key: None, timestamp_secs: secs, ..discovery(1, 0, 0) };
        f.store.admit_discovery(&signed(name, START, START), &wanted).await.map(Result::unwrap).is_ok()
    };
    f.store.open_session(&signed("a", START, START), &session(1, START)).await.unwrap().unwrap();
    let log = crate::new_file::beside(f.url.as_path(), "-wal");
    std::fs::rename(&log, log.with_extension("away")).unwrap();
    assert!(!ask("b", 1).await);
    assert!(!ask("c", 2).await, "nor is it taken for flushed");
    std::fs::rename(log.with_extension("away"), &log).unwrap();
    assert!(ask("d", 3).await);
    std::fs::rename(&log, log.with_extension("away")).unwrap();
    assert!(ask("e", 4).await, "it is known by now");
}
