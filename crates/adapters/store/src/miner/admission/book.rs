//! What a group of requests is decided by, in memory: read in a few statements, decided one request after the other,
//! written in a few statements.
//!
//! A request that is refused leaves the book as it was, and one that is admitted is seen by those after it, just as if each had
//! had the database for itself. Statements carry their rows as one JSON text, so that a group of any size is the same few prepared
//! statements: with one for each step of each request, handing them to SQLite's thread and back cost more than everything else
//! together. (The validator's `batch` numbers its placeholders instead, which both of its engines read.)

use std::collections::{HashMap, HashSet};

use basilica_ports::{
    DiscoveryProof, DiscoveryUse, Inadmissible, NewSession, NonceUse, SessionEnd, SessionRate, SessionRecord,
    StoreError,
};
use basilica_types::{Hotkey, RequestNonce, Timestamp};
use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use super::{OPERATION, Outcome, Wish};
use crate::database::{corrupt, unavailable};

/// What is remembered of a hotkey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// Its nonces; some may be over until they are counted again.
    nonces: i64,
    seen_v2: bool,
    last_epoch: i64,
    last_ts_secs: i64,
    /// When it opened sessions, oldest first, as far as a limit asks for that.
    opened: Vec<i64>,
}

impl Standing {
    /// A hotkey that is seen for the first time, as the table's defaults have it.
    const NEW: Self = Self { nonces: 0, seen_v2: false, last_epoch: -1, last_ts_secs: 0, opened: Vec::new() };

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
    validators: HashMap<Hotkey, Standing>,
    touched: HashSet<Hotkey>,
    /// Until when a nonce counts.
    nonces: HashMap<(Hotkey, RequestNonce), Timestamp>,
    used: Vec<(Hotkey, RequestNonce)>,
    sessions: HashMap<Vec<u8>, Session>,
}

impl Book {
    /// Reads what these wishes are about.
    pub(super) async fn read(connection: &mut SqliteConnection, wishes: &[Wish]) -> Result<Self, StoreError> {
        let mut book = Self::default();
        book.read_validators(connection, wishes).await?;
        book.read_nonces(connection, wishes).await?;
        book.read_sessions(connection, wishes).await?;
        Ok(book)
    }

    async fn read_validators(
        &mut self,
        connection: &mut SqliteConnection,
        wishes: &[Wish],
    ) -> Result<(), StoreError> {
        let mut shares: HashMap<Hotkey, (i64, &NonceUse)> = HashMap::new();
        for nonce in wishes.iter().map(|wish| wish.nonce()) {
            shares.entry(nonce.validator).or_insert((0, nonce)).0 += 1;
        }
        let hotkeys = json(&shares.keys().map(ToString::to_string).collect::<Vec<_>>());
        let rows: Vec<(String, i64, bool, i64, i64, String)> = sqlx::query_as(
            "SELECT hotkey, nonces, seen_v2, last_epoch, last_ts_secs, sessions_opened \
             FROM json_each(?) AS wish CROSS JOIN validators ON hotkey = wish.value",
        )
        .bind(hotkeys)
        .fetch_all(&mut *connection)
        .await
        .map_err(unavailable(OPERATION))?;
        for (hotkey, nonces, seen_v2, last_epoch, last_ts_secs, opened) in rows {
            let parsed = hotkey.parse().map_err(corrupt("validators.hotkey"))?;
            let opened = serde_json::from_str(&opened).map_err(corrupt("validators.sessions_opened"))?;
            let standing = Standing { nonces, seen_v2, last_epoch, last_ts_secs, opened };
            let (wanted, nonce) = shares.remove(&parsed).unwrap_or((0, wishes[0].nonce()));
            let counted = if nonces + wanted > i64::from(nonce.limit) {
                recount(connection, &hotkey, nonce.now).await?
            } else {
                nonces
            };
            self.validators.insert(parsed, Standing { nonces: counted, ..standing });
        }
        Ok(())
    }

