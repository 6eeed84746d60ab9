//! The chain on disk: a snapshot and a log of the blocks since.
//!
//! A block is appended to the log before anyone hears of it, so `kill -9` loses nothing that was seen. The log is handed
//! to the disk ([`File::sync_data`]) every [`SYNC_EVERY`] blocks and at every snapshot: a power cut may lose that many
//! blocks, never more, and never leaves a state that was not one. Each record carries its length and hash; a torn tail
//! is cut off on opening. A snapshot is written beside the old one, synced and renamed before the log is emptied;
//! records it already contains are skipped, so a crash between the two is harmless.
//!
//! Rejected: a database (nothing here is looked up on disk), and replaying extrinsics (a log of changes needs no
//! determinism across versions of this program).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use codec::{Decode as _, Encode as _};
use sp_io::hashing::blake2_256;

use crate::chain::{Chain, ChainImage, StoredBlock};
use crate::profile::Profile;

/// Blocks between two hand-overs of the log to the disk.
pub const SYNC_EVERY: u32 = 64;
/// Blocks between two snapshots.
pub const SNAPSHOT_EVERY: u32 = 1_024;
/// No record is longer; a larger length is a torn or foreign one.
const MAX_RECORD: usize = 64 << 20;
const HEAD: usize = 4 + 32;
const MAGIC: &[u8; 8] = b"bdevch1\n";

/// Why the chain's directory cannot be used.
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
    /// Another process uses the directory.
    #[error("{0} is in use by another development chain; stop it or name another --state directory")]
    Locked(PathBuf),
    /// The snapshot is damaged.
    #[error("{0} is damaged; remove the directory to begin a new chain")]
    Damaged(PathBuf),
    /// The directory holds a chain of the other profile.
    #[error(
        "{path} holds a chain of profile {found}, but profile {asked} is asked for; \
         start with --profile {found}, or name another --state directory"
    )]
    OtherProfile {
        /// The directory.
        path: PathBuf,
        /// Its chain's profile.
        found: Profile,
        /// The profile of the settings given.
        asked: Profile,
    },
    /// The directory holds a chain of another genesis.
    #[error(
        "{path} holds a chain with genesis {found}, but the settings given make {expected}; \
         use the settings it was made with, or another --state directory"
    )]
    OtherGenesis {
        /// The directory.
        path: PathBuf,
        /// Its chain's genesis hash.
        found: String,
        /// The genesis hash of the settings given.
        expected: String,
    },
}

/// A chain's directory, locked while this lives.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    log: File,
    unsynced: u32,
    since_snapshot: u32,
    _lock: File,
}

fn wrap<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PersistError + 'a {
    move |source| PersistError::Io { action, path: path.to_owned(), source }
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a record is far below 4 GiB");
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&blake2_256(payload));
    bytes.extend_from_slice(payload);
    bytes
}

/// The first whole record's payload and what follows it; `None` where the rest is torn.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let length = u32::from_le_bytes(head.first_chunk::<4>().copied()?) as usize;
    if length > MAX_RECORD {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(length)?;
    (blake2_256(payload) == head[4..]).then_some((payload, rest))
}

/// Blocks of the log in order and the length of its whole records.
fn read_log(bytes: &[u8]) -> (Vec<StoredBlock>, usize) {
    let mut blocks = Vec::new();
    let mut rest = bytes;
    while let Some((payload, after)) = split_record(rest) {
        let Ok(block) = StoredBlock::decode(&mut &payload[..]) else { break };
        blocks.push(block);
        rest = after;
    }
    (blocks, bytes.len() - rest.len())
}

