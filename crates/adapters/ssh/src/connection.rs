//! An authenticated connection and the commands on it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{Output, OutputLimits, Process, Shell, ShellError};
use basilica_types::{Argv, HostKey, Millis};
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelWriteHalf, Disconnect, Sig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::command::{Command, run_to_end};
use crate::dial::{Socket, lost};
use crate::trust::Trust;

/// Commands side by side on one connection. sshd's `MaxSessions` is 10 unless changed, and it counts a command a moment
/// longer than its channel lives: half of it leaves room for as many that are just ending.
const SESSIONS: usize = 5;
/// Pauses before another try where sshd has no free session after all; together 0.6 s.
const SESSION_RETRIES_MS: [u64; 6] = [10, 20, 40, 80, 160, 320];
/// For opening a channel and hearing that the command started.
const START_LIMIT: Millis = Millis::from_secs(30);
/// For a polite good-bye.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// What all users of one connection share; the socket closes with the last of them.
pub(crate) struct Link {
    handle: Handle<Trust>,
    sessions: Arc<Semaphore>,
    /// Channels whose owner is gone but whose close could not be queued at once; closed before the next command.
    abandoned: Mutex<Vec<(ChannelWriteHalf<Msg>, OwnedSemaphorePermit)>>,
    /// Every session that sshd grants is held by commands that outlived their channel: only a new login helps.
    worn_out: AtomicBool,
    socket: Socket,
}

impl Link {
    pub(crate) async fn open(self: &Arc<Self>, command: &Argv) -> Result<Command, ShellError> {
        let step = "starting a command";
        self.close_abandoned().await;
        let permit = Arc::clone(&self.sessions).acquire_owned().await.map_err(|e| lost(step, e))?;
        let (read, write) = self.open_channel().await.map_err(|e| lost(step, e))?.split();
        let mut opened = Command::new(read, write, permit, Arc::clone(self));
        opened.exec(command).await?;
        Ok(opened)
    }

    async fn open_channel(&self) -> Result<Channel<Msg>, russh::Error> {
        let mut pauses = SESSION_RETRIES_MS.into_iter().map(Duration::from_millis);
        loop {
            match (self.handle.channel_open_session().await, pauses.next()) {
                (Err(russh::Error::ChannelOpenFailure(_)), Some(pause)) => tokio::time::sleep(pause).await,
                (Err(error @ russh::Error::ChannelOpenFailure(_)), None) => {
                    self.worn_out.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                (outcome, _) => return outcome,
            }
        }
    }

    async fn close_abandoned(&self) {
        let abandoned = std::mem::take(&mut *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner));
        for (channel, _permit) in abandoned {
            // Both fail only if the connection is gone, and the channel with it.
            let _ = channel.signal(Sig::KILL).await;
            let _ = channel.close().await;
        }
    }

    /// Kills and closes from a destructor, where nothing can be awaited.
    pub(crate) fn abandon(&self, channel: ChannelWriteHalf<Msg>, permit: OwnedSemaphorePermit) {
        let queued = is_ready(channel.signal(Sig::KILL)) && is_ready(channel.close());
        if !queued {
            self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push((channel, permit));
        }
    }
}

/// Whether a future completes at its first poll.
fn is_ready(future: impl Future) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

/// One login at one node.
pub(crate) struct Connection {
    link: Arc<Link>,
    host_key: HostKey,
}

impl Connection {
    pub(crate) fn new(handle: Handle<Trust>, socket: std::net::TcpStream, host_key: HostKey) -> Self {
        let link = Link {
            handle,
            sessions: Arc::new(Semaphore::new(SESSIONS)),
            abandoned: Mutex::new(Vec::new()),
            worn_out: AtomicBool::new(false),
            socket: Socket(Some(socket)),
        };
        Self { link: Arc::new(link), host_key }
    }
}

#[async_trait]
impl Shell for Connection {
    fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    fn is_open(&self) -> bool {
        !self.link.handle.is_closed() && !self.link.worn_out.load(Ordering::Relaxed)
    }

    async fn run(&self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, ShellError> {
        let work = async { run_to_end(self.link.open(command).await?, input, limits).await };
        tokio::time::timeout(limits.deadline.as_duration(), work)
            .await
            .map_err(|_| ShellError::Deadline { step: "a command", limit: limits.deadline })?
    }

    async fn start(&self, command: &Argv) -> Result<Box<dyn Process>, ShellError> {
        let started = tokio::time::timeout(START_LIMIT.as_duration(), self.link.open(command))
            .await
            .map_err(|_| ShellError::Deadline { step: "starting a command", limit: START_LIMIT })??;
        Ok(Box::new(started))
    }

    async fn close(&self) {
        let farewell = self.link.handle.disconnect(Disconnect::ByApplication, "", "");
        // Politeness only: the socket is shut either way.
        let _ = tokio::time::timeout(CLOSE_LIMIT, async {
            if farewell.await.is_ok() {
                while !self.link.handle.is_closed() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        })
        .await;
        self.link.socket.shut();
    }
}
