//! Who writes a log.
//!
//! The file itself is locked, whatever it is called, and the one that takes its place before it does: two programs that are led to one log
//! by different names are found out, and no other file has to be beside it. It is locked twice, as a miner's database is: by `flock`, which
//! lasts as long as the open file, and by `fcntl`, because there the kernel tells which process has it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Takes a log for this process as long as the file is open.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where another process has it.
pub(crate) fn take(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "another program writes it"),
        TryLockError::Error(error) => error,
    })?;
    // Only for its name.
    let _ = rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive);
    Ok(())
}

/// The process that writes a log, where there is one and it is visible from here. Not for that process: the kernel would take the lock
/// from it.
pub fn holder(path: &Path) -> Option<i32> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    held.pid.map(|pid| pid.as_raw_nonzero().get())
}
