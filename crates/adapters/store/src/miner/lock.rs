//! Which process is the miner of a database.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

use basilica_types::DatabasePath;
use rustix::fs::FlockOperation;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::MINER_SCHEMA;
use crate::OpenError;
use crate::database::FileLock;

/// The right to be the one miner that runs on a database: two would undo each other's keys. Ends with this value or its process.
///
/// Commands do not need it; they look whether it is taken ([`Self::holder`]), to say if a miner runs.
///
/// The file is locked twice: by `flock`, which keeps a second miner away, and by `fcntl`, because there the kernel tells which process
/// holds it. **Rejected**: a file with the process's number (it outlives its process, whose number another one then has), and asking the
/// health port (which may be another miner's, and whose number is another one outside of its container).
#[derive(Debug)]
pub struct MinerLock {
    _lock: FileLock,
}

/// A miner that runs on a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// What it holds locked.
    pub lock: PathBuf,
    /// Its process, by the kernel's word; none where it is not visible from here, as in a container.
    pub pid: Option<i32>,
}

impl MinerLock {
    /// Takes the right, if it is free at this moment.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where another process has it, others where the file beside the database cannot be made.
    pub fn take(database: &DatabasePath) -> Result<Self, OpenError> {
        let lock = FileLock::take(database, &MINER_SCHEMA).map_err(|error| match error {
            OpenError::InUse { path, lock, program, also, .. } => {
                // The other one may just have ended; that it was there stays true.
                let pid = Self::holder(database).ok().flatten().and_then(|holder| holder.pid);
                OpenError::InUse { path, lock, pid, program, also }
            }
            other => other,
        })?;
        rustix::fs::fcntl_lock(lock.file(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| OpenError::File { path: FileLock::path(database), source: error.into() })?;
        Ok(Self { _lock: lock })
    }

    /// The miner that runs on the database now; none if there is none. Takes nothing, so a miner that starts meanwhile does not notice. Not for
    /// the process that has the right: the kernel would take it from it.
    ///
    /// # Errors
    /// The file is there and cannot be opened.
    pub fn holder(database: &DatabasePath) -> Result<Option<LockHolder>, OpenError> {
        let lock = FileLock::path(database);
        let failed = |source| OpenError::File { path: lock.clone(), source };
        let file = match File::open(&lock) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock));
        let held = held.map_err(|error| failed(error.into()))?;
        Ok(held.map(|held| LockHolder { lock, pid: held.pid.map(|pid| pid.as_raw_nonzero().get()) }))
    }
}
