//! Whether the miner can know every nonce that was used (RULES R8).
//!
//! Requests are written before they are answered, but not flushed: that outlives the process and not a power cut, and a flush for every
//! group of requests is what they would wait for longest. A service that may have lost what it was asked refuses what was signed before, as
//! Kerberos has it (RFC 4120, section 3.2.3): the file names the run of the kernel that wrote to it, and under another one, requests that
//! were signed until [`AHEAD`] after it was opened are refused, once and for all. Who is refused signs anew and has lost some seconds.
//! When it was opened is kept as how long the kernel had run then: requests are dated by a clock that is often wrong until the network
//! has set it, and this follows whatever is set, forth and back.
//! What that does not cover is flushed before it is answered: requests that are signed further ahead of this machine's clock, and what
//! concerns keys (`book`). See `docs/decisions/0002-requests-are-not-flushed.md`.

use std::fmt;
use std::sync::Arc;

use basilica_ports::{Inadmissible, NonceUse, StoreError};
use basilica_types::{Millis, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use sqlx::sqlite::SqliteConnection;

use super::OPERATION;
use crate::database::{corrupt, unavailable};

/// How far ahead of this machine's clock a request may be signed without a flush. Most clocks are set to some milliseconds.
pub(super) const AHEAD: Millis = Millis::from_secs(5);
/// How far ahead of any clock a request may be signed (RULES R8): a copy does not know which ones of these were flushed elsewhere.
pub(in crate::miner) const FRESH: Millis = Millis::from_secs(300);
/// In place of a run of the kernel, in a file that was put in its place as a copy.
const RESTORED: &str = "restored";

/// One run of the kernel, which ends with all that was written and not flushed.
#[derive(Clone)]
pub(crate) struct Boot {
    /// None where the kernel does not tell.
    name: Option<String>,
    /// How long it has run, sleep included.
    up: Arc<dyn Fn() -> Millis + Send + Sync>,
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Boot({:?})", self.name)
    }
}

impl Boot {
    /// The one under way.
    pub(crate) fn current() -> Self {
        let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self { name: told.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()), up: Arc::new(boottime) }
    }

    #[cfg(test)]
    pub(crate) fn told(name: Option<&str>, up: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self { name: name.map(str::to_owned), up: Arc::new(up) }
    }

    pub(super) fn up(&self) -> Millis {
        (self.up)()
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn wrote(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }
}

fn boottime() -> Millis {
    let up = clock_gettime(ClockId::Boottime);
    let secs = u64::try_from(up.tv_sec).unwrap_or_default();
    Millis(secs * 1000 + u64::try_from(up.tv_nsec).unwrap_or_default() / 1_000_000)
}

/// Since when all nonces are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continuity {
    /// How long the kernel had run when the file was opened.
    opened_up: Millis,
    /// Requests that were signed until so long after that may have been forgotten.
    refuse_for: Option<Millis>,
}

impl Continuity {
    /// Reads it from the file, and notes there that this run of the kernel writes to it. To be called in a transaction, which is to be
    /// flushed: a file without a note has lost nothing, and after a power cut that would be wrong.
    pub(super) async fn resume(
        connection: &mut SqliteConnection,
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let failed = unavailable(OPERATION);
        let text = "SELECT boot, opened_up, refuse_for, known_after FROM continuity";
        let kept: Option<Note> =
            sqlx::query_as(text).fetch_optional(&mut *connection).await.map_err(&failed)?;
        let up = boot.up();
        let refuse_for = match kept {
            None => None,
            Some(note) if boot.wrote(&note.boot) && note.opened_up <= signed(up) => {
                let read = |column| move |_| corrupt(column)("negative");
                let opened_up = Millis(note.opened_up.try_into().map_err(read("continuity.opened_up"))?);
                let refuse_for = note.refuse_for.map(u64::try_from).transpose();
                let refuse_for = refuse_for.map_err(read("continuity.refuse_for"))?.map(Millis);
                return Ok(Self { opened_up, refuse_for });
            }
            Some(note) if note.boot == RESTORED => Some(FRESH),
            // What was refused under the run before is refused on.
            Some(note) => Some(Timestamp(note.known_after).since(now).clamp(AHEAD, FRESH)),
        };
        let known_after = refuse_for.map_or(Timestamp(i64::MIN), |refuse_for| now + refuse_for);
        let note = Note {
            boot: boot.name().to_owned(),
            opened_up: signed(up),
            refuse_for: refuse_for.map(signed),
            known_after: known_after.0,
        };
        note.write(connection).await.map_err(&failed)?;
        Ok(Self { opened_up: up, refuse_for })
    }

    /// Whether a request, had it been answered before, would be known. The kernel had run for `up` when it came.
    pub(super) fn check(self, used: &NonceUse, up: Millis) -> Result<(), Inadmissible> {
        let Some(refuse_for) = self.refuse_for else { return Ok(()) };
        let open_for = Millis(up.0.saturating_sub(self.opened_up.0));
        let known_after = used.now - open_for + refuse_for;
        if used.signed_at > known_after {
            Ok(())
        } else {
            Err(Inadmissible::Forgotten { sign_after: known_after })
        }
    }
}

fn signed(span: Millis) -> i64 {
    i64::try_from(span.0).unwrap_or(i64::MAX)
}

/// What the file says of it.
#[derive(sqlx::FromRow)]
struct Note {
    boot: String,
    opened_up: i64,
    refuse_for: Option<i64>,
    known_after: i64,
}

impl Note {
    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let text = "INSERT OR REPLACE INTO continuity (only, boot, opened_up, refuse_for, known_after) VALUES (1, ?, ?, ?, ?)";
        let writing = sqlx::query(text).bind(&self.boot).bind(self.opened_up).bind(self.refuse_for);
        writing.bind(self.known_after).execute(connection).await.map(drop)
    }
}

/// Makes whoever opens the file next refuse all that may have been asked so far: what was written to it last is not all that there was.
pub(crate) async fn interrupt(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let note = Note { boot: RESTORED.to_owned(), opened_up: 0, refuse_for: None, known_after: i64::MIN };
    note.write(connection).await
}
