//! One process of the localnet: started with a log file, ended with its parent, startable again after its death.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs under this process id.
    Running(u32),
    /// It has ended, in these words.
    Ended(String),
}

/// A process of the localnet.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
    last_end: String,
}

impl Service {
    /// A service that is not started yet.
    pub(crate) fn new(name: &str, program: PathBuf, arguments: Vec<String>, log: PathBuf) -> Self {
        let last_end = "not started".to_owned();
        Self { name: name.to_owned(), program, arguments, log, child: None, last_end }
    }

    /// Its name in `localnet logs NAME` and `localnet start NAME`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts the process; its output goes to the end of its log.
    ///
    /// `setpriv` has the kernel kill it when this process dies, however that happens.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let open = || File::options().create(true).append(true).open(&self.log);
        let log = open().with_context(|| format!("open log {}", self.log.display()))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is for us, who then end our children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {} ({})", self.name, self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Whether it runs, without waiting.
    pub(crate) fn state(&mut self) -> State {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => {
                    if let Some(pid) = child.id() {
                        return State::Running(pid);
                    }
                }
                Ok(Some(status)) => self.last_end = in_words(status),
                Err(error) => self.last_end = format!("cannot be waited for: {error}"),
            }
            self.child = None;
        }
        State::Ended(self.last_end.clone())
    }

    /// Asks the process to end, and kills it if it has not within `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            // Fails only if it has ended already, which is what we want.
            let _ = kill_process(pid, Signal::TERM);
        }
        match tokio::time::timeout(grace, child.wait()).await {
            Ok(Ok(status)) => self.last_end = in_words(status),
            Ok(Err(_)) | Err(_) => {
                let _ = child.kill().await;
                self.last_end = format!("killed: it did not end within {} s", grace.as_secs());
            }
        }
    }

    /// Waits until `condition` gives a value; fails if the process ends first or time runs out.
    pub(crate) async fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let look = async {
            loop {
                if let Some(value) = condition().await {
                    return Ok(value);
                }
                if let State::Ended(how) = self.state() {
                    bail!("{} {how} while {what} was awaited\n{}", self.name, self.last_lines());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(limit, look).await {
            Ok(result) => result,
            Err(_) => {
                bail!(
                    "{}: {what} did not come within {} s\n{}",
                    self.name,
                    limit.as_secs(),
                    self.last_lines()
                )
            }
        }
    }

    /// The end of the log, for an error message.
    fn last_lines(&self) -> String {
        let text = read_tail(&self.log, 4096);
        let lines: Vec<&str> = text.lines().rev().take(8).collect();
        let shown: Vec<String> = lines.into_iter().rev().map(|line| format!("    {line}")).collect();
        format!("  last lines of {}:\n{}", self.log.display(), shown.join("\n"))
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Up to `limit` bytes from the end of a file, as text; empty if it cannot be read.
pub(crate) fn read_tail(path: &Path, limit: usize) -> String {
    let Ok(bytes) = std::fs::read(path) else { return String::new() };
    let start = bytes.len().saturating_sub(limit);
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

/// The rest of the first line in `path` that starts with `prefix`.
pub(crate) fn line_after(path: &Path, prefix: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let whole_lines = &text[..text.rfind('\n')?];
    whole_lines.lines().find_map(|line| line.strip_prefix(prefix)).map(|rest| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(directory: &Path, script: &str) -> Service {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        Service::new("probe", PathBuf::from("/bin/sh"), arguments, directory.join("log"))
    }

    #[tokio::test]
    async fn a_process_that_ends_early_is_reported_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut service = service(directory.path(), "echo cannot bind >&2; exit 3");
        service.start().unwrap();
        let limit = Duration::from_secs(20);
        let failed = service.wait_for("readiness", limit, async || None::<()>).await.unwrap_err().to_string();
        assert!(failed.contains("exit code 3") && failed.contains("cannot bind"), "{failed}");
    }

    #[tokio::test]
    async fn a_killed_process_can_be_started_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut service = service(directory.path(), "echo up; exec cat /dev/zero >/dev/null");
        let (limit, log) = (Duration::from_secs(20), directory.path().join("log"));
        service.start().unwrap();
        service.wait_for("line", limit, async || line_after(&log, "up")).await.unwrap();
        let State::Running(pid) = service.state() else { panic!("runs") };
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
        let ended = service.wait_for("nothing", limit, async || None::<()>).await.unwrap_err().to_string();
        assert!(ended.contains("signal 9"), "{ended}");
        service.start().unwrap();
        assert!(matches!(service.state(), State::Running(_)));
        service.stop(limit).await;
        assert!(matches!(service.state(), State::Ended(_)));
    }
}
