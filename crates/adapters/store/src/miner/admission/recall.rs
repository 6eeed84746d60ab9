//! By what rows of requests are found: nonces that were used, and where a token's session stands.
//!
//! **Why in memory.** Nonces and tokens are random. An index of them costs each row a page of its own, once in the write-ahead log and once
//! in the file, and commits waited for the copying of these pages longer than for anything else. The tables have rows in the order in which
//! they came, a page for dozens, and what they are found by is read from them when the process starts. **Why it is never behind**:
//! only groups of requests add nonces and sessions, a group has this for itself while it is written, and one that was not written takes
//! this along, so that the next one reads it anew; as it does when SQLite says that another process has changed the file. **Bounded** by the share of
//! nonces that a hotkey has, and by the sessions that the table remembers. **Rejected**: finding a nonce by its request's time, as
//! then the same nonce would count once for each time that its owner signs it with.

use std::collections::HashMap;

use basilica_ports::{Inadmissible, NonceUse, StoreError};
use basilica_types::{Digest, Hotkey, RequestNonce, Timestamp};
use sqlx::sqlite::SqliteConnection;
use tokio_stream::StreamExt as _;

use super::OPERATION;
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
    /// Until when each nonce counts. Some may be over.
    nonces: HashMap<Hotkey, HashMap<RequestNonce, Timestamp>>,
    sessions: HashMap<Digest, Place>,
    next_session: i64,
}

impl Recall {
    /// Whether this is the file as it is at such a moment.
    pub(super) fn is_of(&self, version: i64) -> bool {
        self.version == Some(version)
    }

    pub(super) async fn load(connection: &mut SqliteConnection, version: i64) -> Result<Self, StoreError> {
        let mut recall = Self { version: Some(version), next_session: 1, ..Self::default() };
        recall.load_nonces(connection).await?;
        recall.load_sessions(connection).await?;
        Ok(recall)
    }

    async fn load_nonces(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let mut rows =
            sqlx::query_as::<_, (String, String, i64)>("SELECT hotkey, nonce, forget_at FROM nonces")
                .fetch(connection);
        while let Some(row) = rows.next().await {
            let (hotkey, nonce, forget_at) = row.map_err(unavailable(OPERATION))?;
            let hotkey: Hotkey = hotkey.parse().map_err(corrupt("nonces.hotkey"))?;
            let nonce = nonce.parse().map_err(corrupt("nonces.nonce"))?;
            // A nonce whose time was over may have been used again.
            let until = self.nonces.entry(hotkey).or_default().entry(nonce).or_insert(Timestamp(forget_at));
            *until = (*until).max(Timestamp(forget_at));
        }
        Ok(())
    }

    async fn load_sessions(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let mut rows =
            sqlx::query_as::<_, (Vec<u8>, i64, i64)>("SELECT token_hash, seq, expires_at FROM sessions")
                .fetch(connection);
        while let Some(row) = rows.next().await {
            let (token_hash, seq, expires_at) = row.map_err(unavailable(OPERATION))?;
            let token_hash = token_hash.try_into().map(Digest::from_bytes);
            let token_hash = token_hash.map_err(|_| corrupt("sessions.token_hash")("not 32 bytes"))?;
            self.sessions.insert(token_hash, Place { seq, expires_at: Timestamp(expires_at) });
            self.next_session = self.next_session.max(seq + 1);
        }
        Ok(())
    }

    /// Whether a request with this nonce may be admitted. Those of its hotkey's that are over make place when its share is full.
    pub(super) fn check(&mut self, used: &NonceUse) -> Result<(), Inadmissible> {
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

    /// The nonce is used.
    pub(super) fn note(&mut self, used: &NonceUse) {
        self.nonces.entry(used.validator).or_default().insert(used.nonce.clone(), used.forget_at);
    }

    /// The row of the session that has this token, if it was ever opened and may still be remembered.
    pub(super) fn session(&self, token_hash: &Digest) -> Option<i64> {
        self.sessions.get(token_hash).map(|place| place.seq)
    }

    /// The row of a session that is opened.
    pub(super) fn open(&mut self, token_hash: Digest, expires_at: Timestamp) -> i64 {
        let seq = self.next_session;
        self.next_session += 1;
        self.sessions.insert(token_hash, Place { seq, expires_at });
        seq
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
