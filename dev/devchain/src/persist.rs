//! The chain on disk: one file with the settings it began with, a snapshot and the steps since.
//!
//! A step (a block, or a branch that replaces the last ones) is appended before anyone hears of it, so `kill -9` loses nothing that was seen.
//! The file is handed to the disk ([`File::sync_data`]) every [`SYNC_EVERY`] blocks and at every snapshot: a power cut
//! may lose that many blocks, never more, and never leaves a state that was not one. Each record carries its length and
//! hash; a torn tail, as a crash leaves it, is cut off on opening, and [`Store::cut`] tells of it. What is damaged before
//! its end is refused and left alone: cutting there would lose blocks that are whole. Every [`SNAPSHOT_EVERY`] blocks a
//! new file with a fresh snapshot is written beside this one, synced and renamed over it, so a crash at any point leaves
//! the one or the other, both whole.
//!
//! The file is locked while it is used. A rename replaces the file that is locked, so the new one is locked before the
//! rename, and who gets a lock looks whether the path still leads to what it locked.
//!
//! Rejected: a database (nothing here is looked up on disk); replaying extrinsics (a log of changes needs no determinism
//! across versions of this program); a directory with a log, a snapshot and a lock (three files to keep consistent, and
//! users copy a chain by copying a file).
#![expect(clippy::cast_possible_truncation, reason = "the codec macros cast indices")]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use codec::{Decode, Encode};
use sp_io::hashing::blake2_256;

use crate::chain::{Chain, ChainImage, StoredBlock};
use crate::genesis::{Difference, Settings};
use crate::profile::Profile;

/// Blocks between two hand-overs to the disk.
pub const SYNC_EVERY: u32 = 64;
/// Blocks between two snapshots.
pub const SNAPSHOT_EVERY: u32 = 1_024;
/// No record is longer; a larger length is a torn or foreign one.
const MAX_RECORD: usize = 1 << 30;
/// A record's length, the beginning of the length's hash (a length that only claims more than there is would look like a
/// torn tail), the payload's hash.
const HEAD: usize = 4 + LENGTH_CHECK + 32;
const LENGTH_CHECK: usize = 4;
const MAGIC: &[u8; 8] = b"bdevch6\n";
/// What every version of the format begins with.
const FAMILY: &[u8; 6] = b"bdevch";
/// How often a lock is tried anew because the file was replaced meanwhile.
const LOCK_TRIES: usize = 8;

/// One step of the chain, with the last final block after it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Step {
    /// A block on top of the best one.
    #[codec(index = 0)]
    Block(StoredBlock, u32),
    /// So many blocks taken off, and these put there.
    #[codec(index = 1)]
    Replace(u32, Vec<StoredBlock>, u32),
}

/// A chain as its file had it.
struct Read {
    chain: Chain,
    /// The settings that it began with.
    settings: String,
    finalized: u32,
    /// The steps since the snapshot.
    steps: u32,
    /// Where the whole records end.
    whole: usize,
}

