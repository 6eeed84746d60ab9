//! What histories come to: folded where they are written, in the same transaction, and nowhere else.
//!
//! A record that is missing, damaged or folded by other rules is left out from then on and folded anew from history with all
//! others ([`refold`]): history is what is true, and a record only saves reading it.

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::{
    CheckEntry, HistoryEntry, NodeConduct, NodeKey, NodeScore, PaidGpu, Scores, StoreError,
};
use basilica_scoring::history::{Absence, Check, Entry, GpuRecord, Policy, Record};
use basilica_types::{BasisPoints, GpuUuid, Hotkey, NodeId, Ppm, Timestamp};
use basilica_verification::{CheckKind, Outcome};

use super::ValidatorDatabase;
use super::columns::{self, parse, unsigned};
use super::fleet::StandingRow;
use super::verdicts::HistoryRow;
use crate::database::{corrupt, unavailable};
use crate::sql::{Readers, Transaction, query};

/// Rows of history read at a time while it is folded anew.
const PAGE: i64 = 10_000;

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
fn followed(
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

/// A record that does not follow its history any more is no record.
async fn forget(transaction: &mut Transaction, miner: &str, node: &str) -> Result<(), StoreError> {
    query("UPDATE nodes SET record = NULL WHERE miner = $1 AND node = $2")
        .bind(miner)
        .bind(node)
        .execute(transaction)
        .await
        .map_err(unavailable("forget record"))?;
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

#[derive(sqlx::FromRow)]
struct ConductRow {
    miner: String,
    node: String,
    listed: Option<String>,
    proven_gpus: Option<String>,
    record: Option<Vec<u8>>,
    #[sqlx(flatten)]
    standing: StandingRow,
}

#[derive(sqlx::FromRow)]
struct OwnedRow {
    uuid: String,
    miner: String,
    node: String,
    record: Option<Vec<u8>>,
}

/// Of all nodes, what their records say.
pub(super) async fn all(store: &ValidatorDatabase) -> Result<Vec<NodeConduct>, StoreError> {
    let policy = &store.policy;
    let mut gpus = owned(store.readers(), policy).await?;
    let rows: Vec<ConductRow> = query(
        "SELECT miner, node, listed, proven_gpus, record, gate, score, multiplier, banned_until, scored_at
         FROM nodes ORDER BY miner, node",
    )
    .fetch_all(store.readers())
    .await
    .map_err(unavailable("read records"))?;
    let conduct = |row: ConductRow| {
        let key = NodeKey { miner: parse(&row.miner, "nodes.miner")?, node: parse(&row.node, "nodes.node")? };
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
    rows.into_iter().map(conduct).collect()
}

type Owned = BTreeMap<NodeKey, BTreeMap<GpuUuid, GpuRecord>>;

async fn owned(readers: Readers<'_>, policy: &Policy) -> Result<Owned, StoreError> {
    let rows: Vec<OwnedRow> = query("SELECT uuid, miner, node, record FROM gpus")
        .fetch_all(readers)
        .await
        .map_err(unavailable("read records of gpus"))?;
    let mut owned = Owned::new();
    for row in rows {
        let key = NodeKey { miner: parse(&row.miner, "gpus.miner")?, node: parse(&row.node, "gpus.node")? };
        // One that cannot be read takes its node's record with it at the next entry.
        if let Some(record) = row.record.and_then(|bytes| GpuRecord::from_bytes(policy, &bytes).ok()) {
            owned.entry(key).or_default().insert(parse(&row.uuid, "gpus.uuid")?, record);
        }
    }
    Ok(owned)
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

/// A row of history, with what only folding needs.
#[derive(sqlx::FromRow)]
struct FoldRow {
    id: i64,
    miner: String,
    node: String,
    gpus: Option<String>,
    #[sqlx(flatten)]
    row: HistoryRow,
}

/// What all of history comes to, as far as it has been folded.
#[derive(Default)]
struct Ledger {
    nodes: BTreeMap<NodeKey, Folded>,
    gpus: BTreeMap<GpuUuid, (NodeKey, GpuRecord)>,
}

#[derive(Default)]
struct Folded {
    record: Record,
    own: BTreeSet<GpuUuid>,
    unlisted: bool,
    has_proved: bool,
}

impl Ledger {
    /// As [`fold`] takes it.
    fn take(&mut self, key: NodeKey, entry: &Entry, proved: Option<&BTreeSet<GpuUuid>>, policy: &Policy) {
        for uuid in proved.into_iter().flatten() {
            if let Some((owner, _)) = self.gpus.get_mut(uuid) {
                if let Some(former) = self.nodes.get_mut(owner) {
                    former.own.remove(uuid);
                }
                *owner = key;
                self.nodes.entry(key).or_default().own.insert(*uuid);
            }
        }
        let gone = self.nodes.iter().filter(|(other, folded)| other.miner == key.miner && folded.unlisted);
        let gone =
            gone.filter_map(|(_, folded)| folded.record.conduct().proof_banned_until(entry.at())).max();
        let node = self.nodes.entry(key).or_default();
        let has_gpus = !node.own.is_empty();
        node.own.extend(proved.into_iter().flatten());
        for uuid in &node.own {
            let kept = self.gpus.remove(uuid).map(|(_, gpu)| gpu);
            let is_proved = proved.is_some_and(|proved| proved.contains(uuid));
            if let Some(gpu) = followed(kept, entry, &node.record, (is_proved, has_gpus), policy) {
                self.gpus.insert(*uuid, (key, gpu));
            }
        }
        if proved.is_some() {
            if let Some(until) = gone.filter(|_| !node.has_proved) {
                node.record.serve(until);
            }
            node.has_proved = true;
        }
        node.record.apply(entry, policy);
        match entry {
            Entry::Unavailable(_, Absence::Unlisted) => node.unlisted = true,
            Entry::Unavailable(..) | Entry::Available(_) => node.unlisted = false,
            Entry::Check(_) | Entry::Moved(_) => {}
        }
    }
}

/// Folds all of history anew, in the order in which it was stored, in one transaction: nothing may be added meanwhile.
pub(super) async fn refold(store: &ValidatorDatabase) -> Result<u64, StoreError> {
    let operation = unavailable("fold history anew");
    let policy = &store.policy;
    let mut transaction = store.begin("fold history anew").await?;
    let mut ledger = Ledger::default();
    let keys: Vec<(String, String)> =
        query("SELECT miner, node FROM nodes").fetch_all(&mut transaction).await.map_err(&operation)?;
    for (miner, node) in &keys {
        ledger.nodes.insert(node_key(miner, node)?, Folded::default());
    }
    let owners: Vec<(String, String, String)> =
        query("SELECT uuid, miner, node FROM gpus").fetch_all(&mut transaction).await.map_err(&operation)?;
    let mut today: BTreeMap<NodeKey, BTreeSet<GpuUuid>> = BTreeMap::new();
    for (uuid, miner, node) in &owners {
        today.entry(node_key(miner, node)?).or_default().insert(parse(uuid, "gpus.uuid")?);
    }
    let mut after = 0;
    loop {
        let rows: Vec<FoldRow> = query(
            "SELECT id, miner, node, at, entry, started, outcome, fault, status, moved, gpus FROM history
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut transaction)
        .await
        .map_err(&operation)?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        for row in rows {
            let key = node_key(&row.miner, &row.node)?;
            let written: Option<Vec<GpuUuid>> = row
                .gpus
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(corrupt("history.gpus"))?;
            let entry = row.row.entry()?;
            let passed =
                matches!(entry, HistoryEntry::Check { kind: CheckKind::Full, outcome: Outcome::Passed, .. });
            // History from before GPUs were written down speaks of those that are the node's today.
            let proved = passed.then(|| match &written {
                Some(uuids) => uuids.iter().copied().collect(),
                None => today.get(&key).cloned().unwrap_or_default(),
            });
            ledger.take(key, &Entry::from(&entry), proved.as_ref(), policy);
        }
    }
    keep(&mut transaction, &ledger, policy).await?;
    transaction.commit().await.map_err(operation)?;
    Ok(u64::try_from(keys.len()).unwrap_or(u64::MAX))
}

async fn keep(transaction: &mut Transaction, ledger: &Ledger, policy: &Policy) -> Result<(), StoreError> {
    let operation = unavailable("store records");
    query("UPDATE gpus SET record = NULL").execute(&mut *transaction).await.map_err(&operation)?;
    for (key, folded) in &ledger.nodes {
        let (miner, node) = (key.miner.to_string(), key.node.to_string());
        write(transaction, (&miner, &node), &folded.record.to_bytes(policy)).await?;
    }
    for (uuid, (_, gpu)) in &ledger.gpus {
        query("UPDATE gpus SET record = $2 WHERE uuid = $1")
            .bind(uuid.to_string())
            .bind(gpu.to_bytes(policy))
            .execute(&mut *transaction)
            .await
            .map_err(&operation)?;
    }
    Ok(())
}

fn node_key(miner: &str, node: &str) -> Result<NodeKey, StoreError> {
    Ok(NodeKey { miner: parse(miner, "history.miner")?, node: parse(node, "history.node")? })
}
