//! Which node is meant on the command line.

use anyhow::bail;
use basilica_miner_service::config::NodeConfig;
use basilica_types::{Host, NodeAddress, NodeId};

/// What can be named on the command line.
pub(crate) trait Named {
    fn address(&self) -> &NodeAddress;

    fn id(&self) -> NodeId {
        self.address().node_id()
    }
}

impl Named for NodeConfig {
    fn address(&self) -> &NodeAddress {
        &self.address
    }
}

/// The node that `text` names: by its id, by its address, or by its host where only one node is on it.
///
/// # Errors
/// Says which nodes there are, or which of them could be meant.
pub(crate) fn select<'a, N: Named>(nodes: &'a [N], text: &str) -> anyhow::Result<&'a N> {
    let id = text.parse::<NodeId>().ok();
    let host = text.parse::<Host>().ok();
    let address = text.parse::<NodeAddress>().ok().map(|address| address.node_id());
    if let Some(node) = nodes.iter().find(|node| [id, address].contains(&Some(node.id()))) {
        return Ok(node);
    }
    let on_host: Vec<&N> = nodes.iter().filter(|node| Some(&node.address().host) == host.as_ref()).collect();
    let listed = |nodes: &[&N]| -> String {
        nodes.iter().map(|node| format!("\n  {}  {}", node.id(), node.address())).collect()
    };
    match on_host.as_slice() {
        [node] => Ok(node),
        [] if nodes.is_empty() => bail!("there is no node {text:?}: the configuration lists none"),
        [] => bail!(
            "there is no node {text:?}; name one by id, as user@host:port or by host:{}",
            listed(&nodes.iter().collect::<Vec<_>>())
        ),
        several => bail!(
            "{text:?} is the host of several nodes; name one by id or as user@host:port:{}",
            listed(several)
        ),
    }
}

/// The nodes that are named, each once.
pub(crate) fn select_all<'a, N: Named>(nodes: &'a [N], texts: &[String]) -> anyhow::Result<Vec<&'a N>> {
    let mut selected: Vec<&N> = Vec::with_capacity(texts.len());
    for text in texts {
        let node = select(nodes, text)?;
        if !selected.iter().any(|other| other.id() == node.id()) {
            selected.push(node);
        }
    }
    Ok(selected)
}
