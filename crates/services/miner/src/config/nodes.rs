//! `[node_management] nodes`: the GPU servers, and what their operator should know of them.

use std::collections::HashMap;
use std::net::IpAddr;

use basilica_runtime_service::{ConfigError, Notice};
use basilica_types::{Host, Network, NodeAddress, UsdMicros};
use basilica_wire::discovery::MAX_NODES;

use super::NodeConfig;
use super::check::Check;

/// What the operator should know of two nodes that show one host key: one server as a rule, or two that were made from one image.
pub fn shared_host_key(node: &NodeAddress, other: &NodeAddress) -> String {
    let keys =
        if node.user == other.user { ", and a key that is taken off the one is off the other" } else { "" };
    format!(
        "{node} shows the same host key as {other}: if that is one server, listed twice, its GPUs count once, validators hold back the node that shows them second{keys}; keep one of the two (basilica-miner nodes remove NODE). If these are two servers made from one image, who has the one can pose as the other; on one of them: sudo rm /etc/ssh/ssh_host_*_key* && sudo ssh-keygen -A , restart sshd, and basilica-miner nodes add NODE --fingerprint SHA256:..."
    )
}

impl Check<'_> {
    pub(super) fn nodes(&self, notices: &mut Vec<Notice>) -> Result<Vec<NodeConfig>, ConfigError> {
        const KEY: &str = "node_management.nodes";
        let settings = &self.settings.node_management.nodes;
        if settings.len() > MAX_NODES {
            return self.reject(
                KEY,
                format!("has {} nodes, at most {MAX_NODES} fit one answer", settings.len()),
                "",
            );
        }
        if settings.is_empty() {
            notices
                .push(self.notice(KEY, "No nodes registered - miner will not be able to serve validators"));
        }
        let mut nodes: Vec<NodeConfig> = Vec::with_capacity(settings.len());
        let mut seen = HashMap::new();
        let mut machines = HashMap::new();
        let mut host_keys = HashMap::new();
        for (index, node) in settings.iter().enumerate() {
            let key = format!("{KEY}.{index}");
            let user = node.username.as_ref().unwrap_or(&self.settings.ssh_session.default_node_username);
            let address = NodeAddress::new(user.clone(), node.host.clone(), node.port)
                .or_else(|error| self.reject(&format!("{key}.port"), error.to_string(), ""))?;
            if let Some(first) = seen.insert(address.node_id(), index) {
                return self.reject(
                    &key,
                    format!("{address} is node {first} already"),
                    "remove one of the two",
                );
            }
            let first = *machines.entry((address.host.clone(), address.port())).or_insert(index);
            if let Some(other) = nodes.get(first) {
                let message = format!(
                    "{address} is another login of the machine of node {first} ({}): its GPUs count once, and validators hold back the node that shows them second; keep one of the two",
                    other.address
                );
                notices.push(self.notice(&key, message));
            }
            let with_key = node.host_key.as_ref().map(|key| *host_keys.entry(key).or_insert(index));
            if let Some(other) = with_key.and_then(|with_key| nodes.get(with_key))
                && first == index
            {
                notices.push(self.notice(&key, shared_host_key(&address, &other.address)));
            }
            if node.hourly_rate_per_gpu.is_none() {
                let message = "hourly_rate_per_gpu is missing: the node is verified and scored, but never offered for rent; basilica-miner nodes add NODE --hourly-rate-per-gpu USD sets it";
                notices.push(self.notice(&key, message));
            }
            if node.hourly_rate_per_gpu.is_some_and(|rate| rate.0 == UsdMicros(0)) {
                let message = "hourly_rate_per_gpu is 0: whoever rents the node pays nothing for it";
                notices.push(self.notice(&key, message));
            }
            if let Some(notice) = self.out_of_reach(&key, &address) {
                notices.push(notice);
            }
            nodes.push(NodeConfig {
                id: address.node_id(),
                address,
                hourly_rate_per_gpu: node.hourly_rate_per_gpu.map(|rate| rate.0),
                host_key: node.host_key.clone(),
                maintenance: node.maintenance,
                region: node.region.clone(),
            });
        }
        Ok(nodes)
    }

    /// Validators log in on nodes themselves, from wherever they are.
    fn out_of_reach(&self, key: &str, address: &NodeAddress) -> Option<Notice> {
        let Host::Ip(ip) = address.host else { return None };
        // Other addresses that validators refuse are nobody's node.
        let inside = match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                let is_shared = a == 100 && (64..128).contains(&b);
                ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared
            }
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        let counts = inside && self.settings.bittensor.network != Network::Local;
        let message = "is an address of a private network: validators log in on the node themselves, and cannot reach it there";
        counts.then(|| self.notice(key, format!("{ip} {message}")))
    }
}
