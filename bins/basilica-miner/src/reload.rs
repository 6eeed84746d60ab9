//! SIGHUP: the configuration is read again, and what can change while the miner runs changes.
//!
//! The nodes and how they are looked after take effect at once, and so does a new TLS certificate; sessions and connections of nodes that stay go on. A file that is
//! wrong changes nothing, and so does one that is another miner's or was emptied; the status says so until a later one is taken up. What needs a restart is named, each time, until it is restarted or written back.

use std::sync::Arc;

use anyhow::ensure;
use basilica_miner_service::config::MinerConfig;
use basilica_miner_service::{Fleet, ReloadTrouble};
use basilica_ports::{BoxError, Clock, Identity};
use basilica_rpc::ServerTls;
use basilica_runtime_service::{Place, Stop};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::commands::{Configured, Source, configured_from};
use crate::tls;

/// Keys that take effect while the miner runs, and sections that do so as a whole.
const LIVE: [&str; 6] = [
    "node_management",
    "security.remove_keys_on_shutdown",
    "ssh_session.default_node_username",
    "ssh_session.miner_node_key_path",
    "validator_comms.tls_cert_path",
    "validator_comms.tls_key_path",
];

/// Keys by which a configuration is this miner's. A file that was emptied or cut off, or is another's, has other values, and giving up
/// nodes by such a one would take keys off all of them.
const IDENTITY: [&str; 6] = [
    "bittensor.wallet_name",
    "bittensor.wallet_path",
    "bittensor.hotkey_name",
    "bittensor.network",
    "bittensor.netuid",
    "database.url",
];

/// From here on a SIGHUP no longer ends the process.
pub(crate) fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Reads the configuration again.
pub(crate) struct Reloader {
    pub(crate) source: Source,
    /// The settings that the process was started with: what is not live is still so.
    pub(crate) started: Value,
    pub(crate) fleet: Arc<Fleet>,
    /// Where the status hears of what was not taken up.
    pub(crate) trouble: ReloadTrouble,
    /// The gRPC port's certificate, where it has one.
    pub(crate) tls: Option<ServerTls>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Reloader {
    pub(crate) async fn run(self, mut hangups: Signal, stop: Stop) -> Result<(), BoxError> {
        loop {
            tokio::select! {
                () = stop.requested() => return Ok(()),
                Some(()) = hangups.recv() => self.reload(),
            }
        }
    }

    fn reload(&self) {
        let trouble = match self.read() {
            Ok(config) => self.take_up(config),
            Err(error) => {
                let error = format!("{error:#}");
                error!(error, "Configuration not reloaded; the miner goes on with what it had");
                Some(error)
            }
        };
        // What is wrong comes first, and then where that is in the file.
        let told = trouble.map(|error| error.lines().next().unwrap_or_default().to_owned());
        self.trouble.send_replace(told);
    }

    /// The configuration as it is now, if this miner can go on with it.
    fn read(&self) -> anyhow::Result<MinerConfig> {
        let Configured { loaded, config, notices } = configured_from(&self.source)?;
        let changed = changed(&self.started, &serde_json::to_value(&loaded.value)?);
        let foreign: Vec<&str> =
            IDENTITY.into_iter().filter(|key| changed.iter().any(|changed| changed == key)).collect();
        ensure!(
            foreign.is_empty(),
            "{} names another miner than the one that runs: {} changed, which takes a restart",
            self.source.path().display(),
            foreign.join(", ")
        );
        let names_nodes = !matches!(loaded.place("node_management.nodes"), Place::Absent(_));
        ensure!(
            names_nodes || self.fleet.nodes().is_empty(),
            "{} has no [node_management], and the miner has nodes; `nodes = []` there gives them up",
            self.source.path().display()
        );
        for notice in notices {
            warn!(%notice, "configuration");
        }
        for key in changed {
            warn!(key, "a changed value takes effect only when the miner is restarted");
        }
        Ok(config)
    }

    /// What of it could not be taken up.
    fn take_up(&self, config: MinerConfig) -> Option<String> {
        let renewed = match (&self.tls, &config.listen.tls) {
            (Some(shown), Some(tls)) => tls::renew(shown, tls, self.clock.now()),
            _ => Ok(()),
        };
        let error = renewed.err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            error!(error, "TLS certificate not renewed; the port goes on with the one it had");
        }
        info!(nodes = config.fleet.nodes.len(), "Configuration reloaded");
        let operator = Identity::File(config.fleet.ssh_key.clone());
        self.fleet.apply(config.fleet, operator);
        error
    }
}

/// The keys whose values differ and that are not live, by name.
fn changed(before: &Value, now: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    compare("", before, now, &mut keys);
    keys
}

fn compare(prefix: &str, before: &Value, now: &Value, keys: &mut Vec<String>) {
    if before == now || LIVE.contains(&prefix) {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, now) else {
        keys.push(prefix.to_owned());
        return;
    };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        // A key that is not set is not written.
        let [before, now] = [old, new].map(|settings| settings.get(name).unwrap_or(&Value::Null));
        compare(&key, before, now, keys);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_needs_a_restart_is_named_and_what_does_not_is_not() {
        let before = json!({
            "node_management": { "nodes": [], "health_check_interval": "60s" },
            "security": { "remove_keys_on_shutdown": false, "session_lifetime": "1h" },
            "validator_comms": { "port": 50051, "host": "0.0.0.0" },
            "database": { "url": "a" },
        });
        let mut now = before.clone();
        assert_eq!(changed(&before, &now), [""; 0]);
        now["node_management"] = json!({ "nodes": [{ "host": "192.0.2.1" }] });
        now["security"]["remove_keys_on_shutdown"] = json!(true);
        assert_eq!(changed(&before, &now), [""; 0]);
        now["security"]["session_lifetime"] = json!("2h");
        now["validator_comms"]["port"] = json!(50052);
        now["health"] = json!({ "listen": "x" });
        assert_eq!(changed(&before, &now), ["health", "security.session_lifetime", "validator_comms.port"]);
    }
}
