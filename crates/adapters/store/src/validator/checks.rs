//! What a concluded check writes, statement by statement; `verdicts` puts them into one transaction.

use std::collections::BTreeSet;

use basilica_ports::{CheckEntry, NodeKey, StoreError};
use basilica_types::{Digest, GpuUuid, Timestamp};
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::{CheckKind, Outcome};
use codec::Encode as _;

use super::columns::{self, parse};
use super::fleet::host_keys_to_text;
use super::{conduct, holds};
use crate::database::unavailable;
use crate::sql::{Transaction, query};

/// Whether the node is still as the check found it: the same last verdict and the same pins. Discovery may have pinned
/// another key while the check ran; what was seen under the old one says nothing about the new.
pub(super) async fn is_next(connection: &mut Transaction, entry: &CheckEntry) -> Result<bool, StoreError> {
    let row: Option<(Option<String>, String)> =
        query("SELECT last_digest, host_keys FROM nodes WHERE miner = $1 AND node = $2")
            .bind(entry.key.miner.to_string())
            .bind(entry.key.node.to_string())
            .fetch_optional(connection)
            .await
            .map_err(unavailable("read last verdict"))?;
    let Some((last, pins)) = row else { return Ok(false) };
    let last: Option<Digest> = last.map(|digest| parse(&digest, "nodes.last_digest")).transpose()?;
    Ok(last == entry.previous && pins == host_keys_to_text(&entry.host_keys))
}

/// Makes the node owner of every GPU that it claimed and proved, those included that do not count; or names the node that owns one
/// and still proves it.
pub(super) async fn claim_gpus(
    connection: &mut Transaction,
    entry: &CheckEntry,
) -> Result<Option<NodeKey>, StoreError> {
    for uuid in conduct::claimed(entry) {
        let owner: Option<(String, String, i64)> =
            query("SELECT miner, node, proven_at FROM gpus WHERE uuid = $1")
                .bind(uuid.to_string())
                .fetch_optional(&mut *connection)
                .await
                .map_err(unavailable("read gpu owner"))?;
        if let Some((miner, node, proven_at)) = owner {
            let owner = NodeKey { miner: parse(&miner, "gpus.miner")?, node: parse(&node, "gpus.node")? };
            if owner != entry.key && Timestamp(proven_at) >= entry.gpus_stale_before {
                if holds::are_apart(connection, owner, entry.key).await? {
                    // Two cards under one name: it stays with whoever proved it first, and both are paid.
                    continue;
                }
                return Ok(Some(owner));
            }
            if owner != entry.key {
                take_from(connection, owner, uuid).await?;
            }
        }
        query(
            "INSERT INTO gpus (uuid, miner, node, proven_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (uuid) DO UPDATE SET miner = $2, node = $3, proven_at = $4",
        )
        .bind(uuid.to_string())
        .bind(entry.key.miner.to_string())
        .bind(entry.key.node.to_string())
        .bind(entry.summary.finished.0)
        .execute(&mut *connection)
        .await
        .map_err(unavailable("store gpu owner"))?;
    }
    Ok(None)
}

/// The owner is no longer paid for a GPU that another node proved, however long its own proof counts.
async fn take_from(connection: &mut Transaction, owner: NodeKey, uuid: GpuUuid) -> Result<(), StoreError> {
    let operation = unavailable("take gpu from its owner");
    let (miner, node) = (owner.miner.to_string(), owner.node.to_string());
    let proven: Option<Option<String>> =
        query("SELECT proven_gpus FROM nodes WHERE miner = $1 AND node = $2")
            .bind(&miner)
            .bind(&node)
            .scalar_optional(&mut *connection)
            .await
            .map_err(&operation)?;
    let Some(text) = proven.flatten() else { return Ok(()) };
    let mut gpus = columns::gpus(&text, "nodes.proven_gpus")?;
    gpus.retain(|paid| paid.gpu.uuid != uuid);
    query("UPDATE nodes SET proven_gpus = $3 WHERE miner = $1 AND node = $2")
        .bind(miner)
        .bind(node)
        .bind(columns::gpus_to_text(&gpus))
        .execute(connection)
        .await
        .map_err(operation)?;
    Ok(())
}

