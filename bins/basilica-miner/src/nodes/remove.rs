//! `basilica-miner nodes remove`: a node is left as it was found.
//!
//! First no validator gets a key there any more (in the database, where a running miner sees it at once), then the keys go, the
//! miner's own last, then the line in the configuration. A node that does not answer is taken out all the same: validators' keys
//! end by themselves, and the miner's own is named.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::{DatabaseConfig, NodeConfig, remove_node};
use basilica_miner_service::{onboarding, operator_key};
use basilica_ports::{Identity, NodeShell as _};
use basilica_ssh::RusshShell;
use basilica_system::SystemClock;
use basilica_types::{HostKey, NodeId};
use clap::Args;
use serde_json::json;

use super::access::{Access, DEADLINE, explained};
use crate::cli::Cli;
use crate::commands::{self, Configured, answer, block_on, checked, configured};
use crate::config_file::ConfigFile;
use crate::running::{Reload, reload};
use crate::store;

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The node's id, or its address as `[USER@]HOST[:PORT]`.
    node: String,
    /// Leave the miner's own key on the server.
    #[arg(long)]
    keep_key: bool,
}

/// What was taken off a node.
struct Left {
    validators: usize,
    own: usize,
}

pub(crate) fn run(cli: &Cli, remove: &Remove) -> anyhow::Result<()> {
    let Configured { loaded, config, .. } = configured(cli, &cli.config)?;
    let default_user = loaded.value.default_username();
    let id: NodeId = match remove.node.parse() {
        Ok(id) => id,
        Err(_) => super::address(&remove.node, default_user)
            .with_context(|| format!("{:?} is neither a node's id nor its address", remove.node))?
            .node_id(),
    };
    let Some(node) = config.fleet.nodes.iter().find(|node| node.id == id) else {
        bail!("{} has no node {}; see: basilica-miner nodes list", cli.config.display(), remove.node);
    };
    let file = ConfigFile::read(&cli.config)?;
    let Some(text) = remove_node(file.text(), default_user, &node.address)? else {
        bail!("node {} is configured by an environment variable; take it out there", node.address);
    };
    let left = block_on(leave(&config.database, &config.fleet.ssh_key, node, remove.keep_key))?;
    file.replace(&text, |path| checked(&commands::loaded(cli, path)?).map(drop).map_err(Into::into))?;
    tell(cli, node, &left, &reload(&config.database.url)?)
}

fn tell(cli: &Cli, node: &NodeConfig, left: &Result<Left, String>, told: &Reload) -> anyhow::Result<()> {
    let data = json!({
        "node_id": node.id.to_string(),
        "address": node.address.to_string(),
        "reached": left.is_ok(),
        "validator_keys_removed": left.as_ref().ok().map(|left| left.validators),
        "miner_key_removed": left.as_ref().is_ok_and(|left| left.own > 0),
        "why_not": left.as_ref().err(),
        "config": cli.config.display().to_string(),
        "miner": told.json(),
    });
    answer(cli, &data, || {
        let removed = left.as_ref().map_or_else(
            |_| String::new(),
            |left| {
                let own = if left.own > 0 { "removed" } else { "left there" };
                format!("\n  keys of validators removed: {}\n  the miner's own key: {own}", left.validators)
            },
        );
        format!("{}: taken out of {}{removed}\n{}", node.address, cli.config.display(), told.words())
    })?;
    if let (Err(why), false) = (left, cli.json) {
        console::tell(&format!(
            "warning: {why}\nwarning: nothing was removed from the node: validators' keys end with their sessions, and the miner's \
             own stays in ~/.ssh/authorized_keys until you take it out"
        ));
    }
    Ok(())
}

/// Takes everything of ours off the node; or why that could not be done, where the node is the reason.
async fn leave(
    database: &DatabaseConfig,
    key_path: &Path,
    node: &NodeConfig,
    keep_key: bool,
) -> anyhow::Result<Result<Left, String>> {
    let tags = store::close(database, node.id).await?;
    let stored = store::pinned(database, node.id).await?;
    let Some(host_key) = node.host_key.clone().or(stored) else {
        return Ok(Err(format!("{} was never met, so its host key is not known", node.address)));
    };
    let visited = visit(key_path, node, &host_key, keep_key, &tags).await;
    if visited.is_ok() {
        store::forget(database, node.id).await?;
    }
    Ok(visited.map_err(|error| format!("{error:#}")))
}

async fn visit(
    key_path: &Path,
    node: &NodeConfig,
    host_key: &HostKey,
    keep_key: bool,
    tags: &BTreeSet<KeyTag>,
) -> anyhow::Result<Left> {
    let key = RusshShell.public_key(&Identity::File(key_path.to_owned()))?;
    let access = Access { address: &node.address, host_key, key_path };
    let shell = access.log_in().await.map_err(|error| explained(error, &node.address))?;
    let work = async {
        let removed = onboarding::clear(shell.as_ref(), &SystemClock::new(), DEADLINE, tags).await?;
        let own = if keep_key { 0 } else { operator_key::remove(shell.as_ref(), DEADLINE, &key).await? };
        anyhow::Ok(Left { validators: removed.len(), own })
    };
    let done = work.await;
    shell.close().await;
    done.with_context(|| format!("remove keys from {}", node.address))
}
