//! What a group of requests is decided by, in memory: read in a few statements, decided one request after the other,
//! written in a few statements. What its rows are found by is known from the groups before (`recall`).
//!
//! A request that is refused leaves the book as it was, and one that is admitted is seen by those after it, just as if each had
//! had the database for itself. Statements carry their rows as one JSON text, so that a group of any size is the same few prepared
//! statements: with one for each step of each request, handing them to SQLite's thread and back cost more than everything else
//! together. For the same reason the transaction begins and ends in these texts. (The validator's `batch` numbers its placeholders instead, which both of its engines read.)

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use basilica_ports::{
    DiscoveryProof, DiscoveryUse, Inadmissible, NewSession, NonceUse, SessionEnd, SessionRate, SessionRecord,
    StoreError,
};
use basilica_types::{Hotkey, Timestamp};
use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row as _};

use super::continuity::{AHEAD, Boot};
use super::recall::Recall;
use super::{OPERATION, Outcome, Wish};
use crate::database::{corrupt, unavailable};

/// What is remembered of a hotkey.
#[derive(Clone, Debug)]
struct Standing {
    seen_v2: bool,
    last_epoch: i64,
    last_ts_secs: i64,
    /// When it opened sessions or changed their keys, oldest first, as far as a limit asks for that.
    opened: Vec<i64>,
}

impl Standing {
    /// A hotkey that is seen for the first time, as the table's defaults have it.
    const NEW: Self = Self { seen_v2: false, last_epoch: -1, last_ts_secs: 0, opened: Vec::new() };

    /// Notes a session that is opened now, if the hotkey may. What lies in the future was noted by a clock that was wrong.
    fn open(&mut self, now: Timestamp, rate: SessionRate) -> Result<(), Inadmissible> {
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
}

/// A session as the table has it.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Row {
    seq: i64,
    id: String,
    validator: String,
    token_hash: Vec<u8>,
    opened_at: i64,
    expires_at: i64,
    public_key: Option<String>,
    ended_at: Option<i64>,
    ended_why: Option<String>,
}

impl Row {
    fn is_open(&self, validator: &str, now: Timestamp) -> bool {
        self.validator == validator && self.ended_at.is_none() && self.expires_at > now.0
    }

    fn record(&self) -> Result<SessionRecord, StoreError> {
        let key = self.public_key.as_ref().map(|line| line.parse()).transpose();
        Ok(SessionRecord {
            id: self.id.parse().map_err(corrupt("sessions.id"))?,
            validator: self.validator.parse().map_err(corrupt("sessions.validator"))?,
            opened_at: Timestamp(self.opened_at),
            expires_at: Timestamp(self.expires_at),
            public_key: key.map_err(corrupt("sessions.public_key"))?,
        })
    }
}

/// A session, and what of it is not written yet.
#[derive(Debug)]
struct Session {
    row: Row,
    change: Option<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Opened,
    Updated,
}

impl Session {
    fn update(&mut self, change: impl FnOnce(&mut Row)) {
        change(&mut self.row);
        self.change.get_or_insert(Change::Updated);
    }
}

/// The part of the tables that a group touches.
#[derive(Debug, Default)]
pub(super) struct Book {
    recall: Recall,
    /// How the tables write the hotkeys: base58 of each is written once for a group, and not for each step of each request.
    names: HashMap<Hotkey, String>,
    validators: HashMap<Hotkey, Standing>,
    touched: HashSet<Hotkey>,
    /// With their rows' numbers.
    used: Vec<(i64, NonceUse)>,
    sessions: HashMap<Vec<u8>, Session>,
    is_to_last: bool,
}

impl Book {
    /// Begins a transaction and reads what these wishes are about, beside what is known from the last group.
    pub(super) async fn begin(
        connection: &mut SqliteConnection,
        wishes: &[Wish],
        recall: Recall,
        (boot, now): (&Boot, Timestamp),
    ) -> Result<Self, StoreError> {
        let mut book = Self { recall, ..Self::default() };
        for wish in wishes {
            let hotkey = wish.nonce().validator;
            book.names.entry(hotkey).or_insert_with(|| hotkey.to_string());
        }
        let mut rows = book.read(connection, wishes, BEGIN_AND_READ).await?;
        let version = rows.first().ok_or_else(|| corrupt("data_version")("no number"))?;
        let (version,) = read_row(version)?;
        if !book.recall.is_of(version) {
            book.is_to_last |= !book.recall.is_noted();
            book.recall.catch_up(connection, version, (boot, now)).await?;
            rows = book.read(connection, wishes, READ).await?;
        }
        for row in rows {
            book.take_in(&row)?;
        }
        book.read_other_sessions(connection, wishes).await?;
        Ok(book)
    }

