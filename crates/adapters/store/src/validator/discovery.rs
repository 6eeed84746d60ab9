//! What a verified discovery response makes of a miner's nodes.
//!
//! Decided first, from what is known of all of its nodes, and then written: as many statements for a thousand nodes as for ten, and
//! two where nothing has changed, which is what a miner says most of the time.

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::{Absence, NodeChange, NodeKey, NodeRecord, StoreError};
use basilica_scoring::history::{Entry, Record};
use basilica_types::{HostKey, Hotkey, NodeId, Timestamp, UsdMicros};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::columns::{self, signed};
use super::fleet::{NodeRow, collect, host_keys_to_text};
use super::{ValidatorDatabase, conduct};
use crate::batch::{self, row};
use crate::database::unavailable;
use crate::sql::{Transaction, query};

/// Takes over a response.
pub(super) async fn record(
    store: &ValidatorDatabase,
    miner: Hotkey,
    reports: &[NodeReport],
    at: Timestamp,
) -> Result<Vec<NodeChange>, StoreError> {
    let operation = unavailable("store discovery");
    let mut transaction = store.begin("store discovery").await?;
    query("UPDATE miners SET discovered = $2, failure = NULL WHERE hotkey = $1")
        .bind(miner.to_string())
        .bind(at.0)
        .execute(&mut transaction)
        .await
        .map_err(&operation)?;
    let rows: Vec<NodeRow> = query("SELECT * FROM nodes WHERE miner = $1 ORDER BY node")
        .bind(miner.to_string())
        .fetch_all(&mut transaction)
        .await
        .map_err(&operation)?;
    let mut known: BTreeMap<NodeId, NodeRecord> = BTreeMap::new();
    for record in collect::<_, NodeRecord>(rows)? {
        known.insert(record.key.node, record);
    }
    let found = Found::of(miner, &known, reports, at);
    found.write(&mut transaction, store, at).await?;
    transaction.commit().await.map_err(operation)?;
    Ok(found.changes)
}

/// What history says of a node's availability.
#[derive(Clone, Copy)]
enum Moment {
    Available,
    Absent(Absence),
    /// Its miner vouches for another host.
    Moved,
}

impl Moment {
    fn entry(self, at: Timestamp) -> Entry {
        match self {
            Self::Available => Entry::Available(at),
            Self::Absent(absence) => Entry::Unavailable(at, absence.into()),
            Self::Moved => Entry::Moved(at),
        }
    }

    fn row(self, miner: Hotkey, node: NodeId, at: Timestamp) -> batch::Row {
        let (word, status) = match self {
            Self::Available | Self::Moved => ("available", None),
            Self::Absent(absence) => ("unavailable", columns::absence_status(absence)),
        };
        let status = status.map(NodeStatus::as_str);
        row![miner.to_string(), node.to_string(), at.0, word, status, matches!(self, Self::Moved)]
    }
}

/// A known node as it is from now on.
struct Update {
    node: NodeId,
    status: NodeStatus,
    rate: Option<UsdMicros>,
    pins: Vec<HostKey>,
    due_full: Timestamp,
}

/// What there is to write.
struct Found<'a> {
    miner: Hotkey,
    new: Vec<(NodeId, &'a NodeReport)>,
    updates: Vec<Update>,
    gone: Vec<NodeId>,
    /// Those of one node in their order.
    moments: Vec<(NodeId, Moment)>,
    changes: Vec<NodeChange>,
}

impl<'a> Found<'a> {
    /// Of a node that is named twice the first report counts.
    fn of(
        miner: Hotkey,
        known: &BTreeMap<NodeId, NodeRecord>,
        reports: &'a [NodeReport],
        at: Timestamp,
    ) -> Self {
        let mut found = Self {
            miner,
            new: Vec::new(),
            updates: Vec::new(),
            gone: Vec::new(),
            moments: Vec::new(),
            changes: Vec::new(),
        };
        let mut named = BTreeSet::new();
        for report in reports {
            let node = report.address.node_id();
            if !named.insert(node) {
                continue;
            }
            match known.get(&node) {
                None => {
                    found.new.push((node, report));
                    found.changes.push(NodeChange::New(NodeKey { miner, node }));
                    found.moments.extend(Absence::of(Some(report.status)).map(|a| (node, Moment::Absent(a))));
                }
                Some(before) => found.compare(before, report, at),
            }
        }
        for gone in known.values().filter(|node| !named.contains(&node.key.node) && node.listed.is_some()) {
            found.moments.push((gone.key.node, Moment::Absent(Absence::Unlisted)));
            if gone.is_available() {
                found.changes.push(NodeChange::Availability { node: gone.key, listed: None });
            }
            found.gone.push(gone.key.node);
        }
        found
    }

