//! Weights.

use axum::Json;
use axum::extract::State;

use super::nodes::{Nothing, Verdicts as Newest};
use super::{Answer, Pages, Query, Refusals};
use crate::model::{WeightWindowPage, WeightWindowRow, WeightsPage};

/// Windows looked through for the last failure.
const WINDOWS: u32 = 20;

/// The newest window of weights, and why the weights are where they are.
#[utoipa::path(get, path = "/weights", tag = "weights", responses(
    (status = 200, description = "The newest window and the outlook", body = WeightsPage), Refusals,
))]
pub(crate) async fn latest(
    State(pages): State<Pages>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<WeightsPage> {
    let windows = pages.queries.windows(WINDOWS).await?;
    let outlook = pages.queries.weights();
    Ok(Json(WeightsPage::new(&windows, outlook.as_ref(), pages.queries.now())))
}

/// The latest windows of weights, newest first.
#[utoipa::path(get, path = "/weights/windows", tag = "weights", params(Newest), responses(
    (status = 200, description = "Windows", body = WeightWindowPage), Refusals,
))]
pub(crate) async fn windows(
    State(pages): State<Pages>,
    Query(wanted): Query<Newest>,
) -> Answer<WeightWindowPage> {
    let windows = pages.queries.windows(wanted.limit()?).await?;
    Ok(Json(WeightWindowPage { windows: windows.iter().map(WeightWindowRow::from).collect() }))
}
