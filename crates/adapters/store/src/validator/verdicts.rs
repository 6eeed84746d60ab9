//! Checks, verdicts and transcripts.

use std::collections::BTreeSet;

use async_trait::async_trait;
use basilica_ports::{
    CheckEntry, HistoryEntry, Holds, KeptVerdict, NodeKey, Pruned, Recorded, StoreError, TranscriptPart,
    VerdictPlace, VerdictStore, VerdictsOf,
};
use basilica_types::{Digest, GpuUuid, Hotkey, Timestamp};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::fleet::{Claimant, Identity};
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::{CheckKind, Series};

use super::ValidatorDatabase;
use super::columns::{self, Unexpected, unsigned};
use super::{checks, conduct, fingerprints, holds, identities};
use crate::database::{corrupt, unavailable};
use crate::sql::query;

/// Cut-off openings kept of one node: more than any rule counts.
const ABORTED_KEPT: usize = 16;

#[derive(sqlx::FromRow)]
pub(super) struct HistoryRow {
    at: i64,
    entry: String,
    started: Option<i64>,
    outcome: Option<String>,
    fault: Option<String>,
    status: Option<String>,
    moved: i64,
}

impl HistoryRow {
    pub(super) fn entry(self) -> Result<HistoryEntry, StoreError> {
        if self.moved != 0 {
            return Ok(HistoryEntry::Moved(Timestamp(self.at)));
        }
        Ok(match (self.entry.as_str(), self.started, &self.outcome) {
            ("unavailable", ..) => {
                let absence = columns::absence(self.status.as_deref(), "history.status")?;
                HistoryEntry::Unavailable(Timestamp(self.at), absence)
            }
            ("available", ..) => HistoryEntry::Available(Timestamp(self.at)),
            (kind, Some(started), Some(outcome)) => HistoryEntry::Check {
                started: Timestamp(started),
                finished: Timestamp(self.at),
                kind: columns::kind(kind, "history.entry")?,
                outcome: columns::outcome(outcome, self.fault.as_deref(), "history.outcome")?,
            },
            _ => return Err(corrupt("history.started")(Unexpected)),
        })
    }
}

#[async_trait]
impl VerdictStore for ValidatorDatabase {
    async fn record_try(
        &self,
        key: NodeKey,
        kind: CheckKind,
        series: Series,
        retry_at: Timestamp,
    ) -> Result<(), StoreError> {
        let operation = unavailable("store try");
        let mut transaction = self.begin("store try").await?;
        // While a full check is being retried no light check runs: its success would not answer the question.
        query(
            "UPDATE nodes SET series_kind = $3, series_since = $4, series_failed = $5, series_controlled = $6,
                 series_silent = $7, series_last = $9, due_light = $8, due_full = CASE $3 WHEN 'full' THEN $8 ELSE due_full END
             WHERE miner = $1 AND node = $2 AND listed = 'available'",
        )
        .bind(key.miner.to_string())
        .bind(key.node.to_string())
        .bind(kind.as_str())
        .bind(series.since.0)
        .bind(i64::from(series.failed))
        .bind(series.controlled)
        .bind(series.silent)
        .bind(retry_at.0)
        .bind(series.last.0)
        .execute(&mut transaction)
        .await
        .map_err(&operation)?;
        transaction.commit().await.map_err(operation)
    }

    async fn record_deadlines(&self, key: NodeKey, deadlines: DeadlineRecord) -> Result<(), StoreError> {
        let mut transaction = self.begin("store deadlines").await?;
        checks::keep_deadlines(&mut transaction, key, deadlines).await?;
        transaction.commit().await.map_err(unavailable("store deadlines"))
    }

    async fn record_transcript(
        &self,
        key: NodeKey,
        at: Timestamp,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin("store transcript").await?;
        checks::keep_transcript(&mut transaction, key, at, (digest, bytes)).await?;
        transaction.commit().await.map_err(unavailable("store transcript"))
    }

