use std::net::Ipv4Addr;
use std::sync::Arc;

use basilica_localnet::nodes::{Isolation, NodeHost, NodeHosts, NodeSpec, NodesError, Reach};
use basilica_ports::{AddressPolicy, Dial, Entropy, HostKeyPolicy, Identity, NodeShell, Shell};
use basilica_ssh::RusshShell;
use basilica_system::OsEntropy;
use basilica_types::{Millis, SshPublicKey};
use tokio::runtime::{Handle, RuntimeFlavor};
use zeroize::Zeroizing;

/// Nodes with real sshd for one test, and the operator's key to them.
///
/// As root, the test's thread moves into the nodes' own network: start them before anything else that listens or
/// connects, in a test with the default (single-threaded) `#[tokio::test]` runtime.
#[derive(Debug)]
pub struct Nodes {
    hosts: NodeHosts,
    operator: Identity,
}

impl Nodes {
    /// Bare nodes of these names.
    pub async fn start(names: &[&str]) -> Self {
        Self::start_as(Isolation::Best, names).await
    }

    /// Bare nodes of these names, of this kind.
    pub async fn start_as(isolation: Isolation, names: &[&str]) -> Self {
        let specs = |key: &SshPublicKey| names.iter().map(|name| NodeSpec::new(*name, key)).collect();
        Self::start_with(isolation, specs).await
    }

    /// Nodes made from the operator's public key; put it into each spec (see [`NodeSpec::new`]).
    pub async fn start_with(
        isolation: Isolation,
        specs: impl FnOnce(&SshPublicKey) -> Vec<NodeSpec>,
    ) -> Self {
        assert!(
            Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread,
            "nodes need the single-threaded runtime of a plain #[tokio::test]: only its thread enters their network"
        );
        let entropy: &dyn Entropy = &OsEntropy;
        let operator = Identity::Ephemeral(Zeroizing::new(entropy.array()));
        let key = RusshShell.public_key(&operator).expect("an ephemeral key has a public half");
        let hosts = loud(NodeHosts::start(isolation, Reach::Entrants, specs(&key)).await);
        loud(hosts.enter());
        Self { hosts, operator }
    }

    /// The key that every node lets in.
    pub const fn operator(&self) -> &Identity {
        &self.operator
    }

    /// All nodes, in the order of their specs.
    pub fn all(&self) -> &[NodeHost] {
        self.hosts.nodes()
    }

    /// Where nodes that are hosts of their own reach what the test starts.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.hosts.gateway()
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> &NodeHost {
        self.hosts.node(name).unwrap_or_else(|| panic!("the test started no node {name}"))
    }

    /// The same, to be hung, stopped, killed.
    pub fn node_mut(&mut self, name: &str) -> &mut NodeHost {
        let found = self.hosts.nodes_mut().iter_mut().find(|node| node.name() == name);
        found.unwrap_or_else(|| panic!("the test started no node {name}"))
    }

    /// How the operator dials a node: with its key pinned.
    pub fn dial(&self, name: &str) -> Dial {
        let node = self.node(name);
        Dial {
            address: node.address().clone(),
            identity: self.operator.clone(),
            host_keys: HostKeyPolicy::Pinned(vec![node.host_key().clone()]),
            addresses: AddressPolicy::Any,
            deadline: Millis::from_secs(20),
        }
    }

    /// A login of the operator.
    pub async fn shell(&self, name: &str) -> Arc<dyn Shell> {
        let connected = RusshShell.connect(&self.dial(name)).await;
        connected.unwrap_or_else(|error| panic!("{:?}", anyhow::Error::new(error)))
    }
}

/// The value, or the whole chain of causes.
fn loud<T>(outcome: Result<T, NodesError>) -> T {
    outcome.unwrap_or_else(|error| panic!("{:?}", anyhow::Error::new(error)))
}
