//! Miners, and their GPUs.

use axum::extract::State;
use axum::{Extension, Json};
use basilica_ports::{MinerFilter, MinerName, MinerState, MinerView, NodeFilter, VerdictsOf};
use basilica_types::{BasisPoints, Category, Hotkey, Uid};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::nodes::{self, Nothing, VerdictPaging};
use super::{Answer, Pages, Path, Query, Refusals};
use crate::access::Caller;
use crate::model::{
    GpuCard, GpuCategories, GpuCategory, Miner, MinerHealth, MinerPage, NodePage, VerdictPage, moment,
};
use crate::paging::{self, MinerPaging, NodePaging};
use crate::problem::Refusal;

/// A miner by its hotkey, its uid, or as the seeds wrote it, `miner_` and its uid. Nobody has another name.
fn name(text: &str) -> Option<MinerName> {
    let number = text.strip_prefix("miner_").unwrap_or(text);
    let uid = number.parse().ok().map(|uid| MinerName::Uid(Uid(uid)));
    uid.or_else(|| text.parse().ok().map(MinerName::Hotkey))
}

fn state_by_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MinerState>, D::Error> {
    let word = String::deserialize(deserializer)?;
    let found = MinerState::ALL.into_iter().find(|state| state.as_str() == word);
    found.map(Some).ok_or_else(|| {
        serde::de::Error::custom("status is one of active, suspended, inactive, offline and gone")
    })
}

/// Which miners.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Those in this state.
    #[param(value_type = Option<String>, pattern = "^(active|suspended|inactive|offline|gone)$")]
    #[serde(default, deserialize_with = "state_by_word")]
    status: Option<MinerState>,
    /// Those with so many GPUs that count.
    #[param(maximum = 65_535)]
    min_gpu_count: Option<u16>,
    /// Those with this mean score, in basis points.
    #[param(maximum = 10_000)]
    min_score: Option<u16>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{64}$")]
    cursor: Option<String>,
}

/// Every miner that was ever seen in the metagraph with an axon.
#[utoipa::path(get, path = "/miners", tag = "miners", params(Wanted), responses(
    (status = 200, description = "A page of them", body = MinerPage), Refusals,
))]
pub(crate) async fn list(State(pages): State<Pages>, Query(wanted): Query<Wanted>) -> Answer<MinerPage> {
    let min_score = wanted.min_score.map(BasisPoints::new).transpose();
    let min_score = min_score.map_err(|_| Refusal::invalid("min_score is in basis points, at most 10000"))?;
    let filter = MinerFilter {
        state: wanted.status,
        min_gpus: wanted.min_gpu_count.map(u32::from),
        min_score,
        category: None,
    };
    find(&pages, filter, wanted.cursor.as_deref(), wanted.limit).await
}

async fn find(
    pages: &Pages,
    filter: MinerFilter,
    cursor: Option<&str>,
    limit: Option<u16>,
) -> Answer<MinerPage> {
    let (after, limit) = (paging::after::<Hotkey>(cursor)?, paging::limit(limit)?);
    let found = pages.queries.miners(filter, after, limit.into()).await?;
    let last = found.items.last().filter(|_| found.more);
    Ok(Json(MinerPage {
        miners: found.items.iter().map(Miner::from).collect(),
        total_count: found.total,
        next_cursor: last.map(|miner| paging::cursor_after(&miner.record.hotkey)),
        timestamp: moment(found.as_of),
    }))
}

async fn named(pages: &Pages, id: &str) -> Result<MinerView, Refusal> {
    let found = match name(id) {
        Some(name) => pages.queries.miner(name).await?,
        None => None,
    };
    found.ok_or_else(|| Refusal::not_found("no miner is known by that name; /miners lists them"))
}

