//! SIGHUP: the configuration is read again, and what can change while the miner runs changes.
//!
//! The nodes and how they are looked after take effect at once, and so does a new TLS certificate; sessions and connections of nodes that stay go on. A file that is
//! wrong changes nothing. What needs a restart is named, each time, until it is restarted or written back.

use std::sync::Arc;

use basilica_miner_service::Fleet;
use basilica_ports::{BoxError, Clock, Identity};
use basilica_rpc::ServerTls;
use basilica_runtime_service::Stop;
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
        let read = configured_from(&self.source).and_then(|configured| {
            let settings = serde_json::to_value(&configured.loaded.value)?;
            Ok((configured, settings))
        });
        let (Configured { config, notices, .. }, settings) = match read {
            Ok(read) => read,
            Err(error) => {
                error!(
                    error = format!("{error:#}"),
                    "Configuration not reloaded; the miner goes on with what it had"
                );
                return;
            }
        };
        for notice in notices {
            warn!(%notice, "configuration");
        }
        for key in changed(&self.started, &settings) {
            warn!(key, "a changed value takes effect only when the miner is restarted");
        }
        if let (Some(shown), Some(tls)) = (&self.tls, &config.listen.tls)
            && let Err(error) = tls::renew(shown, tls, self.clock.now())
        {
            error!(
                error = format!("{error:#}"),
                "TLS certificate not renewed; the port goes on with the one it had"
            );
        }
        info!(nodes = config.fleet.nodes.len(), "Configuration reloaded");
        let operator = Identity::File(config.fleet.ssh_key.clone());
        self.fleet.apply(config.fleet, operator);
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
