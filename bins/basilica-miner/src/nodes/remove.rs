//! `basilica-miner nodes remove`: a node is left as it was found.
//!
//! The line in the configuration goes first, whole or not at all: where the file cannot be written, nothing has happened. Then no validator
//! gets a key there any more (in the database), and a running miner is told; it takes validators' keys off and leaves the node, which is waited for,
//! because what two take off at the same time one of them can put back. Where no miner runs, the keys are taken off here. The miner's own
//! key goes last. A node that does not answer is taken out all the same: validators' keys end by themselves, and the miner's own is named.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::{DatabaseConfig, MinerConfig, NodeConfig, remove_node};
use basilica_miner_service::onboarding;
use basilica_miner_service::operator_key::{self, Lines, Removed};
use basilica_miner_service::rotation::KeysAtHand;
use basilica_ports::{Clock as _, ShellError};
use basilica_system::SystemClock;
use basilica_types::{HostKey, Millis, NodeId};
use clap::Args;
use serde_json::json;

use super::access::{Access, DEADLINE};
use crate::cli::Cli;
use crate::commands::{self, Configured, answer, block_on, checked, configured};
use crate::config_file::ConfigFile;
use crate::keys::KeyFiles;
use crate::program::Program;
use crate::running::{Reload, reload};
use crate::store;

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

/// For how long the running miner is waited for: until it has read the file, and a round on the node.
const PATIENCE: Millis = Millis::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Millis = Millis(200);
/// After which a person is told what the command waits for.
const SILENCE: Millis = Millis::from_secs(2);

/// What was taken off a node.
struct Left {
    validators: usize,
    /// Lines with the miner's own key.
    own: Removed,
}

pub(crate) fn run(cli: &Cli, remove: &Remove) -> anyhow::Result<()> {
    let Configured { loaded, config, .. } = configured(cli, &cli.config)?;
    let files = KeyFiles::to_use(&config.fleet.ssh_key)?;
    let default_user = loaded.value.default_username();
    let id: NodeId = match remove.node.parse() {
        Ok(id) => id,
        Err(_) => super::address(&remove.node, default_user)
            .with_context(|| format!("{:?} is neither a node's id nor its address", remove.node))?
            .node_id(),
    };
    let Some(node) = config.fleet.nodes.iter().find(|node| node.id == id) else {
        let (file, node) = (cli.config.display(), &remove.node);
        if block_on(store::pinned(&config.database, id))?.is_some() {
            bail!(
                "{file} has no node {node} any more; if it was taken out by a command that was interrupted, the miner's own key may still \
                 be in ~/.ssh/authorized_keys there: take it out there, or add the node again and remove it"
            );
        }
        bail!("{file} has no node {node}; see: {} nodes list", cli.program());
    };
    let file = ConfigFile::read(&cli.config)?;
    let Some(text) = remove_node(file.text(), default_user, &node.address)? else {
        bail!("node {} is configured by an environment variable; take it out there", node.address);
    };
    file.replace(&text, |path| checked(&commands::loaded(cli, path)?).map(drop).map_err(Into::into))?;
    let tags = block_on(store::close(&config.database, node.id))?;
    let told = reload(&config.database.url)?;
    let left = block_on(leave((&config, &files, &cli.program()), node, remove, (&tags, &told)))?;
    tell(cli, node, &left, &told)
}

fn tell(cli: &Cli, node: &NodeConfig, left: &Result<Left, String>, told: &Reload) -> anyhow::Result<()> {
    let data = json!({
        "node_id": node.id.to_string(),
        "address": node.address.to_string(),
        "reached": left.is_ok(),
        "validator_keys_removed": left.as_ref().ok().map(|left| left.validators),
        "miner_key_removed": left.as_ref().is_ok_and(|left| left.own.removed > 0),
        "miner_key_left": left.as_ref().map_or(&[][..], |left| &left.own.left),
        "why_not": left.as_ref().err(),
        "config": cli.config.display().to_string(),
        "miner": told.json(),
    });
    answer(cli, &data, || {
        let removed = left.as_ref().map_or_else(
            |_| String::new(),
            |left| {
                let own = if left.own.removed > 0 { "removed" } else { "left there" };
                format!("\n  keys of validators removed: {}\n  the miner's own key: {own}", left.validators)
            },
        );
        format!("{}: taken out of {}{removed}\n{}", node.address, cli.config.display(), told.words())
    })?;
    if cli.json {
        return Ok(());
    }
    match left {
        Ok(left) if left.own.left.is_empty() => {}
        Ok(left) => console::tell(&format!(
            "warning: lines with the miner's key that it did not write stay in ~/.ssh/authorized_keys on {}; take them out there, or add \
             the node again and remove it with --all-lines:\n  {}\n",
            node.address,
            left.own.left.join("\n  ")
        )),
        Err(why) => console::tell(&format!(
            "warning: {why}\nwarning: validators' keys end with their sessions; the miner's own stays in ~/.ssh/authorized_keys until \
             you take it out\n"
        )),
    }
    Ok(())
}

