//! `basilica-miner nodes add`: from a bare login to a node that validators can be given.
//!
//! **The host key goes into the configuration** (`host_key`), not into the database: the file is what the operator keeps, copies
//! and restores, and a miner whose database is lost would otherwise believe whoever answers first. **Rejected**: both, which can disagree.
//!
//! Every step looks first and does only what is missing, so that the command can be run again after any failure; the file is changed last.
//!
//! **A server that the key was put on and that the file does not have**, because something failed or the command was cut off in between, is noted
//! beside the key from before that on, as one that was removed is: `nodes remove` and `keys rotate` know it.

mod report;

use anyhow::{Context as _, anyhow, bail};
use basilica_miner_service::config::{
    DatabaseConfig, MinerConfig, NodeChange, NodeConfig, NodeEntry, node_key_path, set_node,
};
use basilica_miner_service::onboarding::{self, NodeLook};
use basilica_ports::Shell;
use basilica_types::{HostKey, NodeAddress, NodeId, Region, UsdMicros, Username};
use clap::Args;

use self::report::Report;
use super::access::{Access, DEADLINE, Key, Vouched, WayIn, ensure_key};
use super::remove::removed;
use super::twins::{self, Keys, Need};
use crate::cli::Cli;
use crate::commands::{self, Configured, block_on, checked, configured};
use crate::config_file::ConfigFile;
use crate::keys::{Host, KeyFiles};
use crate::program::Program;
use crate::running::reload;
use crate::select::{Named as _, meant};
use crate::store;

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The server as `[USER@]HOST[:PORT]`; port 22 and ssh_session.default_node_username where left out. Or the id of a node that is known.
    node: String,
    /// Price in US dollars, such as 2.50. Without one the server is verified and scored, but never offered for rent.
    #[arg(long, value_name = "USD", value_parser = UsdMicros::parse_dollars)]
    hourly_rate_per_gpu: Option<UsdMicros>,
    /// Where the server stands, for the assignment by region.
    #[arg(long, value_name = "NAME")]
    region: Option<Region>,
    #[command(flatten)]
    vouched: Vouched,
    #[command(flatten)]
    way_in: WayIn,
    /// Believe the host key that a new server shows, without asking. Never a changed one.
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(cli: &Cli, add: &Add) -> anyhow::Result<()> {
    let loaded = commands::loaded(cli, &cli.config)?;
    let default_user = loaded.value.default_username();
    if add.node.parse::<NodeId>().is_err() {
        // Before anything is made for it.
        usual(&add.node, default_user)?;
    }
    let key_path = node_key_path(&loaded, std::env::home_dir().as_deref())?;
    let key_made = ensure_key(&key_path)?;
    let files = KeyFiles::to_use(&key_path)?;
    let (before, _) = checked(&loaded)?;
    let address = server(&before, &files, &add.node, default_user)?;
    let listed = before.fleet.nodes.iter().find(|node| node.id == address.node_id());
    let met = block_on(meet(&cli.program(), add, (&before, &files), (&address, listed)));
    let met = met.and_then(|met| enter(cli, add, &address, default_user, met));
    let (Met { host_key, how, look }, change) =
        met.map_err(|error| left_on(cli, &files, (&address, listed), error))?;
    // It is looked after from now on, and its key with those of all others.
    files.settle(address.node_id())?;
    let told = match change {
        NodeChange::Unchanged => None,
        _ => Some(reload(&before.database.url)?),
    };
    let rate = add.hourly_rate_per_gpu.or_else(|| listed.and_then(|node| node.hourly_rate_per_gpu));
    let drained = block_on(store::drained(&before.database, address.node_id()))?;
    let notices = notices(cli, &address)?;
    let key_path = &key_path;
    Report { address, host_key, key_path, key_made, how, look, rate, change, told, drained, notices }
        .tell(cli)
}

/// Writes the server into the configuration; what that changed there.
fn enter(
    cli: &Cli,
    add: &Add,
    address: &NodeAddress,
    default_user: &Username,
    met: Met,
) -> anyhow::Result<(Met, NodeChange)> {
    let entry = NodeEntry {
        address: address.clone(),
        hourly_rate_per_gpu: add.hourly_rate_per_gpu,
        region: add.region.clone(),
        host_key: Some(met.host_key.clone()),
    };
    let file = ConfigFile::read(&cli.config)?;
    let (text, change) = set_node(file.text(), default_user, &entry)?;
    if change != NodeChange::Unchanged {
        file.replace(&text, |path| checked(&commands::loaded(cli, path)?).map(drop).map_err(Into::into))?;
    }
    Ok((met, change))
}

/// A failure, and what it leaves on a server that is not listed.
fn left_on(
    cli: &Cli,
    files: &KeyFiles,
    (address, listed): (&NodeAddress, Option<&NodeConfig>),
    error: anyhow::Error,
) -> anyhow::Error {
    let is_owed = || files.owed().is_ok_and(|owed| owed.iter().any(|host| host.id() == address.node_id()));
    if listed.is_some() || !is_owed() {
        return error;
    }
    anyhow!(
        "{error:#}\nThe miner's key may be in ~/.ssh/authorized_keys on {address}, which is not listed: run this command again to list it, or \
         take the key off with: {} nodes remove {address}",
        cli.program()
    )
}

