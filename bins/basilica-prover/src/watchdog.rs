//! Ends a prover that waits for nobody.
//!
//! A validator whose path dies in silence (a lost route, a host without power) is noticed by the node's sshd only when TCP
//! gives up, a quarter of an hour later. Until then the prover would wait for its next message with nearly all of every
//! card's memory in its hands, and whoever asks next, the same validator's retry included, would be refused. So a read
//! or write of the protocol that makes no progress for a while ends the program; the driver then frees the cards, and the
//! kernel the lock ([`crate::lock`]).
//!
//! Rejected: time-outs on the descriptors (pipes have none), and sshd's `ClientAliveInterval` (another's configuration).

use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a validator may be silent. In a fleet epoch it waits with a walk's nonce until the slowest node has worked and
/// filled its memory, and a stage has at most two minutes by default; half as much again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stalled {
    /// The validator sends nothing.
    Silent,
    /// The validator, or what is between, takes nothing.
    Deaf,
}

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Silent => "the validator was silent for too long",
            Self::Deaf => "the validator took nothing for too long",
        })
    }
}

#[derive(Debug, Default)]
struct Waits {
    /// Counts them, so that one wait is told from the next.
    number: u64,
    current: Option<Stalled>,
}

#[derive(Debug, Default)]
struct Watched {
    waits: Mutex<Waits>,
    changed: Condvar,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when one wait has lasted for `patience`.
    fn watch(&self, patience: Duration) -> Stalled {
        let mut waits = self.lock();
        loop {
            let Some(stalled) = waits.current else {
                waits = self.changed.wait(waits).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let number = waits.number;
            let same = |waits: &mut Waits| waits.number == number && waits.current.is_some();
            let (after, waited) = self
                .changed
                .wait_timeout_while(waits, patience, same)
                .unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                return stalled;
            }
            waits = after;
        }
    }

    fn set(&self, current: Option<Stalled>) {
        let mut waits = self.lock();
        waits.number += 1;
        waits.current = current;
        drop(waits);
        self.changed.notify_one();
    }
}

/// Watches every read and write of the streams that it guards.
#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Watched>);

impl Watchdog {
    /// Has `bark` called, once, when a read or write takes longer than `patience`.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub(crate) fn start(patience: Duration, bark: impl FnOnce(Stalled) + Send + 'static) -> io::Result<Self> {
        let watched = Arc::new(Watched::default());
        let watching = Arc::clone(&watched);
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || bark(watching.watch(patience)))?;
        Ok(Self(watched))
    }

    /// The stream, watched.
    pub(crate) fn guard<T>(&self, stream: T) -> Guarded<T> {
        Guarded { stream, watched: Arc::clone(&self.0) }
    }
}

/// A stream whose every operation is watched.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    stream: T,
    watched: Arc<Watched>,
}

impl<T> Guarded<T> {
    fn during<R>(&mut self, stalled: Stalled, operation: impl FnOnce(&mut T) -> R) -> R {
        self.watched.set(Some(stalled));
        let result = operation(&mut self.stream);
        self.watched.set(None);
        result
    }
}

impl<T: Read> Read for Guarded<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.during(Stalled::Silent, |stream| stream.read(bytes))
    }
}

impl<T: Write> Write for Guarded<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.during(Stalled::Deaf, |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.during(Stalled::Deaf, T::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A watchdog, and what it said.
    fn watchdog(patience: Duration) -> (Watchdog, mpsc::Receiver<Stalled>) {
        let (said, barks) = mpsc::sync_channel(1);
        let dog = Watchdog::start(patience, move |stalled| {
            let _ = said.send(stalled);
        });
        (dog.unwrap(), barks)
    }

    #[test]
    fn a_read_that_never_ends_and_a_write_that_blocks_are_told() {
        let (dog, barks) = watchdog(Duration::from_millis(20));
        let (reader, _writer) = io::pipe().unwrap();
        let mut silent = dog.guard(reader);
        std::thread::spawn(move || silent.read(&mut [0; 8]));
        assert_eq!(barks.recv(), Ok(Stalled::Silent));

        let (dog, barks) = watchdog(Duration::from_millis(20));
        let (_reader, writer) = io::pipe().unwrap();
        let mut deaf = dog.guard(writer);
        std::thread::spawn(move || deaf.write_all(&vec![0; 1 << 22]));
        assert_eq!(barks.recv(), Ok(Stalled::Deaf));
    }

    #[test]
    fn progress_and_work_between_messages_are_never_told() {
        let (dog, barks) = watchdog(Duration::from_secs(3600));
        let mut all = dog.guard(&[7_u8; 64][..]);
        let mut piece = [0; 1];
        for _ in 0..64 {
            all.read_exact(&mut piece).unwrap();
        }
        let mut sink = dog.guard(Vec::new());
        sink.write_all(&piece).unwrap();
        sink.flush().unwrap();
        drop((all, sink));
        assert_eq!(dog.0.lock().current, None, "nothing is waited for");
        assert_eq!(barks.try_recv(), Err(mpsc::TryRecvError::Empty));
    }
}
