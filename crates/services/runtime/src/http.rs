//! A port that speaks HTTP/1.1 for whatever answers the requests.
//!
//! Here are the limits that keep strangers from holding the service up, the same for every face: connections at a time, in all and
//! of one peer, size and time of a request's head (idle connections included), the pace at which an answer is
//! taken, and the kernel's memory for it. What is asked and answered is the
//! business of the [`hyper::service::Service`] that is given. TLS is a reverse proxy's business.

mod paced;
mod peers;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use basilica_ports::Clock;
use basilica_types::Millis;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tracing::{debug, error, info, warn};

pub use self::paced::Pace;
use self::paced::{Paced, Progress};
use self::peers::{Peers, Place};
use crate::admin::BindError;
use crate::{ErrorChain, Stop, TaskPanic, TaskSet, within};

/// Pause after the system refused to accept (no file descriptors left): it does not pass in microseconds.
const ACCEPT_PAUSE: Millis = Millis(100);
/// Bytes of an answer that the kernel holds for one connection, which it doubles for its own use. By itself it would hold megabytes for a client that does
/// not read, and a client that reads slowly would show it in steps as large.
const SEND_BUFFER: u32 = 128 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// What clients may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Of these, from one address, or from one /64 of IPv6; more are closed at once.
    pub per_peer: usize,
    /// From a connection's beginning, or the end of its last answer, to the end of the next request's head.
    pub head: Millis,
    /// Largest request line and headers together, in bytes, at least 8,192.
    pub head_bytes: usize,
    /// Most headers of a request.
    pub headers: usize,
    /// For one connection in all; the request under way then is its last.
    pub connection: Millis,
    /// For that last request, and for those under way when the stop comes: a client that reads a byte a minute is cut off.
    pub drain: Millis,
    /// Whoever takes an answer more slowly is cut off.
    pub pace: Pace,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            per_peer: 100,
            head: Millis::from_secs(30),
            head_bytes: 16 * 1024,
            headers: 64,
            connection: Millis::from_secs(600),
            drain: Millis::from_secs(5),
            pace: Pace { bytes: 64 * 1024, within: Millis::from_secs(20) },
        }
    }
}

/// A bound port that does not answer yet.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
    proxies: BTreeSet<IpAddr>,
}

impl HttpListener {
    /// Binds `address`; port 0 takes a free one.
    #[expect(clippy::unused_async, reason = "the port is registered with the runtime that waits for this")]
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError::new(address, source);
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(failed)?;
        // A restart must not wait for the kernel to forget the connections of the run before.
        socket.set_reuseaddr(true).map_err(failed)?;
        // Connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, proxies: BTreeSet::new() })
    }

    /// The same, which does not count the connections of these peers one by one: they are proxies, which ask for many.
    #[must_use]
    pub fn behind(self, proxies: BTreeSet<IpAddr>) -> Self {
        Self { proxies, ..self }
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the stop is requested; then finishes the requests under way. `for_peer` makes the service of each connection
    /// from the peer's address.
    pub async fn serve<S, B>(
        self,
        for_peer: impl Fn(SocketAddr) -> S,
        limits: HttpLimits,
        clock: Arc<dyn Clock>,
        stop: Stop,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: std::error::Error + Send + Sync,
    {
        info!(http.address = %self.address, "HTTP endpoint listens");
        let mut connections = TaskSet::new();
        let peers = Peers::new(limits.per_peer, self.proxies);
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                Some(ended) = connections.next() => log_end(ended),
                accepted = self.listener.accept(), if connections.len() < limits.connections => match accepted {
                    Ok((stream, peer)) => {
                        let Some(place) = peers.admit(peer.ip()) else {
                            debug!(peer.address = %peer, "HTTP connection refused: its peer has too many");
                            continue;
                        };
                        let (clock, stop) = (Arc::clone(&clock), stop.clone());
                        connections.spawn("http-connection", answer((stream, place), for_peer(peer), limits, clock, stop));
                    }
                    Err(error) => {
                        warn!(error = %ErrorChain(&error), "HTTP endpoint cannot accept connections");
                        clock.sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        while let Some(ended) = connections.next().await {
            log_end(ended);
        }
    }
}

fn log_end(ended: Result<(), TaskPanic>) {
    if let Err(panic) = ended {
        error!(error = %panic, "HTTP connection panicked");
    }
}

/// One connection with all of its requests. What the peer does wrong is the peer's problem and only worth a debug line.
async fn answer<S, B>(
    (stream, _place): (TcpStream, Place),
    service: S,
    limits: HttpLimits,
    clock: Arc<dyn Clock>,
    stop: Stop,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    // Small answers must not wait for an acknowledgement; a socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let progress = Arc::new(Progress::default());
    let stream = Paced::new(stream, Arc::clone(&progress));
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            // Netcat and small probes close their half right after the request.
            .half_close(true)
            .max_buf_size(limits.head_bytes)
            .max_headers(limits.headers)
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head.as_duration())
            .serve_connection(TokioIo::new(stream), service)
    );
    let last_request = async {
        tokio::select! {
            () = stop.requested() => {}
            () = clock.sleep(limits.connection) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = progress.is_too_slow(limits.pace, clock.as_ref()) => {
            debug!("HTTP connection closed: its peer does not take the answer");
            return;
        }
        () = last_request => {
            connection.as_mut().graceful_shutdown();
            within(clock.as_ref(), limits.drain, connection.as_mut()).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(error = %ErrorChain(&error), "HTTP connection failed"),
        Err(elapsed) => debug!(error = %elapsed, "HTTP connection took too long"),
    }
}

#[cfg(test)]
mod tests;
