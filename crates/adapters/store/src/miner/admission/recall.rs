//! By what rows of requests are found: nonces that were used, and where a token's session stands.
//!
//! **Why in memory.** Nonces and tokens are random. An index of them costs each row a page of its own, once in the write-ahead log and once
//! in the file, and commits waited for the copying of these pages longer than for anything else. The tables have rows in the order in which
//! they came, a page for dozens, and what they are found by is read from them when the first group is written. **Why it is never behind**:
//! only groups of requests add nonces and sessions, a group has this for itself while it is written, and one that was not written takes
//! this along, so that the next one reads it anew. Where SQLite says that another connection has changed the file, what was added is read. **Bounded** by the share
//! of nonces that a hotkey has, and by the sessions that were opened and have not expired. **Rejected**: finding a nonce by its request's
//! time, as then the same nonce would count once for each time that its owner signs it with.

use std::collections::HashMap;

use basilica_ports::{Inadmissible, NonceUse, StoreError};
use basilica_types::{Digest, Hotkey, RequestNonce, Timestamp};
use sqlx::sqlite::SqliteConnection;
use tokio_stream::StreamExt as _;

use super::OPERATION;
use super::continuity::{Boot, Continuity};
use crate::database::{corrupt, unavailable};

/// Where a session stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    seq: i64,
    expires_at: Timestamp,
}

/// What is known of the file as it was at one moment, and of all groups since.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// SQLite's number of that moment, which another connection's commit changes; none where nothing was read yet.
    version: Option<i64>,
    /// None where nothing was read yet.
    continuity: Option<Continuity>,
    /// Until when each nonce counts. Some may be over.
    nonces: HashMap<Hotkey, HashMap<RequestNonce, Timestamp>>,
    sessions: HashMap<Digest, Place>,
    /// The number of the newest row in each table.
    last_nonce: i64,
    last_session: i64,
}

impl Recall {
    /// Whether this is the file as it is at such a moment.
    pub(super) fn is_of(&self, version: i64) -> bool {
        self.version == Some(version)
    }

    /// Whether the file names this run of the kernel already.
    pub(super) const fn is_noted(&self) -> bool {
        self.continuity.is_some()
    }

    /// Reads what has come since. Rows are only ever added at the end of the tables, and no number comes twice.
    pub(super) async fn catch_up(
        &mut self,
        connection: &mut SqliteConnection,
        version: i64,
        (boot, now): (&Boot, Timestamp),
    ) -> Result<(), StoreError> {
        if self.continuity.is_none() {
            self.continuity = Some(Continuity::resume(connection, boot, now).await?);
        }
        self.read_nonces(connection).await?;
        self.read_sessions(connection).await?;
        self.version = Some(version);
        Ok(())
    }

    /// The same in a transaction of its own.
    pub(super) async fn at_once(
        mut self,
        connection: &mut SqliteConnection,
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let failed = unavailable(OPERATION);
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(&failed)?;
        let version = sqlx::query_scalar("SELECT data_version FROM pragma_data_version");
        let version = version.fetch_one(&mut *connection).await.map_err(&failed)?;
        self.catch_up(connection, version, (boot, now)).await?;
        sqlx::raw_sql("COMMIT").execute(connection).await.map_err(failed)?;
        Ok(self)
    }

    async fn read_nonces(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let text = "SELECT seq, hotkey, nonce, forget_at FROM nonces WHERE seq > ?";
        let reading = sqlx::query_as::<_, (i64, String, String, i64)>(text).bind(self.last_nonce);
        let mut rows = reading.fetch(connection);
        // Base58 of a few hotkeys, each in thousands of rows.
        let mut hotkeys: HashMap<String, Hotkey> = HashMap::new();
        while let Some(row) = rows.next().await {
            let (seq, name, nonce, forget_at) = row.map_err(unavailable(OPERATION))?;
            let hotkey = match hotkeys.get(&name) {
                Some(hotkey) => *hotkey,
                None => name.parse().map_err(corrupt("nonces.hotkey"))?,
            };
            hotkeys.entry(name).or_insert(hotkey);
            let nonce = nonce.parse().map_err(corrupt("nonces.nonce"))?;
            // A nonce whose time was over may have been used again.
            let until = self.nonces.entry(hotkey).or_default().entry(nonce).or_insert(Timestamp(forget_at));
            *until = (*until).max(Timestamp(forget_at));
            self.last_nonce = self.last_nonce.max(seq);
        }
        Ok(())
    }

    async fn read_sessions(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let text = "SELECT seq, token_hash, expires_at FROM sessions WHERE seq > ?";
        let reading = sqlx::query_as::<_, (i64, Vec<u8>, i64)>(text).bind(self.last_session);
        let mut rows = reading.fetch(connection);
        while let Some(row) = rows.next().await {
            let (seq, token_hash, expires_at) = row.map_err(unavailable(OPERATION))?;
            let token_hash = token_hash.try_into().map(Digest::from_bytes);
            let token_hash = token_hash.map_err(|_| corrupt("sessions.token_hash")("not 32 bytes"))?;
            self.sessions.insert(token_hash, Place { seq, expires_at: Timestamp(expires_at) });
            self.last_session = self.last_session.max(seq);
        }
        Ok(())
    }

    /// Whether a request with this nonce may be admitted. Those of its hotkey's that are over make place when its share is full.
    pub(super) fn check(&mut self, used: &NonceUse) -> Result<(), Inadmissible> {
        if let Some(continuity) = &mut self.continuity {
            continuity.check(used)?;
        }
        let Some(nonces) = self.nonces.get_mut(&used.validator) else {
            return if used.limit == 0 { Err(Inadmissible::Full) } else { Ok(()) };
        };
        if nonces.get(&used.nonce).is_some_and(|forget_at| *forget_at > used.now) {
            return Err(Inadmissible::Replayed);
        }
        let most = usize::try_from(used.limit).unwrap_or(usize::MAX);
        if nonces.len() >= most {
            nonces.retain(|_, forget_at| *forget_at > used.now);
        }
        if nonces.len() >= most { Err(Inadmissible::Full) } else { Ok(()) }
    }

    /// The nonce is used; returns the number of its row.
    pub(super) fn note(&mut self, used: &NonceUse) -> i64 {
        self.nonces.entry(used.validator).or_default().insert(used.nonce.clone(), used.forget_at);
        self.last_nonce += 1;
        self.last_nonce
    }

    /// The row of the session that has this token, if it was ever opened and may still be remembered.
    pub(super) fn session(&self, token_hash: &Digest) -> Option<i64> {
        self.sessions.get(token_hash).map(|place| place.seq)
    }

    /// The row of a session that is opened.
    pub(super) fn open(&mut self, token_hash: Digest, expires_at: Timestamp) -> i64 {
        self.last_session += 1;
        self.sessions.insert(token_hash, Place { seq: self.last_session, expires_at });
        self.last_session
    }

    /// Forgets what can no longer matter.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.nonces.retain(|_, nonces| {
            nonces.retain(|_, forget_at| *forget_at > now);
            !nonces.is_empty()
        });
        self.sessions.retain(|_, place| place.expires_at > now);
    }
}
