//! Why a database cannot be used: what happened to which file or server, and what to do.

use std::path::{Path, PathBuf};

use basilica_ports::BoxError;
use basilica_types::quoted;

use super::disk::{Refusal, directory_of, refusal_at};
use super::upkeep::told;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is missing.
    #[error(
        "unable to open database file {path}: directory {directory} does not exist; create it (mkdir -p {directory}) \
         or change database.url",
        path = path.display(), directory = directory.display()
    )]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// A directory, a pipe or a device.
    #[error("database {} is {what}, not a file; name a file in database.url", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// There is a file, with nothing in it.
    #[error(
        "database file {} is empty: move it away and restore a backup if there was anything in it, else make its tables: start {program}, or \
         run `{migrate}`",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// The program whose it is to be.
        program: &'static str,
        /// The command that makes its tables.
        migrate: &'static str,
    },
    /// There is no file, and it is not ours to make one.
    #[error(
        "database file {} does not exist: {program} has not run yet with this configuration; start it, or run `{migrate}`",
        path.display()
    )]
    Absent {
        /// The file.
        path: PathBuf,
        /// The program that makes it.
        program: &'static str,
        /// The command that makes it.
        migrate: &'static str,
    },
    /// The file cannot be made or written.
    #[error("unable to open database file {}{}", path.display(), writable(source))]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// SQLite refuses it: not a database, or damaged.
    #[error("unable to open database file {}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: BoxError,
    },
    /// The disk that holds it has no room.
    #[error(
        "unable to open database file {path}: no space is left on the device that holds it; see what fills it (df -h {shown} names the disk) and \
         remove what is not needed there",
        path = path.display(), shown = quoted(&directory_of(path).to_string_lossy())
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: BoxError,
    },
    /// The disk that holds it refuses.
    #[error(
        "unable to open database file {}: its disk cannot be read or written; dmesg says what the disk's driver says",
        path.display()
    )]
    DiskFails {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: BoxError,
    },
    /// Some of its pages are not what SQLite wrote.
    #[error("database file {} is damaged ({damage}); the command `database health` says what to do", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        damage: String,
    },
    /// Somebody else's file.
    #[error("{place} is not a database of {program} (application id {found:#x})")]
    OtherProgram {
        /// The file or server.
        place: String,
        /// Who was to use it.
        program: &'static str,
        /// Whose it is.
        found: i64,
    },
    /// Migrations are due and were not asked for.
    #[error(
        "{place} has schema {found}, this program needs {needed}; run `{migrate}` or set database.run_migrations = true"
    )]
    MigrationsDue {
        /// The file or server.
        place: String,
        /// The command that migrates it.
        migrate: &'static str,
        /// Version in the file.
        found: i64,
        /// Version needed.
        needed: i64,
    },
    /// Migrated by a newer version.
    #[error("{place} has schema {found}, newer than this version knows ({known}); upgrade this program")]
    Newer {
        /// The file or server.
        place: String,
        /// Version in the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// A migration failed; nothing of it was kept.
    #[error("migrate {place} to schema {version}")]
    Migration {
        /// The file or server.
        place: String,
        /// The version that could not be reached.
        version: i64,
        /// The engine's error.
        #[source]
        source: BoxError,
    },
    /// Another process has it.
    #[error(
        "{program} runs already on database file {}: its lock {} is held{}; stop that process{also}",
        path.display(), lock.display(), pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// What the other process holds.
        lock: PathBuf,
        /// That process, where it can be told.
        pid: Option<i32>,
        /// Which program.
        program: &'static str,
        /// What else can be done.
        also: &'static str,
    },
    /// The server cannot be used.
    #[error("unable to use database {place}")]
    Server {
        /// Where it is, without a password.
        place: String,
        /// The driver's error.
        #[source]
        source: BoxError,
    },
    /// The server lacks what we rely on.
    #[error("database {place} {what}")]
    Unfit {
        /// Where it is, without a password.
        place: String,
        /// What is wrong with it.
        what: String,
    },
}

/// What a path is that is no file; none for a file, and where nothing is or can be seen.
pub(crate) fn no_file(path: &Path) -> Option<&'static str> {
    let kind = path.metadata().ok()?.file_type();
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => None,
        (false, true) => Some("a directory"),
        (false, false) => Some("a pipe or a device"),
    }
}

/// That the database is a file, if it is there.
pub(super) fn be_file(path: &Path) -> Result<(), OpenError> {
    no_file(path).map_or(Ok(()), |what| Err(OpenError::NotAFile { path: path.to_owned(), what }))
}

/// What it takes, where that is known.
fn writable(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            ", which this user must be able to write, and its directory"
        }
        _ => "",
    }
}

impl OpenError {
    /// Says which file SQLite's error is about: `map_err(OpenError::sqlite(path))`.
    pub(crate) fn sqlite(path: &Path) -> impl Fn(sqlx::Error) -> Self + Copy {
        move |source| {
            let path = path.to_owned();
            match refusal_at(&path, &source) {
                Some(Refusal::Full) => Self::DiskFull { path, source: source.into() },
                Some(Refusal::Fails) => Self::DiskFails { path, source: source.into() },
                None => Self::Sqlite { path, source: source.into() },
            }
        }
    }

    /// What SQLite says of a file that cannot be opened because it is damaged, or no database; none if there is another reason.
    pub fn damage(&self) -> Option<String> {
        match self {
            Self::Damaged { damage, .. } => Some(damage.clone()),
            Self::Sqlite { source, .. } => source.downcast_ref::<sqlx::Error>().and_then(told),
            _ => None,
        }
    }
}