    /// A report about a known node. A key that was not pinned before, and availability regained, both want a full
    /// check before weight returns (RULES R2, R7): history says so, and the check is due at once.
    fn compare(&mut self, before: &NodeRecord, report: &NodeReport, at: Timestamp) {
        let key = before.key;
        let absence = Absence::of(Some(report.status));
        let mut changes = Vec::new();
        let new_key = report.host_keys.iter().any(|k| !before.host_keys.contains(k));
        // Nodes without a confirmed key may come without host keys; the pins stay.
        let pins = if report.host_keys.is_empty() { &before.host_keys } else { &report.host_keys };
        if new_key && !before.host_keys.is_empty() {
            self.moments.push((key.node, Moment::Moved));
            let prints = |keys: &[HostKey]| keys.iter().map(HostKey::fingerprint).collect();
            let (before, after) = (prints(&before.host_keys), prints(&report.host_keys));
            changes.push(NodeChange::HostKey { node: key, before, after });
        }
        if before.listed != Some(report.status) {
            changes.push(NodeChange::Availability { node: key, listed: Some(report.status) });
        }
        let moments: &[Moment] = match absence {
            // An absence runs on from where it began, whatever else is reported.
            Some(absence) if before.listed != Some(report.status) => &[Moment::Absent(absence)],
            None if !before.is_available() => &[Moment::Available],
            // With a new key it was absent for a moment, which costs it nothing but the full check.
            None if !changes.is_empty() => &[Moment::Absent(Absence::KeyPending), Moment::Available],
            Some(_) | None => &[],
        };
        self.moments.extend(moments.iter().map(|moment| (key.node, *moment)));
        let asks = absence.is_none() && !changes.is_empty();
        let due_full = if asks { at.min(before.due.full) } else { before.due.full };
        let as_before = before.listed == Some(report.status)
            && before.rate == report.hourly_rate_per_gpu
            && before.host_keys == *pins
            && before.due.full == due_full;
        if !as_before {
            let (status, rate, pins) = (report.status, report.hourly_rate_per_gpu, pins.clone());
            self.updates.push(Update { node: key.node, status, rate, pins, due_full });
        }
        self.changes.append(&mut changes);
    }

    async fn write(
        &self,
        transaction: &mut Transaction,
        store: &ValidatorDatabase,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let operation = unavailable("store discovery");
        let miner = self.miner.to_string();
        let blank = Record::default().to_bytes(&store.policy);
        let new = |(node, report): &(NodeId, &NodeReport)| {
            let rate = rate(report.hourly_rate_per_gpu)?;
            let (address, status) = (report.address.to_string(), report.status.as_str());
            let keys = host_keys_to_text(&report.host_keys);
            Ok(row![&miner, node.to_string(), address, status, rate, keys, at.0, at.0, at.0, &blank])
        };
        let inserted = "INSERT INTO nodes (miner, node, address, listed, rate, host_keys, first_seen, due_light, due_full, record)
             VALUES {rows}";
        let rows = self.new.iter().map(new).collect::<Result<_, StoreError>>()?;
        batch::execute(transaction, inserted, rows).await.map_err(&operation)?;
        let update = |u: &Update| {
            let keys = host_keys_to_text(&u.pins);
            Ok(row![&miner, u.node.to_string(), u.status.as_str(), rate(u.rate)?, keys, u.due_full.0])
        };
        let updated = "WITH v(miner, node, listed, rate, host_keys, due_full) AS (VALUES {rows})
             UPDATE nodes SET listed = v.listed, rate = v.rate, host_keys = v.host_keys, due_full = v.due_full,
                 series_kind = CASE WHEN v.listed = 'available' THEN nodes.series_kind END
             FROM v WHERE nodes.miner = v.miner AND nodes.node = v.node";
        let rows = self.updates.iter().map(update).collect::<Result<_, StoreError>>()?;
        batch::execute(transaction, updated, rows).await.map_err(&operation)?;
        let dropped = "WITH v(miner, node) AS (VALUES {rows})
             UPDATE nodes SET listed = NULL, series_kind = NULL FROM v WHERE nodes.miner = v.miner AND nodes.node = v.node";
        let rows = self.gone.iter().map(|node| row![&miner, node.to_string()]).collect();
        batch::execute(transaction, dropped, rows).await.map_err(&operation)?;
        let said = "INSERT INTO history (miner, node, at, entry, status, moved) VALUES {rows}";
        let rows = self.moments.iter().map(|(node, moment)| moment.row(self.miner, *node, at)).collect();
        batch::execute(transaction, said, rows).await.map_err(&operation)?;
        let mut entries: BTreeMap<NodeId, Vec<Entry>> = BTreeMap::new();
        for (node, moment) in &self.moments {
            entries.entry(*node).or_default().push(moment.entry(at));
        }
        conduct::fold_moments(transaction, &store.policy, self.miner, &entries).await
    }
}

fn rate(rate: Option<UsdMicros>) -> Result<Option<i64>, StoreError> {
    rate.map(|rate| signed(rate.0, "nodes.rate")).transpose()
}
