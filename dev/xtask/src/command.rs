use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// Why a verb did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The call itself is wrong.
    Usage(String),
    /// A program could not be started.
    Start { program: String, source: io::Error },
    /// A program ended with an error; it has said why itself.
    Ended { command: String, status: ExitStatus },
    /// A file could not be read or written.
    File { path: PathBuf, source: io::Error },
    /// A program's answer is not what it should be.
    Answer { command: String, why: String },
    /// There is no CUDA device to measure.
    NoDevice,
    /// A rule of the repository is broken, or something is missing.
    Broken(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::NoDevice => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => write!(f, "{why}\n\n{}", crate::USAGE),
            Self::Start { program, source } => write!(f, "cannot start {program}: {source}"),
            Self::Ended { command, status } => write!(f, "`{command}` failed ({status})"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Answer { command, why } => write!(f, "`{command}` answered strangely: {why}"),
            Self::NoDevice => f.write_str("no CUDA device: nothing was measured"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// The command as a person would type it.
pub(crate) fn spelled(command: &Command) -> String {
    let quoted = |word: &OsStr| {
        let word = word.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%*".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

/// Runs a command on this terminal.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    println!("    {}", spelled(command));
    let status = command.status().map_err(|source| start(command, source))?;
    if status.success() { Ok(()) } else { Err(Failure::Ended { command: spelled(command), status }) }
}

/// Runs a command and returns its standard output; its complaints go to this terminal.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stderr(Stdio::inherit())
        .stdin(Stdio::null())
        .output()
        .map_err(|source| start(command, source))?;
    if !output.status.success() {
        return Err(Failure::Ended { command: spelled(command), status: output.status });
    }
    String::from_utf8(output.stdout)
        .map_err(|error| Failure::Answer { command: spelled(command), why: error.to_string() })
}

/// Whether a command runs and succeeds, silently.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

fn start(command: &Command, source: io::Error) -> Failure {
    Failure::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_spelled_so_that_they_can_be_pasted() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--", "it's", "", "a b"]);
        assert_eq!(spelled(&command), "cargo test -- 'it'\\''s' '' 'a b'");
    }

    #[test]
    fn a_failed_command_is_named_with_its_status() {
        let failure = run(&mut Command::new("false")).expect_err("it fails");
        assert_eq!(failure.to_string(), "`false` failed (exit status: 1)");
        let failure = output(&mut Command::new("/nonexistent/tool")).expect_err("it is not there");
        assert!(failure.to_string().starts_with("cannot start /nonexistent/tool: "), "{failure}");
    }
}
