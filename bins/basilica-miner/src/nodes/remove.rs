//! `basilica-miner nodes remove`: a node is left as it was found.
//!
//! The line in the configuration goes first, whole or not at all: where the file cannot be written, nothing has happened but that its host key of the node is noted. Then no validator
//! gets a key there any more (in the database), and a running miner is told; it takes validators' keys off and leaves the node, which is waited for,
//! because what two take off at the same time one of them can put back. Where no miner runs, the keys are taken off here. The miner's own
//! key goes last. A node that does not answer is taken out all the same: validators' keys end by themselves, and the miner's own is named.
//!
//! **A removal that was cut off goes on** when the command is run again: the database knows the nodes that the miner has not finished leaving,
//! and by which host key each was known, also where only the configuration had said so.

mod leave;

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::{MinerConfig, NodeConfig, Settings, remove_node};
use basilica_runtime_service::Loaded;
use basilica_types::NodeId;
use clap::Args;
use serde_json::json;

use self::leave::{Left, leave};
use crate::cli::Cli;
use crate::commands::{self, Configured, answer, block_on, checked, configured};
use crate::config_file::ConfigFile;
use crate::keys::KeyFiles;
use crate::running::{Reload, reload};
use crate::store::{self, Remnant};

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The node's id, or its address as `[USER@]HOST[:PORT]`.
    node: String,
    /// Leave the miner's own key on the server.
    #[arg(long)]
    keep_key: bool,
    /// Also take out lines with the miner's key that the miner did not write: with options, or with another comment.
    #[arg(long, conflicts_with = "keep_key")]
    all_lines: bool,
}

/// A node that validators are not given any more.
struct Closed {
    node: NodeConfig,
    /// The keys of validators that it may carry.
    tags: BTreeSet<KeyTag>,
    /// How many of them were recorded as being on it.
    deployed: usize,
    /// Whether a running miner was told; none: miners have left the node already.
    told: Option<Reload>,
    /// Whether the configuration had lost the node before.
    is_resumed: bool,
}

pub(crate) fn run(cli: &Cli, remove: &Remove) -> anyhow::Result<()> {
    let Configured { loaded, config, .. } = configured(cli, &cli.config)?;
    let files = KeyFiles::to_use(&config.fleet.ssh_key)?;
    let id: NodeId = match remove.node.parse() {
        Ok(id) => id,
        Err(_) => super::address(&remove.node, loaded.value.default_username())
            .with_context(|| format!("{:?} is neither a node's id nor its address", remove.node))?
            .node_id(),
    };
    let closed = match config.fleet.nodes.iter().find(|node| node.id == id) {
        Some(node) => take_out(cli, (&config, &loaded), node)?,
        None => take_up(cli, &config, (id, &remove.node))?,
    };
    let left = block_on(leave((&config, &files, &cli.program()), &closed, remove))?;
    tell(cli, &closed, &left)
}

/// Takes a node out of the file.
fn take_out(
    cli: &Cli,
    (config, loaded): (&MinerConfig, &Loaded<Settings>),
    node: &NodeConfig,
) -> anyhow::Result<Closed> {
    let file = ConfigFile::read(&cli.config)?;
    let Some(text) = remove_node(file.text(), loaded.value.default_username(), &node.address)? else {
        bail!("node {} is configured by an environment variable; take it out there", node.address);
    };
    // Before, as nobody knows it any more once the file does not say it.
    block_on(store::keep_host_key(&config.database, node))?;
    file.replace(&text, |path| checked(&commands::loaded(cli, path)?).map(drop).map_err(Into::into))?;
    let (tags, deployed) = block_on(store::close(&config.database, node.id))?;
    let told = Some(reload(&config.database.url)?);
    Ok(Closed { node: node.clone(), tags, deployed, told, is_resumed: false })
}

/// Takes up the removal of a node that the file does not have any more.
fn take_up(cli: &Cli, config: &MinerConfig, (id, named): (NodeId, &str)) -> anyhow::Result<Closed> {
    let Some(Remnant { node, is_known }) = block_on(store::remnant(&config.database, id))? else {
        let (file, program) = (cli.config.display(), cli.program());
        bail!(
            "{file} has no node {named}, and nothing is remembered of it; see: {program} nodes list . If it carries the miner's key \
             all the same, add it again and remove it"
        );
    };
    if !is_known {
        return Ok(Closed { node, tags: BTreeSet::new(), deployed: 0, told: None, is_resumed: true });
    }
    let (tags, deployed) = block_on(store::close(&config.database, id))?;
    let told = Some(reload(&config.database.url)?);
    Ok(Closed { node, tags, deployed, told, is_resumed: true })
}

fn tell(cli: &Cli, closed: &Closed, left: &Result<Left, String>) -> anyhow::Result<()> {
    let Closed { node, told, is_resumed, .. } = closed;
    let data = json!({
        "node_id": node.id.to_string(),
        "address": node.address.to_string(),
        "resumed": is_resumed,
        "reached": left.is_ok(),
        "validator_keys_removed": left.as_ref().ok().map(|left| left.validators),
        "miner_key_removed": left.as_ref().is_ok_and(|left| left.own.removed > 0),
        "miner_key_left": left.as_ref().map_or(&[][..], |left| &left.own.left),
        "why_not": left.as_ref().err(),
        "config": cli.config.display().to_string(),
        "miner": told.as_ref().map(Reload::json),
    });
    answer(cli, &data, || words(cli, closed, left))?;
    if cli.json {
        return Ok(());
    }
    match left {
        Ok(left) if left.own.left.is_empty() => {}
        Ok(left) => console::tell(&format!(
            "warning: lines with the miner's key that it did not write stay in ~/.ssh/authorized_keys on {}; take them out there, or add \
             the node again and remove it with --all-lines:\n  {}",
            node.address,
            left.own.left.join("\n  ")
        )),
        Err(why) => console::tell(&format!(
            "warning: {why}\nwarning: validators' keys end with their sessions; the miner's own stays in ~/.ssh/authorized_keys until \
             you take it out, or run this again when the node answers: {} nodes remove {}",
            cli.program(),
            node.address
        )),
    }
    Ok(())
}

fn words(cli: &Cli, closed: &Closed, left: &Result<Left, String>) -> String {
    let (file, address) = (cli.config.display(), &closed.node.address);
    let how = if closed.is_resumed {
        format!("is not in {file} any more; its removal goes on")
    } else {
        format!("taken out of {file}")
    };
    let removed = match left {
        Ok(Left { is_over: true, .. }) => {
            "\n  nothing is left to do: no validator's key is on it, and it does not let the miner's own in. If that was replaced since \
             (keys rotate), the one before may still be in ~/.ssh/authorized_keys there"
                .to_owned()
        }
        Ok(Left { validators, own, .. }) => {
            let own = if own.removed > 0 { "removed" } else { "left there" };
            format!("\n  keys of validators removed: {validators}\n  the miner's own key: {own}")
        }
        Err(_) => String::new(),
    };
    let told = closed.told.as_ref().map_or_else(String::new, |told| format!("\n{}", told.words()));
    format!("{address}: {how}{removed}{told}")
}
