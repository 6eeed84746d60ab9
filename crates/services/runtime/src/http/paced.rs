//! A stream that tells whether its peer takes what is sent.
//!
//! A client that asks for a file and does not read it holds the file's bytes, its connection and a place among the
//! clients for as long as it likes: every answer must therefore go on by [`Pace::bytes`] in each [`Pace::within`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use basilica_ports::Clock;
use basilica_types::Millis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How fast clients must take an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So many bytes…
    pub bytes: u64,
    /// …in each such span, while there are more to be sent.
    pub within: Millis,
}

/// How far sending has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    /// The kernel takes no more for now.
    waits: AtomicBool,
}

impl Progress {
    fn note<T>(&self, poll: &Poll<io::Result<T>>, bytes: impl Fn(&T) -> usize) {
        self.waits.store(poll.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(sent)) = poll {
            self.sent.fetch_add(u64::try_from(bytes(sent)).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn seen(&self) -> (bool, u64) {
        (self.waits.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }

    /// Returns once the peer is slower than the pace.
    pub(super) async fn is_too_slow(&self, pace: Pace, clock: &dyn Clock) {
        loop {
            let (waited, before) = self.seen();
            clock.sleep(pace.within).await;
            let (waits, after) = self.seen();
            if waited && waits && after.wrapping_sub(before) < pace.bytes {
                return;
            }
        }
    }
}

/// A stream whose sending is watched.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    progress: Arc<Progress>,
}

impl<S> Paced<S> {
    pub(super) const fn new(stream: S, progress: Arc<Progress>) -> Self {
        Self { stream, progress }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.progress.note(&poll, |sent| *sent);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.progress.note(&poll, |sent| *sent);
        poll
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