/// One miner.
#[utoipa::path(get, path = "/miners/{id}", tag = "miners", params(
    ("id" = String, Path, description = "Its hotkey, or its uid"),
), responses((status = 200, description = "The miner", body = Miner), Refusals))]
pub(crate) async fn one(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Miner> {
    Ok(Json(Miner::from(&named(&pages, &id).await?)))
}

/// Why a miner is in its state.
#[utoipa::path(get, path = "/miners/{id}/health", tag = "miners", params(
    ("id" = String, Path, description = "Its hotkey, or its uid"),
), responses((status = 200, description = "Its state and the cause of it", body = MinerHealth), Refusals))]
pub(crate) async fn health(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<MinerHealth> {
    let view = named(&pages, &id).await?;
    Ok(Json(MinerHealth {
        hotkey: view.record.hotkey.to_string(),
        status: view.state.as_str().to_owned(),
        explanation: explained(view.state).to_owned(),
        nodes: view.nodes,
        available_nodes: view.available,
        last_discovery: view.record.discovered.map(moment),
        error: view.record.failure,
    }))
}

const fn explained(state: MinerState) -> &'static str {
    match state {
        MinerState::Gone => {
            "the metagraph does not show it with an axon: it is not registered, or announced none"
        }
        MinerState::Offline => {
            "it gave no verified list of its nodes for ten minutes; `error` says why, if it was asked"
        }
        MinerState::Inactive => "none of its nodes is available, scored and not banned; its nodes say why",
        MinerState::Suspended => "its nodes score less than half on the mean; their verdicts say why",
        MinerState::Active => "it has nodes that are available and scored",
    }
}

/// The nodes of one miner.
#[utoipa::path(get, path = "/miners/{id}/nodes", tag = "miners", params(
    ("id" = String, Path, description = "Its hotkey, or its uid"), NodePaging,
), responses((status = 200, description = "A page of them", body = NodePage), Refusals))]
pub(crate) async fn nodes_of(
    State(pages): State<Pages>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(paging): Query<NodePaging>,
) -> Answer<NodePage> {
    let miner = named(&pages, &id).await?.record.hotkey;
    let filter = NodeFilter { miner: Some(miner), ..NodeFilter::default() };
    nodes::find(&pages, caller, &filter, paging.cursor.as_deref(), paging.limit).await
}

/// What checking a miner's nodes came to: the verdicts of all of them, newest first; `/nodes/{id}/verdicts` has those of one.
#[utoipa::path(get, path = "/verification/results/{miner_id}", tag = "verification", params(
    ("miner_id" = String, Path, description = "The miner's hotkey, or its uid"), VerdictPaging,
), responses((status = 200, description = "A page of the verdicts of all its nodes", body = VerdictPage), Refusals))]
pub(crate) async fn results(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    Query(wanted): Query<VerdictPaging>,
) -> Answer<VerdictPage> {
    let (after, limit) = wanted.read()?;
    let miner = named(&pages, &id).await?.record.hotkey;
    nodes::verdict_page(&pages, VerdictsOf::Miner(miner), after, limit).await
}

/// Miners with GPUs that count, and how many of each category.
#[utoipa::path(get, path = "/gpu-profiles", tag = "gpus", params(MinerPaging), responses(
    (status = 200, description = "A page of them", body = MinerPage), Refusals,
))]
pub(crate) async fn profiles(
    State(pages): State<Pages>,
    Query(paging): Query<MinerPaging>,
) -> Answer<MinerPage> {
    let filter = MinerFilter { min_gpus: Some(1), ..MinerFilter::default() };
    find(&pages, filter, paging.cursor.as_deref(), paging.limit).await
}

/// Miners with GPUs of one category that count.
#[utoipa::path(get, path = "/gpu-profiles/{category}", tag = "gpus", params(
    ("category" = String, Path, description = "A100, H100, H200, B200 or OTHER", pattern = "^(A100|H100|H200|B200|OTHER)$"),
    MinerPaging,
), responses((status = 200, description = "A page of them", body = MinerPage), Refusals))]
pub(crate) async fn profiles_of(
    State(pages): State<Pages>,
    Path(category): Path<Category>,
    Query(paging): Query<MinerPaging>,
) -> Answer<MinerPage> {
    let filter = MinerFilter { category: Some(category), ..MinerFilter::default() };
    find(&pages, filter, paging.cursor.as_deref(), paging.limit).await
}

/// The categories that compete for the emission, their shares, how they are filled, and which card belongs where.
#[utoipa::path(get, path = "/gpu-categories", tag = "gpus", responses(
    (status = 200, description = "Every category", body = GpuCategories), Refusals,
))]
pub(crate) async fn categories(
    State(pages): State<Pages>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<GpuCategories> {
    let categories = pages.queries.categories().await?;
    Ok(Json(GpuCategories {
        categories: categories.iter().map(GpuCategory::from).collect(),
        cards: pages.queries.cards().rows().map(GpuCard::from).collect(),
    }))
}
