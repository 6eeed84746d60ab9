//! `cargo xtask keys`: thousands of validators' keys come and go on real nodes while much goes wrong.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command::{Failure, run};
use crate::setup;
use crate::workspace::Workspace;

const BUILD: [&str; 8] = [
    "build",
    "--quiet",
    "--package",
    "basilica-keychurn",
    "--package",
    "basilica-miner",
    "--package",
    "basilica-devchain",
];

/// Builds the programs and becomes the one that runs them: output and exit code are its own.
pub(crate) fn churn(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    setup::network()?;
    run(&mut workspace.cargo(&BUILD))?;
    let program = workspace.binaries().join("basilica-keychurn");
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(&workspace.root).env("BASILICA_BIN_DIR", workspace.binaries());
    let source = command.exec();
    Err(Failure::Start { program: program.display().to_string(), source })
}
