//! `nodes drain | undrain | recover`: what an operator orders for single nodes, whether a miner runs or not.

mod read;
mod undrain;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_miner_service::NodeAccess;
use basilica_miner_service::config::{DatabaseConfig, MinerConfig, NodeConfig};
use basilica_miner_service::maintenance::{ALLOWANCE, WINDOW, used};
use basilica_ports::{Clock as _, Drained, Identity, MinerOperations as _, OrderedBy};
use basilica_ssh::RusshShell;
use basilica_status::{counted, span};
use basilica_store::{MinerDatabase, MinerLock};
use basilica_system::SystemClock;
use basilica_types::Millis;
use serde_json::{Value, json};

pub(crate) use self::read::{InForce, Kept, in_force};
pub(crate) use self::undrain::undrain;
use crate::ask;
use crate::cli::Cli;
use crate::commands::{answer, block_on, configured, open};
use crate::program::Program;
use crate::select::select_all;

/// Between two looks whether a node is clean.
const LOOK_EVERY: Millis = Millis(200);
/// After which a person is told what the command waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a miner runs on this database.
pub(crate) fn is_running(database: &DatabaseConfig) -> anyhow::Result<bool> {
    Ok(MinerLock::holder(&database.url)?.is_some())
}

/// A reason as it follows a sentence.
pub(crate) fn in_brackets(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// What became of one node.
struct Outcome<'a> {
    node: &'a NodeConfig,
    drained: Drained,
    /// What will keep it out beside this command.
    kept: Option<Kept>,
    used: Millis,
    /// Whether it carries nothing of a validator's any more, as far as anybody waited for that.
    clean: Option<bool>,
    /// Why it is not.
    why: Option<String>,
}

impl Outcome<'_> {
    /// The reason in whose place another was given.
    fn earlier_reason(&self) -> Option<&str> {
        match &self.drained {
            Drained::Reworded { earlier, .. } => earlier.as_deref(),
            Drained::Began(_) | Drained::Already(_) => None,
        }
    }

    fn json(&self, running: bool) -> Value {
        let window = self.drained.window();
        json!({
            "node_id": self.node.id.to_string(),
            "address": self.node.address.to_string(),
            "already": !matches!(self.drained, Drained::Began(_)),
            "since": window.began_at.rfc3339(),
            "reason": window.reason,
            "earlier_reason": self.earlier_reason(),
            "configured": self.node.maintenance,
            "maintenance_used_ms": self.used.0,
            "maintenance_allowance_ms": ALLOWANCE.0,
            "clean": self.clean,
            "error": self.why,
            "miner_running": running,
        })
    }

    fn words(&self, running: bool, program: &Program) -> String {
        let window = self.drained.window();
        let since = window.began_at.rfc3339();
        let began = match &self.drained {
            Drained::Began(_) => "taken out".to_owned(),
            Drained::Already(_) | Drained::Reworded { .. } => {
                format!("was taken out already, at {since}")
            }
        };
        let reason = match (&window.reason, &self.drained) {
            (Some(reason), Drained::Reworded { earlier, .. }) => {
                let earlier = earlier.as_deref().unwrap_or("none");
                format!("; its reason is now {reason} (before: {earlier})")
            }
            (reason, _) => in_brackets(reason.as_deref()),
        };
        let state = match (self.clean, &self.why) {
            (Some(true), _) => "; clean: no validator's key or process is on it",
            (Some(false), _) => "; NOT clean",
            (None, _) if running => {
                "; the running miner removes validators' keys now (--wait waits for that)"
            }
            (None, _) => "; no miner runs: keys are removed when it starts, or at once with --wait",
        };
        let why = self.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let address = &self.node.address;
        let undrain = format!("after `{program} nodes undrain {address}`");
        let back = match self.kept {
            Some(Kept::Configured | Kept::Ahead) => format!(
                "the configuration has `maintenance = true` for it too: it is back when that is gone and {undrain}"
            ),
            Some(Kept::Unread | Kept::Unlisted) => {
                format!("it is back when the running miner has read the configuration (SIGHUP) and {undrain}")
            }
            None => format!("it is back {undrain}"),
        };
        format!("{address}: {began}{reason}{state}{why}\n  {back}\n  {}", allowance(self.used))
    }
}

/// How much of the free maintenance is used, in words.
pub(crate) fn allowance(used: Millis) -> String {
    let (used_words, free) = (span(used), span(ALLOWANCE));
    let days = WINDOW.0 / 86_400_000;
    if used > ALLOWANCE {
        format!(
            "maintenance used in the last {days} days: {used_words}; what is beyond {free} counts as downtime"
        )
    } else {
        format!(
            "maintenance used in the last {days} days: {used_words} of {free}; more than that counts as downtime"
        )
    }
}

