//! The validator's memory, on SQLite or Postgres.

mod backup;
mod catalog;
mod checks;
mod columns;
mod conduct;
mod discovery;
mod emissions;
mod fingerprints;
mod fleet;
mod holds;
mod identities;
mod leadership;
mod refold;
mod upkeep;
mod verdict_log;
mod verdicts;
mod weights;
mod window_row;

use std::sync::Arc;

use basilica_ports::StoreError;
use basilica_scoring::history::Policy;
use basilica_types::DatabaseUrl;
use prometheus_client::registry::Registry;

pub use self::backup::{BackupError, BackupSummary, TOKENS_SKIPPED};
use self::leadership::Seat;
pub use self::upkeep::{DatabaseHealth, DatabaseStats};
use crate::cluster::Cluster;
use crate::database::FileLock;
use crate::measure::{CHECKS, Connections, FACES, LEADING, Meter, Meters, Pool, WRITES};
use crate::sql::{Begun, Readers, Transaction};
use crate::{Database, OpenError, OpenOptions, Schema};

/// The validator's file, or its tables on a server.
pub const VALIDATOR_SCHEMA: Schema = Schema {
    program: "basilica-validator",
    application_id: 0x6261_7376,
    // Four times SQLite's own number, because pages that many transactions change are copied once; not more, because whoever commits waits.
    log_pages: 4_000,
    migrate: "basilica-validator database migrate",
    migrations: &[
        include_str!("../migrations/validator/0001_start.sql"),
        include_str!("../migrations/validator/0002_commit_reveal.sql"),
        include_str!("../migrations/validator/0003_fingerprints.sql"),
        include_str!("../migrations/validator/0004_deadlines.sql"),
        include_str!("../migrations/validator/0005_machines.sql"),
        include_str!("../migrations/validator/0006_identities.sql"),
        include_str!("../migrations/validator/0007_breaks.sql"),
        include_str!("../migrations/validator/0008_holds.sql"),
        include_str!("../migrations/validator/0009_two_engines.sql"),
        include_str!("../migrations/validator/0010_conduct.sql"),
        include_str!("../migrations/validator/0011_verdict_days.sql"),
        include_str!("../migrations/validator/0012_pages.sql"),
        include_str!("../migrations/validator/0013_pages_of_miners.sql"),
    ],
    postgres: Some((9, include_str!("../migrations/validator/0009_postgres.sql"))),
};

/// Where the validator's tables are.
#[derive(Clone, Debug)]
enum Engine {
    /// A file, and what keeps other validators away from it.
    Sqlite(Database, Option<Arc<FileLock>>),
    /// A server that others may write to; who may is said by the leadership's row.
    Postgres(Cluster),
}

/// The validator's store. Clones share its connections.
#[derive(Clone, Debug)]
pub struct ValidatorDatabase {
    engine: Engine,
    seat: Arc<Seat>,
    policy: Policy,
    meters: Meters,
    reads: Meter,
    writes: Meter,
    leads: Meter,
}

impl ValidatorDatabase {
    /// The store in an open file of [`VALIDATOR_SCHEMA`].
    pub fn new(database: Database) -> Self {
        Self::on(Engine::Sqlite(database, None), Seat::alone())
    }

    fn on(engine: Engine, seat: Seat) -> Self {
        let meters = Meters::default();
        let [reads, writes, leads] = [CHECKS, WRITES, LEADING].map(|pool| meters.of(pool));
        Self { engine, seat: Arc::new(seat), policy: Policy::default(), meters, reads, writes, leads }
    }

    /// The same, which folds history by this policy: whoever writes to it must say by which.
    #[must_use]
    pub fn scored_by(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Opens the store for a validator; makes and migrates it if `options` say so. A file is this process' alone from then
    /// on: a second validator on it is refused, since nothing would tell which of the two leads.
    ///
    /// # Errors
    /// Says what is missing, whose it is, who uses it, or which migration is due.
    pub async fn open(url: &DatabaseUrl, options: OpenOptions) -> Result<Self, OpenError> {
        Self::open_as(url, &VALIDATOR_SCHEMA, options).await
    }

    async fn open_as(url: &DatabaseUrl, schema: &Schema, options: OpenOptions) -> Result<Self, OpenError> {
        let lock = match url {
            DatabaseUrl::Sqlite(path) => Some(Arc::new(FileLock::take(path, schema)?)),
            DatabaseUrl::Postgres(_) => None,
        };
        let mut store = Self::beside(url, schema, options).await?;
        if let (Engine::Sqlite(_, held), DatabaseUrl::Sqlite(path)) = (&mut store.engine, url) {
            *held = lock;
            store.seat.sit(store.readers()).await.map_err(OpenError::sqlite(path.as_path()))?;
        }
        Ok(store)
    }

    /// The same beside a running validator, for tools that read.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub async fn open_beside(url: &DatabaseUrl, options: OpenOptions) -> Result<Self, OpenError> {
        Self::beside(url, &VALIDATOR_SCHEMA, options).await
    }

