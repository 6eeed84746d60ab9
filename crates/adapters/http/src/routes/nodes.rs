//! Nodes and their verdicts.

use axum::extract::State;
use axum::{Extension, Json};
use basilica_ports::{Listed, NodeFilter, NodeView, VerdictPlace, VerdictsOf};
use basilica_types::{Category, ErrorChain, NodeId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Pages, Path, Query, Refusals};
use crate::access::Caller;
use crate::model::{Node, NodePage, VerdictPage, VerdictRow, moment};
use crate::paging;
use crate::problem::{ProblemCode, Refusal};

/// Most verdicts of one answer.
const VERDICTS: u16 = 100;
/// Verdicts of one answer if nothing is said.
const FEW_VERDICTS: u16 = 20;

/// Which nodes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Those that are available, scored and not banned; or those that are not.
    available: Option<bool>,
    /// Those that are banned; or those that are not.
    banned: Option<bool>,
    /// Those with a GPU of this category that counts.
    #[param(value_type = Option<String>, example = "H100", pattern = "^(A100|H100|H200|B200|OTHER)$")]
    gpu_type: Option<Category>,
    /// Those with so many GPUs that count; of `gpu_type` and with `min_gpu_memory`, where these are given.
    #[param(maximum = 65_535)]
    min_gpu_count: Option<u16>,
    /// Those with a GPU that counts and showed so much memory when it was proved, in GB of 10^9 bytes.
    #[param(maximum = 65_535, example = 80)]
    min_gpu_memory: Option<u16>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{96}$")]
    cursor: Option<String>,
}

/// Every node, with the cause of its state and the time of its next check.
#[utoipa::path(get, path = "/nodes", tag = "nodes", params(Wanted), responses(
    (status = 200, description = "A page of them", body = NodePage), Refusals,
))]
pub(crate) async fn list(
    State(pages): State<Pages>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<Wanted>,
) -> Answer<NodePage> {
    let filter = NodeFilter {
        miner: None,
        node: None,
        available: wanted.available,
        banned: wanted.banned,
        category: wanted.gpu_type,
        min_gpus: wanted.min_gpu_count.map(u32::from),
        min_gpu_memory: wanted.min_gpu_memory.map(|gb| u64::from(gb).saturating_mul(1_000_000_000)),
    };
    find(&pages, caller, &filter, wanted.cursor.as_deref(), wanted.limit).await
}

/// A page of the nodes that a filter lets through.
pub(super) async fn find(
    pages: &Pages,
    caller: Caller,
    filter: &NodeFilter,
    cursor: Option<&str>,
    limit: Option<u16>,
) -> Answer<NodePage> {
    let (after, limit) = (paging::after(cursor)?, paging::limit(limit)?);
    let found = pages.queries.nodes(filter, after, limit.into()).await?;
    Ok(Json(page_of(&found, caller)))
}

fn page_of(found: &Listed<NodeView>, caller: Caller) -> NodePage {
    let last = found.items.last().filter(|_| found.more);
    NodePage {
        nodes: found.items.iter().map(|node| Node::new(node, caller.is_known())).collect(),
        total_count: found.total,
        next_cursor: last.map(|node| paging::cursor_after(&node.record.key)),
        timestamp: moment(found.as_of),
    }
}

/// One node. Two miners may name the same address, which then is two nodes with one id.
#[utoipa::path(get, path = "/nodes/{id}", tag = "nodes", params(
    ("id" = String, Path, description = "The node's id, a UUID", pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
), responses((status = 200, description = "All nodes with this id, usually one", body = NodePage), Refusals))]
pub(crate) async fn one(
    State(pages): State<Pages>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<NodeId>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<NodePage> {
    Ok(Json(page_of(&with_id(&pages, id).await?, caller)))
}

/// For pages without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

async fn with_id(pages: &Pages, id: NodeId) -> Result<Listed<NodeView>, Refusal> {
    let filter = NodeFilter { node: Some(id), ..NodeFilter::default() };
    let found = pages.queries.nodes(&filter, None, VERDICTS.into()).await?;
    if found.items.is_empty() {
        return Err(Refusal::not_found(format!("no node is known by the id {id}; /nodes lists them")));
    }
    Ok(found)
}

/// Which verdicts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictPaging {
    /// Verdicts of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{32}$")]
    cursor: Option<String>,
}

impl VerdictPaging {
    /// Where the page begins, and how many it has.
    pub(super) fn read(&self) -> Result<(Option<VerdictPlace>, u32), Refusal> {
        Ok((paging::after(self.cursor.as_deref())?, newest_limit(self.limit)?))
    }
}

/// How many of the newest an answer has.
pub(super) fn newest_limit(asked: Option<u16>) -> Result<u32, Refusal> {
    match asked.unwrap_or(FEW_VERDICTS) {
        limit @ 1..=VERDICTS => Ok(limit.into()),
        limit => Err(Refusal::invalid(format!("limit is {limit}; it must be 1 to {VERDICTS}"))),
    }
}

/// Why a node's score is what it is: its verdicts, newest first, each with its reason, whose fault it was, and its evidence.
#[utoipa::path(get, path = "/nodes/{id}/verdicts", tag = "nodes", params(
    ("id" = String, Path, description = "The node's id, a UUID", pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"), VerdictPaging,
), responses((status = 200, description = "A page of the verdicts of all nodes with this id, usually one", body = VerdictPage), Refusals))]
pub(crate) async fn verdicts(
    State(pages): State<Pages>,
    Path(id): Path<NodeId>,
    Query(wanted): Query<VerdictPaging>,
) -> Answer<VerdictPage> {
    let (after, limit) = wanted.read()?;
    with_id(&pages, id).await?;
    verdict_page(&pages, VerdictsOf::Node(id), after, limit).await
}

pub(super) async fn verdict_page(
    pages: &Pages,
    of: VerdictsOf,
    after: Option<VerdictPlace>,
    limit: u32,
) -> Answer<VerdictPage> {
    // One more than is shown tells whether there are more.
    let mut kept = pages.queries.verdict_page(of, after, limit.saturating_add(1)).await?;
    let more = kept.len() as u64 > u64::from(limit);
    kept.truncate(limit as usize);
    let next_cursor = kept.last().filter(|_| more).map(|last| paging::cursor_after(&last.place));
    let verdicts = kept.iter().map(|kept| shown(&kept.bytes)).collect::<Result<_, Refusal>>()?;
    Ok(Json(VerdictPage { verdicts, next_cursor }))
}

fn shown(bytes: &[u8]) -> Result<VerdictRow, Refusal> {
    VerdictRow::read(bytes).map_err(|error| {
        tracing::error!(error = %ErrorChain(&error), "a kept verdict cannot be shown");
        Refusal::new(ProblemCode::Internal, "a kept verdict cannot be read; the log says more")
    })
}
