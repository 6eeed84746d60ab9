//! Backups: all rows as one text file that either engine can be restored from.
//!
//! A backup is one snapshot, read beside whoever writes: a read transaction of SQLite, or a repeatable read of Postgres. Its
//! file is lines of JSON: what it is, a line for each row, and at the end how many there were and the BLAKE3 of all before,
//! so that a file that was cut off or changed is refused as a whole. It is written in the schema of its time;
//! restoring makes tables of that version, fills them in one transaction, and migrates them then.
//!
//! What it does not bring back is who led. The fencing token goes up by [`TOKENS_SKIPPED`] instead: miners remember the
//! highest one that they saw, which may be newer than the backup.
//!
//! **Rejected**: the engines' own formats (`VACUUM INTO`, `pg_dump`). They are restored on their own engine only, and moving
//! from a file to a Postgres is what most operators restore a backup for first.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use basilica_ports::{Campaign, Leadership as _, StoreError};
use basilica_types::{DatabaseUrl, Millis, Timestamp};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Row};
use tokio_stream::StreamExt as _;

use super::catalog::{self, Kind, Table};
use super::{Engine, ValidatorDatabase};
use crate::database::unavailable;
use crate::sql::{Transaction, Value, query};
use crate::{OpenError, OpenOptions, Schema, VALIDATOR_SCHEMA};

const FORMAT: &str = "basilica-validator-backup/v1";
/// How far the fencing token is set above the backup's.
pub const TOKENS_SKIPPED: i64 = 1_000_000;
/// Longest line that is read: a row with its largest transcript is far below.
const LINE_MAX: u64 = 512 * 1024 * 1024;
/// Not restored: who led.
const LEADERSHIP: &str = "leadership";
/// From taking the lead to the transaction that restores, which holds the leadership's row for as long as it takes.
const RESTORING: Millis = Millis::from_secs(60);

/// Why a backup could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file.
    #[error("the backup's file")]
    File(#[from] std::io::Error),
    /// The file is no backup, or not a whole one.
    #[error("this is no whole backup: {what}{}", line.map_or_else(String::new, |line| format!(" (line {line})")))]
    Damaged {
        /// What is wrong with it.
        what: String,
        /// Where.
        line: Option<u64>,
    },
    /// Written by a newer program.
    #[error("the backup has schema {found}, and this program knows {known}; upgrade it first")]
    Newer {
        /// Of the backup.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// There is something already.
    #[error("{place} is not empty: table {table} has rows; restore into a new file or an empty database")]
    NotEmpty {
        /// The target, without a password.
        place: String,
        /// What is in it.
        table: String,
    },
}

/// What was written or read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupSummary {
    /// Of the rows.
    pub schema: i64,
    /// Of the snapshot.
    pub created: i64,
    /// Rows by table, in the order of the file.
    pub tables: Vec<(String, u64)>,
}

impl BackupSummary {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows).sum()
    }
}

fn damaged(what: impl Into<String>) -> BackupError {
    BackupError::Damaged { what: what.into(), line: None }
}

fn select(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    format!("SELECT {} FROM \"{}\" ORDER BY {}", columns.join(", "), table.name, columns[0])
}

/// A line-wise writer that remembers the hash of all that went through.
struct Sealed<W> {
    to: W,
    hash: blake3::Hasher,
}

impl<W: Write> Sealed<W> {
    fn line(&mut self, value: &Json) -> Result<(), BackupError> {
        let mut line = value.to_string();
        line.push('\n');
        self.hash.update(line.as_bytes());
        Ok(self.to.write_all(line.as_bytes())?)
    }
}

/// One row's values as JSON; bytes are marked as such.
fn row_to_json<R: Row>(row: &R, columns: &[(String, Kind)]) -> Result<Json, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> Option<i64>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> Option<Vec<u8>>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let mut values = Vec::with_capacity(columns.len());
    for (index, (_, kind)) in columns.iter().enumerate() {
        values.push(match kind {
            Kind::Integer => json!(row.try_get::<Option<i64>, _>(index)?),
            Kind::Text => json!(row.try_get::<Option<String>, _>(index)?),
            Kind::Bytes => json!(row.try_get::<Option<Vec<u8>>, _>(index)?.map(|bytes| BASE64.encode(bytes))),
        });
    }
    Ok(Json::Array(values))
}

