//! The keys of validators in a node's `authorized_keys`, as pure text (RULES R9).
//!
//! **What is promised.** [`rewrite`] replaces our lines and nothing else: every byte of every other line stays, in its order,
//! whatever the file holds (CRLF, NUL bytes, no final newline, a user's key whose comment says "validator-", markers that
//! are doubled, unclosed or forged). The result holds each wanted key exactly once, and rewriting it again changes nothing.
//!
//! **How our lines are known.** By form, wherever they stand: a line is ours if it reads exactly as [`KeyLine`] prints it,
//! and inside a closed pair of markers also if it carries a tag of ours (somebody shortened it, and a key without its
//! restrictions must not outlive its session). So broken markers can neither hide a key of ours from removal nor
//! give away a line of the user's. **Rejected**: owning whatever stands between the markers (a key pasted there would be
//! lost, and one lost marker would take the rest of the file), and matching on the word "validator-" (the original
//! deleted users' keys that way).

use std::fmt;

use basilica_types::{Hotkey, SessionId, SshPublicKey, Timestamp};

/// Largest file that is read and rewritten, in bytes.
pub const MAX_FILE: usize = 256 * 1024;

const BEGIN: &str =
    "# BEGIN basilica: keys of validators, written by basilica-miner; they come and go by themselves";
const END: &str = "# END basilica";
const TAG_PREFIX: &str = "validator-";
const SESSION_DIGITS: usize = 16;

/// Why a file cannot be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizedKeysError {
    /// Longer than any honest file.
    #[error("authorized_keys would have {0} bytes, at most {MAX_FILE} are handled")]
    TooLarge(usize),
}

/// Names one session on a node: `validator-{hotkey}-{session}`. Only letters, digits and `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyTag {
    /// Whose session.
    pub validator: Hotkey,
    /// Which one.
    pub session: SessionId,
}

impl fmt::Display for KeyTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TAG_PREFIX}{}-{}", self.validator, self.session)
    }
}

impl fmt::Debug for KeyTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl KeyTag {
    /// The tag that `text` is, exactly.
    fn parse(text: &str) -> Option<Self> {
        let (hotkey, session) = text.strip_prefix(TAG_PREFIX)?.split_once('-')?;
        Some(Self { validator: hotkey.parse().ok()?, session: session.parse().ok()? })
    }

    /// The first tag anywhere in `line`.
    fn find(line: &str) -> Option<Self> {
        line.match_indices(TAG_PREFIX).find_map(|(at, _)| {
            let rest = &line[at + TAG_PREFIX.len()..];
            let hotkey = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
            let end = at + TAG_PREFIX.len() + hotkey + 1 + SESSION_DIGITS;
            Self::parse(line.get(at..end)?)
        })
    }
}

/// `YYYYMMDDHHMMSS` in the node's own time zone, computed on the node.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NodeLocalTime(String);

impl NodeLocalTime {
    /// Takes exactly 14 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit());
        valid.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for NodeLocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One validator's key on a node.
///
/// The forced command gates every channel, because `expiry-time` gates only the login and validators keep
/// connections open: past the end, or once the line is gone, no new command starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// Names the session.
    pub tag: KeyTag,
    /// From then on the key is worth nothing.
    pub expires_at: Timestamp,
    /// The same for `expiry-time`; none where the node's sshd or `date` does not know it.
    pub expiry_time: Option<NodeLocalTime>,
    /// The key.
    pub key: SshPublicKey,
}

impl fmt::Display for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("restrict,")?;
        if let Some(NodeLocalTime(time)) = &self.expiry_time {
            write!(f, "expiry-time=\"{time}\",")?;
        }
        let (epoch, tag) = (self.expires_at.as_secs(), self.tag);
        write!(
            f,
            "command=\"[ $(date +%s) -lt {epoch} ] && grep -q {tag} ~/.ssh/authorized_keys && \
             BASILICA_KEY={tag} exec sh -c \\\"$SSH_ORIGINAL_COMMAND\\\"; exit 97\" {} {tag}",
            self.key
        )
    }
}