pub(crate) fn drain(
    cli: &Cli,
    names: &[String],
    reason: Option<&str>,
    wait: Option<Millis>,
) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let nodes = select_all(&config.fleet.nodes, names)?;
    let running = is_running(&config.database)?;
    let outcomes = block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        let mut drained = Vec::with_capacity(nodes.len());
        let now = SystemClock::new().now();
        for node in &nodes {
            drained.push(store.begin_maintenance(node.id, OrderedBy::Command, reason, now).await?);
        }
        let in_force = in_force(&store, &nodes, running).await?;
        let mut outcomes = Vec::with_capacity(nodes.len());
        for (node, drained) in nodes.into_iter().zip(drained) {
            let kept = in_force.kept(node);
            let windows = store.maintenance(now - WINDOW).await?;
            let used = used(windows.get(&node.id).map_or(&[][..], Vec::as_slice), now);
            outcomes.push(Outcome { node, drained, kept, used, clean: None, why: None });
        }
        if let Some(limit) = wait {
            if running {
                until_clean(&store, &mut outcomes, limit).await?;
                add_trouble(config.listen.health, &mut outcomes);
            } else {
                clean(&config, &store, &mut outcomes).await?;
            }
        }
        Ok(outcomes)
    })?;
    answer(cli, &outcomes.iter().map(|outcome| outcome.json(running)).collect(), || {
        let program = cli.program();
        outcomes.iter().map(|outcome| outcome.words(running, &program)).collect::<Vec<_>>().join("\n")
    })?;
    let unclean: Vec<_> = outcomes.iter().filter(|outcome| outcome.clean == Some(false)).collect();
    if unclean.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = unclean.iter().map(|outcome| outcome.node.address.to_string()).collect();
    bail!(
        "validators' keys may still be on {}; the nodes stay taken out, and each key ends with its session",
        names.join(", ")
    )
}

/// Waits for the running miner. The database knows when a node is clean: a key is noted there before it is written, and
/// nothing more is noted for a node in maintenance.
async fn until_clean(
    store: &MinerDatabase,
    outcomes: &mut [Outcome<'_>],
    limit: Millis,
) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let mut is_told = !std::io::stderr().is_terminal();
    loop {
        let mut waiting = 0;
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.clean != Some(true)) {
            let until = store.deployed_until(outcome.node.id).await?;
            outcome.clean = Some(until.is_none());
            outcome.why = until.map(|until| format!("its last key ends at {}", until.rfc3339()));
            waiting += usize::from(until.is_some());
        }
        if waiting == 0 || clock.monotonic().saturating_sub(began) >= limit.as_duration() {
            return Ok(());
        }
        if !is_told && clock.monotonic().saturating_sub(began) >= PATIENCE {
            console::tell(&format!("waiting until no key of a validator is on {}", counted(waiting, "node")));
            is_told = true;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// Adds what keeps the running miner from cleaning a node, where it says so.
fn add_trouble(health: SocketAddr, outcomes: &mut [Outcome<'_>]) {
    let mut unclean = outcomes.iter_mut().filter(|outcome| outcome.clean == Some(false)).peekable();
    let Some(status) = unclean.peek().and_then(|_| ask::status(health).ok()) else { return };
    for outcome in unclean {
        let node = status.nodes.iter().find(|node| node.id == outcome.node.id);
        if let (Some(error), Some(why)) = (node.and_then(|node| node.error.as_ref()), &mut outcome.why) {
            *why = format!("{error}; {why}");
        }
    }
}

/// Does what a running miner would do.
async fn clean(
    config: &MinerConfig,
    store: &MinerDatabase,
    outcomes: &mut [Outcome<'_>],
) -> anyhow::Result<()> {
    for outcome in outcomes {
        if store.deployed_until(outcome.node.id).await?.is_none() {
            outcome.clean = Some(true);
            continue;
        }
        let access = NodeAccess {
            node: Arc::new(outcome.node.clone()),
            identity: Identity::File(config.fleet.ssh_key.clone()),
            timeout: config.fleet.timeout,
            shell: Arc::new(RusshShell),
            store: Arc::new(store.clone()),
            clock: Arc::new(SystemClock::new()),
        };
        let removed = access.remove_keys().await.with_context(|| format!("clean {}", outcome.node.address));
        outcome.clean = Some(removed.is_ok());
        outcome.why = removed.err().map(|error| format!("{error:#}"));
    }
    Ok(())
}

pub(crate) fn recover(cli: &Cli, names: &[String]) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let nodes = select_all(&config.fleet.nodes, names)?;
    let running = is_running(&config.database)?;
    let mut results = Vec::with_capacity(nodes.len());
    let in_force = block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        for node in &nodes {
            results.push((*node, store.release_node(node.id).await?));
        }
        in_force(&store, &nodes, running).await
    })?;
    let is_out = |node: &NodeConfig| stays_out(node, &in_force);
    let json = results.iter().map(|(node, hold)| {
        json!({
            "node_id": node.id.to_string(),
            "address": node.address.to_string(),
            "was_waiting": hold.is_some(),
            "since": hold.as_ref().map(|hold| hold.since.rfc3339()),
            "why": hold.as_ref().map(|hold| &hold.why),
            "in_maintenance": is_out(node),
            "miner_running": running,
        })
    });
    answer(cli, &json.collect(), || {
        let words = results.iter().map(|(node, hold)| match hold {
            Some(hold) => {
                let when = match (in_force.kept(node), is_out(node), running) {
                    (Some(Kept::Unlisted), ..) => "the running miner has not read that it is listed",
                    (_, true, _) => "it stays out for maintenance",
                    (_, false, true) => "it is looked at again now",
                    (_, false, false) => "no miner runs",
                };
                format!(
                    "{}: taken back ({when}); it was lost at {}: {}",
                    node.address,
                    hold.since.rfc3339(),
                    hold.why
                )
            }
            None => format!("{}: does not wait for you", node.address),
        });
        words.collect::<Vec<_>>().join("\n")
    })
}

/// Whether a node is out also when it does not wait for `nodes recover`.
fn stays_out(node: &NodeConfig, in_force: &InForce) -> bool {
    let drained = in_force.orders.window(node.id, OrderedBy::Command).is_some();
    drained || in_force.kept(node).is_some_and(Kept::is_out)
}
