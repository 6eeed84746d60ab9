//! The miner's memory on SQLite.
//!
//! Requests of validators are written in groups: what comes while one transaction is under way is written by the next.
//! A group is decided in memory (`admission::book`), where a refused request leaves nothing behind. It outlives the process when it is
//! answered; what a power cut can take of it does no harm (`admission::continuity`).

mod admission;
mod assignments;
mod hosts;
mod ledger;
mod lock;
mod operations;
mod restore;
mod sessions;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{
    Assignment, DiscoveryUse, HostKeyApproval, HostKeyRecord, Inadmissible, MinerStore, NewSession, NonceUse,
    SessionRecord, StoreError,
};
use basilica_types::{HostKey, Hotkey, Millis, NodeAddress, NodeId, SessionId, Timestamp};

use prometheus_client::registry::Registry;
use tokio::time::Instant;

use self::admission::{Admissions, Boot};
pub use self::lock::{LockHolder, MinerLock};
pub use self::restore::{RESTORE_WAIT, restore_miner};
use crate::measure::{Connections, Meter, Meters, Pool, READS, WRITES};
use crate::{Database, Schema};

/// The miner's file.
pub const MINER_SCHEMA: Schema = Schema {
    program: "basilica-miner",
    application_id: 0x6261_736d,
    // The log is copied beside the commits (`admission::log_copier`), long before: a commit does it where that does not keep up.
    log_pages: 20_000,
    migrate: "basilica-miner database migrate",
    postgres: None,
    migrations: &[
        include_str!("../migrations/miner/0001_start.sql"),
        include_str!("../migrations/miner/0002_operations.sql"),
        include_str!("../migrations/miner/0003_assignments.sql"),
        include_str!("../migrations/miner/0004_sessions.sql"),
        include_str!("../migrations/miner/0005_nonces_without_index.sql"),
        include_str!("../migrations/miner/0006_in_order.sql"),
        include_str!("../migrations/miner/0007_continuity.sql"),
        include_str!("../migrations/miner/0008_orders_apart.sql"),
        include_str!("../migrations/miner/0009_boottime.sql"),
    ],
};

/// The miner's store on SQLite. Clones share the database.
#[derive(Clone, Debug)]
pub struct MinerDatabase {
    database: Database,
    admissions: Arc<Admissions>,
    meters: Meters,
    reads: Meter,
    writes: Meter,
}

impl MinerDatabase {
    /// The store in an open database of [`MINER_SCHEMA`]. Only one, and its clones, may be made of one that is open: it knows by heart
    /// what it has written, and notices only what others write through connections of their own.
    pub fn new(database: Database) -> Self {
        Self::during(Boot::current(), database)
    }

    fn during(boot: Boot, database: Database) -> Self {
        let admissions = Arc::new(Admissions::new(database.clone(), boot));
        let meters = Meters::default();
        let [reads, writes] = [READS, WRITES].map(|pool| meters.of(pool));
        Self { database, admissions, meters, reads, writes }
    }

    /// Reads what requests are decided by, so that the first of them need not wait for it.
    ///
    /// # Errors
    /// The file cannot be read, or holds what no miner wrote.
    pub async fn resume(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writes.outcome(Instant::now(), self.admissions.resume(now).await)
    }

    /// Registers what the database is asked for, and how busy its connections are, under names that begin with `prefix`.
    pub fn observe(&self, registry: &mut Registry, prefix: &str) {
        self.meters.register_work(registry, prefix);
        let reading = Pool::Sqlite(self.database.readers().clone());
        let pools = vec![(READS, reading), (WRITES, Pool::Writer(self.database.clone()))];
        registry.register_collector(Box::new(Connections { prefix: prefix.to_owned(), pools }));
    }
}

#[async_trait]
impl MinerStore for MinerDatabase {
    async fn open_session(
        &self,
        nonce: &NonceUse,
        session: &NewSession,
    ) -> Result<Result<(), Inadmissible>, StoreError> {
        let opening = self.admissions.open(nonce.clone(), session.clone());
        let opened = self.writes.outcome(Instant::now(), opening.await)?;
        Ok(opened.map(drop))
    }

