//! What a group of requests is decided by, in memory: decided one request after the other, written in one go.
//!
//! A request that is refused leaves the book as it was, and one that is admitted is seen by those after it, just as if each had
//! had the database for itself. What requests are decided by is known from the groups before (`recall`), or read. Where all of it is known, a
//! group is decided first and written only if the file is still as it was; if not, what was decided is taken back, and the group begins anew.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use basilica_ports::{
    DiscoveryProof, DiscoveryUse, Inadmissible, NewSession, NonceUse, SessionEnd, SessionRecord, StoreError,
};
use basilica_types::{Digest, ErrorChain, Hotkey, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::continuity::{AHEAD, Boot};
use super::recall::{Mark, Recall};
use super::rows::{Session, Standing, kind, read_row};
use super::statements::{
    BEGIN_AND_READ, READ, Rows, SESSION, VALIDATOR, json, json_of_any, read, read_open_sessions,
};
use super::{Ask, Outcome, Wish};
use crate::database::corrupt;

/// What came of a group, which is written.
#[derive(Debug)]
pub(super) struct Settled {
    /// One for each wish.
    pub(super) decided: Vec<Outcome>,
    /// For the next group.
    pub(super) recall: Recall,
    /// Whether it has to survive a power cut: keys, as their records are how they are found on nodes again; that a hotkey
    /// no longer signs with V1; nonces of requests that a loss of them would not outdate, and the note by which a loss is found
    /// (`continuity`).
    ///
    /// Not so sessions without a key, for which their validators ask again, nor the number of the last leader: one that was deposed and
    /// does not know it would have to sign after the machine is back, and looks at its lease before it does.
    pub(super) is_to_last: bool,
    /// Whether a session has another key, or ended for one that has.
    pub(super) changes_keys: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Opened,
    Updated,
}

/// The part of the tables that a group touches.
#[derive(Debug)]
struct Book<'w> {
    wishes: &'w [Wish],
    recall: Recall,
    before: Mark,
    /// How the tables write the hotkeys: base58 of each is written once for a group, and not for each step of each request.
    names: HashMap<Hotkey, String>,
    /// Why sessions cannot be read, by the hashes of their tokens.
    broken: HashMap<Digest, String>,
    touched: HashSet<Hotkey>,
    /// With their rows' numbers.
    used: Vec<(i64, &'w NonceUse)>,
    changes: HashMap<Digest, Change>,
    is_to_last: bool,
}

/// Decides these wishes and writes what comes of it, in one transaction that is committed.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    wishes: &[Wish],
    recall: Recall,
    at: (&Boot, Timestamp),
) -> Result<Settled, StoreError> {
    let mut book = Book::new(wishes, recall);
    if let Some(version) = book.recall.version()
        && book.knows_all()
    {
        let decided = book.decide_all();
        if book.rows().write(connection, Some(version)).await? {
            return Ok(book.settled(decided));
        }
        book.take_back();
    }
    book.read(connection, at).await?;
    let decided = book.decide_all();
    book.rows().write(connection, None).await?;
    Ok(book.settled(decided))
}

impl<'w> Book<'w> {
    fn new(wishes: &'w [Wish], recall: Recall) -> Self {
        let hotkeys = wishes.iter().map(|wish| wish.nonce.validator);
        Self {
            wishes,
            before: recall.mark(),
            recall,
            names: hotkeys.map(|hotkey| (hotkey, hotkey.to_string())).collect(),
            broken: HashMap::new(),
            touched: HashSet::new(),
            used: Vec::new(),
            changes: HashMap::new(),
            is_to_last: false,
        }
    }

