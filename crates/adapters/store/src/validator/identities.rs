//! Which nodes proved GPUs behind the same host key or on the same machine, and who did first.

use std::collections::BTreeSet;

use basilica_ports::{CheckEntry, NodeKey, StoreError};
use basilica_types::Timestamp;
use basilica_verification::fleet::{Claimant, Identity};

use super::ValidatorDatabase;
use super::columns::parse;
use crate::database::unavailable;
use crate::sql::{Transaction, query};

/// Nodes read of one identity, the first ones: copies of one image may be many, and the holder is what matters.
const CLAIMANTS_READ: u32 = 64;

/// The columns `kind` and `value`.
fn columns(identity: &Identity) -> (&'static str, String) {
    let value = match identity {
        Identity::Gpu(uuid) => uuid.to_string(),
        Identity::HostKey(digest) | Identity::MachineId(digest) => digest.to_string(),
    };
    (identity.as_str(), value)
}

/// Who proved each of them, and not longer ago than `seen_since`.
pub(super) async fn claimants(
    database: &ValidatorDatabase,
    identities: &BTreeSet<Identity>,
    seen_since: Timestamp,
) -> Result<Vec<Claimant>, StoreError> {
    let mut claimants = Vec::new();
    for identity in identities {
        let (kind, value) = columns(identity);
        // Of a GPU its owner is known, and no one else.
        let statement = match identity {
            Identity::Gpu(_) => {
                "SELECT miner, node, proven_at FROM gpus WHERE $1 = 'gpu' AND uuid = $2 AND proven_at >= $3 LIMIT $4"
            }
            Identity::HostKey(_) | Identity::MachineId(_) => {
                "SELECT miner, node, first FROM identities WHERE kind = $1 AND value = $2 AND seen >= $3
                 ORDER BY first, miner, node LIMIT $4"
            }
        };
        let rows: Vec<(String, String, i64)> = query(statement)
            .bind(kind)
            .bind(value)
            .bind(seen_since.0)
            .bind(CLAIMANTS_READ)
            .fetch_all(database.readers())
            .await
            .map_err(unavailable("read identities"))?;
        for (miner, node, first) in rows {
            let node =
                NodeKey { miner: parse(&miner, "identities.miner")?, node: parse(&node, "identities.node")? };
            let identities = BTreeSet::from([*identity]);
            claimants.push(Claimant { node, since: Timestamp(first), identities });
        }
    }
    Ok(claimants)
}

/// Keeps the identities of a passed check.
pub(super) async fn keep(connection: &mut Transaction, entry: &CheckEntry) -> Result<(), StoreError> {
    // GPUs have a table of their own.
    for identity in entry.identities.iter().filter(|identity| !matches!(identity, Identity::Gpu(_))) {
        let (kind, value) = columns(identity);
        query(
            "INSERT INTO identities (kind, value, miner, node, first, seen) VALUES ($1, $2, $3, $4, $5, $5)
             ON CONFLICT (kind, value, miner, node) DO UPDATE SET seen = $5",
        )
        .bind(kind)
        .bind(value)
        .bind(entry.key.miner.to_string())
        .bind(entry.key.node.to_string())
        .bind(entry.summary.finished.0)
        .execute(&mut *connection)
        .await
        .map_err(unavailable("store identity"))?;
    }
    Ok(())
}

/// Forgets what was not proved since; at most `limit`.
pub(super) async fn prune(
    connection: &mut Transaction,
    before: Timestamp,
    limit: u32,
) -> Result<(), StoreError> {
    query(
        "DELETE FROM identities WHERE (kind, value, miner, node) IN (
             SELECT kind, value, miner, node FROM identities WHERE seen < $1 LIMIT $2)",
    )
    .bind(before.0)
    .bind(i64::from(limit))
    .execute(connection)
    .await
    .map_err(unavailable("prune identities"))?;
    Ok(())
}
