//! The edge of [`crate::authorized_keys`]: reads a node's file, writes it back, ends what ran with removed keys.
//!
//! Everything that runs on a node is in the constant scripts below; values reach them as arguments or on standard input.
//! A write replaces the file by renaming a finished, flushed one over it, and only if the file still is the one that was
//! read; another editor's save in between is seen and the edit starts over. Where the node has perl, which every Debian and Ubuntu has, one
//! program does both, so that some microseconds lie between; elsewhere the start of `mv` does. What somebody appends to the file during it is
//! found behind the end of what was read, and appended again; a save by renaming is overwritten, which POSIX gives no means to prevent; reading
//! back afterwards and the reconciler's next round repair our side of it. A write is finished only when a new reading shows exactly what was
//! wanted. **Rejected**: exchanging the two files (`renameat2`, `mv --exchange` of coreutils 9.5), which would close the last of it: few nodes
//! have it, and not on every file system.

mod scripts;

use std::collections::BTreeSet;

use basilica_ports::{Clock, ExitStatus, Output, OutputLimits, Shell, ShellError};
use basilica_types::{Argv, ArgvError, Millis, SshPublicKey, Timestamp};
use sha2::{Digest as _, Sha256};

use self::scripts::{END_PROCESSES, INSPECT, REPLACE};
use crate::authorized_keys::{self, AuthorizedKeysError, KeyLine, KeyTag, MAX_FILE, NodeLocalTime};

const CHANGED_MEANWHILE: u32 = 90;
const DAMAGED_UPLOAD: u32 = 91;
const FOREIGN_OWNER: u32 = 92;
const STILL_RUNNING: u32 = 93;
const UNREADABLE: u32 = 94;
const TOO_LARGE: u32 = 95;

/// Largest distance between a node's clock and ours, in seconds: keys end by the node's clock.
const MAX_SKEW_SECS: u64 = 60;
/// Times a file is read; every reading but the last may be followed by a write.
pub(crate) const ATTEMPTS: usize = 5;
/// Two readings of one local time, where clocks go back, are this far apart.
const AMBIGUITY_SECS: u64 = 3600;
/// A write may take so many times as long as a check: it flushes to a disk that can be busy, and cut off it leaves a
/// file behind.
const WRITE_FACTOR: u64 = 3;
/// Looks for processes that are to end, before they are left to the next attempt.
const END_LOOKS: u64 = 5;
/// Between two of them: by then what ends when told to has ended.
pub(crate) const END_PAUSE: Millis = Millis::from_secs(1);
const HEADER_LIMIT: usize = 64 * 1024;

/// A key that a node should carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedKey {
    pub(crate) tag: KeyTag,
    pub(crate) expires_at: Timestamp,
    pub(crate) key: SshPublicKey,
}

/// What an edit found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edited {
    /// Keys of ours that were there and should not be, and keys whose time was up. Of an edit that failed: those that it set out to
    /// remove, which may be gone.
    pub(crate) removed: Vec<KeyTag>,
    /// Keys that were written, each once; also those that took another's place.
    pub(crate) added: Vec<KeyTag>,
    /// Keys of ours that the node carries now.
    pub(crate) carried: Vec<WantedKey>,
    /// Keys that another miner wrote and that have not ended; they were left alone.
    pub(crate) others: Vec<KeyTag>,
}

/// Why a node does not carry exactly the keys wanted.
#[derive(Debug, thiserror::Error)]
pub enum KeyEditError {
    /// The connection does not work.
    #[error("talk to the node")]
    Shell(#[from] ShellError),
    /// The arguments do not make a command: a defect.
    #[error("build the command")]
    Command(#[from] ArgvError),
    /// The node answers other than the script does.
    #[error("the node's answer has no usable {0}")]
    Answer(&'static str),
    /// Keys would end too early or too late there.
    #[error(
        "the node's clock is {seconds} s from this one; no key is given to it until its time is right (set up NTP)"
    )]
    Skew {
        /// How far.
        seconds: u64,
    },
    /// The file cannot be handled.
    #[error(transparent)]
    File(#[from] AuthorizedKeysError),
    /// The file on the node is longer than any honest one.
    #[error("~/.ssh/authorized_keys on the node is longer than {MAX_FILE} bytes")]
    TooLarge,
    /// The login may not read it.
    #[error("~/.ssh/authorized_keys on the node cannot be read by this login")]
    Unreadable,
    /// The login may not keep its owner.
    #[error(
        "~/.ssh/authorized_keys on the node belongs to another user or group, which this login cannot keep when it replaces the file; on the node: \
         sudo chown \"$(id -un):$(id -gn)\" ~/.ssh/authorized_keys"
    )]
    ForeignOwner,
    /// Others write it all the time.
    #[error("~/.ssh/authorized_keys on the node kept changing during {ATTEMPTS} attempts")]
    Contended,
    /// Processes of removed keys do not end.
    #[error("processes of a removed key do not end on the node, or are started again")]
    StillRunning,
    /// A script failed.
    #[error("{step} failed on the node ({status:?}): {stderr}")]
    Failed {
        /// What was being done.
        step: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its words, bounded.
        stderr: String,
    },
}

