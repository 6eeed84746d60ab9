//! What a localnet is made of and where it keeps its files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

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

    /// Makes the directory empty, keeping nothing of an earlier run.
    pub fn prepare(&self) -> anyhow::Result<()> {
        if self.root.exists() {
            let strange = !self.root.join(MARKER).exists() && self.root.read_dir()?.next().is_some();
            if strange {
                bail!(
                    "{} exists and is not a localnet's directory; choose another --dir",
                    self.root.display()
                );
            }
            std::fs::remove_dir_all(self.run()).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        for directory in [self.run(), self.logs(), self.configs(), self.wallets()] {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("create directory {}", directory.display()))?;
        }
        std::fs::write(self.root.join(MARKER), "made by `basilica localnet up`\n")?;
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

    /// Held while a localnet runs here.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}
