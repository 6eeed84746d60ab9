//! How often pages are asked for, what became of it, how long that took and how much it was.
//!
//! By the page's path as OpenAPI spells it (`/nodes/{id}`), so that a client cannot make series: what no page has is one path,
//! [`NOWHERE`], and a method that no page has is one method.

use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

/// The path of what is on no page.
const NOWHERE: &str = "none";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Page {
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    path: String,
    status: u16,
}

/// Of the API.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<Answered, Counter>,
    durations: Family<Page, Histogram>,
    sizes: Family<Page, Histogram>,
}

impl HttpMetrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            // 1 ms to 16 s.
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15))),
            // 256 B to 16 MiB.
            sizes: Family::new_with_constructor(|| Histogram::new(exponential_buckets(256.0, 4.0, 9))),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry, prefix: &str) {
        let r = registry.sub_registry_with_prefix(prefix);
        r.register("http_requests", "answers of the API", self.requests.clone());
        let help = "from a request's head to the head of its answer";
        r.register_with_unit("http_request_duration", help, Unit::Seconds, self.durations.clone());
        let help = "of answers whose length is known beforehand";
        r.register_with_unit("http_response_size", help, Unit::Bytes, self.sizes.clone());
    }
}

/// Counts a request and its answer.
pub(crate) async fn observe(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get()
        .map_or_else(|| NOWHERE.to_owned(), |path: &MatchedPath| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    let began = Instant::now();
    let response = next.run(request).await;
    let page = Page { path: path.clone() };
    metrics.durations.get_or_create(&page).observe(began.elapsed().as_secs_f64());
    if let Some(bytes) = response.body().size_hint().exact() {
        // Exact up to 2^52 bytes.
        #[expect(clippy::cast_precision_loss, reason = "answers are far below 2^52 bytes")]
        metrics.sizes.get_or_create(&page).observe(bytes as f64);
    }
    let answered = Answered { method, path, status: response.status().as_u16() };
    metrics.requests.get_or_create(&answered).inc();
    response
}
