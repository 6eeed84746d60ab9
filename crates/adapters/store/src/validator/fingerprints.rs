//! What GPUs showed when they were first proved, for each node apart.

use basilica_ports::{CheckEntry, NodeKey, StoreError};
use basilica_types::{GpuUuid, Timestamp};
use basilica_verification::fingerprint::Fingerprint;

use super::ValidatorDatabase;
use super::columns::parse;
use crate::database::{corrupt, unavailable};
use crate::sql::{Transaction, query};

/// Those of `uuids` that the node proved before.
pub(super) async fn of_node(
    database: &ValidatorDatabase,
    key: NodeKey,
    uuids: &[GpuUuid],
) -> Result<Vec<Fingerprint>, StoreError> {
    let mut known = Vec::with_capacity(uuids.len());
    for uuid in uuids {
        let row: Option<(String, Option<String>)> =
            query("SELECT facts, machine FROM fingerprints WHERE miner = $1 AND node = $2 AND uuid = $3")
                .bind(key.miner.to_string())
                .bind(key.node.to_string())
                .bind(uuid.to_string())
                .fetch_optional(database.readers())
                .await
                .map_err(unavailable("read fingerprints"))?;
        if let Some((facts, machine)) = row {
            let facts = serde_json::from_str(&facts).map_err(corrupt("fingerprints.facts"))?;
            let machine = machine.map(|machine| parse(&machine, "fingerprints.machine")).transpose()?;
            known.push(Fingerprint { uuid: *uuid, facts, machine });
        }
    }
    Ok(known)
}

/// Keeps the fingerprints of a passed check.
pub(super) async fn keep(connection: &mut Transaction, entry: &CheckEntry) -> Result<(), StoreError> {
    for Fingerprint { uuid, facts, machine } in &entry.fingerprints {
        query(
            "INSERT INTO fingerprints (miner, node, uuid, facts, first, seen, machine)
             VALUES ($1, $2, $3, $4, $5, $5, $6)
             ON CONFLICT (miner, node, uuid) DO UPDATE SET facts = $4, seen = $5, machine = $6",
        )
        .bind(entry.key.miner.to_string())
        .bind(entry.key.node.to_string())
        .bind(uuid.to_string())
        .bind(serde_json::to_string(facts).expect("texts and numbers always serialise"))
        .bind(entry.summary.finished.0)
        .bind(machine.map(|machine| machine.to_string()))
        .execute(&mut *connection)
        .await
        .map_err(unavailable("store fingerprint"))?;
    }
    Ok(())
}

/// Forgets what was not proved since; at most `limit`.
pub(super) async fn prune(
    connection: &mut Transaction,
    before: Timestamp,
    limit: u32,
) -> Result<u64, StoreError> {
    let removed = query(
        "DELETE FROM fingerprints WHERE (miner, node, uuid) IN (
             SELECT miner, node, uuid FROM fingerprints WHERE seen < $1 LIMIT $2)",
    )
    .bind(before.0)
    .bind(i64::from(limit))
    .execute(connection)
    .await
    .map_err(unavailable("prune fingerprints"))?;
    Ok(removed)
}
