//! Miners and their nodes.

use std::collections::BTreeSet;

use async_trait::async_trait;
use basilica_ports::{
    Absence, FleetStore, MinerRecord, NodeChange, NodeConduct, NodeKey, NodeRecord, Scores, SeenMiner,
    StoreError, StoredStanding, VerdictSummary,
};
use basilica_scoring::history::{Entry, Policy, Record};
use basilica_types::{BasisPoints, HostKey, Hotkey, NodeId, Ppm, Timestamp, Uid, UsdMicros};
use basilica_verification::{CheckKind, Due, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::columns::{self, Unexpected, parse, signed, unsigned};
use super::{ValidatorDatabase, conduct};
use crate::database::{corrupt, unavailable};
use crate::sql::{Transaction, query};

#[derive(sqlx::FromRow)]
struct MinerRow {
    hotkey: String,
    uid: Option<i64>,
    axon: String,
    seen: i64,
    discovered: Option<i64>,
    failure: Option<String>,
}

impl TryFrom<MinerRow> for MinerRecord {
    type Error = StoreError;

    fn try_from(row: MinerRow) -> Result<Self, StoreError> {
        Ok(Self {
            hotkey: parse(&row.hotkey, "miners.hotkey")?,
            uid: row.uid.map(|uid| unsigned(uid, "miners.uid").map(Uid)).transpose()?,
            axon: parse(&row.axon, "miners.axon")?,
            seen: Timestamp(row.seen),
            discovered: row.discovered.map(Timestamp),
            failure: row.failure,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct NodeRow {
    miner: String,
    node: String,
    address: String,
    listed: Option<String>,
    rate: Option<i64>,
    host_keys: String,
    first_seen: i64,
    due_light: i64,
    due_full: i64,
    series_kind: Option<String>,
    series_since: Option<i64>,
    series_last: Option<i64>,
    series_failed: Option<i64>,
    series_controlled: Option<i64>,
    series_silent: Option<i64>,
    deadlines: Option<Vec<u8>>,
    last_digest: Option<String>,
    last_kind: Option<String>,
    last_outcome: Option<String>,
    last_fault: Option<String>,
    last_finished: Option<i64>,
    full_digest: Option<String>,
    full_outcome: Option<String>,
    full_fault: Option<String>,
    full_finished: Option<i64>,
    proven_at: Option<i64>,
    proven_gpus: Option<String>,
    #[sqlx(flatten)]
    standing: StandingRow,
}

/// The columns of a standing.
#[derive(sqlx::FromRow)]
pub(super) struct StandingRow {
    gate: Option<String>,
    score: Option<i64>,
    multiplier: Option<i64>,
    banned_until: Option<i64>,
    scored_at: Option<i64>,
}

impl StandingRow {
    pub(super) fn read(&self) -> Result<Option<StoredStanding>, StoreError> {
        let Some(gate) = &self.gate else { return Ok(None) };
        let (Some(score), Some(multiplier), Some(at)) = (self.score, self.multiplier, self.scored_at) else {
            return Err(corrupt("nodes.standing")(Unexpected));
        };
        Ok(Some(StoredStanding {
            gate: gate.clone(),
            score: BasisPoints::new(unsigned(score, "nodes.score")?).map_err(corrupt("nodes.score"))?,
            multiplier: Ppm::new(unsigned(multiplier, "nodes.multiplier")?)
                .map_err(corrupt("nodes.multiplier"))?,
            banned_until: self.banned_until.map(Timestamp),
            at: Timestamp(at),
        }))
    }
}

impl NodeRow {
    fn series(&self) -> Result<Option<(CheckKind, Series)>, StoreError> {
        let Some(kind) = &self.series_kind else { return Ok(None) };
        let (Some(since), Some(last), Some(failed), Some(controlled), Some(silent)) = (
            self.series_since,
            self.series_last,
            self.series_failed,
            self.series_controlled,
            self.series_silent,
        ) else {
            return Err(corrupt("nodes.series")(Unexpected));
        };
        let failed = unsigned(failed, "nodes.series_failed")?;
        let (since, last) = (Timestamp(since), Timestamp(last));
        let series = Series { since, last, failed, controlled: controlled != 0, silent: silent != 0 };
        Ok(Some((columns::kind(kind, "nodes.series_kind")?, series)))
    }

    fn last_verdict(&self) -> Result<Option<VerdictSummary>, StoreError> {
        let Some(digest) = &self.last_digest else { return Ok(None) };
        let (Some(kind), Some(outcome), Some(finished)) =
            (&self.last_kind, &self.last_outcome, self.last_finished)
        else {
            return Err(corrupt("nodes.last")(Unexpected));
        };
        Ok(Some(VerdictSummary {
            digest: parse(digest, "nodes.last_digest")?,
            kind: columns::kind(kind, "nodes.last_kind")?,
            outcome: columns::outcome(outcome, self.last_fault.as_deref(), "nodes.last_outcome")?,
            finished: Timestamp(finished),
        }))
    }

    fn last_full(&self) -> Result<Option<VerdictSummary>, StoreError> {
        let Some(digest) = &self.full_digest else { return Ok(None) };
        let (Some(outcome), Some(finished)) = (&self.full_outcome, self.full_finished) else {
            return Err(corrupt("nodes.full")(Unexpected));
        };
        Ok(Some(VerdictSummary {
            digest: parse(digest, "nodes.full_digest")?,
            kind: CheckKind::Full,
            outcome: columns::outcome(outcome, self.full_fault.as_deref(), "nodes.full_outcome")?,
            finished: Timestamp(finished),
        }))
    }
}

impl TryFrom<NodeRow> for NodeRecord {
    type Error = StoreError;

    fn try_from(row: NodeRow) -> Result<Self, StoreError> {
        let listed = match row.listed.as_deref() {
            None => None,
            Some(word) => {
                Some(NodeStatus::from_wire(word).ok_or(Unexpected).map_err(corrupt("nodes.listed"))?)
            }
        };
        let last_proof = match (row.proven_at, &row.proven_gpus) {
            (None, _) => None,
            (Some(at), Some(text)) => {
                let paid = columns::gpus(text, "nodes.proven_gpus")?;
                Some((Timestamp(at), paid.into_iter().map(|paid| paid.gpu).collect()))
            }
            (Some(_), None) => return Err(corrupt("nodes.proven_gpus")(Unexpected)),
        };
        Ok(Self {
            key: NodeKey { miner: parse(&row.miner, "nodes.miner")?, node: parse(&row.node, "nodes.node")? },
            address: parse(&row.address, "nodes.address")?,
            listed,
            rate: row.rate.map(|rate| unsigned(rate, "nodes.rate").map(UsdMicros)).transpose()?,
            host_keys: host_keys(&row.host_keys)?,
            first_seen: Timestamp(row.first_seen),
            due: Due { light: Timestamp(row.due_light), full: Timestamp(row.due_full) },
            series: row.series()?,
            deadlines: columns::deadlines(row.deadlines.as_deref())?,
            last_verdict: row.last_verdict()?,
            last_full: row.last_full()?,
            last_proof,
            standing: row.standing.read()?,
        })
    }
}

fn host_keys(lines: &str) -> Result<Vec<HostKey>, StoreError> {
    lines.lines().map(|line| parse(line, "nodes.host_keys")).collect()
}

pub(super) fn host_keys_to_text(keys: &[HostKey]) -> String {
    let lines: Vec<String> = keys.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn collect<R, T: TryFrom<R, Error = StoreError>>(rows: Vec<R>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(T::try_from).collect()
}

#[async_trait]
impl FleetStore for ValidatorDatabase {
    async fn observe_miners(&self, miners: &[SeenMiner], at: Timestamp) -> Result<(), StoreError> {
        let operation = unavailable("store miners");
        let mut transaction = self.begin("store miners").await?;
        query("UPDATE miners SET uid = NULL WHERE uid IS NOT NULL")
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        for miner in miners {
            query(
                "INSERT INTO miners (hotkey, uid, axon, seen) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (hotkey) DO UPDATE SET uid = $2, axon = $3, seen = $4",
            )
            .bind(miner.hotkey.to_string())
            .bind(i64::from(miner.uid.0))
            .bind(miner.axon.to_string())
            .bind(at.0)
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        }
        transaction.commit().await.map_err(operation)
    }

    async fn miners(&self) -> Result<Vec<MinerRecord>, StoreError> {
        let rows: Vec<MinerRow> = query("SELECT * FROM miners ORDER BY hotkey")
            .fetch_all(self.readers())
            .await
            .map_err(unavailable("read miners"))?;
        collect(rows)
    }

    async fn record_discovery(
        &self,
        miner: Hotkey,
        nodes: &[NodeReport],
        at: Timestamp,
    ) -> Result<Vec<NodeChange>, StoreError> {
        let operation = unavailable("store discovery");
        let mut transaction = self.begin("store discovery").await?;
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
        let known: Vec<NodeRecord> = collect(rows)?;
        let mut changes = Vec::new();
        let mut named = BTreeSet::new();
        for report in nodes {
            let key = NodeKey { miner, node: report.address.node_id() };
            if !named.insert(key) {
                continue;
            }
            match known.iter().find(|node| node.key == key) {
                None => {
                    insert(&mut transaction, &self.policy, (key, report), at).await?;
                    changes.push(NodeChange::New(key));
                }
                Some(before) => {
                    changes.extend(update(&mut transaction, &self.policy, (before, report), at).await?)
                }
            }
        }
        for gone in known.iter().filter(|node| !named.contains(&node.key) && node.listed.is_some()) {
            Moment::Absent(Absence::Unlisted).log(&mut transaction, &self.policy, gone.key, at).await?;
            if gone.is_available() {
                changes.push(NodeChange::Availability { node: gone.key, listed: None });
            }
            query("UPDATE nodes SET listed = NULL, series_kind = NULL WHERE miner = $1 AND node = $2")
                .bind(gone.key.miner.to_string())
                .bind(gone.key.node.to_string())
                .execute(&mut transaction)
                .await
                .map_err(&operation)?;
        }
        transaction.commit().await.map_err(operation)?;
        Ok(changes)
    }

    async fn record_discovery_failure(&self, miner: Hotkey, why: &str) -> Result<(), StoreError> {
        let operation = unavailable("store discovery failure");
        let mut transaction = self.begin("store discovery failure").await?;
        query("UPDATE miners SET failure = $2 WHERE hotkey = $1")
            .bind(miner.to_string())
            .bind(why)
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        transaction.commit().await.map_err(operation)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let rows: Vec<NodeRow> = query("SELECT * FROM nodes ORDER BY miner, node")
            .fetch_all(self.readers())
            .await
            .map_err(unavailable("read nodes"))?;
        collect(rows)
    }

    async fn node(&self, key: NodeKey) -> Result<Option<NodeRecord>, StoreError> {
        let row: Option<NodeRow> = query("SELECT * FROM nodes WHERE miner = $1 AND node = $2")
            .bind(key.miner.to_string())
            .bind(key.node.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(unavailable("read node"))?;
        row.map(NodeRecord::try_from).transpose()
    }

    async fn due_nodes(&self, now: Timestamp, limit: u32) -> Result<Vec<NodeRecord>, StoreError> {
        // The turn of a node is its place among the due nodes of its miner: all first nodes come before any second.
        let rows: Vec<NodeRow> = query(
            "SELECT * FROM (
                 SELECT n.*, row_number() OVER (PARTITION BY n.miner ORDER BY n.next_due, n.node) AS turn
                 FROM nodes n JOIN miners m ON m.hotkey = n.miner
                 WHERE n.listed = 'available' AND n.next_due <= $1 AND m.uid IS NOT NULL
             ) AS due ORDER BY turn, next_due, miner LIMIT $2",
        )
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(unavailable("read due nodes"))?;
        collect(rows)
    }

    async fn nodes_of(&self, miner: Hotkey) -> Result<Vec<NodeId>, StoreError> {
        let ids: Vec<String> = query("SELECT node FROM nodes WHERE miner = $1")
            .bind(miner.to_string())
            .scalars(self.readers())
            .await
            .map_err(unavailable("read nodes of miner"))?;
        ids.iter().map(|id| parse(id, "nodes.node")).collect()
    }

    async fn prune_nodes(&self, before: Timestamp, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let operation = unavailable("prune nodes");
        let mut transaction = self.begin("prune nodes").await?;
        let forgotten: Vec<(String, String)> = query(
            "SELECT miner, node FROM nodes n
             WHERE listed IS NULL AND ((last_digest IS NULL AND aborted_openings IS NULL AND deadlines IS NULL) OR (
                 first_seen < $1 AND coalesce(last_finished, first_seen) < $1 AND coalesce(banned_until, $2) <= $2 AND NOT EXISTS
                     (SELECT 1 FROM history h WHERE h.miner = n.miner AND h.node = n.node AND h.at >= $1)))
             LIMIT $3",
        )
        .bind(before.0)
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_all(&mut transaction)
        .await
        .map_err(&operation)?;
        for (miner, node) in &forgotten {
            for delete in [
                "DELETE FROM history WHERE miner = $1 AND node = $2",
                "DELETE FROM transcripts WHERE miner = $1 AND node = $2",
                "DELETE FROM gpus WHERE miner = $1 AND node = $2",
                "DELETE FROM fingerprints WHERE miner = $1 AND node = $2",
                "DELETE FROM identities WHERE miner = $1 AND node = $2",
                "DELETE FROM holds WHERE (miner = $1 AND node = $2) OR (by_miner = $1 AND by_node = $2)",
                "DELETE FROM apart WHERE (miner = $1 AND node = $2) OR (other_miner = $1 AND other_node = $2)",
                "DELETE FROM nodes WHERE miner = $1 AND node = $2",
            ] {
                let run = query(delete).bind(miner).bind(node);
                run.execute(&mut transaction).await.map_err(&operation)?;
            }
        }
        transaction.commit().await.map_err(operation)?;
        Ok(u64::try_from(forgotten.len()).unwrap_or(u64::MAX))
    }

    async fn conducts(&self) -> Result<Vec<NodeConduct>, StoreError> {
        conduct::all(self).await
    }

    async fn refold(&self) -> Result<u64, StoreError> {
        conduct::refold(self).await
    }

    async fn scores(&self) -> Result<Scores, StoreError> {
        conduct::scores(self).await
    }

    async fn record_standings(&self, standings: &[(NodeKey, StoredStanding)]) -> Result<(), StoreError> {
        let operation = unavailable("store standings");
        let mut transaction = self.begin("store standings").await?;
        for (key, standing) in standings {
            query(
                "UPDATE nodes SET gate = $3, score = $4, multiplier = $5, banned_until = $6, scored_at = $7
                 WHERE miner = $1 AND node = $2",
            )
            .bind(key.miner.to_string())
            .bind(key.node.to_string())
            .bind(&standing.gate)
            .bind(i64::from(standing.score.value()))
            .bind(i64::from(standing.multiplier.value()))
            .bind(standing.banned_until.map(|t| t.0))
            .bind(standing.at.0)
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        }
        transaction.commit().await.map_err(operation)
    }
}

async fn insert(
    connection: &mut Transaction,
    policy: &Policy,
    (key, report): (NodeKey, &NodeReport),
    at: Timestamp,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO nodes (miner, node, address, listed, rate, host_keys, first_seen, due_light, due_full, record)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7, $8)",
    )
    .bind(key.miner.to_string())
    .bind(key.node.to_string())
    .bind(report.address.to_string())
    .bind(report.status.as_str())
    .bind(report.hourly_rate_per_gpu.map(|rate| signed(rate.0, "nodes.rate")).transpose()?)
    .bind(host_keys_to_text(&report.host_keys))
    .bind(at.0)
    .bind(Record::default().to_bytes(policy))
    .execute(&mut *connection)
    .await
    .map_err(unavailable("store node"))?;
    match Absence::of(Some(report.status)) {
        Some(absence) => Moment::Absent(absence).log(connection, policy, key, at).await,
        None => Ok(()),
    }
}

/// Takes over a report about a known node. A key that was not pinned before, and availability regained, both want a full
/// check before weight returns (RULES R2, R7): history says so, and the check is due at once.
async fn update(
    connection: &mut Transaction,
    policy: &Policy,
    (before, report): (&NodeRecord, &NodeReport),
    at: Timestamp,
) -> Result<Vec<NodeChange>, StoreError> {
    let mut changes = Vec::new();
    let key = before.key;
    let absence = Absence::of(Some(report.status));
    let available = absence.is_none();
    let new_key = report.host_keys.iter().any(|k| !before.host_keys.contains(k));
    // Nodes without a confirmed key may come without host keys; the pins stay.
    let pins = if report.host_keys.is_empty() { &before.host_keys } else { &report.host_keys };
    let moved = new_key && !before.host_keys.is_empty();
    if moved {
        Moment::Moved.log(connection, policy, key, at).await?;
        let prints = |keys: &[HostKey]| keys.iter().map(HostKey::fingerprint).collect();
        changes.push(NodeChange::HostKey {
            node: key,
            before: prints(&before.host_keys),
            after: prints(&report.host_keys),
        });
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
    for moment in moments {
        moment.log(connection, policy, key, at).await?;
    }
    let due_full = if available && !changes.is_empty() { at.min(before.due.full) } else { before.due.full };
    query(
        "UPDATE nodes SET listed = $3, rate = $4, host_keys = $5, due_full = $6,
             series_kind = CASE WHEN $3 = 'available' THEN series_kind END
         WHERE miner = $1 AND node = $2",
    )
    .bind(key.miner.to_string())
    .bind(key.node.to_string())
    .bind(report.status.as_str())
    .bind(report.hourly_rate_per_gpu.map(|rate| signed(rate.0, "nodes.rate")).transpose()?)
    .bind(host_keys_to_text(pins))
    .bind(due_full.0)
    .execute(connection)
    .await
    .map_err(unavailable("store node"))?;
    Ok(changes)
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
    /// Writes it down, and into what the node's history comes to.
    async fn log(
        self,
        connection: &mut Transaction,
        policy: &Policy,
        key: NodeKey,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (word, status, entry) = match self {
            Self::Available => ("available", None, Entry::Available(at)),
            Self::Absent(absence) => {
                let status = columns::absence_status(absence);
                ("unavailable", status, Entry::Unavailable(at, absence.into()))
            }
            Self::Moved => ("available", None, Entry::Moved(at)),
        };
        query("INSERT INTO history (miner, node, at, entry, status, moved) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(key.miner.to_string())
            .bind(key.node.to_string())
            .bind(at.0)
            .bind(word)
            .bind(status.map(NodeStatus::as_str))
            .bind(matches!(self, Self::Moved))
            .execute(&mut *connection)
            .await
            .map_err(unavailable("store history"))?;
        conduct::fold(connection, policy, key, &entry, None).await
    }
}
