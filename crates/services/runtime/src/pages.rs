//! Read-only pages that a service adds to its admin endpoint.

use async_trait::async_trait;
use serde_json::Value;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Page {
    /// This, as JSON.
    Found(Value),
    /// These bytes, as a file.
    File(Vec<u8>),
    /// Nothing: 404.
    NotFound,
    /// It could not be made; the service has logged why: 500.
    Failed,
}

/// Makes pages. Asked under the endpoint's time limit, for `GET` and `HEAD` of paths that are none of its own.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// The page at a path, which is whatever the client sent.
    async fn page(&self, path: &str) -> Page;
}