    fn discoveries(&self) -> impl Iterator<Item = (&'w NonceUse, &'w DiscoveryUse)> + use<'w> {
        self.wishes.iter().filter_map(|wish| wish.discovery())
    }

    /// Whether nothing has to be read.
    fn knows_all(&self) -> bool {
        self.names.keys().all(|hotkey| self.recall.standings.contains_key(hotkey))
            && self.discoveries().all(|(_, discovery)| {
                let unread = |hash: &Digest| {
                    self.recall.session(hash).is_some() && !self.recall.rows.contains_key(hash)
                };
                !discovery.proof.token_hash().is_some_and(unread) && !self.concerns_others(discovery)
            })
    }

    /// Begins a transaction and reads what the wishes are about.
    async fn read(
        &mut self,
        connection: &mut SqliteConnection,
        at: (&Boot, Timestamp),
    ) -> Result<(), StoreError> {
        let mut rows = self.read_by(connection, BEGIN_AND_READ).await?;
        let version = rows.first().ok_or_else(|| corrupt("data_version")("no number"))?;
        let (version,) = read_row(version)?;
        if self.recall.version() != Some(version) {
            self.is_to_last |= !self.recall.is_noted();
            self.recall.catch_up(connection, version, at).await?;
            self.before = self.recall.mark();
            rows = self.read_by(connection, READ).await?;
        }
        for row in rows.iter().skip(1) {
            self.take_in(row)?;
        }
        self.read_other_sessions(connection).await
    }

    async fn read_by(
        &self,
        connection: &mut SqliteConnection,
        text: &'static str,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let hotkeys: Vec<&str> = self.names.values().map(String::as_str).collect();
        let tokens = self.discoveries().filter_map(|(_, discovery)| discovery.proof.token_hash());
        let sessions: Vec<i64> = tokens.filter_map(|hash| self.recall.session(hash)).collect();
        read(connection, text, &hotkeys, &sessions).await
    }

    fn take_in(&mut self, row: &SqliteRow) -> Result<(), StoreError> {
        match kind(row)? {
            VALIDATOR => {
                let (hotkey, standing) = Standing::read(row)?;
                self.recall.standings.insert(hotkey, standing);
            }
            SESSION => match Session::read(row)? {
                (hash, Ok(session)) => {
                    self.recall.rows.insert(hash, session);
                }
                (hash, Err(error)) => {
                    self.broken.insert(hash, ErrorChain(&error).to_string());
                }
            },
            other => return Err(corrupt("kind of a row")(other.to_owned())),
        }
        Ok(())
    }

    /// All open sessions of those hotkeys of which one has to be chosen or ended.
    async fn read_other_sessions(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let hotkeys = self.discoveries().filter(|(_, discovery)| self.concerns_others(discovery));
        let hotkeys: HashSet<Hotkey> = hotkeys.map(|(nonce, _)| nonce.validator).collect();
        let Some(earliest) = self.wishes.iter().map(|wish| wish.nonce.now.0).min() else { return Ok(()) };
        if hotkeys.is_empty() {
            return Ok(());
        }
        let names: Vec<Cow<'_, str>> = hotkeys.iter().map(|hotkey| self.name(hotkey)).collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let rows = read_open_sessions(connection, &names, earliest).await?;
        rows.iter().try_for_each(|row| self.take_in(row))
    }

    /// As the tables write it.
    fn name(&self, hotkey: &Hotkey) -> Cow<'_, str> {
        self.names.get(hotkey).map_or_else(|| hotkey.to_string().into(), Cow::from)
    }

    /// Whether other sessions of the hotkey than the one named matter. They may where that is not known, as it could be opened in this group.
    fn concerns_others(&self, discovery: &DiscoveryUse) -> bool {
        let Some(token_hash) = discovery.proof.token_hash() else { return true };
        let Some(key) = &discovery.public_key else { return false };
        let session = self.recall.rows.get(token_hash);
        session.is_none_or(|session| session.record.public_key.as_ref() != Some(key))
    }

    /// Makes the recall what it was, but for what may be read again.
    fn take_back(&mut self) {
        let opened = self.changes.drain().filter(|(_, change)| *change == Change::Opened);
        let used = self.used.drain(..).map(|(_, used)| used);
        self.recall.take_back(self.before, used, opened.map(|(hash, _)| hash));
        self.touched.clear();
        self.is_to_last = false;
    }

    fn decide_all(&mut self) -> Vec<Outcome> {
        self.wishes.iter().map(|wish| self.decide(wish)).collect()
    }

    /// Decides a wish and, if it is admitted, keeps what comes of it.
    fn decide(&mut self, wish: &'w Wish) -> Outcome {
        let nonce = &wish.nonce;
        if let Err(refused) = self.recall.check(nonce, wish.up) {
            return Ok(Err(refused));
        }
        let mut standing = self.recall.standings.get(&nonce.validator).cloned().unwrap_or(Standing::NEW);
        let decided = match &wish.ask {
            Ask::Open(session) => self.open(nonce, session, &mut standing),
            Ask::Discover(discovery) => self.discover(nonce, discovery, &mut standing)?,
        };
        if decided.is_ok() {
            self.is_to_last |= nonce.signed_at > nonce.now + AHEAD;
            self.recall.standings.insert(nonce.validator, standing);
            self.touched.insert(nonce.validator);
            self.used.push((self.recall.note(nonce), nonce));
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
        let record = SessionRecord {
            id: session.id,
            validator: nonce.validator,
            opened_at: nonce.now,
            expires_at: session.expires_at,
            public_key: None,
        };
        self.recall.open(session.token_hash, record.clone());
        self.changes.insert(session.token_hash, Change::Opened);
        Ok(record)
    }

    fn discover(&mut self, nonce: &NonceUse, discovery: &DiscoveryUse, standing: &mut Standing) -> Outcome {
        if discovery.proof == DiscoveryProof::V1 && standing.seen_v2 {
            return Ok(Err(Inadmissible::Downgrade));
        }
        if let Some(why) = discovery.proof.token_hash().and_then(|hash| self.broken.get(hash)) {
            return Err(corrupt("sessions")(why.clone()));
        }
        let Some(token_hash) = self.named(&nonce.validator, discovery.proof, nonce.now) else {
            return Ok(Err(Inadmissible::NoSession));
        };
        // An epoch above i64::MAX cannot be a count of leaders; it is refused as one that can never be followed.
        let Ok(epoch) = i64::try_from(discovery.proof.epoch().0) else {
            return Ok(Err(Inadmissible::Superseded));
        };
        if (epoch, discovery.timestamp_secs) <= (standing.last_epoch, standing.last_ts_secs) {
            return Ok(Err(Inadmissible::Superseded));
        }
        let Some(session) = self.recall.rows.get_mut(&token_hash) else {
            return Ok(Err(Inadmissible::NoSession));
        };
        if let Some(key) = &discovery.public_key
            && session.record.public_key.as_ref() != Some(key)
        {
            // A new key is work on every node of the hotkey's, as a new session is.
            if let (Some(_), Some(rate)) = (&session.record.public_key, discovery.rate)
                && let Err(refused) = standing.open(nonce.now, rate)
            {
                return Ok(Err(refused));
            }
            session.record.public_key = Some(key.clone());
            self.changes.entry(token_hash).or_insert(Change::Updated);
            self.is_to_last = true;
            self.end_oldest(&nonce.validator, &token_hash, nonce.now, discovery.keyed_sessions);
        }
        let is_v2 = discovery.proof != DiscoveryProof::V1;
        self.is_to_last |= is_v2 && !standing.seen_v2;
        standing.seen_v2 |= is_v2;
        (standing.last_epoch, standing.last_ts_secs) = (epoch, discovery.timestamp_secs);
        Ok(self
            .recall
            .rows
            .get(&token_hash)
            .map(|session| session.record.clone())
            .ok_or(Inadmissible::NoSession))
    }

    /// The open session that a request means: the one of its token, or the hotkey's newest.
    fn named(&self, validator: &Hotkey, proof: DiscoveryProof, now: Timestamp) -> Option<Digest> {
        let open = |session: &&Session| session.is_open(validator, now);
        let named = match proof.token_hash() {
            Some(hash) => self.recall.rows.get(hash).filter(open),
            None => self.recall.rows.values().filter(open).max_by_key(|session| session.seq),
        };
        named.map(|session| session.token_hash)
    }

    /// Ends the hotkey's oldest sessions with a key, so that with the one that has just got its own there are `limit`.
    fn end_oldest(&mut self, validator: &Hotkey, but: &Digest, now: Timestamp, limit: u32) {
        let mut keyed: Vec<&mut Session> = self
            .recall
            .rows
            .values_mut()
            .filter(|session| session.is_open(validator, now) && session.record.public_key.is_some())
            .filter(|session| session.token_hash != *but)
            .collect();
        keyed.sort_by_key(|session| std::cmp::Reverse(session.seq));
        let kept = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        for session in keyed.into_iter().skip(kept) {
            session.ended_at = Some(now);
            self.changes.entry(session.token_hash).or_insert(Change::Updated);
        }
    }

    /// What was decided, as it is written.
    fn rows(&self) -> Rows {
        let standings =
            self.touched.iter().filter_map(|hotkey| Some((hotkey, self.recall.standings.get(hotkey)?)));
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
        let sessions = |wanted| {
            let changed = self.changes.iter().filter(move |(_, change)| **change == wanted);
            changed.filter_map(|(hash, _)| self.recall.rows.get(hash))
        };
        let opened: Vec<_> = sessions(Change::Opened)
            .map(|session| {
                let (record, (key, ended_at, ended_why)) = (&session.record, later(session));
                let hash = session.token_hash.to_string();
                let (id, validator) = (record.id.to_string(), self.name(&record.validator));
                let times = (record.opened_at.0, record.expires_at.0);
                (session.seq, id, validator, hash, times.0, times.1, key, ended_at, ended_why)
            })
            .collect();
        let updated: Vec<_> = sessions(Change::Updated)
            .map(|session| {
                let (key, ended_at, ended_why) = later(session);
                (session.seq, key, ended_at, ended_why)
            })
            .collect();
        Rows {
            validators: json(&validators),
            nonces: json(&nonces),
            opened: json_of_any(&opened),
            updated: json_of_any(&updated),
        }
    }

    fn settled(mut self, decided: Vec<Outcome>) -> Settled {
        self.recall.bound();
        let changes_keys = self.changes.values().any(|change| *change == Change::Updated);
        Settled { decided, recall: self.recall, is_to_last: self.is_to_last, changes_keys }
    }
}

/// What of a session is not there from its beginning. Only open ones change, so that one that is over ended here.
fn later(session: &Session) -> (Option<String>, Option<i64>, Option<&'static str>) {
    let key = session.record.public_key.as_ref().map(ToString::to_string);
    (key, session.ended_at.map(|at| at.0), session.ended_at.map(|_| SessionEnd::Replaced.name()))
}
