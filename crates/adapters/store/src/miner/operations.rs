//! Orders of the operator, and the counter by which a running miner notices them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use basilica_ports::{
    Drained, KnownNode, MaintenanceWindow, MinerOperations, NodeHold, OrderedBy, Orders, Revision, StoreError,
};
use basilica_types::{Millis, NodeId, Timestamp};
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use super::MinerDatabase;
use crate::Database;
use crate::database::{corrupt, unavailable};

/// For how long an ended window counts (RULES R2), and a day.
const REMEMBERED: Millis = Millis::from_secs(15 * 86_400);
/// Most windows remembered of one order on a node; a longer history loses its oldest part.
const WINDOWS: i64 = 1_000;

#[derive(sqlx::FromRow)]
struct Window {
    node_id: String,
    ordered_by: String,
    began_at: i64,
    ended_at: Option<i64>,
    reason: Option<String>,
}

impl Window {
    fn read(self) -> Result<(NodeId, MaintenanceWindow), StoreError> {
        let node = self.node_id.parse().map_err(corrupt("maintenance.node_id"))?;
        let by = OrderedBy::ALL.into_iter().find(|by| by.name() == self.ordered_by);
        let by = by.ok_or_else(|| corrupt("maintenance.ordered_by")(self.ordered_by))?;
        let (began_at, ended_at) = (Timestamp(self.began_at), self.ended_at.map(Timestamp));
        Ok((node, MaintenanceWindow { began_at, ended_at, by, reason: self.reason }))
    }
}

/// Tells a running miner that something was ordered. Part of the transaction that orders it.
pub(super) async fn bump(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE revision SET number = number + 1")
        .execute(connection)
        .await
        .map_err(unavailable("raise revision"))?;
    Ok(())
}

pub(super) async fn is_in_maintenance(
    connection: &mut SqliteConnection,
    node: NodeId,
) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM maintenance WHERE node_id = ? AND ended_at IS NULL)")
        .bind(node.to_string())
        .fetch_one(connection)
        .await
        .map_err(unavailable("find maintenance"))
}

async fn open_window(
    connection: &mut SqliteConnection,
    node: NodeId,
    by: OrderedBy,
) -> Result<Option<MaintenanceWindow>, StoreError> {
    let row: Option<Window> = sqlx::query_as(
        "SELECT node_id, ordered_by, began_at, ended_at, reason FROM maintenance \
         WHERE node_id = ? AND ordered_by = ? AND ended_at IS NULL",
    )
    .bind(node.to_string())
    .bind(by.name())
    .fetch_optional(connection)
    .await
    .map_err(unavailable("find maintenance"))?;
    row.map(|row| row.read().map(|(_, window)| window)).transpose()
}

async fn find_hold(connection: &mut SqliteConnection, node: NodeId) -> Result<Option<NodeHold>, StoreError> {
    let row: Option<(i64, String)> = sqlx::query_as("SELECT since, why FROM node_holds WHERE node_id = ?")
        .bind(node.to_string())
        .fetch_optional(connection)
        .await
        .map_err(unavailable("find held node"))?;
    Ok(row.map(|(since, why)| NodeHold { since: Timestamp(since), why }))
}

async fn revision_of(connection: &mut SqliteConnection) -> Result<Revision, StoreError> {
    let number = sqlx::query_scalar("SELECT number FROM revision")
        .fetch_one(connection)
        .await
        .map_err(unavailable("read revision"))?;
    Ok(Revision(number))
}