    async fn read_nonces(
        &mut self,
        connection: &mut SqliteConnection,
        wishes: &[Wish],
    ) -> Result<(), StoreError> {
        let wanted = wishes.iter().map(|wish| wish.nonce());
        let wanted: Vec<_> = wanted.map(|n| (n.validator.to_string(), n.nonce.as_str())).collect();
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT hotkey, nonce, forget_at FROM json_each(?) AS wish \
             CROSS JOIN nonces ON hotkey = wish.value ->> 0 AND nonce = wish.value ->> 1",
        )
        .bind(json(&wanted))
        .fetch_all(connection)
        .await
        .map_err(unavailable(OPERATION))?;
        for (hotkey, nonce, forget_at) in rows {
            let hotkey = hotkey.parse().map_err(corrupt("nonces.hotkey"))?;
            let nonce = nonce.parse().map_err(corrupt("nonces.nonce"))?;
            self.nonces.insert((hotkey, nonce), Timestamp(forget_at));
        }
        Ok(())
    }

    /// The sessions that tokens name; all open ones of a hotkey where one of them has to be chosen or ended.
    async fn read_sessions(
        &mut self,
        connection: &mut SqliteConnection,
        wishes: &[Wish],
    ) -> Result<(), StoreError> {
        let discoveries = || wishes.iter().filter_map(|wish| wish.discovery());
        let named = discoveries().filter_map(|(_, discovery)| discovery.proof.token_hash());
        let named: Vec<String> = named.map(|hash| hash.to_string()).collect();
        if !named.is_empty() {
            let of_tokens = sqlx::query_as(
                "SELECT sessions.id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why \
                 FROM json_each(?) AS wish CROSS JOIN sessions ON token_hash = unhex(wish.value)",
            );
            let rows = of_tokens.bind(json(&named)).fetch_all(&mut *connection).await;
            self.take_in(rows.map_err(unavailable(OPERATION))?);
        }
        let wider = discoveries().filter(|(_, discovery)| self.concerns_others(discovery));
        let wider: HashSet<String> = wider.map(|(nonce, _)| nonce.validator.to_string()).collect();
        if !wider.is_empty() {
            let of_hotkeys = sqlx::query_as(
                "SELECT sessions.id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why \
                 FROM json_each(?) AS wish CROSS JOIN sessions ON validator = wish.value WHERE ended_at IS NULL",
            );
            let rows = of_hotkeys.bind(json(&wider)).fetch_all(connection).await;
            self.take_in(rows.map_err(unavailable(OPERATION))?);
        }
        Ok(())
    }

    fn take_in(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.sessions.entry(row.token_hash.clone()).or_insert(Session { row, change: None });
        }
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
        let mut standing = self.validators.get(&nonce.validator).cloned().unwrap_or(Standing::NEW);
        let key = (nonce.validator, nonce.nonce.clone());
        match self.nonces.get(&key) {
            Some(forget_at) if *forget_at > nonce.now => return Ok(Err(Inadmissible::Replayed)),
            Some(_) => {}
            None => standing.nonces += 1,
        }
        if standing.nonces > i64::from(nonce.limit) {
            return Ok(Err(Inadmissible::Full));
        }
        let decided = match wish {
            Wish::Open(_, session) => self.open(nonce, session, &mut standing),
            Wish::Discover(_, discovery) => self.discover(nonce, discovery, &mut standing)?,
        };
        if decided.is_ok() {
            self.validators.insert(nonce.validator, standing);
            self.touched.insert(nonce.validator);
            self.nonces.insert(key.clone(), nonce.forget_at);
            self.used.push(key);
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
            id: session.id.to_string(),
            validator: nonce.validator.to_string(),
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
            expires_at: session.expires_at,
            public_key: None,
        })
    }

    fn discover(&mut self, nonce: &NonceUse, discovery: &DiscoveryUse, standing: &mut Standing) -> Outcome {
        if discovery.proof == DiscoveryProof::V1 && standing.seen_v2 {
            return Ok(Err(Inadmissible::Downgrade));
        }
        let validator = nonce.validator.to_string();
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
            session.update(|row| row.public_key = Some(key.to_string()));
            record.public_key = Some(key.clone());
            self.end_oldest(&validator, &token_hash, nonce.now, discovery.keyed_sessions);
        }
        standing.seen_v2 |= discovery.proof != DiscoveryProof::V1;
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
                all.min_by_key(|session| (std::cmp::Reverse(session.row.opened_at), session.row.id.clone()))
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
        keyed.sort_by_key(|session| (std::cmp::Reverse(session.row.opened_at), session.row.id.clone()));
        let kept = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        for session in keyed.into_iter().skip(kept) {
            session.update(|row| {
                row.ended_at = Some(now.0);
                row.ended_why = Some(SessionEnd::Replaced.name().to_owned());
            });
        }
    }

    /// Writes what was decided.
    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let standings = self.touched.iter().filter_map(|hotkey| Some((hotkey, self.validators.get(hotkey)?)));
        let validators: Vec<_> = standings
            .map(|(hotkey, s)| {
                (hotkey.to_string(), s.nonces, i64::from(s.seen_v2), s.last_epoch, s.last_ts_secs, &s.opened)
            })
            .collect();
        let nonces: Vec<_> = self
            .used
            .iter()
            .filter_map(|key| Some((key.0.to_string(), key.1.as_str(), self.nonces.get(key)?.0)))
            .collect();
        let sessions = |change| self.sessions.values().filter(move |session| session.change == Some(change));
        let opened: Vec<_> = sessions(Change::Opened)
            .map(|Session { row, .. }| {
                let hash: String = row.token_hash.iter().map(|byte| format!("{byte:02x}")).collect();
                let end = (row.ended_at, &row.ended_why);
                (&row.id, &row.validator, hash, row.opened_at, row.expires_at, &row.public_key, end.0, end.1)
            })
            .collect();
        let updated: Vec<_> = sessions(Change::Updated)
            .map(|Session { row, .. }| (&row.id, &row.public_key, row.ended_at, &row.ended_why))
            .collect();
        write_rows(connection, WRITE_VALIDATORS, &validators).await?;
        write_rows(connection, WRITE_NONCES, &nonces).await?;
        write_rows(connection, OPEN_SESSIONS, &opened).await?;
        write_rows(connection, UPDATE_SESSIONS, &updated).await
    }
}

