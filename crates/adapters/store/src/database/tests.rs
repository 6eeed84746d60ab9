use std::future::Future as _;

use basilica_types::ErrorChain;

use super::*;

const ONE: Schema = Schema {
    program: "tester",
    application_id: 0x7465,
    log_pages: 1_000,
    migrate: "tester migrate",
    postgres: None,
    migrations: &["CREATE TABLE a (x INTEGER) STRICT"],
};
const TWO: Schema = Schema {
    migrations: &[ONE.migrations[0], "ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES (1, 2)"],
    ..ONE
};
const BROKEN: Schema = Schema {
    migrations: &[ONE.migrations[0], "INSERT INTO a VALUES (7); INSERT INTO nowhere VALUES (1)"],
    ..ONE
};
const OTHER: Schema = Schema { application_id: 0x6f74, ..ONE };

struct TestFile {
    _directory: tempfile::TempDir,
    url: DatabasePath,
    path: PathBuf,
}

fn file() -> TestFile {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    TestFile { url: format!("sqlite://{}", path.display()).parse().unwrap(), path, _directory: directory }
}

async fn open(file: &TestFile, schema: &Schema) -> Result<Database, OpenError> {
    Database::open(&file.url, schema, OpenOptions::default()).await
}

async fn count(database: &Database) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM a").fetch_one(database.readers()).await.unwrap()
}

