//! Configuration: TOML file < environment < flags, into typed values, before anything starts (decision D19).
//!
//! Promises: a key that is not known is refused with a suggestion, never ignored; every complaint names its origin
//! (file, line and column, or the variable, or the flag) and the full key, and repeats nothing that may be a secret; nothing here reads the process's
//! environment, so that tests give their own. What a seed configured and we do not need is listed by the caller in
//! [`ConfigSource::ignored`]: it is answered with a notice instead of a refusal.
//!
//! figment merges the layers and tells which key failed and how; the file is walked a second time, with spans, to find
//! where that key stands. Rejected: deserialising the file with spans directly (the other two layers have no spans, and
//! a value from the environment would be blamed on a line of the file).

mod diagnostic;
mod document;
mod duration;
mod layers;
mod problem;
mod shown;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use self::diagnostic::{Diagnostic, Notice, Place, Problem};
use self::document::Document;
pub use self::duration::{DurationSetting, InvalidDuration};
use self::layers::Layers;
pub use self::shown::Shown;

/// A configuration file may be this long, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Where a configuration comes from.
#[derive(Clone, Default)]
pub struct ConfigSource<'a> {
    /// The TOML file; none: environment and flags alone.
    pub path: Option<&'a Path>,
    /// Such as `BASILICA_`: `BASILICA_BITTENSOR__NETUID` is the key `bittensor.netuid`. Variables without a double
    /// underscore after the prefix are not configuration.
    pub env_prefix: &'a str,
    /// A misspelt prefix that is accepted with a notice; the right one wins where both are set.
    pub legacy_env_prefix: Option<&'a str>,
    /// The environment, usually [`process_environment`].
    pub env: Vec<(String, String)>,
    /// From flags: dotted key and value. They win.
    pub overrides: Vec<(String, toml::Value)>,
    /// Dotted keys (or whole sections) that a seed had and this program does without, each with what to tell the user.
    /// A `*` stands for one key or array index.
    pub ignored: &'a [(&'a str, &'a str)],
}

/// Without values: they may be secrets, and the environment holds those of others.
impl fmt::Debug for ConfigSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overrides: Vec<&str> = self.overrides.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("ConfigSource")
            .field("path", &self.path)
            .field("env_prefix", &self.env_prefix)
            .field("env", &self.env.len())
            .field("overrides", &overrides)
            .finish_non_exhaustive()
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file is longer than any configuration.
    #[error("configuration file {} is longer than {limit} bytes; is it the right file?", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
}

/// A configuration, and what its user should know about it.
#[derive(Clone)]
pub struct Loaded<T> {
    /// The configuration.
    pub value: T,
    /// To be logged as warnings.
    pub notices: Vec<Notice>,
    layers: Layers,
}

/// Where it came from, without its values: they may be secrets.
impl<T> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("layers", &self.layers).finish_non_exhaustive()
    }
}

impl<T> Loaded<T> {
    /// Where a dotted key was set, for messages about values that parse and still do not fit. Array elements are
    /// `nodes.0`. The nearest enclosing key where the key itself is not set.
    pub fn place(&self, key: &str) -> Place {
        self.layers.place(&split(key))
    }

    /// The file that was read, if there was one.
    pub fn file(&self) -> Option<&Path> {
        self.layers.file()
    }

    /// The environment variables that set something, sorted.
    pub fn variables(&self) -> Vec<&str> {
        self.layers.variables()
    }

    /// Where the configuration came from, in words.
    pub fn origin(&self) -> String {
        let file = match self.file() {
            Some(path) => format!("file {}", path.display()),
            None => "no file, the defaults alone".to_owned(),
        };
        match self.variables().as_slice() {
            [] => file,
            variables => format!("{file}; and {}", variables.join(", ")),
        }
    }

    /// The error for a value that parses and still does not fit, such as two settings that contradict each other.
    pub fn reject(&self, key: &str, why: impl Into<String>, help: Option<String>) -> ConfigError {
        ConfigError::Invalid(Box::new(Diagnostic {
            place: self.place(key),
            key: Some(key.to_owned()),
            problem: Problem::Unfit { why: why.into() },
            help,
        }))
    }
}

/// The process's environment, for [`ConfigSource::env`]; call it in `main`. What is not Unicode is kept with
/// replacement characters, so that it is refused as a value and not overlooked.
pub fn process_environment() -> Vec<(String, String)> {
    let text = |part: std::ffi::OsString| part.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Reads, merges and checks a configuration. `T` and its parts should carry `#[serde(deny_unknown_fields)]`.
pub fn load<T: DeserializeOwned>(source: &ConfigSource<'_>) -> Result<Loaded<T>, ConfigError> {
    let document = source.path.map(read).transpose()?.unwrap_or_default();
    let (mut layers, mut notices) = Layers::new(document, source).map_err(ConfigError::Invalid)?;
    notices.extend(layers.remove_ignored(source.ignored));
    let value = layers.extract().map_err(ConfigError::Invalid)?;
    Ok(Loaded { value, notices, layers })
}

fn read(path: &Path) -> Result<Document, ConfigError> {
    use std::io::{Error, ErrorKind, Read};
    use std::os::unix::fs::FileTypeExt as _;

    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    // To open a pipe is to wait for its other end. One that a shell made for this program is named below /dev.
    if path.metadata().map_err(failed)?.file_type().is_fifo() && !path.starts_with("/dev") {
        return Err(failed(Error::new(ErrorKind::InvalidInput, "it is a pipe, not a file")));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(ConfigError::TooLong { path: path.to_owned(), limit: FILE_LIMIT });
    }
    Document::parse(path, bytes).map_err(ConfigError::Invalid)
}

fn split(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
