//! One command on one channel.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{ExitStatus, Output, OutputLimits, Process, ShellError};
use basilica_types::Argv;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::OwnedSemaphorePermit;

use crate::connection::Link;
use crate::dial::lost;

/// Standard error that a [`Process`] keeps.
const STDERR_KEPT: usize = 16 * 1024;
/// Standard output set aside while a [`Process`] is being written to; beyond it, writing waits for the reader.
const STASH: usize = 256 * 1024;
/// Input is copied in pieces of this size, so that a large upload is not held twice.
const INPUT_PIECE: usize = 32 * 1024;
/// SSH's number of the standard error stream.
const STDERR_STREAM: u32 = 1;

/// Steps as they are named in errors.
const STARTING: &str = "starting a command";
const RUNNING: &str = "a command";
const FEEDING: &str = "feeding a command";

/// What went wrong at the other end.
#[derive(Debug, thiserror::Error)]
enum Peer {
    /// A forced command, a policy or `MaxSessions`.
    #[error("the server refused to start the command")]
    Refused,
    /// Output or an end before the command was accepted.
    #[error("the server broke the protocol")]
    OutOfOrder,
    /// It cannot take more input.
    #[error("the command has ended")]
    Ended,
}

/// A running command. Unless its end was seen, dropping it kills it and closes the channel.
pub(crate) struct Command {
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Command {
    pub(crate) const fn new(
        read: ChannelReadHalf,
        write: ChannelWriteHalf<Msg>,
        permit: OwnedSemaphorePermit,
        link: Arc<Link>,
    ) -> Self {
        let incoming = Incoming {
            read,
            status: ExitStatus::Unknown,
            stderr: Vec::new(),
            stderr_limit: STDERR_KEPT,
            stash: VecDeque::new(),
            stashed: 0,
            end: End::Open,
        };
        Self { incoming, outgoing: Outgoing { channel: Some((write, permit)), link } }
    }

    /// Sends the command line and waits for the server's word.
    pub(crate) async fn exec(&mut self, command: &Argv) -> Result<(), ShellError> {
        let write = self.outgoing.writer(STARTING)?;
        write.exec(true, command.to_command_line()).await.map_err(|e| lost(STARTING, e))?;
        loop {
            match self.incoming.read.wait().await {
                Some(ChannelMsg::Success) => return Ok(()),
                Some(ChannelMsg::Failure) => return Err(lost(STARTING, Peer::Refused)),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                Some(_) => return Err(lost(STARTING, Peer::OutOfOrder)),
                None => return Err(lost(STARTING, russh::Error::Disconnect)),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Standard output has ended.
    Eof,
    /// The command has ended.
    Closed,
}

/// What a channel brought.
enum Event {
    Stdout(Vec<u8>),
    Eof,
    Closed,
}

struct Incoming {
    read: ChannelReadHalf,
    status: ExitStatus,
    stderr: Vec<u8>,
    stderr_limit: usize,
    stash: VecDeque<Vec<u8>>,
    stashed: usize,
    end: End,
}

impl Incoming {
    /// The next event; standard error and the exit status are noted on the way. Cancel-safe: what is taken off the
    /// channel is returned or kept.
    async fn next(&mut self) -> Result<Event, ShellError> {
        if self.end == End::Closed {
            return Ok(Event::Closed);
        }
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Data { data }) if !data.is_empty() => return Ok(Event::Stdout(data.into())),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR_STREAM }) => self.keep_stderr(&data),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = ExitStatus::Code(exit_status),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    self.status = ExitStatus::Signal(signal_text(signal_name));
                }
                Some(ChannelMsg::Eof) => {
                    self.end = End::Eof;
                    return Ok(Event::Eof);
                }
                Some(ChannelMsg::Close) => {
                    self.end = End::Closed;
                    return Ok(Event::Closed);
                }
                Some(_) => {}
                None => return Err(lost(RUNNING, russh::Error::Disconnect)),
            }
        }
    }

    fn keep_stderr(&mut self, bytes: &[u8]) {
        let room = self.stderr_limit.saturating_sub(self.stderr.len());
        self.stderr.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads ahead until the stash is full or the command ends, so that a command which must write before it can
    /// read goes on while we write.
    async fn read_ahead(&mut self) -> Result<(), ShellError> {
        while self.stashed < STASH {
            match self.next().await? {
                Event::Stdout(data) => {
                    self.stashed += data.len();
                    self.stash.push_back(data);
                }
                Event::Eof => {}
                Event::Closed => return Err(lost(FEEDING, Peer::Ended)),
            }
        }
        std::future::pending().await
    }
}

