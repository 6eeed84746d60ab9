//! Who is asking, and what they may see.
//!
//! Verdicts, scores, weights and everything else that a validator must be able to defend are for everybody. What helps an
//! attacker and nobody else is for those who show the API key (`X-API-Key`) or sign the request with a hotkey that is named
//! in the configuration (`btauth/1`, [`basilica_wire::btauth`]): addresses of nodes, the configuration, what is being checked
//! at this moment. Credentials that do not hold are refused on every page: a client would otherwise believe to be logged in.
//!
//! **A signed request counts once for each validator process.** The nonces that were used are in memory. Validators that share a
//! database share the hotkey that requests name as their receiver, so that whoever overhears a request can show it to another of them, once, within
//! the seconds that a nonce is valid. That gets what the overheard answer told, or what has changed since; nothing here
//! changes anything. A table of nonces was rejected: a standby may not write, and pages of a validator whose database is gone
//! are when they are needed. TLS before the API keeps requests from being overheard at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use basilica_ports::ValidatorQueries;
use basilica_types::{Hotkey, Timestamp};
use basilica_wire::btauth::{Headers, REMEMBERED, RequestLine, RequestRefused, SignedRequest};
use sha2::{Digest as _, Sha256};

use crate::limit::{Client, Limiter, cost};
use crate::problem::{ProblemCode, Refusal};

/// Least length of an API key, in bytes.
pub const MIN_KEY: usize = 32;
/// Longest, as a header.
const MAX_KEY: usize = 512;
/// Nonces of one hotkey that are remembered; more in so short a time are refused.
const NONCES: usize = 8_192;

/// The API key: only its hash is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKey(blake3::Hash);

/// A text that is no API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an API key is one word of {MIN_KEY} to {MAX_KEY} printable characters; `openssl rand -hex 32` makes one"
)]
pub struct ApiKeyError;

impl ApiKey {
    /// Reads a key; blanks around it do not belong to it.
    pub fn new(text: &str) -> Result<Self, ApiKeyError> {
        let text = text.trim();
        let fits =
            (MIN_KEY..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(blake3::hash(text.as_bytes()))) } else { Err(ApiKeyError) }
    }

    /// In constant time.
    fn is(&self, shown: &[u8]) -> bool {
        shown.len() <= MAX_KEY && self.0 == blake3::hash(shown)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Anyone,
    Known,
}

impl Caller {
    pub(crate) const fn is_known(self) -> bool {
        matches!(self, Self::Known)
    }
}

/// Who may see more.
pub(crate) struct Access {
    pub(crate) queries: Arc<dyn ValidatorQueries>,
    pub(crate) api_key: Option<ApiKey>,
    pub(crate) hotkeys: BTreeSet<Hotkey>,
    pub(crate) proxies: BTreeSet<IpAddr>,
    pub(crate) limiter: Limiter,
    pub(crate) nonces: Nonces,
}

/// Nonces that were used, with their times. Of hotkeys that may sign, which are few.
#[derive(Debug, Default)]
pub(crate) struct Nonces(Mutex<BTreeMap<Hotkey, BTreeMap<u64, Timestamp>>>);

impl Nonces {
    /// Whether a nonce is new; it no longer is after that.
    fn take(&self, hotkey: Hotkey, nonce: u64, now: Timestamp) -> Result<(), Refusal> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(hotkey).or_default();
        if used.len() >= NONCES {
            used.retain(|_, at| now.since(*at) < REMEMBERED);
        }
        if used.len() >= NONCES {
            return Err(Refusal::rate_limited(REMEMBERED.0 / 1000));
        }
        match used.insert(nonce, now) {
            None => Ok(()),
            Some(at) => {
                // The first use counts.
                used.insert(nonce, at);
                Err(Refusal::new(ProblemCode::Unauthorized, "x-bittensor-nonce was used before"))
            }
        }
    }
}

/// Says who is asking, within their limit; puts a [`Caller`] into the request.
pub(crate) async fn identify(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    match access.caller(&request) {
        Ok((caller, client)) => {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(client);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Lets only those through who said who they are.
pub(crate) async fn only_known(request: Request, next: Next) -> Response {
    if request.extensions().get::<Caller>().is_some_and(|caller| caller.is_known()) {
        return next.run(request).await;
    }
    let detail = "this page needs the API key of api.api_key_file (X-API-Key), or a request signed by a hotkey of \
                  api.allowed_hotkeys (btauth/1)";
    Refusal::new(ProblemCode::Unauthorized, detail).into_response()
}

impl Access {
    /// Who it is, and whose bucket it takes from.
    fn caller(&self, request: &Request) -> Result<(Caller, Client), Refusal> {
        let (client, cost) = (self.client(request), cost(request.uri().path()));
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            // Answered by nobody; the limit is all that counts.
            self.limiter.take(client, 1)?;
            return Ok((Caller::Anyone, client));
        }
        let headers = request.headers();
        if let Some(shown) = headers.get("x-api-key") {
            if self.api_key.is_some_and(|key| key.is(shown.as_bytes())) {
                self.limiter.take(Client::ApiKey, cost)?;
                return Ok((Caller::Known, Client::ApiKey));
            }
            self.limiter.take(client, cost)?;
            return Err(Refusal::new(ProblemCode::Unauthorized, "x-api-key is not this validator's API key"));
        }
        // A signature costs a tenth of a millisecond to check and could name anybody: it counts as its address until it holds.
        self.limiter.take(client, cost)?;
        let is_signed = Headers::NAMES.iter().any(|name| headers.contains_key(*name));
        Ok((if is_signed { self.signed(request)? } else { Caller::Anyone }, client))
    }

    fn signed(&self, request: &Request) -> Result<Caller, Refusal> {
        let refused = |why: RequestRefused| Refusal::new(ProblemCode::Unauthorized, why.to_string());
        let by = SignedRequest::parse(&single(request.headers())).map_err(refused)?;
        let (own, now) = (self.queries.hotkey(), self.queries.now());
        let target = request.uri().path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
        let line =
            RequestLine { method: request.method().as_str(), target, body_sha256: Sha256::digest([]).into() };
        by.check(&line, &own, now).map_err(refused)?;
        if by.sender != own && !self.hotkeys.contains(&by.sender) {
            let detail = "the hotkey that signed is not in api.allowed_hotkeys of this validator";
            return Err(Refusal::new(ProblemCode::Forbidden, detail));
        }
        self.nonces.take(by.sender, by.nonce, now)?;
        Ok(Caller::Known)
    }

    /// Behind a proxy of ours the address that it names, which is the last of its list.
    fn client(&self, request: &Request) -> Client {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let Some(peer) = peer else { return Client::at(unknown) };
        if !self.proxies.contains(&peer) {
            return Client::at(peer);
        }
        let named = request.headers().get_all("x-forwarded-for").iter().next_back();
        let last = named.and_then(|list| list.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Client::at(last.unwrap_or(peer))
    }
}

/// The headers of a signature; one that stands twice counts as malformed, whichever of the two was signed.
fn single(headers: &HeaderMap) -> Headers<'_> {
    let [version, hotkey, receiver, nonce, crypto, signature] = Headers::NAMES.map(|name| {
        let mut all = headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().unwrap_or("")),
            (Some(_), Some(_)) => Some(""),
        }
    });
    Headers { version, hotkey, receiver, nonce, crypto, signature }
}
