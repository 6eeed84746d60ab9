//! The miner's database, as commands that are about nodes use it: also where no miner has ever run, and there is none.

use std::collections::BTreeSet;

use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::DatabaseConfig;
use basilica_ports::{Clock as _, MaintenanceWindow, MinerOperations as _, MinerStore as _};
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, OpenOptions};
use basilica_system::SystemClock;
use basilica_types::{HostKey, NodeId};

/// Why a node that is being removed is in maintenance; it ends when the node is added again.
pub(crate) const REMOVED: &str = "removed by `nodes remove`";

/// The store, if its file is there.
pub(crate) async fn existing(database: &DatabaseConfig) -> anyhow::Result<Option<MinerDatabase>> {
    if !database.url.as_path().exists() {
        return Ok(None);
    }
    let options = OpenOptions { readers: 1, migrate: database.migrate };
    Ok(Some(MinerDatabase::new(Database::open(&database.url, &MINER_SCHEMA, options).await?)))
}

/// The host key that a miner learnt when it met the node.
pub(crate) async fn pinned(database: &DatabaseConfig, node: NodeId) -> anyhow::Result<Option<HostKey>> {
    let Some(store) = existing(database).await? else { return Ok(None) };
    Ok(store.host_key(node).await?.map(|record| record.pinned))
}

/// Ends the maintenance of a node that was removed before. One that its operator took out stays out.
pub(crate) async fn welcome(database: &DatabaseConfig, node: NodeId) -> anyhow::Result<()> {
    let Some(store) = existing(database).await? else { return Ok(()) };
    let window: Option<MaintenanceWindow> = store.orders().await?.maintenance.remove(&node);
    if window.is_some_and(|window| window.reason.as_deref() == Some(REMOVED)) {
        store.end_maintenance(node, SystemClock::new().now()).await?;
    }
    Ok(())
}

/// From now on no validator gets a key on the node; the keys that it may carry.
pub(crate) async fn close(database: &DatabaseConfig, node: NodeId) -> anyhow::Result<BTreeSet<KeyTag>> {
    let Some(store) = existing(database).await? else { return Ok(BTreeSet::new()) };
    store.begin_maintenance(node, Some(REMOVED), SystemClock::new().now()).await?;
    let deployed = store.deployments(node).await?;
    Ok(deployed.into_iter().map(|(session, validator)| KeyTag { validator, session }).collect())
}

/// Forgets a node that carries nothing of ours any more.
pub(crate) async fn forget(database: &DatabaseConfig, node: NodeId) -> anyhow::Result<()> {
    let Some(store) = existing(database).await? else { return Ok(()) };
    Ok(store.forget_node(node).await?)
}
