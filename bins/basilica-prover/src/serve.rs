//! `serve-token`: one answer on one port, so that a validator sees whether the world can reach this node.
//!
//! The validator gives question and answer on standard input. Whoever connects and says the question within a few seconds
//! is told the answer, once; all others are hung up on. They are heard side by side: any port of a public address is tried by
//! strangers all day, and none of them, however many or slow, may keep the validator from its answer. The program ends with the answer,
//! or when its time is up (see [`crate::run`]).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context;

/// Bytes of the question, and of the answer.
const HALF: usize = 16;
/// Looks at a connection until its whole question must be there: about three seconds.
const LOOKS_MAX: u32 = 600;
/// Connections that are heard at a time: far below the number of files that a process may open. Of more, the one that has been there longest
/// goes: the validator says its question at once.
const HEARD_MAX: usize = 256;
/// Between two looks at all of them.
const PAUSE: Duration = Duration::from_millis(5);

/// Another program listens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortTaken(u16);

impl std::fmt::Display for PortTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "another program listens on port {}", self.0)
    }
}

impl std::error::Error for PortTaken {}

/// Listens on every address of this machine, says `ready`, and answers once.
pub(crate) fn serve(port: u16, mut input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    let mut token = [0; 2 * HALF];
    input.read_exact(&mut token).context("read question and answer from the validator")?;
    let listener = match listen(port) {
        Ok(listener) => listener,
        Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(PortTaken(port).into()),
        Err(error) => return Err(error).with_context(|| format!("listen on port {port}")),
    };
    listener.set_nonblocking(true).context("accept connections side by side")?;
    output.write_all(b"ready\n").and_then(|()| output.flush()).context("tell the validator")?;
    let (question, answer) = token.split_at(HALF);
    let mut heard: Vec<Stranger> = Vec::new();
    loop {
        // Without a free descriptor the next look may have one.
        while let Ok((stream, _)) = listener.accept() {
            if heard.len() >= HEARD_MAX {
                heard.remove(0);
            }
            heard.extend(Stranger::new(stream));
        }
        let mut index = 0;
        while let Some(stranger) = heard.get_mut(index) {
            match stranger.said(question) {
                Said::Nothing => index += 1,
                Said::Other => drop(heard.remove(index)),
                // One that breaks now is one of the others.
                Said::Question if stranger.answer(answer).is_err() => drop(heard.remove(index)),
                Said::Question => return Ok(()),
            }
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Both families where the system has both.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
}

/// Whoever connected.
struct Stranger {
    stream: TcpStream,
    looks: u32,
    words: Vec<u8>,
}

/// What somebody said so far.
enum Said {
    Nothing,
    Question,
    Other,
}

impl Stranger {
    fn new(stream: TcpStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        Some(Self { stream, looks: 0, words: Vec::with_capacity(HALF) })
    }

    fn said(&mut self, question: &[u8]) -> Said {
        self.looks = self.looks.saturating_add(1);
        if self.looks > LOOKS_MAX {
            return Said::Other;
        }
        let mut bytes = [0; HALF];
        let missing = HALF.saturating_sub(self.words.len());
        let Some(room) = bytes.get_mut(..missing) else { return Said::Other };
        match self.stream.read(room) {
            Ok(0) => return Said::Other,
            Ok(count) => self.words.extend(bytes.iter().take(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return Said::Other,
        }
        match self.words.len() {
            HALF if self.words == question => Said::Question,
            HALF => Said::Other,
            _ => Said::Nothing,
        }
    }

    fn answer(&mut self, answer: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(answer)?;
        self.stream.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Says through a channel what is written to it.
    struct Told(mpsc::Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    fn ask(port: u16, question: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(question).unwrap();
        let mut answer = Vec::new();
        // Whoever is hung up on may see a reset.
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    #[test]
    fn only_the_question_is_answered_and_once() {
        let port = free_port();
        let (told, heard) = mpsc::channel();
        let server =
            std::thread::spawn(move || serve(port, &[[1; HALF], [2; HALF]].concat()[..], Told(told)));
        assert_eq!(heard.recv().unwrap(), b"ready\n");
        assert_eq!(ask(port, &[9; HALF]), b"", "a scanner");
        assert_eq!(ask(port, &[1; HALF]), [2; HALF]);
        server.join().unwrap().unwrap();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "it is gone");
    }

    #[test]
    fn no_crowd_and_no_slow_talker_keeps_the_validator_from_its_answer() {
        let port = free_port();
        let (told, heard) = mpsc::channel();
        let server =
            std::thread::spawn(move || serve(port, &[[1; HALF], [2; HALF]].concat()[..], Told(told)));
        assert_eq!(heard.recv().unwrap(), b"ready\n");
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut silent: Vec<TcpStream> = (0..HEARD_MAX + 20).map(|_| connect()).collect();
        // All but the last byte, and the connection stays.
        silent.last_mut().unwrap().write_all(&[1; HALF - 1]).unwrap();
        for _ in 0..100 {
            assert_eq!(ask(port, &[9; HALF]), b"", "however many others ask");
        }
        assert_eq!(ask(port, &[1; HALF]), [2; HALF]);
        server.join().unwrap().unwrap();
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = serve(port, &[0; 2 * HALF][..], std::io::sink()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&PortTaken(port)), "{error:#}");
        assert!(serve(port, &[0; HALF][..], std::io::sink()).is_err(), "half a token");
    }
}
