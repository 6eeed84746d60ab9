//! Asking a person, with or without showing what is typed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longest answer: 24 words and a long path.
const LONGEST: usize = 1024;

/// The terminal of this process, wherever its standard input and output go.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    /// Fails where nobody sits in front.
    pub fn open() -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open("/dev/tty").map(Self)
    }

    /// Asks, and reads one line that is not echoed.
    pub fn ask_hidden(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        let unechoed = Unechoed::of(&self.0)?;
        write!(&self.0, "{question}")?;
        let answer = line(&self.0);
        drop(unechoed);
        writeln!(&self.0)?;
        answer
    }

    /// Asks, and reads one line; none at the end of what is typed.
    pub fn ask(&mut self, question: &str) -> io::Result<String> {
        // What was typed before the question was seen is not an answer.
        tcflush(&self.0, QueueSelector::IFlush)?;
        write!(&self.0, "{question}")?;
        Ok(line(&self.0)?.trim().to_owned())
    }

    /// Shows a line.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        writeln!(&self.0, "{text}")
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
