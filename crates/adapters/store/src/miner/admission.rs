//! Requests of validators: nonce, order and session in one step, many requests per flush.

use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::{
    DiscoveryProof, DiscoveryUse, Inadmissible, NewSession, NonceUse, SessionRecord, StoreError,
};
use basilica_types::Timestamp;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::sessions::{self, Row};
use crate::Database;
use crate::database::unavailable;

type Outcome = Result<Result<SessionRecord, Inadmissible>, StoreError>;

/// What a verified request wants written.
#[derive(Debug)]
enum Wish {
    Open(NonceUse, NewSession),
    Discover(NonceUse, Box<DiscoveryUse>),
}

#[derive(Debug)]
struct Waiting {
    wish: Wish,
    reply: oneshot::Sender<Outcome>,
}

/// The queue in front of the writing connection. Its length is bounded by the requests in work, which the server bounds.
#[derive(Debug)]
pub(super) struct Admissions {
    database: Database,
    waiting: Mutex<Vec<Waiting>>,
    /// Held by the group that is being written; in order of arrival.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The group's transaction failed, or the process was ending.
#[derive(Debug, thiserror::Error)]
#[error("the group of requests was not written")]
struct GroupLost;

impl Admissions {
    pub(super) fn new(database: Database) -> Self {
        Self { database, waiting: Mutex::new(Vec::new()), turn: Arc::default() }
    }

    pub(super) async fn open(self: &Arc<Self>, nonce: NonceUse, session: NewSession) -> Outcome {
        self.submit(Wish::Open(nonce, session)).await
    }

    pub(super) async fn discover(self: &Arc<Self>, nonce: NonceUse, discovery: DiscoveryUse) -> Outcome {
        self.submit(Wish::Discover(nonce, Box::new(discovery))).await
    }

    /// Whoever gets the turn has everything that waits written, in a task of its own: its request may be cancelled at any
    /// moment (a peer that hangs up), and must not take those of others along. Nor could they simply be written again:
    /// cancelled while the transaction commits, nobody knows whether their nonces are used. Rejected for that reason:
    /// writing in the request itself and putting the wishes back when it is dropped.
    async fn submit(self: &Arc<Self>, wish: Wish) -> Outcome {
        let (reply, mut answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { wish, reply });
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // While this request waited for its turn, the one before may have taken it along.
        match answer.try_recv() {
            Ok(outcome) => return outcome,
            Err(TryRecvError::Closed) => return Err(not_written()),
            Err(TryRecvError::Empty) => {}
        }
        let this = Arc::clone(self);
        #[expect(
            clippy::disallowed_methods,
            reason = "bounded by one transaction and awaited here; see above"
        )]
        let written = tokio::spawn(async move {
            let _turn = turn;
            this.write_group().await
        });
        written.await.unwrap_or_else(|_| Err(not_written()))?;
        answer.await.unwrap_or_else(|_| Err(not_written()))
    }

    /// Writes everything that waits by now. If that fails nothing of it is kept, and all of the group learn it.
    async fn write_group(&self) -> Result<(), StoreError> {
        const OPERATION: &str = "admit requests";
        let mut transaction = self.database.begin(OPERATION).await?;
        let group = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut decided = Vec::with_capacity(group.len());
        for Waiting { wish, reply } in group {
            if reply.is_closed() {
                // Nobody waits any more, so nothing may come of it.
                continue;
            }
            sqlx::query("SAVEPOINT wish").execute(&mut *transaction).await.map_err(unavailable(OPERATION))?;
            let outcome = admit(&mut transaction, &wish).await;
            let end = if matches!(outcome, Ok(Ok(_))) { "RELEASE wish" } else { "ROLLBACK TO wish" };
            sqlx::query(end).execute(&mut *transaction).await.map_err(unavailable(OPERATION))?;
            decided.push((reply, outcome));
        }
        transaction.commit().await.map_err(unavailable(OPERATION))?;
        for (reply, outcome) in decided {
            // Whoever no longer waits has been cancelled; its nonce stays used.
            let _ = reply.send(outcome);
        }
        Ok(())
    }
}

fn not_written() -> StoreError {
    StoreError::Unavailable { operation: "admit requests", source: GroupLost.into() }
}

async fn admit(connection: &mut SqliteConnection, wish: &Wish) -> Outcome {
    let nonce = match wish {
        Wish::Open(nonce, _) | Wish::Discover(nonce, _) => nonce,
    };
    let last = match remember(connection, nonce).await? {
        Ok(last) => last,
        Err(refused) => return Ok(Err(refused)),
    };
    match wish {
        Wish::Open(nonce, session) => sessions::open(connection, nonce, session).await.map(Ok),
        Wish::Discover(nonce, discovery) => discover(connection, nonce, discovery, &last).await,
    }
}

