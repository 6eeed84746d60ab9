//! Bounds on connections: how many in all and from one address.
//!
//! A connection that comes on top is closed at once, so that one peer can neither exhaust the process's file
//! descriptors nor push the others out. What an idle connection may cost is bounded by the server's maximal age. An
//! address is a whole /64 of IPv6, which is what one subscriber gets. Where the system itself is out of descriptors the
//! next connection is asked for after a pause: it waits in the kernel, and asking at once would only burn a core.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use basilica_types::{Millis, subscriber};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::Stream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Who is connected how often.
#[derive(Debug)]
pub(crate) struct Census {
    total: usize,
    per_address: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Census {
    pub(crate) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total, per_address, open: Mutex::new(HashMap::new()) })
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = subscriber(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Summing is over distinct addresses, at most `total` of them.
        let total: usize = open.values().sum();
        let here = open.get(&address).copied().unwrap_or(0);
        if total >= self.total || here >= self.per_address {
            return None;
        }
        open.insert(address, here + 1);
        Some(Place { census: Arc::clone(self), address })
    }
}

/// One admitted connection.
#[derive(Debug)]
struct Place {
    census: Arc<Census>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.census.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Where connections come from.
pub(crate) trait Accept {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>;
}

impl Accept for TcpListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        Self::poll_accept(self, cx)
    }
}

/// After an error of the listener, until it is asked again.
const PAUSE: Millis = Millis(100);

/// The connections of a listener, those above the bounds left out.
#[derive(Debug)]
pub(crate) struct Bounded<L> {
    listener: L,
    census: Arc<Census>,
    /// Under way since the last error.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Whether the last attempt failed; told once.
    failing: bool,
}

impl<L> Bounded<L> {
    pub(crate) const fn new(listener: L, census: Arc<Census>) -> Self {
        Self { listener, census, pause: None, failing: false }
    }
}

impl<L: Accept + Unpin> Stream for Bounded<L> {
    type Item = io::Result<Peer>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let (stream, address) = match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok(accepted) => accepted,
                // Of one connection (aborted), or out of descriptors.
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "connections cannot be accepted; trying again until they can");
                    }
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE.as_duration())));
                    continue;
                }
            };
            self.failing = false;
            let Some(place) = self.census.admit(address.ip()) else {
                tracing::debug!(peer.address = %address, "connection refused: too many");
                continue;
            };
            // Small answers must not wait for more to come; a peer that is gone already fails at its first read.
            let _ = stream.set_nodelay(true);
            return Poll::Ready(Some(Ok(Peer { stream, address, _place: place })));
        }
    }
}

/// An admitted connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    address: SocketAddr,
    _place: Place,
}

impl Connected for Peer {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: self.stream.local_addr().ok(), remote_addr: Some(self.address) }
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio_stream::StreamExt as _;

    use super::*;

    /// A listener of a process that has no file descriptor left.
    #[derive(Default)]
    struct Exhausted(AtomicUsize);

    impl Accept for &Exhausted {
        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(Err(io::Error::other("too many open files")))
        }
    }

    #[tokio::test]
    async fn a_listener_that_fails_is_asked_again_after_a_pause() {
        let listener = Exhausted::default();
        let mut connections = Bounded::new(&listener, Census::new(1, 1));
        let limit = std::time::Duration::from_millis(350);
        assert!(tokio::time::timeout(limit, connections.next()).await.is_err(), "no error ends the server");
        // At once and after each pause that passed; a slow machine asks less often, never more.
        let asked = listener.0.load(Ordering::SeqCst);
        assert!((2..=4).contains(&asked), "{asked}");
    }

    #[test]
    fn a_subscribers_many_addresses_are_one() {
        let census = Census::new(10, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _first = census.admit(address("2001:db8:0:1::1")).unwrap();
        assert!(census.admit(address("2001:db8:0:1:ffff::2")).is_none());
        assert!(census.admit(address("2001:db8:0:2::1")).is_some());
        let _mapped = census.admit(address("::ffff:192.0.2.1")).unwrap();
        assert!(census.admit(address("192.0.2.1")).is_none());
        assert!(census.admit(address("::ffff:192.0.2.2")).is_some(), "mapped addresses are those of IPv4");
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let census = Census::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = census.admit(a).unwrap();
        let _second = census.admit(a).unwrap();
        assert!(census.admit(a).is_none(), "one address has its own bound");
        let _third = census.admit(b).unwrap();
        assert!(census.admit(b).is_none(), "all together have one");
        drop(first);
        assert!(census.admit(b).is_some());
        assert_eq!(census.open.lock().unwrap().len(), 2);
    }
}
