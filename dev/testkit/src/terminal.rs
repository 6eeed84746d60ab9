//! Programs at a terminal of their own, as a person meets them.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A command under `setsid`, so that the terminal in front of which a test was started is not asked anything. `--ctty` as the
/// first of `flags` gives it its own.
fn in_a_session(command: &Command, flags: &[&str]) -> Command {
    let mut wrapped = Command::new("setsid");
    wrapped.args(flags).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}

/// The command, without any terminal. What the environment was cleared of is for the caller to clear again.
pub fn without_terminal(command: &Command) -> Command {
    in_a_session(command, &["--wait"])
}

/// An answer to whatever is shown: Ctrl-C.
pub const INTERRUPT: &str = "\u{3}";

/// Runs a command at a terminal and answers each question with the line beside it; returns the exit code, and all that the terminal
/// showed. Of this process's environment the command sees only `PATH`.
///
/// # Panics
/// If a question is not asked.
pub fn at_a_terminal(command: &Command, answers: &[(&str, &str)]) -> (Option<i32>, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("a terminal");
    unlockpt(&master).expect("a terminal");
    let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
    let name = name.to_str().expect("a plain name");
    let slave = OpenOptions::new().read(true).write(true).open(name).expect("a terminal opens");
    let end = || Stdio::from(slave.try_clone().expect("a file can be shared"));
    let mut wrapped = in_a_session(command, &["--ctty", "--wait"]);
    let own: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    wrapped.env_clear().env::<&OsStr, _>("PATH".as_ref(), path).envs(own);
    let mut child = wrapped.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid is there");
    // The command holds copies.
    drop((wrapped, slave));
    let mut master = File::from(master);
    let mut shown = String::new();
    let mut seen = 0;
    let mut answers = answers.iter();
    let mut next = answers.next();
    let mut buffer = [0; 4096];
    // Reading fails once the program has let go of the terminal.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        if let Some((question, answer)) = next
            && shown[seen..].contains(question)
            // Only now does the program read: what was typed before its question it throws away.
            && (shown.ends_with(' ') || *answer == INTERRUPT)
        {
            seen = shown.len();
            master.write_all(format!("{answer}\n").as_bytes()).expect("the terminal takes the answer");
            next = answers.next();
        }
    }
    let code = child.wait().expect("the program ends").code();
    assert!(next.is_none(), "not asked {next:?}: {shown}");
    (code, shown)
}
