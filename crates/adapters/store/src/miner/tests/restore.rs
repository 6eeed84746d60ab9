//! Copies of a miner's database and their way back.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::{CopyError, OpenError, VALIDATOR_SCHEMA, restore_miner};

/// A place for another database.
struct Elsewhere(tempfile::TempDir);

impl Elsewhere {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn database(&self) -> DatabasePath {
        format!("sqlite://{}", self.path("miner.db").display()).parse().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn filled() -> Fixture {
    let fixture = fixture().await;
    let address = node("192.0.2.1");
    fixture.store.pin_host_key(address.node_id(), &address, &KEY.parse().unwrap(), START).await.unwrap();
    fixture.store.open_session(&nonce(1, "opened", START), &session(1, START)).await.unwrap().unwrap();
    fixture
}

#[tokio::test]
async fn a_copy_restores_what_was_there_and_ends_its_sessions() {
    let fixture = filled().await;
    let place = Elsewhere::new();
    let copy = place.path("copy");
    let bytes = fixture.store.database.back_up(&copy).await.unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().len(), bytes);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!copying(&fixture).exists());
    let later = node("192.0.2.2");
    fixture.store.pin_host_key(later.node_id(), &later, &KEY.parse().unwrap(), START).await.unwrap();
    let from = restore_miner(&copy, &place.database(), Timestamp(START.0 + 1_000)).await.unwrap();
    assert_eq!(from, MINER_SCHEMA.version());
    assert_eq!(place.names(), ["copy", "miner.db", "miner.db-lock"]);
    let restored = open(&place.database()).await;
    assert_eq!(restored.host_keys().await.unwrap().len(), 1);
    assert_eq!(fixture.store.open_sessions(START).await.unwrap(), 1);
    assert_eq!(restored.open_sessions(Timestamp(START.0 + 1_001)).await.unwrap(), 0);
    // What was used once is still used.
    let again = restored.open_session(&nonce(1, "opened", START), &session(2, START)).await.unwrap();
    assert!(again.is_err());
}

/// What SQLite writes to while a copy is made.
fn copying(fixture: &Fixture) -> PathBuf {
    let mut name = fixture.url.as_path().as_os_str().to_owned();
    name.push(".copying");
    PathBuf::from(name)
}

/// Opens the session of validator `number`, which writes a row of two tables in one transaction.
async fn write(store: &MinerDatabase, number: u64) {
    let mut id = [0; 8];
    id.copy_from_slice(&number.to_be_bytes());
    let mut validator = [0; 32];
    validator[..8].copy_from_slice(&id);
    let mut new = session(1, START);
    new.id = SessionId::from_random(id);
    new.token_hash = Digest::from_bytes(validator);
    let mut nonce = nonce(1, "first", START);
    nonce.validator = Hotkey::from_bytes(validator);
    store.open_session(&nonce, &new).await.unwrap().unwrap();
}

/// How many of the two rows of each write a file has.
async fn written(store: &MinerDatabase) -> (u64, u64) {
    let health = store.database.health().await.unwrap();
    let rows = |table: &str| health.tables.iter().find(|(name, _)| name == table).map(|(_, rows)| *rows);
    (rows("sessions").unwrap().try_into().unwrap(), rows("nonces").unwrap().try_into().unwrap())
}

#[tokio::test]
async fn a_copy_made_while_others_write_is_one_moment_of_what_they_wrote() {
    let fixture = fixture().await;
    // Enough that SQLite needs more than a moment for it.
    sqlx::query(
        "INSERT INTO host_keys (node_id, address, pinned, pinned_at) VALUES ('filling', '', hex(zeroblob(8000000)), 0)",
    )
    .execute(fixture.store.database.writer())
    .await
    .unwrap();
    // The command that copies is a process of its own, with its own connections.
    let other = open(&fixture.url).await;
    let (mut count, mut meanwhile) = (0, 0);
    while meanwhile == 0 {
        let place = Elsewhere::new();
        let copy = place.path("copy");
        let (before, is_made) = (count, Cell::new(false));
        let copied = async {
            other.database.back_up(&copy).await.unwrap();
            is_made.set(true);
        };
        let wrote = async {
            while !is_made.get() {
                let is_begun = std::fs::metadata(copying(&fixture)).is_ok_and(|draft| draft.len() > 0);
                write(&fixture.store, count).await;
                count += 1;
                meanwhile += u64::from(is_begun && !is_made.get());
            }
        };
        tokio::join!(copied, wrote);
        let (sessions, nonces) = written(&open_copy(&copy).await).await;
        assert_eq!(sessions, nonces, "half of a write is in the copy");
        assert!((before..=count).contains(&sessions), "{before} {sessions} {count}");
    }
}

/// A copy, opened where it is.
async fn open_copy(copy: &Path) -> MinerDatabase {
    open(&format!("sqlite://{}", copy.display()).parse().unwrap()).await
}

