//! Whether the validator can do its work.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use super::{Pages, Refusals};
use crate::access::Caller;
use crate::model::{Health, told};

/// Every condition of the validator's work, by name.
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, description = "Every condition holds", body = Health),
    (status = 503, description = "A condition does not hold; `checks` says why", body = Health),
))]
pub(crate) async fn health(State(pages): State<Pages>, Extension(caller): Extension<Caller>) -> Response {
    let report = pages.queries.health();
    let status = if report.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let shown = Health::new(&report, &pages.queries.leadership(), pages.version, caller);
    (status, Json(shown)).into_response()
}

/// Whether the process runs.
#[utoipa::path(get, path = "/live", tag = "health", responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    Refusals,
))]
pub(crate) async fn live() -> &'static str {
    "alive\n"
}

/// Whether traffic should come here; each condition that does not hold has a line.
#[utoipa::path(get, path = "/ready", tag = "health", responses(
    (status = 200, description = "Ready", body = String, content_type = "text/plain"),
    (status = 503, description = "Not ready", body = String, content_type = "text/plain"),
))]
pub(crate) async fn ready(
    State(pages): State<Pages>,
    Extension(caller): Extension<Caller>,
) -> (StatusCode, String) {
    let report = pages.queries.health();
    if report.is_healthy() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let failing = report.checks.into_iter().filter_map(|(name, holds)| Some((name, holds.err()?)));
    let lines: String =
        failing.map(|(name, reason)| format!("{name}: {}\n", told(name, &reason, caller))).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{lines}"))
}