/// What is remembered of a hotkey.
#[derive(Debug, sqlx::FromRow)]
struct Last {
    /// Nonces, this one included; may count some that are over until the next pruning.
    nonces: i64,
    seen_v2: bool,
    last_epoch: i64,
    last_ts_secs: i64,
}

/// Inserts the nonce unless it is there or the hotkey's share is full. Two statements as a rule: this is the path that
/// every request takes through the one writing connection.
async fn remember(
    connection: &mut SqliteConnection,
    nonce: &NonceUse,
) -> Result<Result<Last, Inadmissible>, StoreError> {
    let failed = unavailable("remember nonce");
    let hotkey = nonce.validator.to_string();
    let last: Last = sqlx::query_as(
        "INSERT INTO validators (hotkey, nonces) VALUES (?, 1) ON CONFLICT DO UPDATE SET nonces = nonces + 1 \
         RETURNING nonces, seen_v2, last_epoch, last_ts_secs",
    )
    .bind(&hotkey)
    .fetch_one(&mut *connection)
    .await
    .map_err(&failed)?;
    let new = sqlx::query(
        "INSERT INTO nonces (hotkey, nonce, forget_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET forget_at = ?3 WHERE forget_at <= ?4",
    )
    .bind(&hotkey)
    .bind(nonce.nonce.as_str())
    .bind(nonce.forget_at.0)
    .bind(nonce.now.0)
    .execute(&mut *connection)
    .await
    .map_err(&failed)?
    .rows_affected();
    if new == 0 {
        return Ok(Err(Inadmissible::Replayed));
    }
    let limit = i64::from(nonce.limit);
    if last.nonces > limit && recount(connection, &hotkey, nonce.now).await? > limit {
        return Ok(Err(Inadmissible::Full));
    }
    Ok(Ok(last))
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

async fn discover(
    connection: &mut SqliteConnection,
    nonce: &NonceUse,
    discovery: &DiscoveryUse,
    last: &Last,
) -> Outcome {
    let hotkey = nonce.validator.to_string();
    if discovery.proof == DiscoveryProof::V1 && last.seen_v2 {
        return Ok(Err(Inadmissible::Downgrade));
    }
    let Some(session) = matching(connection, &hotkey, discovery.proof, nonce.now).await? else {
        return Ok(Err(Inadmissible::NoSession));
    };
    // An epoch above i64::MAX cannot be a count of leaders; it is refused as one that can never be followed.
    let Ok(epoch) = i64::try_from(discovery.proof.epoch().0) else {
        return Ok(Err(Inadmissible::Superseded));
    };
    if (epoch, discovery.timestamp_secs) <= (last.last_epoch, last.last_ts_secs) {
        return Ok(Err(Inadmissible::Superseded));
    }
    sqlx::query("UPDATE validators SET seen_v2 = ?, last_epoch = ?, last_ts_secs = ? WHERE hotkey = ?")
        .bind(last.seen_v2 || discovery.proof != DiscoveryProof::V1)
        .bind(epoch)
        .bind(discovery.timestamp_secs)
        .bind(&hotkey)
        .execute(&mut *connection)
        .await
        .map_err(unavailable("admit discovery"))?;
    let mut record = session.record()?;
    if let Some(key) = &discovery.public_key {
        if record.public_key.as_ref() != Some(key) {
            sessions::give_key(connection, &record, key, nonce.now, discovery.keyed_sessions).await?;
        }
        record.public_key = Some(key.clone());
    }
    Ok(Ok(record))
}

async fn matching(
    connection: &mut SqliteConnection,
    hotkey: &str,
    proof: DiscoveryProof,
    now: Timestamp,
) -> Result<Option<Row>, StoreError> {
    let query = match proof {
        DiscoveryProof::V2 { token_hash, .. } => sqlx::query_as(
            "SELECT id, validator, expires_at, public_key FROM sessions \
             WHERE validator = ? AND expires_at > ? AND ended_at IS NULL AND token_hash = ?",
        )
        .bind(hotkey)
        .bind(now.0)
        .bind(token_hash.as_bytes().to_vec()),
        DiscoveryProof::V1 => sqlx::query_as(
            "SELECT id, validator, expires_at, public_key FROM sessions \
             WHERE validator = ? AND expires_at > ? AND ended_at IS NULL ORDER BY opened_at DESC, id LIMIT 1",
        )
        .bind(hotkey)
        .bind(now.0),
    };
    query.fetch_optional(connection).await.map_err(unavailable("find session"))
}
