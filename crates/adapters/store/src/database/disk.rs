//! What SQLite says where it is the disk that refuses.
//!
//! Its words for that are a number and `disk I/O error`, also on a disk that is only full: memory that its connections share is made as a
//! file of a size, which a full disk answers with another error than a write (code 4874). Whether it is full the file system says.

use std::path::Path;

use basilica_ports::{BoxError, FileSystem};
use sqlx::sqlite::SqliteError;

/// Codes of SQLite.
const FULL: i32 = 13;
/// `SQLITE_IOERR` alone, and of its kinds those of a disk: read, write, fsync, of a directory, truncate, fstat, and opening, sizing and
/// mapping of memory that is a file. Others are about memory, locks and names.
const IO_ERRORS: [i32; 11] = [10, 266, 778, 1_034, 1_290, 1_546, 1_802, 4_618, 4_874, 5_386, 6_154];
/// Less than SQLite asks for at once, in bytes.
const NO_ROOM: u64 = 64 * 1024;

/// How a disk refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room.
    Full,
    /// It cannot be read or written.
    Fails,
}

/// A disk refused what was to be done.
#[derive(Debug, thiserror::Error)]
#[error("{}", match refusal {
    Refusal::Full => "no space is left on the device that holds the database",
    Refusal::Fails => "the disk that holds the database cannot be read or written; df -h says whether it is full, and dmesg whether it fails",
})]
struct DiskError {
    refusal: Refusal,
    #[source]
    source: sqlx::Error,
}

/// SQLite's extended code.
pub(super) fn code(error: &sqlx::Error) -> Option<i32> {
    // A server has codes of its own.
    let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    sqlx::error::DatabaseError::code(error)?.parse().ok()
}

/// How the disk refuses, if that is what an error says.
pub(super) fn refusal(error: &sqlx::Error) -> Option<Refusal> {
    let code = code(error)?;
    if code == FULL {
        return Some(Refusal::Full);
    }
    IO_ERRORS.contains(&code).then_some(Refusal::Fails)
}

/// How the disk that holds a file refuses: whether one that fails is only full it is asked itself.
pub(super) fn refusal_at(file: &Path, error: &sqlx::Error) -> Option<Refusal> {
    let refusal = refusal(error)?;
    let is_full = || free_bytes(directory_of(file)).is_some_and(|free| free < NO_ROOM);
    Some(if refusal == Refusal::Fails && is_full() { Refusal::Full } else { refusal })
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    let disk = FileSystem {
        block_bytes: stat.f_frsize,
        blocks: stat.f_blocks,
        free: stat.f_bfree,
        available: stat.f_bavail,
    };
    disk.free_bytes(rustix::process::geteuid().is_root())
}

/// Where a file is, or is to be.
pub(super) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An error of the driver, in words where it is the disk's.
pub(crate) fn in_words(source: sqlx::Error) -> BoxError {
    match refusal(&source) {
        Some(refusal) => DiskError { refusal, source }.into(),
        None => source.into(),
    }
}
