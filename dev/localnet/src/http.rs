//! One bounded HTTP GET to a service of the localnet.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// For the whole exchange.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer.
const MAX_BODY: usize = 8 << 20;

/// The JSON that the service at `address` answers for `path`, whatever the status.
///
/// # Errors
/// If there is no answer of at most 8 MiB within 5 s, or it is not JSON.
pub async fn get_json(address: SocketAddr, path: &str) -> anyhow::Result<serde_json::Value> {
    let (_, body) = get(address, path).await?;
    serde_json::from_slice(&body).with_context(|| format!("read the JSON of http://{address}{path}"))
}

/// The bytes at a path that answers 200.
///
/// # Errors
/// As [`get_json`], or with another status.
pub async fn get_file(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    match get(address, path).await? {
        (StatusCode::OK, body) => Ok(body.into()),
        (status, _) => bail!("http://{address}{path} answers {status}"),
    }
}

/// Whether `path` answers 200.
pub(crate) async fn is_ok(address: SocketAddr, path: &str) -> bool {
    matches!(get(address, path).await, Ok((StatusCode::OK, _)))
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let Ok(body) = Limited::new(response.into_body(), MAX_BODY).collect().await else {
                bail!("the answer broke off or is larger than {MAX_BODY} bytes");
            };
            Ok((status, body.to_bytes()))
        };
        // The connection must be driven while the answer is awaited; it ends with the answer.
        tokio::pin!(answer, connection);
        let mut open = true;
        loop {
            tokio::select! {
                done = &mut answer => return done,
                _ = &mut connection, if open => open = false,
            }
        }
    };
    tokio::time::timeout(LIMIT, exchange)
        .await
        .with_context(|| format!("http://{address}{path} did not answer in time"))?
        .with_context(|| format!("get http://{address}{path}"))
}
