//! What a program takes from its command line and the files named there, and says on its standard output and standard error.
//!
//! Promises: nobody who stops reading ends a program with a panic (`eprintln!` does: its message about the panic goes to
//! the same closed pipe, and the process aborts); an answer that cannot be written to a full disk is a failure all the
//! same; with `--json` every failure is one JSON object on one line of standard error, a wrong command line included.
//!
//! Rejected: the default action of SIGPIPE. It ends a server in silence because its log's reader was restarted.

mod terminal;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

pub use terminal::Terminal;

/// Most characters of a wrong argument that are said again.
const TYPED_MAX: usize = 100;

/// Something failed.
pub const FAILURE: u8 = 1;
/// The command line is wrong; clap's own.
pub const USAGE: u8 = 2;

/// The process's command line.
///
/// # Errors
/// With the exit code, once its user was told: 0 where help or the version was asked for, [`USAGE`] where it is wrong.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|mut error| {
        shorten(&mut error);
        if error.kind() == ErrorKind::DisplayVersion && json_wanted() {
            return shown(&format!("{}\n", version_json(&C::command())));
        }
        if error.use_stderr() && json_wanted() {
            return fail(&error.render(), USAGE);
        }
        if error.use_stderr() {
            tell(error.render().to_string().trim_end());
            return ExitCode::from(USAGE);
        }
        shown(&error.render().to_string())
    })
}

fn shown(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("write to standard output: {error}"), FAILURE),
    }
}

fn version_json(command: &clap::Command) -> serde_json::Value {
    serde_json::json!({ "name": command.get_name(), "version": command.get_version().unwrap_or_default() })
}

/// Cuts short what was typed and is said again.
fn shorten(error: &mut clap::Error) {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        let Some(ContextValue::String(typed)) = error.get(kind) else { continue };
        if let Some((end, _)) = typed.char_indices().nth(TYPED_MAX) {
            let cut = format!("{}…", &typed[..end]);
            error.insert(kind, ContextValue::String(cut));
        }
    }
}

/// Whether the command line asks for JSON, as far as that can be told of one that may be wrong.
pub fn json_wanted() -> bool {
    asks_for_json(std::env::args_os().skip(1))
}

fn asks_for_json(arguments: impl IntoIterator<Item = OsString>) -> bool {
    arguments
        .into_iter()
        .take_while(|argument| argument != "--")
        .any(|argument| argument == OsStr::new("--json"))
}

/// All bytes of a file that somebody named, which may be endless.
///
/// # Errors
/// It cannot be read, or has more than `limit` bytes.
pub fn read_at_most(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Writes an answer to standard output. Whoever stopped reading, as `head` does, has what it wanted.
///
/// # Errors
/// It cannot be written for another reason, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    match deliver(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The same for what is shown this once: a reader that has gone is an error too.
///
/// # Errors
/// It cannot be written.
pub fn deliver(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Tells a person something beside the answer, on standard error, if somebody reads it.
pub fn tell(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{text}");
}

/// How far something is, in the place of what was said so before; nothing takes it away. For a terminal only.
pub fn progress(text: &str) {
    let mut to = io::stderr().lock();
    // Who went away is told nothing.
    let _gone = write!(to, "\r\u{1b}[K{text}").and_then(|()| to.flush());
}

/// Says on standard error why the program fails. `reason` is the error with its causes; the code is also in the JSON.
pub fn fail(reason: &dyn fmt::Display, code: u8) -> ExitCode {
    tell(&last_words(&reason.to_string(), code, json_wanted()));
    ExitCode::from(code)
}

fn last_words(reason: &str, code: u8, json: bool) -> String {
    // clap's words begin like ours.
    let reason = reason.trim_end();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    if json {
        serde_json::json!({ "error": reason, "exit_code": code }).to_string()
    } else {
        format!("error: {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> bool {
        asks_for_json(line.split(' ').map(OsString::from))
    }

    #[test]
    fn a_wrong_argument_is_said_again_in_short() {
        let command = clap::Command::new("x").arg(clap::Arg::new("at").long("at").value_parser(["a"]));
        let told = |argument: String| {
            let mut error = command.clone().try_get_matches_from(["x", "--at", &argument]).unwrap_err();
            shorten(&mut error);
            error.to_string()
        };
        assert!(told("ü".repeat(100)).contains(&"ü".repeat(100)));
        let cut = told("ü".repeat(100_000));
        assert!(cut.contains("ü…'") && cut.len() < 1_000, "{} bytes", cut.len());
    }

    #[test]
    fn no_more_is_read_than_may_be() {
        assert_eq!(read_at_most(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(read_at_most(&b"abcd"[..], 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            read_at_most(io::repeat(0), 1_000).unwrap_err().to_string(),
            "it has more than 1000 bytes"
        );
    }

    #[test]
    fn json_is_asked_for_anywhere_before_the_end_of_the_flags() {
        assert!(asked("--json status") && asked("status --json --frob"));
        assert!(!asked("status") && !asked("why -- --json") && !asked("--jsonl"));
    }

    #[test]
    fn the_last_words_are_one_line_of_json_or_text() {
        let reason = "validator.toml:3:1: unknown key\n  = help: remove it\n";
        let json = last_words(reason, 78, true);
        assert_eq!(json.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["error"], reason.trim_end());
        assert_eq!(json["exit_code"], 78);
        assert_eq!(last_words("error: what\n", 2, false), "error: what");
    }
}