/// Makes the node's file carry exactly `wanted` of our keys. Ours are those of `recorded` and `wanted`; a key of the same
/// form that is neither is another miner's, which looks after it, and goes only when its time is up (RULES R9). `edited` tells what
/// was done also where that failed in the end.
pub(crate) async fn apply(
    shell: &dyn Shell,
    clock: &dyn Clock,
    deadline: Millis,
    (recorded, wanted): (&BTreeSet<KeyTag>, &[WantedKey]),
    edited: &mut Edited,
) -> Result<(), KeyEditError> {
    let is_ours = |tag: &KeyTag| recorded.contains(tag) || wanted.iter().any(|key| key.tag == *tag);
    edited.carried = wanted.to_vec();
    for _ in 0..ATTEMPTS {
        let asked = clock.now();
        let found = inspect(shell, deadline, wanted).await?;
        let skew = found.skew(asked, clock.now());
        // A node with a wrong clock gets no key, and loses those it has: they would not end when they should.
        let mut lines = if skew > MAX_SKEW_SECS { Vec::new() } else { found.lines(wanted) };
        let current = found.file.as_deref().unwrap_or_default();
        let others = authorized_keys::keys(current)
            .into_iter()
            .filter(|line| !is_ours(&line.tag) && line.expires_at.as_secs() > found.now_secs);
        lines.extend(others);
        let content = authorized_keys::rewrite(current, &lines)?;
        if content == current {
            edited.others = lines.iter().map(|line| line.tag).filter(|tag| !is_ours(tag)).collect();
            return if skew > MAX_SKEW_SECS { Err(KeyEditError::Skew { seconds: skew }) } else { Ok(()) };
        }
        let kept: Vec<KeyTag> = lines.iter().map(|line| line.tag).collect();
        edited.removed.extend(authorized_keys::tags(current).iter().filter(|tag| !kept.contains(tag)));
        // A session whose key was replaced keeps its name.
        let there = authorized_keys::keys(current);
        let is_there = |line: &KeyLine| there.iter().any(|old| old.tag == line.tag && old.key == line.key);
        for line in lines.iter().filter(|line| !is_there(line)) {
            if !edited.added.contains(&line.tag) {
                edited.added.push(line.tag);
            }
        }
        replace(shell, deadline, found.file.as_deref(), &content).await?;
    }
    Err(KeyEditError::Contended)
}

/// Ends what runs with these keys. `deadline` is for the node's own work, beside the pauses that it is told to make.
pub(crate) async fn end_processes(
    shell: &dyn Shell,
    deadline: Millis,
    tags: &[KeyTag],
) -> Result<(), KeyEditError> {
    if tags.is_empty() {
        return Ok(());
    }
    let course = [END_LOOKS, END_PAUSE.0 / 1000].map(|number| number.to_string());
    let command =
        Argv::script(END_PROCESSES, course.into_iter().chain(tags.iter().map(ToString::to_string)))?;
    let pauses = END_LOOKS.saturating_mul(END_PAUSE.0);
    let deadline = Millis(deadline.0.saturating_add(pauses));
    let output = shell.run(&command, &[], limits(deadline, 4096)).await?;
    match output.status {
        ExitStatus::Code(0) => Ok(()),
        ExitStatus::Code(STILL_RUNNING) => Err(KeyEditError::StillRunning),
        _ => Err(failed("ending processes", output)),
    }
}

pub(crate) const fn limits(deadline: Millis, stdout: usize) -> OutputLimits {
    OutputLimits { deadline, stdout, stderr: 1024 }
}

pub(crate) fn failed(step: &'static str, output: Output) -> KeyEditError {
    let stderr = String::from_utf8_lossy(&output.stderr).chars().filter(|c| !c.is_control()).collect();
    KeyEditError::Failed { step, status: output.status, stderr }
}

pub(crate) async fn inspect(
    shell: &dyn Shell,
    deadline: Millis,
    wanted: &[WantedKey],
) -> Result<Inspection, KeyEditError> {
    let limit = std::iter::once(MAX_FILE.to_string());
    // Sessions that were opened together end together, and each moment costs the node three programs.
    let epochs: BTreeSet<i64> = wanted.iter().map(|key| key.expires_at.as_secs()).collect();
    let epochs = epochs.iter().map(ToString::to_string);
    let command = Argv::script(INSPECT, limit.chain(epochs))?;
    let output = shell.run(&command, &[], limits(deadline, MAX_FILE + HEADER_LIMIT)).await?;
    match output.status {
        ExitStatus::Code(0) => Inspection::parse(&output.stdout),
        ExitStatus::Code(UNREADABLE) => Err(KeyEditError::Unreadable),
        ExitStatus::Code(TOO_LARGE) => Err(KeyEditError::TooLarge),
        _ => Err(failed("reading authorized_keys", output)),
    }
}

