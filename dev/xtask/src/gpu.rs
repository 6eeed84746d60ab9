//! `cargo xtask gpu`: what this machine's CUDA devices do, by the prover that would be uploaded to a node.

use std::process::Command;

use crate::command::{Failure, run};
use crate::workspace::Workspace;

/// What the prover ends with where there is no device.
const NO_DEVICE: i32 = 3;

/// Builds the prover as it ships and has it check and measure every device.
pub(crate) fn run_prover(workspace: &Workspace) -> Result<(), Failure> {
    run(&mut workspace.cargo(&["build", "--release", "--package", "basilica-prover"]))?;
    let prover = workspace.target.join("release/basilica-prover");
    match run(Command::new(prover).arg("gpus")) {
        Err(Failure::Ended { status, .. }) if status.code() == Some(NO_DEVICE) => Err(Failure::NoDevice),
        other => other,
    }
}