/// Why the chain's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// An operation on a file failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process uses the file.
    #[error("{0} is in use by another development chain; stop it or name another --state file")]
    Locked(PathBuf),
    /// A directory stands there.
    #[error(
        "{0} is a directory, and --state names a file; name another path \
         (versions before this one kept a directory: remove it to begin a new chain there)"
    )]
    Directory(PathBuf),
    /// A device, a pipe or a socket stands there.
    #[error("{0} is no regular file, and a chain is kept in one; name another --state file")]
    Irregular(PathBuf),
    /// A link stands there that leads nowhere.
    #[error(
        "{0} is a link to a file that is not there; make that file's directory and name it, or remove the link"
    )]
    Dangling(PathBuf),
    /// The file is none of this program's.
    #[error("{0} is not a development chain's file; it is left as it is, name another --state file")]
    Foreign(PathBuf),
    /// The file is of another version of the format.
    #[error("{0} was written by another version of this program; remove it to begin a new chain")]
    OtherVersion(PathBuf),
    /// The snapshot is damaged.
    #[error("{0} is damaged; remove it to begin a new chain")]
    Damaged(PathBuf),
    /// A record before the last is damaged.
    #[error(
        "{path} is damaged at byte {at}, after block {block}; it is left as it is: put a copy of it in its place, or \
         give up the blocks after {block} with: truncate --size={at} {path}"
    )]
    DamagedAt {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        at: usize,
        /// The last block before it.
        block: u32,
    },
    /// The file holds a chain of the other profile.
    #[error(
        "{path} holds a chain of profile {found}, but profile {asked} is asked for; \
         start with --profile {found}, or name another --state file"
    )]
    OtherProfile {
        /// The file.
        path: PathBuf,
        /// Its chain's profile.
        found: Profile,
        /// The profile of the settings given.
        asked: Profile,
    },
    /// The file holds a chain of another genesis.
    #[error(
        "{path} holds a chain that was begun otherwise: {}; use the flags and genesis file it was made with, or \
         another --state file", differing(.differences)
    )]
    OtherGenesis {
        /// The file.
        path: PathBuf,
        /// Which settings differ.
        differences: Vec<Difference>,
    },
}

/// Differences for people.
fn differing(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "by the same settings, but another version of this program".to_owned();
    }
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join(", ")
}

/// What was cut off a file's end because it was not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many bytes.
    pub bytes: usize,
    /// The block on which the chain goes on.
    pub block: u32,
}

/// A chain's file, locked while this lives.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    settings: String,
    cut: Option<Cut>,
    finalized: u32,
    unsynced: u32,
    since_snapshot: u32,
}

fn wrap<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PersistError + 'a {
    move |source| PersistError::Io { action, path: path.to_owned(), source }
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("bodies and undo logs are bounded far below 4 GiB");
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    let length = length.to_le_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&blake2_256(&length)[..LENGTH_CHECK]);
    bytes.extend_from_slice(&blake2_256(payload));
    bytes.extend_from_slice(payload);
    bytes
}

/// What a file's rest begins with.
enum Next<'a> {
    /// A whole record: its payload, and what follows it.
    Whole(&'a [u8], &'a [u8]),
    /// The end of a file whose last write did not end.
    Torn,
    /// A record that was whole once.
    Damaged,
}

fn next_record(bytes: &[u8]) -> Next<'_> {
    // A power cut may leave a file that grew but was not written.
    let is_unwritten = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let Some(((length, checks), rest)) =
        bytes.split_at_checked(HEAD).and_then(|(head, rest)| Some((head.split_first_chunk::<4>()?, rest)))
    else {
        return Next::Torn;
    };
    let (length_check, payload_check) = checks.split_at(LENGTH_CHECK);
    let size = u32::from_le_bytes(*length) as usize;
    if blake2_256(length)[..LENGTH_CHECK] != *length_check || size > MAX_RECORD {
        return if is_unwritten(bytes) { Next::Torn } else { Next::Damaged };
    }
    match rest.split_at_checked(size) {
        None => Next::Torn,
        Some((payload, rest)) if blake2_256(payload) == *payload_check => Next::Whole(payload, rest),
        Some((_, rest)) if is_unwritten(rest) => Next::Torn,
        Some(_) => Next::Damaged,
    }
}

/// What follows a file's whole records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Torn,
    Damaged,
}

/// Steps in order, the length of their whole records, and what follows them.
fn read_steps(bytes: &[u8]) -> (Vec<Step>, usize, End) {
    let mut steps = Vec::new();
    let mut rest = bytes;
    let end = loop {
        if rest.is_empty() {
            break End::Clean;
        }
        match next_record(rest) {
            Next::Whole(payload, after) => {
                let Ok(step) = Step::decode(&mut &payload[..]) else { break End::Damaged };
                steps.push(step);
                rest = after;
            }
            Next::Torn => break End::Torn,
            Next::Damaged => break End::Damaged,
        }
    };
    (steps, bytes.len() - rest.len(), end)
}

