//! One admitted connection: what its first byte begins is found out here, within a deadline, and the server reads and writes the rest.
//!
//! A TLS ClientHello begins with 0x16, an HTTP/2 preface with `P`, so both are served on one port. Nobody waits for a
//! stranger's first bytes: each connection finds out by itself, while it holds its unproven place and makes way like any other.
//! A handshake costs a signature, so it counts as a request of its address.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use basilica_types::Millis;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::connections::Place;
use crate::limit::PeerLimit;
use crate::tls::ServerTls;

/// How a TLS record with a handshake begins.
const HANDSHAKE: u8 = 0x16;
/// Most bytes that a refused client may still send before it has read why.
const UNREAD: u64 = 64 * 1024;

/// Whether TLS is spoken.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// Never.
    #[default]
    Plain,
    /// By those who begin with it.
    Either(ServerTls),
    /// By all; others are told so and closed.
    Encrypted(ServerTls),
}

impl Transport {
    /// The certificate, where there is one.
    pub const fn tls(&self) -> Option<&ServerTls> {
        match self {
            Self::Plain => None,
            Self::Either(tls) | Self::Encrypted(tls) => Some(tls),
        }
    }
}

/// What a connection is opened by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opener {
    pub(crate) transport: Transport,
    /// From being accepted to the end of the TLS handshake, or to the first byte without TLS.
    pub(crate) within: Millis,
    pub(crate) limit: Option<Arc<PeerLimit>>,
}

impl Opener {
    async fn open(self, stream: TcpStream, place: Arc<Place>) -> io::Result<Link> {
        let within = self.within.as_duration();
        match tokio::time::timeout(within, self.begin(stream, &place)).await {
            Ok(opened) => opened,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer began nothing in time")),
        }
    }

    async fn begin(self, stream: TcpStream, place: &Place) -> io::Result<Link> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let tls = match self.transport {
            Transport::Either(tls) | Transport::Encrypted(tls) if first[0] == HANDSHAKE => tls,
            Transport::Plain | Transport::Either(_) => return Ok(Link::Plain(stream)),
            Transport::Encrypted(_) => return refuse(stream).await,
        };
        if self.limit.is_some_and(|limit| limit.take(place.subscriber()).is_err()) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "too many handshakes of this address",
            ));
        }
        Ok(Link::Encrypted(Box::new(TlsAcceptor::from(tls.config()).accept(stream).await?)))
    }
}

/// An HTTP/2 SETTINGS frame and a GOAWAY of INADEQUATE_SECURITY with its reason, which gRPC clients show.
fn goodbye() -> Vec<u8> {
    const WHY: &[u8] = b"this miner speaks TLS only";
    const INADEQUATE_SECURITY: [u8; 4] = [0, 0, 0, 0xc];
    let length = u8::try_from(8 + WHY.len()).expect("a short text");
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    frames.extend([0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frames.extend(INADEQUATE_SECURITY);
    frames.extend(WHY);
    frames
}

async fn refuse(mut stream: TcpStream) -> io::Result<Link> {
    stream.write_all(&goodbye()).await?;
    stream.shutdown().await?;
    // Closing over unread bytes would reset the connection, and the reason with it.
    tokio::io::copy(&mut stream.take(UNREAD), &mut tokio::io::sink()).await?;
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the peer does not speak TLS"))
}

/// How far a connection is.
enum Link {
    Opening(Pin<Box<dyn Future<Output = io::Result<Self>> + Send>>),
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    Failed,
}

/// An admitted connection.
pub(crate) struct Peer {
    link: Link,
    place: Arc<Place>,
    /// Done once it has to make way.
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, place: Arc<Place>, opener: Opener) -> Self {
        // Small answers must not wait for more to come; a peer that is gone already fails at its first read.
        let _ = stream.set_nodelay(true);
        let closing = Box::pin(place.closing());
        let link = Link::Opening(Box::pin(opener.open(stream, Arc::clone(&place))));
        Self { link, place, closing }
    }

    /// Nothing passes before the connection is open, nor after it has to make way. Reading and writing belong to one task,
    /// so that one waker serves both.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Link::Opening(opening) = &mut self.link {
            let opened = ready!(opening.as_mut().poll(cx));
            self.link = Link::Failed;
            self.link = opened?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Connected for Peer {
    type ConnectInfo = Arc<Place>;

    fn connect_info(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?;
        match &mut self.link {
            Link::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Link::Encrypted(stream) => Pin::new(stream).poll_read(cx, buf),
            Link::Opening(_) | Link::Failed => gone(),
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?;
        match &mut self.link {
            Link::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Link::Encrypted(stream) => Pin::new(stream).poll_write(cx, buf),
            Link::Opening(_) | Link::Failed => gone(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?;
        match &mut self.link {
            Link::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Link::Encrypted(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Link::Opening(_) | Link::Failed => gone(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Asked before it is known whether the connection is encrypted; both kinds take what is scattered.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.link {
            Link::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Link::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
            Link::Opening(_) | Link::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.link {
            Link::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Link::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
            // It holds nothing to be sent; dropped, it is closed.
            Link::Opening(_) | Link::Failed => Poll::Ready(Ok(())),
        }
    }
}
