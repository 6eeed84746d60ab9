//! The miner's own key in a node's `authorized_keys`: found, installed, removed.
//!
//! **What is promised.** The file is replaced as that of validators' keys is (whole or not at all, another editor's save
//! is never lost, done only when read back), every byte of every other line stays, and a second run changes nothing.
//! A line is the miner's if it carries the miner's key, whatever its comment: that is what sshd goes by. What a person wrote
//! in front of it (`from=`, `command=`) is told and never changed, since only that person knows why it stands there; and such a line, or
//! one with a comment of somebody's own, is taken out only where that is asked for.
//! [`install`] also takes away from `~/.ssh` and the file what makes sshd ignore them (others may write there), and tells of a
//! home directory that others may write, which is not ours to change.
//!
//! A new line goes before the validators' block: sshd takes the first line with a key, and a validator that offered the
//! miner's own public key as its own must not thereby put its restrictions on the miner.

use basilica_ports::{ExitStatus, Shell};
use basilica_types::{Argv, Millis, SshPublicKey};

use crate::authorized_keys::{self, AuthorizedKeysError, MAX_FILE};
use crate::key_editor::{self, ATTEMPTS, KeyEditError};

/// What the line of a key that we install says of itself.
const COMMENT: &str = "basilica-miner";

/// `~/.ssh` and the file, as `StrictModes` and SELinux want them. Prints what was changed and what remains wrong.
const TIDY: &str = r#"
LC_ALL=C; export LC_ALL
writable() { [ $((0$(stat -c %a "$1") & 022)) -ne 0 ]; }
ssh=$(readlink -f "$HOME/.ssh") && file=$(readlink -f "$HOME/.ssh/authorized_keys") || exit 94
for path in "$ssh" "$file"; do
  if writable "$path"; then chmod go-w "$path" || exit 96; fi
done
if command -v restorecon >/dev/null 2>&1; then restorecon -F "$ssh" "$file" >/dev/null 2>&1 || :; fi
if writable "$HOME"; then printf 'home\n'; fi
"#;

/// How a node carries a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not at all.
    Absent,
    /// In a line of its own, without options.
    Plain,
    /// Behind these options, which somebody wrote there: they decide what a login with the key may do.
    Restricted(String),
}

/// What [`install`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// How the node carried the key before. Only where it did not was a line written.
    pub before: Presence,
    /// Others than its user may write the home directory: sshd then ignores the file (`StrictModes`). To be put right
    /// with `chmod go-w ~` on the node.
    pub home_writable: bool,
}

/// Which lines with a key are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Those that [`install`] writes: without options, with the miner's comment.
    Written,
    /// All.
    All,
}

/// What [`remove`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Lines taken out.
    pub removed: usize,
    /// Lines with the key that stay, each with its number, its options and its comment.
    pub left: Vec<String>,
}

/// How the node carries `key` now. `deadline` is for each command.
pub async fn find(shell: &dyn Shell, deadline: Millis, key: &SshPublicKey) -> Result<Presence, KeyEditError> {
    let found = key_editor::inspect(shell, deadline, &[]).await?;
    Ok(presence(found.file.as_deref().unwrap_or_default(), key))
}

/// Makes the node carry `key`, and `~/.ssh` and the file such that sshd reads them. `deadline` is for each reading.
pub async fn install(
    shell: &dyn Shell,
    deadline: Millis,
    key: &SshPublicKey,
) -> Result<Installed, KeyEditError> {
    install_like(shell, deadline, key, None).await
}

/// As [`install`], behind the options of the line that carries `like`.
pub(crate) async fn install_like(
    shell: &dyn Shell,
    deadline: Millis,
    key: &SshPublicKey,
    like: Option<&SshPublicKey>,
) -> Result<Installed, KeyEditError> {
    let mut before = None;
    for _ in 0..ATTEMPTS {
        let found = key_editor::inspect(shell, deadline, &[]).await?;
        let current = found.file.as_deref().unwrap_or_default();
        let present = presence(current, key);
        let before = before.get_or_insert_with(|| present.clone());
        if present != Presence::Absent {
            let home_writable = tidy(shell, deadline).await?;
            return Ok(Installed { before: before.clone(), home_writable });
        }
        let options = like.and_then(|like| lines_with(current, like).next()).unwrap_or_default();
        let content = with(current, key, options)?;
        key_editor::replace(shell, deadline, found.file.as_deref(), &content).await?;
    }
    Err(KeyEditError::Contended)
}

