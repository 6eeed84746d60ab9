//! Values that parse and could never work.

use std::net::SocketAddr;
use std::path::Path;

use basilica_proof::stream::STREAM_BYTES_MAX;
use basilica_runtime_service::{ConfigError, Loaded};
use basilica_types::{DatabaseUrl, Millis};

use crate::config::ValidatorConfig;

/// Nine days. Newer runtimes would keep a validator active for longer; one that is so slow tells its subnet nothing.
const LONGEST_WEIGHT_INTERVAL: u64 = 65_535;
/// A commit by hash must be revealed within one epoch, 72 minutes where they are usual.
const LONGEST_POLL: Millis = Millis::from_secs(600);

type Config = Loaded<ValidatorConfig>;

pub(super) fn all(loaded: &Config) -> Result<(), ConfigError> {
    bounds(loaded)?;
    leadership(loaded)?;
    positive(loaded)?;
    ages(loaded)?;
    addresses(loaded)?;
    paths(loaded)
}

fn reject(loaded: &Config, key: &str, why: &str, help: &str) -> Result<(), ConfigError> {
    Err(loaded.reject(key, why, Some(help.to_owned())))
}

/// A lease must outlast a renewal that fails once and is tried again.
fn leadership(loaded: &Config) -> Result<(), ConfigError> {
    let ha = &loaded.value.ha;
    let (lease, renew, poll) = (ha.lease.millis(), ha.renew_interval.millis(), ha.poll_interval.millis());
    if !(Millis::from_secs(1)..=Millis::from_secs(60)).contains(&lease) {
        return reject(loaded, "ha.lease", "must be from 1s to 60s", "3s is the default");
    }
    if renew < Millis(100) || renew.0.saturating_mul(2) > lease.0 {
        let help = "1s with a lease of 3s is the default";
        return reject(loaded, "ha.renew_interval", "must be from 100ms to half of ha.lease", help);
    }
    if poll < Millis(50) || poll > lease {
        return reject(loaded, "ha.poll_interval", "must be from 50ms to ha.lease", "250ms is the default");
    }
    let named = ha
        .name
        .as_deref()
        .is_none_or(|name| (1..=64).contains(&name.len()) && !name.contains(char::is_control));
    if named { Ok(()) } else { reject(loaded, "ha.name", "must have 1 to 64 characters", "leave it out") }
}

fn bounds(loaded: &Config) -> Result<(), ConfigError> {
    let c = &loaded.value;
    let v = &c.verification;
    for (key, bound) in [
        ("verification.max_concurrent_verifications", v.max_concurrent_verifications),
        ("verification.max_concurrent_full_validations", v.max_concurrent_full_validations),
        ("verification.max_concurrent_dials", v.max_concurrent_dials),
        ("verification.max_nodes_per_miner", v.max_nodes_per_miner),
    ] {
        if !(1..=65_536).contains(&bound) {
            return Err(loaded.reject(key, "must be from 1 to 65536", None));
        }
    }
    if !(1..=65_536).contains(&c.server.max_connections) {
        return Err(loaded.reject("server.max_connections", "must be from 1 to 65536", None));
    }
    if c.api.rate_limit > 0 && c.api.rate_limit_burst == 0 {
        let help = "200 is the default; rate_limit = 0 turns the limit off";
        return reject(loaded, "api.rate_limit_burst", "0 would refuse every request", help);
    }
    if c.api.allowed_hotkeys.len() > 1_024 {
        return Err(loaded.reject("api.allowed_hotkeys", "at most 1024 hotkeys", None));
    }
    if v.network_bytes > STREAM_BYTES_MAX {
        let help = "67108864 (64 MiB) is the default, 0 turns transfers off";
        return reject(loaded, "verification.network_bytes", "must be at most 1073741824 (1 GiB)", help);
    }
    let (first, last) = v.probes.reachability_ports;
    if first < 1_024 || last < first {
        let help = "[20000, 32767] is the default";
        let why = "must be two ports from 1024 on, the smaller one first";
        return reject(loaded, "verification.probes.reachability_ports", why, help);
    }
    if c.bittensor.netuid == 0 {
        let help = "39 on finney, 387 on test";
        return reject(loaded, "bittensor.netuid", "0 is the root network", help);
    }
    if let (Some(_), DatabaseUrl::Sqlite(_)) = (&c.database.password_file, &c.database.url) {
        let help = "remove it, or give a postgres:// URL";
        return reject(loaded, "database.password_file", "is of no use to a file of SQLite", help);
    }
    if let (Some(_), DatabaseUrl::Postgres(url)) = (&c.database.password_file, &c.database.url)
        && url.has_password()
    {
        let help = "remove the password from database.url";
        return reject(loaded, "database.password_file", "and database.url both give a password", help);
    }
    if !(1..=64).contains(&c.database.max_connections) {
        return reject(loaded, "database.max_connections", "must be from 1 to 64", "8 is the default");
    }
    if c.emission.weight_mechanism > 15 {
        return Err(loaded.reject("emission.weight_mechanism", "must be from 0 to 15", None));
    }
    if !(1..=LONGEST_WEIGHT_INTERVAL).contains(&c.emission.weight_set_interval_blocks) {
        let why = format!("must be from 1 to {LONGEST_WEIGHT_INTERVAL} blocks (nine days)");
        return reject(loaded, "emission.weight_set_interval_blocks", &why, "360 is the default");
    }
    if c.emission.poll_interval.millis() > LONGEST_POLL {
        let why = "must be at most 10 min, or a reveal could miss its epoch";
        return reject(loaded, "emission.poll_interval", why, "12s is the default");
    }
    Ok(())
}

