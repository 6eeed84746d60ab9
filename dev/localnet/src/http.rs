//! Bounded HTTP GETs to services of the localnet.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use basilica_http::client;

/// The JSON that the service at `address` answers for `path`, whatever the status.
///
/// # Errors
/// If there is no answer in time, or it is not JSON.
pub async fn get_json(address: SocketAddr, path: &str) -> anyhow::Result<serde_json::Value> {
    let (_, body) = client::get(address, path, None).await?;
    serde_json::from_slice(&body).with_context(|| format!("read the JSON of http://{address}{path}"))
}

/// The bytes at a path that answers 200.
///
/// # Errors
/// As [`get_json`], or with another status.
pub async fn get_file(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    match client::get(address, path, None).await? {
        (status, body) if status.is_success() => Ok(body.into()),
        (status, _) => bail!("http://{address}{path} answers {status}"),
    }
}

/// Whether `path` answers with success.
pub(crate) async fn is_ok(address: SocketAddr, path: &str) -> bool {
    client::get(address, path, None).await.is_ok_and(|(status, _)| status.is_success())
}
