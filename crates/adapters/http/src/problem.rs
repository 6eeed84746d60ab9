//! Every refusal and failure as `application/problem+json` (RFC 9457), with a stable `code`.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use basilica_ports::{FailureClass, StoreError};
use basilica_types::ErrorChain;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, from a fixed list. The words are stable; programs may go by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// A parameter is unknown, malformed or out of range: 400.
    InvalidRequest,
    /// The page needs an API key or a signed request, or the one sent does not hold: 401.
    Unauthorized,
    /// Truly signed, by a hotkey that this page is not for: 403.
    Forbidden,
    /// There is no such page, or nothing by that name: 404.
    NotFound,
    /// This API only answers GET and HEAD: 405.
    MethodNotAllowed,
    /// No request here has a body: 413.
    BodyNotAllowed,
    /// Too many requests; `Retry-After` says when to come again: 429.
    RateLimited,
    /// A defect of the validator; its log says more: 500.
    Internal,
    /// The database cannot be asked now: 503.
    DatabaseUnavailable,
    /// No answer in time: 504.
    Timeout,
}

impl ProblemCode {
    /// Status and title.
    const fn shown(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "The request is not valid"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "The request is not authenticated"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "The request is not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Nothing is here"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered"),
            Self::BodyNotAllowed => (StatusCode::PAYLOAD_TOO_LARGE, "No request here has a body"),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The validator failed"),
            Self::DatabaseUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "The validator's database cannot be asked")
            }
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "The answer took too long"),
        }
    }
}

/// The body of every answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the code tells the kind.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: String,
    /// In a few words, the same for each code.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// Stable.
    pub code: ProblemCode,
    /// What is wrong with this request, and what to do.
    pub detail: String,
}

/// A request that is not answered with what it asked for.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: ProblemCode,
    detail: String,
    /// Seconds.
    retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::InvalidRequest, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::NotFound, detail)
    }

    /// Too much is under way already.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(ProblemCode::RateLimited, detail) }
    }

    /// To come again after so many seconds, at least one.
    pub(crate) fn rate_limited(seconds: u64) -> Self {
        let seconds = seconds.max(1);
        let detail = format!("more requests than api.rate_limit allows; come again in {seconds} s");
        Self { code: ProblemCode::RateLimited, detail, retry_after: Some(seconds) }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::warn!(error = %ErrorChain(&error), "an API question cannot be answered");
        match error.class() {
            FailureClass::Transient => {
                let detail = "try again; the validator's log and /health say more";
                Self { retry_after: Some(1), ..Self::new(ProblemCode::DatabaseUnavailable, detail) }
            }
            _ => Self::new(ProblemCode::Internal, "the validator's log says more"),
        }
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title) = self.code.shown();
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail,
        };
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.code {
            ProblemCode::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            ProblemCode::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey, btauth"));
            }
            _ => {}
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// For paths that lead nowhere.
pub(crate) async fn nowhere(uri: Uri) -> Refusal {
    // The path is whatever the client sent: only what it could be is repeated.
    let known = uri.path().len() <= 128 && uri.path().bytes().all(|byte| byte.is_ascii_graphic());
    let path = if known { uri.path() } else { "this path" };
    Refusal::not_found(format!("there is no {path}; /swagger-ui lists every page"))
}

/// For methods that no page has.
pub(crate) async fn wrong_method(method: Method) -> Refusal {
    let method = if method.as_str().len() <= 16 { method.to_string() } else { "this method".to_owned() };
    Refusal::new(ProblemCode::MethodNotAllowed, format!("{method} changes nothing here; use GET"))
}