/// Sees to it that everything of ours goes off the node; or why it does not, where the node or the running miner is the reason.
async fn leave(
    (config, files, program): (&MinerConfig, &KeyFiles, &Program),
    node: &NodeConfig,
    remove: &Remove,
    (tags, told): (&BTreeSet<KeyTag>, &Reload),
) -> anyhow::Result<Result<Left, String>> {
    let database = &config.database;
    let running = *told != Reload::NotRunning;
    if running && !until_left(database, node, matches!(told, Reload::Told(_))).await? {
        return Ok(Err(format!(
            "the running miner has not left {} within {PATIENCE}; its log says what is wrong, and it goes on trying",
            node.address
        )));
    }
    let stored = store::pinned(database, node.id).await?;
    let Some(host_key) = node.host_key.clone().or(stored) else {
        return Ok(Err(format!("{} was never met, so its host key is not known", node.address)));
    };
    let none = BTreeSet::new();
    let visited =
        visit((files, program), (node, &host_key), remove, if running { &none } else { tags }).await;
    Ok(match visited {
        Ok(left) if running => Ok(Left { validators: tags.len(), ..left }),
        Ok(left) => {
            store::forget(database, node.id, tags).await?;
            Ok(left)
        }
        Err(error) => Err(format!("{error:#}; nothing was removed from the node")),
    })
}

/// Whether the running miner has left the node in time.
async fn until_left(database: &DatabaseConfig, node: &NodeConfig, was_told: bool) -> anyhow::Result<bool> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let mut is_told = !std::io::stderr().is_terminal();
    loop {
        if store::is_left(database, node.id, was_told).await? {
            return Ok(true);
        }
        let waited = Millis::from(clock.monotonic().saturating_sub(began));
        if waited >= PATIENCE {
            return Ok(false);
        }
        if !is_told && waited >= SILENCE {
            console::tell(&format!(
                "waiting until the running miner has taken the keys off {}\n",
                node.address
            ));
            is_told = true;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

async fn visit(
    (files, program): (&KeyFiles, &Program),
    (node, host_key): (&NodeConfig, &HostKey),
    remove: &Remove,
    tags: &BTreeSet<KeyTag>,
) -> anyhow::Result<Left> {
    let KeysAtHand { current, next, former } = files.at_hand()?;
    let access = |key_path| Access { address: &node.address, host_key, key_path, program };
    let (by_current, former_file) = (access(files.current()), files.former());
    let shell = match by_current.log_in().await {
        // A node that a rotation left behind knows the old key alone.
        Err(ShellError::Denied { .. }) if former.is_some() => access(&former_file).log_in().await,
        other => other,
    };
    let shell = shell.map_err(|error| by_current.explained(error))?;
    let which = if remove.all_lines { Lines::All } else { Lines::Written };
    let work = async {
        let removed = onboarding::clear(shell.as_ref(), &SystemClock::new(), DEADLINE, tags).await?;
        let mut own = Removed { removed: 0, left: Vec::new() };
        // The one that let this session in goes last: until then the command can be run again.
        for key in [next, former, Some(current)].into_iter().flatten().filter(|_| !remove.keep_key) {
            let removed = operator_key::remove(shell.as_ref(), DEADLINE, &key, which).await?;
            own.removed += removed.removed;
            own.left.extend(removed.left);
        }
        anyhow::Ok(Left { validators: removed.len(), own })
    };
    let done = work.await;
    shell.close().await;
    done.with_context(|| format!("remove keys from {}", node.address))
}
