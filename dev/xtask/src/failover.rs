//! `cargo xtask failover`: two real validators on one real Postgres, and what befalls them.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command::{Failure, run};
use crate::setup;
use crate::workspace::Workspace;

const BUILD: [&str; 8] = [
    "build",
    "--quiet",
    "--package",
    "basilica-failover",
    "--package",
    "basilica-validator",
    "--package",
    "basilica-devchain",
];

/// Builds the programs and becomes the one that strikes: output and exit code are its own.
pub(crate) fn strike(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    setup::servers()?;
    run(&mut workspace.cargo(&BUILD))?;
    let program = workspace.binaries().join("basilica-failover");
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(&workspace.root).env("BASILICA_BIN_DIR", workspace.binaries());
    let source = command.exec();
    Err(Failure::Start { program: program.display().to_string(), source })
}
