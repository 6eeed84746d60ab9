use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use basilica_localnet::{Layout, Report};
use tempfile::TempDir;

use crate::eventually::holds_within;

/// The directory of the built programs: `BASILICA_BIN_DIR`, or where this test was built.
///
/// # Panics
/// If a program is missing, with the command that builds it.
pub fn built(program: &str) -> PathBuf {
    let directory = match std::env::var_os("BASILICA_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let own = std::env::current_exe().expect("a test knows its own path");
            let target = own.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
            target.to_path_buf()
        }
    };
    let path = directory.join(program);
    assert!(path.is_file(), "{} is missing; `cargo xtask test` builds it", path.display());
    path
}

/// A whole network of its own, as a user would start it.
#[derive(Debug)]
pub struct Localnet {
    directory: TempDir,
    up: Mutex<Child>,
}

impl Localnet {
    /// Starts `basilica localnet up` on free ports; returns at once.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let up = command(directory.path())
            .args(["up", "--ports", "auto"])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("basilica starts");
        Self { directory, up: Mutex::new(up) }
    }

    /// Runs `basilica localnet ARGS` on this localnet.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command(self.directory.path()).args(arguments).output().expect("basilica runs")
    }

    /// How it stands; none before it takes questions.
    pub fn status(&self) -> Option<Report> {
        let output = self.run(&["status", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("status prints JSON"))
    }

    /// Waits until the report is as wanted.
    ///
    /// # Panics
    /// If it is not within two minutes, or the localnet ends before, with the last report.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let mut last = None;
        holds_within(Duration::from_secs(120), || {
            last = self.status();
            last.as_ref().is_some_and(&wanted) || self.ended().is_some()
        })
        .await;
        match last {
            Some(report) if wanted(&report) => report,
            last => panic!("{what} did not happen; it ended with {:?}; last report: {last:#?}", self.ended()),
        }
    }

    /// How `localnet up` ended, if it has.
    fn ended(&self) -> Option<ExitStatus> {
        self.up().try_wait().expect("the state of a child can be asked")
    }

    fn up(&self) -> MutexGuard<'_, Child> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all nodes are judged and the chain stores the weights computed from that.
    pub async fn until_settled(&self) -> Report {
        self.until("the first settled weights", |report| report.waiting_for.is_none()).await
    }

    /// Ends one of its processes the hard way.
    pub fn kill(&self, name: &str) {
        let report = self.status().expect("the localnet answers");
        let process = report.processes.iter().find(|p| p.name == name).expect("a known process");
        let pid = process.pid.unwrap_or_else(|| panic!("{name} runs")).to_string();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs").success());
    }

    /// Starts a process again.
    pub fn start_again(&self, name: &str) {
        let output = self.run(&["start", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The file in which a process keeps its state.
    pub fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join("run/data").join(name)
    }

    /// The configuration of a process.
    pub fn config(&self, name: &str) -> PathBuf {
        Layout::at(self.directory.path()).configs().join(format!("{name}.toml"))
    }

    /// The end of a process's log.
    pub fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.run(&["logs", name]).stdout).into_owned()
    }

    /// Tears it down and waits for the end.
    ///
    /// # Panics
    /// If it does not end with exit code 0.
    pub fn down(self) {
        let output = self.run(&["down"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let status = self.up().wait().expect("basilica ends");
        assert!(status.success(), "localnet up ended with {status}");
    }
}

impl Drop for Localnet {
    fn drop(&mut self) {
        // After `down` it is gone already. Otherwise its end takes everything with it.
        let _ = self.up().kill();
        let _ = self.up().wait();
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(built("basilica"));
    command.args(["localnet", "--dir"]).arg(directory).stdin(Stdio::null());
    command
}
