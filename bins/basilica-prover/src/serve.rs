//! `serve-token`: one answer on one port, so that a validator sees whether the world can reach this node.
//!
//! The validator gives question and answer on standard input. Whoever connects and says the question within a few seconds
//! is told the answer, once; all others are hung up on. The program ends with the answer, when its time is up, or after too many others.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// Bytes of the question, and of the answer.
const HALF: usize = 16;
/// For the question, once somebody has connected.
const QUESTION_WITHIN: Duration = Duration::from_secs(3);
/// Connections that are looked at.
const CONNECTIONS_MAX: usize = 64;

/// Listens on every address of this machine, says `ready`, and answers once.
pub(crate) fn serve(port: u16, mut input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    let mut token = [0; 2 * HALF];
    input.read_exact(&mut token).context("read question and answer from the validator")?;
    let listener = listen(port).with_context(|| format!("listen on port {port}"))?;
    output.write_all(b"ready\n").and_then(|()| output.flush()).context("tell the validator")?;
    let (question, answer) = token.split_at(HALF);
    for _ in 0..CONNECTIONS_MAX {
        let (stream, _) = listener.accept().context("accept a connection")?;
        // One that breaks is one of the others.
        if is_answered(stream, question, answer).unwrap_or(false) {
            return Ok(());
        }
    }
    bail!("{CONNECTIONS_MAX} connections came, and none with the question")
}

/// Both families where the system has both.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
}

fn is_answered(mut stream: TcpStream, question: &[u8], answer: &[u8]) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(QUESTION_WITHIN))?;
    stream.set_write_timeout(Some(QUESTION_WITHIN))?;
    let mut asked = [0; HALF];
    stream.read_exact(&mut asked)?;
    if asked != question {
        return Ok(false);
    }
    stream.write_all(answer)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(true)
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
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = serve(port, &[0; 2 * HALF][..], std::io::sink()).unwrap_err();
        assert!(format!("{error:#}").contains(&format!("listen on port {port}")), "{error:#}");
        assert!(serve(port, &[0; HALF][..], std::io::sink()).is_err(), "half a token");
    }
}
