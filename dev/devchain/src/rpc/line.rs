//! A connection that can be cut: the socket, and the knife.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Cuts a connection. Requests carry the one of theirs.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(CancellationToken);

impl Line {
    /// From here on nothing is read from the socket or written to it.
    pub(super) fn cut(&self) {
        self.0.cancel();
    }

    /// Ends when it is cut.
    pub(super) async fn is_cut(&self) {
        self.0.cancelled().await;
    }
}

/// A socket that fails as soon as its line is cut. Reading and writing wait for that separately, because each is woken
/// alone.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    cut_for_reading: Pin<Box<WaitForCancellationFutureOwned>>,
    cut_for_writing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, line: &Line) -> Self {
        let cut = || Box::pin(line.0.clone().cancelled_owned());
        Self { stream, cut_for_reading: cut(), cut_for_writing: cut() }
    }
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut_for_reading.as_mut().poll(context).is_ready() {
            return reset();
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cut_for_writing.as_mut().poll(context).is_ready() {
            return reset();
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut_for_writing.as_mut().poll(context).is_ready() {
            return reset();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
