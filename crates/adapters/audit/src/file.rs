//! The file that lines go to, and its predecessors.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use basilica_types::Digest;
use tracing::warn;

use crate::chain::{self, Line};
use crate::lock;

/// Longest command or error that is kept, in bytes.
const WORDS_MAX: usize = 2_048;
/// Bytes at the end of a file in which its last line is looked for.
const TAIL: u64 = 32 * 1024;
/// Highest number of a file that is put aside.
const FILES_MAX: u32 = 999;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRules {
    /// A file that is larger is put aside, in bytes.
    pub file_bytes: u64,
    /// Files that are kept beside the one that is written to, 1 to 999.
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
pub enum OpenError {
    /// It can be neither made nor read.
    #[error("open the audit log {}", path.display())]
    File {
        /// The log.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another program writes it: lines of two would not follow each other.
    #[error(
        "the audit log {} is being written{}; each program needs a log of its own: give this one another ssh_session.audit_log_path, or stop \
         that one",
        path.display(), pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    InUse {
        /// The log.
        path: PathBuf,
        /// Who writes it, where that is visible from here.
        pid: Option<i32>,
    },
}

/// The file that lines go to. One task writes.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    rules: AuditRules,
    open: Open,
    /// Lines that could not be written since the last one that could.
    lost: u64,
}

#[derive(Debug)]
struct Open {
    /// Locked: nobody else writes it.
    file: File,
    /// Device and inode.
    id: (u64, u64),
    /// Up to the end of the last whole line.
    bytes: u64,
    head: Option<Digest>,
    /// Whether part of a line may be behind that.
    torn: bool,
}

/// A file of a log, open to be read: what it is called may change meanwhile.
#[derive(Debug)]
pub(crate) struct Part {
    /// How it was called.
    pub(crate) path: PathBuf,
    file: File,
    /// What is written behind that while it is read is not part of it.
    bytes: u64,
}

impl Part {
    pub(crate) fn open(path: PathBuf) -> Result<Self, (PathBuf, io::Error)> {
        let open = || regular(&path).and_then(|()| File::open(&path));
        match open().and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((bytes, file)) => Ok(Self { path, file, bytes }),
            Err(error) => Err((path, error)),
        }
    }

    /// Its bytes.
    pub(crate) fn read(self) -> io::Take<File> {
        self.file.take(self.bytes)
    }
}

/// A log's files that are there, oldest first, as of one moment, even if files are put aside at that moment.
///
/// From the newest on, because that is the direction in which they are renamed: one that moves on while others are opened is met
/// again, and stands where it was met last; one that was removed was the oldest.
///
/// # Errors
/// If one cannot be read, or there is no right to look into the directory.
pub(crate) fn parts(path: &Path) -> Result<Vec<Part>, (PathBuf, io::Error)> {
    let mut found: Vec<(u64, u64, Part)> = Vec::new();
    // Putting aside may have failed halfway: what is behind a gap is part of the log.
    for path in [path.to_owned()].into_iter().chain((1..=FILES_MAX).map(|number| aside(path, number))) {
        match Part::open(path) {
            Ok(part) => {
                let data = part.file.metadata().map_err(|error| (part.path.clone(), error))?;
                found.retain(|(device, inode, _)| (*device, *inode) != (data.dev(), data.ino()));
                found.push((data.dev(), data.ino(), part));
            }
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(failed) => return Err(failed),
        }
    }
    let mut parts = Vec::with_capacity(found.len());
    for (_, _, part) in found.into_iter().rev() {
        if part.file.metadata().map_err(|error| (part.path.clone(), error))?.nlink() > 0 {
            parts.push(part);
        }
    }
    Ok(parts)
}

