//! `[verdicts]`: which validators are asked what they think of the nodes, and where.

use std::collections::BTreeMap;

use basilica_ports::{AddressPolicy, ValidatorPlace};
use basilica_runtime_service::ConfigError;
use basilica_types::{Host, Hotkey};
use serde::{Deserialize, Serialize};

use super::check::Check;

/// Most places that are named.
const MOST: usize = 64;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Verdicts {
    pub(super) enabled: bool,
    pub(super) validators: Vec<Named>,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self { enabled: true, validators: Vec::new() }
    }
}

/// Where a validator's API is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) hotkey: Hotkey,
    pub(super) url: String,
}

/// Who is asked about the nodes, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictsConfig {
    /// Whether anybody is.
    pub enabled: bool,
    /// Where the operator says that validators' APIs are; others are asked at their axon.
    pub validators: BTreeMap<Hotkey, ValidatorPlace>,
}

impl Check<'_> {
    pub(super) fn verdicts(&self) -> Result<VerdictsConfig, ConfigError> {
        const KEY: &str = "verdicts.validators";
        let settings = &self.settings.verdicts;
        if settings.validators.len() > MOST {
            return self.reject(KEY, format!("has more than {MOST} entries"), "");
        }
        let mut validators = BTreeMap::new();
        for (index, named) in settings.validators.iter().enumerate() {
            let key = format!("{KEY}.{index}");
            let place = match place(&named.url) {
                Ok(place) => place,
                Err(why) => {
                    let help = "write it like \"http://192.0.2.7:8080\"";
                    return self.reject(&format!("{key}.url"), why, help);
                }
            };
            if validators.insert(named.hotkey, place).is_some() {
                return self.reject(
                    &key,
                    format!("{} is listed already", named.hotkey),
                    "remove one of the two",
                );
            }
        }
        Ok(VerdictsConfig { enabled: settings.enabled, validators })
    }
}

fn place(url: &str) -> Result<ValidatorPlace, &'static str> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err("is no plain HTTP URL; verdicts are signed, and their API speaks HTTP");
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err("has more than a host and a port");
    }
    // The colons inside the brackets of an IPv6 address are before the port's.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| "has no valid port")?),
        _ => (rest, 80),
    };
    if (host.contains(':') && !host.starts_with('[')) || port == 0 {
        return Err("has no valid port");
    }
    let host: Host = host.parse().map_err(|_| "has no host that is an IP address or a DNS name")?;
    Ok(ValidatorPlace { host, port, addresses: AddressPolicy::Any })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        let shown = |url| place(url).map(|place| place.to_string());
        assert_eq!(shown("http://validator.example:8080/"), Ok("http://validator.example:8080".to_owned()));
        assert_eq!(shown("http://192.0.2.7"), Ok("http://192.0.2.7:80".to_owned()));
        assert_eq!(shown("http://[2001:db8::1]:8080"), Ok("http://[2001:db8::1]:8080".to_owned()));
        for bad in [
            "https://validator.example",
            "validator.example:8080",
            "http://",
            "http://a b:1",
            "http://x:0",
            "http://x:65536",
            "http://x:8080/api",
            "http://u:p@x:8080",
            "http://2001:db8::1:8080",
        ] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
