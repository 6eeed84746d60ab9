//! Pages that a service adds to its admin endpoint.
//!
//! They are made at once from what is in memory: a page that waited for a database or a peer would be gone just when it is needed,
//! and would hold one of the endpoint's few connections. The endpoint's limits hold for them, and they change nothing.
//!
//! A page may tell what only the operator should know, and a browser on the operator's machine visits strangers' sites too. A site
//! whose name its owner lets point to 127.0.0.1 (DNS rebinding) could read whatever is served there; so pages are served only
//! to who asks for an IP address or `localhost`. A reverse proxy sends that by itself, or is told to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Bytes;

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPage {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
}

impl AdminPage {
    /// HTML that loads nothing but styles of this endpoint, runs no script, and is shown in no other page.
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self::ok("text/html; charset=utf-8", body)
    }

    /// Styles for such a page.
    pub fn css(body: impl Into<Bytes>) -> Self {
        Self::ok("text/css; charset=utf-8", body)
    }

    /// For programs.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::ok("application/json", body)
    }

    /// There is nothing to tell yet (503).
    pub fn not_yet(why: &'static str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { status, kind: "text/plain; charset=utf-8", body: Bytes::from_static(why.as_bytes()) }
    }

    fn ok(kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, kind, body: body.into() }
    }
}

/// The page at a path such as `/status.json`, or none.
type Make = dyn Fn(&str) -> Option<AdminPage> + Send + Sync;

/// What a service adds; nothing by default.
#[derive(Clone, Default)]
pub struct AdminPages(Option<Arc<Make>>);

impl AdminPages {
    /// Pages by their paths. The endpoint's own paths stay its own.
    pub fn new(page: impl Fn(&str) -> Option<AdminPage> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(page)))
    }

    pub(super) fn page(&self, path: &str) -> Option<AdminPage> {
        self.0.as_ref().and_then(|page| page(path))
    }
}

impl std::fmt::Debug for AdminPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "AdminPages(some)" } else { "AdminPages(none)" })
    }
}

/// Whether a request's `Host` can only be meant for this machine or an address of it.
pub(super) fn is_for_an_address(host: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_localhost = |name: &str| name.eq_ignore_ascii_case("localhost");
    let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    is_localhost(name) || host.parse::<SocketAddr>().is_ok() || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_asked_for() {
        for own in
            ["127.0.0.1", "127.0.0.1:8091", "[::1]", "[::1]:8091", "localhost", "LOCALHOST:1", "10.0.0.7"]
        {
            assert!(is_for_an_address(own), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:8091",
            "localhost.evil.example",
            "localhost:x",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_for_an_address(other), "{other}");
        }
    }
}