/// That a file is one that keeps what is written, where there is one. To open a pipe would be to wait for its other end, and to read a
/// device never to end.
fn regular(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file, and keeps no log"))
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl Writer {
    /// Opens the log for going on after its last line, or begins one.
    ///
    /// # Errors
    /// If it can be neither made nor read, or somebody else writes it.
    pub(crate) fn open(path: &Path, rules: AuditRules) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: path.to_owned(), source };
        let mut open = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(OpenError::InUse { path: path.to_owned(), pid: lock::holder(path) });
            }
            opened => opened.map_err(failed)?,
        };
        if open.head.is_none() {
            // A stop between putting a file aside and the first line of the next.
            open.head = head_of(&aside(path, 1)).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), rules, open, lost: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lines that were lost before they came here: the next one says so.
    pub(crate) fn missed(&mut self, lines: u64) {
        self.lost = self.lost.saturating_add(lines);
    }

    /// Adds a line. One that cannot be written is counted in the next that can.
    pub(crate) fn add(&mut self, line: Line<'_>) -> io::Result<()> {
        let added = self.try_add(Line { lost: self.lost, ..line });
        self.lost = if added.is_ok() { 0 } else { self.lost.saturating_add(1) };
        added
    }

    fn try_add(&mut self, line: Line<'_>) -> io::Result<()> {
        self.find_again()?;
        if self.open.torn {
            self.open.cut()?;
        }
        if self.open.bytes >= self.rules.file_bytes {
            self.begin_next()?;
        }
        let open = &mut self.open;
        let line = Line { previous: open.head.map(|head| head.to_string()), ..line };
        let mut bytes = serde_json::to_vec(&line)?;
        let head = chain::hash(&bytes);
        bytes.push(b'\n');
        if let Err(error) = open.file.write_all(&bytes) {
            // Half of it may be there. What comes next follows the line before it.
            open.torn = true;
            let _ = open.cut();
            return Err(error);
        }
        open.bytes += bytes.len() as u64;
        open.head = Some(head);
        Ok(())
    }

    /// Goes on at the path of the log if the file that was there is not there any more, as when somebody moved it away: what comes next
    /// follows the last line that was written, wherever that is now. So it does in a file that was cut off, and in one that was put there
    /// with lines of its own: where these end with that line it is a copy, and where they do not, lines are missing, which shows.
    ///
    /// **Rejected**: to go on in the moved file, which nobody looks at; to stop until somebody says what is meant; to follow the last line
    /// of the file that is found, whose chain would hold although the newest lines were taken out of it.
    fn find_again(&mut self) -> io::Result<()> {
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => Some(((there.dev(), there.ino()), there.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let path = self.path.display();
        match there {
            Some((id, bytes)) if id == self.open.id => {
                if bytes < self.open.bytes {
                    warn!(%path, was = self.open.bytes, is = bytes, "the audit log was cut off by somebody else");
                    self.open.bytes = bytes;
                }
            }
            Some(_) | None => {
                let next = open(&self.path)?;
                warn!(%path, "the audit log was moved away or removed; another file goes on from its last line. It puts full files aside by itself");
                if next.head.is_some() && next.head != self.open.head {
                    warn!(%path, "the file that is there now ends with another line than the one that was written last: the chain breaks there");
                }
                // A log of which nothing was written yet has no last line.
                self.open = Open { head: self.open.head.or(next.head), ..next };
            }
        }
        Ok(())
    }

    /// Puts the file aside. The next one is there before any is moved: where it cannot be made, every older file stays.
    fn begin_next(&mut self) -> io::Result<()> {
        let mut next = self.path.as_os_str().to_owned();
        next.push(".next");
        let next = PathBuf::from(next);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&next)?;
        lock::take(&file)?;
        file.set_len(0)?;
        let data = file.metadata()?;
        // Up to a gap, which an attempt that failed halfway left: nothing is moved over a file that could stay.
        let gap = (1..self.rules.files).find(|number| !aside(&self.path, *number).exists());
        for number in (1..gap.unwrap_or(self.rules.files)).rev() {
            std::fs::rename(aside(&self.path, number), aside(&self.path, number + 1))?;
        }
        std::fs::rename(&self.path, aside(&self.path, 1))?;
        std::fs::rename(&next, &self.path)?;
        self.open = Open { file, id: (data.dev(), data.ino()), bytes: 0, ..self.open };
        Ok(())
    }
}

impl Open {
    /// Takes away what is behind the last whole line. A file that somebody emptied meanwhile is not filled up to it.
    fn cut(&mut self) -> io::Result<()> {
        let bytes = self.bytes.min(self.file.metadata()?.len());
        self.file.set_len(bytes)?;
        self.bytes = bytes;
        self.torn = false;
        Ok(())
    }
}

/// Opens a file at its end. An unfinished last line is ended, and followed.
fn open(path: &Path) -> io::Result<Open> {
    match regular(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    lock::take(&file)?;
    let data = file.metadata()?;
    let id = (data.dev(), data.ino());
    let now = std::fs::metadata(path)?;
    if (now.dev(), now.ino()) != id {
        // Whoever writes the log put this file aside at this very moment.
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let (last, ended) = last_line(&mut file)?;
    if !ended {
        file.write_all(b"\n")?;
    }
    let bytes = file.metadata()?.len();
    Ok(Open { file, id, bytes, head: last.map(|line| chain::hash(&line)), torn: false })
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
pub(crate) fn cut(mut words: String) -> Cow<'static, str> {
    if words.len() > WORDS_MAX {
        let whole = words.len();
        words.truncate(words.floor_char_boundary(WORDS_MAX));
        words.push_str(&format!("… ({whole} bytes)"));
    }
    Cow::Owned(words)
}

#[cfg(test)]
mod tests;
