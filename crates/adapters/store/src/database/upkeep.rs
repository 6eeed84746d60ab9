//! What an operator asks of a database file: how it is, a copy of it, and the copy back in its place.
//!
//! A copy is a file of SQLite itself, as of one moment, made while others go on writing (`VACUUM INTO`). It has its name only
//! once it is whole and on disk, and nothing is ever copied over something else. **Rejected**: copying the file, which while it is
//! used is only half of the database (the other half is its write-ahead log).

use std::fs::File;
use std::path::{Path, PathBuf};

use basilica_ports::{BoxError, StoreError};
use basilica_types::DatabasePath;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{Database, OpenError, OpenOptions, Schema, create_private, examine, unavailable};

/// How a database file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHealth {
    /// What SQLite's own check of its pages says; none if all is well.
    pub damage: Option<String>,
    /// Bytes on disk, without the write-ahead log.
    pub bytes: i64,
    /// Rows by table.
    pub tables: Vec<(String, i64)>,
}

/// Why a copy could not be made, or not be taken back.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is something already.
    #[error("{} is there already, and nothing is written over it; move it away first", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The copy is damaged, or no database.
    #[error("{} is no whole database: {what}", path.display())]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// What SQLite says of it.
        what: String,
    },
    /// SQLite cannot read the one or write the other.
    #[error("copy {} to {}", from.display(), to.display())]
    Copy {
        /// What was to be read.
        from: PathBuf,
        /// What was to be written.
        to: PathBuf,
        /// SQLite's error.
        #[source]
        source: BoxError,
    },
    /// The system refuses the file.
    #[error("write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The copy cannot be used by this program, or somebody uses what it is to replace.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is done to the copy before it takes its place failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Database {
    /// Its state; that it was opened says already that it is ours and at the newest schema.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn health(&self) -> Result<FileHealth, StoreError> {
        let failed = unavailable("count rows");
        let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let bytes = sqlx::query_scalar(size).fetch_one(self.readers()).await.map_err(&failed)?;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
        )
        .fetch_all(self.readers())
        .await
        .map_err(&failed)?;
        let mut tables = Vec::with_capacity(names.len());
        for name in names {
            // The name is one of our own schema.
            let count = AssertSqlSafe(format!("SELECT count(*) FROM \"{name}\""));
            let rows = sqlx::query_scalar(count).fetch_one(self.readers()).await.map_err(&failed)?;
            tables.push((name, rows));
        }
        Ok(FileHealth { damage: self.damage().await?, bytes, tables })
    }

    /// What SQLite's quick check of the pages says; none if all is well.
    pub(crate) async fn damage(&self) -> Result<Option<String>, StoreError> {
        let failed = unavailable("check pages");
        let mut connection = self.readers().acquire().await.map_err(&failed)?;
        damage(&mut connection).await.map_err(failed)
    }

    /// Writes all of it, as of one moment, to a new file that only its owner may read. How many bytes those are.
    ///
    /// # Errors
    /// There is such a file, or it cannot be written.
    pub async fn back_up(&self, to: &Path) -> Result<u64, CopyError> {
        let from = self.writer.connect_options();
        let mut connection = self.writer.acquire().await.map_err(unavailable("back up"))?;
        let draft = Draft::new(to)?;
        draft.fill(&mut connection, from.get_filename()).await?;
        draft.publish()
    }
}

async fn damage(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let said: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(3)").fetch_all(connection).await?;
    Ok(Some(said.join("; ")).filter(|said| said != "ok"))
}

/// A copy that is to take the place of a database that is not there: checked, and at the newest schema.
pub(crate) struct Restoring {
    draft: Draft,
    /// The copy, open: what must be done to it before it is used can be done.
    pub(crate) database: Database,
}

impl Restoring {
    /// Copies `from`, which stays as it is, beside the place that it is to have.
    pub(crate) async fn begin(from: &Path, to: &DatabasePath, schema: &Schema) -> Result<Self, CopyError> {
        // What is left of another database's log would be taken for this one's.
        for end in ["", "-wal", "-shm", "-journal"] {
            let path = beside(to.as_path(), end);
            if path.exists() {
                return Err(CopyError::Exists { path });
            }
        }
        let draft = Draft::new(to.as_path())?;
        let no_database =
            |source: sqlx::Error| CopyError::Damaged { path: from.to_owned(), what: source.to_string() };
        File::open(from).map_err(|source| CopyError::File { path: from.to_owned(), source })?;
        // A copy that is in nobody's use has no log, and reading it makes none.
        let options = SqliteConnectOptions::new().filename(from).read_only(true);
        let options = options.immutable(!beside(from, "-wal").exists()).disable_statement_logging();
        let mut copy = options.connect().await.map_err(no_database)?;
        if examine(&mut copy, schema, OpenOptions::default(), from).await?.untouched {
            return Err(CopyError::Damaged { path: from.to_owned(), what: "it is empty".to_owned() });
        }
        if let Some(what) = damage(&mut copy).await.map_err(no_database)? {
            return Err(CopyError::Damaged { path: from.to_owned(), what });
        }
        draft.fill(&mut copy, from).await?;
        copy.close().await.map_err(no_database)?;
        let place = format!("sqlite:{}", draft.path.display()).parse().map_err(|source| CopyError::Copy {
            from: from.to_owned(),
            to: draft.path.clone(),
            source: BoxError::from(source),
        })?;
        let database = Database::open(&place, schema, OpenOptions { readers: 1, migrate: true }).await?;
        Ok(Self { draft, database })
    }

    /// Puts the copy where it belongs. The schema that it had before.
    pub(crate) async fn finish(self) -> Result<i64, CopyError> {
        // Closed by its last user, a file has no log any more.
        self.database.close().await;
        let schema = self.database.migrated_from();
        self.draft.publish()?;
        Ok(schema)
    }
}

/// A file that is to have another name; it goes unless it is published.
struct Draft {
    path: PathBuf,
    to: PathBuf,
}

impl Draft {
    fn new(to: &Path) -> Result<Self, CopyError> {
        if to.exists() {
            return Err(CopyError::Exists { path: to.to_owned() });
        }
        let path = beside(to, ".partial");
        // Of a run that was killed.
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(CopyError::File { path, source });
            }
            _ => {}
        }
        create_private(&path)?;
        Ok(Self { path, to: to.to_owned() })
    }

    async fn fill(&self, from: &mut SqliteConnection, name: &Path) -> Result<(), CopyError> {
        let failed =
            |source: BoxError| CopyError::Copy { from: name.to_owned(), to: self.path.clone(), source };
        let to = self.path.to_str().ok_or_else(|| failed("its path is not UTF-8".into()))?;
        sqlx::query("VACUUM INTO ?")
            .bind(to)
            .execute(from)
            .await
            .map(drop)
            .map_err(|error| failed(error.into()))
    }

    /// How many bytes it has.
    fn publish(self) -> Result<u64, CopyError> {
        let failed = |source| CopyError::File { path: self.to.clone(), source };
        let file = File::open(&self.path).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        // Unlike a rename, a link never replaces what somebody else put there meanwhile.
        std::fs::hard_link(&self.path, &self.to).map_err(failed)?;
        let directory = self.to.parent().filter(|path| !path.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)?;
        file.metadata().map(|data| data.len()).map_err(failed)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            // It has its own name by now, or is half of a copy; the logs are those of an open that failed.
            let _ = std::fs::remove_file(beside(&self.path, end));
        }
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
