//! The client side: a remote miner as a [`MinerApi`].

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{MinerApi, MinerCallError, MinerDialer, RefusalCode};
use basilica_types::Millis;
use basilica_wire::discovery::{AuthGrant, AuthRequest, DiscoverRequest, DiscoverResponse};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::convert::{self, FieldError};
use crate::protocol::miner::miner_discovery_client::MinerDiscoveryClient;

/// Longest message of a miner that is kept, in characters.
const MAX_MESSAGE: usize = 512;

/// Largest answer to an authentication in bytes: one has a kilobyte.
const MAX_GRANT: usize = 64 * 1024;

/// What a miner may cost its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Until a connection stands.
    pub connect: Millis,
    /// Until an authentication is answered.
    pub authenticate: Millis,
    /// Until a discovery is answered; longer than the 20 s that the miner may take.
    pub discover: Millis,
    /// Largest answer to a discovery in bytes.
    pub response_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect: Millis::from_secs(10),
            authenticate: Millis::from_secs(10),
            discover: Millis::from_secs(25),
            response_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Reaches miners over gRPC.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcMinerDialer {
    limits: ClientLimits,
}

impl GrpcMinerDialer {
    /// A dialer with bounds of one's own.
    pub const fn new(limits: ClientLimits) -> Self {
        Self { limits }
    }
}

#[async_trait]
impl MinerDialer for GrpcMinerDialer {
    async fn dial(&self, endpoint: SocketAddr) -> Result<Arc<dyn MinerApi>, MinerCallError> {
        let unreachable =
            |source: tonic::transport::Error| MinerCallError::Unreachable { endpoint, source: source.into() };
        let target = Endpoint::from_shared(format!("http://{endpoint}"))
            .map_err(unreachable)?
            .connect_timeout(self.limits.connect.as_duration())
            .http2_max_header_list_size(16 * 1024);
        // The connector's own limit covers the TCP connection only, this one the HTTP/2 handshake too.
        let channel = tokio::time::timeout(self.limits.connect.as_duration(), target.connect())
            .await
            .map_err(|_| MinerCallError::Deadline { endpoint })?
            .map_err(unreachable)?;
        Ok(Arc::new(RemoteMiner { endpoint, channel, limits: self.limits }))
    }
}

#[derive(Debug)]
struct RemoteMiner {
    endpoint: SocketAddr,
    channel: Channel,
    limits: ClientLimits,
}

impl RemoteMiner {
    fn client(&self, most: usize) -> MinerDiscoveryClient<Channel> {
        let most = most.min(self.limits.response_bytes);
        MinerDiscoveryClient::new(self.channel.clone()).max_decoding_message_size(most)
    }

    async fn within<T>(
        &self,
        limit: Millis,
        call: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<T, MinerCallError> {
        match tokio::time::timeout(limit.as_duration(), call).await {
            Err(_) => Err(MinerCallError::Deadline { endpoint: self.endpoint }),
            Ok(Err(status)) => Err(call_error(self.endpoint, status)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }
}

#[async_trait]
impl MinerApi for RemoteMiner {
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthGrant, MinerCallError> {
        let mut client = self.client(MAX_GRANT);
        let message = Request::new(convert::auth_request_message(&request));
        let answer =
            self.within(self.limits.authenticate, client.authenticate_validator(message)).await?.into_inner();
        if !answer.authenticated {
            let words = answer.error.map_or_else(String::new, |e| e.message);
            return Err(MinerCallError::Refused {
                code: RefusalCode::Unauthenticated,
                message: bounded(&words),
            });
        }
        convert::auth_grant(&answer).map_err(malformed)
    }

    async fn discover(&self, request: DiscoverRequest) -> Result<DiscoverResponse, MinerCallError> {
        let mut client = self.client(self.limits.response_bytes);
        let message = Request::new(convert::discover_request_message(&request));
        let answer = self.within(self.limits.discover, client.discover_nodes(message)).await?.into_inner();
        convert::discover_response(answer).map_err(malformed)
    }
}

fn malformed(source: FieldError) -> MinerCallError {
    MinerCallError::Malformed { field: source.field(), source: source.into() }
}

/// A stranger's words, fit for our log.
fn bounded(words: &str) -> String {
    words.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn call_error(endpoint: SocketAddr, status: Status) -> MinerCallError {
    // A status with a cause was made on this side: the connection broke or the answer could not be read.
    if status.source().is_some() {
        return MinerCallError::Unreachable { endpoint, source: status.into() };
    }
    let code = match status.code() {
        Code::InvalidArgument => RefusalCode::InvalidArgument,
        Code::Unauthenticated => RefusalCode::Unauthenticated,
        Code::PermissionDenied => RefusalCode::PermissionDenied,
        Code::ResourceExhausted => RefusalCode::ResourceExhausted,
        Code::Unavailable => RefusalCode::Unavailable,
        Code::DeadlineExceeded | Code::Cancelled => return MinerCallError::Deadline { endpoint },
        Code::OutOfRange | Code::DataLoss => {
            return MinerCallError::Malformed { field: "response", source: status.into() };
        }
        Code::Ok
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Internal => RefusalCode::Internal,
    };
    MinerCallError::Refused { code, message: bounded(status.message()) }
}
