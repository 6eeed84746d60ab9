//! Pages for those who say who they are.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::nodes::Nothing;
use super::{Answer, Pages, Query, Refusals};
use crate::model::{ActiveCheck, ActiveChecks};

/// Checks that are being made now. Who knows that a node is not looked at could use the time.
#[utoipa::path(get, path = "/verification/active", tag = "verification",
    security(("api_key" = []), ("btauth" = [])), responses(
    (status = 200, description = "By node", body = ActiveChecks), Refusals,
))]
pub(crate) async fn active(
    State(pages): State<Pages>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<ActiveChecks> {
    let checks: Vec<ActiveCheck> = pages.queries.checks_under_way().iter().map(ActiveCheck::from).collect();
    Ok(Json(ActiveChecks { total_count: checks.len(), checks }))
}

fn section(pages: &Pages, name: &str) -> Response {
    Json(pages.config.get(name)).into_response()
}

/// The configuration as it takes effect, without secrets.
#[utoipa::path(get, path = "/config", tag = "config", security(("api_key" = []), ("btauth" = [])), responses(
    (status = 200, description = "By section", body = Object), Refusals,
))]
pub(crate) async fn config(State(pages): State<Pages>, Query(Nothing {}): Query<Nothing>) -> Response {
    Json(pages.config.as_ref()).into_response()
}

/// `[verification]` as it takes effect.
#[utoipa::path(get, path = "/config/verification", tag = "config",
    security(("api_key" = []), ("btauth" = [])), responses(
    (status = 200, description = "The section", body = Object), Refusals,
))]
pub(crate) async fn verification(State(pages): State<Pages>, Query(Nothing {}): Query<Nothing>) -> Response {
    section(&pages, "verification")
}

/// `[emission]` as it takes effect.
#[utoipa::path(get, path = "/config/emission", tag = "config",
    security(("api_key" = []), ("btauth" = [])), responses(
    (status = 200, description = "The section", body = Object), Refusals,
))]
pub(crate) async fn emission(State(pages): State<Pages>, Query(Nothing {}): Query<Nothing>) -> Response {
    section(&pages, "emission")
}
