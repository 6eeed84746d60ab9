//! Servers that are listed at two addresses.
//!
//! Two nodes with one host key are one server as a rule. Under one user they share `~/.ssh/authorized_keys` then, and what is taken off the one
//! is off the other. Or they were made from one image that kept its host keys: a fault of its own, of which operators are warned, and no reason
//! to keep a GPU from earning. So the host key only raises the question, and the two logins answer it ([`basilica_miner_service::whereabouts`]).
//!
//! **`nodes add` refuses** only what is certain, a login that is listed already, and therefore has no option to overrule it; **the miner's key
//! stays** where another listed node needs it, or where that one cannot be asked. **Rejected**: refusing by the host key, with an option for clones,
//! which is given as soon as the refusal names it; taking the key off and putting it back through the other node, which does not work where that is down.
//! A node whose host key nobody knows yet, in the file or from a first contact, is not asked: the miner has never been on it. Nor is one that is
//! known by a key of another type, which the same server may have too: every removal would have to ask nodes that have nothing to do with it,
//! and would wait for those that are down.

use std::collections::BTreeMap;
use std::path::Path;

use basilica_miner_service::config::{MinerConfig, shared_host_key};
use basilica_miner_service::whereabouts::{Whereabouts, whereabouts};
use basilica_ports::{MinerStore as _, Shell};
use basilica_types::{HostKey, NodeAddress, NodeId};
use tokio::task::JoinSet;

use super::access::{Access, DEADLINE};
use crate::keys::Host;
use crate::program::Program;
use crate::select::Named as _;
use crate::store;

/// Nodes that are asked at a time.
const AT_ONCE: usize = 16;

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
/// Each with the node that it is of.
pub(crate) async fn warnings(config: &MinerConfig) -> anyhow::Result<Vec<(NodeAddress, String)>> {
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
        is_new.then(|| (host.address.clone(), shared_host_key(&host.address, &other.address)))
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

impl<'a> Keys<'a> {
    /// Those that may be let in where this one was: what comes before it was refused.
    pub(crate) fn from(self, let_in: &'a Path) -> impl Iterator<Item = &'a Path> {
        [Some(self.current), self.former].into_iter().flatten().skip_while(move |key| *key != let_in)
    }
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
    let current = keys.current.to_owned();
    let former = keys.former.map(Path::to_owned);
    let ask = |(at, twin): (usize, &Host)| {
        let (twin, current, former, program) =
            (twin.clone(), current.clone(), former.clone(), program.clone());
        async move {
            let keys = Keys { current: &current, former: former.as_deref() };
            let there = there(&twin, keys, &program).await;
            (at, twin, there)
        }
    };
    let mut waiting = twins.iter().enumerate();
    let mut under_way: JoinSet<_> = waiting.by_ref().take(AT_ONCE).map(ask).collect();
    let mut silent: Option<(usize, Host, String)> = None;
    while let Some(ended) = under_way.join_next().await {
        let (at, twin, there) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match there {
            // The others end with the set.
            Ok(there) if there == here => return Need::By(twin),
            Ok(_) => {}
            Err(_) if silent.as_ref().is_some_and(|(first, ..)| *first < at) => {}
            Err(error) => silent = Some((at, twin, format!("{error:#}"))),
        }
        if let Some(next) = waiting.next() {
            under_way.spawn(ask(next));
        }
    }
    silent.map_or(Need::Nobody, |(_, twin, why)| Need::Perhaps(twin, why))
}

async fn there(twin: &Host, keys: Keys<'_>, program: &Program) -> anyhow::Result<Whereabouts> {
    let host_key = twin.host_key.as_ref().ok_or_else(|| anyhow::anyhow!("its host key is not known"))?;
    let access = Access { address: &twin.address, host_key, key_path: keys.current, program };
    let (shell, _) = access.log_in_with_either(keys.former).await.map_err(|error| access.explained(error))?;
    let there = whereabouts(shell.as_ref(), DEADLINE).await;
    shell.close().await;
    Ok(there?)
}
