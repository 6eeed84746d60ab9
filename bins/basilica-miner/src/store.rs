//! The miner's database, as commands that are about nodes use it: also where no miner has ever run, and there is none.

use std::collections::BTreeSet;

use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::{DatabaseConfig, NodeConfig};
use basilica_ports::{Clock as _, MaintenanceWindow, MinerOperations as _, MinerStore as _, OrderedBy};
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, OpenOptions};
use basilica_system::SystemClock;
use basilica_types::{HostKey, NodeId, SessionId};

use crate::keys::Host;

/// The store, if its file is there. An older one is refused: who lists nodes, or changes one, has not asked for a step that cannot be
/// undone, and a miner of the version before may run on it.
pub(crate) async fn existing(database: &DatabaseConfig) -> anyhow::Result<Option<MinerDatabase>> {
    if !database.url.as_path().exists() {
        return Ok(None);
    }
    let options = OpenOptions { readers: 1, migrate: false };
    Ok(Some(MinerDatabase::new(Database::open(&database.url, &MINER_SCHEMA, options).await?)))
}

/// The host key that a miner learnt when it met the node.
pub(crate) async fn pinned(database: &DatabaseConfig, node: NodeId) -> anyhow::Result<Option<HostKey>> {
    let Some(store) = existing(database).await? else { return Ok(None) };
    Ok(store.host_key(node).await?.map(|record| record.pinned))
}

/// Notes by which host key the configuration knows the node, for when it does not say so any more. Its word is the operator's, also
/// against what was learnt before.
pub(crate) async fn keep_host_key(database: &DatabaseConfig, node: &NodeConfig) -> anyhow::Result<()> {
    let (Some(store), Some(key)) = (existing(database).await?, &node.host_key) else { return Ok(()) };
    let now = SystemClock::new().now();
    store.pin_host_key(node.id, &node.address, key, now).await?;
    store.offer_host_key(node.id, key, now).await?;
    // Nothing is approved where this key is the pinned one by now.
    store.approve_host_key(node.id, &key.fingerprint(), now).await?;
    Ok(())
}

/// The order by which a command has the node out, if one has.
pub(crate) async fn drained(
    database: &DatabaseConfig,
    node: NodeId,
) -> anyhow::Result<Option<MaintenanceWindow>> {
    let Some(store) = existing(database).await? else { return Ok(None) };
    Ok(store.orders().await?.window(node, OrderedBy::Command).cloned())
}

/// A node that the configuration does not have.
pub(crate) struct Remnant {
    /// What is remembered of it.
    pub(crate) node: NodeConfig,
    /// Whether no miner has finished leaving it.
    pub(crate) is_known: bool,
}

/// What is remembered of a node; none: nothing.
pub(crate) async fn remnant(database: &DatabaseConfig, id: NodeId) -> anyhow::Result<Option<Remnant>> {
    let Some(store) = existing(database).await? else { return Ok(None) };
    let known = store.known_nodes().await?.into_iter().find(|known| known.node_id == id);
    let met = store.host_key(id).await?;
    let is_known = known.is_some();
    let (address, host_key) = match (known, met) {
        (Some(known), met) => (known.address, known.host_key.or(met.map(|met| met.pinned))),
        (None, Some(met)) => (met.address, Some(met.pinned)),
        (None, None) => return Ok(None),
    };
    Ok(Some(Remnant { node: unlisted(&Host { address, host_key }), is_known }))
}

/// The nodes that a miner has not finished leaving, and those that one has met, each once.
pub(crate) async fn remembered(database: &DatabaseConfig) -> anyhow::Result<Vec<Host>> {
    let Some(store) = existing(database).await? else { return Ok(Vec::new()) };
    let known = store.known_nodes().await?.into_iter();
    let mut all: Vec<Host> =
        known.map(|known| Host { address: known.address, host_key: known.host_key }).collect();
    for met in store.host_keys().await? {
        if !all.iter().any(|known| known.address == met.address) {
            all.push(Host { address: met.address, host_key: Some(met.pinned) });
        }
    }
    Ok(all)
}

/// What is known of a node that the configuration does not have.
pub(crate) fn unlisted(host: &Host) -> NodeConfig {
    let Host { address, host_key } = host.clone();
    let id = address.node_id();
    NodeConfig { id, address, hourly_rate_per_gpu: None, host_key, maintenance: false, region: None }
}

/// From now on no validator gets a key on the node; the keys that it may carry, also by a stale save of another editor, and how many of these
/// are recorded as being there.
pub(crate) async fn close(
    database: &DatabaseConfig,
    node: NodeId,
) -> anyhow::Result<(BTreeSet<KeyTag>, usize)> {
    let Some(store) = existing(database).await? else { return Ok((BTreeSet::new(), 0)) };
    store.begin_maintenance(node, OrderedBy::Removal, None, SystemClock::new().now()).await?;
    let deployed = store.deployments(node).await?;
    let (count, others) = (deployed.len(), store.unexpired_keys(SystemClock::new().now()).await?);
    let all = deployed.into_iter().chain(others);
    Ok((all.map(|(session, validator)| KeyTag { validator, session }).collect(), count))
}

/// Whether a running miner has nothing of validators' on the node any more. Where it `was_told` that the node is gone, it has left it.
pub(crate) async fn is_left(database: &DatabaseConfig, node: NodeId, was_told: bool) -> anyhow::Result<bool> {
    let Some(store) = existing(database).await? else { return Ok(true) };
    if was_told {
        return Ok(!store.known_nodes().await?.iter().any(|known| known.node_id == node));
    }
    Ok(store.deployed_until(node).await?.is_none())
}

/// Ends the removal of a node that no miner knows any more, in case that was [`close`]d when they had left it, or when none had met it.
pub(crate) async fn reopen(database: &DatabaseConfig, node: NodeId) -> anyhow::Result<()> {
    let Some(store) = existing(database).await? else { return Ok(()) };
    if !store.known_nodes().await?.iter().any(|known| known.node_id == node) {
        store.end_maintenance(node, OrderedBy::Removal, SystemClock::new().now()).await?;
    }
    Ok(())
}

/// Forgets keys that were taken off a node, and the node if it carries no others.
pub(crate) async fn forget(
    database: &DatabaseConfig,
    node: NodeId,
    removed: &BTreeSet<KeyTag>,
) -> anyhow::Result<()> {
    let Some(store) = existing(database).await? else { return Ok(()) };
    let sessions: Vec<SessionId> = removed.iter().map(|tag| tag.session).collect();
    store.forget_deployments(node, &sessions).await?;
    if store.deployed_until(node).await?.is_none() {
        store.forget_node(node, SystemClock::new().now()).await?;
    }
    Ok(())
}