// `WHERE true` tells the parser that ON belongs to the conflict and not to a join.
const WRITE_VALIDATORS: &str = "INSERT INTO validators (hotkey, nonces, seen_v2, last_epoch, last_ts_secs, sessions_opened) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?) WHERE true \
     ON CONFLICT DO UPDATE SET nonces = excluded.nonces, seen_v2 = excluded.seen_v2, \
     last_epoch = excluded.last_epoch, last_ts_secs = excluded.last_ts_secs, \
     sessions_opened = excluded.sessions_opened";
const WRITE_NONCES: &str = "INSERT INTO nonces (hotkey, nonce, forget_at) \
     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true \
     ON CONFLICT DO UPDATE SET forget_at = excluded.forget_at";
const OPEN_SESSIONS: &str = "INSERT INTO sessions \
     (id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why) \
     SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7 \
     FROM json_each(?)";
const UPDATE_SESSIONS: &str = "UPDATE sessions SET public_key = new.value ->> 1, ended_at = new.value ->> 2, ended_why = new.value ->> 3 \
     FROM json_each(?) AS new WHERE sessions.id = new.value ->> 0";

async fn write_rows<T: Serialize>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &[T],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let written = sqlx::query(statement).bind(json(rows)).execute(connection).await;
    written.map(drop).map_err(unavailable(OPERATION))
}

fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("texts and integers are JSON")
}

/// Forgets the hotkey's nonces that are over and counts the others.
async fn recount(connection: &mut SqliteConnection, hotkey: &str, now: Timestamp) -> Result<i64, StoreError> {
    let failed = unavailable("count nonces");
    sqlx::query("DELETE FROM nonces WHERE hotkey = ? AND forget_at <= ?")
        .bind(hotkey)
        .bind(now.0)
        .execute(&mut *connection)
        .await
        .map_err(&failed)?;
    sqlx::query_scalar(
        "UPDATE validators SET nonces = (SELECT count(*) FROM nonces WHERE hotkey = ?1) WHERE hotkey = ?1 \
         RETURNING nonces",
    )
    .bind(hotkey)
    .fetch_one(&mut *connection)
    .await
    .map_err(&failed)
}