async fn begin(
    database: &Database,
    (node, by): (NodeId, OrderedBy),
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Drained, StoreError> {
    let failed = unavailable("begin maintenance");
    let mut transaction = database.begin("begin maintenance").await?;
    if let Some(window) = open_window(&mut transaction, node, by).await? {
        if reason.is_none() || reason == window.reason.as_deref() {
            return Ok(Drained::Already(window));
        }
        let reworded = reword(&mut transaction, (node, window), reason).await?;
        transaction.commit().await.map_err(&failed)?;
        return Ok(reworded);
    }
    sqlx::query(
        "DELETE FROM maintenance WHERE node_id = ?1 AND ordered_by = ?2 AND (ended_at <= ?3 OR began_at IN \
         (SELECT began_at FROM maintenance WHERE node_id = ?1 AND ordered_by = ?2 \
         ORDER BY began_at DESC LIMIT -1 OFFSET ?4))",
    )
    .bind(node.to_string())
    .bind(by.name())
    .bind((now - REMEMBERED).0)
    .bind(WINDOWS - 1)
    .execute(&mut *transaction)
    .await
    .map_err(&failed)?;
    begin_window(&mut transaction, (node, by.name()), reason, now.0).await?;
    bump(&mut transaction).await?;
    transaction.commit().await.map_err(&failed)?;
    let reason = reason.map(ToOwned::to_owned);
    Ok(Drained::Began(MaintenanceWindow { began_at: now, ended_at: None, by, reason }))
}

/// Gives an open window another reason.
async fn reword(
    connection: &mut SqliteConnection,
    (node, mut window): (NodeId, MaintenanceWindow),
    reason: Option<&str>,
) -> Result<Drained, StoreError> {
    let text = "UPDATE maintenance SET reason = ? WHERE node_id = ? AND ordered_by = ? AND ended_at IS NULL";
    let update = sqlx::query(text).bind(reason).bind(node.to_string()).bind(window.by.name());
    update.execute(&mut *connection).await.map_err(unavailable("reword maintenance"))?;
    bump(connection).await?;
    let earlier = std::mem::replace(&mut window.reason, reason.map(ToOwned::to_owned));
    Ok(Drained::Reworded { window, earlier })
}

async fn end(
    database: &Database,
    (node, by): (NodeId, OrderedBy),
    now: Timestamp,
) -> Result<Option<MaintenanceWindow>, StoreError> {
    let failed = unavailable("end maintenance");
    let mut transaction = database.begin("end maintenance").await?;
    let Some(window) = open_window(&mut transaction, node, by).await? else { return Ok(None) };
    // The clock may have been set back since.
    let ended_at = now.max(window.began_at);
    sqlx::query(
        "UPDATE maintenance SET ended_at = ? WHERE node_id = ? AND ordered_by = ? AND ended_at IS NULL",
    )
    .bind(ended_at.0)
    .bind(node.to_string())
    .bind(by.name())
    .execute(&mut *transaction)
    .await
    .map_err(&failed)?;
    bump(&mut transaction).await?;
    transaction.commit().await.map_err(&failed)?;
    Ok(Some(MaintenanceWindow { ended_at: Some(ended_at), ..window }))
}

async fn all(database: &Database) -> Result<Orders, StoreError> {
    let failed = unavailable("read orders");
    // One reading transaction: the revision is that of what is read with it.
    let mut transaction = database.readers().begin().await.map_err(&failed)?;
    let revision = revision_of(&mut transaction).await?;
    let windows: Vec<Window> = sqlx::query_as(
        "SELECT node_id, ordered_by, began_at, ended_at, reason FROM maintenance WHERE ended_at IS NULL",
    )
    .fetch_all(&mut *transaction)
    .await
    .map_err(&failed)?;
    let holds: Vec<(String, i64, String)> = sqlx::query_as("SELECT node_id, since, why FROM node_holds")
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    let mut orders = Orders { revision, ..Orders::default() };
    for row in windows {
        let (node, window) = row.read()?;
        orders.maintenance.entry(node).or_default().insert(window.by, window);
    }
    for (node, since, why) in holds {
        let node = node.parse().map_err(corrupt("node_holds.node_id"))?;
        orders.holds.insert(node, NodeHold { since: Timestamp(since), why });
    }
    Ok(orders)
}

/// Whether there was one.
async fn end_removal(
    connection: &mut SqliteConnection,
    node: NodeId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let ended = sqlx::query(
        "UPDATE maintenance SET ended_at = max(began_at, ?) WHERE node_id = ? AND ordered_by = ? AND ended_at IS NULL",
    )
    .bind(now.0)
    .bind(node.to_string())
    .bind(OrderedBy::Removal.name())
    .execute(connection)
    .await
    .map_err(unavailable("end removal"))?;
    Ok(ended.rows_affected() > 0)
}

async fn remember(database: &Database, nodes: &[KnownNode], now: Timestamp) -> Result<(), StoreError> {
    let failed = unavailable("remember nodes");
    let mut transaction = database.begin("remember nodes").await?;
    let mut is_back = false;
    for node in nodes {
        // Nobody missed it before.
        sqlx::query(
            "UPDATE OR IGNORE maintenance SET began_at = max(began_at, ?1) WHERE node_id = ?2 AND ended_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM nodes WHERE node_id = ?2)",
        )
        .bind(now.0)
        .bind(node.node_id.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        sqlx::query(
            "INSERT INTO nodes (node_id, address, host_key) VALUES (?, ?, ?) \
             ON CONFLICT (node_id) DO UPDATE SET address = excluded.address, host_key = excluded.host_key",
        )
        .bind(node.node_id.to_string())
        .bind(node.address.to_string())
        .bind(node.host_key.as_ref().map(ToString::to_string))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        is_back |= end_removal(&mut transaction, node.node_id, now).await?;
    }
    if is_back {
        bump(&mut transaction).await?;
    }
    transaction.commit().await.map_err(&failed)
}

async fn known(database: &Database) -> Result<Vec<KnownNode>, StoreError> {
    let rows: Vec<(String, String, Option<String>)> =
        sqlx::query_as("SELECT node_id, address, host_key FROM nodes ORDER BY address")
            .fetch_all(database.readers())
            .await
            .map_err(unavailable("list nodes"))?;
    let parse = |(node_id, address, host_key): (String, String, Option<String>)| {
        Ok(KnownNode {
            node_id: node_id.parse().map_err(corrupt("nodes.node_id"))?,
            address: address.parse().map_err(corrupt("nodes.address"))?,
            host_key: host_key.map(|line| line.parse()).transpose().map_err(corrupt("nodes.host_key"))?,
        })
    };
    rows.into_iter().map(parse).collect()
}

async fn forget(database: &Database, node: NodeId, now: Timestamp) -> Result<(), StoreError> {
    let failed = unavailable("forget node");
    let mut transaction = database.begin("forget node").await?;
    for statement in [
        "DELETE FROM deployments WHERE node_id = ?",
        "DELETE FROM node_holds WHERE node_id = ?",
        "DELETE FROM nodes WHERE node_id = ?",
    ] {
        sqlx::query(statement).bind(node.to_string()).execute(&mut *transaction).await.map_err(&failed)?;
    }
    if end_removal(&mut transaction, node, now).await? {
        bump(&mut transaction).await?;
    }
    split_maintenance(&mut transaction, node, now).await?;
    transaction.commit().await.map_err(&failed)
}

/// Each open window ends, and another one of the same order begins.
async fn split_maintenance(
    connection: &mut SqliteConnection,
    node: NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let failed = unavailable("split maintenance");
    let text = "UPDATE maintenance SET ended_at = max(began_at, ?) WHERE node_id = ? AND ended_at IS NULL \
                RETURNING ordered_by, reason, ended_at";
    let split = sqlx::query_as::<_, (String, Option<String>, i64)>(text).bind(now.0).bind(node.to_string());
    for (by, reason, ended_at) in split.fetch_all(&mut *connection).await.map_err(&failed)? {
        begin_window(connection, (node, &by), reason.as_deref(), ended_at).await?;
    }
    Ok(())
}

async fn begin_window(
    connection: &mut SqliteConnection,
    (node, by): (NodeId, &str),
    reason: Option<&str>,
    at: i64,
) -> Result<(), StoreError> {
    // A window that began in this very millisecond goes on: its row is the key.
    sqlx::query(
        "INSERT INTO maintenance (node_id, ordered_by, began_at, reason) VALUES (?, ?, ?, ?) \
         ON CONFLICT (node_id, ordered_by, began_at) DO UPDATE SET ended_at = NULL, reason = excluded.reason",
    )
    .bind(node.to_string())
    .bind(by)
    .bind(at)
    .bind(reason)
    .execute(connection)
    .await
    .map_err(unavailable("begin maintenance"))?;
    Ok(())
}

#[async_trait]
impl MinerOperations for MinerDatabase {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let began = Instant::now();
        let outcome = async {
            let mut connection =
                self.database.readers().acquire().await.map_err(unavailable("read revision"))?;
            revision_of(&mut connection).await
        };
        self.reads.outcome(began, outcome.await)
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        self.reads.outcome(Instant::now(), all(&self.database).await)
    }

    async fn begin_maintenance(
        &self,
        node: NodeId,
        by: OrderedBy,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.writes.outcome(Instant::now(), begin(&self.database, (node, by), reason, now).await)
    }

    async fn end_maintenance(
        &self,
        node: NodeId,
        by: OrderedBy,
        now: Timestamp,
    ) -> Result<Option<MaintenanceWindow>, StoreError> {
        self.writes.outcome(Instant::now(), end(&self.database, (node, by), now).await)
    }

    async fn maintenance(
        &self,
        since: Timestamp,
    ) -> Result<BTreeMap<NodeId, Vec<MaintenanceWindow>>, StoreError> {
        let began = Instant::now();
        let outcome = async {
            let rows: Vec<Window> = sqlx::query_as(
                "SELECT node_id, ordered_by, began_at, ended_at, reason FROM maintenance \
                 WHERE ended_at IS NULL OR ended_at > ? ORDER BY node_id, began_at",
            )
            .bind(since.0)
            .fetch_all(self.database.readers())
            .await
            .map_err(unavailable("list maintenance"))?;
            let mut windows: BTreeMap<NodeId, Vec<MaintenanceWindow>> = BTreeMap::new();
            for row in rows {
                let (node, window) = row.read()?;
                windows.entry(node).or_default().push(window);
            }
            Ok(windows)
        };
        self.reads.outcome(began, outcome.await)
    }

    async fn hold_node(&self, node: NodeId, hold: &NodeHold) -> Result<Revision, StoreError> {
        let began = Instant::now();
        let outcome = async {
            let failed = unavailable("hold node");
            let mut transaction = self.database.begin("hold node").await?;
            sqlx::query(
                "INSERT INTO node_holds (node_id, since, why) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(node.to_string())
            .bind(hold.since.0)
            .bind(&hold.why)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
            bump(&mut transaction).await?;
            let revision = revision_of(&mut transaction).await?;
            transaction.commit().await.map_err(&failed)?;
            Ok(revision)
        };
        self.writes.outcome(began, outcome.await)
    }

    async fn release_node(&self, node: NodeId) -> Result<Option<NodeHold>, StoreError> {
        let began = Instant::now();
        let outcome = async {
            let failed = unavailable("release node");
            let mut transaction = self.database.begin("release node").await?;
            let Some(hold) = find_hold(&mut transaction, node).await? else { return Ok(None) };
            sqlx::query("DELETE FROM node_holds WHERE node_id = ?")
                .bind(node.to_string())
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
            bump(&mut transaction).await?;
            transaction.commit().await.map_err(&failed)?;
            Ok(Some(hold))
        };
        self.writes.outcome(began, outcome.await)
    }

    async fn remember_nodes(&self, nodes: &[KnownNode], now: Timestamp) -> Result<(), StoreError> {
        self.writes.outcome(Instant::now(), remember(&self.database, nodes, now).await)
    }

    async fn known_nodes(&self) -> Result<Vec<KnownNode>, StoreError> {
        self.reads.outcome(Instant::now(), known(&self.database).await)
    }

    async fn deployed_until(&self, node: NodeId) -> Result<Option<Timestamp>, StoreError> {
        let began = Instant::now();
        let outcome = async {
            let until: Option<i64> = sqlx::query_scalar(
                "SELECT max(expires_at) FROM deployments JOIN sessions ON seq = session WHERE node_id = ?",
            )
            .bind(node.to_string())
            .fetch_one(self.database.readers())
            .await
            .map_err(unavailable("look for deployments"))?;
            Ok(until.map(Timestamp))
        };
        self.reads.outcome(began, outcome.await)
    }

    async fn forget_node(&self, node: NodeId, now: Timestamp) -> Result<(), StoreError> {
        self.writes.outcome(Instant::now(), forget(&self.database, node, now).await)
    }
}