    async fn read(
        &self,
        connection: &mut SqliteConnection,
        wishes: &[Wish],
        text: &'static str,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let hotkeys: Vec<&str> = self.names.values().map(String::as_str).collect();
        let tokens = discoveries(wishes).filter_map(|(_, discovery)| discovery.proof.token_hash());
        let sessions: Vec<i64> = tokens.filter_map(|hash| self.recall.session(hash)).collect();
        let reading = sqlx::query(text).bind(json(&hotkeys)).bind(json(&sessions));
        reading.fetch_all(connection).await.map_err(unavailable(OPERATION))
    }

    /// As the tables write it.
    fn name(&self, hotkey: &Hotkey) -> Cow<'_, str> {
        self.names.get(hotkey).map_or_else(|| hotkey.to_string().into(), Cow::from)
    }

    /// A row of [`READ`].
    fn take_in(&mut self, row: &SqliteRow) -> Result<(), StoreError> {
        match row.try_get("kind").map_err(unavailable(OPERATION))? {
            VALIDATOR => {
                let (hotkey, seen_v2, last_epoch, last_ts_secs, opened) =
                    read_row::<(String, _, _, _, String)>(row)?;
                let hotkey = hotkey.parse().map_err(corrupt("validators.hotkey"))?;
                let opened = serde_json::from_str(&opened).map_err(corrupt("validators.sessions_opened"))?;
                self.validators.insert(hotkey, Standing { seen_v2, last_epoch, last_ts_secs, opened });
            }
            SESSION => self.remember(read_row(row)?),
            VERSION => {}
            other => return Err(corrupt("kind of a row")(other)),
        }
        Ok(())
    }

    /// All open sessions of those hotkeys of which one has to be chosen or ended.
    async fn read_other_sessions(
        &mut self,
        connection: &mut SqliteConnection,
        wishes: &[Wish],
    ) -> Result<(), StoreError> {
        let hotkeys = discoveries(wishes).filter(|(_, discovery)| self.concerns_others(discovery));
        let hotkeys: HashSet<Cow<'_, str>> = hotkeys.map(|(nonce, _)| self.name(&nonce.validator)).collect();
        if hotkeys.is_empty() {
            return Ok(());
        }
        let earliest = wishes.iter().map(|wish| wish.nonce().now.0).min();
        let reading = sqlx::query_as(OPEN_SESSIONS_OF).bind(json(&hotkeys)).bind(earliest);
        let rows: Vec<Row> = reading.fetch_all(connection).await.map_err(unavailable(OPERATION))?;
        rows.into_iter().for_each(|row| self.remember(row));
        Ok(())
    }

    fn remember(&mut self, row: Row) {
        self.sessions.entry(row.token_hash.clone()).or_insert(Session { row, change: None });
    }

    /// Whether other sessions of the hotkey than the one named matter.
    fn concerns_others(&self, discovery: &DiscoveryUse) -> bool {
        let Some(token_hash) = discovery.proof.token_hash() else { return true };
        let Some(key) = &discovery.public_key else { return false };
        let session = self.sessions.get(token_hash.as_bytes().as_slice());
        session.is_some_and(|session| session.row.public_key.as_deref() != Some(key.to_string().as_str()))
    }

    /// Decides a wish and, if it is admitted, keeps what comes of it.
    pub(super) fn decide(&mut self, wish: &Wish) -> Outcome {
        let nonce = wish.nonce();
        if let Err(refused) = self.recall.check(nonce) {
            return Ok(Err(refused));
        }
        let mut standing = self.validators.get(&nonce.validator).cloned().unwrap_or(Standing::NEW);
        let decided = match wish {
            Wish::Open(_, session) => self.open(nonce, session, &mut standing),
            Wish::Discover(_, discovery) => self.discover(nonce, discovery, &mut standing)?,
        };
        if decided.is_ok() {
            self.is_to_last |= nonce.signed_at > nonce.now + AHEAD;
            self.validators.insert(nonce.validator, standing);
            self.touched.insert(nonce.validator);
            self.used.push((self.recall.note(nonce), nonce.clone()));
        }
        Ok(decided)
    }

    fn open(
        &mut self,
        nonce: &NonceUse,
        session: &NewSession,
        standing: &mut Standing,
    ) -> Result<SessionRecord, Inadmissible> {
        match session.rate {
            Some(rate) => standing.open(nonce.now, rate)?,
            None => standing.opened.clear(),
        }
        let token_hash = session.token_hash.as_bytes().to_vec();
        let row = Row {
            seq: self.recall.open(session.token_hash, session.expires_at),
            id: session.id.to_string(),
            validator: self.name(&nonce.validator).into_owned(),
            token_hash: token_hash.clone(),
            opened_at: nonce.now.0,
            expires_at: session.expires_at.0,
            public_key: None,
            ended_at: None,
            ended_why: None,
        };
        self.sessions.insert(token_hash, Session { row, change: Some(Change::Opened) });
        Ok(SessionRecord {
            id: session.id,
            validator: nonce.validator,
            opened_at: nonce.now,
            expires_at: session.expires_at,
            public_key: None,
        })
    }

    fn discover(&mut self, nonce: &NonceUse, discovery: &DiscoveryUse, standing: &mut Standing) -> Outcome {
        if discovery.proof == DiscoveryProof::V1 && standing.seen_v2 {
            return Ok(Err(Inadmissible::Downgrade));
        }
        let validator = self.name(&nonce.validator).into_owned();
        let Some(token_hash) = self.named(&validator, discovery.proof, nonce.now) else {
            return Ok(Err(Inadmissible::NoSession));
        };
        // An epoch above i64::MAX cannot be a count of leaders; it is refused as one that can never be followed.
        let Ok(epoch) = i64::try_from(discovery.proof.epoch().0) else {
            return Ok(Err(Inadmissible::Superseded));
        };
        if (epoch, discovery.timestamp_secs) <= (standing.last_epoch, standing.last_ts_secs) {
            return Ok(Err(Inadmissible::Superseded));
        }
        let Some(session) = self.sessions.get_mut(&token_hash) else {
            return Ok(Err(Inadmissible::NoSession));
        };
        let mut record = session.row.record()?;
        if let Some(key) = &discovery.public_key
            && record.public_key.as_ref() != Some(key)
        {
            // A new key is work on every node of the hotkey's, as a new session is.
            if let (Some(_), Some(rate)) = (&record.public_key, discovery.rate)
                && let Err(refused) = standing.open(nonce.now, rate)
            {
                return Ok(Err(refused));
            }
            session.update(|row| row.public_key = Some(key.to_string()));
            self.is_to_last = true;
            record.public_key = Some(key.clone());
            self.end_oldest(&validator, &token_hash, nonce.now, discovery.keyed_sessions);
        }
        let is_v2 = discovery.proof != DiscoveryProof::V1;
        self.is_to_last |= is_v2 && !standing.seen_v2;
        standing.seen_v2 |= is_v2;
        (standing.last_epoch, standing.last_ts_secs) = (epoch, discovery.timestamp_secs);
        Ok(Ok(record))
    }

    /// The open session that a request means: the one of its token, or the hotkey's newest.
    fn named(&self, validator: &str, proof: DiscoveryProof, now: Timestamp) -> Option<Vec<u8>> {
        let open = |session: &&Session| session.row.is_open(validator, now);
        let named = match proof.token_hash() {
            Some(hash) => self.sessions.get(hash.as_bytes().as_slice()).filter(open),
            None => {
                let all = self.sessions.values().filter(open);
                all.max_by_key(|session| session.row.seq)
            }
        };
        named.map(|session| session.row.token_hash.clone())
    }

    /// Ends the hotkey's oldest sessions with a key, so that with the one that has just got its own there are `limit`.
    fn end_oldest(&mut self, validator: &str, but: &[u8], now: Timestamp, limit: u32) {
        let mut keyed: Vec<&mut Session> = self
            .sessions
            .values_mut()
            .filter(|session| session.row.is_open(validator, now) && session.row.public_key.is_some())
            .filter(|session| session.row.token_hash != but)
            .collect();
        keyed.sort_by_key(|session| std::cmp::Reverse(session.row.seq));
        let kept = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        for session in keyed.into_iter().skip(kept) {
            session.update(|row| {
                row.ended_at = Some(now.0);
                row.ended_why = Some(SessionEnd::Replaced.name().to_owned());
            });
        }
    }

    /// Whether what was decided has to survive a power cut: keys, as their records are how they are found on nodes again; that a hotkey
    /// no longer signs with V1; nonces of requests that a loss of them would not outdate, and the note by which a loss is found
    /// (`continuity`).
    ///
    /// Not so sessions without a key, for which their validators ask again, nor the number of the last leader: one that was deposed and
    /// does not know it would have to sign after the machine is back, and looks at its lease before it does.
    pub(super) const fn is_to_last(&self) -> bool {
        self.is_to_last
    }

    /// Writes what was decided, and commits it. Returns what is known for the next group.
    pub(super) async fn commit(self, connection: &mut SqliteConnection) -> Result<Recall, StoreError> {
        let standings = self.touched.iter().filter_map(|hotkey| Some((hotkey, self.validators.get(hotkey)?)));
        let validators: Vec<_> = standings
            .map(|(hotkey, s)| {
                (self.name(hotkey), i64::from(s.seen_v2), s.last_epoch, s.last_ts_secs, &s.opened)
            })
            .collect();
        let nonces: Vec<_> = self
            .used
            .iter()
            .map(|(seq, used)| (*seq, self.name(&used.validator), used.nonce.as_str(), used.forget_at.0))
            .collect();
        let sessions = |change| self.sessions.values().filter(move |session| session.change == Some(change));
        let opened: Vec<_> = sessions(Change::Opened)
            .map(|Session { row, .. }| {
                let hash: String = row.token_hash.iter().map(|byte| format!("{byte:02x}")).collect();
                (
                    row.seq,
                    &row.id,
                    &row.validator,
                    hash,
                    row.opened_at,
                    row.expires_at,
                    &row.public_key,
                    row.ended_at,
                    &row.ended_why,
                )
            })
            .collect();
        let updated: Vec<_> = sessions(Change::Updated)
            .map(|Session { row, .. }| (row.seq, &row.public_key, row.ended_at, &row.ended_why))
            .collect();
        let text = WRITE[usize::from(!updated.is_empty())][usize::from(!opened.is_empty())];
        let mut writing = sqlx::query(text).bind(json(&validators)).bind(json(&nonces));
        if !opened.is_empty() {
            writing = writing.bind(json(&opened));
        }
        if !updated.is_empty() {
            writing = writing.bind(json(&updated));
        }
        writing.execute(connection).await.map_err(unavailable(OPERATION))?;
        Ok(self.recall)
    }
}