    async fn record_check(&self, entry: &CheckEntry) -> Result<Recorded, StoreError> {
        let operation = unavailable("store verdict");
        let mut transaction = self.begin("store verdict").await?;
        if !checks::is_next(&mut transaction, entry).await? {
            transaction.roll_back().await.map_err(operation)?;
            return Ok(Recorded::NotNext);
        }
        holds::keep_apart(&mut transaction, entry).await?;
        if let Some(owner) = checks::claim_gpus(&mut transaction, entry).await? {
            transaction.roll_back().await.map_err(operation)?;
            return Ok(Recorded::GpuTaken { owner });
        }
        let proved = conduct::proved(&mut transaction, entry).await?;
        checks::insert_verdict(&mut transaction, entry, proved.as_ref()).await?;
        conduct::fold_check(&mut transaction, &self.policy, entry, proved.as_ref()).await?;
        fingerprints::keep(&mut transaction, entry).await?;
        identities::keep(&mut transaction, entry).await?;
        holds::keep(&mut transaction, entry).await?;
        if let Some(deadlines) = entry.deadlines {
            checks::keep_deadlines(&mut transaction, entry.key, deadlines).await?;
        }
        checks::update_node(&mut transaction, entry).await?;
        transaction.commit().await.map_err(operation)?;
        Ok(Recorded::Stored)
    }

    async fn fingerprints(&self, key: NodeKey, uuids: &[GpuUuid]) -> Result<Vec<Fingerprint>, StoreError> {
        fingerprints::of_node(self, key, uuids).await
    }

    async fn claimants(
        &self,
        identities: &BTreeSet<Identity>,
        seen_since: Timestamp,
    ) -> Result<Vec<Claimant>, StoreError> {
        identities::claimants(self, identities, seen_since).await
    }

    async fn holds(&self, key: NodeKey) -> Result<Holds, StoreError> {
        holds::of_node(self, key).await
    }

    async fn history(&self, key: NodeKey, since: Timestamp) -> Result<Vec<HistoryEntry>, StoreError> {
        let rows: Vec<HistoryRow> = query(
            "SELECT at, entry, started, outcome, fault, status, moved FROM history
             WHERE miner = $1 AND node = $2 AND at >= $3 ORDER BY at, id",
        )
        .bind(key.miner.to_string())
        .bind(key.node.to_string())
        .bind(since.0)
        .fetch_all(self.readers())
        .await
        .map_err(unavailable("read history"))?;
        rows.into_iter().map(HistoryRow::entry).collect()
    }

    async fn verdict(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        query("SELECT bytes FROM verdicts WHERE digest = $1")
            .bind(digest.to_string())
            .scalar_optional(self.readers())
            .await
            .map_err(unavailable("read verdict"))
    }

    async fn verdict_page(
        &self,
        of: VerdictsOf,
        after: Option<VerdictPlace>,
        limit: u32,
    ) -> Result<Vec<KeptVerdict>, StoreError> {
        let (text, whose) = match of {
            VerdictsOf::Node(node) => (
                "SELECT finished, seq, bytes FROM verdicts WHERE node = $1 AND (finished, seq) < ($2, $3)
                 ORDER BY finished DESC, seq DESC LIMIT $4",
                node.to_string(),
            ),
            VerdictsOf::Miner(miner) => (
                "SELECT finished, seq, bytes FROM verdicts WHERE miner = $1 AND (finished, seq) < ($2, $3)
                 ORDER BY finished DESC, seq DESC LIMIT $4",
                miner.to_string(),
            ),
        };
        let after = after.unwrap_or(VerdictPlace { finished: Timestamp(i64::MAX), seq: i64::MAX });
        let rows: Vec<(i64, i64, Vec<u8>)> = query(text)
            .bind(whose)
            .bind(after.finished.0)
            .bind(after.seq)
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await
            .map_err(unavailable("read verdicts"))?;
        let kept = |(finished, seq, bytes)| KeptVerdict {
            place: VerdictPlace { finished: Timestamp(finished), seq },
            bytes,
        };
        Ok(rows.into_iter().map(kept).collect())
    }

    async fn transcript(
        &self,
        digest: Digest,
        skip: u64,
        bytes: u32,
    ) -> Result<Option<TranscriptPart>, StoreError> {
        // Both engines count places of bytes from one, and Postgres in 32 bits.
        let first = i64::from(i32::MAX).min(i64::try_from(skip).unwrap_or(i64::MAX).saturating_add(1));
        let row: Option<(i64, Vec<u8>)> = query(
            "SELECT CAST(length(bytes) AS BIGINT), substr(bytes, CAST($2 AS INTEGER), CAST($3 AS INTEGER))
             FROM transcripts WHERE digest = $1",
        )
        .bind(digest.to_string())
        .bind(first)
        .bind(i64::from(bytes).min(i64::from(i32::MAX) - first))
        .fetch_optional(self.readers())
        .await
        .map_err(unavailable("read transcript"))?;
        row.map(|(size, bytes)| Ok(TranscriptPart { size: unsigned(size, "transcripts.bytes")?, bytes }))
            .transpose()
    }

