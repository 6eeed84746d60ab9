//! Opening a WebSocket to an endpoint.
//!
//! We dial ourselves because the client library resolves names on the calling thread and forgets the headers of a
//! refused handshake, and with them `Retry-After`. Redirections are refused: an endpoint that moved is for the operator
//! to enter, not to be followed silently.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use basilica_ports::BoxError;
use basilica_types::Millis;
use jsonrpsee_client_transport::ws::{Url, WsHandshakeError, WsTransportClientBuilder};
use jsonrpsee_core::client::{Client, ClientBuilder};
use rustls_platform_verifier::ConfigVerifierExt as _;
use subxt::rpcs::client::RpcClient;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig};

/// No head of an HTTP answer that we read is longer.
const HEAD_MAX: usize = 16 * 1024;
/// Answers of a metagraph of 256 neurons have about 100 kB, metadata about 300 kB, twice that in hexadecimal.
const ANSWER_MAX: u32 = 64 * 1024 * 1024;

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the endpoint's URL has no usable host")]
    Url,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// Too many requests, or a service that says when it will be back.
    #[error("the endpoint answers with HTTP status {status} (too many requests or overloaded)")]
    Throttled { status: u16, after: Option<Millis> },
    #[error("the endpoint answers with HTTP status {status}; it is not a chain's WebSocket")]
    Status { status: u16 },
    #[error("the endpoint redirects to another address; configure that address if you trust it")]
    Redirected,
    #[error("the WebSocket handshake failed")]
    Handshake(#[source] WsHandshakeError),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to a `ws://` or `wss://` URL.
pub(crate) async fn dial(url: &str) -> Result<RpcClient, DialError> {
    let url = Url::parse(url).map_err(|_| DialError::Url)?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let stream = Overheard { inner: connect(&url).await?, heard: Some(Arc::clone(&heard)) };
    let builder = WsTransportClientBuilder::default().max_response_size(ANSWER_MAX);
    let (sender, receiver) = builder.build_with_stream(url, stream).await.map_err(|error| {
        let head = heard.lock().unwrap_or_else(PoisonError::into_inner);
        refused(error, &head)
    })?;
    let client: Client = ClientBuilder::default().build_with_tokio(sender, receiver);
    Ok(RpcClient::new(client))
}

async fn connect(url: &Url) -> Result<Box<dyn Stream>, DialError> {
    let host = url.host_str().ok_or(DialError::Url)?.trim_start_matches('[').trim_end_matches(']');
    let secure = url.scheme() == "wss";
    let port = url.port().unwrap_or(if secure { 443 } else { 80 });
    let tcp = TcpStream::connect((host, port)).await?;
    // Small requests, each waited for.
    tcp.set_nodelay(true)?;
    if !secure {
        return Ok(Box::new(tcp));
    }
    // Another library of the process may have set a default already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError::Url)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(ClientConfig::with_platform_verifier()));
    Ok(Box::new(connector.connect(name, tcp).await?))
}

fn refused(error: WsHandshakeError, head: &[u8]) -> DialError {
    match error {
        WsHandshakeError::Rejected { status_code: status @ (429 | 503) } => {
            DialError::Throttled { status, after: retry_after(head) }
        }
        WsHandshakeError::Rejected { status_code: status } => DialError::Status { status },
        WsHandshakeError::Redirected { .. } => DialError::Redirected,
        other => DialError::Handshake(other),
    }
}

/// The seconds of a `Retry-After` header. Its other form, a date, is about the endpoint's clock and is not read.
fn retry_after(head: &[u8]) -> Option<Millis> {
    let end = head.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(head.len());
    let head = String::from_utf8_lossy(&head[..end]);
    let value = head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("retry-after").then(|| value.trim().to_owned())
    })?;
    value.parse::<u64>().ok().map(|seconds| Millis(seconds.saturating_mul(1_000)))
}

/// A stream of which the first bytes received are kept.
struct Overheard<S> {
    inner: S,
    heard: Option<Arc<Mutex<Vec<u8>>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let mut full = false;
        if let Some(heard) = &self.heard {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let new = &buffer.filled()[before..];
            let room = HEAD_MAX.saturating_sub(heard.len()).min(new.len());
            heard.extend_from_slice(&new[..room]);
            full = heard.len() >= HEAD_MAX;
        }
        if full {
            self.heard = None;
        }
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Whether an error that ended a dial, or an answer, asks us to stay away.
pub(crate) fn throttled(error: &BoxError) -> Option<Option<Millis>> {
    match error.downcast_ref::<DialError>()? {
        DialError::Throttled { after, .. } => Some(*after),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_that_an_endpoint_asks_for_is_read_from_the_refused_handshake() {
        let head = |lines: &str| {
            retry_after(format!("HTTP/1.1 429 Too Many Requests\r\n{lines}\r\n\r\nRetry-After: 9").as_bytes())
        };
        assert_eq!(head("Retry-After: 30"), Some(Millis(30_000)));
        assert_eq!(head("X: y\r\nretry-after:  7 "), Some(Millis(7_000)));
        assert_eq!(head("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(head("Retry-After: -1"), None);
        assert_eq!(head("X-Retry-After: 3"), None, "and nothing of the body");
        assert_eq!(head("Retry-After: 99999999999999999999"), None);
        assert_eq!(retry_after(b""), None);
    }

    #[test]
    fn refusals_are_told_apart_by_their_status() {
        let of = |status_code| {
            refused(WsHandshakeError::Rejected { status_code }, b"HTTP/1.1 x\r\nRetry-After: 2\r\n\r\n")
        };
        assert!(matches!(of(429), DialError::Throttled { status: 429, after: Some(Millis(2_000)) }));
        assert!(matches!(of(503), DialError::Throttled { status: 503, .. }));
        assert!(matches!(of(403), DialError::Status { status: 403 }));
    }
}
