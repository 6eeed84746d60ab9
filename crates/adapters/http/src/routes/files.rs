//! Signed verdicts and transcripts as files, for `basilica verdict verify` and `basilica proof verify` on any machine.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use basilica_types::Digest;

use super::nodes::Nothing;
use super::{Pages, Path, Query, Refusals};
use crate::downloads::Transcript;
use crate::limit::Client;
use crate::problem::Refusal;

/// A file that never changes: its digest is its name.
pub(super) fn file(bytes: impl Into<Body>) -> Response {
    let headers =
        [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, bytes.into()).into_response()
}

fn not_kept(kind: &str) -> Refusal {
    Refusal::not_found(format!("no {kind} with this digest is kept; [retention] says for how long they are"))
}

/// A signed verdict as it was signed.
#[utoipa::path(get, path = "/verdicts/{digest}", tag = "files", params(
    ("digest" = String, Path, description = "Digest of the signed verdict", pattern = "^[0-9a-f]{64}$"),
), responses(
    (status = 200, description = "SCALE bytes; `basilica verdict verify FILE` reads them",
        body = Vec<u8>, content_type = "application/octet-stream"),
    Refusals,
))]
pub(crate) async fn verdict(
    State(pages): State<Pages>,
    Path(digest): Path<Digest>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, Refusal> {
    pages.queries.verdict(digest).await?.map(file).ok_or_else(|| not_kept("verdict"))
}

/// All bytes that were exchanged in a proof. Two are sent to one client at a time.
#[utoipa::path(get, path = "/transcripts/{digest}", tag = "files", params(
    ("digest" = String, Path, description = "Hash of the transcript", pattern = "^[0-9a-f]{64}$"),
), responses(
    (status = 200, description = "`basilica proof verify FILE` reads them",
        body = Vec<u8>, content_type = "application/octet-stream"),
    Refusals,
))]
pub(crate) async fn transcript(
    State(pages): State<Pages>,
    Extension(client): Extension<Client>,
    Path(digest): Path<Digest>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, Refusal> {
    let place = pages.downloads.admit(client)?;
    let opened = Transcript::open(Arc::clone(&pages.queries), digest, place).await?;
    opened.map(|transcript| file(Body::new(transcript))).ok_or_else(|| not_kept("transcript"))
}