pub(crate) async fn replace(
    shell: &dyn Shell,
    deadline: Millis,
    read: Option<&[u8]>,
    content: &[u8],
) -> Result<(), KeyEditError> {
    let hex = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let expected = read.map_or_else(|| "absent".to_owned(), hex);
    let length = read.map_or(0, <[u8]>::len).to_string();
    let command = Argv::script(REPLACE, [expected, hex(content), length])?;
    let deadline = Millis(deadline.0.saturating_mul(WRITE_FACTOR));
    let output = shell.run(&command, content, limits(deadline, 4096)).await?;
    match output.status {
        // Read again in either case: to confirm, or to start over on what another editor saved or the line damaged.
        ExitStatus::Code(0 | CHANGED_MEANWHILE | DAMAGED_UPLOAD) => Ok(()),
        ExitStatus::Code(FOREIGN_OWNER) => Err(KeyEditError::ForeignOwner),
        _ => Err(failed("writing authorized_keys", output)),
    }
}

/// A node's clock and file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    now_secs: i64,
    knows_expiry_time: bool,
    /// Moment, its local spelling, and what the node reads that as.
    expiries: Vec<(i64, Option<NodeLocalTime>)>,
    pub(crate) file: Option<Vec<u8>>,
}

impl Inspection {
    fn parse(output: &[u8]) -> Result<Self, KeyEditError> {
        let mut inspection = Self { now_secs: 0, knows_expiry_time: true, expiries: Vec::new(), file: None };
        let mut rest = output;
        loop {
            let end = rest.iter().position(|b| *b == b'\n').ok_or(KeyEditError::Answer("header"))?;
            let line = std::str::from_utf8(&rest[..end]).map_err(|_| KeyEditError::Answer("header"))?;
            rest = &rest[end + 1..];
            let mut words = line.split(' ');
            match words.next() {
                Some("now") => inspection.now_secs = number(words.next(), "clock")?,
                Some("ssh") => {
                    inspection.knows_expiry_time = knows_expiry_time(words.next().unwrap_or_default())
                }
                Some("expiry") => {
                    let epoch = number(words.next(), "expiry")?;
                    inspection.expiries.push((epoch, local_time(epoch, words.next(), words.next())));
                }
                Some("file") => inspection.file = Some(rest.to_vec()),
                Some("absent") => {}
                _ => return Err(KeyEditError::Answer("header")),
            }
            if matches!(line, "file" | "absent") {
                break;
            }
        }
        if inspection.now_secs > 0 { Ok(inspection) } else { Err(KeyEditError::Answer("clock")) }
    }

    /// Seconds between the node's clock and ours, at least: it was read at some moment between `asked` and `answered`.
    fn skew(&self, asked: Timestamp, answered: Timestamp) -> u64 {
        let (early, late) = (asked.as_secs(), answered.as_secs().saturating_add(1));
        if (early..=late).contains(&self.now_secs) {
            return 0;
        }
        self.now_secs.abs_diff(early).min(self.now_secs.abs_diff(late))
    }

    fn lines(&self, wanted: &[WantedKey]) -> Vec<KeyLine> {
        let expiry_time = |expires_at: Timestamp| {
            let found = self.expiries.iter().find(|(epoch, _)| *epoch == expires_at.as_secs());
            found.filter(|_| self.knows_expiry_time).and_then(|(_, time)| time.clone())
        };
        let line = |key: &WantedKey| KeyLine {
            tag: key.tag,
            expires_at: key.expires_at,
            expiry_time: expiry_time(key.expires_at),
            key: key.key.clone(),
        };
        wanted.iter().map(line).collect()
    }
}

fn number(word: Option<&str>, what: &'static str) -> Result<i64, KeyEditError> {
    word.and_then(|w| w.parse().ok()).ok_or(KeyEditError::Answer(what))
}

/// The local spelling, if the node reads it back as the moment it stands for, or as the other of the two where clocks go
/// back. Without it the key has no `expiry-time`; the forced command and the reconciler end it all the same.
fn local_time(epoch: i64, spelled: Option<&str>, read_back: Option<&str>) -> Option<NodeLocalTime> {
    let back: i64 = read_back?.parse().ok()?;
    (back.abs_diff(epoch) <= AMBIGUITY_SECS).then(|| NodeLocalTime::parse(spelled?)).flatten()
}

/// OpenSSH before 7.7 refuses a whole line for an option that it does not know. Unknown servers are taken for new ones.
fn knows_expiry_time(version: &str) -> bool {
    let Some(version) = version.strip_prefix("OpenSSH_") else { return true };
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (7, 7),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
