//! `cargo xtask scale`: the real validator before 1,000 nodes.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command::{Failure, run};
use crate::setup;
use crate::workspace::Workspace;

/// What is measured is built as it ships; the chain is not, and takes long.
const BUILD: [&str; 11] = [
    "build",
    "--quiet",
    "--release",
    "--package",
    "basilica-scale",
    "--package",
    "basilica-validator",
    "--package",
    "basilica-miner",
    "--package",
    "basilica-prover",
];
const BUILD_CHAIN: [&str; 4] = ["build", "--quiet", "--package", "basilica-devchain"];

/// Builds the programs and becomes the one that measures: output and exit code are its own.
pub(crate) fn measure(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    setup::network()?;
    run(&mut workspace.cargo(&BUILD_CHAIN))?;
    run(&mut workspace.cargo(&BUILD))?;
    let program = workspace.target.join("release").join("basilica-scale");
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(&workspace.root).env("BASILICA_BIN_DIR", workspace.binaries());
    let source = command.exec();
    Err(Failure::Start { program: program.display().to_string(), source })
}
