//! What a server says before it speaks SSH.
//!
//! RFC 4253 lets a server send lines before its identification, and clients drop them. OpenSSH uses
//! that moment to shut clients out (`Not allowed at this time`, since 9.8; `Exceeded MaxStartups`), after which the
//! connection closes. The library reports only that close; this stream notes what came before it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Enough for the first line that any real server sends.
const KEPT: usize = 256;

/// What sshd says when it shuts a client out, at the beginning of the first line.
const LOCKOUTS: [&[u8]; 2] = [b"Not allowed at this time", b"Exceeded MaxStartups"];

/// The server at the other end does not speak SSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not answer with an SSH identification")]
pub struct NotSsh;

/// What came before SSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// An identification: whatever went wrong then is the protocol's business.
    Ssh,
    /// Words of a lockout, or a close without a word (`tcp_wrappers`, MaxStartups of old sshd).
    LockedOut,
    /// Something else.
    Garbage,
}

/// The first bytes that a server sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preamble(Arc<Mutex<Vec<u8>>>);

impl Preamble {
    fn note(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(crate) fn opening(&self) -> Opening {
        classify(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn classify(bytes: &[u8]) -> Opening {
    if bytes.split(|b| *b == b'\n').any(|line| line.starts_with(b"SSH-")) {
        return Opening::Ssh;
    }
    if bytes.is_empty() || LOCKOUTS.iter().any(|words| bytes.starts_with(words)) {
        return Opening::LockedOut;
    }
    Opening::Garbage
}

/// A TCP stream that notes its first bytes.
#[derive(Debug)]
pub(crate) struct NotedStream {
    tcp: TcpStream,
    preamble: Option<Preamble>,
}

impl NotedStream {
    pub(crate) const fn new(tcp: TcpStream, preamble: Preamble) -> Self {
        Self { tcp, preamble: Some(preamble) }
    }
}

impl AsyncRead for NotedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if polled.is_ready()
            && let Some(preamble) = &self.preamble
        {
            preamble.note(&buf.filled()[before..]);
            if preamble.opening() == Opening::Ssh {
                self.preamble = None;
            }
        }
        polled
    }
}

impl AsyncWrite for NotedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockouts_garbage_and_ssh_are_told_apart() {
        for (bytes, opening) in [
            (&b""[..], Opening::LockedOut),
            (b"Not allowed at this time\r\n", Opening::LockedOut),
            (b"Exceeded MaxStartups\r\n", Opening::LockedOut),
            (b"HTTP/1.1 400 Bad Request\r\n", Opening::Garbage),
            (b"\0\0\0\0", Opening::Garbage),
            (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Opening::Ssh),
            (b"welcome\r\nSSH-2.0-x\r\n", Opening::Ssh),
        ] {
            assert_eq!(classify(bytes), opening, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn only_the_first_bytes_are_kept() {
        let preamble = Preamble::default();
        for _ in 0..100 {
            preamble.note(&[b'x'; 100]);
        }
        assert_eq!(preamble.0.lock().unwrap().len(), KEPT);
    }
}
