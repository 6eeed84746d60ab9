//! The program as its users run it: what it prints, how it ends, what it leaves on disk.
#![expect(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

mod docs;
mod pty;
mod verify;
mod wallet;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs the program with a home of its own.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn wallets(&self, below: &str) -> PathBuf {
        self.path(".bittensor/wallets").join(below)
    }

    /// A file of this mode.
    fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // A session of its own has no terminal, wherever the test was started.
        let mut command = Command::new("setsid");
        command.args(["--wait", env!("CARGO_BIN_EXE_basilica"), "wallet"]).args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.0.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.ended(self.command(arguments).output().unwrap())
    }

    fn ended(&self, output: Output) -> Ended {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&self.0.path().display().to_string(), "HOME")
        };
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// How it ended; the home's path is written `HOME`.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    #[track_caller]
    fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self.err
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
