//! GPU nodes on one machine: real OpenSSH servers, each as far as possible a host of its own.
//!
//! As root, every node is a set of Linux namespaces with its own network address, mounts (an overlay of the machine's
//! files), processes, host name, `/root` and host key; four start in well under a second. Without root, every node is an sshd of
//! the current user on 127.0.0.2 and up with a home directory of its own; it refuses to start unless a login
//! really sees that directory as `$HOME`, so that nobody's real `authorized_keys` is touched (RULES R23).
//!
//! **How nodes are reached.** The nodes' bridge stands in an anonymous network namespace. Tests move their
//! thread into it ([`NodeHosts::enter`]) and leave the machine's network untouched. The localnet, whose chain must
//! be reachable from the user's shell on 127.0.0.1 and whose miners and validator must reach both, gets one virtual cable
//! from the machine to that bridge ([`Reach::Machine`]). Rejected: running miners and validator inside the namespace with a
//! forwarder to the chain (one more process that can fail, and `curl 127.0.0.1:8091/health` would not reach them); a bridge on the
//! machine (it outlives a crash).
//!
//! **How everything ends.** Namespaces have no names in the file system: they live as long as their first process, and that ends
//! when the pipe from us closes, however we die. The kernel then takes processes, mounts, interfaces and the
//! machine's end of the cable. So there is nothing to sweep but the home directories of nodes without root. Rejected: named
//! namespaces with a sweep at the next start (they stay until then), and `PR_SET_PDEATHSIG` from here (it
//! fires when the *thread* that started a child ends, and runtimes end threads).
//!
//! No container runtime is needed; the programs used are `sshd`, `ssh`, `ssh-keygen` and, as root, `unshare`, `nsenter`,
//! `mount`, `pivot_root`, `ip` and `bridge`.

mod control;
mod host;
mod inside;
mod lan;
mod own;
mod scripts;
mod shared;
mod sshd;
mod station;
mod tree;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use basilica_types::{NodeAddressError, SshPublicKey};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use host::NodeHost;
pub use lan::{Lan, Reach};
pub use station::Station;

use own::Slot;

/// Nodes that start at a time: each step has a deadline, which hundreds at once would miss.
const STARTING: usize = 16;

/// Why nodes cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// A program of the distribution is not there.
    #[error("{program} is not installed; run as root: apt-get install -y --no-install-recommends {package}")]
    Missing {
        /// What is missing.
        program: &'static str,
        /// What to install.
        package: &'static str,
    },
    /// A program could not be started.
    #[error("start {what}: run {program}")]
    Spawn {
        /// For what.
        what: String,
        /// Which.
        program: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A step ended instead of succeeding.
    #[error("start {what}: {output}")]
    Failed {
        /// Of what.
        what: String,
        /// What the programs said.
        output: String,
    },
    /// A step did not end.
    #[error("start {what}: no answer within 20 s")]
    Silent {
        /// Of what.
        what: String,
    },
    /// sshd runs but does not listen.
    #[error("sshd of node {node} does not listen: {log}")]
    NotListening {
        /// Which node.
        node: String,
        /// Its log.
        log: String,
    },
    /// A login on the node would see, and a deployed key change, somebody's real home directory.
    #[error("a login on node {node} has $HOME {seen}, not {expected}: this sshd cannot confine it; use root")]
    HomeNotConfined {
        /// Which node.
        node: String,
        /// Our directory.
        expected: PathBuf,
        /// What the login saw.
        seen: PathBuf,
    },
    /// Not a host name.
    #[error("node name {name:?} is not of the form [a-z0-9-]{{1,63}}")]
    Name {
        /// The text.
        name: String,
    },
    /// The user's name does not fit into an address.
    #[error("node address")]
    Address(#[source] NodeAddressError),
    /// At most 240 nodes in one network.
    #[error("more nodes than one network holds (240)")]
    TooMany,
    /// Every 10.91.x.0/24 is routed somewhere.
    #[error("no unused network in 10.91.0.0/16 on this machine")]
    NoSubnet,
    /// The thread cannot join the nodes' network.
    #[error("enter the nodes' network")]
    Enter(#[source] io::Error),
    /// The node was killed before.
    #[error("node {node} was killed")]
    Gone {
        /// Which node.
        node: String,
    },
    /// A file could not be read or written.
    #[error("files of a node")]
    Files(#[source] io::Error),
}

/// How much of a host each node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Hosts of their own where this process may make them, else [`Shared`](Self::Shared).
    Best,
    /// Namespaces, or an error.
    Own,
    /// sshd processes of the current user on loopback addresses, also for root.
    Shared,
}

/// Where a file belongs on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A program in the search path of every login, such as a stand-in `nvidia-smi`.
    Program(String),
    /// Relative to the login user's home.
    Home(PathBuf),
    /// Any absolute path; only on a host of its own.
    Anywhere(PathBuf),
}

/// A file to be on a node before its sshd starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFile {
    /// Where.
    pub place: Place,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A node to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// `[a-z0-9-]{1,63}`.
    pub name: String,
    /// Lines of its `authorized_keys`, without line ends.
    pub authorized_keys: Vec<String>,
    /// Files to place.
    pub files: Vec<NodeFile>,
}

