//! `basilica-miner nodes remove`: a node is left as it was found.
//!
//! The line in the configuration goes first, whole or not at all: where the file cannot be written, nothing has happened, save that the node's host
//! key is noted. Then no validator gets a key there any more (in the database), and a running miner is told; it takes validators' keys off and leaves
//! the node, which is waited for, because what two take off at the same time one of them can put back. Where no miner runs, the keys are taken off
//! here. The miner's own key goes last. A node that does not answer is taken out all the same: validators' keys end by themselves.
//!
//! **The miner's own key ends nowhere by itself**, so a node that may still let it in is noted beside the key from before its line goes until its
//! lines are off and sshd was seen to refuse the key, which another file may let in: the same command goes on there, and no rotation gives up the key that it knows. The command ends with 1 for as
//! long, also where lines stay that the miner did not write. **A node that refuses the key** may have it all the same, behind a home directory that is
//! not mounted or a rule of its sshd, and stays noted. The command ends with 0, whoever answers, where the operator wants the key left (`--keep-key`),
//! who thereby also gives up a server that is gone for good or has the key no more.
//! The key stays, too, where the same login is listed by another address ([`super::twins`]).
//!
//! **A removal that was cut off goes on** when the command is run again: that note, and the database, know the nodes that are not left yet,
//! and by which host key each was known, also where only the configuration had said so.

mod leave;

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::{MinerConfig, NodeConfig, Settings, remove_node};
use basilica_runtime_service::Loaded;
use basilica_types::{NodeAddress, NodeId};
use clap::Args;
use serde_json::{Value, json};

pub(crate) use self::leave::until_left;
use self::leave::{Left, Then, Unfinished, leave};
use crate::cli::Cli;
use crate::commands::{self, Configured, answer, block_on, checked, configured};
use crate::config_file::ConfigFile;
use crate::keys::{Host, KeyFiles};
use crate::running::{Reload, reload};
use crate::select::{Named as _, meant, select};
use crate::store;
use crate::wait::watched;

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The node's id, or its address as `[USER@]HOST[:PORT]`, as far as no other node fits it.
    node: String,
    /// Leave the miner's own key on the server, and do not wait for it any more: also for one that is gone for good.
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
    /// Whether it was noted before as one that may let the miner's key in.
    was_owed: bool,
}

pub(crate) fn run(cli: &Cli, remove: &Remove) -> anyhow::Result<()> {
    let Configured { loaded, config, .. } = configured(cli, &cli.config)?;
    let files = KeyFiles::to_use(&config.fleet.ssh_key)?;
    let id = which(cli, (&config, &files), &remove.node)?;
    let closed = match config.fleet.nodes.iter().find(|node| node.id == id) {
        Some(node) => take_out(cli, (&config, &loaded, &files), node, remove)?,
        None => take_up((&config, &files), id, remove)?,
    };
    let what = format!("{}: {}; leaving it", closed.node.address, how(cli, &closed));
    let left = block_on(watched(&what, leave(cli, (&config, &files), &closed, remove)))?;
    let is_settled = remove.keep_key || left.as_ref().is_ok_and(|left| left.own.left.is_empty());
    let settled = if is_settled { files.settle(id) } else { Ok(()) };
    // What was done is told whatever becomes of the note.
    tell(cli, &closed, &left, remove)?;
    settled
}

/// The nodes that are listed no more, and that something is remembered of.
pub(super) async fn removed(config: &MinerConfig, files: &KeyFiles) -> anyhow::Result<Vec<Host>> {
    let mut all = files.owed()?;
    all.extend(store::remembered(&config.database).await?);
    let mut seen: BTreeSet<NodeId> = config.fleet.nodes.iter().map(|node| node.id).collect();
    all.retain(|host| seen.insert(host.id()));
    Ok(all)
}

