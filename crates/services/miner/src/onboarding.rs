//! What an operator's first and last visits to a node need: a short look at what earns there, and leaving it clean.
//!
//! The look is for somebody who waits in front of a terminal: can this login use containers without sudo, and does it see
//! GPUs. What validators measure is the doctor's business.

use std::collections::BTreeSet;

use basilica_ports::{Clock, ExitStatus, Shell};
use basilica_types::{Argv, Millis};

use crate::authorized_keys::KeyTag;
use crate::key_editor::{self, Edited, KeyEditError};

/// An engine that does not answer within four seconds is one that cannot be used. Both together leave room within a deadline of ten.
macro_rules! engines {
    () => {
        r#"
LC_ALL=C; export LC_ALL
printf 'login\n'
for engine in docker podman; do
  command -v "$engine" >/dev/null 2>&1 || continue
  if why=$(timeout 4 "$engine" version 2>&1 </dev/null >/dev/null); then
    printf 'engine %s\n' "$engine"
  else
    printf 'denied %s %s\n' "$engine" "$(printf '%s' "${why:-it does not answer within 4 s}" | head -n 1 | cut -c 1-300)"
  fi
done
"#
    };
}
/// Prints one line per finding.
const ENGINES: &str = engines!();
const LOOK: &str = concat!(
    engines!(),
    r#"
if command -v nvidia-smi >/dev/null 2>&1; then
  if names=$(timeout 20 nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null </dev/null); then
    printf '%s\n' "$names" | head -n 64 | sed 's/^/gpu /'
  else
    printf 'driver\n'
  fi
fi
"#
);
const LOOK_BYTES: usize = 16 * 1024;

/// How containers can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// By this program, without sudo.
    Usable(String),
    /// The program is there and does not let this login use it.
    Denied {
        /// Which.
        program: String,
        /// In its own words, one line.
        why: String,
    },
    /// Neither docker nor podman is installed.
    Missing,
}

/// Which GPUs the login sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// Their names, one for each.
    Seen(Vec<String>),
    /// `nvidia-smi` is there and fails: the driver is not loaded, or of another version.
    DriverFails,
    /// There is no `nvidia-smi`.
    NoDriver,
}

/// What a short look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLook {
    /// Containers.
    pub engine: Engine,
    /// GPUs.
    pub gpus: Gpus,
}

/// Why nothing was found out or cleaned.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// A command could not be run.
    #[error(transparent)]
    Edit(#[from] KeyEditError),
    /// The login runs something else than commands.
    #[error(
        "the login does not run commands (it answered {0:?}); look at the options before the miner's key in \
         ~/.ssh/authorized_keys on the node, and at ForceCommand in its sshd_config"
    )]
    NotAShell(String),
}

/// Looks around. `deadline` is for everything together.
pub async fn look(shell: &dyn Shell, deadline: Millis) -> Result<NodeLook, VisitError> {
    ask(LOOK, shell, deadline).await
}

/// How containers can be run there, and nothing else.
pub(crate) async fn engine(shell: &dyn Shell, deadline: Millis) -> Result<Engine, VisitError> {
    ask(ENGINES, shell, deadline).await.map(|look| look.engine)
}

async fn ask(script: &'static str, shell: &dyn Shell, deadline: Millis) -> Result<NodeLook, VisitError> {
    let command = Argv::script(script, std::iter::empty::<String>()).map_err(KeyEditError::from)?;
    let output = shell.run(&command, &[], key_editor::limits(deadline, LOOK_BYTES)).await;
    let output = output.map_err(KeyEditError::from)?;
    match output.status {
        ExitStatus::Code(0) => parse(&String::from_utf8_lossy(&output.stdout)),
        _ if output.stdout.is_empty() => Err(key_editor::failed("looking around", output).into()),
        _ => Err(VisitError::NotAShell(words(&String::from_utf8_lossy(&output.stdout)))),
    }
}

/// One line of a stranger's text, printable and short.
fn words(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

fn parse(answer: &str) -> Result<NodeLook, VisitError> {
    // What a noisy start-up file prints comes before the first line of ours.
    let mut lines = answer.lines().skip_while(|line| *line != "login");
    lines.next().ok_or_else(|| VisitError::NotAShell(words(answer)))?;
    let mut look = NodeLook { engine: Engine::Missing, gpus: Gpus::NoDriver };
    for line in lines {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (kind, &mut look.engine, &mut look.gpus) {
            ("engine", engine, _) if !matches!(engine, Engine::Usable(_)) => {
                *engine = Engine::Usable(words(rest));
            }
            ("denied", engine @ Engine::Missing, _) => {
                let (program, why) = rest.split_once(' ').unwrap_or((rest, ""));
                *engine = Engine::Denied { program: words(program), why: words(why) };
            }
            ("gpu", _, Gpus::Seen(names)) => names.push(words(rest)),
            ("gpu", _, gpus) if !rest.is_empty() => *gpus = Gpus::Seen(vec![words(rest)]),
            ("driver" | "gpu", _, gpus) => *gpus = Gpus::DriverFails,
            _ => {}
        }
    }
    Ok(look)
}

/// Takes the keys of `ours` off the node, ends what runs with them, and tells which were there. Keys of another miner stay.
/// `deadline` is for each command.
pub async fn clear(
    shell: &dyn Shell,
    clock: &dyn Clock,
    deadline: Millis,
    ours: &BTreeSet<KeyTag>,
) -> Result<Vec<KeyTag>, VisitError> {
    let mut edited = Edited::default();
    key_editor::apply(shell, clock, deadline, (ours, &[]), &mut edited).await?;
    let tags: Vec<KeyTag> = ours.iter().copied().collect();
    key_editor::end_processes(shell, deadline, &tags).await?;
    Ok(edited.removed)
}

#[cfg(test)]
mod tests;
