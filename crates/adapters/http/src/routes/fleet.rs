//! The fleet as a whole, and who looks after it.

use axum::extract::State;
use axum::{Extension, Json};

use super::nodes::Nothing;
use super::{Answer, Pages, Query, Refusals};
use crate::access::Caller;
use crate::model::{Epochs, Fleet, Leadership, moment};

/// When all idle nodes are challenged at once, and how that went last.
#[utoipa::path(get, path = "/fleet", tag = "verification", responses(
    (status = 200, description = "Fleet epochs", body = Fleet), Refusals,
))]
pub(crate) async fn fleet(State(pages): State<Pages>, Query(Nothing {}): Query<Nothing>) -> Answer<Fleet> {
    let epochs = Epochs::from(&pages.queries.epochs());
    Ok(Json(Fleet { epochs, timestamp: moment(pages.queries.now()) }))
}

/// Which of several validators on one database works.
#[utoipa::path(get, path = "/leadership", tag = "health", responses(
    (status = 200, description = "Whether this one does", body = Leadership), Refusals,
))]
pub(crate) async fn leadership(
    State(pages): State<Pages>,
    Extension(caller): Extension<Caller>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Leadership> {
    let view = pages.queries.leadership();
    Ok(Json(Leadership::new(&view, caller.is_known(), pages.queries.now())))
}
