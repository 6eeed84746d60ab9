//! The public chain's own metadata of spec 365, with which the development chain is compared.
//!
//! It is a file in the package of the published crate `bittensor-rs` 0.1.1. Only that file is used: `cargo info` fetches
//! the package as any registry client would and builds nothing, and no lock file ever names the crate. The tests
//! that read the file hold it against a pinned hash.
//!
//! Rejected: a copy in this repository (data that nobody here wrote, and that nobody would check again), a vendored or
//! locked dependency (its requirements would be resolved with ours), and a download without cargo (mirrors and proxies
//! are set up for cargo).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::command::{Failure, run};
use crate::workspace::Workspace;

const PACKAGE: &str = "bittensor-rs";
const VERSION: &str = "0.1.1";
/// The file in the package.
const FILE: &str = "metadata/finney.scale";
/// The variable by which tests find the metadata.
const VARIABLE: &str = "BASILICA_FINNEY_METADATA";

/// The variable by which tests find the metadata. Fails where it cannot be had: the tests that need it do not skip
/// themselves.
pub(crate) fn variable(workspace: &Workspace) -> Result<(&'static str, PathBuf), Failure> {
    let registry = cargo_home()?.join("registry/src");
    if let Some(found) = unpacked(&registry) {
        println!("    spec 365's metadata is {}", found.display());
        return Ok((VARIABLE, found));
    }
    println!("    fetching the package of {PACKAGE} {VERSION} with cargo");
    let mut info = workspace.cargo(&["info", "--quiet", &format!("{PACKAGE}@{VERSION}")]);
    // Outside of the workspace, whose lock file has nothing to do with it.
    run(info.current_dir(std::env::temp_dir()).stdout(Stdio::null()))
        .map_err(|failure| missing(&failure.to_string()))?;
    unpacked(&registry)
        .map(|found| (VARIABLE, found))
        .ok_or_else(|| missing(&format!("cargo has fetched it, but it is not below {}", registry.display())))
}

fn cargo_home() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CARGO_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cargo")))
        .ok_or_else(|| Failure::Broken("neither CARGO_HOME nor HOME is set".to_owned()))
}

/// The file below the folder where cargo unpacks packages, one folder per registry.
fn unpacked(registry: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(registry).ok()?;
    folders
        .filter_map(Result::ok)
        .map(|folder| folder.path().join(format!("{PACKAGE}-{VERSION}")).join(FILE))
        .find(|file| file.is_file())
}

fn missing(why: &str) -> Failure {
    Failure::Broken(format!(
        "the public chain's metadata of spec 365 cannot be had, and the comparison with it cannot run: {why}.\n\
         It is {FILE} in the package of {PACKAGE} {VERSION}; cargo needs a way to its registry (cargo's own settings hold)."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_in_whichever_registry_has_it() {
        let registry = std::env::temp_dir().join(format!("xtask-finney-{}", std::process::id()));
        assert_eq!(unpacked(&registry), None);
        let package = registry.join("mirror-1").join(format!("{PACKAGE}-{VERSION}")).join("metadata");
        std::fs::create_dir_all(registry.join("mirror-0")).expect("makes a folder");
        std::fs::create_dir_all(&package).expect("makes a folder");
        assert_eq!(unpacked(&registry), None);
        std::fs::write(package.join("finney.scale"), b"").expect("writes");
        assert_eq!(unpacked(&registry), Some(package.join("finney.scale")));
        std::fs::remove_dir_all(&registry).expect("cleans up");
    }
}
