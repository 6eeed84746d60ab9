//! `sessions list | revoke`: what validators hold, and taking it back. The database says whose keys may be where, so both work
//! whether a miner runs or not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_console::Terminal;
use basilica_miner_service::config::MinerConfig;
use basilica_ports::{Clock as _, MinerOperations as _, MinerSessions as _, SessionChoice, SessionView};
use basilica_status::counted;
use basilica_store::MinerDatabase;
use basilica_system::SystemClock;
use basilica_types::{Hotkey, Millis, NodeId, SessionId, SshPublicKey, Timestamp};
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::commands::{answer, block_on, configured, open};
use crate::maintenance::is_running;

/// For how long the running miner is waited for: a watch of the database every second, and a round on each node.
const PATIENCE: Millis = Millis::from_secs(15);
/// Between two looks.
const LOOK_EVERY: Millis = Millis(200);
/// After which a person is told what the command waits for.
const SILENCE: Millis = Millis::from_secs(2);

/// What each node is called by people.
type Addresses = BTreeMap<NodeId, String>;

async fn addresses(config: &MinerConfig, store: &MinerDatabase) -> anyhow::Result<Addresses> {
    let known = store.known_nodes().await?.into_iter().map(|node| (node.node_id, node.address.to_string()));
    let configured = config.fleet.nodes.iter().map(|node| (node.id, node.address.to_string()));
    Ok(known.chain(configured).collect())
}

fn name(addresses: &Addresses, node: NodeId) -> String {
    addresses.get(&node).cloned().unwrap_or_else(|| node.to_string())
}

fn session_json(session: &SessionView, addresses: &Addresses) -> Value {
    let node = |node: &NodeId| json!({ "node_id": node.to_string(), "address": addresses.get(node) });
    json!({
        "id": session.id.to_string(),
        "validator": session.validator.to_string(),
        "opened": session.opened_at.rfc3339(),
        "expires": session.expires_at.rfc3339(),
        "ended": session.ended.map(|(at, _)| at.rfc3339()),
        "ended_why": session.ended.map(|(_, why)| why.name()),
        "key": session.public_key.as_ref().map(SshPublicKey::fingerprint),
        "nodes": session.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn session_words(session: &SessionView, addresses: &Addresses) -> String {
    let end = match session.ended {
        Some((at, why)) => format!("{} at {}", why.name(), seconds(at)),
        None => format!("until {}", seconds(session.expires_at)),
    };
    let key = session.public_key.as_ref().map_or("no key yet".to_owned(), SshPublicKey::fingerprint);
    let nodes: Vec<String> = session.nodes.iter().map(|node| name(addresses, *node)).collect();
    let nodes = if nodes.is_empty() { "on no node".to_owned() } else { format!("on {}", nodes.join(", ")) };
    let (id, validator, opened) = (session.id, session.validator, seconds(session.opened_at));
    format!("{id}  {validator}  opened {opened}, {end}\n    {key} {nodes}")
}

/// Without the milliseconds, which nobody needs here.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_secs(at.as_secs()).rfc3339().replace(".000Z", "Z")
}

pub(crate) fn list(cli: &Cli, all: bool) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let (sessions, addresses) = block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        let mut sessions = store.sessions(SystemClock::new().now()).await?;
        // What is over but may still be on a node concerns its operator more than anything else.
        sessions.retain(|session| all || session.ended.is_none() || !session.nodes.is_empty());
        Ok((sessions, addresses(&config, &store).await?))
    })?;
    answer(cli, &sessions.iter().map(|session| session_json(session, &addresses)).collect(), || {
        if sessions.is_empty() {
            return if all { "no sessions" } else { "no open sessions (--all shows those of the last day)" }
                .to_owned();
        }
        sessions.iter().map(|session| session_words(session, &addresses)).collect::<Vec<_>>().join("\n")
    })
}

/// Which sessions the command line means; it names exactly one kind.
fn chosen(id: Option<SessionId>, validator: Option<Hotkey>) -> SessionChoice {
    match (id, validator) {
        (Some(id), _) => SessionChoice::One(id),
        (None, Some(validator)) => SessionChoice::Of(validator),
        (None, None) => SessionChoice::All,
    }
}