/// The file that a path leads to. A snapshot is renamed over it: over a link that would leave the file it names behind, and
/// over a device it would end the device.
fn resolve(path: &Path) -> Result<PathBuf, PersistError> {
    let file = match fs::canonicalize(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let dangling = path.symlink_metadata().is_ok();
            return if dangling { Err(PersistError::Dangling(path.to_owned())) } else { Ok(path.to_owned()) };
        }
        Err(source) => return Err(wrap("find", path)(source)),
    };
    let kind = fs::metadata(&file).map_err(wrap("look at", path))?.file_type();
    match () {
        () if kind.is_dir() => Err(PersistError::Directory(path.to_owned())),
        () if kind.is_file() => Ok(file),
        () => Err(PersistError::Irregular(path.to_owned())),
    }
}

/// Opens the file, making an empty one if there is none, and locks it.
fn open_locked(path: &Path) -> Result<File, PersistError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(wrap("create", parent))?;
    }
    for _ in 0..LOCK_TRIES {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(wrap("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => break,
            Err(fs::TryLockError::Error(source)) => return Err(wrap("lock", path)(source)),
        }
        let (locked, named) = (file.metadata(), fs::metadata(path));
        if let (Ok(locked), Ok(named)) = (locked, named)
            && (locked.dev(), locked.ino()) == (named.dev(), named.ino())
        {
            return Ok(file);
        }
    }
    Err(PersistError::Locked(path.to_owned()))
}

/// What is in a file's bytes; `None` in a file that was only just made.
fn read_chain(path: &Path, bytes: &[u8]) -> Result<Option<Read>, PersistError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(match bytes.starts_with(FAMILY) {
            true => PersistError::OtherVersion(path.to_owned()),
            false => PersistError::Foreign(path.to_owned()),
        });
    };
    let damaged = || PersistError::Damaged(path.to_owned());
    let Next::Whole(settings, rest) = next_record(rest) else { return Err(damaged()) };
    let settings = String::from_utf8(settings.to_vec()).map_err(|_| damaged())?;
    let Next::Whole(snapshot, rest) = next_record(rest) else { return Err(damaged()) };
    let (image, mut finalized) = <(ChainImage, u32)>::decode(&mut &snapshot[..]).map_err(|_| damaged())?;
    let mut chain = Chain::from_image(image).ok_or_else(damaged)?;
    let (steps, whole, end) = read_steps(rest);
    let whole = bytes.len() - rest.len() + whole;
    let count = u32::try_from(steps.len()).map_err(|_| damaged())?;
    for step in steps {
        match step {
            Step::Block(block, after) => {
                put(&mut chain, block).ok_or_else(damaged)?;
                finalized = after;
            }
            Step::Replace(count, branch, after) => {
                for _ in 0..count {
                    chain.pop().ok_or_else(damaged)?;
                }
                for block in branch {
                    put(&mut chain, block).ok_or_else(damaged)?;
                }
                finalized = after;
            }
        }
    }
    match end {
        End::Clean | End::Torn => Ok(Some(Read { chain, settings, finalized, steps: count, whole })),
        End::Damaged => {
            let block = chain.best().header.number;
            Err(PersistError::DamagedAt { path: path.to_owned(), at: whole, block })
        }
    }
}

/// Puts a block on top if it belongs there.
fn put(chain: &mut Chain, block: StoredBlock) -> Option<()> {
    (block.header.parent_hash == chain.best().hash).then(|| chain.push(block)).map(|_| ())
}

