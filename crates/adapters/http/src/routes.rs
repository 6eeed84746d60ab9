//! The pages.

pub(crate) mod files;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod miners;
pub(crate) mod nodes;
pub(crate) mod operator;
pub(crate) mod verdict_log;
pub(crate) mod weights;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use basilica_ports::ValidatorQueries;
use serde::de::DeserializeOwned;

use crate::downloads::Downloads;
use crate::problem::{Problem, Refusal};

/// What every page works with.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) queries: Arc<dyn ValidatorQueries>,
    pub(crate) version: &'static str,
    pub(crate) config: Arc<serde_json::Value>,
    pub(crate) downloads: Arc<Downloads>,
}

/// A page as JSON.
pub(crate) type Answer<T> = Result<axum::Json<T>, Refusal>;

/// What may come instead of what was asked for, for the documentation.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) enum Refusals {
    /// A parameter is unknown, malformed or out of range
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// Credentials that do not hold, or none where they are needed
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// Signed by a hotkey that is not allowed
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// Nothing by that name
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Only GET and HEAD are answered
    #[response(status = 405, content_type = "application/problem+json")]
    Method(Problem),
    /// No request here has a body
    #[response(status = 413, content_type = "application/problem+json")]
    Body(Problem),
    /// Too many requests; `Retry-After` says when to come again
    #[response(status = 429, content_type = "application/problem+json")]
    RateLimited(Problem),
    /// The validator failed
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The database cannot be asked now
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// No answer in time
    #[response(status = 504, content_type = "application/problem+json")]
    Timeout(Problem),
}

/// The query's parameters; unknown ones and those that stand twice are refused.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let axum::extract::Query(read) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(read))
    }
}

/// The parameters in the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let axum::extract::Path(read) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(read))
    }
}
