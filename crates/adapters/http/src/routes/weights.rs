//! Weights.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::nodes::{Nothing, newest_limit};
use super::{Answer, Pages, Path, Query, Refusals};
use crate::model::{EmissionPage, EmissionRow, WeightWindowPage, WeightWindowRow, WeightsPage};
use crate::paging;
use crate::problem::Refusal;

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

/// How many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Newest {
    /// The newest.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u16>,
}

/// The latest windows of weights, newest first.
#[utoipa::path(get, path = "/weights/windows", tag = "weights", params(Newest), responses(
    (status = 200, description = "Windows", body = WeightWindowPage), Refusals,
))]
pub(crate) async fn windows(
    State(pages): State<Pages>,
    Query(wanted): Query<Newest>,
) -> Answer<WeightWindowPage> {
    let windows = pages.queries.windows(newest_limit(wanted.limit)?).await?;
    Ok(Json(WeightWindowPage { windows: windows.iter().map(WeightWindowRow::from).collect() }))
}

/// Which parts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    /// So many are passed over.
    #[param(maximum = 65_535, default = 0)]
    skip: Option<u16>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u16>,
}

/// Who got what of a window's weights, and why: the points of each miner in each category, and what they came to.
#[utoipa::path(get, path = "/weights/windows/{id}/emission", tag = "weights", params(
    ("id" = u32, Path, description = "The window"), Parts,
), responses((status = 200, description = "A page of the parts", body = EmissionPage), Refusals))]
pub(crate) async fn emission(
    State(pages): State<Pages>,
    Path(id): Path<u32>,
    Query(wanted): Query<Parts>,
) -> Answer<EmissionPage> {
    let (skip, limit) = (wanted.skip.unwrap_or(0), paging::limit(wanted.limit)?);
    let parts = pages.queries.emission(id.into(), skip.into(), limit.into()).await?;
    if parts.is_empty() {
        let detail =
            "nothing is kept of this window from there on, or its weights are hidden until the reveal";
        return Err(Refusal::not_found(detail));
    }
    Ok(Json(EmissionPage { parts: parts.iter().map(EmissionRow::from).collect() }))
}