/// A server that lets the miner's key in.
struct Met {
    host_key: HostKey,
    how: Key,
    look: NodeLook,
}

/// Has the miner's key let in, and looks around. One that is not `listed` may be so by another address, which is refused.
async fn meet(
    program: &Program,
    add: &Add,
    (before, files): (&MinerConfig, &KeyFiles),
    (address, listed): (&NodeAddress, Option<&NodeConfig>),
) -> anyhow::Result<Met> {
    let known = known_host_key(&before.database, listed, address).await?;
    let host_key = add.vouched.key(address, known.as_ref(), add.yes, program).await?;
    let access = Access { address, host_key: &host_key, key_path: &before.fleet.ssh_key, program };
    let note = || match listed {
        Some(_) => Ok(()),
        None => files.owe(&Host { address: address.clone(), host_key: Some(host_key.clone()) }),
    };
    let (shell, how) = access.log_in_or_install(&files.public()?, &add.way_in, note).await?;
    if listed.is_none()
        && let Some(twin) = listed_already(before, files, &access, shell.as_ref()).await?
    {
        shell.close().await;
        // The key that it lets in is looked after as that one's.
        files.settle(address.node_id())?;
        return Err(twice(address, &twin.address, program));
    }
    let look = onboarding::look(shell.as_ref(), DEADLINE).await;
    shell.close().await;
    let look = look.with_context(|| format!("look around on {address}"))?;
    Ok(Met { host_key, how, look })
}

fn usual(text: &str, default_user: &Username) -> anyhow::Result<NodeAddress> {
    super::address(text, default_user).with_context(|| format!("node {text:?}"))
}

/// Which server is meant: the known one with this id, or the one at this address, unless what is left out of it makes it another one than
/// the listed node that it fits.
fn server(
    before: &MinerConfig,
    files: &KeyFiles,
    text: &str,
    default_user: &Username,
) -> anyhow::Result<NodeAddress> {
    let nodes = &before.fleet.nodes;
    if text.parse::<NodeId>().is_ok() {
        if let Some(listed) = meant(nodes, text).first() {
            return Ok(listed.address.clone());
        }
        let known = block_on(removed(before, files))?;
        let Some(known) = meant(&known, text).first().copied() else {
            bail!(
                "{text} is a node's id, and of no node that is known here; name the server as [USER@]HOST[:PORT]"
            );
        };
        return Ok(known.address.clone());
    }
    let (usual, fitting) = (usual(text, default_user)?, meant(nodes, text));
    match fitting.first() {
        Some(listed) if fitting.iter().all(|node| node.address != usual) => bail!(
            "{text:?} may be {}, which is listed, or another login, {usual}; write the one that is meant as user@host:port",
            listed.address
        ),
        _ => Ok(usual),
    }
}

/// The listed node that is the very login of the server to be added.
async fn listed_already(
    before: &MinerConfig,
    files: &KeyFiles,
    access: &Access<'_>,
    shell: &dyn Shell,
) -> anyhow::Result<Option<Host>> {
    let this = Host { address: access.address.clone(), host_key: Some(access.host_key.clone()) };
    let twins = twins::of(&this, &twins::listed(before).await?);
    let keys = Keys { current: files.current(), former: None };
    match twins::need(shell, &twins, keys, access.program).await {
        Need::By(twin) => Ok(Some(twin)),
        // The operator is warned of it.
        Need::Perhaps(..) | Need::Nobody => Ok(None),
    }
}

fn twice(address: &NodeAddress, listed: &NodeAddress, program: &Program) -> anyhow::Error {
    anyhow!(
        "{address} is listed already, as {listed}: the same login of the same server. A server's GPUs count once, so it was not added. \
         To list it by this address instead: {program} nodes remove {listed} --keep-key && {program} nodes add {address}"
    )
}

/// What the configuration's check says of the node as it stands there now.
fn notices(cli: &Cli, address: &NodeAddress) -> anyhow::Result<Vec<String>> {
    let Configured { config, notices, .. } = configured(cli, &cli.config)?;
    let twins = block_on(twins::warnings(&config))?.into_iter();
    let twins = twins.filter(|(of, _)| of == address).map(|(_, warning)| warning);
    let at = config.fleet.nodes.iter().position(|node| node.address == *address);
    let key = at.map(|at| format!("node_management.nodes.{at}"));
    let of_node = notices.into_iter().filter(|notice| Some(&notice.key) == key.as_ref());
    let messages = of_node.map(|notice| notice.message).chain(twins);
    Ok(messages.map(|message| cli.program().in_words(&message)).collect())
}

/// The key by which the node is known: from the file, or from the first contact of a miner that ran.
async fn known_host_key(
    database: &DatabaseConfig,
    configured: Option<&NodeConfig>,
    address: &NodeAddress,
) -> anyhow::Result<Option<HostKey>> {
    match configured.and_then(|node| node.host_key.clone()) {
        Some(key) => Ok(Some(key)),
        None => store::pinned(database, address.node_id()).await,
    }
}
