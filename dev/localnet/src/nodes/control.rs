//! A child process that is told what to do by words on its standard input and dies when that closes.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::NodesError;

/// For one step of a start; the whole takes a few hundredths of a second on an idle machine.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(20);
/// Of what a failed child printed.
const STDERR_KEPT: u64 = 4096;

#[derive(Debug)]
pub(super) struct Control {
    child: Child,
    words: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Control {
    /// Starts `program` with a clean environment.
    pub(super) fn spawn(what: &str, program: &str, arguments: &[&str]) -> Result<Self, NodesError> {
        let failed =
            |source| NodesError::Spawn { what: what.to_owned(), program: program.to_owned(), source };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C at the terminal is for the owner, who then ends its children in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pipe = || failed(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let words = child.stdin.take().ok_or_else(pipe)?;
        let answers = child.stdout.take().ok_or_else(pipe)?;
        Ok(Self { child, words, answers: BufReader::new(answers).lines() })
    }

    /// The next line that the child prints.
    pub(super) async fn line(&mut self, what: &str) -> Result<String, NodesError> {
        match tokio::time::timeout(STEP_LIMIT, self.answers.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None) | Err(_)) => Err(self.failure(what).await),
            Err(_) => Err(NodesError::Silent { what: what.to_owned() }),
        }
    }

    /// The process id that the child prints first.
    pub(super) async fn pid(&mut self, what: &str) -> Result<u32, NodesError> {
        let line = self.line(what).await?;
        line.parse().map_err(|_| NodesError::Failed { what: what.to_owned(), output: line })
    }

    /// Says `word` and waits until the child has acted on it.
    pub(super) async fn ask(&mut self, what: &str, word: &str) -> Result<(), NodesError> {
        if self.words.write_all(format!("{word}\n").as_bytes()).await.is_err() {
            return Err(self.failure(what).await);
        }
        match self.line(what).await? {
            answer if answer == word => Ok(()),
            output => Err(NodesError::Failed { what: what.to_owned(), output }),
        }
    }

    /// What the child printed before it ended.
    async fn failure(&mut self, what: &str) -> NodesError {
        let mut output = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            let mut limited = stderr.take(STDERR_KEPT);
            // Part of the text is better than none; the failure itself is reported either way.
            let _ = tokio::time::timeout(Duration::from_secs(1), limited.read_to_end(&mut output)).await;
        }
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        NodesError::Failed { what: what.to_owned(), output }
    }

    /// Closes standard input and waits for the end; kills what does not end.
    pub(super) async fn end(self) {
        let Self { mut child, words, answers } = self;
        drop((words, answers));
        if tokio::time::timeout(STEP_LIMIT, child.wait()).await.is_err() {
            // Only fails if the child has ended meanwhile.
            let _ = child.kill().await;
        }
    }
}
