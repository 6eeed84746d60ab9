//! Serving the methods: HTTP and WebSocket on one port, within bounds, as unreliably as ordered.
//!
//! The accept loop is ours because faults act below HTTP: a connection is refused or cut as a dead load balancer does it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::RpcModule;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::ws::is_upgrade_request;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpRequest, HttpResponse, RandomStringIdProvider, Server, ServerConfig,
    StopHandle, serve_with_graceful_shutdown, stop_channel,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::Service as _;

use super::line::{Line, Socket};
use super::unreliable::Unreliable;
use crate::faults::Kind;
use crate::node::Node;

/// Connections at a time; the next one is answered 429.
pub const MAX_CONNECTIONS: u32 = 256;
/// Sockets at a time, those above [`MAX_CONNECTIONS`] only until they are told so; the next one is closed at once.
pub const MAX_SOCKETS: usize = 512;
/// Subscriptions of one connection.
pub const MAX_SUBSCRIPTIONS: u32 = 1_024;
/// Bytes of one request. The WebSocket below sets aside what a frame claims to have, so this times the connections is
/// what claims alone can take; it holds the largest extrinsic of a block in hex.
pub const MAX_REQUEST: u32 = 8 << 20;
/// Bytes of one answer.
pub const MAX_RESPONSE: u32 = 15 << 20;
/// Requests of one batch.
pub const MAX_BATCH: u32 = 1_000;
/// Answers and notifications that one connection has not read yet; then its subscriptions wait and skip.
pub const MAX_UNREAD: u32 = 1_024;

/// Requests to this path reach the chain through faults of the handshake too, so that they can be ended.
pub const CONTROL_PATH: &str = "/dev";

const INTERNAL_ERROR: u16 = 500;
/// How long the loop rests when no socket can be had.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until dropped; then every connection ends.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    listener: TcpListener,
    module: RpcModule<Arc<Node>>,
    node: Arc<Node>,
}

fn config() -> ServerConfig {
    ServerConfig::builder()
        .max_connections(MAX_CONNECTIONS)
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
        .max_request_body_size(MAX_REQUEST)
        .max_response_body_size(MAX_RESPONSE)
        .set_message_buffer_capacity(MAX_UNREAD)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .set_id_provider(RandomStringIdProvider::new(16))
        .build()
}

impl Serving {
    /// Methods on a listener; nothing is served before [`Self::run`].
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn new(
        listener: std::net::TcpListener,
        module: RpcModule<Arc<Node>>,
        node: Arc<Node>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { address: listener.local_addr()?, listener, module, node })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts and serves connections for ever.
    pub async fn run(self) {
        // The handle is kept: the stop it could signal comes with the end of this future instead.
        let (stop, _server) = stop_channel();
        let node = Arc::clone(&self.node);
        let layer =
            RpcServiceBuilder::new().layer_fn(move |service| Unreliable::new(service, Arc::clone(&node)));
        let builder = Server::builder().set_config(config()).set_rpc_middleware(layer).to_service_builder();
        let sockets = Arc::new(Semaphore::new(MAX_SOCKETS));
        let mut connections = JoinSet::new();
        let mut number: u32 = 0;
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = stream else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&sockets).try_acquire_owned() else { continue };
            number = number.wrapping_add(1);
            let line = Line::default();
            let service = builder.clone().connection_id(number).build(self.module.clone(), stop.clone());
            let (node, stop) = (Arc::clone(&self.node), stop.clone());
            connections.spawn(async move {
                let request_line = line.clone();
                let service = tower::service_fn(move |mut request: HttpRequest<hyper::body::Incoming>| {
                    let (mut service, node, line) =
                        (service.clone(), Arc::clone(&node), request_line.clone());
                    line.spoke(is_upgrade_request(&request));
                    request.extensions_mut().insert(line.clone());
                    let answered: Answered = Box::pin(async move {
                        match instead_of_http(&node, request.uri().path()) {
                            // A request that hyper cannot answer ends with its connection.
                            None => Ok(service
                                .call(request)
                                .await
                                .unwrap_or_else(|_| answer(INTERNAL_ERROR, None))),
                            Some(Instead::Answer(status, retry_after)) => Ok(answer(status, retry_after)),
                            Some(Instead::Cut) => {
                                line.cut();
                                std::future::pending().await
                            }
                        }
                    });
                    answered
                });
                serve_one(stream, &line, service, stop, permit).await;
            });
        }
    }
}

async fn serve_one<S>(
    stream: TcpStream,
    line: &Line,
    service: S,
    stop: StopHandle,
    _permit: OwnedSemaphorePermit,
) where
    S: tower::Service<
            HttpRequest<hyper::body::Incoming>,
            Response = HttpResponse<HttpBody>,
            Error = Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    // Small answers should not wait for each other; a socket that refuses this still works.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, line);
    tokio::select! {
        // How a connection ended is between the client and the network.
        _ = serve_with_graceful_shutdown(socket, service, stop.shutdown()) => {}
        () = line.is_cut() => {}
        () = line.is_silent() => {}
    }
}

type Answered = Pin<Box<dyn Future<Output = Result<HttpResponse<HttpBody>, Infallible>> + Send>>;

/// What happens to an HTTP request or a WebSocket's first one instead of being served.
enum Instead {
    Answer(u16, Option<u32>),
    Cut,
}

fn instead_of_http(node: &Node, path: &str) -> Option<Instead> {
    if path == CONTROL_PATH {
        return None;
    }
    node.faults.strike(|kind| match kind {
        Kind::Handshake { status, retry_after_s } => Some(Instead::Answer(*status, *retry_after_s)),
        Kind::RefuseConnection {} => Some(Instead::Cut),
        _ => None,
    })
}

fn answer(status: u16, retry_after_s: Option<u32>) -> HttpResponse<HttpBody> {
    let mut answer = HttpResponse::new(HttpBody::from(format!("HTTP status {status}\n")));
    // Faults were checked to have a status that HTTP knows.
    if let Ok(status) = status.try_into() {
        *answer.status_mut() = status;
    }
    if let Some(seconds) = retry_after_s {
        answer.headers_mut().insert("retry-after", seconds.into());
    }
    answer
}
