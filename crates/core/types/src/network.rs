//! Which chain is meant, and where it is asked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Host;
use crate::text::serde_as_text;

/// A chain that runs our subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The main network; our subnet is 39.
    Finney,
    /// The test network; our subnet is 387.
    Test,
    /// A development chain, usually on this machine.
    Local,
}

impl Network {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finney => "finney",
            Self::Test => "test",
            Self::Local => "local",
        }
    }

    /// Where this chain is asked when nothing else is said.
    pub fn endpoint(self) -> ChainUrl {
        let url = match self {
            Self::Finney => "wss://entrypoint-finney.opentensor.ai:443",
            Self::Test => "wss://test.finney.opentensor.ai:443",
            Self::Local => "ws://127.0.0.1:9944",
        };
        url.parse().expect("these are URLs")
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no chain's URL. Never quotes it: its user, path or query may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainUrlError {
    /// Only WebSocket carries what we need.
    #[error("is not a WebSocket URL; write it like wss://host:443 or ws://127.0.0.1:9944")]
    Scheme,
    /// Spaces, control characters or letters that a URL writes in another way.
    #[error("holds a character that no URL has; letters beyond ASCII and spaces are written %XX")]
    Character,
    /// No host, or none that can be.
    #[error("has no host: neither an IP address nor a DNS name stands after the scheme")]
    Host,
    /// 1..=65,535.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
}

/// URL of a chain's WebSocket, `ws://` or `wss://`.
///
/// `Display` is the whole of it and may hold an access key; `Debug` leaves all but scheme and host out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChainUrl(String);

impl ChainUrl {
    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same without what could be a secret.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        Self(self.shown())
    }

    /// Scheme and host, without what could be a secret: user, path and query.
    pub fn shown(&self) -> String {
        let (scheme, place) = self.0.split_once("://").map_or(("", &*self.0), |(s, rest)| (s, place(rest)));
        format!("{scheme}://{place}")
    }
}

/// Host and port of what follows the scheme.
fn place(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, place)| place)
}

impl FromStr for ChainUrl {
    type Err = ChainUrlError;

    fn from_str(text: &str) -> Result<Self, ChainUrlError> {
        let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://"));
        let rest = rest.ok_or(ChainUrlError::Scheme)?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ChainUrlError::Character);
        }
        let place = place(rest);
        // The colons inside the brackets of an IPv6 address are before the port's.
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (place, None),
        };
        let bare_v6 = host.contains(':') && !host.starts_with('[');
        if bare_v6 || host.parse::<Host>().is_err() {
            return Err(ChainUrlError::Host);
        }
        match port.map(str::parse::<u16>) {
            Some(Err(_) | Ok(0)) => Err(ChainUrlError::Port),
            None | Some(Ok(_)) => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for ChainUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChainUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

serde_as_text!(ChainUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_as_they_are_shown() {
        for network in [Network::Finney, Network::Test, Network::Local] {
            let read = Network::deserialize(
                serde::de::value::StrDeserializer::<serde::de::value::Error>::new(network.as_str()),
            );
            assert_eq!(read, Ok(network));
            assert!(network.endpoint().as_str().starts_with("ws"));
        }
    }

    #[test]
    fn urls_of_chains_are_read() {
        for url in [
            "wss://entrypoint-finney.opentensor.ai:443",
            "ws://127.0.0.1:9944",
            "ws://[::1]:9944",
            "ws://[::1]",
            "ws://localhost",
            "wss://user:secret@node.example/path/key?token=x#y",
            "wss://node.example?token=a:b",
        ] {
            assert_eq!(url.parse::<ChainUrl>().map(|url| url.to_string()), Ok(url.to_owned()));
        }
    }

    #[test]
    fn what_no_chain_has_is_refused() {
        for (url, error) in [
            ("", ChainUrlError::Scheme),
            ("finney", ChainUrlError::Scheme),
            ("http://x y", ChainUrlError::Scheme),
            ("https://node.example", ChainUrlError::Scheme),
            ("ws://x y", ChainUrlError::Character),
            ("wss://nöde.example", ChainUrlError::Character),
            ("ws://", ChainUrlError::Host),
            ("ws://:9944", ChainUrlError::Host),
            ("wss:///path", ChainUrlError::Host),
            ("ws://::1:9944", ChainUrlError::Host),
            ("ws://a..b:1", ChainUrlError::Host),
            ("ws://node.example:", ChainUrlError::Port),
            ("ws://node.example:0", ChainUrlError::Port),
            ("ws://node.example:65536", ChainUrlError::Port),
            ("ws://node.example:http", ChainUrlError::Port),
        ] {
            assert_eq!(url.parse::<ChainUrl>().map(|_| ()), Err(error), "{url}");
        }
    }

    #[test]
    fn debug_output_keeps_secrets() {
        for (url, expected) in [
            ("ws://127.0.0.1:9944", "ws://127.0.0.1:9944"),
            ("wss://user:key@host:443/path", "wss://host:443"),
            ("wss://host/v1/KEY?apikey=KEY", "wss://host"),
            ("wss://[::1]:9944?key@KEY", "wss://[::1]:9944"),
        ] {
            let url: ChainUrl = url.parse().unwrap();
            assert_eq!((url.shown(), format!("{url:?}")), (expected.to_owned(), expected.to_owned()));
        }
    }
}
