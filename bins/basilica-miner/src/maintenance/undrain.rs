//! `nodes undrain`: what a command ordered is taken back. What the configuration says of a node can be taken back only there.

use anyhow::bail;
use basilica_miner_service::config::NodeConfig;
use basilica_miner_service::maintenance::{ALLOWANCE, WINDOW, used};
use basilica_ports::{Clock as _, MaintenanceWindow, MinerOperations as _, NodeHold, OrderedBy};
use basilica_status::span;
use basilica_store::MinerDatabase;
use basilica_system::SystemClock;
use basilica_types::{Millis, Timestamp};
use serde_json::{Value, json};

use super::read::{Kept, Read, in_force};
use super::{allowance, in_brackets, is_running};
use crate::cli::Cli;
use crate::commands::{answer, block_on, configured, open};
use crate::program::Program;
use crate::select::select_all;

/// What became of one node.
struct Outcome<'a> {
    node: &'a NodeConfig,
    /// The window that ended.
    ended: Option<MaintenanceWindow>,
    /// What the running miner has read of the node; none: no miner runs.
    read: Option<Read>,
    kept: Option<Kept>,
    /// It is out for another reason.
    hold: Option<NodeHold>,
    used: Millis,
}

impl Outcome<'_> {
    fn json(&self) -> Value {
        json!({
            "node_id": self.node.id.to_string(),
            "address": self.node.address.to_string(),
            "was_drained": self.ended.is_some(),
            "since": self.ended.as_ref().map(|window| window.began_at.rfc3339()),
            "reason": self.ended.as_ref().map(MaintenanceWindow::why),
            "configured": self.node.maintenance,
            "configured_when_read": self.read.map(|read| read.maintenance),
            "stays": self.kept.is_some_and(Kept::is_out),
            "awaits_recover": self.hold.is_some(),
            "maintenance_used_ms": self.used.0,
            "maintenance_allowance_ms": ALLOWANCE.0,
            "miner_running": self.read.is_some(),
        })
    }

    fn words(&self, program: &Program) -> String {
        let address = &self.node.address;
        let ended = self.ended.as_ref().map(|window| {
            let lasted = window.ended_at.unwrap_or(window.began_at).since(window.began_at);
            format!("after {}{}", span(lasted), in_brackets(window.why()))
        });
        let what = match (ended, self.kept) {
            (Some(after), None) => format!("taken back {after}"),
            (Some(after), Some(Kept::Ahead)) => {
                format!("taken back {after}, until the running miner reads the configuration")
            }
            (Some(after), Some(kept)) => {
                format!("the order of `nodes drain` is taken back {after}, but it {}", still(kept))
            }
            (None, None) => "was not taken out".to_owned(),
            (None, Some(Kept::Ahead)) => {
                "was not taken out, but is when the running miner reads the configuration".to_owned()
            }
            (None, Some(kept)) => format!("{}; no command had taken it out", still(kept)),
        };
        let lost = self.hold.as_ref().map_or_else(String::new, |hold| {
            let since = hold.since.rfc3339();
            format!("; it was lost at {since} and waits for `{program} nodes recover {address}`")
        });
        let miner = if self.read.is_some() { "" } else { "; no miner runs" };
        format!("{address}: {what}{lost}{miner}\n  {}", allowance(self.used))
    }
}

/// What a node does that is out.
const fn still(kept: Kept) -> &'static str {
    match kept {
        Kept::Unlisted => "is not in service",
        Kept::Configured | Kept::Ahead | Kept::Unread => "stays in maintenance",
    }
}

pub(crate) fn undrain(cli: &Cli, names: &[String]) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let nodes = select_all(&config.fleet.nodes, names)?;
    let running = is_running(&config.database)?;
    let outcomes = block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        take_back(&store, &nodes, running, SystemClock::new().now()).await
    })?;
    answer(cli, &outcomes.iter().map(Outcome::json).collect(), || {
        let program = cli.program();
        outcomes.iter().map(|outcome| outcome.words(&program)).collect::<Vec<_>>().join("\n")
    })?;
    match complaints(&outcomes) {
        None => Ok(()),
        Some(why) => bail!("{why}"),
    }
}

async fn take_back<'a>(
    store: &MinerDatabase,
    nodes: &[&'a NodeConfig],
    running: bool,
    now: Timestamp,
) -> anyhow::Result<Vec<Outcome<'a>>> {
    let mut drained = Vec::with_capacity(nodes.len());
    for node in nodes {
        drained.push(store.end_maintenance(node.id, OrderedBy::Command, now).await?);
    }
    let in_force = in_force(store, nodes, running).await?;
    let mut outcomes = Vec::with_capacity(nodes.len());
    for (node, mut ended) in nodes.iter().zip(drained) {
        let (read, kept) = (in_force.read(node), in_force.kept(node));
        let hold = in_force.orders.holds.get(&node.id).cloned();
        if !running {
            let void = end_void(store, node, now).await?;
            ended = ended.or(void.filter(|_| kept.is_none()));
        }
        let windows = store.maintenance(now - WINDOW).await?;
        let used = used(windows.get(&node.id).map_or(&[][..], Vec::as_slice), now);
        outcomes.push(Outcome { node, ended, read, kept, hold, used });
    }
    Ok(outcomes)
}

/// Ends the windows of orders that the configuration has overtaken, as the next miner would when it has read it.
async fn end_void(
    store: &MinerDatabase,
    node: &NodeConfig,
    now: Timestamp,
) -> anyhow::Result<Option<MaintenanceWindow>> {
    let removal = store.end_maintenance(node.id, OrderedBy::Removal, now).await?;
    if node.maintenance {
        return Ok(removal);
    }
    Ok(store.end_maintenance(node.id, OrderedBy::Configuration, now).await?.or(removal))
}

/// What takes the nodes back that stay out, or will be out again.
fn complaints(outcomes: &[Outcome<'_>]) -> Option<String> {
    const RELOAD: &str = "make the running miner read it: systemctl reload basilica-miner, or send it SIGHUP";
    let named = |why: Kept| {
        let these = outcomes.iter().filter(|outcome| outcome.kept == Some(why));
        these.map(|outcome| outcome.node.address.to_string()).collect::<Vec<_>>().join(", ")
    };
    let running = outcomes.iter().any(|outcome| outcome.read.is_some());
    let then = if running { format!(", then {RELOAD}") } else { String::new() };
    let because = |why: Kept| {
        match why {
        Kept::Configured => format!(
            "stays in maintenance: `maintenance = true` in the configuration wins; remove it there{then}"
        ),
        Kept::Ahead => "is back only until the running miner reads the configuration, where `maintenance = true` is by now; remove \
             it there"
            .to_owned(),
        Kept::Unread => format!(
            "stays in maintenance: `maintenance = true` is gone from the configuration, which the running miner has not read \
             since; {RELOAD}"
        ),
        Kept::Unlisted => format!(
            "is not in service: the running miner has not read yet that it is in the configuration; {RELOAD}"
        ),
    }
    };
    let told = |why: Kept| {
        Some(named(why)).filter(|names| !names.is_empty()).map(|names| format!("{names} {}", because(why)))
    };
    let all: Vec<String> = Kept::ALL.into_iter().filter_map(told).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests;
