use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, run};
use crate::metadata::{Package, packages};

/// Where the repository is, and where its builds go.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// A continuous integration run: nothing is kept for an incremental build.
    pub(crate) ci: bool,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self, Failure> {
        // At run time first: a target directory may be shared by several clones.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root =
            manifest.ancestors().nth(2).map(Path::to_owned).ok_or_else(|| {
                Failure::Broken(format!("{} is not dev/xtask of a clone", manifest.display()))
            })?;
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let target = match variable("CARGO_TARGET_DIR") {
            Some(target) => root.join(target),
            None => variable("XDG_CACHE_HOME")
                .or_else(|| variable("HOME").map(|home| home.join(".cache")))
                .ok_or_else(|| Failure::Broken("neither CARGO_TARGET_DIR nor HOME is set".to_owned()))?
                .join("basilica-target"),
        };
        let ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        Ok(Self { root, target, ci })
    }

    /// Where `cargo build` leaves binaries.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// A cargo command at the root of the repository.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        // What `cargo run` tells this program about itself would be told to every build script below.
        for (name, _) in std::env::vars_os() {
            let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
            if own.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        if self.ci && std::env::var_os("CARGO_INCREMENTAL").is_none() {
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }

    pub(crate) fn packages(&self) -> Result<Vec<Package>, Failure> {
        packages(&mut self.cargo(&["metadata", "--no-deps", "--format-version", "1"]))
    }

    /// `--features …`: those without which some binary of the workspace would not be built, and the localnet.
    pub(crate) fn features(&self) -> Result<String, Failure> {
        let mut features: Vec<String> = self
            .packages()?
            .iter()
            .flat_map(|package| {
                package.binaries.iter().flat_map(|binary| {
                    binary.required_features.iter().map(|feature| format!("{}/{feature}", package.name))
                })
            })
            .collect();
        features.push("basilica/localnet".to_owned());
        features.sort();
        features.dedup();
        Ok(format!("--features={}", features.join(",")))
    }

    /// Builds every binary and, with `targets`, more. One selection for all verbs: another one would unify features
    /// differently and compile half of the dependencies again.
    pub(crate) fn build(&self, targets: &[&str]) -> Result<(), Failure> {
        let features = self.features()?;
        let mut arguments = vec!["build", "--workspace", &features, "--bins"];
        arguments.extend_from_slice(targets);
        run(&mut self.cargo(&arguments))
    }
}
