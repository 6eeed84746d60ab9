//! The programs that a localnet runs: those built beside this one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Paths of the built programs.
#[derive(Clone, Debug)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// The programs in `directory`; refuses if one is missing.
    pub fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let programs = Self { directory: directory.to_path_buf() };
        for path in [
            programs.devchain(),
            programs.miner(),
            programs.validator(),
            programs.prover(),
            programs.tampered_prover(),
        ] {
            if !path.is_file() {
                bail!("program {} is missing; `cargo xtask localnet` builds all of them", path.display());
            }
        }
        Ok(programs)
    }

    /// The programs beside the running one.
    pub fn beside_this() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("find the path of this program")?;
        Self::in_directory(own.parent().context("this program has no directory")?)
    }

    /// The development chain.
    pub fn devchain(&self) -> PathBuf {
        self.directory.join("basilica-devchain")
    }

    /// The miner.
    pub fn miner(&self) -> PathBuf {
        self.directory.join("basilica-miner")
    }

    /// The validator.
    pub fn validator(&self) -> PathBuf {
        self.directory.join("basilica-validator")
    }

    /// The prover that the validator uploads.
    pub fn prover(&self) -> PathBuf {
        self.directory.join("basilica-prover")
    }

    /// What the dishonest node runs instead of it.
    pub fn tampered_prover(&self) -> PathBuf {
        self.directory.join("basilica-prover-tampered")
    }
}
