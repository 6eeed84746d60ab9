//! The nodes that a rotation visits.

use std::collections::BTreeSet;

use anyhow::ensure;
use basilica_miner_service::config::MinerConfig;
use basilica_ports::MinerOperations as _;
use basilica_types::{HostKey, NodeAddress, NodeId};

use super::files::KeyFiles;
use crate::nodes::twins;
use crate::select::{Named, select_all};
use crate::store;

/// A node, and its host key where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) address: NodeAddress,
    pub(crate) host_key: Option<HostKey>,
}

impl Named for Host {
    fn address(&self) -> &NodeAddress {
        &self.address
    }
}

/// All that may carry the miner's key.
#[derive(Debug)]
pub(super) struct Hosts {
    pub(super) visited: Vec<Host>,
    /// Those that the operator goes on without.
    pub(super) left_behind: Vec<Host>,
    /// Those that were removed and may still let the miner's key in.
    pub(super) owed: Vec<Host>,
    /// Those of the configuration.
    pub(super) listed: Vec<Host>,
}

impl Hosts {
    /// Refuses to replace the key of nobody.
    pub(super) fn expected(&self) -> anyhow::Result<()> {
        ensure!(
            !self.visited.is_empty(),
            "there is no node whose key could be replaced, and servers that know the old key would be lost; is this the right configuration?"
        );
        Ok(())
    }

    /// Those of the configuration, and those that were taken out of it by hand and may still carry validators' keys, which the miner takes
    /// off with its own. One that `nodes remove` took out is left, also while the miner is at it: it gets no new key, nor does
    /// one that the running miner knows still and has nothing to do on any more.
    pub(super) async fn read(
        config: &MinerConfig,
        files: &KeyFiles,
        leave_behind: &[String],
    ) -> anyhow::Result<Self> {
        let listed = twins::listed(config).await?;
        let mut seen: BTreeSet<NodeId> = listed.iter().map(Named::id).collect();
        let mut owed = files.owed()?;
        owed.retain(|host| seen.insert(host.id()));
        let mut all = listed.clone();
        if let Some(store) = store::existing(&config.database).await? {
            for known in store.known_nodes().await? {
                let carries = store.deployed_until(known.node_id).await?.is_some();
                if carries && seen.insert(known.node_id) {
                    all.push(Host { address: known.address, host_key: known.host_key });
                }
            }
        }
        // One that is owed need not be named, and may be.
        let everybody: Vec<Host> = all.iter().chain(&owed).cloned().collect();
        let left: BTreeSet<NodeId> =
            select_all(&everybody, leave_behind)?.into_iter().map(Named::id).collect();
        let (mut left_behind, mut visited): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|host| left.contains(&host.id()));
        let all = visited.iter_mut().chain(&mut left_behind).chain(&mut owed);
        for host in all.filter(|host| host.host_key.is_none()) {
            host.host_key = store::pinned(&config.database, host.id()).await?;
        }
        Ok(Self { visited, left_behind, owed, listed })
    }
}
