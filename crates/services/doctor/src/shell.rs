//! Whether commands can be run on a node as validators run them.

use std::sync::Arc;

use basilica_ports::{ExitStatus, Output, OutputLimits, Shell, ShellError};
use basilica_types::{Argv, Millis, SshPublicKey, Username};

use crate::examine::{self, Examined};
use crate::login::words;
use crate::words::shown;

/// Bytes of standard error.
const ERRORS: usize = 4 * 1024;
/// Characters of a node's words in a finding.
const WORDS: usize = 200;
/// Ends by itself once its input does: two of them at once show how many sessions there are.
const HOLD: &str = "echo held; cat >/dev/null";

/// What commands come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commands {
    /// As they should.
    Work,
    /// Words come before the answer.
    Noise(String),
    /// Something else is run.
    Forced(String),
    /// The login shell refuses.
    Refused(String),
    /// The login shell runs a plain command and no script.
    NotPosix(String),
    /// No answer in time.
    Slow,
    /// The server does not start commands.
    NoSession(String),
    /// The connection broke.
    Lost(String),
}

fn limits(deadline: Millis) -> OutputLimits {
    OutputLimits { deadline, stdout: examine::ANSWER_MAX, stderr: ERRORS }
}

fn failed(error: &ShellError) -> Commands {
    match error {
        ShellError::Deadline { .. } => Commands::Slow,
        ShellError::Lost { step: "starting a command", .. } if refuses_sessions(&words(error)) => {
            Commands::NoSession(words(error))
        }
        ShellError::TooMuchOutput { .. } => Commands::Forced(words(error)),
        _ => Commands::Lost(words(error)),
    }
}

/// Whether the connection stands and the server opens nothing more on it.
fn refuses_sessions(words: &str) -> bool {
    words.contains("open channel") || words.contains("refused to start")
}

/// Runs a word that only this command can say, and reads what comes back.
pub(crate) async fn commands(shell: &dyn Shell, nonce: &str, deadline: Millis) -> Commands {
    let echo = Argv::new(["echo", nonce]).expect("two words fit");
    match shell.run(&echo, b"", limits(deadline)).await {
        Err(error) => return failed(&error),
        Ok(output) => match heard(&output, nonce) {
            Commands::Work => {}
            other => return other,
        },
    }
    // The second line is where shells part.
    let script =
        Argv::script("set -eu\nword=$1\necho \"$word\"\n", [nonce]).expect("a constant and a word fit");
    match shell.run(&script, b"", limits(deadline)).await {
        Err(error) => failed(&error),
        Ok(output) => match heard(&output, nonce) {
            Commands::Refused(words) | Commands::Forced(words) => Commands::NotPosix(words),
            other => other,
        },
    }
}

fn heard(output: &Output, nonce: &str) -> Commands {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if let Some((before, _)) = text.split_once(nonce) {
        return if before.is_empty() { Commands::Work } else { Commands::Noise(shown(before, WORDS)) };
    }
    let words = if text.trim().is_empty() { shown(&errors, WORDS) } else { shown(&text, WORDS) };
    let is_turned_away = words.contains("account is currently not available");
    match output.status {
        _ if is_turned_away => Commands::Refused(words),
        // What /bin/false says.
        ExitStatus::Code(1) if words.is_empty() => Commands::Refused("exit code 1, and no word".to_owned()),
        _ => Commands::Forced(if words.is_empty() { "nothing".to_owned() } else { words }),
    }
}

/// Whether a second command runs beside a first.
pub(crate) async fn second_session(shell: &dyn Shell) -> Option<String> {
    let hold = Argv::script(HOLD, Vec::<String>::new()).expect("a constant fits");
    let first = shell.start(&hold).await;
    let second = shell.start(&hold).await;
    let refused = match (&first, &second) {
        (Ok(_), Err(error @ ShellError::Lost { .. })) => {
            Some(words(error)).filter(|words| refuses_sessions(words))
        }
        _ => None,
    };
    for process in [first, second].into_iter().flatten() {
        // Its end is no news.
        let _ = process.finish().await;
    }
    refused
}

/// Runs the examination of a user's account; why it failed, if it did.
pub(crate) async fn examine(
    shell: &Arc<dyn Shell>,
    user: &Username,
    key: &SshPublicKey,
    deadline: Millis,
) -> Result<Examined, String> {
    let command = examine::command(user, key, (deadline.0 / 8_000).clamp(1, 20));
    let output = shell.run(&command, b"", limits(deadline)).await.map_err(|error| words(&error))?;
    Examined::parse(&output.stdout).ok_or_else(|| {
        let errors = shown(&String::from_utf8_lossy(&output.stderr), WORDS);
        format!("the examination ended with {:?}: {errors}", output.status)
    })
}
