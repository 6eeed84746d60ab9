//! The tables of both engines.

use super::*;

/// Table, column, type in SQLite's words, whether it may be empty.
type Column = (String, String, String, bool);

async fn columns_of_a_migrated_file() -> Vec<Column> {
    let place = Place::new(On::Sqlite);
    let store = place.lead().await;
    let rows: Vec<(String, String, String, i64)> = query(
        "SELECT t.name, c.name, c.type, c.\"notnull\" + c.pk FROM sqlite_master t, pragma_table_xinfo(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.name",
    )
    .fetch_all(store.readers())
    .await
    .unwrap();
    rows.into_iter().map(|(table, name, kind, filled)| (table, name, kind, filled == 0)).collect()
}

async fn columns_of_a_fresh_server() -> Vec<Column> {
    let place = Place::new(On::Postgres);
    let store = place.lead().await;
    let rows: Vec<(String, String, String, String, Option<String>)> = query(
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT),
                CAST(is_nullable AS TEXT), CAST(collation_name AS TEXT)
         FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name <> 'basilica_schema'
         ORDER BY table_name COLLATE \"C\", column_name COLLATE \"C\"",
    )
    .fetch_all(store.readers())
    .await
    .unwrap();
    let column = |(table, name, kind, nullable, collation): (_, _, String, String, Option<String>)| {
        let kind = match (kind.as_str(), collation.as_deref()) {
            ("bigint", _) => "INTEGER",
            ("text", Some("C")) => "TEXT",
            ("bytea", _) => "BLOB",
            other => panic!("{table}.{name}: {other:?}"),
        };
        (table, name, kind.to_owned(), nullable == "YES")
    };
    rows.into_iter().map(column).collect()
}

#[tokio::test]
async fn a_fresh_postgres_has_the_tables_of_a_migrated_file() {
    assert_eq!(columns_of_a_fresh_server().await, columns_of_a_migrated_file().await);
}

#[tokio::test]
async fn a_server_is_migrated_once_and_only_by_whoever_may() {
    let place = Place::new(On::Postgres);
    let refused = OpenOptions { migrate: false, ..OpenOptions::default() };
    let error = ValidatorDatabase::open(&place.url, refused).await.unwrap_err();
    assert!(matches!(error, OpenError::MigrationsDue { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("basilica-validator database migrate"), "{error}");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = place.url.clone();
        tasks.spawn(async move { ValidatorDatabase::open(&url, OpenOptions::default()).await.unwrap() });
    }
    let found: Vec<i64> = tasks.join_all().await.iter().map(ValidatorDatabase::migrated_from).collect();
    assert_eq!(found.iter().filter(|found| **found == 0).count(), 1, "{found:?}");
    ValidatorDatabase::open(&place.url, refused).await.unwrap();
}

#[tokio::test]
async fn databases_of_others_and_of_newer_versions_are_refused_without_their_passwords() {
    let place = Place::new(On::Postgres);
    drop(place.open().await);
    let server = place.server.as_ref().unwrap();
    server.sql("db0", "UPDATE basilica_schema SET version = 9999");
    let error = ValidatorDatabase::open(&place.url, OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9999, .. }), "{error}");
    server.sql("db0", "UPDATE basilica_schema SET application = 5");
    let error = ValidatorDatabase::open(&place.url, OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::OtherProgram { found: 5, .. }), "{error}");
    let others = server.database();
    server.sql("db1", "CREATE TABLE letters (x TEXT)");
    let error = ValidatorDatabase::open(&others.parse().unwrap(), OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::OtherProgram { found: 0, .. }), "{error}");
    let nobody = others.replace("postgres@", "nobody:secret@").parse().unwrap();
    let error = ValidatorDatabase::open(&nobody, OpenOptions::default()).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Server { .. }) && !format!("{error:?}").contains("secret"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_forgets_what_it_acknowledged_is_refused() {
    let place = Place::new(On::Postgres);
    place.server.as_ref().unwrap().sql("postgres", "ALTER DATABASE db0 SET synchronous_commit = off");
    let error = ValidatorDatabase::open(&place.url, OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unfit { .. }), "{error}");
}

/// What outsiders say may hold what Postgres' texts cannot.
#[tokio::test]
async fn a_nul_in_a_text_is_no_reason_to_lose_the_row() {
    let Fixture { store, place: _keep } = Fixture::new(On::Postgres).await;
    store.record_discovery_failure(miner(1), "it said \0").await.unwrap();
    assert_eq!(store.miners().await.unwrap()[0].failure.as_deref(), Some("it said \u{fffd}"));
}

#[tokio::test]
async fn a_second_validator_on_the_same_file_is_refused() {
    let place = Place::new(On::Sqlite);
    let first = place.open().await;
    let error = ValidatorDatabase::open(&place.url, OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("high-availability.md"), "{error}");
    let tool = ValidatorDatabase::open_beside(&place.url, OpenOptions::default()).await.unwrap();
    assert!(tool.miners().await.unwrap().is_empty());
    drop(first);
    place.open().await;
}
