//! Copies of a miner's database and their way back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

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
async fn a_copy_made_while_others_write_restores_what_was_there_and_ends_its_sessions() {
    let fixture = filled().await;
    let place = Elsewhere::new();
    let copy = place.path("copy");
    let bytes = fixture.store.database.back_up(&copy).await.unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().len(), bytes);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
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
    for bytes in [whole[..whole.len() / 2].to_vec(), overwritten, b"not a database".to_vec()] {
        std::fs::write(&bad, bytes).unwrap();
        let error = restore_miner(&bad, &place.database(), START).await.unwrap_err();
        assert!(
            matches!(error, CopyError::Damaged { .. } | CopyError::Open(OpenError::Sqlite { .. })),
            "{error}"
        );
    }
    let error = restore_miner(other.as_path(), &place.database(), START).await.unwrap_err();
    assert!(matches!(error, CopyError::Open(OpenError::OtherProgram { .. })), "{error}");
    let error = restore_miner(&place.path("absent"), &place.database(), START).await.unwrap_err();
    assert!(matches!(error, CopyError::File { .. }), "{error}");
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