/// The node that is meant: among those that are listed and those whose removal is not over, then among all others that were. One that is listed does
/// not go because it has a part of its address in common with one that was.
fn which(cli: &Cli, (config, files): (&MinerConfig, &KeyFiles), text: &str) -> anyhow::Result<NodeId> {
    let listed = &config.fleet.nodes;
    let host = |node: &NodeConfig| Host { address: node.address.clone(), host_key: node.host_key.clone() };
    let mut either: Vec<Host> = listed.iter().map(host).chain(files.owed()?).collect();
    let mut seen = BTreeSet::new();
    either.retain(|host| seen.insert(host.id()));
    if !meant(&either, text).is_empty() {
        return Ok(select(&either, text)?.id());
    }
    let removed = block_on(removed(config, files))?;
    if !meant(&removed, text).is_empty() {
        return Ok(select(&removed, text)?.id());
    }
    select(listed, text).map(|node| node.id).with_context(|| {
        format!(
            "{} lists no node {text:?}, and nothing is remembered of one; if a server carries the miner's key all the same, add it again \
             and remove it",
            cli.config.display()
        )
    })
}

/// Takes a node out of the file.
fn take_out(
    cli: &Cli,
    (config, loaded, files): (&MinerConfig, &Loaded<Settings>, &KeyFiles),
    node: &NodeConfig,
    remove: &Remove,
) -> anyhow::Result<Closed> {
    let file = ConfigFile::read(&cli.config)?;
    let Some(text) = remove_node(file.text(), loaded.value.default_username(), &node.address)? else {
        bail!("node {} is configured by an environment variable; take it out there", node.address);
    };
    // Before, as nobody knows it any more once the file does not say it.
    block_on(store::keep_host_key(&config.database, node))?;
    let was_owed = owe((config, files), node, remove)?;
    if let Err(error) =
        file.replace(&text, |path| checked(&commands::loaded(cli, path)?).map(drop).map_err(Into::into))
    {
        // It is listed, and looked after as such.
        return Err(match files.settle(node.id) {
            Ok(()) => error,
            Err(other) => error.context(format!("{other:#}, and before that")),
        });
    }
    let (tags, deployed) = block_on(store::close(&config.database, node.id))?;
    let told = Some(reload(&config.database.url)?);
    Ok(Closed { node: node.clone(), tags, deployed, told, is_resumed: false, was_owed })
}

/// Takes up the removal of a node that the file does not have any more.
fn take_up(
    (config, files): (&MinerConfig, &KeyFiles),
    id: NodeId,
    remove: &Remove,
) -> anyhow::Result<Closed> {
    let owed = files.owed()?.into_iter().find(|host| host.id() == id);
    let remnant = block_on(store::remnant(&config.database, id))?;
    let is_known = remnant.as_ref().is_some_and(|remnant| remnant.is_known);
    let node = remnant.map(|remnant| remnant.node).or_else(|| owed.as_ref().map(store::unlisted));
    let node = node.with_context(|| format!("another command has forgotten node {id} meanwhile"))?;
    let node = NodeConfig {
        host_key: node.host_key.or(owed.as_ref().and_then(|host| host.host_key.clone())),
        ..node
    };
    let was_owed = owe((config, files), &node, remove)?;
    if !is_known {
        return Ok(Closed {
            node,
            tags: BTreeSet::new(),
            deployed: 0,
            told: None,
            is_resumed: true,
            was_owed,
        });
    }
    let (tags, deployed) = block_on(store::close(&config.database, id))?;
    let told = Some(reload(&config.database.url)?);
    Ok(Closed { node, tags, deployed, told, is_resumed: true, was_owed })
}

/// Notes that the node may let the miner's key in, unless the key is to stay; whether that was noted before.
fn owe(
    (config, files): (&MinerConfig, &KeyFiles),
    node: &NodeConfig,
    remove: &Remove,
) -> anyhow::Result<bool> {
    let was_owed = files.owed()?.iter().any(|host| host.id() == node.id);
    if !remove.keep_key {
        let host_key = match &node.host_key {
            Some(key) => Some(key.clone()),
            None => block_on(store::pinned(&config.database, node.id))?,
        };
        files.owe(&Host { address: node.address.clone(), host_key })?;
    }
    Ok(was_owed)
}

