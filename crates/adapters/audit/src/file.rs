//! The file that lines go to, and its predecessors.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::Clock;
use basilica_types::Digest;

use crate::chain::{self, Line};

/// Longest command or error that is kept, in bytes.
const WORDS_MAX: usize = 2_048;
/// Bytes at the end of a file in which its last line is looked for.
const TAIL: u64 = 32 * 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRules {
    /// A file that is larger is put aside, in bytes.
    pub file_bytes: u64,
    /// Files that are kept beside the one that is written to.
    pub files: u32,
}

impl Default for AuditRules {
    /// A gigabyte in all: about two days of a thousand nodes.
    fn default() -> Self {
        Self { file_bytes: 64 * 1024 * 1024, files: 15 }
    }
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the audit log {path}")]
pub struct OpenError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What hears whether lines can be written, and if not, why.
type Told = Box<dyn Fn(Result<(), String>) + Send + Sync>;

/// The log. Its lock is held for one write to the page cache.
pub struct AuditLog {
    path: PathBuf,
    rules: AuditRules,
    pub(crate) clock: Arc<dyn Clock>,
    told: Told,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: u64,
    head: Option<Digest>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A log's files that are there, oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = (1..).map(|n| aside(path, n)).take_while(|path| path.exists()).collect();
    found.reverse();
    found.extend(path.exists().then(|| path.to_owned()));
    found
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl AuditLog {
    /// Opens the log for going on after its last line, or begins one. `told` hears whether lines can be written, whenever that
    /// changes or is tried.
    ///
    /// # Errors
    /// If it can be neither made nor read.
    pub fn open(
        path: &Path,
        rules: AuditRules,
        clock: Arc<dyn Clock>,
        told: Told,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError { path: path.to_owned(), source };
        // A stop between putting a file aside and beginning the next leaves only those aside.
        let before = if path.exists() { None } else { head_of(&aside(path, 1)).map_err(failed)? };
        let mut open = open(path).map_err(failed)?;
        open.head = open.head.or(before);
        Ok(Self { path: path.to_owned(), rules, clock, told, open: Mutex::new(open) })
    }

    /// Adds a line. What fails is told to whoever was named for it.
    pub(crate) fn add(&self, line: Line<'_>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.write(&mut open, line);
        drop(open);
        if let Err(error) = &written {
            tracing::error!(target: "validator::ssh", %error, audit.path = %self.path.display(), "an operation is not in the audit log");
        }
        (self.told)(written.map_err(|error| format!("{} cannot be written: {error}", self.path.display())));
    }

    fn write(&self, open: &mut Open, line: Line<'_>) -> io::Result<()> {
        if open.bytes >= self.rules.file_bytes {
            let head = open.head;
            for number in (1..self.rules.files).rev() {
                put_aside(&aside(&self.path, number), &aside(&self.path, number + 1))?;
            }
            put_aside(&self.path, &aside(&self.path, 1))?;
            *open = self::open(&self.path)?;
            open.head = head;
        }
        let line = Line { previous: open.head.map(|head| head.to_string()), ..line };
        let mut bytes = serde_json::to_vec(&line)?;
        let head = chain::hash(&bytes);
        bytes.push(b'\n');
        let written = open.file.write_all(&bytes);
        if written.is_err() {
            // Part of it may be there: what follows goes by the file.
            *open = self::open(&self.path)?;
        } else {
            open.bytes += bytes.len() as u64;
            open.head = Some(head);
        }
        written
    }
}

fn put_aside(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

/// Opens a file at its end. An unfinished last line is ended, and followed.
fn open(path: &Path) -> io::Result<Open> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let (last, ended) = last_line(&mut file)?;
    if !ended {
        file.write_all(b"\n")?;
    }
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes, head: last.map(|line| chain::hash(&line)) })
}

fn head_of(path: &Path) -> io::Result<Option<Digest>> {
    match File::open(path) {
        Ok(mut file) => Ok(last_line(&mut file)?.0.map(|line| chain::hash(&line))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last line, if there is one, and whether it is ended.
fn last_line(file: &mut File) -> io::Result<(Option<Vec<u8>>, bool)> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok((None, true));
    }
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let ended = tail.last() == Some(&b'\n');
    if ended {
        tail.pop();
    }
    let start = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Ok((Some(tail.split_off(start)), ended))
}

/// Words of ours or of an error, as far as they are kept.
pub(crate) fn cut(words: &str) -> Cow<'_, str> {
    if words.len() <= WORDS_MAX {
        return Cow::Borrowed(words);
    }
    let end = words.floor_char_boundary(WORDS_MAX);
    Cow::Owned(format!("{}… ({} bytes)", &words[..end], words.len()))
}

#[cfg(test)]
mod tests;
