//! What a localnet is made of and where it keeps its files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use crate::cheat::Cheat;

/// The subnet of the main network, so that configs look like real ones.
pub const NETUID: u16 = 39;
/// Uid of the subnet's owner, to which the burn goes (RULES R5).
pub const BURN_UID: u16 = 0;

/// Which ports are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The documented ones: chain 9944, miners 50051, validator API 8080 and so on.
    Standing,
    /// Free ones, so that several localnets fit on one machine.
    Auto,
}

/// Where the GPUs of the nodes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// The prover's CPU backend plays the declared class `simulated-H100` (RULES R18).
    Simulated,
    /// The GPUs of this machine.
    Real,
}

/// How a localnet is brought up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of everything that the run writes.
    pub directory: PathBuf,
    /// Which ports.
    pub ports: Ports,
    /// Which GPUs.
    pub gpus: Gpus,
    /// Who cheats, each with nodes of its own beside the three honest ones.
    pub cheaters: Vec<Cheat>,
    /// Time between blocks.
    pub block_time: Duration,
    /// Leave once the first weights are on chain.
    pub once: bool,
    /// How long the first weights may take.
    pub timeout: Duration,
}

impl Settings {
    /// The directory of the one localnet that commands without `--dir` speak of.
    pub fn default_directory() -> anyhow::Result<PathBuf> {
        let state = match std::env::var_os("XDG_STATE_HOME") {
            Some(state) if Path::new(&state).is_absolute() => PathBuf::from(state),
            _ => PathBuf::from(std::env::var_os("HOME").context("HOME is not set; give --dir")?)
                .join(".local/state"),
        };
        Ok(state.join("basilica/localnet"))
    }
}

/// Paths below the localnet's directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

/// Marks a directory as ours, so that a mistyped `--dir` never costs anybody's files.
const MARKER: &str = ".basilica-localnet";

impl Layout {
    /// The layout below `root`, which need not exist.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Makes the directory ours: a new or empty one, or one that a localnet has used before.
    pub(crate) fn claim(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.root)
            .with_context(|| format!("create directory {}", self.root.display()))?;
        let marker = self.root.join(MARKER);
        if !marker.exists() && self.root.read_dir()?.next().is_some() {
            bail!(
                "{} is not empty and not a localnet's directory; choose another --dir",
                self.root.display()
            );
        }
        std::fs::write(&marker, "made by `basilica localnet up`\n")
            .with_context(|| format!("write {}", marker.display()))
    }

    /// Makes room for a run, keeping nothing of an earlier one.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(self.run()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", self.run().display()));
            }
            _ => {}
        }
        for directory in [self.logs(), self.configs(), self.wallets()] {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("create directory {}", directory.display()))?;
        }
        Ok(())
    }

    /// Everything of the present run.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// One log per process.
    pub fn logs(&self) -> PathBuf {
        self.run().join("logs")
    }

    /// The log of one process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// Generated configuration files.
    pub fn configs(&self) -> PathBuf {
        self.run().join("config")
    }

    /// Wallets of the miners and the validator.
    pub fn wallets(&self) -> PathBuf {
        self.run().join("wallets")
    }

    /// State of one process.
    pub fn data(&self, name: &str) -> PathBuf {
        self.run().join("data").join(name)
    }

    /// The socket on which a running localnet takes commands.
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The exclusive use of this directory, for as long as the file is open; none if somebody else has it, or if it
    /// cannot be opened.
    pub(crate) fn try_lock(&self) -> Option<File> {
        let file =
            File::options().create(true).truncate(false).write(true).open(self.root.join("lock")).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_somebody_elses_files_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("thesis.tex"), "years of work").unwrap();
        let refused = Layout::at(directory.path()).claim().unwrap_err().to_string();
        assert!(refused.contains("not a localnet's directory"), "{refused}");
    }

    #[test]
    fn a_new_run_keeps_nothing_of_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::at(&directory.path().join("new"));
        for _ in 0..2 {
            layout.claim().unwrap();
            layout.prepare().unwrap();
            assert!(!layout.log("chain").exists());
            std::fs::write(layout.log("chain"), "old").unwrap();
        }
    }
}
