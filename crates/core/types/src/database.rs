//! Where a program keeps what it must not forget.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zeroize::Zeroizing;

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
    /// A URL of Postgres that cannot be one. Never quoted: it may hold a password.
    #[error("database url of Postgres {0}; write postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full")]
    Postgres(&'static str),
    /// An option of Postgres' URL that this program would not honour.
    #[error("database url has the option {option:?}, which is not supported; supported are: {OPTIONS}")]
    PostgresOption {
        /// Its name.
        option: String,
    },
    /// Neither engine.
    #[error("database url starts neither with \"sqlite:\" nor with \"postgres://\"")]
    Engine,
}

/// What may stand after the `?` of a Postgres URL.
const OPTIONS: &str = "sslmode, sslrootcert, sslcert, sslkey, host, port, application_name";
/// Values of `sslmode`, as libpq names them.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

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

/// A `postgres://` URL with user, host and database.
///
/// `Display` is the whole of it and may hold a password; `Debug` leaves that out.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// All of it but the password, which would stand at `password_at`.
    text: String,
    password_at: usize,
    password: Option<Zeroizing<String>>,
}

impl PostgresUrl {
    /// Whether it holds a password.
    pub const fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The same without its password.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        Self { password: None, ..self.clone() }
    }

    /// The same with this password.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        let mut encoded = Zeroizing::new(String::with_capacity(password.len() * 3));
        for byte in password.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        Self { password: Some(encoded), ..self.clone() }
    }

    /// All of it but the password.
    pub fn shown(&self) -> &str {
        &self.text
    }
}

impl FromStr for PostgresUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, DatabaseUrlError> {
        let wrong = DatabaseUrlError::Postgres;
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or(DatabaseUrlError::Engine)?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("holds a character that no URL has; write it as %XX"));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').ok_or(wrong("names no database"))?;
        if database.is_empty() || database.contains(['/', '#']) {
            return Err(wrong("names no database"));
        }
        let (user, host) = authority.rsplit_once('@').ok_or(wrong("names no user"))?;
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(password).filter(|password| !password.is_empty())),
            None => (user, None),
        };
        if user.is_empty() {
            return Err(wrong("names no user"));
        }
        if host.is_empty() {
            return Err(wrong("names no host (of a socket, write @localhost/DATABASE?host=/its/directory)"));
        }
        check_options(query)?;
        let head = format!("postgres://{user}");
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Ok(Self {
            password_at: head.len(),
            text: format!("{head}@{host}/{database}{query}"),
            password: password.map(|password| Zeroizing::new(password.to_owned())),
        })
    }
}

fn check_options(query: &str) -> Result<(), DatabaseUrlError> {
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "sslmode" if !SSL_MODES.contains(&value) => {
                return Err(DatabaseUrlError::Postgres("has a value of sslmode that does not exist"));
            }
            known if OPTIONS.split(", ").any(|option| option == known) => {}
            other => return Err(DatabaseUrlError::PostgresOption { option: other.to_owned() }),
        }
    }
    Ok(())
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.password {
            None => f.write_str(&self.text),
            Some(password) => {
                let (head, tail) = self.text.split_at(self.password_at);
                write!(f, "{head}:{}{tail}", password.as_str())
            }
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where a program that can be clustered keeps what it must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file of its own.
    Sqlite(DatabasePath),
    /// A server that several of it share.
    Postgres(PostgresUrl),
}

impl DatabaseUrl {
    /// The same without a password.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        match self {
            Self::Sqlite(_) => self.clone(),
            Self::Postgres(url) => Self::Postgres(url.without_secrets()),
        }
    }

    /// As it may be shown: without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => path.to_string(),
            Self::Postgres(url) => url.shown().to_owned(),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, DatabaseUrlError> {
        if url.starts_with("sqlite:") {
            url.parse().map(Self::Sqlite)
        } else {
            url.parse().map(Self::Postgres)
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

serde_as_text!(DatabaseUrl);

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

    #[test]
    fn a_password_is_kept_and_never_shown() {
        let url: DatabaseUrl =
            "postgresql://basilica:s%40crt:x@db.example:5432/val?sslmode=require".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://basilica:s%40crt:x@db.example:5432/val?sslmode=require");
        assert_eq!(url.to_string().parse(), Ok(url.clone()));
        for shown in [format!("{url:?}"), url.shown(), url.without_secrets().to_string()] {
            assert!(shown.contains("basilica@db.example:5432/val?sslmode=require"), "{shown}");
            assert!(!shown.contains("crt"), "{shown}");
        }
        let bare: PostgresUrl = "postgres://me@db/val".parse().unwrap();
        assert_eq!(bare.with_password("a b@%ü").to_string(), "postgres://me:a%20b%40%25%C3%BC@db/val");
        let socket: DatabaseUrl = "postgres://me@localhost/val?host=/run/postgresql".parse().unwrap();
        assert_eq!(socket.shown(), "postgres://me@localhost/val?host=/run/postgresql");
    }

    #[test]
    fn a_postgres_url_that_would_not_do_what_it_says_is_refused_without_its_password() {
        for bad in [
            "mysql://a:secret@h/db",
            "postgres://a:secret@h",
            "postgres://a:secret@h/",
            "postgres://h/db",
            "postgres://:secret@h/db",
            "postgres://a:secret@/db",
            "postgres://a:secret@h/d b",
            "postgres://a:secret@h/db?sslmode=sometimes",
            "postgres://a:secret@h/db?connect_timeout=3",
            "postgres://a@h/db?password=secret",
        ] {
            let error = bad.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
