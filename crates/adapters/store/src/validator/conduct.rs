//! What histories come to: folded where they are written, in the same transaction, and nowhere else.
//!
//! A record that is missing, damaged or folded by other rules is left out from then on and folded anew from history
//! ([`super::refold`]): history is what is true, and a record only saves reading it.

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::{CheckEntry, NodeConduct, NodeKey, NodeScore, PaidGpu, Scores, StoreError};
use basilica_scoring::history::{Check, Entry, GpuRecord, Policy, Record};
use basilica_types::{BasisPoints, GpuUuid, Hotkey, NodeId, Ppm, Timestamp};
use basilica_verification::{CheckKind, Outcome};

use super::ValidatorDatabase;
use super::columns::{self, parse, unsigned};
use super::fleet::StandingRow;
use crate::batch::{self, row};
use crate::database::{corrupt, unavailable};
use crate::sql::{Transaction, aside, query};

/// The uuids that a check speaks of, those included that do not count.
pub(super) fn claimed(entry: &CheckEntry) -> BTreeSet<GpuUuid> {
    let counted = entry.gpus.iter().map(|gpu| gpu.uuid);
    entry.fingerprints.iter().map(|print| print.uuid).chain(counted).collect()
}

/// What a passed full check is paid for, with the memory that each showed.
pub(super) fn paid(entry: &CheckEntry) -> Vec<PaidGpu> {
    let memory =
        |uuid| entry.fingerprints.iter().find(|print| print.uuid == uuid).map(|p| p.facts.memory_bytes);
    entry.gpus.iter().map(|gpu| PaidGpu { gpu: *gpu, memory_bytes: memory(gpu.uuid) }).collect()
}

/// Those of them that a passed full check proved and that are the node's own; none of another check. One that stays with whoever
/// proved it first is followed there.
pub(super) async fn proved(
    transaction: &mut Transaction,
    entry: &CheckEntry,
) -> Result<Option<BTreeSet<GpuUuid>>, StoreError> {
    if entry.summary.kind != CheckKind::Full || entry.summary.outcome != Outcome::Passed {
        return Ok(None);
    }
    let own: Vec<String> = query("SELECT uuid FROM gpus WHERE miner = $1 AND node = $2")
        .bind(entry.key.miner.to_string())
        .bind(entry.key.node.to_string())
        .scalars(transaction)
        .await
        .map_err(unavailable("read gpus of node"))?;
    let claimed = claimed(entry);
    let own: BTreeSet<GpuUuid> =
        own.iter().map(|uuid| parse(uuid, "gpus.uuid")).collect::<Result<_, StoreError>>()?;
    Ok(Some(own.intersection(&claimed).copied().collect()))
}

/// Folds a concluded check.
pub(super) async fn fold_check(
    transaction: &mut Transaction,
    policy: &Policy,
    entry: &CheckEntry,
    proved: Option<&BTreeSet<GpuUuid>>,
) -> Result<(), StoreError> {
    let summary = &entry.summary;
    let check = Check::concluded(summary.kind, entry.started, summary.finished, &summary.outcome);
    fold(transaction, policy, entry.key, &Entry::Check(check), proved).await
}

