//! A client that keeps to no rule: HTTP and WebSocket by hand.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::{Devchain, PATIENCE};

/// WebSocket's kinds of frame.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const PING: u8 = 9;

/// A socket to the chain.
pub(crate) fn socket(chain: &Devchain) -> TcpStream {
    let stream = TcpStream::connect(chain.url.trim_start_matches("ws://")).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    stream.set_write_timeout(Some(PATIENCE)).expect("sets a deadline");
    stream
}

/// What a POST of these bytes is answered, head and body; what was read before the connection ended.
pub(crate) fn post(chain: &Devchain, body: &[u8]) -> String {
    let mut stream = socket(chain);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: devchain\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A WebSocket.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// A WebSocket, or the answer that refused it.
    pub(crate) fn connect(chain: &Devchain) -> Result<Self, String> {
        let mut stream = socket(chain);
        let head = b"GET / HTTP/1.1\r\nhost: devchain\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut answer = Vec::new();
        let mut byte = [0];
        let begun = stream.write_all(head);
        // The head is read by the byte, so that no frame is taken with it.
        while begun.is_ok() && !answer.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            answer.push(byte[0]);
        }
        match String::from_utf8_lossy(&answer) {
            head if head.starts_with("HTTP/1.1 101") => Ok(Self { stream }),
            head => Err(head.into_owned()),
        }
    }

    /// A second handle on the same socket.
    pub(crate) fn other(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("a handle") }
    }

    /// Sends the head of a frame and such a part of its payload; whether the socket took it.
    pub(crate) fn frame(&mut self, kind: u8, claimed: u64, payload: &[u8]) -> bool {
        let mut bytes = vec![0x80 | kind];
        match claimed {
            0..=125 => bytes.push(0x80 | u8::try_from(claimed).expect("small")),
            126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(claimed).expect("checked").to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend(claimed.to_be_bytes());
            }
        }
        // A mask of zeroes leaves the payload as it is.
        bytes.extend([0; 4]);
        bytes.extend(payload);
        self.stream.write_all(&bytes).is_ok()
    }

    pub(crate) fn send(&mut self, kind: u8, payload: &[u8]) -> bool {
        self.frame(kind, payload.len() as u64, payload)
    }

    /// The next frame's kind and payload; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<(u8, String)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        let mut long = [0; 8];
        let length = match head[1] & 0x7f {
            126 => {
                self.stream.read_exact(&mut long[6..]).ok()?;
                u64::from_be_bytes(long)
            }
            127 => {
                self.stream.read_exact(&mut long).ok()?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("fits")];
        self.stream.read_exact(&mut payload).ok()?;
        Some((head[0] & 0x0f, String::from_utf8_lossy(&payload).into_owned()))
    }
}
