//! What the tables say of a hotkey and of a session, as requests are decided by it.

use basilica_ports::{Inadmissible, SessionRate, SessionRecord, StoreError};
use basilica_types::{Digest, Hotkey, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};

use super::OPERATION;
use crate::database::{corrupt, unavailable};

/// What is remembered of a hotkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) seen_v2: bool,
    pub(super) last_epoch: i64,
    pub(super) last_ts_secs: i64,
    /// When it opened sessions or changed their keys, oldest first, as far as a limit asks for that.
    pub(super) opened: Vec<i64>,
}

impl Standing {
    /// A hotkey that is seen for the first time, as the table's defaults have it.
    pub(super) const NEW: Self = Self { seen_v2: false, last_epoch: -1, last_ts_secs: 0, opened: Vec::new() };

    /// Notes a session that is opened now, if the hotkey may. What lies in the future was noted by a clock that was wrong.
    pub(super) fn open(&mut self, now: Timestamp, rate: SessionRate) -> Result<(), Inadmissible> {
        let oldest = (now - rate.within).0;
        self.opened.retain(|at| *at > oldest && *at <= now.0);
        let most = usize::try_from(rate.most).unwrap_or(usize::MAX);
        if let Some(excess) = self.opened.len().checked_sub(most) {
            let leaves = self.opened.get(excess).map_or(now, |at| Timestamp(*at));
            return Err(Inadmissible::TooManySessions { again_at: leaves + rate.within });
        }
        self.opened.push(now.0);
        Ok(())
    }

    /// With its hotkey.
    pub(super) fn read(row: &SqliteRow) -> Result<(Hotkey, Self), StoreError> {
        let (hotkey, seen_v2, last_epoch, last_ts_secs, opened) = read_row::<(String, _, _, _, String)>(row)?;
        let hotkey = hotkey.parse().map_err(corrupt("validators.hotkey"))?;
        let opened = serde_json::from_str(&opened).map_err(corrupt("validators.sessions_opened"))?;
        Ok((hotkey, Self { seen_v2, last_epoch, last_ts_secs, opened }))
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) seq: i64,
    pub(super) token_hash: Digest,
    pub(super) record: SessionRecord,
    /// Before its time.
    pub(super) ended_at: Option<Timestamp>,
}

impl Session {
    pub(super) fn is_open(&self, validator: &Hotkey, now: Timestamp) -> bool {
        self.record.validator == *validator && self.ended_at.is_none() && self.record.expires_at > now
    }

    /// With the hash of its token; the session itself only if all of it is what we write.
    pub(super) fn read(row: &SqliteRow) -> Result<(Digest, Result<Self, StoreError>), StoreError> {
        let row: Columns = read_row(row)?;
        let token_hash = row.token_hash.as_slice().try_into().map(Digest::from_bytes);
        let token_hash = token_hash.map_err(|_| corrupt("sessions.token_hash")("not 32 bytes"))?;
        Ok((token_hash, row.session(token_hash)))
    }
}

#[derive(sqlx::FromRow)]
struct Columns {
    seq: i64,
    id: String,
    validator: String,
    token_hash: Vec<u8>,
    opened_at: i64,
    expires_at: i64,
    public_key: Option<String>,
    ended_at: Option<i64>,
}

impl Columns {
    fn session(self, token_hash: Digest) -> Result<Session, StoreError> {
        let key = self.public_key.map(|line| line.parse()).transpose();
        let record = SessionRecord {
            id: self.id.parse().map_err(corrupt("sessions.id"))?,
            validator: self.validator.parse().map_err(corrupt("sessions.validator"))?,
            opened_at: Timestamp(self.opened_at),
            expires_at: Timestamp(self.expires_at),
            public_key: key.map_err(corrupt("sessions.public_key"))?,
        };
        Ok(Session { seq: self.seq, token_hash, record, ended_at: self.ended_at.map(Timestamp) })
    }
}

/// Which table a row is of.
pub(super) fn kind(row: &SqliteRow) -> Result<&str, StoreError> {
    row.try_get("kind").map_err(unavailable(OPERATION))
}

pub(super) fn read_row<'r, T: FromRow<'r, SqliteRow>>(row: &'r SqliteRow) -> Result<T, StoreError> {
    T::from_row(row).map_err(unavailable(OPERATION))
}