    async fn beside(url: &DatabaseUrl, schema: &Schema, options: OpenOptions) -> Result<Self, OpenError> {
        match url {
            DatabaseUrl::Sqlite(path) => Database::open(path, schema, options).await.map(Self::new),
            DatabaseUrl::Postgres(url) => {
                let cluster = Cluster::open(url, schema, options).await?;
                Ok(Self::on(Engine::Postgres(cluster), Seat::vacant()))
            }
        }
    }

    /// The same with connections of its own to read on, for those whose questions must not wait for others', nor others for theirs.
    #[must_use]
    pub fn with_own_readers(&self, readers: u32) -> Self {
        let engine = match &self.engine {
            Engine::Sqlite(database, lock) => {
                Engine::Sqlite(database.with_own_readers(readers), lock.as_ref().map(Arc::clone))
            }
            Engine::Postgres(cluster) => Engine::Postgres(cluster.with_own_readers(readers)),
        };
        Self { engine, reads: self.meters.of(FACES), ..self.clone() }
    }

    /// Whether [`Self::open`] would find what it needs. Of a server nothing is asked: that takes the network.
    ///
    /// # Errors
    /// Those of [`Self::open`], as far as they show without making or changing anything.
    pub async fn check(url: &DatabaseUrl, options: OpenOptions) -> Result<(), OpenError> {
        match url {
            DatabaseUrl::Sqlite(path) => Database::check(path, &VALIDATOR_SCHEMA, options).await,
            DatabaseUrl::Postgres(_) => Ok(()),
        }
    }

    /// The schema version that was found when it was opened; 0 if there was none.
    pub const fn migrated_from(&self) -> i64 {
        match &self.engine {
            Engine::Sqlite(database, _) => database.migrated_from(),
            Engine::Postgres(cluster) => cluster.migrated_from(),
        }
    }

    /// Closes all connections; what was acknowledged is on disk already.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(database, _) => database.close().await,
            Engine::Postgres(cluster) => cluster.close(),
        }
    }

    /// Connections that only read.
    const fn readers(&self) -> Readers<'_> {
        match &self.engine {
            Engine::Sqlite(database, _) => Readers::Sqlite(database.readers(), &self.reads),
            Engine::Postgres(cluster) => Readers::Postgres(cluster.readers(), &self.reads),
        }
    }

    /// Begins a transaction that writes, one after the other: on SQLite there is one writer, on Postgres each locks the
    /// leadership's row first, and is refused unless this process leads (RULES R28).
    async fn begin(&self, operation: &'static str) -> Result<Transaction, StoreError> {
        let counted = self.writes.begins();
        match &self.engine {
            Engine::Sqlite(database, _) => {
                Ok(Transaction::new(Begun::Sqlite(database.begin(operation).await?), counted))
            }
            Engine::Postgres(cluster) => self.seat.begin(cluster, operation, counted).await,
        }
    }

    /// Registers what the database is asked for, and how busy its connections are, under names that begin with `prefix`; with those of
    /// `faces`, which [`Self::with_own_readers`] made of it.
    pub fn observe(&self, faces: &Self, registry: &mut Registry, prefix: &str) {
        self.meters.register(registry, prefix);
        let mut pools = vec![(CHECKS, self.reading()), (FACES, faces.reading())];
        match &self.engine {
            Engine::Sqlite(database, _) => pools.push((WRITES, Pool::Writer(database.clone()))),
            Engine::Postgres(cluster) => pools.extend([
                (WRITES, Pool::Postgres(Arc::clone(cluster.writer()))),
                (LEADING, Pool::Postgres(Arc::clone(cluster.leader()))),
            ]),
        }
        registry.register_collector(Box::new(Connections { prefix: prefix.to_owned(), pools }));
    }

    fn reading(&self) -> Pool {
        match &self.engine {
            Engine::Sqlite(database, _) => Pool::Sqlite(database.readers().clone()),
            Engine::Postgres(cluster) => Pool::Postgres(Arc::clone(cluster.readers())),
        }
    }
}

#[cfg(test)]
mod tests;
