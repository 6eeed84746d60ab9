//! What histories come to, folded anew: after a change of the fold or of the policy, or where a record was damaged.
//!
//! History may have tens of millions of rows, and others write to it meanwhile. So it is read beside them, page by page and once,
//! into memory; only then transactions begin, each of which takes in what was added since and writes some nodes with their
//! GPUs. A node that something was added to after it had been written is written again. What is written is therefore what all of
//! history comes to at that moment, and no transaction is longer than a few hundred nodes take.
//!
//! Written are the nodes without a record and those to which something was added; all of history is read for them, because a GPU brings along
//! what it did in other nodes, and a miner's new host serves the ban of one that is gone.

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::{HistoryEntry, NodeKey, StoreError};
use basilica_scoring::history::{Absence, Entry, GpuRecord, Policy, Record};
use basilica_types::{GpuUuid, Hotkey, NodeId, Timestamp};
use basilica_verification::{CheckKind, Outcome};

use super::columns::parse;
use super::verdicts::HistoryRow;
use super::{ValidatorDatabase, conduct};
use crate::batch::{self, row};
use crate::database::{corrupt, unavailable};
use crate::sql::{On, Transaction, query};

/// Rows of history read at a time: a few milliseconds of folding, after which others have their turn.
const PAGE: i64 = 2_000;
/// Nodes written in one transaction.
const NODES: usize = 512;

