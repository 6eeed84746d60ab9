//! The miner protocol as a gRPC server, under both spellings, with reflection and the standard health service.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{MinerApi, MinerCallError, RefusalCode};
use basilica_types::{Hotkey, Millis};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::brief::{Brief, BriefLimits, Slots};
use crate::connections::{Bounded, Census, Place};
use crate::convert;
use crate::limit::{PeerLimit, PeerRate};
use crate::peer::{Opener, Transport};
use crate::protocol::miner::miner_discovery_server::{MinerDiscovery, MinerDiscoveryServer};
use crate::protocol::spelt::miner_discovery_server as spelt;
use crate::protocol::{DESCRIPTORS, miner};

/// Largest request in bytes: an honest one has 2 KiB.
const MAX_REQUEST: usize = 64 * 1024;
/// Largest message of reflection in bytes: a name. Each is kept, and sent back with its answer.
const MAX_REFLECTION: usize = 4 * 1024;
/// Largest sum of one request's header fields in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
const KEEPALIVE: Millis = Millis::from_secs(30);
const KEEPALIVE_ANSWER: Millis = Millis::from_secs(10);
/// After the stop, how long calls in work may take to be answered: a discovery takes 20 s at most.
const DRAIN: Millis = Millis::from_secs(20);
/// After the last answer, how long it may take to reach its reader. Whoever stays connected beyond that (a silent
/// peer, a watcher of the health service) is not waited for.
const LINGER: Millis = Millis::from_secs(1);

/// What strangers may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Until an answer must be sent; longer than the 20 s that a discovery may take.
    pub request_timeout: Millis,
    /// Requests in work at the same time, over all connections; more are refused.
    pub concurrent_requests: usize,
    /// Connections at the same time; for more one without a granted request is closed.
    pub connections: usize,
    /// Of these, from one address, or from one /64 of IPv6.
    pub connections_per_address: usize,
    /// Requests of one address, or of one /64 of IPv6; none: any number.
    pub rate: Option<PeerRate>,
    /// Streams of reflection.
    pub reflection: BriefLimits,
    /// Until a connection has begun: its first byte was heard and, with TLS, the handshake is done.
    pub opening: Millis,
    /// After this time a connection is asked to end; idle strangers thereby leave.
    pub connection_age: Millis,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            request_timeout: Millis::from_secs(30),
            concurrent_requests: 256,
            connections: 1024,
            connections_per_address: 32,
            rate: None,
            reflection: BriefLimits::default(),
            opening: Millis::from_secs(10),
            connection_age: Millis::from_secs(600),
        }
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens there.
    #[error(
        "gRPC address {address} is in use by another program (is a miner running already?); stop it or change \
         validator_comms.port"
    )]
    InUse {
        /// Where to listen.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The system does not allow it.
    #[error("listen for gRPC on {address}")]
    Bind {
        /// Where to listen.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The service descriptions do not describe a service: a defect of this build.
    #[error("build the reflection service")]
    Reflection(#[source] basilica_ports::BoxError),
    /// The server ended by an error.
    #[error("serve gRPC")]
    Serve(#[source] basilica_ports::BoxError),
}

/// A port that is bound but not served yet, so that "port in use" is known before anything else starts.
#[derive(Debug)]
pub struct MinerListener {
    listener: TcpListener,
    transport: Transport,
}

impl MinerListener {
    /// Binds `address`; port 0 takes any free port. TLS is not spoken.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse { address, source },
            _ => ServeError::Bind { address, source },
        })?;
        Ok(Self { listener, transport: Transport::Plain })
    }

    /// The same port, with TLS or without.
    pub fn speaking(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `api` until `stop`, then lets calls in work end: at most 20 s for them and 1 s for their answers. Peers that
    /// stay connected after that are left behind.
    pub async fn serve(
        self,
        api: Arc<dyn MinerApi>,
        limits: ServerLimits,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let slots = Arc::new(Semaphore::new(limits.concurrent_requests));
        let face = Face { api, slots: Arc::clone(&slots) };
        let discovery = MinerDiscoveryServer::new(face.clone()).max_decoding_message_size(MAX_REQUEST);
        let discovery_spelt = spelt::MinerDiscoveryServer::new(face).max_decoding_message_size(MAX_REQUEST);
        let (health_reporter, health) = tonic_health::server::health_reporter();
        // The space for a message is taken when its length is known: by default, for 4 MiB each.
        let health = health.max_decoding_message_size(MAX_REQUEST);
        health_reporter.set_serving::<MinerDiscoveryServer<Face>>().await;
        health_reporter.set_serving::<spelt::MinerDiscoveryServer<Face>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let reflected = |e: tonic_reflection::server::Error| ServeError::Reflection(e.into());
        let (v1, v1alpha) =
            (reflection().build_v1().map_err(reflected)?, reflection().build_v1alpha().map_err(reflected)?);
        let streams = Slots::new(limits.reflection);
        let v1 = v1.max_decoding_message_size(MAX_REFLECTION);
        let v1 = Brief::new(v1, Arc::clone(&streams));
        let v1alpha = v1alpha.max_decoding_message_size(MAX_REFLECTION);
        let v1alpha = Brief::new(v1alpha, streams);
        let census = Census::new(limits.connections, limits.connections_per_address);
        let (closing, closed) = oneshot::channel::<()>();
        let limit = limits.rate.map(|rate| Arc::new(PeerLimit::new(rate)));
        let opener = Opener { transport: self.transport, within: limits.opening, limit: limit.clone() };
        let limited = move |request: Request<()>| match &limit {
            Some(limit) => limit.check(request),
            None => Ok(request),
        };
        let serving = Server::builder()
            .layer(InterceptorLayer::new(limited))
            .timeout(limits.request_timeout.as_duration())
            .max_concurrent_streams(64)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keepalive_interval(Some(KEEPALIVE.as_duration()))
            .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER.as_duration()))
            .max_connection_age(limits.connection_age.as_duration())
            .max_connection_age_grace(limits.request_timeout.as_duration())
            .add_service(discovery)
            .add_service(discovery_spelt)
            .add_service(health)
            .add_service(v1)
            .add_service(v1alpha)
            .serve_with_incoming_shutdown(Bounded::new(self.listener, census, opener), async {
                // Sent or dropped, it means the same.
                let _ = closed.await;
            });
        tokio::pin!(serving);
        let failed = |e: tonic::transport::Error| ServeError::Serve(e.into());
        tokio::select! {
            ended = &mut serving => return ended.map_err(failed),
            () = stop => {}
        }
        health_reporter.set_not_serving::<MinerDiscoveryServer<Face>>().await;
        health_reporter.set_not_serving::<spelt::MinerDiscoveryServer<Face>>().await;
        drop(closing);
        tokio::select! {
            ended = &mut serving => ended.map_err(failed),
            () = drained(&slots, limits.concurrent_requests) => Ok(()),
        }
    }
}

