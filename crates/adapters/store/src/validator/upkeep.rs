//! What an operator asks of the database.

use basilica_ports::{Leader, Leadership as _, StoreError};
use basilica_types::{NodeId, Timestamp};
use sqlx::AssertSqlSafe;

use super::{Engine, ValidatorDatabase, catalog};
use crate::VALIDATOR_SCHEMA;
use crate::database::unavailable;
use crate::sql::query;

/// Whether the database is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHealth {
    /// `sqlite` or `postgres`.
    pub engine: &'static str,
    /// Its schema, which is the newest.
    pub schema: i64,
    /// Who leads.
    pub leader: Leader,
    /// What its own check of its pages says; none if it says nothing, as a server does.
    pub damage: Option<String>,
}

/// What is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseStats {
    /// `sqlite` or `postgres`.
    pub engine: &'static str,
    /// Bytes on disk, without the write-ahead log.
    pub bytes: i64,
    /// Rows by table.
    pub tables: Vec<(String, i64)>,
}

impl ValidatorDatabase {
    const fn engine_name(&self) -> &'static str {
        match &self.engine {
            Engine::Sqlite(..) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Asks it. That it was opened says already that it is ours and at the newest schema.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn health(&self) -> Result<DatabaseHealth, StoreError> {
        let damage = match &self.engine {
            Engine::Sqlite(database, _) => database.damage().await?,
            Engine::Postgres(_) => None,
        };
        let leader = self.leader().await?;
        Ok(DatabaseHealth { engine: self.engine_name(), schema: VALIDATOR_SCHEMA.version(), leader, damage })
    }

    /// Makes the full check of an available node due now, in the name of whoever leads. How many miners name the node so.
    ///
    /// # Errors
    /// If the database does not answer, or another process begins to lead meanwhile.
    pub async fn hasten(&self, node: NodeId, now: Timestamp) -> Result<u64, StoreError> {
        let failed = unavailable("hasten a check");
        if let Engine::Postgres(_) = &self.engine {
            self.seat.sit(self.readers()).await.map_err(&failed)?;
        }
        let mut transaction = self.begin("hasten a check").await?;
        let asked = query(
            "UPDATE nodes SET due_full = CASE WHEN due_full < $2 THEN due_full ELSE $2 END
             WHERE node = $1 AND listed = 'available'",
        )
        .bind(node.to_string())
        .bind(now.0)
        .execute(&mut transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(asked)
    }

    /// Counts it.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn stats(&self) -> Result<DatabaseStats, StoreError> {
        let failed = unavailable("count rows");
        let size = match &self.engine {
            Engine::Sqlite(..) => "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            Engine::Postgres(_) => "SELECT pg_database_size(current_database())",
        };
        let bytes = query(size).scalar(self.readers()).await.map_err(&failed)?;
        let mut tables = Vec::new();
        for table in catalog::tables(self).await? {
            let count = AssertSqlSafe(format!("SELECT count(*) FROM \"{}\"", table.name));
            tables.push((table.name, query(count).scalar(self.readers()).await.map_err(&failed)?));
        }
        Ok(DatabaseStats { engine: self.engine_name(), bytes, tables })
    }
}
