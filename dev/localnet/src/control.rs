//! How `localnet status`, `down` and `start` reach a running `localnet up`: one line of JSON each way over a Unix
//! socket below the localnet's directory, readable by its owner only.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::report::Report;
use crate::settings::Layout;

/// Longest request or answer.
const MAX_LINE: u64 = 1 << 20;
/// For one exchange; starting a process is the longest.
const LIMIT: Duration = Duration::from_secs(60);

/// What can be asked of a running localnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// How it stands.
    Status,
    /// Start a process that has ended.
    Start(String),
    /// Tear everything down.
    Down,
}

/// What a running localnet answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Ask::Status`].
    Status(Box<Report>),
    /// Done, or under way.
    Done(String),
    /// Not done, and why.
    Refused(String),
}

/// A question on its way to the task that owns the localnet.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is asked.
    pub ask: Ask,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Answer>,
    /// Completes, with an error or not, when the exchange is over.
    pub(crate) written: oneshot::Receiver<()>,
}

/// Listens on `socket`; a socket left by a dead localnet is replaced (the caller holds the lock).
pub(crate) fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    if socket.exists() {
        std::fs::remove_file(socket).with_context(|| format!("remove stale {}", socket.display()))?;
    }
    let listener = UnixListener::bind(socket).with_context(|| format!("listen on {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Passes questions on to the owner, one connection at a time; whoever is slow loses the connection, not the others.
pub(crate) async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("accept a control connection")?;
        if let Ok(Err(error)) = tokio::time::timeout(LIMIT, exchange(stream, &calls)).await {
            tracing::debug!(error = %error, "control connection failed");
        }
    }
}

async fn exchange(mut stream: UnixStream, calls: &mpsc::Sender<Call>) -> anyhow::Result<()> {
    let mut line = String::new();
    let (reading, mut writing) = stream.split();
    BufReader::new(reading.take(MAX_LINE)).read_line(&mut line).await?;
    let ask = serde_json::from_str(&line)?;
    let (answer, answered) = oneshot::channel();
    let (_until_written, written) = oneshot::channel::<()>();
    calls.send(Call { ask, answer, written }).await?;
    let mut text = serde_json::to_vec(&answered.await?)?;
    text.push(b'\n');
    writing.write_all(&text).await?;
    Ok(())
}

/// Asks the localnet of `socket`.
///
/// # Errors
/// Says that none runs if nobody listens.
pub async fn ask(socket: &Path, ask: &Ask) -> anyhow::Result<Answer> {
    let exchange = async {
        let Ok(mut stream) = UnixStream::connect(socket).await else {
            bail!("no localnet is running; `basilica localnet up` starts one");
        };
        let mut text = serde_json::to_vec(ask)?;
        text.push(b'\n');
        stream.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(stream.take(MAX_LINE)).read_line(&mut line).await?;
        serde_json::from_str(&line).context("the running localnet gave no answer; it may be going down")
    };
    tokio::time::timeout(LIMIT, exchange).await.context("the running localnet did not answer in time")?
}

/// Waits until no localnet runs in this directory.
///
/// # Errors
/// If one still runs after a minute.
pub async fn until_down(layout: &Layout) -> anyhow::Result<()> {
    let gone = async {
        while layout.try_lock().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.context("the localnet is still going down after a minute")
}