#[derive(sqlx::FromRow)]
struct OwnRow {
    record: Option<Vec<u8>>,
    proven_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct GpuRow {
    uuid: String,
    record: Option<Vec<u8>>,
}

/// Folds an entry into the record of its node and of the GPUs that are its own. `proved`: what a passed full check
/// proved; its GPUs are the node's by now.
pub(super) async fn fold(
    transaction: &mut Transaction,
    policy: &Policy,
    key: NodeKey,
    entry: &Entry,
    proved: Option<&BTreeSet<GpuUuid>>,
) -> Result<(), StoreError> {
    let operation = unavailable("fold history");
    let (miner, node) = (key.miner.to_string(), key.node.to_string());
    let own: Option<OwnRow> = query("SELECT record, proven_at FROM nodes WHERE miner = $1 AND node = $2")
        .bind(&miner)
        .bind(&node)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&operation)?;
    let Some(own) = own else { return Ok(()) };
    let Some(before) = own.record.and_then(|bytes| Record::from_bytes(policy, &bytes).ok()) else {
        return forget(transaction, &miner, &node).await;
    };
    let gpus: Vec<GpuRow> =
        query("SELECT uuid, record FROM gpus WHERE miner = $1 AND node = $2 ORDER BY uuid")
            .bind(&miner)
            .bind(&node)
            .fetch_all(&mut *transaction)
            .await
            .map_err(&operation)?;
    let has_gpus = gpus.iter().any(|gpu| gpu.record.is_some());
    for gpu in gpus {
        let uuid: GpuUuid = parse(&gpu.uuid, "gpus.uuid")?;
        let is_proved = proved.is_some_and(|proved| proved.contains(&uuid));
        let kept = gpu.record.map(|bytes| GpuRecord::from_bytes(policy, &bytes)).transpose();
        let Ok(kept) = kept else { return forget(transaction, &miner, &node).await };
        if let Some(record) = followed(kept, entry, &before, (is_proved, has_gpus), policy) {
            query("UPDATE gpus SET record = $2 WHERE uuid = $1")
                .bind(gpu.uuid)
                .bind(record.to_bytes(policy))
                .execute(&mut *transaction)
                .await
                .map_err(&operation)?;
        }
    }
    let mut record = before;
    if own.proven_at.is_none() && proved.is_some() {
        let gone = banned_hosts(transaction, policy, &miner, entry.at()).await?;
        gone.into_iter().for_each(|until| record.serve(until));
    }
    record.apply(entry, policy);
    write(transaction, (&miner, &node), &record.to_bytes(policy)).await
}

/// What an entry of its node makes of a GPU's record; none if it has none yet and was not proved.
pub(super) fn followed(
    kept: Option<GpuRecord>,
    entry: &Entry,
    node: &Record,
    (is_proved, node_has_gpus): (bool, bool),
    policy: &Policy,
) -> Option<GpuRecord> {
    match (kept, entry) {
        (Some(mut gpu), _) => {
            gpu.follow(entry, node, is_proved, policy);
            Some(gpu)
        }
        (None, Entry::Check(check)) if is_proved => {
            Some(GpuRecord::first_proved(node, node_has_gpus, check, policy))
        }
        (None, _) => None,
    }
}

/// Writes records of nodes, and of GPUs; none: it has none any more.
pub(super) async fn write_all(
    transaction: &mut Transaction,
    nodes: Vec<batch::Row>,
    gpus: Vec<batch::Row>,
) -> Result<(), StoreError> {
    let operation = unavailable("store records");
    batch::execute(
        transaction,
        "WITH v(miner, node, record) AS (VALUES {rows})
         UPDATE nodes SET record = v.record FROM v WHERE nodes.miner = v.miner AND nodes.node = v.node",
        nodes,
    )
    .await
    .map_err(&operation)?;
    batch::execute(
        transaction,
        "WITH v(uuid, record) AS (VALUES {rows}) UPDATE gpus SET record = v.record FROM v WHERE gpus.uuid = v.uuid",
        gpus,
    )
    .await
    .map_err(&operation)?;
    Ok(())
}

/// Folds what is said of the availability of nodes of one miner, each node's entries in their order. No check is among them: nothing
/// is proved by it. Takes as many statements for a thousand nodes as for ten.
pub(super) async fn fold_moments(
    transaction: &mut Transaction,
    policy: &Policy,
    miner: Hotkey,
    moments: &BTreeMap<NodeId, Vec<Entry>>,
) -> Result<(), StoreError> {
    if moments.is_empty() {
        return Ok(());
    }
    let operation = unavailable("fold history");
    let kept: Vec<(String, Option<Vec<u8>>)> = query("SELECT node, record FROM nodes WHERE miner = $1")
        .bind(miner.to_string())
        .fetch_all(&mut *transaction)
        .await
        .map_err(&operation)?;
    let mut gpus: BTreeMap<String, Vec<GpuRow>> = BTreeMap::new();
    let owned: Vec<(String, String, Option<Vec<u8>>)> =
        query("SELECT node, uuid, record FROM gpus WHERE miner = $1")
            .bind(miner.to_string())
            .fetch_all(&mut *transaction)
            .await
            .map_err(&operation)?;
    for (node, uuid, record) in owned {
        gpus.entry(node).or_default().push(GpuRow { uuid, record });
    }
    let (mut nodes, mut followers) = (Vec::new(), Vec::new());
    for (node, record) in kept {
        let Some(entries) = moments.get(&parse(&node, "nodes.node")?) else { continue };
        let own: Vec<GpuRow> =
            gpus.remove(&node).into_iter().flatten().filter(|gpu| gpu.record.is_some()).collect();
        match record.and_then(|record| moved_on(policy, &record, &own, entries)) {
            Some((record, own)) => {
                nodes.push(row![miner.to_string(), node, record]);
                followers.extend(own.into_iter().map(|(uuid, record)| row![uuid, record]));
            }
            None => {
                // As `forget` does it.
                nodes.push(row![miner.to_string(), node, None::<Vec<u8>>]);
                followers.extend(own.into_iter().map(|gpu| row![gpu.uuid, SPOILT]));
            }
        }
    }
    write_all(transaction, nodes, followers).await
}

