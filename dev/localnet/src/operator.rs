//! The operator of the nodes: an SSH key as `ssh-keygen` makes it, whose public half is on every node.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use basilica_types::SshPublicKey;
use tokio::process::Command;

use crate::settings::Layout;

/// The key with which the miners reach their nodes.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    path: PathBuf,
    public: SshPublicKey,
}

impl Operator {
    /// Makes the key below the localnet's directory.
    pub(crate) async fn create(layout: &Layout) -> anyhow::Result<Self> {
        let path = layout.run().join("miner_node_key");
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "basilica-miner", "-f"])
            .arg(&path)
            .output()
            .await
            .context("run ssh-keygen")?;
        if !output.status.success() {
            bail!("ssh-keygen failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let public =
            std::fs::read_to_string(path.with_extension("pub")).context("read the operator's key")?;
        Ok(Self { public: public.parse().context("read the operator's key")?, path })
    }

    /// The private key's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in the nodes' `authorized_keys`.
    pub(crate) const fn public(&self) -> &SshPublicKey {
        &self.public
    }
}