fn is_chosen(choice: SessionChoice, session: &SessionView) -> bool {
    match choice {
        SessionChoice::One(id) => session.id == id,
        SessionChoice::Of(validator) => session.validator == validator,
        SessionChoice::All => true,
    }
}

pub(crate) fn revoke(
    cli: &Cli,
    id: Option<SessionId>,
    validator: Option<Hotkey>,
    yes: bool,
) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let choice = chosen(id, validator);
    block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        let addresses = addresses(&config, &store).await?;
        let now = SystemClock::new().now();
        let open = store.sessions(now).await?.into_iter().filter(|session| session.ended.is_none());
        let open: Vec<SessionView> = open.filter(|session| is_chosen(choice, session)).collect();
        if open.is_empty() {
            bail!("no open session fits; `{} sessions list --all` shows those that are over", cli.program());
        }
        if !yes {
            confirm(&open, &addresses)?;
        }
        let revoked = store.revoke_sessions(choice, SystemClock::new().now()).await?;
        let running = is_running(&config.database)?;
        let left =
            if running { until_clean(&store, &revoked).await? } else { carriers(&store, &revoked).await? };
        tell(cli, &revoked, &left, (&addresses, running))
    })
}

fn confirm(open: &[SessionView], addresses: &Addresses) -> anyhow::Result<()> {
    let mut terminal =
        Terminal::open().context("nobody is there to be asked; --yes revokes without asking")?;
    let listed: Vec<String> = open.iter().map(|session| session_words(session, addresses)).collect();
    let question = format!(
        "{}\nRevoke {}? The keys are taken off the nodes, and what runs with them is ended. [y/N] ",
        listed.join("\n"),
        counted(open.len(), "session")
    );
    let yes = terminal.ask(&question).context("ask")?;
    if matches!(yes.to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { bail!("nothing was revoked") }
}

/// Nodes that may still carry a key or a process of one of these sessions.
async fn carriers(store: &MinerDatabase, revoked: &[SessionView]) -> anyhow::Result<BTreeSet<NodeId>> {
    let sessions = store.sessions(SystemClock::new().now()).await?;
    let theirs = sessions.into_iter().filter(|session| revoked.iter().any(|other| other.id == session.id));
    Ok(theirs.flat_map(|session| session.nodes).collect())
}

/// Waits for the running miner to have been on the nodes; those where it has not.
async fn until_clean(store: &MinerDatabase, revoked: &[SessionView]) -> anyhow::Result<BTreeSet<NodeId>> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let waited = || Millis::from(clock.monotonic().saturating_sub(began));
    let mut is_told = !std::io::stderr().is_terminal();
    loop {
        let left = carriers(store, revoked).await?;
        if left.is_empty() || waited() >= PATIENCE {
            return Ok(left);
        }
        if !is_told && waited() >= SILENCE {
            console::tell(&format!("waiting until the keys are off {}", counted(left.len(), "node")));
            is_told = true;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

fn tell(
    cli: &Cli,
    revoked: &[SessionView],
    left: &BTreeSet<NodeId>,
    (addresses, running): (&Addresses, bool),
) -> anyhow::Result<()> {
    let data = json!({
        "revoked": revoked.iter().map(|session| session_json(session, addresses)).collect::<Vec<_>>(),
        "miner_running": running,
        "still_on": left.iter().map(|node| name(addresses, *node)).collect::<Vec<_>>(),
    });
    answer(cli, &data, || {
        let revoked =
            format!("revoked {}: the tokens are refused from now on", counted(revoked.len(), "session"));
        if left.is_empty() { format!("{revoked}; no node carries a key or process of them") } else { revoked }
    })?;
    if left.is_empty() {
        return Ok(());
    }
    let nodes: Vec<String> = left.iter().map(|node| name(addresses, *node)).collect();
    let last = revoked.iter().map(|session| session.expires_at).max().map_or_else(String::new, seconds);
    let todo = if running {
        "the running miner tries again until it reaches them; its log says what is wrong"
    } else {
        "no miner runs: start it, and it takes them off"
    };
    bail!("keys may still be on {}: {todo}. They end by themselves at {last} at the latest", nodes.join(", "))
}
