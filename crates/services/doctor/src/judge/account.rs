//! Why an account's keys are not taken, as another login sees it. In the order in which sshd itself looks.

use crate::examine::{Examined, Mode};
use crate::finding::{Code, Finding, Remedy};
use crate::judge::NodeSeen;

pub(super) const PUBLICKEY_FIX: &[&str] = &[
    "on the node, in /etc/ssh/sshd_config: PubkeyAuthentication yes",
    "then: sudo sshd -t && sudo systemctl reload ssh",
];
const RELOAD: &str = "then: sudo sshd -t && sudo systemctl reload ssh";

/// Each cause that is seen; `words` are what the login came to.
pub(super) fn findings(seen: &NodeSeen, examined: &Examined, words: &str) -> Vec<Finding> {
    let user = seen.address.user.as_str();
    if examined.has("no-account") {
        let fix = ["correct username in miner.toml", "or on the node: sudo useradd -m -s /bin/bash NAME"];
        return vec![Finding::new(Code::UserMissing, format!("{words}; the node has no user {user}"), &fix)];
    }
    if examined.one("locked") == Some("yes") {
        let fix = [format!("on the node: sudo usermod -p '*' {user}")];
        let fix: Vec<&str> = fix.iter().map(String::as_str).collect();
        return vec![Finding::new(
            Code::UserLocked,
            format!("{words}; the password field begins with '!'"),
            &fix,
        )];
    }
    let settings = settings(user, examined, words);
    if !settings.is_empty() {
        return settings;
    }
    let modes = modes(user, examined, words);
    if modes.is_empty() { key(seen, examined, words) } else { modes }
}

fn settings(user: &str, examined: &Examined, words: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let said =
        |name: &str| format!("{words}; sshd -T says: {name} {}", examined.sshd(name).unwrap_or_default());
    if examined.sshd("pubkeyauthentication") == Some("no") {
        found.push(Finding::new(Code::PublickeyOff, said("pubkeyauthentication"), PUBLICKEY_FIX));
    }
    if let Some(name) = shut_out_by(user, examined) {
        let fix =
            ["on the node, in /etc/ssh/sshd_config: let this user in (AllowUsers, AllowGroups)", RELOAD];
        found.push(Finding::new(Code::SshdAllowUsers, said(name), &fix));
    }
    let root = examined.sshd("permitrootlogin");
    if user == "root" && matches!(root, Some("no" | "forced-commands-only")) {
        let fix = [
            "better: make a user for the miner and set username in miner.toml",
            "or on the node, in /etc/ssh/sshd_config: PermitRootLogin prohibit-password",
            RELOAD,
        ];
        found.push(Finding::new(Code::SshdRootLogin, said("permitrootlogin"), &fix));
    }
    if !reads_usual_file(user, examined) {
        let fix = ["on the node, in /etc/ssh/sshd_config: AuthorizedKeysFile .ssh/authorized_keys", RELOAD];
        found.push(Finding::new(Code::SshdKeysFile, said("authorizedkeysfile"), &fix));
    }
    found
}

/// By which of the four lists the user is kept out.
fn shut_out_by(user: &str, examined: &Examined) -> Option<&'static str> {
    let list = |name: &str| -> Vec<String> {
        let lines = examined.all(&format!("sshd-{name}"));
        lines.iter().flat_map(|line| line.split(' ')).map(str::to_owned).collect()
    };
    let groups: Vec<&str> = examined.one("groups").unwrap_or_default().split(' ').collect();
    // From where a user may come is left to sshd: only the name is compared.
    let named = |patterns: &[String], name: &str| {
        patterns.iter().any(|pattern| matches(pattern.split('@').next().unwrap_or(pattern), name))
    };
    let (allowed, denied) = (list("allowusers"), list("denyusers"));
    let (in_groups, not_in_groups) = (list("allowgroups"), list("denygroups"));
    if denied.iter().any(|pattern| !pattern.contains('@') && matches(pattern, user)) {
        return Some("denyusers");
    }
    if !allowed.is_empty() && !named(&allowed, user) {
        return Some("allowusers");
    }
    if groups.iter().any(|group| named(&not_in_groups, group)) {
        return Some("denygroups");
    }
    if !in_groups.is_empty() && !groups.iter().any(|group| named(&in_groups, group)) {
        return Some("allowgroups");
    }
    None
}

/// A pattern of sshd's: `*` and `?`. In the product of both lengths, whatever the pattern.
fn matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // Whether the pattern so far is the first so many characters.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for wanted in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        if wanted == '*' {
            let mut any = false;
            for (at, was) in reached.iter().enumerate() {
                any |= was;
                next[at] = any;
            }
        } else {
            for (at, c) in text.iter().enumerate() {
                next[at + 1] = reached[at] && (wanted == '?' || wanted == *c);
            }
        }
        reached = next;
    }
    reached[text.len()]
}

