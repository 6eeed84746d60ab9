//! The configuration files of a localnet: what a user would write, with short waiting times.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::accounts::Role;
use crate::addresses::Addresses;
use crate::nodes::NodeHost;
use crate::operator::Operator;
use crate::programs::Programs;
use crate::settings::{BURN_UID, Layout, NETUID};

/// Where the configuration of a process lies.
pub(crate) fn path(layout: &Layout, name: &str) -> PathBuf {
    layout.configs().join(format!("{name}.toml"))
}

fn write(layout: &Layout, name: &str, text: &str) -> anyhow::Result<()> {
    let path = path(layout, name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Paths go into TOML as basic strings, in which JSON's escapes mean the same.
fn quoted(path: &std::path::Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(serde_json::to_string(text)?)
}

fn bittensor(layout: &Layout, role: Role, addresses: &Addresses) -> anyhow::Result<String> {
    Ok(format!(
        r#"[bittensor]
wallet_name = "{wallet}"
hotkey_name = "default"
wallet_path = {wallets}
network = "local"
netuid = {NETUID}
chain_endpoint = "ws://{chain}"
"#,
        wallet = role.name(),
        wallets = quoted(&layout.wallets())?,
        chain = addresses.chain,
    ))
}

/// Writes a miner's configuration: the minimal example of the miner's guide, and addresses of its own.
pub(crate) fn write_miner(
    layout: &Layout,
    role: Role,
    addresses: &Addresses,
    nodes: &[&NodeHost],
    operator: &Operator,
) -> anyhow::Result<()> {
    let own = match role {
        Role::Miner1 => addresses.miners[0],
        _ => addresses.miners[1],
    };
    let mut text = bittensor(layout, role, addresses)?;
    text += &format!(
        r#"external_ip = "{ip}"
axon_port = {port}

[database]
url = "sqlite://{database}"

[validator_comms]
host = "{ip}"
port = {port}

[health]
listen = "{health}"

[metrics.prometheus]
host = "{metrics_ip}"
port = {metrics_port}

[node_management]
nodes = [
"#,
        ip = own.grpc.ip(),
        port = own.grpc.port(),
        database = layout.data(role.name()).join("miner.db").display(),
        health = own.health,
        metrics_ip = own.metrics.ip(),
        metrics_port = own.metrics.port(),
    );
    for node in nodes {
        let address = node.address();
        text += &format!(
            "  {{ host = \"{}\", port = {}, username = \"{}\", hourly_rate_per_gpu = 2.50, host_key = \"{}\" }},\n",
            address.host,
            address.port(),
            address.user,
            node.host_key(),
        );
    }
    text += &format!(
        r#"]

[ssh_session]
miner_node_key_path = {key}
# Validators that are killed and started again all the time are what a local network is for.
session_rate_limit = 0

[validator_assignment]
strategy = "highest_stake"
refresh_interval = "2s"
"#,
        key = quoted(operator.path())?,
    );
    write(layout, role.name(), &text)
}

/// Writes the validator's configuration. Waiting times are short by configuration alone; each default stands in
/// `config/validator.toml.example`.
pub(crate) fn write_validator(
    layout: &Layout,
    addresses: &Addresses,
    programs: &Programs,
) -> anyhow::Result<()> {
    let (mut text, data) =
        (bittensor(layout, Role::Validator, addresses)?, layout.data(Role::Validator.name()));
    text += &format!(
        r#"
[database]
url = "sqlite://{database}"

[api]
bind = "{api}"

[metrics.prometheus]
host = "{metrics_ip}"
port = {metrics_port}

[verification]
allow_simulated_gpus = true
allow_private_hosts = true
prover_path = {prover}
verification_interval = "3s"
node_validation_interval = "30s"
full_retry_after_fault = "15s"
network_bytes = 1048576
network_timeout = "10s"
failing_interval = "2s"
retry_interval = "1s"
retry_span = "3s"
cache_miner_info_ttl = "1s"
session_grace = "20s"
fleet_epoch_blocks = 60

[verification.probes]
containers = "off"
gpu_containers = "off"
storage = "recorded"

[automatic_verification]
discovery_interval = "30s"
rediscovery_pause = "1s"

[ssh_session]
connection_timeout = "5s"
command_timeout = "10s"
audit_log_path = "{audit}"

[scoring]
ramp_duration = "10s"
downtime_tolerance = "30s"
interval = "1s"

[emission]
burn_percentage = 10.0
burn_uid = {BURN_UID}
gpu_allocations = {{ H100 = 100 }}
weight_set_interval_blocks = 12
poll_interval = "500ms"
"#,
        database = data.join("validator.db").display(),
        audit = data.join("ssh_audit.log").display(),
        api = addresses.validator_api,
        metrics_ip = addresses.validator_metrics.ip(),
        metrics_port = addresses.validator_metrics.port(),
        prover = quoted(&programs.prover())?,
    );
    write(layout, Role::Validator.name(), &text)
}
