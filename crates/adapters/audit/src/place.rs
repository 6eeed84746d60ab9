//! Whether a log could be opened, as far as that shows without making it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

/// Why a log cannot be kept there.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It is a directory.
    #[error("the audit log {} is a directory; name a file in it", path.display())]
    Directory {
        /// The log.
        path: PathBuf,
    },
    /// It keeps nothing.
    #[error("the audit log {} is no regular file, and keeps nothing; name a file", path.display())]
    Special {
        /// The log.
        path: PathBuf,
    },
    /// The user may not write it.
    #[error("the audit log {} must be read and written; give it to the user that this program runs as", path.display())]
    File {
        /// The log.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It cannot be told whether it is there.
    #[error("look for the audit log {}; name a file in a directory", path.display())]
    Unclear {
        /// The log.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Its directory is missing.
    #[error(
        "the audit log {} cannot be made: {} does not exist; make that directory first",
        path.display(), directory.display()
    )]
    NoDirectory {
        /// The log.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// Full files are put aside in its directory, which the user may not write.
    #[error(
        "files cannot be made beside the audit log {}; give {} to the user that this program runs as",
        path.display(), directory.display()
    )]
    Beside {
        /// The log.
        path: PathBuf,
        /// Where it is.
        directory: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Looks at the place of a log.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn check_place(path: &Path) -> Result<(), PlaceError> {
    let path = path.to_owned();
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => return Err(PlaceError::Directory { path }),
    };
    let may = |path: &Path, access| {
        rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS).map_err(io::Error::from)
    };
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => return Err(PlaceError::Directory { path }),
        Ok(found) if !found.is_file() => return Err(PlaceError::Special { path }),
        Ok(_) => may(&path, Access::READ_OK | Access::WRITE_OK)
            .map_err(|source| PlaceError::File { path: path.clone(), source })?,
        Err(source) if source.kind() != ErrorKind::NotFound => {
            return Err(PlaceError::Unclear { path, source });
        }
        Err(_) if !directory.exists() => return Err(PlaceError::NoDirectory { path, directory }),
        Err(_) => {}
    }
    may(&directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|source| PlaceError::Beside {
        path,
        directory,
        source,
    })
}
