//! Where a program keeps what it must not forget.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::text::serde_as_text;

/// Why a text does not name a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another database, or none.
    #[error(
        "database url does not start with \"sqlite:\"; write sqlite:///absolute/path or sqlite:./relative/path"
    )]
    Scheme,
    /// Nothing after the scheme, or a database in memory.
    #[error("database url {url:?} names no file; write sqlite:///absolute/path or sqlite:./relative/path")]
    NoFile {
        /// What was given.
        url: String,
    },
    /// Options of other programs.
    #[error("database url {url:?} has options after '?', which have no effect here; remove them")]
    Options {
        /// What was given, without the options.
        url: String,
    },
}

/// A `sqlite:` URL: the file behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePath(PathBuf);

impl DatabasePath {
    /// The file, absolute or relative to the working directory.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for DatabasePath {
    type Err = DatabaseUrlError;

    /// Accepts `sqlite:///absolute`, `sqlite:/absolute`, `sqlite:relative` and `sqlite://relative`.
    fn from_str(url: &str) -> Result<Self, DatabaseUrlError> {
        let Some(rest) = url.strip_prefix("sqlite:") else {
            // Nothing is echoed: another database's URL may hold a password.
            return Err(DatabaseUrlError::Scheme);
        };
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if let Some((url, _)) = url.split_once('?') {
            return Err(DatabaseUrlError::Options { url: url.to_owned() });
        }
        if path.is_empty() || path == ":memory:" || path.ends_with('/') {
            return Err(DatabaseUrlError::NoFile { url: url.to_owned() });
        }
        Ok(Self(PathBuf::from(path)))
    }
}

impl fmt::Display for DatabasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite://{}", self.0.display())
    }
}

serde_as_text!(DatabasePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_url_names_its_file() {
        for (url, path) in [
            ("sqlite:///opt/basilica/data/miner.db", "/opt/basilica/data/miner.db"),
            ("sqlite:/abs.db", "/abs.db"),
            ("sqlite:./data/miner.db", "./data/miner.db"),
            ("sqlite:data.db", "data.db"),
            ("sqlite://data.db", "data.db"),
        ] {
            let parsed: DatabasePath = url.parse().unwrap();
            assert_eq!(parsed.as_path(), Path::new(path), "{url}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{url}");
        }
        for bad in ["", "sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a/", "sqlite:a?mode=ro", "/a.db"] {
            assert!(bad.parse::<DatabasePath>().is_err(), "{bad}");
        }
        for bad in ["postgres://user:secret@host/db", "postgres:/user:secret@host", "sqlite:a?key=secret"] {
            let error = bad.parse::<DatabasePath>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
