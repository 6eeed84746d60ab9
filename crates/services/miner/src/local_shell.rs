//! For tests of what runs on nodes: this machine's own `sh`, in a home directory of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use async_trait::async_trait;
use basilica_ports::{ExitStatus, Output, OutputLimits, Process, Shell, ShellError};
use basilica_types::{Argv, HostKey};
use tokio::io::AsyncWriteExt as _;

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// What happens on the node before a command runs.
pub(crate) type Meanwhile = Box<dyn FnMut(&Path) + Send>;

/// A node that is this machine with another home.
pub(crate) struct LocalShell {
    pub(crate) home: tempfile::TempDir,
    host_key: HostKey,
    pub(crate) before_write: Mutex<Option<Meanwhile>>,
}

impl LocalShell {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, host_key: KEY.parse().unwrap(), before_write: Mutex::new(None) }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.home.path().join(".ssh/authorized_keys")
    }

    pub(crate) fn with_file(content: &[u8]) -> Self {
        let shell = Self::new();
        std::fs::create_dir(shell.home.path().join(".ssh")).unwrap();
        std::fs::write(shell.file(), content).unwrap();
        shell
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// What lies in `~/.ssh`, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path().join(".ssh")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

#[async_trait]
impl Shell for LocalShell {
    fn host_key(&self) -> &HostKey {
        &self.host_key
    }
    fn is_open(&self) -> bool {
        true
    }
    async fn run(&self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, ShellError> {
        if !input.is_empty()
            && let Some(meanwhile) = self.before_write.lock().unwrap().as_mut()
        {
            meanwhile(&self.file());
        }
        let mut path = self.home.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", &command.to_command_line()])
            .env("HOME", self.home.path())
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        let output = tokio::time::timeout(limits.deadline.as_duration(), child.wait_with_output())
            .await
            .map_err(|_| ShellError::Deadline { step: "a command", limit: limits.deadline })?
            .unwrap();
        let status =
            output.status.code().map_or(ExitStatus::Unknown, |code| ExitStatus::Code(code.unsigned_abs()));
        Ok(Output { status, stdout: output.stdout, stderr: output.stderr })
    }
    async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
        panic!("editing a file starts no process")
    }
    async fn close(&self) {}
}
