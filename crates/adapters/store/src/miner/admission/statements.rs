//! What is said to SQLite for a group of requests.
//!
//! Statements carry their rows as one JSON text, so that a group of any size is the same few prepared statements, and stand in one text
//! together with the beginning and the end of the transaction: with one for each step of each request, handing them to SQLite's thread and
//! back cost more than everything else together. Each of a text's statements has placeholders of its own. (The validator's `batch`
//! numbers them instead, which both of its engines read.)

use basilica_ports::StoreError;
use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::OPERATION;
use crate::database::unavailable;

/// Of which table a row is.
pub(super) const VALIDATOR: &str = "validator";
pub(super) const SESSION: &str = "session";

macro_rules! session_columns {
    () => {
        "SELECT seq, sessions.id, validator, token_hash, opened_at, expires_at, public_key, ended_at, 'session' AS kind \
         FROM json_each(?) AS wish CROSS JOIN sessions ON "
    };
}

/// SQLite's number for what others have written, then rows by hotkeys and by numbers of sessions.
macro_rules! read {
    ($before:literal) => {
        concat!(
            $before,
            "PRAGMA data_version; \
             SELECT hotkey, seen_v2, last_epoch, last_ts_secs, sessions_opened, 'validator' AS kind \
             FROM json_each(?) AS wish CROSS JOIN validators ON hotkey = wish.value; ",
            session_columns!(),
            "seq = wish.value"
        )
    };
}

pub(super) const BEGIN_AND_READ: &str = read!("BEGIN IMMEDIATE; ");
pub(super) const READ: &str = read!("");

const OPEN_SESSIONS_OF: &str =
    concat!(session_columns!(), "validator = wish.value WHERE ended_at IS NULL AND expires_at > ?");

/// `WHERE true` tells the parser that ON belongs to the conflict and not to a join.
macro_rules! write {
    ($begin:literal, $opened:literal, $updated:literal) => {
        concat!(
            $begin,
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
    ($begin:literal, $updated:literal) => {
        [
            write!($begin, "", $updated),
            write!(
                $begin,
                "INSERT INTO sessions \
                 (seq, id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why) \
                 SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, value ->> 5, \
                 value ->> 6, value ->> 7, value ->> 8 FROM json_each(?); ",
                $updated
            ),
        ]
    };
    ($begin:literal) => {
        [
            write!($begin, ""),
            write!(
                $begin,
                "UPDATE sessions SET public_key = new.value ->> 1, ended_at = new.value ->> 2, \
                 ended_why = new.value ->> 3 FROM json_each(?) AS new WHERE sessions.seq = new.value ->> 0; "
            ),
        ]
    };
}

/// To begin with or not, with changed sessions or without, with new ones or without: each statement that is done wakes the task that
/// waits for all of them. What begins stops where others have written: `json` knows no such text.
const WRITE: [[[&str; 2]; 2]; 2] = [
    write!(""),
    write!(
        "BEGIN IMMEDIATE; \
         SELECT CASE data_version WHEN ? THEN 0 ELSE json('others have written') END FROM pragma_data_version; "
    ),
];

/// `SQLITE_ERROR`, which is that of `json`, and neither of the disk nor of a constraint.
const STOPPED: &str = "1";

/// Rows to be written, each list as one JSON text.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) validators: String,
    pub(super) nonces: String,
    /// None where there are none.
    pub(super) opened: Option<String>,
    pub(super) updated: Option<String>,
}

impl Rows {
    /// Writes and commits. With a number in `unless_not` it begins the transaction itself and says whether it went through, which it does
    /// only if others have written nothing since SQLite's number was that.
    pub(super) async fn write(
        self,
        connection: &mut SqliteConnection,
        unless_not: Option<i64>,
    ) -> Result<bool, StoreError> {
        let text = WRITE[usize::from(unless_not.is_some())][usize::from(self.updated.is_some())]
            [usize::from(self.opened.is_some())];
        let mut writing = sqlx::query(text);
        if let Some(version) = unless_not {
            writing = writing.bind(version);
        }
        writing = writing.bind(self.validators).bind(self.nonces);
        for rows in [self.opened, self.updated].into_iter().flatten() {
            writing = writing.bind(rows);
        }
        match writing.execute(&mut *connection).await {
            Ok(_) => Ok(true),
            Err(sqlx::Error::Database(error))
                if unless_not.is_some() && error.code().as_deref() == Some(STOPPED) =>
            {
                let undone = sqlx::raw_sql("ROLLBACK").execute(connection).await;
                undone.map_err(unavailable(OPERATION))?;
                Ok(false)
            }
            Err(error) => Err(unavailable(OPERATION)(error)),
        }
    }
}

/// What [`BEGIN_AND_READ`] or [`READ`] finds; the number first.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    text: &'static str,
    hotkeys: &[&str],
    sessions: &[i64],
) -> Result<Vec<SqliteRow>, StoreError> {
    let reading = sqlx::query(text).bind(json(hotkeys)).bind(json(sessions));
    reading.fetch_all(connection).await.map_err(unavailable(OPERATION))
}

/// All sessions of these hotkeys that are open at `earliest`.
pub(super) async fn read_open_sessions(
    connection: &mut SqliteConnection,
    hotkeys: &[&str],
    earliest: i64,
) -> Result<Vec<SqliteRow>, StoreError> {
    let reading = sqlx::query(OPEN_SESSIONS_OF).bind(json(hotkeys)).bind(earliest);
    reading.fetch_all(connection).await.map_err(unavailable(OPERATION))
}

/// None where there are no rows.
pub(super) fn json_of_any<T: Serialize>(rows: &[T]) -> Option<String> {
    if rows.is_empty() { None } else { Some(json(rows)) }
}

pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("texts and integers are JSON")
}
