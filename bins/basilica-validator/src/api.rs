//! How the REST API is set up by the configuration.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use basilica_console::read_at_most;
use basilica_http::{Api, ApiKey, ApiOptions, RateLimit};
use basilica_ports::ValidatorQueries;
use basilica_runtime_service::HttpLimits;
use basilica_validator_service::ValidatorConfig;

/// Requests worked on at a time: more would not be done sooner, and each holds what it has read.
const AT_ONCE: usize = 64;
/// Most bytes of a file with an API key.
const KEY_FILE_BYTES: u64 = 4_096;

/// The API over a validator.
pub(crate) fn api(config: &ValidatorConfig, queries: Arc<dyn ValidatorQueries>) -> anyhow::Result<Api> {
    let c = &config.api;
    let key = key(config)?;
    let rate = |per_second| RateLimit {
        per_second,
        burst: NonZeroU32::new(c.rate_limit_burst).unwrap_or(NonZeroU32::MIN),
    };
    Ok(Api::new(
        queries,
        ApiOptions {
            version: env!("CARGO_PKG_VERSION"),
            config: serde_json::to_value(config.without_secrets()).context("show the configuration")?,
            api_key: key.as_deref().map(ApiKey::new).transpose().context("api.api_key_file")?,
            hotkeys: c.allowed_hotkeys.iter().copied().collect(),
            proxies: proxies(config),
            rate_limit: NonZeroU32::new(c.rate_limit).map(rate),
            at_once: AT_ONCE,
            deadline: config.server.request_timeout.millis(),
        },
    ))
}

/// Peers that ask for others.
pub(crate) fn proxies(config: &ValidatorConfig) -> BTreeSet<IpAddr> {
    config.api.trusted_proxies.iter().map(IpAddr::to_canonical).collect()
}

/// What clients may use up.
pub(crate) fn limits(config: &ValidatorConfig) -> HttpLimits {
    HttpLimits { connections: config.server.max_connections, ..HttpLimits::default() }
}

/// The API key as its file has it.
pub(crate) fn key(config: &ValidatorConfig) -> anyhow::Result<Option<String>> {
    let Some(path) = &config.api.api_key_file else { return Ok(None) };
    let path = crate::build::expand(path)?;
    read(&path)
        .with_context(|| {
            let shown = path.display();
            format!("read the API key {shown} of api.api_key_file; `(umask 077; openssl rand -hex 32 >{shown})` makes one")
        })
        .map(Some)
}

fn read(path: &Path) -> std::io::Result<String> {
    let bytes = read_at_most(std::fs::File::open(path)?, KEY_FILE_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
    Ok(text.trim().to_owned())
}
