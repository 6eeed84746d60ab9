//! Records of days.

use async_trait::async_trait;
use basilica_ports::{LogEnd, LogEntry, Logged, Place, StoreError, VerdictLogStore};
use basilica_types::Digest;
use basilica_verification::verdict_log::{BLOCK, Block, Day};
use codec::{DecodeAll as _, Encode as _};

use super::columns::{parse, unsigned};
use super::{Engine, ValidatorDatabase};
use crate::database::{corrupt, unavailable};
use crate::sql::query;

#[derive(sqlx::FromRow)]
struct EndRow {
    day: i64,
    through: i64,
    digest: String,
}

#[derive(sqlx::FromRow)]
struct LeafRow {
    seq: i64,
    digest: String,
}

#[derive(sqlx::FromRow)]
struct DayRow {
    through: i64,
    bytes: Vec<u8>,
    blocks: Vec<u8>,
}

#[async_trait]
impl VerdictLogStore for ValidatorDatabase {
    async fn log_end(&self) -> Result<Option<LogEnd>, StoreError> {
        let row: Option<EndRow> =
            query("SELECT day, through, digest FROM verdict_days ORDER BY day DESC LIMIT 1")
                .fetch_optional(self.readers())
                .await
                .map_err(unavailable("read the log's end"))?;
        row.map(|row| {
            let day = Day(unsigned(row.day, "verdict_days.day")?);
            Ok(LogEnd { day, through: row.through, digest: parse(&row.digest, "verdict_days.digest")? })
        })
        .transpose()
    }

    async fn log_head(&self) -> Result<Place, StoreError> {
        let failed = unavailable("read the newest verdict");
        let mut transaction = self.begin("read the newest verdict").await?;
        if let Engine::Postgres(_) = &self.engine {
            // Places are given before their transactions commit. Who writes holds this row for share, so whoever has it alone has
            // nobody's verdict still to come.
            let _: i64 = query("SELECT token FROM leadership WHERE one = 1 FOR UPDATE")
                .scalar(&mut transaction)
                .await
                .map_err(&failed)?;
        }
        let head = query("SELECT coalesce(max(seq), 0) FROM verdicts")
            .scalar(&mut transaction)
            .await
            .map_err(&failed)?;
        transaction.roll_back().await.map_err(failed)?;
        Ok(head)
    }

    async fn log_leaves(
        &self,
        after: Place,
        through: Place,
        limit: u32,
    ) -> Result<Vec<(Place, Digest)>, StoreError> {
        let rows: Vec<LeafRow> =
            query("SELECT seq, digest FROM verdicts WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3")
                .bind(after)
                .bind(through)
                .bind(i64::from(limit))
                .fetch_all(self.readers())
                .await
                .map_err(unavailable("read the log's verdicts"))?;
        rows.iter().map(|row| Ok((row.seq, parse(&row.digest, "verdicts.digest")?))).collect()
    }

    async fn end_day(&self, entry: &LogEntry, previous: Option<Digest>) -> Result<bool, StoreError> {
        let failed = unavailable("end a day of the log");
        let mut transaction = self.begin("end a day of the log").await?;
        let newest: Option<String> = query("SELECT digest FROM verdict_days ORDER BY day DESC LIMIT 1")
            .scalar_optional(&mut transaction)
            .await
            .map_err(&failed)?;
        if newest != previous.map(|digest| digest.to_string()) {
            transaction.roll_back().await.map_err(failed)?;
            return Ok(false);
        }
        query("INSERT INTO verdict_days (day, through, digest, bytes, blocks) VALUES ($1, $2, $3, $4, $5)")
            .bind(i64::from(entry.end.day.0))
            .bind(entry.end.through)
            .bind(entry.end.digest.to_string())
            .bind(entry.signed.clone())
            .bind(entry.blocks.encode())
            .execute(&mut transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn days(&self, before: Option<Day>, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        query("SELECT bytes FROM verdict_days WHERE day < $1 ORDER BY day DESC LIMIT $2")
            .bind(before.map_or(i64::MAX, |day| i64::from(day.0)))
            .bind(i64::from(limit))
            .scalars(self.readers())
            .await
            .map_err(unavailable("read days of the log"))
    }

    async fn day(&self, day: Day) -> Result<Option<Vec<u8>>, StoreError> {
        query("SELECT bytes FROM verdict_days WHERE day = $1")
            .bind(i64::from(day.0))
            .scalar_optional(self.readers())
            .await
            .map_err(unavailable("read a day of the log"))
    }

    async fn logged(&self, verdict: Digest) -> Result<Option<Logged>, StoreError> {
        let place: Option<Place> = query("SELECT seq FROM verdicts WHERE digest = $1")
            .bind(verdict.to_string())
            .scalar_optional(self.readers())
            .await
            .map_err(unavailable("find a verdict"))?;
        let Some(place) = place else { return Ok(None) };
        let row: Option<DayRow> = query(
            "SELECT through, bytes, blocks FROM verdict_days WHERE through >= $1 ORDER BY through, day LIMIT 1",
        )
        .bind(place)
        .fetch_optional(self.readers())
        .await
        .map_err(unavailable("find a verdict's day"))?;
        let Some(DayRow { through, bytes: signed, blocks }) = row else { return Ok(None) };
        let blocks = Vec::<Block>::decode_all(&mut &blocks[..]).map_err(corrupt("verdict_days.blocks"))?;
        // It is in the last block that begins at or before it.
        let Some(block) = blocks.partition_point(|block| block.first <= place).checked_sub(1) else {
            return Ok(None);
        };
        let after = blocks.get(block).map_or(0, |block| block.first.saturating_sub(1));
        let until = blocks.get(block + 1).map_or(through, |next| next.first.saturating_sub(1));
        let most = u32::try_from(BLOCK).unwrap_or(u32::MAX);
        let leaves = self.log_leaves(after, until, most).await?;
        Ok(Some(Logged { signed, blocks, block, leaves: leaves.into_iter().map(|(_, leaf)| leaf).collect() }))
    }
}
