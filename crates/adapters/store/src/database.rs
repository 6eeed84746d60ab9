//! Opening, checking and migrating a database file of SQLite.
//!
//! **What is promised.** A transaction that was acknowledged survives `kill -9` and a power cut (write-ahead log with
//! `synchronous = FULL`), but for those that say otherwise (`turn`). Writers never fail with "database is locked" because of another task of this process:
//! they take turns (`turn`), while readers go on beside them. Migrations only go forward, run in
//! one transaction together with their version number, and may be run by two processes at once.
//!
//! **Why our own runner** and not sqlx's: the version is SQLite's `user_version`, so that checking it is one read, and a
//! half-applied schema cannot exist. **Rejected**: a pool of equal connections (under load the original's writers
//! starved each other into busy errors), and creating missing directories (a typing error in a path would start an
//! empty database without a word).

mod disk;
mod error;
mod turn;
mod upkeep;

use std::fs::{File, OpenOptions as FileOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{BoxError, StoreError};
use basilica_types::DatabasePath;
use rustix::fs::{Access, FlockOperation};
use rustix::io::Errno;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;

use disk::in_words;
pub use error::OpenError;
use error::be_file;
use turn::Unflushed;
pub(crate) use turn::{Turn, Writing};
pub(crate) use upkeep::Restoring;
pub use upkeep::{CopyError, FileHealth};

/// How long a statement waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a task waits for a connection before it gives up. Tasks take turns, and a thousand nodes whose checks end in one moment are
/// some seconds of turns: this is for a disk that stands still.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(60);

/// What the writing connection keeps of the file in memory, at most, in KiB (SQLite's sign for that unit is the minus): indexes of random
/// values are touched all over. With SQLite's own 2 MiB the miner, up to its schema 5, read most of their pages again for every group of
/// requests; it has no such indexes on that way any more, and what it would take now was not measured.
const WRITER_CACHE: &str = "-32768";

/// What one program keeps in its file.
#[derive(Debug)]
pub struct Schema {
    /// The program, for messages.
    pub program: &'static str,
    /// SQLite's `application_id`: tells the files of our programs apart from each other and from others.
    pub application_id: i32,
    /// The command that migrates, for messages.
    pub migrate: &'static str,
    /// Pages of 4 KiB in the write-ahead log at which a commit copies them to the file, and whoever commits waits for that.
    pub log_pages: u32,
    /// SQL scripts in order; the first makes version 1. Released scripts are never changed, only followed.
    pub migrations: &'static [&'static str],
    /// Where a Postgres begins: the script that makes this version at once. Later ones are those of `migrations`; none
    /// where the program knows SQLite only.
    pub postgres: Option<(i64, &'static str)>,
}

impl Schema {
    /// The version that this program brings a file to.
    pub fn version(&self) -> i64 {
        i64::try_from(self.migrations.len()).expect("a schema has a handful of migrations")
    }
}

/// How to open a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Most connections that read at the same time; one more writes.
    pub readers: u32,
    /// Whether to bring an older file to the newest schema and to make a missing one, or to refuse either.
    pub migrate: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { readers: 8, migrate: true }
    }
}

/// An open database file at the newest schema. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    readers: SqlitePool,
    writer: SqlitePool,
    /// Whoever has it may write, on either connection.
    pen: Arc<Mutex<Unflushed>>,
    copier: SqlitePool,
    migrated_from: i64,
}

/// How far the write-ahead log is copied into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct LogCopied {
    /// Pages in the log; -1 where there is none.
    log: i64,
    /// Those of them that are in the file.
    checkpointed: i64,
}

impl LogCopied {
    /// Whether the next writer begins the log anew.
    pub(crate) const fn is_all(self) -> bool {
        self.checkpointed >= self.log
    }
}

impl Database {
    /// Opens a file; makes it where its directory exists, and migrates it, if `options` say so.
    pub async fn open(file: &DatabasePath, schema: &Schema, options: OpenOptions) -> Result<Self, OpenError> {
        let path = file.as_path().to_owned();
        be_file(&path)?;
        if options.migrate {
            create_private(&path)?;
        } else if !path.exists() {
            return Err(OpenError::Absent { path, program: schema.program, migrate: schema.migrate });
        } else if path.metadata().is_ok_and(|data| data.len() == 0) {
            // Before anything is made beside it.
            return Err(OpenError::Empty { path, program: schema.program, migrate: schema.migrate });
        }
        let sqlite = OpenError::sqlite(&path);
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", schema.log_pages.to_string())
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let writing = connect.clone().pragma("cache_size", WRITER_CACHE);
        let pen = Arc::new(Mutex::new(Unflushed::new(&writing)));
        let writer = pool(1).connect_with(writing).await.map_err(sqlite)?;
        let migrated_from = migrate(&writer, schema, options, &path).await?;
        let copier = pool(1).connect_lazy_with(connect.clone());
        let readers =
            pool(options.readers).connect_with(connect.pragma("query_only", "ON")).await.map_err(sqlite)?;
        Ok(Self { readers, writer, pen, copier, migrated_from })
    }