/// A GPU by its uuid, and its record as bytes.
type Followed = (String, Vec<u8>);

/// A node's record and those of its GPUs after these entries; none if one of them cannot be read.
fn moved_on(
    policy: &Policy,
    record: &[u8],
    gpus: &[GpuRow],
    entries: &[Entry],
) -> Option<(Vec<u8>, Vec<Followed>)> {
    let mut record = Record::from_bytes(policy, record).ok()?;
    let read =
        |gpu: &GpuRow| Some((gpu.uuid.clone(), GpuRecord::from_bytes(policy, gpu.record.as_ref()?).ok()?));
    let mut own: Vec<(String, GpuRecord)> = gpus.iter().map(read).collect::<Option<_>>()?;
    for entry in entries {
        own.iter_mut().for_each(|(_, gpu)| gpu.follow(entry, &record, false, policy));
        record.apply(entry, policy);
    }
    let own = own.into_iter().map(|(uuid, gpu)| (uuid, gpu.to_bytes(policy))).collect();
    Some((record.to_bytes(policy), own))
}

async fn write(
    transaction: &mut Transaction,
    (miner, node): (&str, &str),
    record: &[u8],
) -> Result<(), StoreError> {
    query("UPDATE nodes SET record = $3 WHERE miner = $1 AND node = $2")
        .bind(miner)
        .bind(node)
        .bind(record)
        .execute(transaction)
        .await
        .map_err(unavailable("store record"))?;
    Ok(())
}

/// What stands in place of a GPU's record that does not follow its history any more: it cannot be read, so that whichever node
/// it moves to is folded anew as well.
const SPOILT: &[u8] = &[];

/// A record that does not follow its history any more is no record, and its GPUs' are as old as it is.
async fn forget(transaction: &mut Transaction, miner: &str, node: &str) -> Result<(), StoreError> {
    let operation = unavailable("forget record");
    query("UPDATE nodes SET record = NULL WHERE miner = $1 AND node = $2")
        .bind(miner)
        .bind(node)
        .execute(&mut *transaction)
        .await
        .map_err(&operation)?;
    query("UPDATE gpus SET record = $3 WHERE miner = $1 AND node = $2 AND record IS NOT NULL")
        .bind(miner)
        .bind(node)
        .bind(SPOILT)
        .execute(transaction)
        .await
        .map_err(operation)?;
    Ok(())
}

/// The running proof-fault bans of this miner's hosts that it no longer lists (RULES R10).
async fn banned_hosts(
    transaction: &mut Transaction,
    policy: &Policy,
    miner: &str,
    now: Timestamp,
) -> Result<Vec<Timestamp>, StoreError> {
    let gone: Vec<Vec<u8>> =
        query("SELECT record FROM nodes WHERE miner = $1 AND listed IS NULL AND record IS NOT NULL")
            .bind(miner)
            .scalars(transaction)
            .await
            .map_err(unavailable("read bans of hosts that are gone"))?;
    let records = gone.iter().filter_map(|bytes| Record::from_bytes(policy, bytes).ok());
    Ok(records.filter_map(|record| record.conduct().proof_banned_until(now)).collect())
}

/// A node, or, with a uuid, a GPU of one.
#[derive(sqlx::FromRow)]
struct ConductRow {
    uuid: Option<String>,
    miner: String,
    node: String,
    listed: Option<String>,
    proven_gpus: Option<String>,
    record: Option<Vec<u8>>,
    #[sqlx(flatten)]
    standing: StandingRow,
}

