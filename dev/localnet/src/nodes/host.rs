//! A running node, as a test or the localnet handles it.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use basilica_types::{Host, HostKey, NodeAddress};
use rustix::process::Signal;

use super::own::{OwnHost, Slot};
use super::shared::SharedHost;
use super::sshd::KeyPair;
use super::{NodeFile, NodeSpec, NodesError, tree};

#[derive(Debug)]
enum Body {
    Own(OwnHost),
    Shared(SharedHost),
    /// Killed.
    Gone,
}

/// One GPU server with a real sshd. It ends when dropped, and also when the process that started it dies.
#[derive(Debug)]
pub struct NodeHost {
    name: String,
    address: NodeAddress,
    host_key: HostKey,
    home: PathBuf,
    body: Body,
}

impl NodeHost {
    pub(super) async fn start_own(slot: Slot, spec: NodeSpec) -> Result<Self, NodesError> {
        let key = KeyPair::generate().await?;
        let body = OwnHost::start(&slot, &spec, &key).await?;
        let address = address("root", slot.ip.into(), 22)?;
        let home = PathBuf::from("/root");
        Ok(Self { name: spec.name, address, host_key: key.public, home, body: Body::Own(body) })
    }

    pub(super) async fn start_shared(index: usize, spec: NodeSpec) -> Result<Self, NodesError> {
        let key = KeyPair::generate().await?;
        let body = SharedHost::start(index, &spec, &key).await?;
        let address = address(body.user(), body.ip(), body.port())?;
        let home = body.home().to_owned();
        Ok(Self { name: spec.name, address, host_key: key.public, home, body: Body::Shared(body) })
    }

    /// The name that it was started with; where the node is a host of its own, also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to log in.
    pub const fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// The key that its sshd shows now.
    pub const fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    /// The login user's `$HOME`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whether the node has network, files, processes and host name to itself.
    pub const fn is_own_host(&self) -> bool {
        matches!(self.body, Body::Own(_))
    }

    /// Freezes sshd and everything it runs: connections are accepted by the kernel and never answered.
    pub async fn hang(&mut self) -> Result<(), NodesError> {
        match &mut self.body {
            Body::Own(host) => host.ask(&self.name, "hang").await,
            Body::Shared(host) => {
                host.signal_all(Signal::STOP);
                Ok(())
            }
            Body::Gone => Err(self.gone()),
        }
    }

    /// Ends a [`hang`](Self::hang).
    pub async fn resume(&mut self) -> Result<(), NodesError> {
        match &mut self.body {
            Body::Own(host) => host.ask(&self.name, "resume").await,
            Body::Shared(host) => {
                host.signal_all(Signal::CONT);
                Ok(())
            }
            Body::Gone => Err(self.gone()),
        }
    }

    /// Kills sshd, its sessions and whatever runs on the node: connections break, new ones are refused. Files stay.
    pub async fn stop(&mut self) -> Result<(), NodesError> {
        match &mut self.body {
            Body::Own(host) => host.ask(&self.name, "down").await,
            Body::Shared(host) => {
                host.down().await;
                Ok(())
            }
            Body::Gone => Err(self.gone()),
        }
    }

    /// Starts sshd again after [`stop`](Self::stop), with the same files and host key.
    pub async fn start(&mut self) -> Result<(), NodesError> {
        match &mut self.body {
            Body::Own(host) => host.up(&self.name).await,
            Body::Shared(host) => host.up(&self.name).await,
            Body::Gone => Err(self.gone()),
        }
    }

    /// Restarts sshd with a new host key, as after a reinstallation or with somebody else in the way.
    pub async fn change_host_key(&mut self) -> Result<(), NodesError> {
        let key = KeyPair::generate().await?;
        self.stop().await?;
        match &self.body {
            Body::Own(host) => host.set_host_key(&key),
            Body::Shared(host) => host.set_host_key(&key),
            Body::Gone => return Err(self.gone()),
        }
        .map_err(NodesError::Files)?;
        self.host_key = key.public;
        self.start().await
    }

    /// Takes the machine away with all its files. It does not come back.
    pub async fn kill(&mut self) {
        match std::mem::replace(&mut self.body, Body::Gone) {
            Body::Own(host) => host.end().await,
            Body::Shared(mut host) => host.down().await,
            Body::Gone => {}
        }
    }

    /// Reads a file, at most 64 MiB. Where the node is no host of its own, the path must lie below [`home`](Self::home).
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match &self.body {
            Body::Own(host) => host.tree().read(path),
            Body::Shared(host) => host.tree().read(below(host.home(), path)?),
            Body::Gone => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Writes a file and its parents. Where the node is no host of its own, the path must lie below
    /// [`home`](Self::home).
    pub fn write(&self, path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        match &self.body {
            Body::Own(host) => host.tree().write(path, mode, bytes),
            Body::Shared(host) => host.tree().write(below(host.home(), path)?, mode, bytes),
            Body::Gone => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Puts a file where its kind belongs on this node.
    pub fn place(&self, file: &NodeFile) -> io::Result<()> {
        match &self.body {
            Body::Own(host) => host.place(file),
            Body::Shared(host) => host.place(file),
            Body::Gone => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Command lines of what runs on the node: all of it on a host of its own, else sshd and its sessions.
    pub fn processes(&self) -> Vec<String> {
        let (proc, pids) = match &self.body {
            Body::Own(host) => {
                let proc = PathBuf::from(host.proc());
                let pids = tree::pids(&proc);
                (proc, pids)
            }
            Body::Shared(host) => (PathBuf::from("/proc"), host.pids()),
            Body::Gone => return Vec::new(),
        };
        pids.into_iter().map(|pid| tree::command_line(&proc, pid)).filter(|line| !line.is_empty()).collect()
    }

    fn gone(&self) -> NodesError {
        NodesError::Gone { node: self.name.clone() }
    }
}

fn below<'a>(home: &Path, path: &'a Path) -> io::Result<&'a Path> {
    if path.is_relative() {
        return Ok(path);
    }
    path.strip_prefix(home).map_err(|_| io::ErrorKind::Unsupported.into())
}

fn address(user: &str, ip: IpAddr, port: u16) -> Result<NodeAddress, NodesError> {
    let user = user.parse().map_err(NodesError::Address)?;
    NodeAddress::new(user, Host::Ip(ip), port).map_err(NodesError::Address)
}
