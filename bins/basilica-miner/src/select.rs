//! Which node is meant on the command line: by its id, or by as much of its address as names no other.

use anyhow::bail;
use basilica_miner_service::config::NodeConfig;
use basilica_types::{Host, NodeAddress, NodeAddressError, NodeId, Username};

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

/// `[user@]host[:port]`, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    user: Option<Username>,
    host: Host,
    port: Option<u16>,
}

impl Partial {
    /// As ssh takes it: an IPv6 address without a port needs no brackets.
    pub(crate) fn read(text: &str) -> Result<Self, NodeAddressError> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.parse::<Username>()?), rest),
            None => (None, text),
        };
        let bare_v6 = rest.matches(':').count() > 1 && !rest.starts_with('[');
        if bare_v6 || rest.ends_with(']') || !rest.contains(':') {
            return Ok(Self { user, host: rest.parse()?, port: None });
        }
        // Any user, for whoever reads host and port.
        let whole: NodeAddress = format!("root@{rest}").parse()?;
        Ok(Self { user, port: Some(whole.port()), host: whole.host })
    }

    /// With what is usual for what is left out.
    pub(crate) fn or_usual(self, user: &Username) -> Result<NodeAddress, NodeAddressError> {
        NodeAddress::new(self.user.unwrap_or_else(|| user.clone()), self.host, self.port.unwrap_or(22))
    }

    fn fits(&self, address: &NodeAddress) -> bool {
        self.host == address.host
            && self.user.as_ref().is_none_or(|user| *user == address.user)
            && self.port.is_none_or(|port| port == address.port())
    }
}

/// All nodes that `text` may mean: the one with this id, or those of whose addresses it is a part.
pub(crate) fn meant<'a, N: Named>(nodes: &'a [N], text: &str) -> Vec<&'a N> {
    if let Ok(id) = text.parse::<NodeId>() {
        return nodes.iter().filter(|node| node.id() == id).take(1).collect();
    }
    let partial = Partial::read(text).ok();
    nodes.iter().filter(|node| partial.as_ref().is_some_and(|partial| partial.fits(node.address()))).collect()
}

/// The node that `text` names: by its id, or by as much of its address, such as the host alone, as no other node has.
///
/// # Errors
/// Says which nodes there are, or which of them could be meant.
pub(crate) fn select<'a, N: Named>(nodes: &'a [N], text: &str) -> anyhow::Result<&'a N> {
    let listed = |nodes: &[&N]| -> String {
        nodes.iter().map(|node| format!("\n  {}  {}", node.id(), node.address())).collect()
    };
    match meant(nodes, text).as_slice() {
        [node] => Ok(node),
        [] if nodes.is_empty() => bail!("there is no node {text:?}: the configuration lists none"),
        [] => bail!(
            "there is no node {text:?}; name one by id, as user@host:port or by host:{}",
            listed(&nodes.iter().collect::<Vec<_>>())
        ),
        several => {
            bail!("{text:?} fits several nodes; name one by id or as user@host:port:{}", listed(several))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    impl Named for NodeAddress {
        fn address(&self) -> &NodeAddress {
            self
        }
    }

    fn nodes() -> Vec<NodeAddress> {
        let all =
            ["root@gpu-1:22", "ops@gpu-1:22", "ops@gpu-1:2222", "root@[2001:db8::1]:22", "ops@gpu-2:2201"];
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_node_is_named_by_its_id_or_by_what_no_other_has() {
        let nodes = nodes();
        let found =
            |text: &str| select(&nodes, text).map(ToString::to_string).map_err(|error| error.to_string());
        for (text, expected) in [
            ("root@gpu-1", "root@gpu-1:22"),
            ("root@gpu-1:22", "root@gpu-1:22"),
            ("gpu-1:2222", "ops@gpu-1:2222"),
            ("GPU-2.", "ops@gpu-2:2201"),
            ("gpu-2:2201", "ops@gpu-2:2201"),
            ("2001:db8::1", "root@[2001:db8::1]:22"),
            ("[2001:db8::1]:22", "root@[2001:db8::1]:22"),
            (&nodes[1].node_id().to_string(), "ops@gpu-1:22"),
        ] {
            assert_eq!(found(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, fits) in [("gpu-1", 3), ("ops@gpu-1", 2), ("gpu-1:22", 2)] {
            let said = found(text).unwrap_err();
            assert!(said.contains("fits several nodes") && said.lines().count() == 1 + fits, "{said}");
        }
        let other = "root@gpu-9:22".parse::<NodeAddress>().unwrap().node_id().to_string();
        for text in ["gpu-3", "me@gpu-2", "gpu-2:22", "", "a b", "-x", &other] {
            let said = found(text).unwrap_err();
            assert!(said.starts_with("there is no node") && said.lines().count() == 6, "{text}: {said}");
        }
    }
}
