//! A command as a list of arguments.
//!
//! SSH carries one string that the remote user's shell splits again. This type is the only way in which that
//! string is made: each argument is quoted for POSIX `sh`, so a hostile value stays one argument. Rejected:
//! formatting command lines, which is how the original let container names and volume paths run code.

use std::fmt;

/// Longest command line sent to a node, in bytes; Linux allows 128 KiB for one argument of `execve`.
const MAX_COMMAND_LINE: usize = 64 * 1024;

/// Why a list of arguments is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgvError {
    /// No program named.
    #[error("command is empty")]
    Empty,
    /// A NUL byte cannot be passed to a program.
    #[error("command argument contains a NUL byte")]
    Nul,
    /// More than 64 KiB once quoted.
    #[error("command is longer than 64 KiB")]
    TooLong,
}

/// A program and its arguments, for a node.
#[derive(Clone, PartialEq, Eq)]
pub struct Argv(Vec<String>);

impl Argv {
    /// A command from its arguments, the program first.
    pub fn new<I, S>(arguments: I) -> Result<Self, ArgvError>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let argv = Self(arguments.into_iter().map(Into::into).collect());
        if argv.0.first().is_none_or(String::is_empty) {
            return Err(ArgvError::Empty);
        }
        if argv.0.iter().any(|a| a.contains('\0')) {
            return Err(ArgvError::Nul);
        }
        if argv.to_command_line().len() > MAX_COMMAND_LINE { Err(ArgvError::TooLong) } else { Ok(argv) }
    }

    /// Runs `script`, a constant of ours, under `sh` with `arguments` as `$1`, `$2`…; values never become code.
    pub fn script<I, S>(script: &'static str, arguments: I) -> Result<Self, ArgvError>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let head = ["sh", "-c", script, "basilica"].map(String::from);
        Self::new(head.into_iter().chain(arguments.into_iter().map(Into::into)))
    }

    /// The arguments, the program first.
    pub fn arguments(&self) -> &[String] {
        &self.0
    }

    /// One line that POSIX `sh` splits into exactly these arguments.
    pub fn to_command_line(&self) -> String {
        let quoted: Vec<String> = self.0.iter().map(|argument| quoted(argument)).collect();
        quoted.join(" ")
    }
}

/// One word as POSIX `sh` reads it: for lines that people paste. What this program runs itself is an [`Argv`].
pub fn quoted(argument: &str) -> String {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'=' | b',' | b'+');
    // `=` in the first word would be an assignment, and `~` and digits before `<` have meanings of their own;
    // only words of plain characters that begin harmlessly go unquoted.
    let harmless = argument.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'/' || b == b'-');
    if harmless && argument.bytes().all(plain) && !argument.contains('=') {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

impl fmt::Debug for Argv {
    /// The program only: arguments may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Argv({} + {} arguments)", self.0[0], self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split_by_a_real_shell(line: &str) -> Vec<String> {
        let script = format!("for a in {line}; do printf '%s\\0' \"$a\"; done");
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(String::from).collect()
    }

    #[test]
    fn a_shell_reads_back_hostile_arguments_unchanged() {
        let hostile =
            ["echo", "$(id)", "`id`", "a'b\"c", "; rm -rf /", "\n", "", "~root", "*", "x=y", "-n", "\\", "é"];
        let argv = Argv::new(hostile).unwrap();
        assert_eq!(split_by_a_real_shell(&argv.to_command_line()), hostile);
    }

    #[test]
    fn commands_that_cannot_be_sent_are_refused() {
        assert_eq!(Argv::new(Vec::<String>::new()), Err(ArgvError::Empty));
        assert_eq!(Argv::new([""]), Err(ArgvError::Empty));
        assert_eq!(Argv::new(["a", "b\0c"]), Err(ArgvError::Nul));
        assert_eq!(Argv::new(["a".to_owned(), "x".repeat(70_000)]), Err(ArgvError::TooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn quoting_round_trips_through_a_real_shell(arguments in proptest::collection::vec("[^\0]{0,12}", 1..5)) {
            let mut all = vec!["true".to_owned()];
            all.extend(arguments);
            let argv = Argv::new(all.clone()).unwrap();
            prop_assert_eq!(split_by_a_real_shell(&argv.to_command_line()), all);
        }
    }
}