/// Of all nodes, what their records say. One statement, so that nodes and GPUs are of one moment: a GPU that moved in between
/// would count for neither node, or for both.
pub(super) async fn all(store: &ValidatorDatabase) -> Result<Vec<NodeConduct>, StoreError> {
    let policy = &store.policy;
    let rows: Vec<ConductRow> = query(
        "SELECT NULL AS uuid, miner, node, listed, proven_gpus, record, gate, score, multiplier, banned_until, scored_at
         FROM nodes
         UNION ALL SELECT uuid, miner, node, NULL, NULL, record, NULL, NULL, NULL, NULL, NULL FROM gpus",
    )
    .fetch_all(store.readers())
    .await
    .map_err(unavailable("read records"))?;
    let policy = *policy;
    aside(move || read(rows, &policy)).await
}

fn read(rows: Vec<ConductRow>, policy: &Policy) -> Result<Vec<NodeConduct>, StoreError> {
    let (mut gpus, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let key = NodeKey { miner: parse(&row.miner, "nodes.miner")?, node: parse(&row.node, "nodes.node")? };
        match &row.uuid {
            // One that cannot be read takes its node's record with it at the next entry.
            Some(uuid) => {
                if let Some(record) = row.record.and_then(|bytes| GpuRecord::from_bytes(policy, &bytes).ok())
                {
                    let own: &mut BTreeMap<GpuUuid, GpuRecord> = gpus.entry(key).or_default();
                    own.insert(parse(uuid, "gpus.uuid")?, record);
                }
            }
            None => drop(nodes.insert(key, row)),
        }
    }
    let conduct = |(key, row): (NodeKey, ConductRow)| {
        let paid =
            row.proven_gpus.map_or(Ok(Vec::new()), |text| columns::gpus(&text, "nodes.proven_gpus"))?;
        let mut own = gpus.remove(&key).unwrap_or_default();
        Ok(NodeConduct {
            key,
            listed: row.listed.is_some(),
            standing: row.standing.read()?,
            record: row.record.and_then(|bytes| Record::from_bytes(policy, &bytes).ok()),
            gpus: paid.iter().filter_map(|paid| own.remove(&paid.gpu.uuid)).collect(),
        })
    };
    nodes.into_iter().map(conduct).collect()
}

#[derive(sqlx::FromRow)]
struct ScoreRow {
    miner: String,
    node: String,
    listed: String,
    score: Option<i64>,
    multiplier: Option<i64>,
    scored_at: Option<i64>,
    first_seen: i64,
    proven_gpus: Option<String>,
}

/// The scores of available nodes.
pub(super) async fn scores(store: &ValidatorDatabase) -> Result<Scores, StoreError> {
    let rows: Vec<ScoreRow> = query(
        "SELECT miner, node, listed, score, multiplier, scored_at, first_seen, proven_gpus FROM nodes
         WHERE listed IS NOT NULL ORDER BY miner, node",
    )
    .fetch_all(store.readers())
    .await
    .map_err(unavailable("read scores"))?;
    let mut scores = Scores::default();
    // A miner's nodes come together, and reading an SS58 address takes a hash.
    let mut last: Option<(String, Hotkey)> = None;
    for row in rows {
        scores.last_pass = scores.last_pass.max(row.scored_at.map(Timestamp));
        let seen = Timestamp(row.first_seen);
        scores.waiting_since = Some(scores.waiting_since.map_or(seen, |first| first.min(seen)));
        let (Some(score), Some(multiplier), Some(at), Some(gpus)) =
            (row.score, row.multiplier, row.scored_at, &row.proven_gpus)
        else {
            continue;
        };
        if row.listed != basilica_wire::discovery::NodeStatus::Available.as_str() {
            continue;
        }
        let miner = match &last {
            Some((text, miner)) if *text == row.miner => *miner,
            _ => last.insert((row.miner.clone(), parse(&row.miner, "nodes.miner")?)).1,
        };
        let node: NodeId = parse(&row.node, "nodes.node")?;
        scores.nodes.push(NodeScore {
            key: NodeKey { miner, node },
            score: BasisPoints::new(unsigned(score, "nodes.score")?).map_err(corrupt("nodes.score"))?,
            multiplier: Ppm::new(unsigned(multiplier, "nodes.multiplier")?)
                .map_err(corrupt("nodes.multiplier"))?,
            at: Timestamp(at),
            gpus: columns::gpus(gpus, "nodes.proven_gpus")?,
        });
    }
    Ok(scores)
}
