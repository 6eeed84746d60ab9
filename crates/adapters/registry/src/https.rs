//! One request on one connection.

use std::pin::pin;
use std::sync::Arc;

use basilica_ports::{BoxError, RegistryError};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderValue, USER_AGENT, WWW_AUTHENTICATE};
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

const PORT: u16 = 443;
/// Bytes of an answer's head, and lines of it.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Bytes of a body: tokens have a few KiB.
const BODY_MAX: usize = 64 * 1024;
const AGENT: HeaderValue = HeaderValue::from_static("basilica-validator");

#[derive(Clone, Debug)]
pub(crate) struct Https {
    config: Arc<ClientConfig>,
}

/// What is asked.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    /// The value of `Authorization`.
    pub(crate) token: Option<HeaderValue>,
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// What else is wanted of who asks.
    pub(crate) challenge: Option<HeaderValue>,
    /// Of a status other than 200, and of the answer to a `HEAD`, empty.
    pub(crate) body: Bytes,
}

impl Https {
    pub(crate) const fn new(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }

    /// Sends it to this host, which may have a port.
    pub(crate) async fn send(&self, host: &str, request: Request) -> Result<Answer, RegistryError> {
        let malformed = |what| RegistryError::Malformed { host: host.to_owned(), what };
        let authority: Authority = host.parse().map_err(|_| malformed("no name of a host"))?;
        let method = request.method.clone();
        let request = request.to(&authority).map_err(|_| malformed("a path that cannot be asked for"))?;
        let stream = self
            .connect(&authority)
            .await
            .map_err(|source| RegistryError::Connect { host: host.to_owned(), source })?;
        exchange(stream, request, method == Method::HEAD)
            .await
            .map_err(|source| RegistryError::Broken { host: host.to_owned(), source })
    }

    async fn connect(&self, authority: &Authority) -> Result<TlsStream<TcpStream>, BoxError> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())?;
        let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(PORT))).await?;
        Ok(TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp).await?)
    }
}

impl Request {
    fn to(self, authority: &Authority) -> Result<hyper::Request<Empty<Bytes>>, hyper::http::Error> {
        let request = hyper::Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(HOST, authority.as_str())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, self.accept)
            .header(CONNECTION, "close");
        let request =
            self.token.into_iter().fold(request, |request, token| request.header(AUTHORIZATION, token));
        request.body(Empty::new())
    }
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    request: hyper::Request<Empty<Bytes>>,
    is_head: bool,
) -> Result<Answer, BoxError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut answer = pin!(async move { read(sender.send_request(request).await?, is_head).await });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What arrived before it ended is still to be read; why it ended, if it was needed, the answer says.
        _ = connection => answer.await,
    }
}

async fn read(response: Response<Incoming>, is_head: bool) -> Result<Answer, BoxError> {
    let (head, body) = response.into_parts();
    let challenge = head.headers.get(WWW_AUTHENTICATE).cloned();
    let body = if is_head || head.status != StatusCode::OK {
        Bytes::new()
    } else {
        Limited::new(body, BODY_MAX).collect().await?.to_bytes()
    };
    Ok(Answer { status: head.status, challenge, body })
}
