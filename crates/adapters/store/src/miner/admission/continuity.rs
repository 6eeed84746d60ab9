//! Whether the miner can know every nonce that was used (RULES R8).
//!
//! Requests are written before they are answered, but not flushed: that outlives the process and not a power cut, and a flush for every
//! group of requests is what they would wait for longest. A service that may have lost what it was asked refuses what was signed before, as
//! Kerberos has it (RFC 4120, section 3.2.3): the file names the run of the kernel that wrote to it, and under another one, requests that
//! were signed until [`AHEAD`] after it was opened are refused, once and for all. Who is refused signs anew and has lost some seconds.
//! What that does not cover is flushed before it is answered: requests that are signed further ahead of this machine's clock, and what
//! concerns keys (`book`). See `docs/decisions/0002-requests-are-not-flushed.md`.

use basilica_ports::{Inadmissible, NonceUse, StoreError};
use basilica_types::{Millis, Timestamp};
use sqlx::sqlite::SqliteConnection;

use super::OPERATION;
use crate::database::unavailable;

/// How far ahead of this machine's clock a request may be signed without a flush. Most clocks are set to some milliseconds.
pub(super) const AHEAD: Millis = Millis::from_secs(5);
/// How far ahead of any clock a request may be signed (RULES R8): a copy does not know which ones of these were flushed elsewhere.
const FRESH: Millis = Millis::from_secs(300);
/// In place of a run of the kernel, in a file that was put in its place as a copy.
const RESTORED: &str = "restored";

/// One run of the kernel, which ends with all that was written and not flushed. None where the kernel does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boot(Option<String>);

impl Boot {
    /// The one under way.
    pub(crate) fn current() -> Self {
        let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self(told.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()))
    }

    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self(Some(name.to_owned()))
    }

    #[cfg(test)]
    pub(crate) const fn unknown() -> Self {
        Self(None)
    }

    fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    fn wrote(&self, name: &str) -> bool {
        self.0.as_deref() == Some(name)
    }
}

/// Since when all nonces are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continuity {
    known_after: Timestamp,
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
        let kept: Option<(String, i64)> = sqlx::query_as("SELECT boot, known_after FROM continuity")
            .fetch_optional(&mut *connection)
            .await
            .map_err(&failed)?;
        let known_after = match kept {
            None => Timestamp(i64::MIN),
            Some((name, known_after)) if boot.wrote(&name) => {
                return Ok(Self { known_after: Timestamp(known_after) });
            }
            Some((name, _)) if name == RESTORED => now + FRESH,
            Some(_) => now + AHEAD,
        };
        note(connection, boot.name(), known_after).await.map_err(&failed)?;
        Ok(Self { known_after })
    }

    /// Whether a request, had it been answered before, would be known.
    pub(super) fn check(&mut self, used: &NonceUse) -> Result<(), Inadmissible> {
        // A clock that ran ahead at the start and was set back since would shut everybody out until it is there again.
        self.known_after = self.known_after.min(used.now + FRESH);
        if used.signed_at > self.known_after {
            Ok(())
        } else {
            Err(Inadmissible::Forgotten { sign_after: self.known_after })
        }
    }
}

/// Makes whoever opens the file next refuse all that may have been asked so far: what was written to it last is not all that there was.
pub(crate) async fn interrupt(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    note(connection, RESTORED, Timestamp(i64::MIN)).await
}

async fn note(
    connection: &mut SqliteConnection,
    boot: &str,
    known_after: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR REPLACE INTO continuity (only, boot, known_after) VALUES (1, ?, ?)")
        .bind(boot)
        .bind(known_after.0)
        .execute(connection)
        .await
        .map(drop)
}
