//! The admin endpoint: health, readiness and metrics over plain HTTP.
//!
//! Serves `GET` and `HEAD` of `/health`, `/live`, `/ready` and `/metrics`, as far as its [`AdminRoutes`] go. The limits
//! are narrower than a face's, since a prober or two ask a few times a minute: at most [`MAX_CONNECTIONS`] at a time, at most
//! 8 KiB and 32 headers of head, no body, [`CONNECTION_LIMIT`] from accept to the last byte. It changes nothing in the
//! service, needs no login, and binds to loopback unless told otherwise. A service can add pages of its own to those of health
//! ([`AdminPages`]).

mod pages;

use std::convert::Infallible;
use std::future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use basilica_ports::Clock;
use basilica_types::Millis;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

pub use self::pages::{AdminPage, AdminPages};
use crate::{ErrorChain, HttpLimits, HttpListener, Metrics, Pace, Readiness, Stop};

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// From accepting a connection to its last byte.
const CONNECTION_LIMIT: Millis = Millis(5_000);
/// Largest request line and headers together, in bytes; hyper allows nothing smaller.
const MAX_HEAD: usize = 8192;
/// Most headers of a request.
const MAX_HEADERS: usize = 32;
const LIMITS: HttpLimits = HttpLimits {
    connections: MAX_CONNECTIONS,
    // Probers are on this host, or behind one address.
    per_peer: MAX_CONNECTIONS,
    head: CONNECTION_LIMIT,
    head_bytes: MAX_HEAD,
    headers: MAX_HEADERS,
    connection: CONNECTION_LIMIT,
    drain: Millis(0),
    pace: Pace { bytes: 1, within: CONNECTION_LIMIT },
};

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error(
        "{address} is already in use; stop the process that listens there (`ss -ltnp` names it) or configure another port"
    )]
    InUse {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Ports below 1024 need a privilege.
    #[error("not allowed to listen on {address}; choose a port from 1024 up or grant CAP_NET_BIND_SERVICE")]
    Denied {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// No interface of this host has the address.
    #[error("{address} is not an address of this host; configure one that is, or 0.0.0.0 for all")]
    NotLocal {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("listen on {address}")]
    Other {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    /// What the system's error means for this address.
    pub fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, source },
            io::ErrorKind::PermissionDenied => Self::Denied { address, source },
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { address, source },
            _ => Self::Other { address, source },
        }
    }
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRoutes {
    /// `/health`, `/live`, `/ready`.
    Health,
    /// `/metrics`, and `/live` so that its own liveness can be watched.
    Metrics,
    /// All of them.
    All,
}

impl AdminRoutes {
    const fn health(self) -> bool {
        matches!(self, Self::Health | Self::All)
    }

    const fn metrics(self) -> bool {
        matches!(self, Self::Metrics | Self::All)
    }
}

/// What the endpoint tells.
#[derive(Clone)]
pub struct AdminState {
    /// Behind `/ready` and `/health`.
    pub readiness: Readiness,
    /// Behind `/metrics`.
    pub metrics: Metrics,
    /// For timestamps and limits.
    pub clock: Arc<dyn Clock>,
    /// Of the program.
    pub version: &'static str,
    /// What this listener serves.
    pub routes: AdminRoutes,
    /// What the service adds where health is served.
    pub pages: AdminPages,
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").field("version", &self.version).field("routes", &self.routes).finish()
    }
}

/// A bound port that does not answer yet: ports are bound before work starts, so that a conflict ends the start.
#[derive(Debug)]
pub struct AdminListener(HttpListener);

impl AdminListener {
    /// Binds `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        HttpListener::bind(address).await.map(Self)
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Answers until the stop is requested; then finishes the requests under way.
    pub async fn serve(self, state: AdminState, stop: Stop) {
        let clock = Arc::clone(&state.clock);
        let for_peer = |_| {
            let state = state.clone();
            service_fn(move |request: Request<Incoming>| {
                future::ready(Ok::<_, Infallible>(respond(&state, &request)))
            })
        };
        self.0.serve(for_peer, LIMITS, clock, stop).await;
    }
}

fn respond(state: &AdminState, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if !request.body().is_end_stream() {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "no request here has a body\n");
    }
    match request.uri().path() {
        "/live" => text(StatusCode::OK, "alive\n"),
        "/ready" if state.routes.health() => ready(state),
        "/health" if state.routes.health() => health(state),
        "/metrics" if state.routes.metrics() => metrics(state),
        path if state.routes.health() => page(state, request, path),
        _ => not_found(),
    }
}

fn not_found() -> Response<Full<Bytes>> {
    text(StatusCode::NOT_FOUND, "not found\n")
}

/// What a browser may do with a page: show it, with styles from here.
const POLICIES: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];

/// A page of the service's own.
fn page(state: &AdminState, request: &Request<Incoming>, path: &str) -> Response<Full<Bytes>> {
    let Some(page) = state.pages.page(path) else { return not_found() };
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_own = hosts.all(|host| host.to_str().is_ok_and(pages::is_for_an_address));
    if !is_own {
        return text(
            StatusCode::FORBIDDEN,
            "this page is served to who asks for an IP address or localhost, not for another name\n",
        );
    }
    let mut response = respond_with(page.status, page.kind, page.body);
    for (name, policy) in POLICIES {
        response.headers_mut().insert(name, HeaderValue::from_static(policy));
    }
    response
}

/// 503 sends load balancers elsewhere; the body tells people why.
fn ready(state: &AdminState) -> Response<Full<Bytes>> {
    let reasons: String = state
        .readiness
        .report()
        .into_iter()
        .filter_map(|(name, holds)| holds.err().map(|reason| format!("{name}: {reason}\n")))
        .collect();
    if reasons.is_empty() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{reasons}"))
    }
}

fn health(state: &AdminState) -> Response<Full<Bytes>> {
    let report = state.readiness.report();
    let healthy = report.iter().all(|(_, holds)| holds.is_ok());
    let checks: serde_json::Map<_, _> = report
        .into_iter()
        .map(|(name, holds)| (name.to_owned(), holds.err().unwrap_or_else(|| "ok".to_owned()).into()))
        .collect();
    let body = json!({
        "status": if healthy { "healthy" } else { "unhealthy" },
        "checks": checks,
        "version": state.version,
        "timestamp": state.clock.now().rfc3339(),
    });
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond_with(status, "application/json", format!("{body}\n"))
}

fn metrics(state: &AdminState) -> Response<Full<Bytes>> {
    match state.metrics.render() {
        Ok(rendered) => respond_with(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            rendered,
        ),
        Err(error) => {
            tracing::error!(error = %ErrorChain(&error), "metrics cannot be rendered");
            text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be rendered\n")
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond_with(status, "text/plain; charset=utf-8", body)
}

fn respond_with(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
