//! `status`: how the miner of this configuration is doing, for people and scripts.

use std::fmt::Write as _;

use basilica_ports::{Clock as _, MinerStore as _};
use basilica_status::{MinerStatus, NodeState, Registration, percent, span};
use basilica_store::{LockHolder, MinerDatabase, MinerLock};
use basilica_system::SystemClock;
use serde_json::json;

use crate::ask;
use crate::cli::Cli;
use crate::commands::{answer, block_on, configured, open};

/// Says whether a miner runs here. Succeeds only if one does, so that a script can ask.
pub(crate) fn status(cli: &Cli) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let health = ask::health(config.listen.health);
    let snapshot = ask::status(config.listen.health);
    let (open_sessions, host_keys) = block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        Ok((store.open_sessions(SystemClock::new().now()).await?, store.host_keys().await?))
    })?;
    let holder = MinerLock::holder(&config.database.url)?;
    let nodes = config.fleet.nodes.len();
    let pending = host_keys.iter().filter(|record| record.offered.is_some()).count();
    let data = json!({
        "running": health.is_ok(),
        "pid": holder.as_ref().and_then(|holder| holder.pid),
        "health": health.as_ref().ok(),
        "nodes": nodes,
        "open_sessions": open_sessions,
        "host_keys_to_approve": pending,
        "status": snapshot.as_ref().ok(),
    });
    answer(cli, &data, || {
        let running = match (&health, &snapshot) {
            (Ok(_), Ok(snapshot)) => told(snapshot),
            (Ok(health), Err(_)) => format!("running: {health}"),
            (Err(_), _) => match &holder {
                Some(LockHolder { pid: Some(pid), .. }) => {
                    format!("process {pid} has the database and does not answer")
                }
                Some(LockHolder { pid: None, .. }) => {
                    "a miner has the database and does not answer".to_owned()
                }
                None => "not running".to_owned(),
            },
        };
        format!("{running}\nnodes: {nodes}\nopen sessions: {open_sessions}\nhost keys to approve: {pending}")
    })?;
    match health {
        Ok(_) => Ok(()),
        Err(error) => Err(error.context(format!(
            "no miner with this configuration answers on its health address {}",
            config.listen.health
        ))),
    }
}

/// The snapshot in a few lines.
fn told(status: &MinerStatus) -> String {
    let miner = &status.miner;
    let place = match miner.registration {
        Registration::Unknown => "the chain has not answered yet".to_owned(),
        Registration::Absent => "not registered".to_owned(),
        Registration::Registered { uid } => format!("uid {uid}"),
    };
    let mut text = format!(
        "running: {} for {}, {}\nhotkey: {} ({place} on subnet {} of {})",
        miner.version,
        span(status.uptime()),
        if status.is_ready() { "ready" } else { "not ready" },
        miner.hotkey,
        miner.netuid,
        miner.network
    );
    let mut line = |label: &str, words: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{label}: {words}");
    };
    for condition in &miner.conditions {
        if let Some(problem) = &condition.problem {
            line("not ready", &format_args!("{}: {problem}", condition.name));
        }
    }
    for validator in &status.assignment.validators {
        line("assigned to", &format_args!("{} ({} nodes)", validator.hotkey, validator.nodes));
    }
    let states = NodeState::ALL.into_iter().map(|state| (state, status.count(state)));
    let states: Vec<String> = states
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    if !states.is_empty() {
        line("states", &states.join(", "));
    }
    if let Some(share) = &miner.share {
        line("estimated share of the emission", &percent(share.share));
    }
    for alert in &status.alerts {
        line(
            alert.severity.as_str(),
            &format_args!("{}\n  why: {}\n  next: {}", alert.what, alert.why, alert.todo),
        );
    }
    text
}
