//! sshd's settings on a node, changed so that nobody can lock themselves out.
//!
//! Only [`SETTINGS`] are ever written, none of which decides who may log in, into a file of their own (`/etc/ssh/sshd_config.d/00-basilica.conf`): of
//! two equal settings the first counts, so its name sorts before what images and providers bring. (Of two `MaxStartups` the last counts in older
//! OpenSSH, 9.2 for one; a line in sshd_config itself then stays the one that decides.) The change is made only if sshd takes the whole configuration
//! (`sshd -t`) and would go by the new value (`sshd -T`); otherwise [`by_hand`] is what remains. Then the sshd that took this login, and no other, reads
//! it again; open connections stay. From before the first byte is written a watcher on the node takes everything back unless somebody who logged in
//! anew has confirmed, so that a lost connection, a killed doctor and a wrong setting end the same way. A restart of the node within that minute is the
//! one thing that keeps what nobody confirmed.
//!
//! Rejected: editing `sshd_config`, whose order and `Match` blocks are its owner's.

use basilica_ports::{OutputLimits, Shell};
use basilica_types::{Argv, Digest, Millis};

use crate::fix::Change;
use crate::login::words;
use crate::words::shown;
use crate::{Code, Remedy};

/// What is written for which finding.
const SETTINGS: [(Code, &str); 2] =
    [(Code::SshdMaxStartups, "MaxStartups 100:30:200"), (Code::SshdMaxSessions, "MaxSessions 10")];
/// Times a new login is tried: while sshd reads its settings anew, it does not answer.
pub(crate) const LOGINS: u32 = 5;
/// Between them.
pub(crate) const PAUSE: Millis = Millis(500);

/// What an operator types instead, the last line aside: whichever of several lines counts, there is one.
pub(crate) fn by_hand(setting: &str) -> [String; 2] {
    let name = setting.split(' ').next().unwrap_or_default();
    let files = "/etc/ssh/sshd_config $(ls /etc/ssh/sshd_config.d/*.conf 2>/dev/null)";
    [
        format!("on the node: sudo sed -i 's/^[[:space:]]*{name}[[:space:]]/#&/I' {files}"),
        format!("then: sudo sed -i '1i {setting}' /etc/ssh/sshd_config"),
    ]
}

/// What a finding's setting should be.
pub(crate) fn setting(code: Code) -> Option<&'static str> {
    SETTINGS.iter().find(|(of, _)| *of == code).map(|(_, setting)| *setting)
}

/// As root, or as somebody whom sudo asks for nothing. `$1` script, then its arguments, before which stands whence this login comes.
const AS_ROOT: &str = r#"
script=$1; shift
from=${SSH_CONNECTION%% *}
if [ "$(id -u)" = 0 ]; then exec sh -c "$script" basilica "$from" "$@"; fi
exec sudo -n sh -c "$script" basilica "$from" "$@"
"#;

/// What the scripts have in common. `$2` names this change.
macro_rules! of_sshd {
    ($script:literal) => {
        concat!(
            r#"
set -u
LC_ALL=C; PATH=$PATH:/usr/sbin:/sbin; export LC_ALL PATH
from=$1; tag=$2; file=/etc/ssh/sshd_config.d/00-basilica.conf; state=/run/basilica-doctor-sshd
fail() { printf '%s\n' "$*" >&2; exit 1; }
restore() { if [ -e "$1/before" ]; then cp -p "$1/before" "$file.new" && mv -f "$file.new" "$file"; else rm -f "$file"; fi; }
"#,
            $script
        )
    };
}

/// `$3` seconds until the change is taken back, `$4` the script that does it, `$5` the setting.
const CHANGE: &str = of_sshd!(
    r#"
# The listener above this shell: other sshds, of containers for one, are none of ours.
pid=$$; listener=
while [ "$pid" -gt 1 ]; do
  case $(cat "/proc/$pid/comm" 2>/dev/null) in
    sshd) listener=$pid ;;
    sshd-*) ;;
    *) [ -z "$listener" ] || break ;;
  esac
  pid=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 2); pid=${pid:-0}
