//! The changes that `--fix` makes on a node. Each is a constant script that can be run again, and says what was before and what is now.

use async_trait::async_trait;
use basilica_miner_service::operator_key::{self, Presence};
use basilica_ports::{Output, OutputLimits, Process, Shell, ShellError};
use basilica_runtime_service::ErrorChain;
use basilica_types::{Argv, HostKey, Millis, SshPublicKey, Username};
use serde::Serialize;

use crate::Remedy;
use crate::login::words;
use crate::words::shown;

/// What the scripts have in common: where the account's files are, and how they look. `$1` login user.
macro_rules! of_account {
    ($script:literal) => {
        concat!(
            r#"
set -u
LC_ALL=C; export LC_ALL
user=$1
me=$(id -un)
entry=$(getent passwd "$user" 2>/dev/null || grep "^$user:" /etc/passwd | head -n 1)
home=$(printf '%s' "$entry" | cut -d : -f 6)
group=$(printf '%s' "$entry" | cut -d : -f 4)
[ "$me" = "$user" ] && home=$HOME
[ -n "$home" ] && [ -d "$home" ] || { echo "no home of $user" >&2; exit 1; }
own() { [ "$(id -u)" = 0 ] || return 0; chown -h "$user:$group" "$@"; }
show() { for path in "$home" "$home/.ssh" "$home/.ssh/authorized_keys" "$home/.cache/basilica"; do
  [ -e "$path" ] && printf '%s %s; ' "$path" "$(stat -L -c '%a %U' "$path")"; done; echo; }
printf 'before '; show
"#,
            $script,
            r#"
printf 'after '; show
"#
        )
    };
}

const MODES: &str = of_account!(
    r#"
for path in "$home" "$home/.ssh" "$home/.ssh/authorized_keys"; do
  [ -e "$path" ] || continue
  [ -L "$path" ] && continue
  own "$path" || exit 1
  chmod go-w "$path" || exit 1
done
[ -d "$home/.ssh" ] && { chmod 700 "$home/.ssh" || exit 1; }
[ -f "$home/.ssh/authorized_keys" ] && [ ! -L "$home/.ssh/authorized_keys" ] && { chmod 600 "$home/.ssh/authorized_keys" || exit 1; }
"#
);

const DIRECTORIES: &str = of_account!(
    r#"
for path in "$home/.ssh" "$home/.cache" "$home/.cache/basilica"; do
  [ -d "$path" ] || mkdir -m 700 "$path" || exit 1
  own "$path" || exit 1
  chmod u+rwx "$path" || exit 1
done
[ -f "$home/.ssh/authorized_keys" ] && { chmod u+rw "$home/.ssh/authorized_keys" || exit 1; }
"#
);

/// Another user's shell as root sees it, so that what edits a user's keys has one implementation.
struct AsUser<'a> {
    root: &'a dyn Shell,
    user: &'a Username,
}

impl AsUser<'_> {
    /// `runuser` keeps standard input and exit code; `HOME` is the user's own.
    fn command(&self, command: &Argv) -> Argv {
        let head =
            ["runuser", "-u", self.user.as_str(), "--", "sh", "-c", AT_HOME, "basilica"].map(String::from);
        Argv::new(head.into_iter().chain(command.arguments().iter().cloned()))
            .expect("a command and a few words fit")
    }
}

/// `$@` with the home of whoever runs it.
const AT_HOME: &str =
    r#"HOME=$(getent passwd "$(id -un)" | cut -d : -f 6); export HOME; cd "$HOME"; exec "$@""#;

#[async_trait]
impl Shell for AsUser<'_> {
    fn host_key(&self) -> &HostKey {
        self.root.host_key()
    }

    fn is_open(&self) -> bool {
        self.root.is_open()
    }

    async fn run(&self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, ShellError> {
        self.root.run(&self.command(command), input, limits).await
    }

    async fn start(&self, command: &Argv) -> Result<Box<dyn Process>, ShellError> {
        self.root.start(&self.command(command)).await
    }

    async fn close(&self) {}
}

/// Puts the miner's own line into the user's file, by the editor that onboarding uses.
async fn own_line(
    shell: &dyn Shell,
    user: &Username,
    key: &SshPublicKey,
    deadline: Millis,
) -> Result<Change, String> {
    let as_user = AsUser { root: shell, user };
    let installed = operator_key::install(&as_user, deadline, key).await;
    let installed = installed.map_err(|error| shown(&ErrorChain(&error).to_string(), 300))?;
    let before = match installed.before {
        Presence::Absent => "no line with the miner's key".to_owned(),
        Presence::Plain => "the miner's key was there".to_owned(),
        Presence::Restricted(options) => format!("the miner's key behind {}", shown(&options, 300)),
    };
    Ok(Change { remedy: Remedy::OwnLine, before, after: format!("{key} basilica-miner") })
}

/// What was done on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which remedy.
    pub remedy: Remedy,
    /// How it looked.
    pub before: String,
    /// How it looks.
    pub after: String,
}

/// Does it.
pub(crate) async fn apply(
    shell: &dyn Shell,
    remedy: Remedy,
    user: &Username,
    key: &SshPublicKey,
    deadline: Millis,
) -> Result<Change, String> {
    let name = user.as_str().to_owned();
    let command = match remedy {
        Remedy::Modes => Argv::script(MODES, [name]),
        Remedy::Directories => Argv::script(DIRECTORIES, [name]),
        Remedy::OwnLine => return own_line(shell, user, key, deadline).await,
        Remedy::KeyFileMode => return Err("the key file is on this machine".to_owned()),
        Remedy::Sshd => return Err("sshd is changed over two logins".to_owned()),
    };
    let command = command.expect("a constant, a name and a key fit");
    let limits = OutputLimits { deadline, stdout: 16 * 1024, stderr: 4 * 1024 };
    let output = shell.run(&command, b"", limits).await.map_err(|error| words(&error))?;
    if !output.status.success() {
        return Err(shown(&String::from_utf8_lossy(&output.stderr), 300));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        shown(value.trim().trim_end_matches(';'), 600)
    };
    Ok(Change { remedy, before: line("before "), after: line("after ") })
}