impl Store {
    /// Opens or makes a chain's directory. `fresh` is the chain that the settings describe; it is begun if the directory
    /// holds none.
    ///
    /// # Errors
    /// The directory cannot be used, is in use, is damaged or holds another chain.
    pub fn open(directory: &Path, fresh: Chain) -> Result<(Self, Chain), PersistError> {
        fs::create_dir_all(directory).map_err(wrap("create", directory))?;
        let lock_path = directory.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(wrap("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(PersistError::Locked(directory.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(wrap("lock", &lock_path)(source)),
        }
        let log_path = directory.join("blocks.log");
        let mut log = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&log_path)
            .map_err(wrap("open", &log_path))?;
        let snapshot = load_snapshot(directory)?;
        let is_new = snapshot.is_none();
        let expected = fresh.genesis();
        let asked = Profile::of(&fresh.best_state());
        let mut chain = snapshot.unwrap_or(fresh);
        let found = Profile::of(&chain.best_state());
        if found != asked {
            return Err(PersistError::OtherProfile { path: directory.to_owned(), found, asked });
        }
        if chain.genesis() != expected {
            return Err(PersistError::OtherGenesis {
                path: directory.to_owned(),
                found: format!("{:?}", chain.genesis()),
                expected: format!("{expected:?}"),
            });
        }
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).map_err(wrap("read", &log_path))?;
        let (blocks, whole) = read_log(&bytes);
        log.set_len(whole as u64).map_err(wrap("cut the torn tail of", &log_path))?;
        log.seek(SeekFrom::End(0)).map_err(wrap("seek in", &log_path))?;
        let since_snapshot = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        for block in blocks {
            if block.header.number == chain.best().header.number + 1
                && block.header.parent_hash == chain.best().hash
            {
                chain.push(block);
            }
        }
        let directory = directory.to_owned();
        let mut store = Self { directory, log, unsynced: 0, since_snapshot, _lock: lock };
        if is_new {
            store.snapshot(&chain)?;
        }
        Ok((store, chain))
    }

    /// Appends a block; it survives the end of this process from here on.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn append(&mut self, block: &StoredBlock) -> Result<(), PersistError> {
        let path = self.directory.join("blocks.log");
        self.log.write_all(&record(&block.encode())).map_err(wrap("append to", &path))?;
        self.unsynced += 1;
        self.since_snapshot += 1;
        if self.unsynced >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Hands the log to the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&mut self) -> Result<(), PersistError> {
        let path = self.directory.join("blocks.log");
        self.log.sync_data().map_err(wrap("sync", &path))?;
        self.unsynced = 0;
        Ok(())
    }

    /// Whether enough blocks have passed for a snapshot.
    #[must_use]
    pub fn snapshot_due(&self) -> bool {
        self.since_snapshot >= SNAPSHOT_EVERY
    }

    /// Writes the whole chain and empties the log.
    ///
    /// # Errors
    /// A file cannot be written; the old snapshot and the log stay.
    pub fn snapshot(&mut self, chain: &Chain) -> Result<(), PersistError> {
        let target = self.directory.join("snapshot");
        let beside = self.directory.join("snapshot.new");
        let mut file = File::create(&beside).map_err(wrap("create", &beside))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(record(&chain.image().encode()));
        file.write_all(&bytes).map_err(wrap("write", &beside))?;
        file.sync_all().map_err(wrap("sync", &beside))?;
        fs::rename(&beside, &target).map_err(wrap("rename to", &target))?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(wrap("sync", &self.directory))?;
        let log_path = self.directory.join("blocks.log");
        self.log.set_len(0).map_err(wrap("empty", &log_path))?;
        self.log.seek(SeekFrom::Start(0)).map_err(wrap("seek in", &log_path))?;
        self.sync()?;
        self.since_snapshot = 0;
        Ok(())
    }
}