fn json_to_value(value: &Json, kind: Kind) -> Option<Value> {
    Some(match (kind, value) {
        (Kind::Integer, Json::Null) => Value::Integer(None),
        (Kind::Text, Json::Null) => Value::Text(None),
        (Kind::Bytes, Json::Null) => Value::Bytes(None),
        (Kind::Integer, value) => Value::Integer(Some(value.as_i64()?)),
        (Kind::Text, value) => Value::Text(Some(value.as_str()?.to_owned())),
        (Kind::Bytes, value) => Value::Bytes(Some(BASE64.decode(value.as_str()?).ok()?)),
    })
}

impl ValidatorDatabase {
    /// Writes all rows of one moment to a file; whoever writes to the database goes on. `progress` is told how many rows
    /// were written.
    ///
    /// # Errors
    /// The database's or the file's; what was written until then is no backup.
    pub async fn back_up(
        &self,
        to: impl Write,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<BackupSummary, BackupError> {
        let tables = catalog::tables(self).await?;
        let mut to = Sealed { to, hash: blake3::Hasher::new() };
        let mut summary =
            BackupSummary { schema: VALIDATOR_SCHEMA.version(), created: now.0, tables: Vec::new() };
        let failed = unavailable("back up");
        macro_rules! write_all {
            ($connection:ident) => {{
                let token: (i64,) = sqlx::query_as("SELECT token FROM leadership")
                    .fetch_one(&mut *$connection)
                    .await
                    .map_err(&failed)?;
                to.line(&header(&tables, &summary, token.0))?;
                for table in tables.iter().filter(|table| table.name != LEADERSHIP) {
                    let mut rows = sqlx::query(AssertSqlSafe(select(table))).fetch(&mut *$connection);
                    let mut count = 0;
                    while let Some(row) = rows.next().await {
                        let row = row_to_json(&row.map_err(&failed)?, &table.columns).map_err(&failed)?;
                        to.line(&json!([table.name, row]))?;
                        count += 1;
                        if count % 1_000 == 0 {
                            progress(summary.rows() + count);
                        }
                    }
                    summary.tables.push((table.name.clone(), count));
                }
            }};
        }
        match &self.engine {
            Engine::Sqlite(database, _) => {
                let mut snapshot = database.readers().begin().await.map_err(&failed)?;
                let connection = &mut *snapshot;
                write_all!(connection);
            }
            Engine::Postgres(cluster) => {
                let mut snapshot = cluster.snapshot().await.map_err(&failed)?;
                let connection = snapshot.start().map_err(&failed)?;
                write_all!(connection);
            }
        }
        progress(summary.rows());
        let seal = json!({ "rows": summary.rows(), "blake3": to.hash.finalize().to_hex().to_string() });
        to.line(&seal)?;
        to.to.flush()?;
        Ok(summary)
    }

    /// Fills an empty database from a backup, of either engine, and brings it to the newest schema. Nothing is kept of a
    /// backup that is not whole.
    ///
    /// # Errors
    /// Says what is wrong with the file, or that there is something in the database.
    pub async fn restore(
        url: &DatabaseUrl,
        from: impl BufRead,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<BackupSummary, BackupError> {
        let mut from = Opened { from, hash: blake3::Hasher::new(), line: 0 };
        let header = from.next()?.ok_or_else(|| damaged("it is empty"))?.0;
        let (schema, token, created) = read_header(&header)?;
        let store = Self::open_at(url, schema).await?;
        let tables = catalog::tables(&store).await?;
        if described(&tables) != header["tables"] {
            return Err(damaged(format!("its tables are not those of schema {schema}")));
        }
        store.assert_empty(url, &tables).await?;
        if !matches!(store.campaign("restore", RESTORING).await?, Campaign::Won(_)) {
            return Err(BackupError::NotEmpty { place: url.shown(), table: LEADERSHIP.to_owned() });
        }
        let restored =
            store.restore_rows(&mut from, targets(&tables, &header["order"])?, token, progress).await;
        // Whoever tries again need not wait.
        let resigned = store.resign().await;
        let rows = restored?;
        resigned?;
        store.close().await;
        drop(store);
        Self::open(url, OpenOptions::default()).await?.close().await;
        Ok(BackupSummary { schema, created, tables: rows })
    }

    async fn restore_rows<R: BufRead>(
        &self,
        from: &mut Opened<R>,
        targets: BTreeMap<String, Target>,
        token: i64,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Vec<(String, u64)>, BackupError> {
        let failed = unavailable("restore");
        let mut transaction = self.begin("restore").await?;
        let rows = match fill(&mut transaction, from, targets, progress).await {
            Ok(rows) => rows,
            Err(error) => {
                // Undone either way; the error that counts is the first.
                let _ = transaction.roll_back().await;
                return Err(error);
            }
        };
        query("UPDATE leadership SET token = $1, holder = NULL, lease_end = 0")
            .bind(token.saturating_add(TOKENS_SKIPPED))
            .execute(&mut transaction)
            .await
            .map_err(&failed)?;
        if let Engine::Postgres(_) = self.engine {
            go_on_counting(&mut transaction).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(rows)
    }

    /// The store with tables of an older version, alone.
    async fn open_at(url: &DatabaseUrl, version: i64) -> Result<Self, BackupError> {
        let known = VALIDATOR_SCHEMA.version();
        let count = usize::try_from(version)
            .ok()
            .filter(|count| (1..=VALIDATOR_SCHEMA.migrations.len()).contains(count));
        let Some(count) = count else { return Err(BackupError::Newer { found: version, known }) };
        let schema = Schema { migrations: &VALIDATOR_SCHEMA.migrations[..count], ..VALIDATOR_SCHEMA };
        Ok(Self::open_as(url, &schema, OpenOptions::default()).await?)
    }

    async fn assert_empty(&self, url: &DatabaseUrl, tables: &[Table]) -> Result<(), BackupError> {
        for table in tables.iter().filter(|table| table.name != LEADERSHIP) {
            let any = AssertSqlSafe(format!("SELECT CAST(1 AS BIGINT) FROM \"{}\" LIMIT 1", table.name));
            let any: Option<i64> =
                query(any).scalar_optional(self.readers()).await.map_err(unavailable("restore"))?;
            if any.is_some() {
                return Err(BackupError::NotEmpty { place: url.shown(), table: table.name.clone() });
            }
        }
        Ok(())
    }
}

fn described(tables: &[Table]) -> Json {
    let columns = |table: &Table| -> Json {
        let mut columns: Vec<_> =
            table.columns.iter().map(|(name, kind)| json!([name, kind.as_str()])).collect();
        columns.sort_by_key(ToString::to_string);
        Json::Array(columns)
    };
    tables.iter().map(|table| (table.name.clone(), columns(table))).collect::<serde_json::Map<_, _>>().into()
}

fn header(tables: &[Table], summary: &BackupSummary, token: i64) -> Json {
    let order: Json = tables
        .iter()
        .map(|t| (t.name.clone(), json!(t.columns.iter().map(|(name, _)| name).collect::<Vec<_>>())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({ "format": FORMAT, "schema": summary.schema, "created": summary.created, "token": token,
        "tables": described(tables), "order": order })
}

fn read_header(header: &Json) -> Result<(i64, i64, i64), BackupError> {
    if header["format"] != FORMAT {
        return Err(damaged(format!("its first line does not say {FORMAT}")));
    }
    let number =
        |name: &str| header[name].as_i64().ok_or_else(|| damaged(format!("its first line has no {name}")));
    Ok((number("schema")?, number("token")?, number("created")?))
}

/// A backup being read.
struct Opened<R> {
    from: R,
    hash: blake3::Hasher,
    line: u64,
}

impl<R: BufRead> Opened<R> {
    /// The next line, and the hash of all before it.
    fn next(&mut self) -> Result<Option<(Json, blake3::Hash)>, BackupError> {
        let before = self.hash.finalize();
        let mut line = Vec::new();
        (&mut self.from).take(LINE_MAX).read_until(b'\n', &mut line)?;
        self.line += 1;
        if line.is_empty() {
            return Ok(None);
        }
        let here = |what: &str| BackupError::Damaged { what: what.to_owned(), line: Some(self.line) };
        if line.last() != Some(&b'\n') {
            return Err(here("a line is cut off, or too long"));
        }
        self.hash.update(&line);
        let value = serde_json::from_slice(&line).map_err(|_| here("a line is not JSON"))?;
        Ok(Some((value, before)))
    }
}

/// Where the values of a table go.
struct Target {
    insert: String,
    kinds: Vec<Kind>,
    rows: u64,
}

/// The tables that are filled, with their columns in the order that the backup gives their values in.
fn targets(tables: &[Table], order: &Json) -> Result<BTreeMap<String, Target>, BackupError> {
    let filled = tables.iter().filter(|table| table.name != LEADERSHIP);
    filled.map(|table| Ok((table.name.clone(), target(table, &order[&table.name])?))).collect()
}

fn target(table: &Table, order: &Json) -> Result<Target, BackupError> {
    let wrong = || damaged(format!("its columns of table {} are not those of its schema", table.name));
    let names: Option<Vec<&str>> = order.as_array().ok_or_else(wrong)?.iter().map(Json::as_str).collect();
    let names = names.ok_or_else(wrong)?;
    let mut columns = Vec::with_capacity(names.len());
    for name in &names {
        // Only names that the catalogue has come into a statement.
        let known = table.columns.iter().find(|(column, _)| column == name).ok_or_else(wrong)?;
        if columns.contains(&known) {
            return Err(wrong());
        }
        columns.push(known);
    }
    if columns.len() != table.columns.len() {
        return Err(wrong());
    }
    let quoted: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
    let (quoted, places) = (quoted.join(", "), places.join(", "));
    let insert = format!("INSERT INTO \"{}\" ({quoted}) VALUES ({places})", table.name);
    Ok(Target { insert, kinds: columns.iter().map(|(_, kind)| *kind).collect(), rows: 0 })
}

/// Inserts all rows up to the seal, which must be right.
async fn fill<R: BufRead>(
    transaction: &mut Transaction,
    from: &mut Opened<R>,
    mut targets: BTreeMap<String, Target>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Vec<(String, u64)>, BackupError> {
    let mut total = 0;
    loop {
        let Some((line, before)) = from.next()? else { return Err(damaged("its end is missing")) };
        let at = from.line;
        let wrong = |what: &str| BackupError::Damaged { what: what.to_owned(), line: Some(at) };
        if let Some(hash) = line["blake3"].as_str() {
            if line["rows"].as_u64() != Some(total) || hash != before.to_hex().as_str() {
                return Err(wrong("its rows are not those that it was sealed with"));
            }
            return match from.next()? {
                None => Ok(targets.into_iter().map(|(name, target)| (name, target.rows)).collect()),
                Some(_) => Err(damaged("something follows its end")),
            };
        }
        let (Some(name), Some(values)) = (line[0].as_str(), line[1].as_array()) else {
            return Err(wrong("a line is no row"));
        };
        let target = targets.get_mut(name).ok_or_else(|| wrong("a row is of no table"))?;
        if values.len() != target.kinds.len() {
            return Err(wrong("a row has too few or too many values"));
        }
        let mut insert = query(AssertSqlSafe(target.insert.clone()));
        for (value, kind) in values.iter().zip(&target.kinds) {
            insert =
                insert.bind(json_to_value(value, *kind).ok_or_else(|| wrong("a value has the wrong type"))?);
        }
        insert.execute(&mut *transaction).await.map_err(unavailable("restore"))?;
        target.rows += 1;
        total += 1;
        if total % 1_000 == 0 {
            progress(total);
        }
    }
}

/// Postgres counts on from where its own counters are, not from the rows; SQLite from the rows.
async fn go_on_counting(transaction: &mut Transaction) -> Result<(), sqlx::Error> {
    let counted: Vec<(String, String)> = query(
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
         WHERE table_schema = current_schema() AND is_identity = 'YES'",
    )
    .fetch_all(&mut *transaction)
    .await?;
    for (table, column) in counted {
        let next = format!(
            "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'),
                 (SELECT coalesce(max(\"{column}\"), 0) + 1 FROM \"{table}\"), false)"
        );
        let _: i64 = query(AssertSqlSafe(next)).scalar(&mut *transaction).await?;
    }
    Ok(())
}
