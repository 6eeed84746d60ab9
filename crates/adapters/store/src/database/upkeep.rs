//! What an operator asks of a database file: how it is, a copy of it, and the copy back in its place.
//!
//! A copy is a file of SQLite itself, as of one moment, made while others go on writing (`VACUUM INTO`). It has its name only
//! once it is whole and on disk, and nothing is ever copied over something else. **Rejected**: copying the file, which while it is
//! used is only half of the database (the other half is its write-ahead log).
//!
//! SQLite writes a copy by its name, several times over, so that whoever may write to its directory can lead it elsewhere. It therefore
//! writes beside the database, where nobody else may write if the database is to be trusted at all, and what an operator wants elsewhere
//! is copied from there to a [`NewFile`].

use std::fs::{File, OpenOptions as FileOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use basilica_ports::{BoxError, StoreError};
use basilica_types::{DatabasePath, quoted};
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::disk::{code, in_words};
use super::error::no_file;
use super::{Database, OpenError, OpenOptions, Schema, examine, pragma, unavailable};
use crate::new_file::{NewFile, beside, publish, refuse_any};

/// SQLite's codes for a file that is damaged and for one that is none of its own.
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;

/// How a database file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHealth {
    /// What SQLite's own check of its pages says; none if all is well.
    pub damage: Option<String>,
    /// Bytes on disk, without the write-ahead log.
    pub bytes: u64,
    /// Rows by table; of a damaged file none are counted.
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
    /// Another copy is being made.
    #[error("{} is being written: another copy of this database is being made; try again when it is", path.display())]
    Busy {
        /// What the other one writes.
        path: PathBuf,
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
    /// It is no file.
    #[error("the copy {} is {what}, not a file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Where it is to be is no directory.
    #[error(
        "{} cannot be made: directory {} does not exist; make it with: mkdir -p {}",
        path.display(), directory.display(), quoted(&directory.to_string_lossy())
    )]
    NoDirectory {
        /// What was to be made.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// The copy is not there, or not to be read.
    #[error("read the copy {}", path.display())]
    Unreadable {
        /// The copy.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
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
        let file = self.readers().connect_options();
        let bytes =
            std::fs::metadata(file.get_filename()).map_err(|error| unavailable("measure")(error.into()))?;
        let mut health = FileHealth { damage: self.damage().await?, bytes: bytes.len(), tables: Vec::new() };
        if health.damage.is_none() {
            health.tables = self.rows().await?;
        }
        Ok(health)
    }

    async fn rows(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let failed = unavailable("count rows");
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
        Ok(tables)
    }

    /// What SQLite's quick check of the pages says; none if all is well.
    pub(crate) async fn damage(&self) -> Result<Option<String>, StoreError> {
        let failed = unavailable("check pages");
        let mut connection = self.readers().acquire().await.map_err(&failed)?;
        damage(&mut connection).await.map_err(failed)
    }

    /// Writes all of it, as of one moment, to a new file that only its owner may read. How many bytes those are.
    ///
    /// For as long as that takes there is a second copy beside the database.
    ///
    /// # Errors
    /// There is such a file, another copy is being made, or it cannot be written.
    pub async fn back_up(&self, to: &Path) -> Result<u64, CopyError> {
        let from = self.writer.connect_options();
        let new = NewFile::create(to)?;
        let draft = Draft::new(beside(from.get_filename(), ".copying"))?;
        // Nobody waits for this one: who writes and who reads goes on.
        let mut connection = self.copier.acquire().await.map_err(unavailable("back up"))?;
        draft.fill(&mut connection, from.get_filename()).await.map_err(|error| match error {
            // It is no copy that is damaged here.
            CopyError::Damaged { path, what } => OpenError::Damaged { path, damage: what }.into(),
            other => other,
        })?;
        drop(connection);
        let copied = std::io::copy(&mut &draft.file, &mut new.file());
        copied.map_err(|source| CopyError::File { path: to.to_owned(), source })?;
        new.publish()
    }
}

/// What SQLite says if its answer is that the file is damaged.
pub(super) fn told(error: &sqlx::Error) -> Option<String> {
    // The codes proper are the lowest byte of the extended ones.
    let is_damage = matches!(code(error)? & 0xff, CORRUPT | NOT_A_DATABASE);
    is_damage.then(|| error.as_database_error().map(|error| error.message().to_owned())).flatten()
}

pub(super) async fn damage(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let said: Result<Vec<String>, _> =
        sqlx::query_scalar("PRAGMA quick_check(3)").fetch_all(connection).await;
    match said {
        // It writes several lines into one row, below a heading that names the only database there is.
        Ok(said) => {
            let lines = said.iter().flat_map(|row| row.lines()).filter(|line| !line.starts_with("***"));
            Ok(Some(lines.collect::<Vec<_>>().join("; ")).filter(|said| said != "ok"))
        }
        // So damaged that it cannot be checked.
        Err(error) => told(&error).map(Some).ok_or(error),
    }
}

/// A copy that is to take the place of a database that is not there: checked, and at the newest schema.
pub(crate) struct Restoring {
    draft: Draft,
    to: PathBuf,
    /// The copy, open: what must be done to it before it is used can be done.
    pub(crate) database: Database,
}

