//! The log of verdicts: one signed record for each day, and what shows that a verdict is in it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use basilica_types::{Digest, ErrorChain};
use basilica_verification::verdict_log::{Day, SignedDay};

use super::files::file;
use super::nodes::Nothing;
use super::{Answer, Pages, Path, Query, Refusals};
use crate::model::{DayPage, DayRow};
use crate::paging::{self, DayPaging};
use crate::problem::{ProblemCode, Refusal};

/// The days of the log, newest first.
#[utoipa::path(get, path = "/verdict-days", tag = "files", params(DayPaging), responses(
    (status = 200, description = "What each record says", body = DayPage), Refusals,
))]
pub(crate) async fn days(
    State(pages): State<Pages>,
    Query(DayPaging { limit, cursor }): Query<DayPaging>,
) -> Answer<DayPage> {
    let limit = paging::limit(limit)?;
    let before: Option<Day> = paging::after(cursor.as_deref())?;
    // One more than asked for tells whether there are any.
    let mut kept = pages.queries.log_days(before, u32::from(limit) + 1).await?;
    let more = kept.len() > usize::from(limit);
    kept.truncate(usize::from(limit));
    let days: Vec<SignedDay> = kept
        .iter()
        .map(|bytes| {
            SignedDay::decode_unverified(bytes).map_err(|error| {
                tracing::error!(error = %ErrorChain(&error), "a kept record of a day cannot be shown");
                Refusal::new(ProblemCode::Internal, "a kept record cannot be read; the log says more")
            })
        })
        .collect::<Result<_, _>>()?;
    let next_cursor = days.last().filter(|_| more).map(|day| paging::cursor_after(&day.content().day()));
    Ok(Json(DayPage { days: days.iter().map(DayRow::from).collect(), next_cursor }))
}

/// The signed record of a day.
#[utoipa::path(get, path = "/verdict-days/{day}", tag = "files", params(
    ("day" = String, Path, description = "The day that it ended, in UTC", format = Date),
), responses(
    (status = 200, description = "SCALE bytes under `basilica/verdict-day/v1`",
        body = Vec<u8>, content_type = "application/octet-stream"),
    Refusals,
))]
pub(crate) async fn day(
    State(pages): State<Pages>,
    Path(day): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, Refusal> {
    let none =
        || Refusal::not_found("there is no record of this day; /verdict-days lists those that there are");
    let day = day.parse().map_err(|_| none())?;
    pages.queries.log_day(day).await?.map(file).ok_or_else(none)
}

/// What shows that a verdict is in its day's record.
#[utoipa::path(get, path = "/verdicts/{digest}/inclusion", tag = "files", params(
    ("digest" = String, Path, description = "Digest of the signed verdict", pattern = "^[0-9a-f]{64}$"),
), responses(
    (status = 200, description = "SCALE bytes; `basilica verdict verify VERDICT --inclusion FILE` reads them",
        body = Vec<u8>, content_type = "application/octet-stream"),
    Refusals,
))]
pub(crate) async fn inclusion(
    State(pages): State<Pages>,
    Path(digest): Path<Digest>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, Refusal> {
    pages.queries.inclusion(digest).await?.map(file).ok_or_else(|| {
        Refusal::not_found(
            "no ended day's record has a verdict with this digest, or its neighbours in the record are no longer kept; a day ends at midnight UTC, and [retention] says for how long verdicts are kept",
        )
    })
}
