//! The validator's program, and what it tells.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use basilica_localnet::{get_file, get_json};
use basilica_testkit::{free_address, write_validator};
use serde_json::Value;

use crate::events::{self, Finding};
use crate::operator::Running;
use crate::plan::Plan;

/// Every passed check has a line of its own below the usual level.
const LOG: &str = "info,validator::verification=debug,russh=warn,sqlx=warn,h2=warn,hyper=warn,jsonrpsee=warn";

/// A running validator.
#[derive(Debug)]
pub(crate) struct ValidatorProcess {
    pub(crate) running: Running,
    metrics: SocketAddr,
}

impl ValidatorProcess {
    pub(crate) fn start(program: &Path, directory: &Path, chain: &str, prover: &Path, plan: &Plan) -> Self {
        let metrics = free_address();
        let database = format!("sqlite://{}/validator.db", directory.display());
        let config = write_validator(directory, &[chain], &database, &config_text(prover, metrics, plan));
        let running = Running::start(program, directory.join("validator.log"), |command| {
            command.args(["--json", "-c"]).arg(&config).arg("start").env("HOME", directory);
            command.env("RUST_LOG", LOG);
        });
        Self { running, metrics }
    }

    /// What it found until now, by node.
    pub(crate) fn findings(&self) -> BTreeMap<String, Vec<Finding>> {
        events::findings(&self.running.log())
    }

    fn api(&self) -> Option<SocketAddr> {
        let log = self.running.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find_map(|line| line["api.address"].as_str()?.parse().ok())
    }

    /// Every node, as `GET /nodes` tells it; none while it does not answer.
    pub(crate) async fn nodes(&self) -> Option<Vec<Value>> {
        let api = self.api()?;
        let (mut nodes, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = get_json(api, &format!("/nodes?limit=500{cursor}")).await.ok()?;
            nodes.append(page["nodes"].as_array_mut()?);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Some(nodes),
            }
        }
    }

    /// The sum of a metric over its labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let page = get_file(self.metrics, "/metrics").await.unwrap_or_default();
        let page = String::from_utf8(page).unwrap();
        let value = |line: &str| -> Option<u64> {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse().ok())?
        };
        page.lines().filter_map(value).sum()
    }

    /// Most memory that it ever had resident, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }
}

fn config_text(prover: &Path, metrics: SocketAddr, plan: &Plan) -> String {
    let ms = |span: std::time::Duration| format!("{}ms", span.as_millis());
    format!(
        r#"
[metrics.prometheus]
host = "{metrics_host}"
port = {metrics_port}

[verification]
allow_simulated_gpus = true
allow_private_hosts = true
prover_path = "{prover}"
verification_interval = "{interval}"
failing_interval = "{interval}"
retries = {retries}
retry_interval = "{retry_interval}"
retry_span = "{retry_interval}"
network_bytes = 1048576
fleet_epoch_blocks = 0
session_grace = "5m"
cache_miner_info_ttl = "2s"

[verification.probes]
containers = "recorded"
gpu_containers = "off"
storage = "recorded"
reachability = "off"

[automatic_verification]
discovery_interval = "30m"
rediscovery_pause = "5s"

[ssh_session]
connection_timeout = "{timeout}"
command_timeout = "{timeout}"

[emission]
burn_percentage = 10.0
burn_uid = 0
gpu_allocations = {{ H100 = 100 }}
weight_set_interval_blocks = 20
"#,
        metrics_host = metrics.ip(),
        metrics_port = metrics.port(),
        prover = prover.display(),
        interval = ms(plan.interval),
        retries = plan.retries,
        retry_interval = ms(plan.retry_interval),
        timeout = ms(plan.timeout),
    )
}