/// Folds anew what has no record, or none that can be read. Returns how many nodes were written.
pub(super) async fn refold(store: &ValidatorDatabase) -> Result<u64, StoreError> {
    let policy = &store.policy;
    let mut fold = Refold::of(store).await?;
    if fold.to_write.is_empty() {
        return Ok(0);
    }
    while fold.read_on(store.readers(), policy).await? {}
    let mut written = 0u64;
    while !fold.to_write.is_empty() {
        let mut transaction = store.begin("store records").await?;
        while fold.read_on(&mut transaction, policy).await? {}
        let some: Vec<NodeKey> = fold.to_write.iter().take(NODES).copied().collect();
        fold.write(&mut transaction, &some, policy).await?;
        transaction.commit().await.map_err(unavailable("store records"))?;
        fold.to_write.retain(|key| some.binary_search(key).is_err());
        written = written.saturating_add(some.len() as u64);
    }
    Ok(written)
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

/// How far it has come.
struct Refold {
    ledger: Ledger,
    /// The last row that was folded.
    after: i64,
    /// The last row when this began.
    began: i64,
    to_write: BTreeSet<NodeKey>,
    /// Which GPUs are whose today: rows from before they were written down speak of these.
    today: BTreeMap<NodeKey, BTreeSet<GpuUuid>>,
}

impl Refold {
    /// Nothing folded yet; what has no record is to be written.
    async fn of(store: &ValidatorDatabase) -> Result<Self, StoreError> {
        let (policy, operation) = (&store.policy, unavailable("read records"));
        let began = query("SELECT coalesce(max(id), 0) FROM history")
            .scalar(store.readers())
            .await
            .map_err(&operation)?;
        let mut to_write = BTreeSet::new();
        let nodes: Vec<(String, String, Option<Vec<u8>>)> = query("SELECT miner, node, record FROM nodes")
            .fetch_all(store.readers())
            .await
            .map_err(&operation)?;
        for (miner, node, record) in &nodes {
            if record.as_ref().is_none_or(|bytes| Record::from_bytes(policy, bytes).is_err()) {
                to_write.insert(node_key(miner, node)?);
            }
        }
        let gpus: Vec<(String, String, String, Option<Vec<u8>>)> =
            query("SELECT uuid, miner, node, record FROM gpus")
                .fetch_all(store.readers())
                .await
                .map_err(&operation)?;
        let mut today: BTreeMap<NodeKey, BTreeSet<GpuUuid>> = BTreeMap::new();
        for (uuid, miner, node, record) in &gpus {
            let key = node_key(miner, node)?;
            today.entry(key).or_default().insert(parse(uuid, "gpus.uuid")?);
            if record.as_ref().is_some_and(|bytes| GpuRecord::from_bytes(policy, bytes).is_err()) {
                to_write.insert(key);
            }
        }
        Ok(Self { ledger: Ledger::default(), after: 0, began, to_write, today })
    }

    /// Folds the next page; false after the last one.
    async fn read_on(&mut self, on: impl Into<On<'_>>, policy: &Policy) -> Result<bool, StoreError> {
        let rows: Vec<FoldRow> = query(
            "SELECT id, miner, node, at, entry, started, outcome, fault, status, moved, gpus FROM history
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(self.after)
        .bind(PAGE)
        .fetch_all(on)
        .await
        .map_err(unavailable("fold history anew"))?;
        let Some(last) = rows.last() else { return Ok(false) };
        self.after = last.id;
        let more = i64::try_from(rows.len()).is_ok_and(|read| read == PAGE);
        for row in rows {
            let key = node_key(&row.miner, &row.node)?;
            if row.id > self.began {
                // What was made of it where it was written may rest on a record that was missing.
                self.to_write.insert(key);
            }
            let written: Option<Vec<GpuUuid>> = row
                .gpus
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(corrupt("history.gpus"))?;
            let entry = row.row.entry()?;
            let passed =
                matches!(entry, HistoryEntry::Check { kind: CheckKind::Full, outcome: Outcome::Passed, .. });
            let proved = passed.then(|| match &written {
                Some(uuids) => uuids.iter().copied().collect(),
                None => self.today.get(&key).cloned().unwrap_or_default(),
            });
            self.ledger.take(key, &Entry::from(&entry), proved.as_ref(), policy);
        }
        Ok(more)
    }

    /// Writes some nodes with their GPUs.
    async fn write(
        &self,
        transaction: &mut Transaction,
        some: &[NodeKey],
        policy: &Policy,
    ) -> Result<(), StoreError> {
        let none = Folded::default();
        let (mut owners, mut nodes, mut gpus) = (Vec::new(), Vec::new(), Vec::new());
        for key in some {
            let folded = self.ledger.nodes.get(key).unwrap_or(&none);
            let (miner, node) = (key.miner.to_string(), key.node.to_string());
            owners.push(row![&miner, &node]);
            nodes.push(row![miner, node, folded.record.to_bytes(policy)]);
            let own = folded.own.iter().filter_map(|uuid| Some((uuid, &self.ledger.gpus.get(uuid)?.1)));
            gpus.extend(own.map(|(uuid, gpu)| row![uuid.to_string(), gpu.to_bytes(policy)]));
        }
        // Of a GPU of which history says nothing any more, nothing is left.
        batch::execute(
            transaction,
            "WITH v(miner, node) AS (VALUES {rows})
             UPDATE gpus SET record = NULL FROM v WHERE gpus.miner = v.miner AND gpus.node = v.node",
            owners,
        )
        .await
        .map_err(unavailable("store records"))?;
        conduct::write_all(transaction, nodes, gpus).await
    }
}

/// What all of history comes to, as far as it has been folded. Every entry costs what its own node has, however many there are.
#[derive(Default)]
struct Ledger {
    nodes: BTreeMap<NodeKey, Folded>,
    gpus: BTreeMap<GpuUuid, (NodeKey, GpuRecord)>,
    /// Of each miner, the ends of the proof-fault bans of the hosts that it no longer lists.
    gone: BTreeMap<Hotkey, BTreeSet<(Timestamp, NodeId)>>,
}

#[derive(Default)]
struct Folded {
    record: Record,
    own: BTreeSet<GpuUuid>,
    unlisted: bool,
    has_proved: bool,
    /// Its ban as it stands in [`Ledger::gone`].
    gone_until: Option<Timestamp>,
}

impl Ledger {
    /// As [`conduct::fold`] takes it.
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
        let node = self.nodes.entry(key).or_default();
        let has_gpus = !node.own.is_empty();
        node.own.extend(proved.into_iter().flatten());
        for uuid in &node.own {
            let kept = self.gpus.remove(uuid).map(|(_, gpu)| gpu);
            let is_proved = proved.is_some_and(|proved| proved.contains(uuid));
            if let Some(gpu) = conduct::followed(kept, entry, &node.record, (is_proved, has_gpus), policy) {
                self.gpus.insert(*uuid, (key, gpu));
            }
        }
        let gone = self.gone.entry(key.miner).or_default();
        if proved.is_some() {
            if !node.has_proved
                && let Some((until, _)) = gone.last().filter(|(until, _)| *until > entry.at())
            {
                node.record.serve(*until);
            }
            node.has_proved = true;
        }
        node.record.apply(entry, policy);
        match entry {
            Entry::Unavailable(_, Absence::Unlisted) => node.unlisted = true,
            Entry::Unavailable(..) | Entry::Available(_) => node.unlisted = false,
            Entry::Check(_) | Entry::Moved(_) => {}
        }
        // The end of the ban, whether it is over or not: that is asked at each first proof.
        let ever = Timestamp(i64::MIN);
        let until = node.unlisted.then(|| node.record.conduct().proof_banned_until(ever)).flatten();
        if until != node.gone_until {
            if let Some(before) = node.gone_until {
                gone.remove(&(before, key.node));
            }
            gone.extend(until.map(|until| (until, key.node)));
            node.gone_until = until;
        }
    }
}

fn node_key(miner: &str, node: &str) -> Result<NodeKey, StoreError> {
    Ok(NodeKey { miner: parse(miner, "history.miner")?, node: parse(node, "history.node")? })
}
