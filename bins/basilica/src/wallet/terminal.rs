//! Asking a person for a secret, without showing what is typed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longest answer: 24 words and a long path.
const LONGEST: usize = 1024;

/// The terminal of this process, wherever its standard input and output go.
pub(crate) struct Terminal(File);

impl Terminal {
    /// Fails where nobody sits in front.
    pub(crate) fn open() -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open("/dev/tty").map(Self)
    }

    /// Asks, and reads one line that is not echoed.
    pub(crate) fn ask_hidden(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        let unechoed = Unechoed::of(&self.0)?;
        write!(&self.0, "{question}")?;
        let answer = line(&self.0);
        drop(unechoed);
        writeln!(&self.0)?;
        answer
    }
}

/// A terminal without echo, until this is dropped. A shell restores the echo of a program that was interrupted.
struct Unechoed<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Unechoed<'a> {
    fn of(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        // What was typed before the question was seen is not an answer.
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unechoed<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone.
        let _gone = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

fn line(mut terminal: &File) -> io::Result<Zeroizing<String>> {
    // Full size from the start: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    while terminal.read(byte.as_mut_slice())? == 1 && byte[0] != b'\n' {
        if bytes.len() == LONGEST {
            return Err(io::Error::other(format!("the answer is longer than {LONGEST} bytes")));
        }
        bytes.push(byte[0]);
    }
    let text = str::from_utf8(&bytes).map_err(|_| io::Error::other("the answer is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
