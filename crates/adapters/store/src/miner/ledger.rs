//! Sessions for their operator: what there are and were, and ending them.

use std::collections::HashMap;

use async_trait::async_trait;
use basilica_ports::{MinerSessions, SessionChoice, SessionEnd, SessionView, StoreError};
use basilica_types::{NodeId, Timestamp};
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use super::{MinerDatabase, operations};
use crate::database::{corrupt, unavailable};

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    validator: String,
    opened_at: i64,
    expires_at: i64,
    public_key: Option<String>,
    ended_at: Option<i64>,
    ended_why: Option<String>,
}

impl Row {
    fn ended(&self, now: Timestamp) -> Option<(Timestamp, SessionEnd)> {
        let Some(ended_at) = self.ended_at else {
            let expired = self.expires_at <= now.0;
            return expired.then_some((Timestamp(self.expires_at), SessionEnd::Expired));
        };
        let recorded = [SessionEnd::Replaced, SessionEnd::Revoked, SessionEnd::Shutdown];
        let why = recorded.into_iter().find(|end| self.ended_why.as_deref() == Some(end.name()));
        Some((Timestamp(ended_at), why.unwrap_or(SessionEnd::Unrecorded)))
    }

    fn view(&self, nodes: Vec<NodeId>, now: Timestamp) -> Result<SessionView, StoreError> {
        let key = self.public_key.as_ref().map(|line| line.parse()).transpose();
        Ok(SessionView {
            id: self.id.parse().map_err(corrupt("sessions.id"))?,
            validator: self.validator.parse().map_err(corrupt("sessions.validator"))?,
            opened_at: Timestamp(self.opened_at),
            expires_at: Timestamp(self.expires_at),
            ended: self.ended(now),
            public_key: key.map_err(corrupt("sessions.public_key"))?,
            nodes,
        })
    }
}

async fn views(
    connection: &mut SqliteConnection,
    rows: &[Row],
    now: Timestamp,
) -> Result<Vec<SessionView>, StoreError> {
    let deployed: Vec<(String, String)> =
        sqlx::query_as("SELECT id, node_id FROM deployments JOIN sessions ON seq = session ORDER BY node_id")
            .fetch_all(connection)
            .await
            .map_err(unavailable("list deployments"))?;
    let mut nodes: HashMap<String, Vec<NodeId>> = HashMap::new();
    for (session, node) in deployed {
        nodes.entry(session).or_default().push(node.parse().map_err(corrupt("deployments.node_id"))?);
    }
    rows.iter().map(|row| row.view(nodes.remove(&row.id).unwrap_or_default(), now)).collect()
}

#[async_trait]
impl MinerSessions for MinerDatabase {
    async fn sessions(&self, now: Timestamp) -> Result<Vec<SessionView>, StoreError> {
        let began = Instant::now();
        let outcome = async {
            let failed = unavailable("list sessions");
            let mut reading = self.database.readers().begin().await.map_err(&failed)?;
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT id, validator, opened_at, expires_at, public_key, ended_at, ended_why FROM sessions \
                 ORDER BY opened_at DESC, id",
            )
            .fetch_all(&mut *reading)
            .await
            .map_err(&failed)?;
            views(&mut reading, &rows, now).await
        };
        self.reads.outcome(began, outcome.await)
    }

    async fn revoke_sessions(
        &self,
        choice: SessionChoice,
        now: Timestamp,
    ) -> Result<Vec<SessionView>, StoreError> {
        let began = Instant::now();
        let outcome = async {
            let failed = unavailable("revoke sessions");
            let (id, validator) = match choice {
                SessionChoice::One(id) => (Some(id.to_string()), None),
                SessionChoice::Of(validator) => (None, Some(validator.to_string())),
                SessionChoice::All => (None, None),
            };
            let mut transaction = self.database.begin("revoke sessions").await?;
            let rows: Vec<Row> = sqlx::query_as(
                "UPDATE sessions SET ended_at = ?1, ended_why = 'revoked' \
                 WHERE ended_at IS NULL AND expires_at > ?1 AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR validator = ?3) \
                 RETURNING id, validator, opened_at, expires_at, public_key, ended_at, ended_why",
            )
            .bind(now.0)
            .bind(id)
            .bind(validator)
            .fetch_all(&mut *transaction)
            .await
            .map_err(&failed)?;
            let revoked = views(&mut transaction, &rows, now).await?;
            if !revoked.is_empty() {
                operations::bump(&mut transaction).await?;
            }
            transaction.commit().await.map_err(&failed)?;
            Ok(revoked)
        };
        self.writes.outcome(began, outcome.await)
    }
}
