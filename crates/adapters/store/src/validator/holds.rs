//! Which nodes are on hold by whom, and which were shown to be different machines.

use std::collections::BTreeSet;

use basilica_ports::{CheckEntry, Holds, NodeKey, StoreError};
use basilica_types::Timestamp;

use super::ValidatorDatabase;
use super::columns::parse;
use crate::database::unavailable;
use crate::sql::{Transaction, query};

/// Pairs read of one node, the newest: more than claim one identity (see `identities`).
const PAIRS_READ: u32 = 1024;

fn keys(rows: Vec<(String, String)>) -> Result<BTreeSet<NodeKey>, StoreError> {
    let key = |(miner, node): &(String, String)| {
        Ok(NodeKey { miner: parse(miner, "holds.miner")?, node: parse(node, "holds.node")? })
    };
    rows.iter().map(key).collect()
}

/// What is known of one node.
pub(super) async fn of_node(database: &ValidatorDatabase, key: NodeKey) -> Result<Holds, StoreError> {
    let (miner, node) = (key.miner.to_string(), key.node.to_string());
    let by = query("SELECT by_miner, by_node FROM holds WHERE miner = $1 AND node = $2")
        .bind(&miner)
        .bind(&node)
        .fetch_all(database.readers())
        .await
        .map_err(unavailable("read holds"))?;
    let apart = query(
        "SELECT m, n FROM (
             SELECT other_miner AS m, other_node AS n, at FROM apart WHERE miner = $1 AND node = $2
             UNION ALL SELECT miner, node, at FROM apart WHERE other_miner = $1 AND other_node = $2) AS pairs
         ORDER BY at DESC LIMIT $3",
    )
    .bind(miner)
    .bind(node)
    .bind(PAIRS_READ)
    .fetch_all(database.readers())
    .await
    .map_err(unavailable("read holds"))?;
    Ok(Holds { by: keys(by)?, apart: keys(apart)? })
}

/// Keeps whom the node was shown apart from.
pub(super) async fn keep_apart(connection: &mut Transaction, entry: &CheckEntry) -> Result<(), StoreError> {
    for other in &entry.apart_from {
        let (one, other) = (entry.key.min(*other), entry.key.max(*other));
        query(
            "INSERT INTO apart (miner, node, other_miner, other_node, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (miner, node, other_miner, other_node) DO UPDATE SET at = CASE WHEN apart.at < $5 THEN $5 ELSE apart.at END",
        )
        .bind(one.miner.to_string())
        .bind(one.node.to_string())
        .bind(other.miner.to_string())
        .bind(other.node.to_string())
        .bind(entry.summary.finished.0)
        .execute(&mut *connection)
        .await
        .map_err(unavailable("store holds"))?;
    }
    Ok(())
}

/// Whether the two were shown apart.
pub(super) async fn are_apart(
    connection: &mut Transaction,
    one: NodeKey,
    other: NodeKey,
) -> Result<bool, StoreError> {
    let (one, other) = (one.min(other), one.max(other));
    let pair: Option<i64> = query(
        "SELECT CAST(1 AS BIGINT) FROM apart WHERE miner = $1 AND node = $2 AND other_miner = $3 AND other_node = $4",
    )
    .bind(one.miner.to_string())
    .bind(one.node.to_string())
    .bind(other.miner.to_string())
    .bind(other.node.to_string())
    .scalar_optional(connection)
    .await
    .map_err(unavailable("read holds"))?;
    Ok(pair.is_some())
}

/// Puts the node on hold, or ends its hold, if the check says anything of that.
pub(super) async fn keep(connection: &mut Transaction, entry: &CheckEntry) -> Result<(), StoreError> {
    let Some(held_by) = &entry.held_by else { return Ok(()) };
    let operation = unavailable("store holds");
    let (miner, node) = (entry.key.miner.to_string(), entry.key.node.to_string());
    query("DELETE FROM holds WHERE miner = $1 AND node = $2")
        .bind(&miner)
        .bind(&node)
        .execute(&mut *connection)
        .await
        .map_err(&operation)?;
    for by in held_by {
        query("INSERT INTO holds (miner, node, by_miner, by_node) VALUES ($1, $2, $3, $4)")
            .bind(&miner)
            .bind(&node)
            .bind(by.miner.to_string())
            .bind(by.node.to_string())
            .execute(&mut *connection)
            .await
            .map_err(&operation)?;
    }
    Ok(())
}

/// Forgets pairs that did not pass at once since; at most `limit`.
pub(super) async fn prune(
    connection: &mut Transaction,
    before: Timestamp,
    limit: u32,
) -> Result<(), StoreError> {
    query(
        "DELETE FROM apart WHERE (miner, node, other_miner, other_node) IN (
             SELECT miner, node, other_miner, other_node FROM apart WHERE at < $1 LIMIT $2)",
    )
    .bind(before.0)
    .bind(i64::from(limit))
    .execute(connection)
    .await
    .map_err(unavailable("prune holds"))?;
    Ok(())
}
