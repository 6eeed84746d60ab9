//! Host keys of the miner's nodes.

use basilica_ports::{HostKeyApproval, HostKeyRecord, StoreError};
use basilica_types::{HostKey, NodeAddress, NodeId, Timestamp};
use sqlx::sqlite::SqliteConnection;

use super::operations;
use crate::Database;
use crate::database::{corrupt, unavailable};

#[derive(sqlx::FromRow)]
struct Row {
    node_id: String,
    address: String,
    pinned: String,
    offered: Option<String>,
}

impl Row {
    fn record(&self) -> Result<HostKeyRecord, StoreError> {
        let offered = self.offered.as_ref().map(|line| line.parse()).transpose();
        Ok(HostKeyRecord {
            node_id: self.node_id.parse().map_err(corrupt("host_keys.node_id"))?,
            address: self.address.parse().map_err(corrupt("host_keys.address"))?,
            pinned: self.pinned.parse().map_err(corrupt("host_keys.pinned"))?,
            offered: offered.map_err(corrupt("host_keys.offered"))?,
        })
    }
}

pub(super) async fn find(database: &Database, node: NodeId) -> Result<Option<HostKeyRecord>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT node_id, address, pinned, offered FROM host_keys WHERE node_id = ?")
            .bind(node.to_string())
            .fetch_optional(database.readers())
            .await
            .map_err(unavailable("find host key"))?;
    row.as_ref().map(Row::record).transpose()
}

pub(super) async fn all(database: &Database) -> Result<Vec<HostKeyRecord>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT node_id, address, pinned, offered FROM host_keys ORDER BY address")
            .fetch_all(database.readers())
            .await
            .map_err(unavailable("list host keys"))?;
    rows.iter().map(Row::record).collect()
}

pub(super) async fn pin(
    database: &Database,
    node: NodeId,
    address: &NodeAddress,
    key: &HostKey,
    now: Timestamp,
) -> Result<(), StoreError> {
    let failed = unavailable("pin host key");
    let mut transaction = database.begin("pin host key").await?;
    sqlx::query(
        "INSERT INTO host_keys (node_id, address, pinned, pinned_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(node.to_string())
    .bind(address.to_string())
    .bind(key.to_string())
    .bind(now.0)
    .execute(&mut *transaction)
    .await
    .map_err(&failed)?;
    transaction.commit().await.map_err(&failed)
}

pub(super) async fn offer(
    database: &Database,
    node: NodeId,
    key: &HostKey,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let failed = unavailable("note offered host key");
    let mut transaction = database.begin("note offered host key").await?;
    let changed = sqlx::query(
        "UPDATE host_keys SET offered = ?1, offered_at = ?2 \
         WHERE node_id = ?3 AND pinned <> ?1 AND offered IS NOT ?1",
    )
    .bind(key.to_string())
    .bind(now.0)
    .bind(node.to_string())
    .execute(&mut *transaction)
    .await
    .map_err(&failed)?
    .rows_affected();
    transaction.commit().await.map_err(&failed)?;
    Ok(changed > 0)
}

pub(super) async fn withdraw(database: &Database, node: NodeId, pinned: &HostKey) -> Result<(), StoreError> {
    let failed = unavailable("withdraw host key");
    let mut transaction = database.begin("withdraw host key").await?;
    sqlx::query("UPDATE host_keys SET offered = NULL, offered_at = NULL WHERE node_id = ? AND pinned = ?")
        .bind(node.to_string())
        .bind(pinned.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    transaction.commit().await.map_err(&failed)
}

pub(super) async fn approve(
    database: &Database,
    node: NodeId,
    fingerprint: &str,
    now: Timestamp,
) -> Result<HostKeyApproval, StoreError> {
    let failed = unavailable("approve host key");
    let mut transaction = database.begin("approve host key").await?;
    let Some(before) = offered(&mut transaction, node).await? else {
        return Ok(HostKeyApproval::NothingOffered);
    };
    if before.offered.as_ref().is_none_or(|key| key.fingerprint() != fingerprint) {
        return Ok(HostKeyApproval::OtherKey(before));
    }
    sqlx::query(
        "UPDATE host_keys SET pinned = offered, pinned_at = ?, offered = NULL, offered_at = NULL WHERE node_id = ?",
    )
    .bind(now.0)
    .bind(node.to_string())
    .execute(&mut *transaction)
    .await
    .map_err(&failed)?;
    operations::bump(&mut transaction).await?;
    transaction.commit().await.map_err(&failed)?;
    Ok(HostKeyApproval::Approved(before))
}

async fn offered(
    connection: &mut SqliteConnection,
    node: NodeId,
) -> Result<Option<HostKeyRecord>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT node_id, address, pinned, offered FROM host_keys WHERE node_id = ? AND offered IS NOT NULL",
    )
    .bind(node.to_string())
    .fetch_optional(connection)
    .await
    .map_err(unavailable("find host key"))?;
    row.as_ref().map(Row::record).transpose()
}