    async fn record_aborted_opening(
        &self,
        key: NodeKey,
        at: Timestamp,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError> {
        let operation = unavailable("store aborted opening");
        let mut transaction = self.begin("store aborted opening").await?;
        let (miner, node) = (key.miner.to_string(), key.node.to_string());
        let before: Option<Option<String>> =
            query("SELECT aborted_openings FROM nodes WHERE miner = $1 AND node = $2")
                .bind(&miner)
                .bind(&node)
                .scalar_optional(&mut transaction)
                .await
                .map_err(&operation)?;
        let mut openings = match before.flatten() {
            Some(text) => columns::times(&text, "nodes.aborted_openings")?,
            None => Vec::new(),
        };
        openings.retain(|kept| *kept >= since && *kept != at);
        openings.push(at);
        openings.sort_unstable();
        let openings = openings.split_off(openings.len().saturating_sub(ABORTED_KEPT));
        query("UPDATE nodes SET aborted_openings = $3 WHERE miner = $1 AND node = $2")
            .bind(miner)
            .bind(node)
            .bind(columns::times_to_text(&openings))
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        transaction.commit().await.map_err(operation)?;
        Ok(openings)
    }

    async fn prover_passed_elsewhere(&self, prover: Digest, node: NodeKey) -> Result<bool, StoreError> {
        let node: Option<i64> = query(
            "SELECT CAST(1 AS BIGINT) FROM nodes WHERE proven_prover = $1 AND NOT (miner = $2 AND node = $3) LIMIT 1",
        )
        .bind(prover.to_string())
        .bind(node.miner.to_string())
        .bind(node.node.to_string())
        .scalar_optional(self.readers())
        .await
        .map_err(unavailable("read provers"))?;
        Ok(node.is_some())
    }

    async fn last_pass_elsewhere(&self, miner: Hotkey) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = query(
            // Not max(at), which reads all of them.
            "SELECT at FROM history WHERE outcome = 'passed' AND miner <> $1 ORDER BY at DESC LIMIT 1",
        )
        .bind(miner.to_string())
        .scalar_optional(self.readers())
        .await
        .map_err(unavailable("read last pass"))?;
        Ok(at.map(Timestamp))
    }

    async fn prune(&self, before: Timestamp, transcripts: u32, limit: u32) -> Result<Pruned, StoreError> {
        let operation = unavailable("prune");
        let mut transaction = self.begin("prune").await?;
        let run = |statement: &'static str| query(statement).bind(before.0).bind(i64::from(limit));
        let history = run(
            "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE at < $1 ORDER BY at LIMIT $2)",
        )
        .execute(&mut transaction)
        .await
        .map_err(&operation)?;
        // The newest verdict of a node stays: the next one links to it.
        run("DELETE FROM verdicts WHERE digest IN (
                 SELECT digest FROM verdicts WHERE finished < $1
                     AND digest NOT IN (SELECT last_digest FROM nodes WHERE last_digest IS NOT NULL)
                 ORDER BY finished LIMIT $2)")
        .execute(&mut transaction)
        .await
        .map_err(&operation)?;
        let windows = run("DELETE FROM windows WHERE id IN (
                 SELECT id FROM windows WHERE created < $1 AND state NOT IN ('prepared', 'committed', 'revealing')
                     AND id < (SELECT max(id) FROM windows) ORDER BY id LIMIT $2)")
        .execute(&mut transaction)
        .await
        .map_err(&operation)?;
        let old_transcripts = query(
            "DELETE FROM transcripts WHERE digest IN (
                 SELECT digest FROM (
                     SELECT digest, row_number() OVER (PARTITION BY miner, node ORDER BY at DESC) AS age
                     FROM transcripts) AS aged
                 WHERE age > $1 LIMIT $2)",
        )
        .bind(i64::from(transcripts))
        .bind(i64::from(limit))
        .execute(&mut transaction)
        .await
        .map_err(&operation)?;
        let fingerprints = fingerprints::prune(&mut transaction, before, limit).await?;
        identities::prune(&mut transaction, before, limit).await?;
        holds::prune(&mut transaction, before, limit).await?;
        transaction.commit().await.map_err(operation)?;
        Ok(Pruned { fingerprints, history, transcripts: old_transcripts, windows })
    }
}