    async fn admit_discovery(
        &self,
        nonce: &NonceUse,
        discovery: &DiscoveryUse,
    ) -> Result<Result<SessionRecord, Inadmissible>, StoreError> {
        self.writes.outcome(Instant::now(), self.admissions.discover(nonce.clone(), discovery.clone()).await)
    }

    async fn keyed_sessions(&self, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
        self.reads.outcome(Instant::now(), sessions::keyed(&self.database, now).await)
    }

    async fn end_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writes.outcome(Instant::now(), sessions::end_all(&self.database, now).await)
    }

    async fn open_sessions(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.reads.outcome(Instant::now(), sessions::count_open(&self.database, now).await)
    }

    async fn session_lives(&self, after: Timestamp, until: Timestamp) -> Result<Vec<Millis>, StoreError> {
        self.reads.outcome(Instant::now(), sessions::lives(&self.database, after, until).await)
    }

    async fn record_deployments(
        &self,
        node: NodeId,
        sessions: &[SessionId],
        now: Timestamp,
    ) -> Result<BTreeSet<SessionId>, StoreError> {
        self.writes
            .outcome(Instant::now(), sessions::record_deployments(&self.database, node, sessions, now).await)
    }

    async fn unexpired_keys(&self, now: Timestamp) -> Result<Vec<(SessionId, Hotkey)>, StoreError> {
        self.reads.outcome(Instant::now(), sessions::unexpired_keys(&self.database, now).await)
    }

    async fn deployments(&self, node: NodeId) -> Result<Vec<(SessionId, Hotkey)>, StoreError> {
        self.reads.outcome(Instant::now(), sessions::deployments(&self.database, node).await)
    }

    async fn forget_deployments(&self, node: NodeId, sessions: &[SessionId]) -> Result<(), StoreError> {
        self.writes
            .outcome(Instant::now(), sessions::forget_deployments(&self.database, node, sessions).await)
    }

    async fn assignment(&self) -> Result<Assignment, StoreError> {
        self.reads.outcome(Instant::now(), assignments::current(&self.database).await)
    }

    async fn remember_assignment(&self, assignment: &Assignment) -> Result<(), StoreError> {
        self.writes.outcome(Instant::now(), assignments::replace(&self.database, assignment).await)
    }

    async fn host_key(&self, node: NodeId) -> Result<Option<HostKeyRecord>, StoreError> {
        self.reads.outcome(Instant::now(), hosts::find(&self.database, node).await)
    }

    async fn host_keys(&self) -> Result<Vec<HostKeyRecord>, StoreError> {
        self.reads.outcome(Instant::now(), hosts::all(&self.database).await)
    }

    async fn pin_host_key(
        &self,
        node: NodeId,
        address: &NodeAddress,
        key: &HostKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writes.outcome(Instant::now(), hosts::pin(&self.database, node, address, key, now).await)
    }

    async fn offer_host_key(&self, node: NodeId, key: &HostKey, now: Timestamp) -> Result<bool, StoreError> {
        self.writes.outcome(Instant::now(), hosts::offer(&self.database, node, key, now).await)
    }

    async fn withdraw_host_key(&self, node: NodeId, pinned: &HostKey) -> Result<(), StoreError> {
        self.writes.outcome(Instant::now(), hosts::withdraw(&self.database, node, pinned).await)
    }

    async fn approve_host_key(
        &self,
        node: NodeId,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<HostKeyApproval, StoreError> {
        self.writes.outcome(Instant::now(), hosts::approve(&self.database, node, fingerprint, now).await)
    }

    async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        let also = || self.admissions.forget(now);
        self.writes.outcome(Instant::now(), sessions::prune(&self.database, now, also).await)
    }

    async fn check_whole(&self) -> Result<(), StoreError> {
        // Not among what is measured: it takes as long as the file is large.
        self.database.check_own_pages().await
    }
}

#[cfg(test)]
mod tests;
