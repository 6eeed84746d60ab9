//! The miner's memory on SQLite.
//!
//! Requests of validators are written in groups: what comes while one transaction is under way is written by the next.
//! One flush to disk then serves many requests, which is what lets nonces be durable (RULES R8) at thousands of requests a second. A group is decided in
//! memory (`admission::book`), where a refused request leaves nothing behind.

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
use basilica_types::{HostKey, Hotkey, NodeAddress, NodeId, SessionId, Timestamp};

use self::admission::Admissions;
pub use self::lock::{LockHolder, MinerLock};
pub use self::restore::restore_miner;
use crate::{Database, Schema};

/// The miner's file.
pub const MINER_SCHEMA: Schema = Schema {
    program: "basilica-miner",
    application_id: 0x6261_736d,
    migrate: "basilica-miner database migrate",
    postgres: None,
    migrations: &[
        include_str!("../migrations/miner/0001_start.sql"),
        include_str!("../migrations/miner/0002_operations.sql"),
        include_str!("../migrations/miner/0003_assignments.sql"),
        include_str!("../migrations/miner/0004_sessions.sql"),
        include_str!("../migrations/miner/0005_nonces_without_index.sql"),
    ],
};

/// The miner's store on SQLite. Clones share the database.
#[derive(Clone, Debug)]
pub struct MinerDatabase {
    database: Database,
    admissions: Arc<Admissions>,
}

impl MinerDatabase {
    /// The store in an open database of [`MINER_SCHEMA`].
    pub fn new(database: Database) -> Self {
        let admissions = Arc::new(Admissions::new(database.clone()));
        Self { database, admissions }
    }
}

#[async_trait]
impl MinerStore for MinerDatabase {
    async fn open_session(
        &self,
        nonce: &NonceUse,
        session: &NewSession,
    ) -> Result<Result<(), Inadmissible>, StoreError> {
        let opened = self.admissions.open(nonce.clone(), session.clone()).await?;
        Ok(opened.map(drop))
    }

    async fn admit_discovery(
        &self,
        nonce: &NonceUse,
        discovery: &DiscoveryUse,
    ) -> Result<Result<SessionRecord, Inadmissible>, StoreError> {
        self.admissions.discover(nonce.clone(), discovery.clone()).await
    }

    async fn keyed_sessions(&self, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
        sessions::keyed(&self.database, now).await
    }

    async fn end_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        sessions::end_all(&self.database, now).await
    }

    async fn open_sessions(&self, now: Timestamp) -> Result<u64, StoreError> {
        sessions::count_open(&self.database, now).await
    }

    async fn record_deployments(
        &self,
        node: NodeId,
        sessions: &[SessionId],
        now: Timestamp,
    ) -> Result<BTreeSet<SessionId>, StoreError> {
        sessions::record_deployments(&self.database, node, sessions, now).await
    }

    async fn unexpired_keys(&self, now: Timestamp) -> Result<Vec<(SessionId, Hotkey)>, StoreError> {
        sessions::unexpired_keys(&self.database, now).await
    }

    async fn deployments(&self, node: NodeId) -> Result<Vec<(SessionId, Hotkey)>, StoreError> {
        sessions::deployments(&self.database, node).await
    }

    async fn forget_deployments(&self, node: NodeId, sessions: &[SessionId]) -> Result<(), StoreError> {
        sessions::forget_deployments(&self.database, node, sessions).await
    }

    async fn assignment(&self) -> Result<Assignment, StoreError> {
        assignments::current(&self.database).await
    }

    async fn remember_assignment(&self, assignment: &Assignment) -> Result<(), StoreError> {
        assignments::replace(&self.database, assignment).await
    }

    async fn host_key(&self, node: NodeId) -> Result<Option<HostKeyRecord>, StoreError> {
        hosts::find(&self.database, node).await
    }

    async fn host_keys(&self) -> Result<Vec<HostKeyRecord>, StoreError> {
        hosts::all(&self.database).await
    }

    async fn pin_host_key(
        &self,
        node: NodeId,
        address: &NodeAddress,
        key: &HostKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        hosts::pin(&self.database, node, address, key, now).await
    }

    async fn offer_host_key(&self, node: NodeId, key: &HostKey, now: Timestamp) -> Result<bool, StoreError> {
        hosts::offer(&self.database, node, key, now).await
    }

    async fn withdraw_host_key(&self, node: NodeId, pinned: &HostKey) -> Result<(), StoreError> {
        hosts::withdraw(&self.database, node, pinned).await
    }

    async fn approve_host_key(
        &self,
        node: NodeId,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<HostKeyApproval, StoreError> {
        hosts::approve(&self.database, node, fingerprint, now).await
    }

    async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        sessions::prune(&self.database, now).await
    }
}

#[cfg(test)]
mod tests;