impl KeyLine {
    /// The key that `line` is; none unless printing it again gives the same text.
    fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("restrict,")?;
        let (expiry_time, rest) = match rest.strip_prefix("expiry-time=\"") {
            Some(rest) => {
                (Some(NodeLocalTime::parse(rest.get(..14)?)?), rest.get(14..)?.strip_prefix("\",")?)
            }
            None => (None, rest),
        };
        let epoch = rest.strip_prefix("command=\"[ $(date +%s) -lt ")?.split(' ').next()?;
        let (head, tag) = rest.rsplit_once(' ')?;
        let (head, data) = head.rsplit_once(' ')?;
        let (_, algorithm) = head.rsplit_once(' ')?;
        let parsed = Self {
            tag: KeyTag::parse(tag)?,
            expires_at: Timestamp::from_secs(epoch.parse().ok()?),
            expiry_time,
            key: format!("{algorithm} {data}").parse().ok()?,
        };
        (parsed.to_string() == line).then_some(parsed)
    }
}

/// What a line is to us.
enum Owner {
    Marker,
    Key,
    Other,
}

fn text(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok().map(|l| l.trim_end_matches(['\n', '\r']))
}

fn owner(line: &[u8], inside: bool) -> Owner {
    let Some(line) = text(line) else { return Owner::Other };
    if line == BEGIN || line == END {
        return Owner::Marker;
    }
    let tagged = inside && KeyTag::find(line).is_some();
    if tagged || KeyLine::parse(line).is_some() { Owner::Key } else { Owner::Other }
}

/// Lines with their terminators, and whether each stands between a marker and its end.
fn lines(file: &[u8]) -> Vec<(&[u8], bool)> {
    let mut lines: Vec<(&[u8], bool)> =
        file.split_inclusive(|b| *b == b'\n').map(|line| (line, false)).collect();
    let mut open = None;
    for at in 0..lines.len() {
        match text(lines[at].0) {
            Some(line) if line == BEGIN => open = Some(at),
            Some(line) if line == END => {
                if let Some(begin) = open.take() {
                    lines[begin..at].iter_mut().for_each(|(_, inside)| *inside = true);
                }
            }
            _ => {}
        }
    }
    lines
}

/// The tags of all keys of ours in `file`, each once.
pub fn tags(file: &[u8]) -> Vec<KeyTag> {
    let mut tags: Vec<KeyTag> = lines(file)
        .into_iter()
        .filter(|(line, inside)| matches!(owner(line, *inside), Owner::Key))
        .filter_map(|(line, _)| KeyTag::find(text(line)?))
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// Whether `line`, with or without its end, reads exactly as a miner writes a validator's key.
pub(crate) fn is_validators(line: &[u8]) -> bool {
    text(line).is_some_and(|line| KeyLine::parse(line).is_some())
}

/// The keys in `file` that read exactly as a miner wrote them, wherever they stand.
pub fn keys(file: &[u8]) -> Vec<KeyLine> {
    lines(file).into_iter().filter_map(|(line, _)| KeyLine::parse(text(line)?)).collect()
}

/// Where in `file` our block begins, or the first key of ours outside of one; none where it holds nothing of ours.
pub(crate) fn first_of_ours(file: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (line, inside) in lines(file) {
        if !matches!(owner(line, inside), Owner::Other) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// `file` with exactly the keys in `wanted`; see the module's promise.
pub fn rewrite(file: &[u8], wanted: &[KeyLine]) -> Result<Vec<u8>, AuthorizedKeysError> {
    let mut before = Vec::with_capacity(file.len());
    let mut after = Vec::new();
    let mut met_ours = false;
    for (line, inside) in lines(file) {
        match owner(line, inside) {
            Owner::Marker | Owner::Key => met_ours = true,
            Owner::Other if met_ours => after.extend_from_slice(line),
            Owner::Other => before.extend_from_slice(line),
        }
    }
    if !wanted.is_empty() {
        if before.last().is_some_and(|b| *b != b'\n') {
            before.push(b'\n');
        }
        before.extend_from_slice(block(wanted).as_bytes());
    }
    // Where our block was removed between two lines, the first of them ends with a newline already.
    before.extend_from_slice(&after);
    if before.len() > MAX_FILE { Err(AuthorizedKeysError::TooLarge(before.len())) } else { Ok(before) }
}

fn block(wanted: &[KeyLine]) -> String {
    let mut lines: Vec<&KeyLine> = wanted.iter().collect();
    lines.sort_by_key(|line| line.tag);
    lines.dedup_by_key(|line| line.tag);
    let mut block = format!("{BEGIN}\n");
    for line in lines {
        block.push_str(&format!("{line}\n"));
    }
    block.push_str(END);
    block.push('\n');
    block
}

#[cfg(test)]
mod tests;