    /// Whether [`Self::open`] would find what it needs, as far as that shows without making or changing anything.
    ///
    /// # Errors
    /// Those of [`Self::open`], but that a migration fails.
    pub async fn check(file: &DatabasePath, schema: &Schema, options: OpenOptions) -> Result<(), OpenError> {
        let path = file.as_path();
        let may = |path: &Path, wanted| {
            rustix::fs::access(path, wanted)
                .map_err(|error| OpenError::File { path: file.as_path().to_owned(), source: error.into() })
        };
        if !path.exists() {
            if !options.migrate {
                return Err(OpenError::Absent {
                    path: path.to_owned(),
                    program: schema.program,
                    migrate: schema.migrate,
                });
            }
            return may(directory_of(path)?, Access::WRITE_OK | Access::EXEC_OK);
        }
        be_file(path)?;
        may(path, Access::READ_OK | Access::WRITE_OK)?;
        // The log is made beside it.
        may(directory_of(path)?, Access::WRITE_OK | Access::EXEC_OK)?;
        let sqlite = OpenError::sqlite(path);
        let mut connection = look(path).await.map_err(sqlite)?;
        examine(&mut connection, schema, options, path).await?;
        connection.close().await.map_err(sqlite)
    }

    /// Whether the pages of a file are whole, if there is one; some hundred megabytes take a second.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub async fn check_pages(file: &DatabasePath) -> Result<(), OpenError> {
        let path = file.as_path();
        if !path.exists() {
            return Ok(());
        }
        be_file(path)?;
        let sqlite = OpenError::sqlite(path);
        let mut connection = look(path).await.map_err(sqlite)?;
        let damage = upkeep::damage(&mut connection).await.map_err(sqlite)?;
        connection.close().await.map_err(sqlite)?;
        match damage {
            None => Ok(()),
            Some(damage) => Err(OpenError::Damaged { path: path.to_owned(), damage }),
        }
    }

    /// As [`Self::check_pages`], of the file that is in use: what its connections have read before is read anew.
    pub(crate) async fn check_own_pages(&self) -> Result<(), StoreError> {
        let failed = unavailable("check pages");
        // A connection that lives on would answer from its cache.
        let mut connection = match self.readers.connect_options().connect().await {
            Ok(connection) => connection,
            Err(error) => {
                return Err(
                    upkeep::told(&error).map_or_else(|| failed(error), |what| StoreError::Damaged { what })
                );
            }
        };
        let damage = upkeep::damage(&mut connection).await.map_err(&failed)?;
        connection.close().await.map_err(failed)?;
        damage.map_or(Ok(()), |what| Err(StoreError::Damaged { what }))
    }

    /// The schema version that the file had when it was opened; 0 if it was new.
    pub const fn migrated_from(&self) -> i64 {
        self.migrated_from
    }

    /// Connections that only read. They see what was committed when their statement began.
    pub const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The connection whose commits are flushed.
    #[cfg(test)]
    pub(crate) const fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The same file with connections of its own to read on, made when they are needed.
    pub(crate) fn with_own_readers(&self, readers: u32) -> Self {
        let connect = self.readers.connect_options().as_ref().clone();
        Self { readers: pool(readers).connect_lazy_with(connect), ..self.clone() }
    }

    /// Copies what is in the write-ahead log into the file, on a connection and a thread of its own: writers and readers go on. What
    /// is written meanwhile may be left.
    pub(crate) async fn copy_log(&self) -> Result<LogCopied, StoreError> {
        let copying = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&self.copier);
        copying.await.map_err(unavailable("copy the write-ahead log"))
    }

    /// Closes all connections, the last of which leaves everything flushed.
    pub async fn close(&self) {
        self.copier.close().await;
        self.pen.lock().await.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A connection that makes and changes nothing.
async fn look(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    // A reader makes the files of a write-ahead log where there are none. There are while anybody uses the database.
    let unused = !crate::new_file::beside(path, "-wal").exists();
    let connect = SqliteConnectOptions::new().filename(path).read_only(true).immutable(unused);
    connect.disable_statement_logging().connect().await
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Names the operation that a driver's error interrupted: `map_err(unavailable("store session"))`.
pub(crate) fn unavailable(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Unavailable { operation, source: in_words(source) }
}

/// Names the column that does not parse: `map_err(corrupt("sessions.validator"))`.
pub(crate) fn corrupt<E: Into<BoxError>>(what: &'static str) -> impl Fn(E) -> StoreError {
    move |source| StoreError::Corrupt { what, source: source.into() }
}

/// Where a file is to be; it must be there.
fn directory_of(path: &Path) -> Result<&Path, OpenError> {
    let directory = disk::directory_of(path);
    if directory.is_dir() {
        Ok(directory)
    } else {
        Err(OpenError::NoDirectory { path: path.to_owned(), directory: directory.to_owned() })
    }
}

/// Makes the file for its owner only, as the write-ahead log beside it inherits the mode.
fn create_private(path: &Path) -> Result<(), OpenError> {
    directory_of(path)?;
    FileOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| OpenError::File { path: path.to_owned(), source })
}

/// Keeps other processes of a program that wants its database file for itself away while this lives. A file beside the
/// database: closing any second handle on the database itself would drop SQLite's own locks.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// The file that is locked, beside the database.
    pub(crate) fn path(file: &DatabasePath) -> PathBuf {
        let mut name = file.as_path().as_os_str().to_owned();
        name.push("-lock");
        PathBuf::from(name)
    }

    pub(crate) const fn file(&self) -> &File {
        &self.0
    }

    pub(crate) fn take(file: &DatabasePath, schema: &Schema) -> Result<Self, OpenError> {
        let path = file.as_path();
        directory_of(path)?;
        let lock = Self::path(file);
        let made = FileOptions::new().append(true).create(true).mode(0o600).open(&lock);
        let made = made.map_err(|source| OpenError::File { path: lock.clone(), source })?;
        match rustix::fs::flock(&made, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(made)),
            Err(Errno::WOULDBLOCK) => {
                let also = match schema.postgres {
                    Some(_) => {
                        ", or, for a second validator that takes over from the first, put both on one Postgres \
                         (docs/high-availability.md)"
                    }
                    None => "",
                };
                Err(OpenError::InUse {
                    path: path.to_owned(),
                    lock,
                    pid: None,
                    program: schema.program,
                    also,
                })
            }
            Err(error) => Err(OpenError::File { path: lock, source: error.into() }),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing would do, but for a child that was forked this moment and holds the file until it runs its program.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// What a file is that this program may use.
struct Found {
    /// Of its schema.
    version: i64,
    /// Nobody has written to it.
    untouched: bool,
}

/// Checks whose the file is, and whether its schema is one that this program can bring to its own.
async fn examine(
    connection: &mut SqliteConnection,
    schema: &Schema,
    options: OpenOptions,
    path: &Path,
) -> Result<Found, OpenError> {
    let sqlite = OpenError::sqlite(path);
    let found = pragma(connection, "PRAGMA user_version").await.map_err(sqlite)?;
    let owner = pragma(connection, "PRAGMA application_id").await.map_err(sqlite)?;
    let tables = pragma(connection, "SELECT count(*) FROM sqlite_master").await.map_err(sqlite)?;
    let untouched = owner == 0 && found == 0 && tables == 0;
    if owner != i64::from(schema.application_id) && !untouched {
        return Err(OpenError::OtherProgram {
            place: path.display().to_string(),
            program: schema.program,
            found: owner,
        });
    }
    let needed = schema.version();
    if found > needed || found < 0 {
        return Err(OpenError::Newer { place: path.display().to_string(), found, known: needed });
    }
    if untouched && !options.migrate {
        let (program, migrate) = (schema.program, schema.migrate);
        return Err(OpenError::Empty { path: path.to_owned(), program, migrate });
    }
    if found < needed && !options.migrate {
        let (place, migrate) = (path.display().to_string(), schema.migrate);
        return Err(OpenError::MigrationsDue { place, migrate, found, needed });
    }
    Ok(Found { version: found, untouched })
}

/// Applies what is missing. Returns the version found.
async fn migrate(
    writer: &SqlitePool,
    schema: &Schema,
    options: OpenOptions,
    path: &Path,
) -> Result<i64, OpenError> {
    let sqlite = OpenError::sqlite(path);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(sqlite)?;
    let Found { version: found, untouched } = examine(&mut transaction, schema, options, path).await?;
    for (version, script) in (1..).zip(schema.migrations).skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        // The text of both statements is ours: a constant script and an integer.
        let numbered = format!("{script}\n;PRAGMA user_version = {version}");
        sqlx::raw_sql(AssertSqlSafe(numbered)).execute(&mut *transaction).await.map_err(|source| {
            OpenError::Migration { place: path.display().to_string(), version, source: in_words(source) }
        })?;
    }
    if untouched {
        let claim = format!("PRAGMA application_id = {}", schema.application_id);
        sqlx::raw_sql(AssertSqlSafe(claim)).execute(&mut *transaction).await.map_err(sqlite)?;
    }
    transaction.commit().await.map_err(sqlite)?;
    Ok(found)
}

async fn pragma(connection: &mut SqliteConnection, query: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(query).fetch_one(connection).await
}

#[cfg(test)]
mod tests;