/// Returns once the calls in work are answered, or had their time.
async fn drained(slots: &Semaphore, all: usize) {
    let idle = slots.acquire_many(u32::try_from(all).unwrap_or(u32::MAX));
    if tokio::time::timeout(DRAIN.as_duration(), idle).await.is_err() {
        tracing::warn!(limit = %DRAIN, "calls were still in work when the time to stop was over");
    }
    tokio::time::sleep(LINGER.as_duration()).await;
}

/// One implementation behind both spellings.
#[derive(Clone)]
struct Face {
    api: Arc<dyn MinerApi>,
    slots: Arc<Semaphore>,
}

fn status(error: &MinerCallError) -> Status {
    match error {
        MinerCallError::Refused { code, message } => match code {
            RefusalCode::InvalidArgument => Status::invalid_argument(message),
            RefusalCode::Unauthenticated => Status::unauthenticated(message),
            RefusalCode::PermissionDenied => Status::permission_denied(message),
            RefusalCode::ResourceExhausted => Status::resource_exhausted(message),
            RefusalCode::Unavailable => Status::unavailable(message),
            RefusalCode::Internal => Status::internal(message),
        },
        // What a client to another miner would answer; the own service never does. No detail leaves the process.
        MinerCallError::Unreachable { .. } | MinerCallError::Deadline { .. } => {
            Status::unavailable("unavailable")
        }
        MinerCallError::Malformed { .. } => Status::internal("internal error"),
    }
}

impl Face {
    async fn authenticate(
        &self,
        request: Request<miner::ValidatorAuthRequest>,
    ) -> Result<Response<miner::MinerAuthResponse>, Status> {
        let _slot = self.slots.try_acquire().map_err(|_| busy())?;
        let place = place_of(&request);
        let request = convert::auth_request(request.into_inner()).map_err(|e| bad_field(&e))?;
        let sender = request.validator;
        let grant = self.api.authenticate(request).await.map_err(|e| status(&e))?;
        prove(place, sender);
        Ok(Response::new(convert::auth_grant_message(&grant)))
    }

    async fn discover(
        &self,
        request: Request<miner::DiscoverNodesRequest>,
    ) -> Result<Response<miner::ListNodeConnectionDetailsResponse>, Status> {
        let _slot = self.slots.try_acquire().map_err(|_| busy())?;
        let place = place_of(&request);
        let request = convert::discover_request(request.into_inner()).map_err(|e| bad_field(&e))?;
        let sender = request.claim.validator;
        let response = self.api.discover(request).await.map_err(|e| status(&e))?;
        prove(place, sender);
        Ok(Response::new(convert::discover_response_message(&response)))
    }
}

/// The connection's place, unless the server stands behind something of a test.
fn place_of<T>(request: &Request<T>) -> Option<Arc<Place>> {
    request.extensions().get().cloned()
}

/// The service granted what was asked, so the sender is who it says.
fn prove(place: Option<Arc<Place>>, sender: Hotkey) {
    if let Some(place) = place {
        place.prove(sender);
    }
}

fn busy() -> Status {
    Status::resource_exhausted("too many requests at the same time; try again later")
}

fn bad_field(error: &convert::FieldError) -> Status {
    Status::invalid_argument(error.to_string())
}

#[async_trait]
impl MinerDiscovery for Face {
    async fn authenticate_validator(
        &self,
        request: Request<miner::ValidatorAuthRequest>,
    ) -> Result<Response<miner::MinerAuthResponse>, Status> {
        self.authenticate(request).await
    }

    async fn discover_nodes(
        &self,
        request: Request<miner::DiscoverNodesRequest>,
    ) -> Result<Response<miner::ListNodeConnectionDetailsResponse>, Status> {
        self.discover(request).await
    }
}

#[async_trait]
impl spelt::MinerDiscovery for Face {
    async fn authenticate_validator(
        &self,
        request: Request<miner::ValidatorAuthRequest>,
    ) -> Result<Response<miner::MinerAuthResponse>, Status> {
        self.authenticate(request).await
    }

    async fn discover_nodes(
        &self,
        request: Request<miner::DiscoverNodesRequest>,
    ) -> Result<Response<miner::ListNodeConnectionDetailsResponse>, Status> {
        self.discover(request).await
    }
}