/// Takes lines with `key` out. A validator's line stays, whichever key it carries. `deadline` is for each reading.
pub async fn remove(
    shell: &dyn Shell,
    deadline: Millis,
    key: &SshPublicKey,
    which: Lines,
) -> Result<Removed, KeyEditError> {
    let mut removed = 0;
    for _ in 0..ATTEMPTS {
        let found = key_editor::inspect(shell, deadline, &[]).await?;
        let current = found.file.as_deref().unwrap_or_default();
        let goes = |line: &[u8]| {
            options_before(line, key).is_some() && (which == Lines::All || is_written(line, key))
        };
        let lines = || current.split_inclusive(|byte| *byte == b'\n');
        let going = lines().filter(|line| goes(line)).count();
        if going == 0 {
            return Ok(Removed { removed, left: left(current, key) });
        }
        removed = removed.max(going);
        let content: Vec<u8> = lines().filter(|line| !goes(line)).flatten().copied().collect();
        key_editor::replace(shell, deadline, found.file.as_deref(), &content).await?;
    }
    Err(KeyEditError::Contended)
}

/// Whether others may write the home directory.
async fn tidy(shell: &dyn Shell, deadline: Millis) -> Result<bool, KeyEditError> {
    let command = Argv::script(TIDY, std::iter::empty::<String>())?;
    let output = shell.run(&command, &[], key_editor::limits(deadline, 4096)).await?;
    match output.status {
        ExitStatus::Code(0) => Ok(output.stdout == b"home\n"),
        _ => Err(key_editor::failed("setting permissions of ~/.ssh", output)),
    }
}

/// The key that a line gives access to, and the options before it: read as sshd reads it, which tries a key first and then
/// options up to a blank that is not inside quotes.
fn key_of(line: &[u8]) -> Option<(&[u8], SshPublicKey)> {
    let line = line.trim_ascii();
    if line.is_empty() || line[0] == b'#' {
        return None;
    }
    if let Some(key) = leading_key(line) {
        return Some((b"", key));
    }
    let mut quoted = false;
    let mut escaped = false;
    let end = line.iter().position(|byte| {
        let blank = matches!(byte, b' ' | b'\t');
        match byte {
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = *byte == b'\\' && !escaped;
        blank && !quoted
    })?;
    Some((&line[..end], leading_key(line[end..].trim_ascii_start())?))
}

fn leading_key(text: &[u8]) -> Option<SshPublicKey> {
    let mut words = text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let (algorithm, data) = (words.next()?, words.next()?);
    format!("{} {}", std::str::from_utf8(algorithm).ok()?, std::str::from_utf8(data).ok()?).parse().ok()
}

/// The options of each line of the operator's that carries `key`.
fn lines_with<'a>(file: &'a [u8], key: &'a SshPublicKey) -> impl Iterator<Item = &'a [u8]> {
    file.split_inclusive(|byte| *byte == b'\n').filter_map(|line| options_before(line, key))
}

fn options_before<'a>(line: &'a [u8], key: &SshPublicKey) -> Option<&'a [u8]> {
    let (options, found) = key_of(line)?;
    (found == *key && !authorized_keys::is_validators(line)).then_some(options)
}

/// The first line with the key decides, as it does for sshd.
fn presence(file: &[u8], key: &SshPublicKey) -> Presence {
    match lines_with(file, key).next() {
        None => Presence::Absent,
        Some([]) => Presence::Plain,
        Some(options) => Presence::Restricted(String::from_utf8_lossy(options).into_owned()),
    }
}

fn with(file: &[u8], key: &SshPublicKey, options: &[u8]) -> Result<Vec<u8>, AuthorizedKeysError> {
    let (before, after) = file.split_at(authorized_keys::first_of_ours(file).unwrap_or(file.len()));
    let mut content = before.to_vec();
    if before.last().is_some_and(|byte| *byte != b'\n') {
        content.push(b'\n');
    }
    if !options.is_empty() {
        content.extend_from_slice(options);
        content.push(b' ');
    }
    content.extend_from_slice(format!("{key} {COMMENT}\n").as_bytes());
    content.extend_from_slice(after);
    if content.len() > MAX_FILE {
        return Err(AuthorizedKeysError::TooLarge(content.len()));
    }
    Ok(content)
}

/// Whether a line reads as [`with`] writes it.
fn is_written(line: &[u8], key: &SshPublicKey) -> bool {
    line.trim_ascii_end() == format!("{key} {COMMENT}").as_bytes()
}

/// The lines with `key`, in words of one line each.
fn left(file: &[u8], key: &SshPublicKey) -> Vec<String> {
    let lines = file.split_inclusive(|byte| *byte == b'\n').enumerate();
    let with_key = lines.filter(|(_, line)| options_before(line, key).is_some());
    with_key
        .map(|(at, line)| {
            let text = String::from_utf8_lossy(line.trim_ascii());
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            let data = key.to_string();
            let short = data.split(' ').nth(1).map_or_else(|| text.clone(), |data| text.replace(data, "..."));
            format!("line {}: {short}", at + 1)
        })
        .collect()
}

#[cfg(test)]
mod tests;
