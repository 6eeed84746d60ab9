//! Sessions and the nodes that may carry their keys.

use std::collections::BTreeSet;

use basilica_ports::{SessionRecord, StoreError};
use basilica_types::{Hotkey, Millis, NodeId, SessionId, Timestamp};

use super::operations;
use crate::Database;
use crate::database::{corrupt, unavailable};

/// For how long a session that is over can be looked up.
const REMEMBERED: Millis = Millis::from_secs(86_400);
/// Most of these.
const MOST_ENDED: i64 = 10_000;
/// No nonce counts for longer: requests are fresh for some minutes.
const MOST_AHEAD: Millis = Millis::from_secs(3_600);

/// A session as the table has it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    id: String,
    validator: String,
    opened_at: i64,
    expires_at: i64,
    public_key: Option<String>,
}

impl Row {
    pub(super) fn record(&self) -> Result<SessionRecord, StoreError> {
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

pub(super) async fn keyed(database: &Database, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, validator, opened_at, expires_at, public_key FROM sessions INDEXED BY sessions_with_key \
         WHERE public_key IS NOT NULL AND ended_at IS NULL AND expires_at > ? ORDER BY seq",
    )
    .bind(now.0)
    .fetch_all(database.readers())
    .await
    .map_err(unavailable("list sessions"))?;
    rows.iter().map(Row::record).collect()
}

pub(super) async fn end_all(database: &Database, now: Timestamp) -> Result<(), StoreError> {
    let failed = unavailable("end sessions");
    let mut transaction = database.begin("end sessions").await?;
    sqlx::query("UPDATE sessions SET ended_at = ?1, ended_why = 'shutdown' WHERE ended_at IS NULL AND expires_at > ?1")
        .bind(now.0)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    transaction.commit().await.map_err(&failed)
}

pub(super) async fn count_open(database: &Database, now: Timestamp) -> Result<u64, StoreError> {
    let open: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sessions WHERE over_at > ? AND ended_at IS NULL")
            .bind(now.0)
            .fetch_one(database.readers())
            .await
            .map_err(unavailable("count sessions"))?;
    u64::try_from(open).map_err(corrupt("sessions"))
}

/// Of the sessions that ended within a span, in whichever way. More than a thousand in one span are not told apart any more.
pub(super) async fn lives(
    database: &Database,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<Millis>, StoreError> {
    let lives: Vec<i64> = sqlx::query_scalar(
        "SELECT over_at - opened_at FROM sessions WHERE over_at > ? AND over_at <= ? LIMIT 1000",
    )
    .bind(after.0)
    .bind(until.0)
    .fetch_all(database.readers())
    .await
    .map_err(unavailable("measure sessions"))?;
    // A clock that was set back may have ended one before it began.
    Ok(lives.into_iter().map(|life| Millis(u64::try_from(life).unwrap_or(0))).collect())
}

pub(super) async fn record_deployments(
    database: &Database,
    node: NodeId,
    sessions: &[SessionId],
    now: Timestamp,
) -> Result<BTreeSet<SessionId>, StoreError> {
    let failed = unavailable("record deployments");
    let mut transaction = database.begin("record deployments").await?;
    let mut open = BTreeSet::new();
    if operations::is_in_maintenance(&mut transaction, node).await? {
        return Ok(open);
    }
    let find = "SELECT seq FROM sessions WHERE id = ? AND public_key IS NOT NULL AND ended_at IS NULL AND expires_at > ?";
    let insert = "INSERT INTO deployments (node_id, session) VALUES (?, ?) ON CONFLICT DO NOTHING";
    for session in sessions {
        let found = sqlx::query_scalar(find).bind(session.to_string()).bind(now.0);
        let found: Option<i64> = found.fetch_optional(&mut *transaction).await.map_err(&failed)?;
        let Some(seq) = found else { continue };
        let insert = sqlx::query(insert).bind(node.to_string()).bind(seq);
        insert.execute(&mut *transaction).await.map_err(&failed)?;
        open.insert(*session);
    }
    transaction.commit().await.map_err(&failed)?;
    Ok(open)
}

/// A session with its validator, as the tables have them.
fn named((session, validator): (String, String)) -> Result<(SessionId, Hotkey), StoreError> {
    Ok((
        session.parse().map_err(corrupt("sessions.id"))?,
        validator.parse().map_err(corrupt("sessions.validator"))?,
    ))
}

pub(super) async fn deployments(
    database: &Database,
    node: NodeId,
) -> Result<Vec<(SessionId, Hotkey)>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, validator FROM deployments JOIN sessions ON seq = session WHERE node_id = ? ORDER BY id",
    )
    .bind(node.to_string())
    .fetch_all(database.readers())
    .await
    .map_err(unavailable("list deployments"))?;
    rows.into_iter().map(named).collect()
}

pub(super) async fn unexpired_keys(
    database: &Database,
    now: Timestamp,
) -> Result<Vec<(SessionId, Hotkey)>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, validator FROM sessions INDEXED BY sessions_with_key \
         WHERE public_key IS NOT NULL AND expires_at > ?",
    )
    .bind(now.0)
    .fetch_all(database.readers())
    .await
    .map_err(unavailable("list sessions"))?;
    rows.into_iter().map(named).collect()
}

const FORGET: &str = "DELETE FROM deployments WHERE node_id = ? AND session = \
     (SELECT seq FROM sessions WHERE id = ? AND public_key IS NOT NULL)";

pub(super) async fn forget_deployments(
    database: &Database,
    node: NodeId,
    sessions: &[SessionId],
) -> Result<(), StoreError> {
    let failed = unavailable("forget deployments");
    let mut transaction = database.begin("forget deployments").await?;
    for session in sessions {
        let statement = sqlx::query(FORGET).bind(node.to_string()).bind(session.to_string());
        statement.execute(&mut *transaction).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)
}

/// Forgets what can no longer matter, and has `also` forget it while nobody else writes.
pub(super) async fn prune(
    database: &Database,
    now: Timestamp,
    also: impl FnOnce(),
) -> Result<(), StoreError> {
    let failed = unavailable("prune");
    let mut transaction = database.begin("prune").await?;
    for statement in [PRUNE_NONCES, PRUNE_SESSIONS] {
        sqlx::query(statement)
            .bind(now.0)
            .bind((now - REMEMBERED).0)
            .bind(MOST_ENDED)
            .bind((now + MOST_AHEAD).0)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    also();
    transaction.commit().await.map_err(&failed)
}

/// As far as the first that still counts: those behind it are hardly older, and nothing has to be searched for them. What counts for
/// longer than any nonce does was noted by a clock that was ahead; it stays, and nothing waits for it. The newest row stays in either
/// table, so that its number does not come again.
const PRUNE_NONCES: &str = "\
     DELETE FROM nonces WHERE forget_at <= ?1 AND seq < coalesce(\
     (SELECT seq FROM nonces WHERE forget_at > ?1 AND forget_at <= ?4 ORDER BY seq LIMIT 1), \
     (SELECT max(seq) FROM nonces))";

/// The plus keeps SQLite from walking through the table in the place of the index by `over_at`.
const PRUNE_SESSIONS: &str = "\
     DELETE FROM sessions WHERE over_at <= ?1 \
     AND (over_at <= ?2 OR seq NOT IN \
         (SELECT seq FROM sessions WHERE over_at <= ?1 ORDER BY over_at DESC LIMIT ?3)) \
     AND NOT EXISTS (SELECT 1 FROM deployments WHERE session = sessions.seq) \
     AND +seq < (SELECT max(seq) FROM sessions)";
