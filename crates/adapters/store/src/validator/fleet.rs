//! Miners and their nodes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use basilica_ports::{
    FleetStore, MinerRecord, NodeChange, NodeConduct, NodeKey, NodeRecord, Scores, SeenMiner, StoreError,
    StoredStanding, VerdictSummary,
};
use basilica_types::{BasisPoints, HostKey, Hotkey, NodeId, Ppm, Timestamp, Uid, UsdMicros};
use basilica_verification::{CheckKind, Due, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::columns::{self, Unexpected, parse, unsigned};
use super::{ValidatorDatabase, conduct, discovery, refold};
use crate::batch::{self, row};
use crate::database::{corrupt, unavailable};
use crate::sql::{aside, query};

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
            (Some(at), Some(text)) => Some((Timestamp(at), columns::gpus(text, "nodes.proven_gpus")?)),
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

pub(super) fn collect<R, T: TryFrom<R, Error = StoreError>>(rows: Vec<R>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(T::try_from).collect()
}

/// All that is kept of a node but its verdicts; the rows that others refer to go last.
const FORGET_NODES: [&str; 8] = [
    "DELETE FROM history WHERE (miner, node) IN (VALUES {rows})",
    "DELETE FROM transcripts WHERE (miner, node) IN (VALUES {rows})",
    "DELETE FROM gpus WHERE (miner, node) IN (VALUES {rows})",
    "DELETE FROM fingerprints WHERE (miner, node) IN (VALUES {rows})",
    "DELETE FROM identities WHERE (miner, node) IN (VALUES {rows})",
    "WITH v(miner, node) AS (VALUES {rows}) DELETE FROM holds
     WHERE (miner, node) IN (SELECT miner, node FROM v) OR (by_miner, by_node) IN (SELECT miner, node FROM v)",
    "WITH v(miner, node) AS (VALUES {rows}) DELETE FROM apart
     WHERE (miner, node) IN (SELECT miner, node FROM v) OR (other_miner, other_node) IN (SELECT miner, node FROM v)",
    "DELETE FROM nodes WHERE (miner, node) IN (VALUES {rows})",
];

#[async_trait]
impl FleetStore for ValidatorDatabase {
    async fn observe_miners(&self, miners: &[SeenMiner], at: Timestamp) -> Result<(), StoreError> {
        let operation = unavailable("store miners");
        let mut transaction = self.begin("store miners").await?;
        query("UPDATE miners SET uid = NULL WHERE uid IS NOT NULL")
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        // One hotkey has one row of a statement, whatever the metagraph shows.
        let seen: BTreeMap<Hotkey, &SeenMiner> = miners.iter().map(|miner| (miner.hotkey, miner)).collect();
        let row = |miner: &&SeenMiner| {
            row![miner.hotkey.to_string(), i64::from(miner.uid.0), miner.axon.to_string(), at.0]
        };
        batch::execute(
            &mut transaction,
            "INSERT INTO miners (hotkey, uid, axon, seen) VALUES {rows}
             ON CONFLICT (hotkey) DO UPDATE SET uid = excluded.uid, axon = excluded.axon, seen = excluded.seen",
            seen.values().map(row).collect(),
        )
        .await
        .map_err(&operation)?;
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
        discovery::record(self, miner, nodes, at).await
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
        aside(|| collect(rows)).await
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

    async fn due_nodes(
        &self,
        kind: CheckKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<NodeRecord>, StoreError> {
        // The turn of a node is its place among the due nodes of its miner: all first nodes come before any second.
        // Turns are told by the keys alone: this is asked a few times a second, and the rows of ten thousand nodes are megabytes.
        // There is an index of `next_due`, the earlier of the two times.
        let rows: Vec<NodeRow> = query(
            "SELECT n.* FROM (
                 SELECT miner, node, due, row_number() OVER (PARTITION BY miner ORDER BY due, node) AS turn FROM (
                     SELECT n.miner, n.node, CASE WHEN $3 = 'full' THEN n.due_full ELSE n.due_light END AS due
                     FROM nodes n JOIN miners m ON m.hotkey = n.miner
                     WHERE n.listed = 'available' AND n.next_due <= $1 AND m.uid IS NOT NULL
                 ) AS of_kind WHERE due <= $1
                 ORDER BY turn, due, miner LIMIT $2
             ) AS turns JOIN nodes n ON n.miner = turns.miner AND n.node = turns.node
             ORDER BY turns.turn, turns.due, n.miner",
        )
        .bind(now.0)
        .bind(i64::from(limit))
        .bind(kind.as_str())
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
        for delete in FORGET_NODES {
            let rows = forgotten.iter().map(|(miner, node)| row![miner, node]).collect();
            batch::execute(&mut transaction, delete, rows).await.map_err(&operation)?;
        }
        transaction.commit().await.map_err(operation)?;
        Ok(u64::try_from(forgotten.len()).unwrap_or(u64::MAX))
    }

    async fn conducts(&self) -> Result<Vec<NodeConduct>, StoreError> {
        conduct::all(self).await
    }

    async fn refold(&self) -> Result<u64, StoreError> {
        refold::refold(self).await
    }

    async fn scores(&self) -> Result<Scores, StoreError> {
        conduct::scores(self).await
    }

    async fn record_standings(&self, standings: &[(NodeKey, StoredStanding)]) -> Result<(), StoreError> {
        let operation = unavailable("store standings");
        let mut transaction = self.begin("store standings").await?;
        let row = |(key, standing): &(NodeKey, StoredStanding)| {
            row![
                key.miner.to_string(),
                key.node.to_string(),
                &standing.gate,
                i64::from(standing.score.value()),
                i64::from(standing.multiplier.value()),
                standing.banned_until.map(|t| t.0),
                standing.at.0,
            ]
        };
        batch::execute(
            &mut transaction,
            "WITH v(miner, node, gate, score, multiplier, banned_until, scored_at) AS (VALUES {rows})
             UPDATE nodes SET gate = v.gate, score = v.score, multiplier = v.multiplier,
                 banned_until = v.banned_until, scored_at = v.scored_at
             FROM v WHERE nodes.miner = v.miner AND nodes.node = v.node",
            standings.iter().map(row).collect(),
        )
        .await
        .map_err(&operation)?;
        transaction.commit().await.map_err(operation)
    }
}