#[tokio::test]
async fn two_copies_at_once_do_not_write_into_each_other() {
    let fixture = filled().await;
    let place = Elsewhere::new();
    // Another process writes its copy.
    let theirs = std::fs::File::create(copying(&fixture)).unwrap();
    rustix::fs::flock(&theirs, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let error = fixture.store.database.back_up(&place.path("copy")).await.unwrap_err();
    assert!(matches!(&error, CopyError::Busy { path } if *path == copying(&fixture)), "{error}");
    assert!(place.names().is_empty() && copying(&fixture).exists());
    // It was killed, and left half of it.
    std::fs::write(copying(&fixture), "half").unwrap();
    drop(theirs);
    fixture.store.database.back_up(&place.path("copy")).await.unwrap();
    assert_eq!(place.names(), ["copy"]);
    assert!(!copying(&fixture).exists());
    // And what is beside the database is not followed anywhere.
    std::os::unix::fs::symlink(place.path("copy"), copying(&fixture)).unwrap();
    let error = fixture.store.database.back_up(&place.path("other")).await.unwrap_err();
    assert!(matches!(error, CopyError::File { .. }), "{error}");
    assert_eq!(place.names(), ["copy"]);
}

#[tokio::test]
async fn nothing_is_copied_over_anything() {
    let fixture = filled().await;
    let place = Elsewhere::new();
    let copy = place.path("copy");
    fixture.store.database.back_up(&copy).await.unwrap();
    let exists = |error: CopyError, there: PathBuf| {
        assert!(matches!(&error, CopyError::Exists { path } if *path == there), "{error}");
    };
    exists(fixture.store.database.back_up(&copy).await.unwrap_err(), copy.clone());
    // A log without its database would become the restored one's.
    std::fs::write(place.path("miner.db-wal"), "x").unwrap();
    let refused = restore_miner(&copy, &place.database(), START).await.unwrap_err();
    exists(refused, place.path("miner.db-wal"));
    let refused = restore_miner(&copy, &fixture.url, START).await.unwrap_err();
    exists(refused, fixture.url.as_path().to_owned());
}

#[tokio::test]
async fn a_running_miner_is_not_restored_under() {
    let fixture = filled().await;
    let place = Elsewhere::new();
    fixture.store.database.back_up(&place.path("copy")).await.unwrap();
    let _runs = MinerLock::take(&place.database()).unwrap();
    let error = restore_miner(&place.path("copy"), &place.database(), START).await.unwrap_err();
    assert!(matches!(error, CopyError::Open(OpenError::InUse { .. })), "{error}");
}

#[tokio::test]
async fn a_copy_that_is_not_whole_or_not_a_miners_leaves_nothing_behind() {
    let fixture = filled().await;
    let place = Elsewhere::new();
    let copy = place.path("copy");
    fixture.store.database.back_up(&copy).await.unwrap();
    let whole = std::fs::read(&copy).unwrap();
    let bad = place.path("bad");
    let other = format!("sqlite://{}", place.path("other").display()).parse().unwrap();
    Database::open(&other, &VALIDATOR_SCHEMA, OpenOptions::default()).await.unwrap().close().await;
    let mut overwritten = whole.clone();
    overwritten[4096..8192].fill(0xab);
    let cut = [100, 4096, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec());
    for bytes in cut.into_iter().chain([overwritten, b"not a database".to_vec()]) {
        std::fs::write(&bad, bytes).unwrap();
        let error = restore_miner(&bad, &place.database(), START).await.unwrap_err();
        assert!(matches!(error, CopyError::Damaged { .. }), "{error}");
        let said = error.to_string();
        // Whoever looks for the message finds what to do with a copy, and nothing about directories.
        assert!(said.contains("is no whole database: ") && !said.contains("unable to open"), "{said}");
    }
    let error = restore_miner(other.as_path(), &place.database(), START).await.unwrap_err();
    assert!(matches!(error, CopyError::Open(OpenError::OtherProgram { .. })), "{error}");
    let error = restore_miner(&place.path("absent"), &place.database(), START).await.unwrap_err();
    assert!(matches!(error, CopyError::Unreadable { .. }), "{error}");
    std::fs::remove_file(&bad).unwrap();
    std::fs::remove_file(place.path("other")).unwrap();
    assert_eq!(place.names(), ["copy", "miner.db-lock"]);
    restore_miner(&copy, &place.database(), START).await.unwrap();
}

#[tokio::test]
async fn a_copy_of_an_older_program_is_migrated_and_an_empty_file_is_none() {
    let place = Elsewhere::new();
    let old = Schema { migrations: &MINER_SCHEMA.migrations[..2], ..MINER_SCHEMA };
    let file = format!("sqlite://{}", place.path("old").display()).parse().unwrap();
    Database::open(&file, &old, OpenOptions::default()).await.unwrap().close().await;
    assert_eq!(restore_miner(file.as_path(), &place.database(), START).await.unwrap(), 2);
    assert!(open(&place.database()).await.host_keys().await.unwrap().is_empty());
    let elsewhere = Elsewhere::new();
    std::fs::write(place.path("empty"), "").unwrap();
    let error = restore_miner(&place.path("empty"), &elsewhere.database(), START).await.unwrap_err();
    assert!(matches!(error, CopyError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn health_counts_what_is_there() {
    let fixture = filled().await;
    let health = fixture.store.database.health().await.unwrap();
    assert_eq!(health.damage, None);
    assert!(health.bytes > 0);
    let rows = |table: &str| health.tables.iter().find(|(name, _)| name == table).map(|(_, rows)| *rows);
    assert_eq!((rows("sessions"), rows("host_keys")), (Some(1), Some(1)));
}

#[tokio::test]
async fn damage_under_a_database_in_use_is_found_and_so_is_its_absence() {
    let fixture = filled().await;
    fixture.store.check_whole().await.unwrap();
    let file = fixture.url.as_path();
    // Until it is copied into the file, all of it is in the log.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(fixture.store.database.writer()).await.unwrap();
    let whole = std::fs::read(file).unwrap();
    let write = |at: usize, bytes: &[u8]| {
        let open = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&open, bytes, at as u64).unwrap();
    };
    for at in [0, 4096, whole.len() - 4096] {
        write(at, &[0xab; 4096]);
        let error = fixture.store.check_whole().await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "page at {at}: {error}");
        write(at, &whole[at..at + 4096]);
        fixture.store.check_whole().await.unwrap();
    }
    std::fs::rename(file, file.with_extension("away")).unwrap();
    let error = fixture.store.check_whole().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}