impl Restoring {
    /// Copies `from`, which stays as it is, beside the place that it is to have.
    pub(crate) async fn begin(from: &Path, to: &DatabasePath, schema: &Schema) -> Result<Self, CopyError> {
        // What is left of another database's log would be taken for this one's.
        for end in ["", "-wal", "-shm", "-journal"] {
            refuse_any(&beside(to.as_path(), end))?;
        }
        if let Some(what) = no_file(from) {
            return Err(CopyError::NotAFile { path: from.to_owned(), what });
        }
        let draft = Draft::new(beside(to.as_path(), ".copying"))?;
        let bytes = File::open(from).and_then(|file| Ok(file.metadata()?.len()));
        let bytes = bytes.map_err(|source| CopyError::Unreadable { path: from.to_owned(), source })?;
        let no_database = |source: sqlx::Error| not_whole(from, source.to_string());
        // A copy that is in nobody's use has no log, and reading it makes none.
        let options = SqliteConnectOptions::new().filename(from).read_only(true);
        let options = options.immutable(!beside(from, "-wal").exists()).disable_statement_logging();
        let mut copy = options.connect().await.map_err(no_database)?;
        check_whole(&mut copy, schema, from, bytes).await?;
        draft.fill(&mut copy, from).await?;
        copy.close().await.map_err(no_database)?;
        let place = format!("sqlite:{}", draft.path.display()).parse().map_err(|source| CopyError::Copy {
            from: from.to_owned(),
            to: draft.path.clone(),
            source: BoxError::from(source),
        })?;
        let database = Database::open(&place, schema, OpenOptions { readers: 1, migrate: true }).await?;
        Ok(Self { draft, database, to: to.as_path().to_owned() })
    }

    /// Puts the copy where it belongs. The schema that it had before.
    pub(crate) async fn finish(self) -> Result<i64, CopyError> {
        // Closed by its last user, a file has no log any more.
        self.database.close().await;
        let schema = self.database.migrated_from();
        publish(&self.draft.file, &self.to)?;
        Ok(schema)
    }
}

fn not_whole(copy: &Path, what: impl Into<String>) -> CopyError {
    CopyError::Damaged { path: copy.to_owned(), what: what.into() }
}

/// That the copy `from`, of so many bytes, is a database of ours that is neither damaged nor cut off.
async fn check_whole(
    copy: &mut SqliteConnection,
    schema: &Schema,
    from: &Path,
    bytes: u64,
) -> Result<(), CopyError> {
    let no_database = |source: sqlx::Error| not_whole(from, source.to_string());
    let examined = examine(copy, schema, OpenOptions::default(), from).await;
    // What is to be done about a copy is another thing than about the database in use.
    let examined = examined
        .map_err(|error| error.damage().map_or_else(|| error.into(), |what| not_whole(from, what)))?;
    if examined.untouched {
        return Err(not_whole(from, "it is empty"));
    }
    let page = pragma(copy, "PRAGMA page_size").await.map_err(no_database)?;
    // SQLite itself takes what is missing of the last page for zeros.
    if u64::try_from(page).is_ok_and(|page| !bytes.is_multiple_of(page)) {
        return Err(not_whole(from, "it ends within a page"));
    }
    match damage(copy).await.map_err(no_database)? {
        Some(what) => Err(not_whole(from, what)),
        None => Ok(()),
    }
}

/// A copy that SQLite makes, in the directory of the database; it goes unless it got another name.
///
/// Who makes it holds a lock on the file, and only then removes it: no other copy has its name meanwhile.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn new(path: PathBuf) -> Result<Self, CopyError> {
        let failed = |source| CopyError::File { path: path.clone(), source };
        // One of a run that was killed is written anew.
        let mut options = FileOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).expect("a flag of open(2) is an int");
        let file = options.custom_flags(no_link).open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(CopyError::Busy { path }),
            Err(error) => return Err(failed(error.into())),
        }
        // Somebody else's until this moment, and removed by now.
        let mine = file.metadata().map_err(failed)?;
        if !path.symlink_metadata().is_ok_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino()))
        {
            return Err(CopyError::Busy { path });
        }
        file.set_len(0).map_err(failed)?;
        Ok(Self { path, file })
    }

    async fn fill(&self, from: &mut SqliteConnection, name: &Path) -> Result<(), CopyError> {
        let failed =
            |source: BoxError| CopyError::Copy { from: name.to_owned(), to: self.path.clone(), source };
        let to = self.path.to_str().ok_or_else(|| failed("its path is not UTF-8".into()))?;
        sqlx::query("VACUUM INTO ?").bind(to).execute(from).await.map(drop).map_err(|error| {
            match told(&error) {
                // Damage that the quick check does not look for, as in an index.
                Some(what) => not_whole(name, what),
                None => failed(in_words(error)),
            }
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            // It has its own name by now, or is half of a copy; the logs are those of an open that failed.
            let _ = std::fs::remove_file(beside(&self.path, end));
        }
    }
}
