//! Servers that are listed at two addresses.
//!
//! Two nodes with one host key are one server as a rule. Under one user they share `~/.ssh/authorized_keys` then, and what is taken off the one
//! is off the other. Or they were made from one image that kept its host keys: a fault of its own, of which operators are warned, and no reason
//! to keep a GPU from earning. So the host key only raises the question, and the two logins answer it ([`basilica_miner_service::whereabouts`]).
//!
//! **`nodes add` refuses** only what is certain, a login that is listed already, and therefore has no option to overrule it; **the miner's key
//! stays** where another listed node needs it, or where that one cannot be asked. **Rejected**: refusing by the host key, with an option for clones,
//! which is given as soon as the refusal names it; taking the key off and putting it back through the other node, which does not work where that is down.
//! A node whose host key nobody knows yet, in the file or from a first contact, is not asked: the miner has never been on it.

use std::collections::BTreeMap;
use std::path::Path;

use basilica_miner_service::config::{MinerConfig, shared_host_key};
use basilica_miner_service::whereabouts::{Whereabouts, whereabouts};
use basilica_ports::{MinerStore as _, Shell};
use basilica_types::{HostKey, NodeAddress, NodeId};

use super::access::{Access, DEADLINE};
use crate::keys::Host;
use crate::program::Program;
use crate::select::Named as _;
use crate::store;

/// The nodes of the configuration, each with the host key by which the miner knows it.
pub(crate) async fn listed(config: &MinerConfig) -> anyhow::Result<Vec<Host>> {
    let learnt: BTreeMap<NodeId, HostKey> = match store::existing(&config.database).await? {
        Some(store) => store.host_keys().await?.into_iter().map(|key| (key.node_id, key.pinned)).collect(),
        None => BTreeMap::new(),
    };
    let host = |node: &basilica_miner_service::config::NodeConfig| Host {
        address: node.address.clone(),
        host_key: node.host_key.clone().or_else(|| learnt.get(&node.id).cloned()),
    };
    Ok(config.fleet.nodes.iter().map(host).collect())
}

/// Those that show the same host key to the same user.
pub(crate) fn of(host: &Host, listed: &[Host]) -> Vec<Host> {
    let is_twin = |other: &&Host| {
        other.id() != host.id()
            && other.address.user == host.address.user
            && host.host_key.is_some()
            && other.host_key == host.host_key
    };
    listed.iter().filter(is_twin).cloned().collect()
}

/// The first node, before this one, that shows the same host key, to whichever user.
pub(super) fn first(node: NodeId, listed: &[Host]) -> Option<NodeAddress> {
    let at = listed.iter().position(|host| host.id() == node)?;
    let key = listed[at].host_key.as_ref()?;
    let twin = listed[..at].iter().find(|other| other.host_key.as_ref() == Some(key))?;
    Some(twin.address.clone())
}

/// Warnings of nodes with one host key, where only the miner knows from its contacts that they have: of others the configuration's check warns.
pub(crate) async fn warnings(config: &MinerConfig) -> anyhow::Result<Vec<String>> {
    let all = listed(config).await?;
    let is_learnt =
        |host: &Host| config.fleet.nodes.iter().any(|node| node.id == host.id() && node.host_key.is_none());
    let is_one_place = |one: &Host, other: &Host| {
        (&one.address.host, one.address.port()) == (&other.address.host, other.address.port())
    };
    let warning = |host: &Host| {
        let first = first(host.id(), &all)?;
        let other = all.iter().find(|other| other.address == first)?;
        let is_new = (is_learnt(host) || is_learnt(other)) && !is_one_place(host, other);
        is_new.then(|| shared_host_key(&host.address, &other.address))
    };
    Ok(all.iter().filter_map(warning).collect())
}

/// How the miner logs in.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) current: &'a Path,
    /// One whose place it took, if that is kept.
    pub(crate) former: Option<&'a Path>,
}

/// Who needs the miner's key in a login.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nobody,
    /// This node is the same login.
    By(Host),
    /// This one may be, and does not say, for this reason.
    Perhaps(Host, String),
}

/// Which of the `twins` of a node, into which `shell` is a login, is the same login.
pub(crate) async fn need(shell: &dyn Shell, twins: &[Host], keys: Keys<'_>, program: &Program) -> Need {
    let Some(first) = twins.first() else { return Need::Nobody };
    let here = match whereabouts(shell, DEADLINE).await {
        Ok(here) => here,
        Err(error) => return Need::Perhaps(first.clone(), format!("{:#}", anyhow::Error::new(error))),
    };
    let mut need = Need::Nobody;
    for twin in twins {
        match there(twin, keys, program).await {
            Ok(there) if there == here => return Need::By(twin.clone()),
            Ok(_) => {}
            Err(error) => need = Need::Perhaps(twin.clone(), format!("{error:#}")),
        }
    }
    need
}

async fn there(twin: &Host, keys: Keys<'_>, program: &Program) -> anyhow::Result<Whereabouts> {
    let host_key = twin.host_key.as_ref().ok_or_else(|| anyhow::anyhow!("its host key is not known"))?;
    let access = Access { address: &twin.address, host_key, key_path: keys.current, program };
    let shell = access.log_in_with_either(keys.former).await.map_err(|error| access.explained(error))?;
    let there = whereabouts(shell.as_ref(), DEADLINE).await;
    shell.close().await;
    Ok(there?)
}