impl Store {
    /// Opens or makes a chain's file. `fresh` is the chain that the settings make; it is begun if there is none.
    ///
    /// # Errors
    /// The file cannot be used, is in use, is damaged, is another program's or holds another chain.
    pub fn open(path: &Path, fresh: Chain, settings: &Settings) -> Result<(Self, Chain), PersistError> {
        let path = &resolve(path)?;
        let mut file = open_locked(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(wrap("read", path))?;
        let mut store = Self {
            path: path.to_owned(),
            file,
            settings: settings.text(),
            cut: None,
            finalized: 0,
            unsynced: 0,
            since_snapshot: 0,
        };
        let Some(Read { chain, settings: begun, finalized, steps, whole }) = read_chain(path, &bytes)? else {
            store.snapshot(&fresh, 0)?;
            return Ok((store, fresh));
        };
        let (found, asked) = (Profile::of(&chain.best_state()), Profile::of(&fresh.best_state()));
        if found != asked {
            return Err(PersistError::OtherProfile { path: path.to_owned(), found, asked });
        }
        if chain.genesis() != fresh.genesis() {
            let differences = settings.differences(&begun);
            return Err(PersistError::OtherGenesis { path: path.to_owned(), differences });
        }
        store.file.set_len(whole as u64).map_err(wrap("cut the torn tail of", path))?;
        store.file.seek(SeekFrom::End(0)).map_err(wrap("seek in", path))?;
        (store.finalized, store.since_snapshot) = (finalized, steps);
        if bytes.len() > whole {
            store.cut = Some(Cut { bytes: bytes.len() - whole, block: chain.best().header.number });
        }
        Ok((store, chain))
    }

    /// Notes that the chain will be served with so many blocks at its end that are not final, before anyone is told which
    /// is: with a shorter lag than before, more are final at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn serve_with_lag(&mut self, chain: &Chain, lag: u32) -> Result<(), PersistError> {
        let finalized = chain.best().header.number.saturating_sub(lag);
        if finalized > self.finalized {
            self.snapshot(chain, finalized)?;
            self.finalized = finalized;
        }
        Ok(())
    }

    /// The last block that is final as the chain begins to be served: whoever was told so is not told otherwise.
    #[must_use]
    pub fn finalized(&self) -> u32 {
        self.finalized
    }

    /// What was cut off when the file was opened.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Appends a block and what is final with it; both survive the end of this process from here on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&mut self, block: &StoredBlock, finalized: u32) -> Result<(), PersistError> {
        self.write(&Step::Block(block.clone(), finalized))
    }

    /// Takes so many blocks off and puts a branch there, in one step: whenever this process ends, the file has the old
    /// branch or the new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn replace(
        &mut self,
        blocks: u32,
        branch: Vec<StoredBlock>,
        finalized: u32,
    ) -> Result<(), PersistError> {
        self.write(&Step::Replace(blocks, branch, finalized))
    }

    fn write(&mut self, step: &Step) -> Result<(), PersistError> {
        self.file.write_all(&record(&step.encode())).map_err(wrap("append to", &self.path))?;
        self.unsynced += 1;
        self.since_snapshot += 1;
        if self.unsynced >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Hands the file to the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&mut self) -> Result<(), PersistError> {
        self.file.sync_data().map_err(wrap("sync", &self.path))?;
        self.unsynced = 0;
        Ok(())
    }

    /// Whether enough blocks have passed for a snapshot.
    #[must_use]
    pub fn snapshot_due(&self) -> bool {
        self.since_snapshot >= SNAPSHOT_EVERY
    }

    /// Replaces the file by one that begins with this chain.
    ///
    /// # Errors
    /// A file cannot be written; the present one stays.
    pub fn snapshot(&mut self, chain: &Chain, finalized: u32) -> Result<(), PersistError> {
        let mut name = OsString::from(&self.path);
        name.push(".new");
        let beside = PathBuf::from(name);
        let mut file = File::create(&beside).map_err(wrap("create", &beside))?;
        file.lock().map_err(wrap("lock", &beside))?;
        file.write_all(MAGIC).map_err(wrap("write", &beside))?;
        file.write_all(&record(self.settings.as_bytes())).map_err(wrap("write", &beside))?;
        file.write_all(&record(&(chain.image(), finalized).encode())).map_err(wrap("write", &beside))?;
        file.sync_all().map_err(wrap("sync", &beside))?;
        fs::rename(&beside, &self.path).map_err(wrap("rename to", &self.path))?;
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(wrap("sync", directory))?;
        (self.file, self.unsynced, self.since_snapshot) = (file, 0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