fn tell(cli: &Cli, closed: &Closed, left: &Result<Left, Unfinished>, remove: &Remove) -> anyhow::Result<()> {
    answer(cli, &data(cli, closed, left), || words(cli, closed, left, remove))?;
    let address = &closed.node.address;
    let again = format!("{} nodes remove {address}", cli.program());
    match left {
        Ok(left) if left.own.left.is_empty() => Ok(()),
        Ok(left) => bail!(
            "lines with the miner's key that it did not write stay in ~/.ssh/authorized_keys on {address}, and let it in:\n  {}\nTo take them \
             out: {again} --all-lines ; to leave them there: {again} --keep-key",
            left.own.left.join("\n  ")
        ),
        Err(Unfinished { why, .. }) if remove.keep_key => {
            if !cli.json {
                console::tell(&format!("warning: {why}"));
            }
            Ok(())
        }
        Err(Unfinished { why, then: Then::Elsewhere, .. }) => bail!(
            "{why}\nThe server stays noted as one that may let the miner's key in. Where the key is gone, or if the server is gone for good, say so: \
             {again} --keep-key"
        ),
        Err(Unfinished { why, then, .. }) => bail!(
            "{why}\nThe miner's own key may still be in ~/.ssh/authorized_keys there, and does not end by itself: {}. If the server is gone for \
             good: {again} --keep-key",
            advice(*then, cli, address)
        ),
    }
}

fn advice(then: Then, cli: &Cli, address: &NodeAddress) -> String {
    let program = cli.program();
    let again = format!("{program} nodes remove {address}");
    match then {
        Then::Again => {
            format!("when it answers, run this again: {again} (`keys rotate` takes it off too)")
        }
        Then::Meet => {
            format!("have it met, and then leave it: {program} nodes add {address} ; {again}")
        }
        Then::Look | Then::Elsewhere => format!(
            "look there by another way in, and where the key is gone, say so: {again} --keep-key . Once it lets the key in again, run \
             this again: {again}"
        ),
    }
}

fn data(cli: &Cli, closed: &Closed, left: &Result<Left, Unfinished>) -> Value {
    let validators = match left {
        Ok(left) => Some(left.validators),
        Err(unfinished) => unfinished.validators,
    };
    json!({
        "node_id": closed.node.id.to_string(),
        "address": closed.node.address.to_string(),
        "resumed": closed.is_resumed,
        "reached": left.as_ref().is_ok_and(|left| left.is_reached),
        "validator_keys_removed": validators,
        "miner_key_removed": left.as_ref().is_ok_and(|left| left.own.removed > 0),
        "miner_key_kept_for": left.as_ref().ok().and_then(|left| left.kept_for.as_ref()).map(ToString::to_string),
        "miner_key_left": left.as_ref().map_or(&[][..], |left| &left.own.left),
        "why_not": left.as_ref().err().map(|unfinished| &unfinished.why),
        "config": cli.config.display().to_string(),
        "miner": closed.told.as_ref().map(Reload::json),
    })
}

fn words(cli: &Cli, closed: &Closed, left: &Result<Left, Unfinished>, remove: &Remove) -> String {
    let removed = match left {
        Ok(Left { is_over: true, .. }) => {
            "\n  nothing is left to do: no key of a validator is noted to be on it, nor one of the miner's own, and it does not let that in. If it \
             was replaced since (keys rotate), the one before may still be in ~/.ssh/authorized_keys there"
                .to_owned()
        }
        Ok(Left { validators, own, kept_for, .. }) => {
            let own = match (own.removed, kept_for) {
                (_, Some(other)) => format!("left, because {other} is the same login of the same server, and listed"),
                (0, _) if remove.keep_key => "left as it is".to_owned(),
                (0, _) if own.left.is_empty() => "not there".to_owned(),
                (0, _) => "only in lines that the miner did not write".to_owned(),
                _ => "removed".to_owned(),
            };
            format!("\n  keys of validators removed: {validators}\n  the miner's own key: {own}")
        }
        Err(Unfinished { validators: Some(validators), .. }) => {
            format!("\n  keys of validators removed: {validators}")
        }
        Err(_) => String::new(),
    };
    let told =
        closed.told.as_ref().map_or_else(String::new, |told| format!("\n{}", told.words(&cli.program())));
    format!("{}: {}{removed}{told}", closed.node.address, how(cli, closed))
}

fn how(cli: &Cli, closed: &Closed) -> String {
    let file = cli.config.display();
    if closed.is_resumed {
        format!("is not in {file} any more; its removal goes on")
    } else {
        format!("taken out of {file}")
    }
}