/// Whether the file that the miner writes is among those that sshd reads. Unknown counts as yes.
fn reads_usual_file(user: &str, examined: &Examined) -> bool {
    let (Some(files), Some(home)) = (examined.sshd("authorizedkeysfile"), examined.one("home")) else {
        return true;
    };
    let usual = format!("{home}/.ssh/authorized_keys");
    files.split(' ').any(|file| {
        let file = file.replace("%h", home).replace("%u", user).replace("%%", "%");
        let file = if file.starts_with('/') { file } else { format!("{home}/{file}") };
        file == usual
    })
}

fn modes(user: &str, examined: &Examined, words: &str) -> Vec<Finding> {
    let is_strict = examined.sshd("strictmodes") != Some("no");
    let uid: Option<u32> = examined.one("account").and_then(|uid| uid.parse().ok());
    let home = examined.one("home").unwrap_or("~");
    let parts = [
        ("mode-home", Code::HomeMode, home.to_owned()),
        ("mode-ssh", Code::SshDirMode, format!("{home}/.ssh")),
        ("mode-keys", Code::KeysFileMode, format!("{home}/.ssh/authorized_keys")),
    ];
    let mut found = Vec::new();
    for (name, code, path) in parts {
        let Some(Mode { bits, owner }) = examined.mode(name) else { continue };
        let fix = format!("on the node: sudo chown {user}: {path} && sudo chmod go-w {path}");
        if is_strict && owner != 0 && Some(owner) != uid {
            let seen = format!("{words}; {path} belongs to uid {owner}");
            found.push(Finding::new(Code::KeysFileOwner, seen, &[&fix]).healed_by(Remedy::Modes));
        } else if is_strict && bits & 0o022 != 0 {
            let seen = format!("{words}; {path} has mode {bits:04o}");
            found.push(Finding::new(code, seen, &[&fix]).healed_by(Remedy::Modes));
        } else if name == "mode-keys" && bits & 0o444 == 0 {
            let seen = format!("{words}; {path} has mode {bits:04o}: its user cannot read it");
            let fix = format!("on the node: sudo chmod 600 {path}");
            found.push(Finding::new(code, seen, &[&fix]).healed_by(Remedy::Modes));
        }
    }
    found
}

fn key(seen: &NodeSeen, examined: &Examined, words: &str) -> Vec<Finding> {
    let user = &seen.address.user;
    let Some(key) = &seen.key else { return Vec::new() };
    let text = key.to_string();
    let install = format!("on the node, as {user}: echo '{text} basilica-miner' >> ~/.ssh/authorized_keys");
    let lines = examined.all("key-line");
    if lines.iter().any(|line| line.starts_with(&text)) {
        return Vec::new();
    }
    if let Some(options) = lines.iter().find_map(|line| options(line, &text)) {
        let said = format!("{words}; before the key stands: {options}");
        let fix = format!("on the node, in ~{user}/.ssh/authorized_keys: remove {options} before the key");
        return vec![Finding::new(Code::KeyOptions, said, &[&fix])];
    }
    if !lines.is_empty() || examined.has("key-part") {
        let said = format!("{words}; the key's line is cut, wrapped or commented out");
        let fix = [install.as_str(), "and remove the broken line"];
        return vec![Finding::new(Code::KeyGarbled, said, &fix).healed_by(Remedy::OwnLine)];
    }
    let said = format!("{words}; authorized_keys has no line with the miner's key");
    vec![Finding::new(Code::KeyNotInstalled, said, &[&install]).healed_by(Remedy::OwnLine)]
}

/// What stands before the key, if those are options.
pub(super) fn options<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let before = line.split_once(key)?.0.trim();
    (!before.is_empty() && !before.starts_with('#')).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_sshds() {
        for (pattern, text, expected) in [
            ("node", "node", true),
            ("node", "nodes", false),
            ("n*", "node", true),
            ("*", "", true),
            ("n?de", "node", true),
            ("n?de", "nde", false),
            ("a*b*c", "aXXbYYc", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn options_stand_before_the_key_and_a_comment_is_none() {
        let key = "ssh-ed25519 AAAA";
        assert_eq!(options("from=\"10.0.0.1\" ssh-ed25519 AAAA me", key), Some("from=\"10.0.0.1\""));
        assert_eq!(options("ssh-ed25519 AAAA me", key), None);
        assert_eq!(options("# ssh-ed25519 AAAA me", key), None);
    }
}
