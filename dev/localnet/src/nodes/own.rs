//! A node that is a host of its own: network, mounts, processes, host name, root user (needs root).

use std::path::Path;

use super::control::Control;
use super::inside::Tree;
use super::lan::{Lan, NAMESPACES};
use super::scripts::NODE;
use super::sshd::{self, KeyPair};
use super::{NodeFile, NodeSpec, NodesError, Place};

const HOST_KEY: &str = "/etc/ssh/basilica_host_key";
const CONFIG: &str = "/etc/ssh/basilica_sshd_config";
const LOG: &str = "/run/basilica-sshd.log";

#[derive(Debug)]
pub(super) struct OwnHost {
    control: Control,
    /// Process 1 of the node, as the machine numbers it.
    pid: u32,
}

/// Where a node stands in the network.
pub(super) struct Slot {
    pub(super) lan_pid: u32,
    pub(super) index: usize,
    pub(super) ip: std::net::Ipv4Addr,
}

impl Slot {
    pub(super) fn of(lan: &Lan, index: usize) -> Result<Self, NodesError> {
        Ok(Self { lan_pid: lan.pid(), index, ip: lan.address(index)? })
    }
}

impl OwnHost {
    pub(super) async fn start(slot: &Slot, spec: &NodeSpec, key: &KeyPair) -> Result<Self, NodesError> {
        let sshd = sshd::program()?;
        let what = format!("node {}", spec.name);
        let lan = slot.lan_pid.to_string();
        let (port, address) = (format!("port{}", slot.index), format!("{}/24", slot.ip));
        let disk = format!("/mnt/{}", slot.index);
        let mut arguments =
            vec!["--target", &lan, "--net", "--mount", "--pid", "--", "unshare", "--uts", "--ipc"];
        arguments.extend(NAMESPACES);
        arguments.extend(["sh", "-c", NODE, "basilica-node"]);
        arguments.extend([lan.as_str(), &port, &address, &disk, &spec.name, sshd]);
        let mut control = Control::spawn(&what, "nsenter", &arguments)?;
        let pid = control.pid(&what).await?;
        let mut host = Self { control, pid };
        host.furnish(spec, key).map_err(NodesError::Files)?;
        host.up(&spec.name).await?;
        Ok(host)
    }

    fn furnish(&self, spec: &NodeSpec, key: &KeyPair) -> std::io::Result<()> {
        let tree = self.tree();
        self.set_host_key(key)?;
        tree.write(Path::new(CONFIG), 0o600, sshd::host_config().as_bytes())?;
        let keys = spec.authorized_keys_text();
        tree.write(Path::new("/root/.ssh/authorized_keys"), 0o600, keys.as_bytes())?;
        unlock_root(&tree)?;
        spec.files.iter().try_for_each(|file| self.place(file))
    }

    pub(super) fn place(&self, file: &NodeFile) -> std::io::Result<()> {
        let path = match &file.place {
            Place::Program(name) => Path::new("/usr/local/bin").join(name),
            Place::Home(path) => Path::new("/root").join(path),
            Place::Anywhere(path) => path.clone(),
        };
        self.tree().write(&path, file.mode, &file.bytes)
    }

    pub(super) fn set_host_key(&self, key: &KeyPair) -> std::io::Result<()> {
        self.tree().write(Path::new(HOST_KEY), 0o600, &key.private)
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::at(format!("/proc/{}/root", self.pid))
    }

    /// The node's own process list.
    pub(super) fn proc(&self) -> String {
        format!("/proc/{}/root/proc", self.pid)
    }

    /// Starts sshd and waits until it listens.
    pub(super) async fn up(&mut self, name: &str) -> Result<(), NodesError> {
        self.ask(name, "up").await?;
        let tree = self.tree();
        super::until_listening(name, || tree.read(Path::new(LOG))).await
    }

    /// `hang`, `resume` or `down`; see the script.
    pub(super) async fn ask(&mut self, name: &str, word: &str) -> Result<(), NodesError> {
        self.control.ask(&format!("node {name}"), word).await
    }

    pub(super) async fn end(self) {
        self.control.end().await;
    }
}

/// sshd refuses accounts whose password starts with `!`, as root's does on many images; `*` means the same to a human.
fn unlock_root(tree: &Tree) -> std::io::Result<()> {
    let shadow = String::from_utf8_lossy(&tree.read(Path::new("/etc/shadow"))?).into_owned();
    let unlocked: Vec<String> = shadow
        .lines()
        .map(|line| match line.strip_prefix("root:!").and_then(|rest| rest.split_once(':')) {
            Some((_, rest)) => format!("root:*:{rest}"),
            None => line.to_owned(),
        })
        .collect();
    tree.write(Path::new("/etc/shadow"), 0o600, format!("{}\n", unlocked.join("\n")).as_bytes())
}
