//! The miner that runs with a configuration, as other commands meet it.

use std::sync::Arc;

use anyhow::Context as _;
use basilica_doctor_service::Presence;
use basilica_miner_service::config::MinerConfig;
use basilica_ports::Entropy;
use basilica_store::MinerLock;
use basilica_system::OsEntropy;
use basilica_types::DatabasePath;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::program::Program;
use crate::{ask, service};

/// Whether a changed configuration reached the miner that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// No miner runs on the configured database.
    NotRunning,
    /// The process was sent SIGHUP, at which it reads the configuration again.
    Told(i32),
    /// One runs and was not told.
    Untold {
        /// Its process, where that can be seen.
        pid: Option<i32>,
        /// Why not.
        why: String,
    },
}

impl Reload {
    pub(crate) fn words(&self, program: &Program) -> String {
        match self {
            Self::NotRunning => {
                "no miner runs on this configuration's database; the next start takes it up".to_owned()
            }
            Self::Told(pid) => {
                format!("the running miner (process {pid}) was told (SIGHUP) and takes it up now")
            }
            Self::Untold { why, .. } => program.in_words(&format!(
                "the running miner takes it up on SIGHUP, which it was not sent ({why}): systemctl reload basilica-miner, or send it \
                 SIGHUP (docker compose kill -s HUP miner)"
            )),
        }
    }

    pub(crate) fn json(&self) -> Value {
        match self {
            Self::NotRunning => json!({ "running": false, "told": false }),
            Self::Told(pid) => json!({ "running": true, "told": true, "pid": pid }),
            Self::Untold { pid, why } => json!({ "running": true, "told": false, "pid": pid, "why": why }),
        }
    }
}

/// Whether the miner of this configuration runs. Who answers on the health address is another one where nobody has the database; where there is no
/// database either, as outside of a container, it is one with another hotkey.
pub(crate) fn presence(config: &MinerConfig) -> anyhow::Result<Presence> {
    let (database, health) = (&config.database.url, config.listen.health);
    let holder = MinerLock::holder(database)?;
    Ok(match (ask::health(health), holder) {
        (Ok(_), Some(_)) => Presence::Runs,
        (Ok(_), None) if database.as_path().exists() || is_others(config) => Presence::Another { health },
        (Ok(_), None) => Presence::Runs,
        (Err(_), Some(holder)) => Presence::Silent { pid: holder.pid, health },
        (Err(_), None) => Presence::Absent,
    })
}

/// Whether the miner that answers has another hotkey, as far as both are known.
fn is_others(config: &MinerConfig) -> bool {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let own = service::signer(&config.wallet, &entropy).map(|signer| signer.hotkey());
    let answering = ask::status(config.listen.health).map(|status| status.miner.hotkey);
    matches!((own, answering), (Ok(own), Ok(answering)) if own != answering)
}

/// Tells the miner that runs on this database to read its configuration again.
pub(crate) fn reload(database: &DatabasePath) -> anyhow::Result<Reload> {
    let Some(holder) = MinerLock::holder(database)? else { return Ok(Reload::NotRunning) };
    let untold = |why: String| Ok(Reload::Untold { pid: holder.pid, why });
    let Some(pid) = holder.pid else {
        return untold("its process is not visible from here, as in a container".to_owned());
    };
    if !catches_hangup(pid) {
        return untold(format!("process {pid} does not listen to it and would end"));
    }
    let process = Pid::from_raw(pid).context("a process has a number")?;
    match kill_process(process, Signal::HUP) {
        Ok(()) => Ok(Reload::Told(pid)),
        Err(error) => untold(format!("process {pid}: {error}")),
    }
}

/// Whether the process has a handler for SIGHUP: one that has none, such as an older version or one that is still starting, would end.
fn catches_hangup(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & 1 != 0
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_unit_is_named_only_where_it_runs_on_this_configuration() {
        let untold = Reload::Untold { pid: None, why: "why".to_owned() };
        let words = |config: &str| untold.words(&Program::with(Path::new(config)));
        let by_hand = "send it SIGHUP (docker compose kill -s HUP miner)";
        assert!(words("other.toml").ends_with(&format!("(why): {by_hand}")));
        let unit = words("/opt/basilica/config/miner.toml");
        assert!(unit.ends_with(&format!("(why): systemctl reload basilica-miner, or {by_hand}")), "{unit}");
    }
}