#[tokio::test]
async fn migrations_run_once_and_only_forward() {
    let file = file();
    assert_eq!(open(&file, &ONE).await.unwrap().migrated_from(), 0);
    let upgraded = open(&file, &TWO).await.unwrap();
    assert_eq!((upgraded.migrated_from(), count(&upgraded).await), (1, 1));
    assert_eq!(count(&open(&file, &TWO).await.unwrap()).await, 1);
    let error = open(&file, &ONE).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_behind() {
    let file = file();
    open(&file, &ONE).await.unwrap().close().await;
    assert!(matches!(open(&file, &BROKEN).await, Err(OpenError::Migration { version: 2, .. })));
    let database = open(&file, &ONE).await.unwrap();
    assert_eq!(count(&database).await, 0);
}

#[tokio::test]
async fn due_migrations_are_named_when_they_were_not_asked_for() {
    let file = file();
    let refused = OpenOptions { migrate: false, ..OpenOptions::default() };
    let error = Database::open(&file.url, &ONE, refused).await.unwrap_err();
    assert!(matches!(error, OpenError::Absent { .. }) && !file.path.exists(), "{error}");
    assert!(error.to_string().contains("tester has not run yet"), "{error}");
    open(&file, &ONE).await.unwrap().close().await;
    assert!(Database::open(&file.url, &ONE, refused).await.is_ok());
    let error = Database::open(&file.url, &TWO, refused).await.unwrap_err();
    assert!(error.to_string().contains("run `tester migrate`"), "{error}");
}

#[tokio::test]
async fn files_of_others_are_not_touched() {
    let file = file();
    open(&file, &ONE).await.unwrap().close().await;
    assert!(matches!(open(&file, &OTHER).await, Err(OpenError::OtherProgram { .. })));
    std::fs::write(&file.path, b"this is a letter, not a database, and long enough to be read as one")
        .unwrap();
    assert!(matches!(open(&file, &ONE).await, Err(OpenError::Sqlite { .. })));
    assert!(std::fs::read_to_string(&file.path).unwrap().starts_with("this is a letter"));
}

/// Names of all files beside the database.
fn files(file: &TestFile) -> Vec<std::ffi::OsString> {
    let directory = std::fs::read_dir(file.path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = directory.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_check_says_what_opening_would_and_changes_nothing() {
    let file = file();
    let refused = OpenOptions { migrate: false, ..OpenOptions::default() };
    let check = async |schema, options| Database::check(&file.url, schema, options).await;
    check(&ONE, OpenOptions::default()).await.unwrap();
    assert!(matches!(check(&ONE, refused).await, Err(OpenError::Absent { .. })));
    assert!(files(&file).is_empty());
    open(&file, &ONE).await.unwrap().close().await;
    let before = files(&file);
    check(&ONE, refused).await.unwrap();
    check(&TWO, OpenOptions::default()).await.unwrap();
    assert!(matches!(check(&TWO, refused).await, Err(OpenError::MigrationsDue { .. })));
    assert!(matches!(check(&OTHER, refused).await, Err(OpenError::OtherProgram { .. })));
    assert_eq!(files(&file), before);
    let in_use = open(&file, &ONE).await.unwrap();
    check(&ONE, refused).await.unwrap();
    in_use.close().await;
    std::fs::write(&file.path, "a text").unwrap();
    assert!(matches!(check(&ONE, refused).await, Err(OpenError::Sqlite { .. })));
    let nowhere = format!("{}/missing/x.db", file.path.parent().unwrap().display());
    let nowhere = format!("sqlite:{nowhere}").parse().unwrap();
    let error = Database::check(&nowhere, &ONE, OpenOptions::default()).await;
    assert!(matches!(error, Err(OpenError::NoDirectory { .. })), "{error:?}");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let file = file();
    let url = format!("sqlite://{}/missing/x.db", file.path.parent().unwrap().display()).parse().unwrap();
    let error = Database::open(&url, &ONE, OpenOptions::default()).await.unwrap_err().to_string();
    assert!(error.starts_with("unable to open database file"), "{error}");
    assert!(error.contains("mkdir -p"), "{error}");
}

#[tokio::test]
async fn readers_cannot_write_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = file();
    let database = open(&file, &ONE).await.unwrap();
    assert!(sqlx::query("INSERT INTO a VALUES (1)").execute(database.readers()).await.is_err());
    assert_eq!(std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A statement of the other connection would wait for a few seconds only.
#[tokio::test]
async fn a_turn_waits_for_a_transaction_that_nobody_waits_for() {
    let file = file();
    let database = open(&file, &ONE).await.unwrap();
    let mut turn = database.turn("wait for nothing").await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 0").execute(turn.connection()).await.unwrap();
    turn.over();
    let long = async {
        let mut left = database.begin("take long").await.unwrap();
        let rows = "INSERT INTO a WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 400000) SELECT x FROM n";
        let mut adding = std::pin::pin!(sqlx::query(rows).execute(&mut *left));
        // It is under way on SQLite's thread, and then nobody asks for it any more.
        std::future::poll_fn(|context| std::task::Poll::Ready(adding.as_mut().poll(context).is_pending()))
            .await
    };
    assert!(long.await, "it was not over at once");
    let mut turn = database.turn("write").await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE; INSERT INTO a VALUES (7); COMMIT")
        .execute(turn.connection())
        .await
        .unwrap();
    turn.over();
    assert_eq!(count(&database).await, 1, "what was left is undone");
}

#[tokio::test]
async fn writing_goes_on_once_a_full_disk_has_room_again() {
    const MANY: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO a SELECT i FROM n";
    let file = file();
    let database = open(&file, &ONE).await.unwrap();
    for _ in 0..2 {
        let mut writing = database.begin("fill").await.unwrap();
        // Of this connection alone, as long as it lives: no more pages than there are.
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&mut *writing).await.unwrap();
        let full = sqlx::query(MANY).execute(&mut *writing).await.unwrap_err();
        assert!(full.to_string().contains("database or disk is full"), "{full}");
        let told = ErrorChain(&unavailable("fill")(full)).to_string();
        assert!(told.starts_with("database: fill: no space is left on the device"), "{told}");
    }
    let mut writing = database.begin("go on").await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 1000000").execute(&mut *writing).await.unwrap();
    sqlx::query(MANY).execute(&mut *writing).await.unwrap();
    writing.commit().await.unwrap();
    assert_eq!(count(&database).await, 10_000);
}
