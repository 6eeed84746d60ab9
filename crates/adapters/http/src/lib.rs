//! The validator's REST API.
//!
//! A thin face over [`ValidatorQueries`]: which page is where, how it is spelt, who may see it and how often. It only reads, so
//! every page answers GET and HEAD and nothing else. OpenAPI 3.1 is made from the same code at `/openapi.json` and can be tried
//! out at `/swagger-ui`. This crate is the only one that sees axum and utoipa.
//!
//! **Promised**: every refusal and failure is `application/problem+json` with a stable code; parameters that a page does not know are
//! refused rather than ignored; no answer waits longer than the configured time; what a page costs is bounded by its page size.
//! **Rejected**: a prefix such as `/api/v1` (the seeds' clients ask at the root), `page` numbers (a list that changes shows
//! items twice or never), and write methods: nothing here lets anybody change what a validator does.

mod access;
pub mod client;
mod downloads;
mod judgements;
mod limit;
mod model;
mod observe;
mod openapi;
mod paging;
mod problem;
mod routes;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use basilica_ports::ValidatorQueries;
use basilica_types::{Hotkey, Millis};
use hyper::body::{Body as _, Incoming};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

pub use access::{ApiKey, ApiKeyError, MIN_KEY};
pub use judgements::HttpValidatorApi;
pub use limit::RateLimit;
pub use model::*;
pub use openapi::document;
pub use problem::{Problem, ProblemCode};

use crate::access::{Access, Nonces, Peer};
use crate::limit::Limiter;
use crate::observe::HttpMetrics;
use crate::problem::{ProblemCode as Code, Refusal, nowhere, wrong_method};
use crate::routes::Pages;

/// How the API is set up.
#[derive(Clone)]
pub struct ApiOptions {
    /// Of the program.
    pub version: &'static str,
    /// The configuration as it takes effect, without secrets, for `/config`.
    pub config: serde_json::Value,
    /// Whoever shows it sees everything.
    pub api_key: Option<ApiKey>,
    /// Whoever signs with one of these sees everything; the validator's own is always one of them.
    pub hotkeys: BTreeSet<Hotkey>,
    /// Peers that say for whom they ask (`X-Forwarded-For`).
    pub proxies: BTreeSet<IpAddr>,
    /// Of each client; none for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Requests worked on at a time; more wait for their turn. Whether the validator lives and is well is told without waiting.
    pub at_once: usize,
    /// For one answer.
    pub deadline: Millis,
}

impl fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiOptions").field("version", &self.version).finish_non_exhaustive()
    }
}

/// The API, ready to answer.
#[derive(Clone, Debug)]
pub struct Api {
    router: Router,
    metrics: HttpMetrics,
}

impl Api {
    /// Puts the pages together.
    pub fn new(queries: Arc<dyn ValidatorQueries>, options: ApiOptions) -> Self {
        let access = Arc::new(Access {
            queries: Arc::clone(&queries),
            api_key: options.api_key,
            hotkeys: options.hotkeys,
            proxies: options.proxies,
            limiter: Limiter::new(options.rate_limit),
            nonces: Nonces::default(),
        });
        let pages = Pages {
            queries,
            version: options.version,
            config: Arc::new(options.config),
            downloads: Arc::default(),
        };
        let turns = Arc::new(Semaphore::new(options.at_once.max(1)));
        let deadline = options.deadline.as_duration();
        let metrics = HttpMetrics::new();
        let router = openapi::router(pages)
            .method_not_allowed_fallback(wrong_method)
            .fallback(nowhere)
            .layer(from_fn(bounded))
            .layer(from_fn(move |request: Request, next: Next| in_turn(Arc::clone(&turns), request, next)))
            .layer(from_fn_with_state(access, access::identify))
            .layer(from_fn(move |request: Request, next: Next| in_time(deadline, request, next)))
            .layer(from_fn_with_state(metrics.clone(), observe::observe));
        Self { router, metrics }
    }

    /// Adds `{prefix}_http_requests_total`, `{prefix}_http_request_duration_seconds` and `{prefix}_http_response_size_bytes` to
    /// the metrics of the process.
    pub fn observe(&self, registry: &mut Registry, prefix: &str) {
        self.metrics.register(registry, prefix);
    }

    /// What answers the requests of a connection from `peer`.
    pub fn for_peer(
        &self,
        peer: SocketAddr,
    ) -> impl hyper::service::Service<
        hyper::Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future: Send,
    > + Send
    + use<> {
        let router = self.router.clone();
        hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        })
    }
}

/// Requests have no body, and answers are not kept by those between unless a page says so.
async fn bounded(request: Request, next: Next) -> Response {
    if !request.body().is_end_stream() {
        return Refusal::new(Code::BodyNotAllowed, "send the request without a body").into_response();
    }
    let mut response = next.run(request).await;
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Waits for a turn, which a page keeps until it is put together. The outermost layer says how long.
async fn in_turn(turns: Arc<Semaphore>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/live" | "/ready" | "/health") {
        return next.run(request).await;
    }
    // Closed never; without a turn the answer would still be right.
    let _turn = turns.acquire_owned().await.ok();
    next.run(request).await
}

async fn in_time(deadline: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("no answer within {} s; the database is slow or gone", deadline.as_secs());
            Refusal::new(Code::Timeout, detail).into_response()
        }
    }
}
