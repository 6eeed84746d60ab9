//! By what rows of requests are found: nonces that were used, and where a token's session stands; and what they said last.
//!
//! **Why in memory.** Nonces and tokens are random. An index of them costs each row a page of its own, once in the write-ahead log and once
//! in the file, and commits waited for the copying of these pages longer than for anything else. The tables have rows in the order in which
//! they came, a page for dozens, and what they are found by is read from them when the first group is written. **Why it is never behind**:
//! only groups of requests add nonces and sessions, a group has this for itself while it is written, and one that was not written takes
//! this along, so that the next one reads it anew. Where SQLite says that another connection has changed the file, what was added is read,
//! and what was known of rows is forgotten. **Bounded** by the share of nonces that a hotkey has, and by the sessions that were opened and have
//! not expired. **Rejected**: finding a nonce by its request's
//! time, as then the same nonce would count once for each time that its owner signs it with.

use std::collections::HashMap;

use basilica_ports::{Inadmissible, NonceUse, SessionRecord, StoreError};
use basilica_types::{Digest, Hotkey, Millis, RequestNonce, Timestamp};
use sqlx::sqlite::SqliteConnection;
use tokio_stream::StreamExt as _;

use super::OPERATION;
use super::continuity::{Boot, Continuity};
use super::rows::{Session, Standing};
use crate::database::{corrupt, unavailable};

/// Of sessions, and of hotkeys: some megabytes. With more they are read again, which costs each of the next groups one more statement.
const MOST_ROWS: usize = 10_000;

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
    /// What the tables say of some hotkeys and sessions, those that requests were about lately.
    pub(super) standings: HashMap<Hotkey, Standing>,
    pub(super) rows: HashMap<Digest, Session>,
    last: Mark,
}

/// The number of the newest row in each table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    nonce: i64,
    session: i64,
}

impl Recall {
    /// SQLite's number of the file as it is known.
    pub(super) const fn version(&self) -> Option<i64> {
        self.version
    }

    pub(super) const fn mark(&self) -> Mark {
        self.last
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
        self.forget_rows();
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
        let version = sqlx::query_scalar("PRAGMA data_version");
        let version = version.fetch_one(&mut *connection).await.map_err(&failed)?;
        self.catch_up(connection, version, (boot, now)).await?;
        sqlx::raw_sql("COMMIT").execute(connection).await.map_err(failed)?;
        Ok(self)
    }

    async fn read_nonces(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let text = "SELECT seq, hotkey, nonce, forget_at FROM nonces WHERE seq > ?";
        let reading = sqlx::query_as::<_, (i64, String, String, i64)>(text).bind(self.last.nonce);
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
            self.last.nonce = self.last.nonce.max(seq);
        }
        Ok(())
    }

    async fn read_sessions(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let text = "SELECT seq, token_hash, expires_at FROM sessions WHERE seq > ?";
        let reading = sqlx::query_as::<_, (i64, Vec<u8>, i64)>(text).bind(self.last.session);
        let mut rows = reading.fetch(connection);
        while let Some(row) = rows.next().await {
            let (seq, token_hash, expires_at) = row.map_err(unavailable(OPERATION))?;
            let token_hash = token_hash.try_into().map(Digest::from_bytes);
            let token_hash = token_hash.map_err(|_| corrupt("sessions.token_hash")("not 32 bytes"))?;
            self.sessions.insert(token_hash, Place { seq, expires_at: Timestamp(expires_at) });
            self.last.session = self.last.session.max(seq);
        }
        Ok(())
    }

    /// Whether a request with this nonce may be admitted; the kernel had run for `up` when it was `now`. Those of its hotkey's that are over make place when its share is full.
    pub(super) fn check(&mut self, used: &NonceUse, up: Millis) -> Result<(), Inadmissible> {
        if let Some(continuity) = &self.continuity {
            continuity.check(used, up)?;
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
        self.last.nonce += 1;
        self.last.nonce
    }

    /// The row of the session that has this token, if it was ever opened and may still be remembered.
    pub(super) fn session(&self, token_hash: &Digest) -> Option<i64> {
        self.sessions.get(token_hash).map(|place| place.seq)
    }

    /// A session is opened.
    pub(super) fn open(&mut self, token_hash: Digest, record: SessionRecord) {
        self.last.session += 1;
        let seq = self.last.session;
        self.sessions.insert(token_hash, Place { seq, expires_at: record.expires_at });
        self.rows.insert(token_hash, Session { seq, token_hash, record, ended_at: None });
    }

    /// Nothing came of these, which were noted since this was as `before`.
    pub(super) fn take_back<'u>(
        &mut self,
        before: Mark,
        used: impl Iterator<Item = &'u NonceUse>,
        opened: impl Iterator<Item = Digest>,
    ) {
        for used in used {
            if let Some(nonces) = self.nonces.get_mut(&used.validator) {
                nonces.remove(&used.nonce);
            }
        }
        for token_hash in opened {
            self.sessions.remove(&token_hash);
        }
        self.last = before;
        self.forget_rows();
    }

    /// Keeps what it knows of rows within [`MOST_ROWS`].
    pub(super) fn bound(&mut self) {
        if self.rows.len() > MOST_ROWS || self.standings.len() > MOST_ROWS {
            self.forget_rows();
        }
    }

    fn forget_rows(&mut self) {
        self.rows.clear();
        self.standings.clear();
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