done
[ -n "$listener" ] || fail "which sshd took this login cannot be told"
line=$(tr '\0' ' ' <"/proc/$listener/cmdline")
case $line in *'[listener]'*|/*) ;; *) fail "sshd is started for each login here; nothing was changed" ;; esac
config=/etc/ssh/sshd_config
case $line in *" -f "*) config=${line#*" -f "}; config=${config%% *} ;; esac
program=$(command -v sshd) || fail "there is no sshd in $PATH"
values() { "$program" -T -f "$config" -C "user=root,host=$from,addr=$from" 2>/dev/null | grep -iE '^(maxstartups|maxsessions) '; }
tell() { values | tr '\n' ' '; echo; }
why=$("$program" -t -f "$config" 2>&1) || fail "sshd's configuration is wrong already, so nothing was changed: $why"
mkdir -m 700 "$state" || fail "another change waits to be confirmed, or was cut off; see $state"
if [ -e "$file" ]; then cp -p "$file" "$state/before" || { rm -rf "$state"; fail "$file cannot be copied"; }; fi
printf '%s\n%s\n%s\n' "$listener" "$program" "$config" >"$state/sshd" && printf '%s' "$tag" >"$state/tag" || { rm -rf "$state"; fail "/run is full"; }
# From here on whatever ends this script early is undone.
setsid sh -c "$4" basilica "$from" "$tag" "$3" </dev/null >/dev/null 2>&1 &
back() { restore "$state"; rm -rf "$state"; fail "$@"; }
printf 'before '; tell
{ echo '# Written by basilica-miner doctor --fix-sshd; without this file sshd is as it was before.'
  [ ! -e "$file" ] || grep -viE "^[[:space:]]*(#|${5%% *}[[:space:]])" "$file"
  printf '%s\n' "$5"; } >"$file.new" && chmod 644 "$file.new" && mv -f "$file.new" "$file" || back "$file cannot be written"
why=$("$program" -t -f "$config" 2>&1) || back "sshd does not take it, so it is as before: $why"
values | grep -qixF "$5" || back "another line decides over $5 in $file, so all is as before"
printf 'after '; tell
kill -s HUP "$listener" || back "sshd cannot be told"
"#
);

/// `$3` seconds to wait before.
const TAKE_BACK: &str = of_sshd!(
    r#"
sleep "$3"
[ "$(cat "$state/tag" 2>/dev/null)" = "$tag" ] || exit 0
# Who renames it decides.
mv "$state" "$state.$tag" 2>/dev/null || exit 0
restore "$state.$tag"
{ read -r listener; read -r program; read -r config; } <"$state.$tag/sshd"
rm -rf "$state.$tag"
[ "$(cat "/proc/$listener/comm" 2>/dev/null)" = sshd ] && "$program" -t -f "$config" && kill -s HUP "$listener"
"#
);

const CONFIRM: &str = of_sshd!(
    r#"
[ "$(cat "$state/tag" 2>/dev/null)" = "$tag" ] && mv "$state" "$state.$tag" 2>/dev/null || fail "it was taken back before"
rm -rf "$state.$tag"
"#
);

/// One change of the settings on one node.
pub(crate) struct SshdChange {
    /// Its name.
    pub(crate) tag: Digest,
    /// How long it waits to be confirmed.
    pub(crate) confirm: Millis,
    /// A command's deadline.
    pub(crate) deadline: Millis,
}

impl SshdChange {
    /// Writes the setting and has sshd read it. From here on it is taken back unless it is confirmed.
    pub(crate) async fn make(&self, shell: &dyn Shell, setting: &str) -> Result<Change, String> {
        let seconds = self.confirm.0.div_ceil(1_000).max(1).to_string();
        let arguments = [self.tag.to_string(), seconds, TAKE_BACK.to_owned(), setting.to_owned()];
        let text = self.run(shell, CHANGE, &arguments).await?;
        let line = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            shown(value.trim(), 300)
        };
        Ok(Change { remedy: Remedy::Sshd, before: line("before "), after: line("after ") })
    }

    /// Keeps them.
    pub(crate) async fn keep(&self, shell: &dyn Shell) -> Result<(), String> {
        self.run(shell, CONFIRM, &[self.tag.to_string()]).await.map(drop)
    }

    /// Takes them back at once.
    pub(crate) async fn take_back(&self, shell: &dyn Shell) -> Result<(), String> {
        self.run(shell, TAKE_BACK, &[self.tag.to_string(), "0".to_owned()]).await.map(drop)
    }

    async fn run(&self, shell: &dyn Shell, script: &str, arguments: &[String]) -> Result<String, String> {
        let all = std::iter::once(script.to_owned()).chain(arguments.iter().cloned());
        let command = Argv::script(AS_ROOT, all).expect("constants, numbers and hex fit");
        let limits = OutputLimits { deadline: self.deadline, stdout: 4 * 1024, stderr: 4 * 1024 };
        let output = shell.run(&command, b"", limits).await.map_err(|error| {
            let seconds = self.confirm.0.div_ceil(1_000);
            format!("{}; what was changed until then the node takes back after {seconds} s", words(&error))
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(shown(&String::from_utf8_lossy(&output.stderr), 300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_decides_who_may_log_in_is_ever_set() {
        let names = SETTINGS.map(|(_, setting)| setting.split(' ').next().unwrap());
        assert_eq!(names, ["MaxStartups", "MaxSessions"]);
    }

    #[test]
    fn root_and_who_may_become_it_run_the_same_with_the_same_words() {
        let programs = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            let path = programs.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("sudo", "#!/bin/sh\n[ \"$1\" = -n ] && shift && exec \"$@\"\n");
        let arguments = [r#"printf '%s|' "$@""#, "a tag", "two\nlines"];
        let command = Argv::script(AS_ROOT, arguments).unwrap().to_command_line();
        let said = |uid: &str| {
            write("id", &format!("#!/bin/sh\necho {uid}\n"));
            let path = format!("{}:/usr/bin:/bin", programs.path().display());
            let run = std::process::Command::new("sh")
                .args(["-c", &command])
                .env("PATH", path)
                .env("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22")
                .output();
            String::from_utf8(run.unwrap().stdout).unwrap()
        };
        for uid in ["0", "1000"] {
            assert_eq!(said(uid), "192.0.2.1|a tag|two\nlines|");
        }
    }
}
