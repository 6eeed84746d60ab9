use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command::{Failure, spelled};
use crate::setup;
use crate::workspace::Workspace;

/// Verbs of `basilica localnet` other than `up`, which look at a localnet that runs: nothing is rebuilt under it.
const OF_A_RUNNING_ONE: [&str; 4] = ["status", "start", "logs", "down"];

/// Builds everything and becomes `basilica localnet …`: signals and the exit code are its own.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let arguments = forwarded(arguments);
    let program = workspace.binaries().join("basilica");
    if OF_A_RUNNING_ONE.contains(&arguments[0].as_str()) {
        if !program.exists() {
            return Err(Failure::Broken(format!(
                "no localnet was built in {}; start one with `cargo xtask localnet`",
                workspace.binaries().display()
            )));
        }
    } else {
        setup::network()?;
        eprintln!("building into {}", workspace.target.display());
        workspace.build(&[])?;
    }
    let mut command = Command::new(&program);
    command.arg("localnet").args(&arguments).env("BASILICA_BIN_DIR", workspace.binaries());
    eprintln!("starting {}", spelled(&command));
    let source = command.exec();
    Err(Failure::Start { program: program.display().to_string(), source })
}

/// `up` unless another verb is given.
fn forwarded(arguments: &[String]) -> Vec<String> {
    let verb = arguments.first().filter(|first| !first.starts_with('-'));
    let up = verb.is_none().then(|| "up".to_owned());
    up.into_iter().chain(arguments.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_alone_mean_up_and_verbs_are_kept() {
        for (given, want) in [
            (&[][..], &["up"][..]),
            (&["--once"], &["up", "--once"]),
            (&["--once", "--timeout", "60"], &["up", "--once", "--timeout", "60"]),
            (&["up", "--ports", "auto"], &["up", "--ports", "auto"]),
            (&["status", "--json"], &["status", "--json"]),
            (&["start", "chain"], &["start", "chain"]),
            (&["logs", "validator"], &["logs", "validator"]),
        ] {
            let given: Vec<String> = given.iter().map(|argument| (*argument).to_owned()).collect();
            assert_eq!(forwarded(&given), want);
        }
    }
}