const VALIDATOR: &str = "validator";
const SESSION: &str = "session";
const VERSION: &str = "version";

/// Statements in one text, of which each but the first has its own placeholder: they go to SQLite's thread together.
macro_rules! read {
    ($before:literal) => {
        concat!(
            $before,
            "SELECT data_version, 'version' AS kind FROM pragma_data_version; \
             SELECT hotkey, seen_v2, last_epoch, last_ts_secs, sessions_opened, 'validator' AS kind \
             FROM json_each(?) AS wish CROSS JOIN validators ON hotkey = wish.value; \
             SELECT seq, sessions.id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why, \
             'session' AS kind \
             FROM json_each(?) AS wish CROSS JOIN sessions ON seq = wish.value"
        )
    };
}

const BEGIN_AND_READ: &str = read!("BEGIN IMMEDIATE; ");
const READ: &str = read!("");

const OPEN_SESSIONS_OF: &str = "\
     SELECT seq, sessions.id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why \
     FROM json_each(?) AS wish CROSS JOIN sessions ON validator = wish.value \
     WHERE ended_at IS NULL AND expires_at > ?";

/// `WHERE true` tells the parser that ON belongs to the conflict and not to a join.
macro_rules! write {
    ($opened:literal, $updated:literal) => {
        concat!(
            "INSERT INTO validators (hotkey, seen_v2, last_epoch, last_ts_secs, sessions_opened) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?) WHERE true \
             ON CONFLICT DO UPDATE SET seen_v2 = excluded.seen_v2, \
             last_epoch = excluded.last_epoch, last_ts_secs = excluded.last_ts_secs, \
             sessions_opened = excluded.sessions_opened; \
             INSERT INTO nonces (seq, hotkey, nonce, forget_at) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?); ",
            $opened,
            $updated,
            "COMMIT"
        )
    };
    ($updated:literal) => {
        [
            write!("", $updated),
            write!(
                "INSERT INTO sessions \
                 (seq, id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why) \
                 SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, value ->> 5, value ->> 6, \
                 value ->> 7, value ->> 8 FROM json_each(?); ",
                $updated
            ),
        ]
    };
}

/// With changed sessions or without, with new ones or without: each statement that is done wakes the task that waits for all of them.
const WRITE: [[&str; 2]; 2] = [
    write!(""),
    write!(
        "UPDATE sessions SET public_key = new.value ->> 1, ended_at = new.value ->> 2, \
         ended_why = new.value ->> 3 FROM json_each(?) AS new WHERE sessions.seq = new.value ->> 0; "
    ),
];

fn discoveries(wishes: &[Wish]) -> impl Iterator<Item = (&NonceUse, &DiscoveryUse)> {
    wishes.iter().filter_map(|wish| wish.discovery())
}

fn read_row<'r, T: FromRow<'r, SqliteRow>>(row: &'r SqliteRow) -> Result<T, StoreError> {
    T::from_row(row).map_err(unavailable(OPERATION))
}

fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("texts and integers are JSON")
}