pub(super) async fn keep_deadlines(
    connection: &mut Transaction,
    key: NodeKey,
    deadlines: DeadlineRecord,
) -> Result<(), StoreError> {
    query("UPDATE nodes SET deadlines = $3 WHERE miner = $1 AND node = $2")
        .bind(key.miner.to_string())
        .bind(key.node.to_string())
        .bind(deadlines.encode())
        .execute(connection)
        .await
        .map_err(unavailable("store deadlines"))?;
    Ok(())
}

pub(super) async fn insert_verdict(
    connection: &mut Transaction,
    entry: &CheckEntry,
    proved: Option<&BTreeSet<GpuUuid>>,
) -> Result<(), StoreError> {
    let operation = unavailable("store verdict");
    let (miner, node) = (entry.key.miner.to_string(), entry.key.node.to_string());
    let summary = &entry.summary;
    query(
        "INSERT INTO verdicts (digest, miner, node, previous, finished, bytes) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(entry.digest.to_string())
    .bind(&miner)
    .bind(&node)
    .bind(entry.previous.map(|digest| digest.to_string()))
    .bind(summary.finished.0)
    .bind(&entry.verdict)
    .execute(&mut *connection)
    .await
    .map_err(&operation)?;
    query(
        "INSERT INTO history (miner, node, at, entry, started, outcome, fault, gpus)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&miner)
    .bind(&node)
    .bind(summary.finished.0)
    .bind(summary.kind.as_str())
    .bind(entry.started.0)
    .bind(summary.outcome.code())
    .bind(columns::fault(&summary.outcome))
    .bind(proved.map(columns::uuids_to_text))
    .execute(&mut *connection)
    .await
    .map_err(&operation)?;
    if let Some((digest, bytes)) = &entry.transcript {
        keep_transcript(connection, entry.key, summary.finished, (*digest, bytes)).await?;
    }
    Ok(())
}

pub(super) async fn keep_transcript(
    connection: &mut Transaction,
    key: NodeKey,
    at: Timestamp,
    (digest, bytes): (Digest, &[u8]),
) -> Result<(), StoreError> {
    query(
        "INSERT INTO transcripts (digest, miner, node, at, bytes) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (digest) DO NOTHING",
    )
    .bind(digest.to_string())
    .bind(key.miner.to_string())
    .bind(key.node.to_string())
    .bind(at.0)
    .bind(bytes)
    .execute(connection)
    .await
    .map_err(unavailable("store transcript"))?;
    Ok(())
}

pub(super) async fn update_node(connection: &mut Transaction, entry: &CheckEntry) -> Result<(), StoreError> {
    let summary = &entry.summary;
    let proven = summary.kind == CheckKind::Full && summary.outcome == Outcome::Passed;
    let paid = match summary.outcome {
        Outcome::Passed => proven.then(|| columns::gpus_to_text(&conduct::paid(entry))),
        Outcome::Failed { reason, .. } => reason.voids_proof().then(|| columns::gpus_to_text(&[])),
    };
    query(
        "UPDATE nodes SET last_digest = $3, last_kind = $4, last_outcome = $5, last_fault = $6, last_finished = $7,
             due_light = $8, due_full = CASE WHEN $4 = 'full' OR $9 < due_full THEN $9 ELSE due_full END,
             series_kind = NULL, series_since = NULL, series_last = NULL, series_failed = NULL,
             series_controlled = NULL, series_silent = NULL, proven_prover = coalesce($12, proven_prover),
             proven_at = coalesce($10, proven_at), proven_gpus = coalesce($11, proven_gpus),
             full_digest = CASE WHEN $4 = 'full' THEN $3 ELSE full_digest END,
             full_outcome = CASE WHEN $4 = 'full' THEN $5 ELSE full_outcome END,
             full_fault = CASE WHEN $4 = 'full' THEN $6 ELSE full_fault END,
             full_finished = CASE WHEN $4 = 'full' THEN $7 ELSE full_finished END
         WHERE miner = $1 AND node = $2",
    )
    .bind(entry.key.miner.to_string())
    .bind(entry.key.node.to_string())
    .bind(entry.digest.to_string())
    .bind(summary.kind.as_str())
    .bind(summary.outcome.code())
    .bind(columns::fault(&summary.outcome))
    .bind(summary.finished.0)
    .bind(entry.due.light.0)
    .bind(entry.due.full.0)
    .bind(proven.then_some(summary.finished.0))
    .bind(paid)
    .bind(proven.then(|| entry.prover.to_string()))
    .execute(connection)
    .await
    .map_err(unavailable("store verdict"))?;
    Ok(())
}
