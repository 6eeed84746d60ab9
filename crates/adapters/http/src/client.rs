//! Asks a validator's API, from the same host or network: what the command line and the localnet's table use.
//!
//! One question per connection, bounded in time and size. Plain HTTP only: whoever asks from far away has a proxy with TLS
//! before the API and a client that speaks it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{Request, StatusCode};
use basilica_ports::HotkeySigner;
use basilica_wire::btauth::{RequestLine, SignedRequest};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use crate::problem::Problem;

/// For the whole exchange.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const MAX_BODY: usize = 64 << 20;

/// What shows who asks.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// The key of `api.api_key_file`.
    ApiKey(&'a str),
    /// The validator's own hotkey, which signs the request (`btauth/1`).
    Own {
        /// That hotkey.
        signer: &'a dyn HotkeySigner,
        /// Now, in nanoseconds since 1970; another one for each request.
        nonce: u64,
    },
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey(redacted)",
            Self::Own { .. } => "Own",
        })
    }
}

impl Credential<'_> {
    fn headers(self, path: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::ApiKey(key) => vec![("x-api-key", key.to_owned())],
            Self::Own { signer, nonce } => {
                let nothing = Sha256::digest([]).into();
                let line = RequestLine { method: "GET", target: path, body_sha256: nothing };
                let own = signer.hotkey();
                SignedRequest::sign(&line, nonce, (own, own), |bytes| signer.sign(bytes)).headers().to_vec()
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or the connection broke.
    #[error("ask {address}; is it running, with this configuration")]
    Exchange {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("ask {address}: no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// Where.
        address: SocketAddr,
    },
    /// It does not answer with what was asked for.
    #[error("{path}: {detail} ({status})")]
    Refused {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// In its own words, if it had any.
        detail: String,
    },
    /// It answers with something else.
    #[error("{path}: the answer is not what this program expects; do both have the same version")]
    Unexpected {
        /// What was asked.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl AskError {
    /// Whether the same question may be answered a little later: the validator is starting again, is busy, or has heard too
    /// much from here.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Exchange { .. } | Self::Deadline { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 500..=599),
            Self::Unexpected { .. } => false,
        }
    }
}

/// Status and body of the answer to a GET of `path`, which is sent as it is.
///
/// # Errors
/// No answer of at most 64 MiB in ten seconds.
pub async fn get(
    address: SocketAddr,
    path: &str,
    credential: Option<Credential<'_>>,
) -> Result<(StatusCode, Bytes), AskError> {
    let headers = credential.map_or_else(Vec::new, |credential| credential.headers(path));
    in_time(address, exchange(address, (&address.to_string(), path), headers, MAX_BODY)).await
}

/// The same of a stranger, as whom it calls itself, with a body of at most `most` bytes.
pub(crate) async fn get_at_most(
    address: SocketAddr,
    host: &str,
    path: &str,
    most: usize,
) -> Result<(StatusCode, Bytes), AskError> {
    in_time(address, exchange(address, (host, path), Vec::new(), most)).await
}

async fn in_time(
    address: SocketAddr,
    exchange: impl Future<Output = Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>>>,
) -> Result<(StatusCode, Bytes), AskError> {
    match tokio::time::timeout(DEADLINE, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(AskError::Exchange { address, source }),
        Err(_) => Err(AskError::Deadline { address }),
    }
}

/// The page at `path`, whatever its status: an unhealthy validator's `/health` is a page too.
///
/// # Errors
/// As [`get`], or the answer is a refusal or another page.
pub async fn page<T: DeserializeOwned>(
    address: SocketAddr,
    path: &str,
    credential: Option<Credential<'_>>,
) -> Result<(StatusCode, T), AskError> {
    let (status, body) = get(address, path, credential).await?;
    match serde_json::from_slice(&body) {
        Ok(page) => Ok((status, page)),
        Err(source) if status.is_success() => Err(AskError::Unexpected { path: path.to_owned(), source }),
        Err(_) => {
            let problem = serde_json::from_slice::<Problem>(&body);
            let detail = problem.map_or_else(|_| "no answer that can be read".to_owned(), |p| p.detail);
            Err(AskError::Refused { path: path.to_owned(), status: status.as_u16(), detail })
        }
    }
}

async fn exchange(
    address: SocketAddr,
    (host, path): (&str, &str),
    headers: Vec<(&'static str, String)>,
    most: usize,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(path).header(HOST, host);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect().await?;
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
}