fn load_snapshot(directory: &Path) -> Result<Option<Chain>, PersistError> {
    let path = directory.join("snapshot");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(wrap("read", &path)(source)),
    };
    let damaged = || PersistError::Damaged(path.clone());
    let (payload, _) = bytes.strip_prefix(MAGIC).and_then(split_record).ok_or_else(damaged)?;
    let image = ChainImage::decode(&mut &payload[..]).map_err(|_| damaged())?;
    Chain::from_image(image).map(Some).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::executor;
    use crate::genesis::Settings;

    fn fresh() -> Chain {
        Chain::new(Settings::default().resolve().expect("valid").state().expect("builds"))
    }

    fn next(chain: &Chain) -> StoredBlock {
        let (state, best) = (chain.best_state(), chain.best());
        let parent = (best.hash, best.header.number);
        let timestamp = executor::timestamp_of(&state) + 1;
        let built = executor::build_block(&state, parent, timestamp, &[]).expect("builds");
        let changes = executor::changes(&state, &built.state);
        StoredBlock { header: built.header, extrinsics: built.extrinsics, changes }
    }

    fn extend(store: &mut Store, chain: &mut Chain, blocks: usize) {
        for _ in 0..blocks {
            let block = next(chain);
            store.append(&block).expect("appends");
            chain.push(block);
        }
    }

    #[test]
    fn a_reopened_chain_is_the_same_chain() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, mut chain) = Store::open(directory.path(), fresh()).expect("opens");
        extend(&mut store, &mut chain, 3);
        drop(store);
        let (mut store, reopened) = Store::open(directory.path(), fresh()).expect("opens again");
        assert_eq!(reopened.image(), chain.image());
        store.snapshot(&chain).expect("snapshots");
        extend(&mut store, &mut chain, 2);
        drop(store);
        let (_store, reopened) = Store::open(directory.path(), fresh()).expect("opens a third time");
        assert_eq!(reopened.image(), chain.image());
        assert_eq!(reopened.best().header.number, 5);
    }

    #[test]
    fn a_log_older_than_its_snapshot_is_skipped() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, mut chain) = Store::open(directory.path(), fresh()).expect("opens");
        extend(&mut store, &mut chain, 3);
        let log = fs::read(directory.path().join("blocks.log")).expect("a log");
        store.snapshot(&chain).expect("snapshots");
        drop(store);
        // As if the process died between the rename and the emptying of the log.
        fs::write(directory.path().join("blocks.log"), log).expect("writes");
        let (_store, reopened) = Store::open(directory.path(), fresh()).expect("opens");
        assert_eq!(reopened.image(), chain.image());
    }

    #[test]
    fn a_second_process_another_genesis_and_a_damaged_snapshot_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _chain) = Store::open(directory.path(), fresh()).expect("opens");
        assert!(matches!(Store::open(directory.path(), fresh()), Err(PersistError::Locked(_))));
        drop(store);
        let settings = Settings { tempo: 30, ..Settings::default() };
        let other = Chain::new(settings.resolve().expect("valid").state().expect("builds"));
        assert!(matches!(Store::open(directory.path(), other), Err(PersistError::OtherGenesis { .. })));
        let settings = Settings { profile: Profile::Legacy, ..Settings::default() };
        let legacy = Chain::new(settings.resolve().expect("valid").state().expect("builds"));
        let refused = Store::open(directory.path(), legacy).expect_err("another profile").to_string();
        assert!(refused.contains("start with --profile newest"), "{refused}");
        let path = directory.path().join("snapshot");
        let mut bytes = fs::read(&path).expect("a snapshot");
        bytes[100] ^= 1;
        fs::write(&path, bytes).expect("writes");
        assert!(matches!(Store::open(directory.path(), fresh()), Err(PersistError::Damaged(_))));
    }

    #[test]
    fn a_past_state_reads_as_it_was() {
        let mut chain = fresh();
        let mut states = vec![chain.best_state()];
        for _ in 0..4 {
            chain.push(next(&chain));
            states.push(chain.best_state());
        }
        for (number, expected) in (0u32..).zip(&states) {
            let hash = chain.hash_of(number).expect("known");
            assert_eq!(chain.state_at(&hash).expect("kept"), *expected, "state of block {number}");
        }
        let unknown = crate::runtime::Hash::repeat_byte(7);
        assert_eq!(chain.state_at(&unknown), Err(crate::chain::StateUnavailable::UnknownBlock(unknown)));
    }

    /// The log of three blocks and where each of its records ends.
    static THREE_BLOCKS: LazyLock<(Vec<u8>, Vec<usize>)> = LazyLock::new(|| {
        let mut chain = fresh();
        let (mut log, mut ends) = (Vec::new(), vec![0]);
        for _ in 0..3 {
            let block = next(&chain);
            log.extend(record(&block.encode()));
            ends.push(log.len());
            chain.push(block);
        }
        (log, ends)
    });

    proptest! {
        #[test]
        fn a_torn_or_spoilt_tail_loses_only_itself(cut in 0usize..4_000, flip in any::<Option<u8>>()) {
            let (log, ends) = &*THREE_BLOCKS;
            let cut = cut.min(log.len());
            let mut log = log[..cut].to_vec();
            let mut intact = ends.iter().filter(|end| **end <= cut && **end > 0).count();
            if let (Some(bits), Some(last)) = (flip, log.last_mut()) {
                *last ^= bits;
                // Spoiling the last byte spoils the record it ends, if it ends one.
                if bits != 0 && ends.contains(&cut) {
                    intact -= 1;
                }
            }
            let (blocks, whole) = read_log(&log);
            prop_assert_eq!(blocks.len(), intact);
            prop_assert_eq!(whole, ends[intact]);
        }
    }
}