/// Bounded: a server could send any text as a signal's name.
fn signal_text(signal: russh::Sig) -> String {
    let name = match signal {
        russh::Sig::Custom(name) => name,
        known => format!("{known:?}"),
    };
    name.chars().filter(char::is_ascii_alphanumeric).take(16).collect()
}

struct Outgoing {
    /// Absent once the channel is closed.
    channel: Option<(ChannelWriteHalf<Msg>, OwnedSemaphorePermit)>,
    link: Arc<Link>,
}

impl Outgoing {
    fn writer(&self, step: &'static str) -> Result<&ChannelWriteHalf<Msg>, ShellError> {
        self.channel.as_ref().map(|(write, _)| write).ok_or_else(|| lost(step, Peer::Ended))
    }

    async fn send(&self, bytes: &[u8]) -> Result<(), ShellError> {
        let write = self.writer(FEEDING)?;
        for piece in bytes.chunks(INPUT_PIECE) {
            write.data_bytes(piece.to_vec()).await.map_err(|e| lost(FEEDING, e))?;
        }
        Ok(())
    }

    async fn end_input(&self) -> Result<(), ShellError> {
        self.writer(FEEDING)?.eof().await.map_err(|e| lost(FEEDING, e))
    }

    /// The channel's end was seen: the library has answered it, and there is nothing to kill.
    fn closed(&mut self) {
        self.channel = None;
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some((write, permit)) = self.channel.take() {
            self.link.abandon(write, permit);
        }
    }
}

/// Feeds `input`, reads both outputs within their limits and returns when the command has ended.
pub(crate) async fn run_to_end(
    command: Command,
    input: &[u8],
    limits: OutputLimits,
) -> Result<Output, ShellError> {
    let Command { mut incoming, mut outgoing } = command;
    incoming.stderr_limit = limits.stderr;
    let mut stdout = Vec::new();
    {
        let mut feeding = true;
        let mut feed = pin!(async {
            outgoing.send(input).await?;
            outgoing.end_input().await
        });
        loop {
            tokio::select! {
                // A failure to feed is no verdict: a command may end without reading its input, and a lost
                // connection shows on the reading side.
                _ = &mut feed, if feeding => feeding = false,
                event = incoming.next() => match event? {
                    Event::Stdout(data) if stdout.len() + data.len() > limits.stdout => {
                        return Err(ShellError::TooMuchOutput { limit: limits.stdout });
                    }
                    Event::Stdout(data) => stdout.extend_from_slice(&data),
                    Event::Eof => {}
                    Event::Closed => break,
                }
            }
        }
    }
    outgoing.closed();
    Ok(Output { status: incoming.status, stdout, stderr: incoming.stderr })
}

#[async_trait]
impl Process for Command {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ShellError> {
        tokio::select! {
            sent = self.outgoing.send(bytes) => sent,
            failed = self.incoming.read_ahead() => failed,
        }
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError> {
        if let Some(data) = self.incoming.stash.pop_front() {
            self.incoming.stashed -= data.len();
            return Ok(Some(data));
        }
        if self.incoming.end != End::Open {
            return Ok(None);
        }
        match self.incoming.next().await? {
            Event::Stdout(data) => Ok(Some(data)),
            Event::Eof => Ok(None),
            Event::Closed => {
                self.outgoing.closed();
                Ok(None)
            }
        }
    }

    fn stderr(&self) -> &[u8] {
        &self.incoming.stderr
    }

    async fn finish(mut self: Box<Self>) -> Result<ExitStatus, ShellError> {
        if self.incoming.end != End::Closed {
            // Fails only where the connection is lost, which reading tells too unless the end came first.
            let _ = self.outgoing.end_input().await;
            while !matches!(self.incoming.next().await?, Event::Closed) {}
        }
        self.outgoing.closed();
        Ok(self.incoming.status.clone())
    }
}
