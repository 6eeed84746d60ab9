//! Lines and the chain between them.

use std::borrow::Cow;
use std::io::{self, BufRead};

use basilica_types::Digest;
use serde::{Deserialize, Serialize};

/// Longest line that is read back, in bytes; longer ones are not ours.
const LINE_MAX: u64 = 16 * 1024;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// A connection and login.
    Login,
    /// A command that ran to its end.
    Run,
    /// A command that was talked with.
    Talk,
    /// A question to a port, without SSH.
    Ask,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line<'a> {
    /// BLAKE3 of the line before it, without its newline; null for a log's first.
    pub(crate) previous: Option<String>,
    pub(crate) at: String,
    pub(crate) operation: Operation,
    pub(crate) node: Cow<'a, str>,
    /// The command line, or the address that was asked.
    pub(crate) what: Option<Cow<'a, str>>,
    /// Bytes.
    pub(crate) sent: u64,
    /// Bytes.
    pub(crate) received: u64,
    pub(crate) took_ms: u64,
    /// `ok`, how a command ended, or an error.
    pub(crate) result: Cow<'a, str>,
    /// Operations before it that could not be written, if any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
const fn is_zero(lost: &u64) -> bool {
    *lost == 0
}

/// The hash of a line.
pub(crate) fn hash(line: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(line).as_bytes())
}

/// A log that holds together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operations.
    pub lines: u64,
    /// Lines that a crash or a power cut left unfinished; they are part of the chain.
    pub torn: u64,
    /// Operations that could not be written, by the lines after them.
    pub lost: u64,
    /// Hash that the first line follows; none if it is a log's first.
    pub follows: Option<String>,
    /// Hash of the last line, to be compared with what was written down elsewhere.
    pub head: Option<Digest>,
    /// Whether the line whose hash was asked for is one of them.
    pub has_asked: bool,
    /// Time of the first operation.
    pub first: Option<String>,
    /// Time of the last.
    pub last: Option<String>,
}

/// A log that does not.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The file cannot be read.
    #[error("read the audit log")]
    Read(#[from] io::Error),
    /// A line is changed, or one before it is missing.
    #[error("line {line} does not follow the one before it: that was changed, or lines between are missing")]
    Chain {
        /// From 1, over all files.
        line: u64,
    },
    /// Neither an operation nor the beginning of one.
    #[error("line {line} is no line of an audit log, nor the beginning of one that a crash cut off")]
    Foreign {
        /// From 1, over all files.
        line: u64,
    },
    /// No operation is in it.
    #[error("no operation is in these files, only {torn} unfinished lines")]
    Nothing {
        /// How many.
        torn: u64,
    },
    /// No program of ours writes such a line.
    #[error("line {line} is longer than any of ours")]
    TooLong {
        /// From 1, over all files.
        line: u64,
    },
}

/// Reads a log from its first line on. `asked`: the hash of a line that should be in it.
///
/// # Errors
/// The first line that does not fit.
pub fn verify(mut reader: impl BufRead, asked: Option<Digest>) -> Result<Summary, Broken> {
    let mut summary = Summary::default();
    let mut number = 0;
    loop {
        let mut bytes = Vec::new();
        io::Read::take(&mut reader, LINE_MAX).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            let nothing = summary.lines == 0 && summary.torn > 0;
            return if nothing { Err(Broken::Nothing { torn: summary.torn }) } else { Ok(summary) };
        }
        number += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if bytes.len() as u64 == LINE_MAX {
            return Err(Broken::TooLong { line: number });
        }
        follow(&mut summary, &bytes, number)?;
        let head = hash(&bytes);
        summary.has_asked |= asked == Some(head);
        summary.head = Some(head);
    }
}

fn follow(summary: &mut Summary, bytes: &[u8], number: u64) -> Result<(), Broken> {
    // A crash cuts a line off, and a power cut may leave zeros for what was not on the disk yet.
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let line = match serde_json::from_slice::<Line<'_>>(bytes) {
        Ok(line) => line,
        Err(_) if is_cut_off(&bytes[..written]) => {
            summary.torn += 1;
            return Ok(());
        }
        Err(_) => return Err(Broken::Foreign { line: number }),
    };
    match &summary.head {
        Some(head) if line.previous != Some(head.to_string()) => return Err(Broken::Chain { line: number }),
        Some(_) => {}
        None => summary.follows = line.previous,
    }
    summary.lines += 1;
    summary.lost = summary.lost.saturating_add(line.lost);
    summary.first.get_or_insert_with(|| line.at.clone());
    summary.last = Some(line.at);
    Ok(())
}

fn is_cut_off(bytes: &[u8]) -> bool {
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
    read.is_err_and(|error| error.is_eof()) && bytes.first().is_none_or(|byte| *byte == b'{')
}