impl NodeSpec {
    /// A bare node that lets one key in.
    pub fn new(name: impl Into<String>, operator: &SshPublicKey) -> Self {
        Self { name: name.into(), authorized_keys: vec![format!("{operator} operator")], files: Vec::new() }
    }

    fn authorized_keys_text(&self) -> String {
        self.authorized_keys.iter().map(|line| format!("{line}\n")).collect()
    }

    fn check_name(&self) -> Result<(), NodesError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let valid = (1..=63).contains(&self.name.len()) && self.name.bytes().all(plain);
        if valid { Ok(()) } else { Err(NodesError::Name { name: self.name.clone() }) }
    }
}

/// Running nodes and the network that they stand on.
#[derive(Debug)]
pub struct NodeHosts {
    // Before the network, so that it is dropped first.
    nodes: Vec<NodeHost>,
    lan: Option<Lan>,
}

impl NodeHosts {
    /// Starts `specs` side by side; returns when every sshd listens. On an error nothing stays behind.
    pub async fn start(isolation: Isolation, reach: Reach, specs: Vec<NodeSpec>) -> Result<Self, NodesError> {
        sshd::program()?;
        specs.iter().try_for_each(NodeSpec::check_name)?;
        if specs.len() > lan::MAX_NODES {
            return Err(NodesError::TooMany);
        }
        let own = match isolation {
            Isolation::Best => can_make_hosts().await,
            Isolation::Own => true,
            Isolation::Shared => false,
        };
        if !own {
            shared::sweep();
        }
        let lan = if own { Some(Lan::start(reach).await?) } else { None };
        let mut starting = JoinSet::new();
        let places = Arc::new(Semaphore::new(STARTING));
        for (index, spec) in specs.into_iter().enumerate() {
            let slot = lan.as_ref().map(|lan| Slot::of(lan, index)).transpose()?;
            let places = Arc::clone(&places);
            starting.spawn(async move {
                // Never closed.
                let _place = places.acquire().await.ok();
                let node = match slot {
                    Some(slot) => NodeHost::start_own(slot, spec).await,
                    None => NodeHost::start_shared(index, spec).await,
                };
                node.map(|node| (index, node))
            });
        }
        let mut nodes = Vec::new();
        for started in starting.join_all().await {
            nodes.push(started?);
        }
        nodes.sort_by_key(|(index, _)| *index);
        Ok(Self { nodes: nodes.into_iter().map(|(_, node)| node).collect(), lan })
    }

    /// In the order of their specs.
    pub fn nodes(&self) -> &[NodeHost] {
        &self.nodes
    }

    /// The same, to be hung, stopped, killed.
    pub fn nodes_mut(&mut self) -> &mut [NodeHost] {
        &mut self.nodes
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&NodeHost> {
        self.nodes.iter().find(|node| node.name() == name)
    }

    /// Where the nodes reach whoever has entered their network; none where nodes are not hosts of their own.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.lan.as_ref().map(Lan::gateway)
    }

    /// Moves the calling thread into the nodes' network, where it stays; threads and processes that it starts from then on
    /// are in it too. There is no way out to other networks, and 127.0.0.1 is that network's own. Nothing to do
    /// where nodes are not hosts of their own.
    pub fn enter(&self) -> Result<(), NodesError> {
        self.lan.as_ref().map_or(Ok(()), Lan::enter)
    }

    /// Ends all nodes and their network and waits for it. Dropping does the same without waiting.
    pub async fn stop(self) {
        let Self { mut nodes, lan } = self;
        for node in &mut nodes {
            node.kill().await;
        }
        if let Some(lan) = lan {
            lan.end().await;
        }
    }
}

/// Whether this process may make namespaces and mounts: root in most containers may not.
async fn can_make_hosts() -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let probe = Command::new("unshare")
        .args(lan::NAMESPACES)
        .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output()
        .await;
    match probe {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            tracing::warn!(reason = reason.trim(), "nodes share this machine: no namespaces can be made");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "nodes share this machine: unshare cannot be run");
            false
        }
    }
}

/// Waits until an sshd's log says that it listens.
async fn until_listening(node: &str, log: impl Fn() -> io::Result<Vec<u8>>) -> Result<(), NodesError> {
    let text = || log().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let listening = async {
        loop {
            // Between start and the first line, the file may not exist.
            if text().is_ok_and(|text| text.contains("Server listening")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), listening).await.map_err(|_| NodesError::NotListening {
        node: node.to_owned(),
        log: text().unwrap_or_else(|error| error.to_string()),
    })
}
