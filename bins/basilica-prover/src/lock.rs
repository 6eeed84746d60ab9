//! One prover at a time.
//!
//! A challenge wants nearly all of every card's memory. A second prover beside it, of another validator, or left behind by
//! a connection that died, would find too little and be refused; so it waits for the first, and says that the node is
//! busy if that takes too long. The lock is one of the kernel's on the folder in which the provers of a user lie, whatever
//! their versions: it leaves nothing behind and ends with its process, however that ends.
//!
//! Where a folder cannot be locked (some network file systems) the prover runs without. Rejected: a lock file (it would stay), and
//! ending the other prover (it may be another validator's, in the middle of an honest proof).

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// How long a prover waits for another one to end: about what a proof of real cards takes, and little enough that a driver's start
/// still fits into what a validator gives it to accept its challenge (50 s).
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// What came of trying to be the only one.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is, as long as this is held.
    Alone(#[expect(dead_code, reason = "it is held, not looked at")] File),
    /// Another one runs.
    Busy,
    /// Nobody can tell.
    Unlocked(io::Error),
}

/// The lock on the folder of this program.
pub(crate) fn of_this_program(wait: Duration) -> Taken {
    let folder = std::env::current_exe().and_then(|program| {
        program.parent().map(Path::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    });
    match folder {
        Ok(folder) => take(&folder, wait),
        Err(error) => Taken::Unlocked(error),
    }
}

/// The lock on a folder.
fn take(folder: &Path, wait: Duration) -> Taken {
    let (sender, locked) = mpsc::sync_channel(1);
    let folder = folder.to_owned();
    // A lock has no time-out of its own: whoever gives up waiting ends its process, and this thread with it.
    let waiting = std::thread::Builder::new().name("lock".to_owned()).spawn(move || {
        let lock = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let _ = sender.send(lock);
    });
    if let Err(error) = waiting {
        return Taken::Unlocked(error);
    }
    match locked.recv_timeout(wait) {
        Ok(Ok(lock)) => Taken::Alone(lock),
        Ok(Err(error)) => Taken::Unlocked(error),
        Err(RecvTimeoutError::Timeout) => Taken::Busy,
        Err(RecvTimeoutError::Disconnected) => {
            Taken::Unlocked(io::Error::other("the waiting thread is gone"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn the_second_waits_for_the_first_and_is_busy_if_that_takes_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path(), LONG);
        assert!(matches!(first, Taken::Alone(_)));
        assert!(matches!(take(folder.path(), Duration::ZERO), Taken::Busy));
        drop(first);
        assert!(matches!(take(folder.path(), LONG), Taken::Alone(_)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing");
    }

    #[test]
    fn provers_of_two_users_do_not_meet_and_what_cannot_be_locked_is_said() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let locks = [&folders[0], &folders[1]].map(|folder| take(folder.path(), LONG));
        assert!(locks.iter().all(|lock| matches!(lock, Taken::Alone(_))));
        assert!(matches!(take(Path::new("/nonexistent"), LONG), Taken::Unlocked(_)));
    }
}
