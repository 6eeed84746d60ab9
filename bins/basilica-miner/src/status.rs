//! `status`: how the miner of this configuration is doing, for people and scripts.

use std::fmt::Write as _;

use anyhow::ensure;
use basilica_doctor_service::Presence;
use basilica_miner_service::config::MinerConfig;
use basilica_ports::{Clock as _, MinerStore as _};
use basilica_runtime_service::ErrorChain;
use basilica_status::{MinerStatus, NodeState, Registration, counted, percent, span};
use basilica_store::{Database, MinerDatabase, MinerLock};
use basilica_system::SystemClock;
use serde_json::json;

use crate::ask;
use crate::cli::Cli;
use crate::commands::{answer, block_on, configured, open};
use crate::running;

/// What the database tells by itself, whether a miner runs or not.
struct Kept {
    open_sessions: u64,
    host_keys_to_approve: usize,
}

impl Kept {
    fn words(&self) -> String {
        let Self { open_sessions, host_keys_to_approve } = self;
        let keys = match host_keys_to_approve {
            0 => String::new(),
            some => format!("\nhost keys to approve: {some}"),
        };
        format!("open sessions: {open_sessions}{keys}")
    }
}

/// Reads it; and all of the file where no miner runs, which otherwise does that itself, now and then: this command may be asked for twice a
/// minute.
async fn kept(config: &MinerConfig, runs: bool) -> anyhow::Result<Kept> {
    let store = MinerDatabase::new(open(config, false).await?);
    if !runs {
        Database::check_pages(&config.database.url).await?;
    }
    let host_keys = store.host_keys().await?;
    Ok(Kept {
        open_sessions: store.open_sessions(SystemClock::new().now()).await?,
        host_keys_to_approve: host_keys.iter().filter(|record| record.offered.is_some()).count(),
    })
}

/// Says whether a miner runs here. Succeeds only if one does, so that a script can ask; how its database is, is told beside that.
pub(crate) fn status(cli: &Cli) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let presence = running::presence(&config)?;
    let runs = presence == Presence::Runs;
    let health = ask::health(config.listen.health).ok().filter(|_| runs);
    let snapshot = ask::status(config.listen.health).ok().filter(|_| runs);
    let kept = block_on(kept(&config, runs)).map_err(|error| ErrorChain(error.as_ref()).to_string());
    let holder = MinerLock::holder(&config.database.url)?;
    let nodes = config.fleet.nodes.len();
    let data = json!({
        "running": runs,
        "pid": holder.as_ref().and_then(|holder| holder.pid),
        "answered_by_another": matches!(presence, Presence::Another { .. }),
        "health": health,
        "nodes": nodes,
        "open_sessions": kept.as_ref().ok().map(|kept| kept.open_sessions),
        "host_keys_to_approve": kept.as_ref().ok().map(|kept| kept.host_keys_to_approve),
        "database_error": kept.as_ref().err(),
        "status": snapshot,
    });
    answer(cli, &data, || {
        let running = match (&presence, &health, &snapshot) {
            (Presence::Runs, _, Some(snapshot)) => cli.program().in_words(&told(snapshot)),
            (Presence::Runs, Some(health), None) => format!("running: {health}"),
            (Presence::Silent { .. }, ..) => presence.words(),
            (Presence::Another { .. }, ..) => {
                format!("not running: {}", presence.words())
            }
            (Presence::Absent | Presence::Runs, ..) => "not running".to_owned(),
        };
        let listed = match &snapshot {
            Some(snapshot) if snapshot.nodes.len() != nodes => {
                format!("nodes: {nodes} in the configuration, {} in the running miner", snapshot.nodes.len())
            }
            _ => format!("nodes: {nodes}"),
        };
        let kept = match &kept {
            Ok(kept) => kept.words(),
            Err(error) => format!("database: {error}"),
        };
        format!("{running}\n{listed}\n{kept}")
    })?;
    ensure!(runs, "no miner with this configuration answers on its health address {}", config.listen.health);
    Ok(())
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
        line("assigned to", &format_args!("{} ({})", validator.hotkey, counted(validator.nodes, "node")));
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