/// A loop without a pause would use up a core, a deadline of zero fails everything, and within no time nothing counts.
fn positive(loaded: &Config) -> Result<(), ConfigError> {
    let c = &loaded.value;
    let v = &c.verification;
    let spans = [
        ("verification.verification_interval", v.verification_interval),
        ("verification.node_validation_interval", v.node_validation_interval),
        ("verification.full_retry_after_fault", v.full_retry_after_fault),
        ("verification.failing_interval", v.failing_interval),
        ("verification.challenge_timeout", v.challenge_timeout),
        ("verification.network_timeout", v.network_timeout),
        ("verification.probes.reachability_timeout", v.probes.reachability_timeout),
        ("verification.docker_validation.pull_timeout_secs", v.docker_validation.pull_timeout_secs),
        ("verification.docker_validation.registry_timeout", v.docker_validation.registry_timeout),
        ("verification.retry_interval", v.retry_interval),
        ("verification.cache_miner_info_ttl", v.cache_miner_info_ttl),
        ("verification.tick", v.tick),
        ("automatic_verification.discovery_interval", c.automatic_verification.discovery_interval),
        ("automatic_verification.rediscovery_pause", c.automatic_verification.rediscovery_pause),
        ("ssh_session.connection_timeout", c.ssh_session.connection_timeout),
        ("ssh_session.command_timeout", c.ssh_session.command_timeout),
        ("ssh_session.upload_timeout", c.ssh_session.upload_timeout),
        ("scoring.ramp_duration", c.scoring.ramp_duration),
        ("scoring.full_max_age", c.scoring.full_max_age),
        ("scoring.attempt_window", c.scoring.attempt_window),
        ("scoring.interval", c.scoring.interval),
        ("emission.poll_interval", c.emission.poll_interval),
        ("retention.interval", c.retention.interval),
    ];
    match spans.iter().find(|(_, span)| span.millis().0 == 0) {
        Some((key, _)) => Err(loaded.reject(key, "must be longer than zero", None)),
        None => Ok(()),
    }
}

/// How long a proof counts, against how often one is asked for and how long its GPU is its node's.
fn ages(loaded: &Config) -> Result<(), ConfigError> {
    let v = &loaded.value.verification;
    let age = loaded.value.scoring.full_max_age.millis();
    // A shorter claim than the proof it stands for would let two nodes be paid for one GPU in turns.
    if v.gpu_assignment_cleanup_ttl.millis() < age {
        let help = "set it to at least scoring.full_max_age, which is how long a proof is paid for";
        let key = "verification.gpu_assignment_cleanup_ttl";
        return reject(loaded, key, "is shorter than scoring.full_max_age", help);
    }
    if v.node_validation_interval.millis() >= age {
        let why = "is not shorter than scoring.full_max_age: every node's score would lapse between two full checks";
        let help = "half of scoring.full_max_age is the default";
        return reject(loaded, "verification.node_validation_interval", why, help);
    }
    Ok(())
}

fn addresses(loaded: &Config) -> Result<(), ConfigError> {
    let Some(metrics) = loaded.value.metrics_address() else { return Ok(()) };
    let api = loaded.value.api_address();
    let everywhere = |address: SocketAddr| address.ip().is_unspecified();
    let overlap = api.ip() == metrics.ip() || everywhere(api) || everywhere(metrics);
    if overlap && api.port() == metrics.port() && api.port() != 0 {
        let why = format!("uses {api} like the API");
        let help = "give each listener a port of its own, or set metrics.enabled = false";
        return reject(loaded, "metrics.prometheus.port", &why, help);
    }
    Ok(())
}

/// `~` stands for the home directory, and only alone.
fn paths(loaded: &Config) -> Result<(), ConfigError> {
    let c = &loaded.value;
    for (key, path) in [
        ("bittensor.wallet_path", &c.bittensor.wallet_path),
        ("bittensor.wallet_password_file", &c.bittensor.wallet_password_file),
        ("database.password_file", &c.database.password_file),
        ("api.api_key_file", &c.api.api_key_file),
        ("verification.prover_path", &c.verification.prover_path),
        ("ssh_session.audit_log_path", &c.ssh_session.audit_log_path),
    ] {
        let Some(path) = path else { continue };
        if path.as_os_str().is_empty() {
            return reject(loaded, key, "is empty", "write the path, or remove the key for its default");
        }
        let first = path.iter().next();
        if first.is_some_and(|first| first.to_string_lossy().starts_with('~'))
            && !path.starts_with(Path::new("~"))
        {
            return reject(loaded, key, "`~` of another user cannot be resolved", "write the path in full");
        }
    }
    Ok(())
}
