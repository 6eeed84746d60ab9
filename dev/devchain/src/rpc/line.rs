//! A connection that can be cut, and that is not read from while its client does not read.
//!
//! The server below reads a WebSocket's requests whether or not their answers are read, and keeps every answer until it
//! is; a client that only writes would fill the memory. Here the bytes that a client is owed are counted, from the moment
//! when an answer exists until the socket takes it. Above [`MAX_OWED`] its requests wait, one goes on as soon as there is
//! room, and nothing more is read of it: TCP then holds the client itself up. What the protocol adds of its own (frame heads, pongs) pays a little too much; it is no more than
//! what the client sends. Rejected: a bound on messages alone (one may have 15 MiB) and cutting such a client (one that
//! is slow for a while is not an attacker).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Bytes of requests in work and answers not read, above which a WebSocket is not read from. More than one message has.
pub(super) const MAX_OWED: usize = 16 << 20;
/// How long a connection may exist without a request.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// What a client is owed, and who waits until it is less.
#[derive(Debug, Default)]
struct Debt {
    bytes: usize,
    reader: Option<Waker>,
}

/// A connection's handle: to cut it, and to count what it is owed. Requests carry the one of theirs.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    knife: CancellationToken,
    spoken: CancellationToken,
    counts: CancellationToken,
    debt: Arc<Mutex<Debt>>,
    room: Arc<Notify>,
}

impl Line {
    /// From here on nothing is read from the socket or written to it.
    pub(super) fn cut(&self) {
        self.knife.cancel();
    }

    /// Ends when it is cut.
    pub(super) async fn is_cut(&self) {
        self.knife.cancelled().await;
    }

    /// A request came; from a WebSocket's first one on, what it is owed counts. HTTP answers one request after another
    /// and needs no count.
    pub(super) fn spoke(&self, websocket: bool) {
        self.spoken.cancel();
        if websocket {
            self.counts.cancel();
        }
    }

    /// Ends if no request comes in time.
    pub(super) async fn is_silent(&self) {
        if tokio::time::timeout(FIRST_REQUEST, self.spoken.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    fn debt(&self) -> MutexGuard<'_, Debt> {
        // Nothing under the lock is left half done by a panic.
        self.debt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes wait for the client, or are worked on for it.
    pub(super) fn owe(&self, bytes: usize) {
        if self.counts.is_cancelled() {
            let mut debt = self.debt();
            debt.bytes = debt.bytes.saturating_add(bytes);
        }
    }

    /// So many bytes of these are gone.
    pub(super) fn pay(&self, bytes: usize) {
        let mut debt = self.debt();
        debt.bytes = debt.bytes.saturating_sub(bytes);
        if debt.bytes <= MAX_OWED {
            self.room.notify_one();
            if let Some(reader) = debt.reader.take() {
                reader.wake();
            }
        }
    }

    /// Waits until the client may be owed more. One request at a time goes on from here: who ends with room left says so
    /// by [`Self::pay`].
    pub(super) async fn has_room(&self) {
        while self.debt().bytes > MAX_OWED {
            self.room.notified().await;
        }
    }

    /// Whether the client may ask for more; if not, the reader is woken when it may.
    fn poll_may_ask(&self, context: &Context<'_>) -> Poll<()> {
        let mut debt = self.debt();
        if debt.bytes <= MAX_OWED {
            return Poll::Ready(());
        }
        debt.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A socket that fails as soon as its line is cut. Reading and writing wait for that separately, because each is woken
/// alone.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    line: Line,
    cut_for_reading: Pin<Box<WaitForCancellationFutureOwned>>,
    cut_for_writing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, line: &Line) -> Self {
        let cut = || Box::pin(line.knife.clone().cancelled_owned());
        Self { stream, line: line.clone(), cut_for_reading: cut(), cut_for_writing: cut() }
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
        if self.line.poll_may_ask(context).is_pending() {
            return Poll::Pending;
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.line.pay(count);
        }
        written
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::{Line, MAX_OWED};

    #[test]
    fn a_websocket_is_read_from_only_while_it_is_not_owed_too_much() {
        let line = Line::default();
        let mut context = Context::from_waker(Waker::noop());
        line.spoke(false);
        line.owe(MAX_OWED + 1);
        assert!(line.poll_may_ask(&context).is_ready(), "HTTP is not counted");
        line.spoke(true);
        line.owe(MAX_OWED);
        assert!(line.poll_may_ask(&context).is_ready());
        line.owe(1);
        assert!(line.poll_may_ask(&context).is_pending());
        let mut waits = Box::pin(line.has_room());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        line.pay(1);
        assert!(waits.as_mut().poll(&mut context).is_ready());
        assert!(line.poll_may_ask(&context).is_ready());
        line.pay(usize::MAX);
        line.owe(MAX_OWED);
        assert!(line.poll_may_ask(&context).is_ready(), "paying too much is no credit");
    }
}
