//! `nodes undrain`: what a command ordered is taken back. What the configuration says of a node can be taken back only there.

use anyhow::bail;
use basilica_miner_service::config::NodeConfig;
use basilica_miner_service::maintenance::{ALLOWANCE, WINDOW, used};
use basilica_ports::{Clock as _, MaintenanceWindow, MinerOperations as _, NodeHold};
use basilica_status::span;
use basilica_store::MinerDatabase;
use basilica_system::SystemClock;
use basilica_types::{Millis, Timestamp};
use serde_json::{Value, json};

use super::{allowance, in_brackets, is_running};
use crate::cli::Cli;
use crate::commands::{answer, block_on, configured, open};
use crate::select::select_all;

/// Why a node stays out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// `maintenance = true` is in the configuration.
    Configured,
    /// It was there when the running miner read the configuration last.
    Unread,
}

/// What became of one node.
struct Outcome<'a> {
    node: &'a NodeConfig,
    /// The window that ended.
    ended: Option<MaintenanceWindow>,
    kept: Option<Kept>,
    /// It is out for another reason.
    hold: Option<NodeHold>,
    used: Millis,
}

impl Outcome<'_> {
    fn json(&self, running: bool) -> Value {
        json!({
            "node_id": self.node.id.to_string(),
            "address": self.node.address.to_string(),
            "was_drained": self.ended.is_some(),
            "since": self.ended.as_ref().map(|window| window.began_at.rfc3339()),
            "reason": self.ended.as_ref().map(|window| &window.reason),
            "configured": self.node.maintenance,
            "stays": self.kept.is_some(),
            "awaits_recover": self.hold.is_some(),
            "maintenance_used_ms": self.used.0,
            "maintenance_allowance_ms": ALLOWANCE.0,
            "miner_running": running,
        })
    }

    fn words(&self, running: bool) -> String {
        let address = &self.node.address;
        let ended = self.ended.as_ref().map(|window| {
            let lasted = window.ended_at.unwrap_or(window.began_at).since(window.began_at);
            format!("after {}{}", span(lasted), in_brackets(window.reason.as_deref()))
        });
        let what = match (ended, self.kept) {
            (Some(after), None) => format!("taken back {after}"),
            (Some(after), Some(_)) => {
                format!("the order of `nodes drain` is taken back {after}, but it stays in maintenance")
            }
            (None, None) => "was not taken out".to_owned(),
            (None, Some(_)) => "stays in maintenance; no command had taken it out".to_owned(),
        };
        let lost = self.hold.as_ref().map_or_else(String::new, |hold| {
            let since = hold.since.rfc3339();
            format!("; it was lost at {since} and waits for `basilica-miner nodes recover {address}`")
        });
        let miner = if running { "" } else { "; no miner runs" };
        format!("{address}: {what}{lost}{miner}\n  {}", allowance(self.used))
    }
}

pub(crate) fn undrain(cli: &Cli, names: &[String]) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let nodes = select_all(&config.fleet.nodes, names)?;
    let running = is_running(&config.database)?;
    let outcomes = block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        let now = SystemClock::new().now();
        let mut outcomes = Vec::with_capacity(nodes.len());
        for node in nodes {
            outcomes.push(take_back(&store, node, running, now).await?);
        }
        Ok(outcomes)
    })?;
    answer(cli, &outcomes.iter().map(|outcome| outcome.json(running)).collect(), || {
        outcomes.iter().map(|outcome| outcome.words(running)).collect::<Vec<_>>().join("\n")
    })?;
    complain(&outcomes, running)
}

/// Ends a command's window. One that stands for the configuration is left to the running miner, which would begin it again.
async fn take_back<'a>(
    store: &MinerDatabase,
    node: &'a NodeConfig,
    running: bool,
    now: Timestamp,
) -> anyhow::Result<Outcome<'a>> {
    let orders = store.orders().await?;
    let reason = orders.maintenance.get(&node.id).and_then(|window| window.reason.as_deref());
    let noted = reason == Some(MaintenanceWindow::CONFIGURED);
    let kept = match (node.maintenance, noted && running) {
        (true, _) => Some(Kept::Configured),
        (false, true) => Some(Kept::Unread),
        (false, false) => None,
    };
    let ended = if noted && kept.is_some() { None } else { store.end_maintenance(node.id, now).await? };
    let windows = store.maintenance(now - WINDOW).await?;
    let used = used(windows.get(&node.id).map_or(&[][..], Vec::as_slice), now);
    Ok(Outcome { node, ended, kept, hold: orders.holds.get(&node.id).cloned(), used })
}

/// Says of the nodes that stay out what takes them back.
fn complain(outcomes: &[Outcome<'_>], running: bool) -> anyhow::Result<()> {
    let named = |why: Kept| {
        let these = outcomes.iter().filter(|outcome| outcome.kept == Some(why));
        these.map(|outcome| outcome.node.address.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (configured, unread) = (named(Kept::Configured), named(Kept::Unread));
    let reload = "make the running miner read it: systemctl reload basilica-miner, or send it SIGHUP";
    let mut why = Vec::new();
    if !configured.is_empty() {
        let then = if running { format!(", then {reload}") } else { String::new() };
        why.push(format!(
            "{configured} stays in maintenance: `maintenance = true` in the configuration wins; remove it there{then}"
        ));
    }
    if !unread.is_empty() {
        why.push(format!(
            "{unread} stays in maintenance: `maintenance = true` is gone from the configuration, which the running miner has not \
             read since; {reload}"
        ));
    }
    if why.is_empty() { Ok(()) } else { bail!("{}", why.join("; ")) }
}
