//! `cargo xtask zoo`: the public scorecard of the cheater zoo.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command::{Failure, run};
use crate::workspace::Workspace;

/// Builds the simulation and becomes it: output and exit code are its own.
pub(crate) fn scorecard(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    run(&mut workspace.cargo(&["build", "--quiet", "--package", "basilica-sim", "--bin", "basilica-zoo"]))?;
    let program = workspace.binaries().join("basilica-zoo");
    let source = Command::new(&program).args(arguments).current_dir(&workspace.root).exec();
    Err(Failure::Start { program: program.display().to_string(), source })
}
