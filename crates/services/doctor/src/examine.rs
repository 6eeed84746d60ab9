//! What a node says of itself to the doctor: one constant script, and its answer as typed facts.
//!
//! The script needs no tool that may be missing: what it cannot find out it leaves out, and what is left out is unknown. Each line of
//! its answer is a name, a space and a value of one line; anything else is dropped.

use std::collections::BTreeMap;

use basilica_types::{Argv, SshPublicKey, Username};

use crate::words::shown;

/// `$1` login user, `$2` the miner's key as base64, `$3` a part of it that a broken line still has, `$4` seconds for each tool.
const EXAMINE: &str = r#"
LC_ALL=C; export LC_ALL
user=$1; key=$2; part=$3; limit=$4
has() { command -v "$1" >/dev/null 2>&1; }
put() { name=$1; shift; set -f; set -- $*; printf '%s %s\n' "$name" "$*"; set +f; }
if has timeout; then t() { timeout -k 1 "$limit" "$@" </dev/null; }; else t() { "$@" </dev/null; }; fi
put now "$(date +%s 2>/dev/null)"
me=$(id -un 2>/dev/null); uid=$(id -u 2>/dev/null)
put me "$me"; put uid "$uid"
entry=$(getent passwd "$user" 2>/dev/null)
if [ -z "$entry" ]; then
  while IFS= read -r line; do case $line in "$user":*) entry=$line;; esac; done </etc/passwd
fi
IFS=: read -r a_name a_pass a_uid a_gid a_gecos a_home a_shell <<END_OF_ENTRY
$entry
END_OF_ENTRY
if [ -n "$a_uid" ]; then put account "$a_uid"; put shell "$a_shell"; else put no-account; fi
home=$a_home; [ "$me" = "$user" ] && home=$HOME
put home "$home"
if [ -r /etc/shadow ]; then
  while IFS=: read -r s_name s_pass s_rest; do
    if [ "$s_name" = "$user" ]; then case $s_pass in '!'*) put locked yes;; *) put locked no;; esac; fi
  done </etc/shadow
fi
put groups "$(id -Gn "$user" 2>/dev/null)"
look_at() { [ -e "$2" ] && put "$1" "$(stat -L -c '%a %u' "$2" 2>/dev/null)"; }
file=$home/.ssh/authorized_keys
look_at mode-home "$home"; look_at mode-ssh "$home/.ssh"; look_at mode-keys "$file"
[ -L "$file" ] && put keys-link "$(readlink -f "$file" 2>/dev/null)"
if [ -r "$file" ]; then
  put keys-read yes; lines=0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      *"$key"*) [ "$lines" -lt 4 ] && { lines=$((lines + 1)); printf 'key-line %s\n' "$line"; } ;;
      *"$part"*) put key-part yes ;;
    esac
  done <"$file"
fi
put openssh "$(ssh -V 2>&1)"
run=none; scratch=
if [ "$uid" = 0 ]; then run=
elif has sudo && t sudo -n true 2>/dev/null; then put sudo yes; run='sudo -n'
elif scratch=$(mktemp -d 2>/dev/null) && ssh-keygen -q -t ed25519 -N '' -f "$scratch/key" >/dev/null 2>&1 </dev/null; then run=
fi
if [ "$run" != none ]; then
  program=$(command -v sshd 2>/dev/null || echo /usr/sbin/sshd); config=
  # Of several sshds the one that this login came through: it is among the parents.
  process=$PPID
  while [ "${process:-1}" -gt 1 ]; do
    line=$(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null)
    case $line in
      sshd:*" -f "*"[listener]"*) config=${line#*" -f "}; config=${config%% *}; break ;;
      sshd:*"[listener]"*) break ;;
    esac
    process=$(sed -n 's/.*) [^ ]* \([0-9]*\) .*/\1/p' "/proc/$process/stat" 2>/dev/null)
  done
  from=${SSH_CONNECTION%% *}; from=${from:-127.0.0.1}
  settings=$(t $run "$program" -T ${config:+-f "$config"} ${scratch:+-h "$scratch/key"} -C "user=$user,host=$from,addr=$from" 2>/dev/null) && put sshd-read yes
  [ -n "$scratch" ] && rm -rf "$scratch"
  t $run grep -qiE '^[[:space:]]*include[[:space:]]+/etc/ssh/sshd_config[.]d/[*][.]conf' "${config:-/etc/ssh/sshd_config}" 2>/dev/null && put sshd-includes yes
  while read -r name value; do
    case $name in
      maxstartups|maxsessions|persourcepenalties|allowtcpforwarding|permitrootlogin|authorizedkeysfile|forcecommand) put "sshd-$name" "$value" ;;
      pubkeyauthentication|strictmodes|allowusers|denyusers|allowgroups|denygroups|authenticationmethods) put "sshd-$name" "$value" ;;
    esac
  done <<END_OF_SETTINGS
$settings
END_OF_SETTINGS
fi
[ "$me" = "$user" ] || { put end yes; exit 0; }
for tool in timeout sha256sum mktemp grep date env stat find cut head wc cat chmod mkdir mv rm readlink dirname id; do
  has "$tool" || put missing "$tool"
done
cache=$HOME/.cache/basilica
if why=$(mkdir -p "$cache" 2>&1); then
  trial=$cache/.doctor.$$
  if why=$( { printf '#!/bin/sh\nexit 0\n' >"$trial"; head -c 65536 /dev/zero >>"$trial.room"; } 2>&1 ) && [ -s "$trial" ]; then
    chmod 700 "$trial"
    if why=$("$trial" 2>&1); then put cache ok; else put cache "noexec $why"; fi
  else put cache "unwritable $why"; fi
  rm -f "$trial" "$trial.room"
else put cache "unwritable $why"; fi
if [ -d "$HOME/.ssh" ]; then
  if (: >"$HOME/.ssh/.doctor.$$") 2>/dev/null; then put ssh-writable yes; rm -f "$HOME/.ssh/.doctor.$$"; else put ssh-writable no; fi
fi
free=$(df -Pk "$HOME" 2>/dev/null | { read -r line; read -r device blocks used room rest; echo "$room"; })
put home-free "$free"
[ -e "$HOME/.config/basilica/simulated-gpus.json" ] && put simulated yes
if has nvidia-smi; then
  out=$(t nvidia-smi --query-gpu=driver_version,name --format=csv,noheader 2>&1); code=$?
  put driver "$code $out"
  put smi "$(t nvidia-smi 2>/dev/null)"
else put driver missing; fi
for engine in docker podman; do
  has "$engine" || continue
  out=$(t "$engine" info 2>&1); code=$?
  if [ "$code" = 0 ]; then put engine "$engine 0"; else put engine "$engine $code $out"; fi
  put socket "$(stat -L -c '%a %U %G' /var/run/docker.sock 2>/dev/null)"
  if [ "$engine" = docker ]; then put runtimes "$(t docker info --format '{{range $name, $runtime := .Runtimes}}{{$name}} {{end}}' 2>/dev/null)"; fi
done
put end yes
"#;

/// Longest value that is kept of one line.
const VALUE_MAX: usize = 1_024;
/// Bytes of the answer.
pub(crate) const ANSWER_MAX: usize = 64 * 1024;

/// Of the user's key in base64, what a broken line still holds: beyond what all keys of a type have in common.
const PART: usize = 48;

pub(crate) fn command(user: &Username, key: &SshPublicKey, seconds: u64) -> Argv {
    let text = key.to_string();
    let data = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let part = data.get(..PART).unwrap_or(&data).to_owned();
    Argv::script(EXAMINE, [user.as_str().to_owned(), data, part, seconds.to_string()])
        .expect("a constant, a name, base64 and a number fit")
}

/// Who owns a file, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Permission bits.
    pub bits: u32,
    /// Its owner's number.
    pub owner: u32,
}

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: u32,
    /// Its words.
    pub words: String,
}

/// Whether the place for the prover can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// A program can be written there and run.
    Ok,
    /// It cannot be written to; why.
    Unwritable(String),
    /// It can, but what lies there cannot be run; why.
    Noexec(String),
}

/// A container engine that is there, as it answers the login user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSaid {
    /// `docker` or `podman`.
    pub program: String,
    /// To `info`.
    pub said: Said,
}

/// What a node says of itself. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    facts: BTreeMap<String, Vec<String>>,
}

impl Examined {
    /// Reads the script's answer; none unless it came to its end.
    pub fn parse(output: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(output);
        let mut facts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            let is_name = |b: u8| b.is_ascii_lowercase() || b == b'-';
            if !name.is_empty() && name.bytes().all(is_name) {
                facts.entry(name.to_owned()).or_default().push(shown(value, VALUE_MAX));
            }
        }
        facts.contains_key("end").then_some(Self { facts })
    }

    /// All values of this name.
    pub fn all(&self, name: &str) -> &[String] {
        self.facts.get(name).map_or(&[], Vec::as_slice)
    }

    /// The one value of this name, unless it is empty.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.one(name)?.parse().ok()
    }

    /// Whether this was said at all.
    pub fn has(&self, name: &str) -> bool {
        self.facts.contains_key(name)
    }

    /// A setting of sshd, as `sshd -T` prints it.
    pub fn sshd(&self, name: &str) -> Option<&str> {
        self.one(&format!("sshd-{name}"))
    }

    /// Whether sshd's settings can be changed from here by a file of ours: as root, and where it reads such files.
    pub fn can_set_sshd(&self) -> bool {
        (self.number("uid") == Some(0) || self.has("sudo")) && self.has("sshd-includes")
    }

    /// A file's owner and permissions.
    pub fn mode(&self, name: &str) -> Option<Mode> {
        let (bits, owner) = self.one(name)?.split_once(' ')?;
        Some(Mode { bits: u32::from_str_radix(bits, 8).ok()?, owner: owner.parse().ok()? })
    }

    /// The place for the prover.
    pub fn cache(&self) -> Option<Cache> {
        let value = self.one("cache")?;
        let (kind, why) = value.split_once(' ').unwrap_or((value, ""));
        Some(match kind {
            "ok" => Cache::Ok,
            "noexec" => Cache::Noexec(why.to_owned()),
            _ => Cache::Unwritable(why.to_owned()),
        })
    }

    /// What the driver's tool said; none where there is no such tool, or nothing was asked.
    pub fn driver(&self) -> Option<Said> {
        said(self.one("driver")?)
    }

    /// The CUDA version in the head of what the driver's tool prints.
    pub fn cuda(&self) -> Option<(u32, u32)> {
        let (_, rest) = self.one("smi")?.split_once("CUDA Version: ")?;
        let version = rest.split(' ').next()?;
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// The container engines that are there, in the order in which validators ask them.
    pub fn engines(&self) -> Vec<EngineSaid> {
        let engine = |value: &String| {
            let (program, rest) = value.split_once(' ')?;
            Some(EngineSaid { program: program.to_owned(), said: said(rest)? })
        };
        self.all("engine").iter().filter_map(engine).collect()
    }
}

fn said(value: &str) -> Option<Said> {
    let (code, words) = value.split_once(' ').unwrap_or((value, ""));
    Some(Said { code: code.parse().ok()?, words: words.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_runs_in_a_bare_shell_and_its_answer_is_read() {
        let key: SshPublicKey =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
                .parse()
                .unwrap();
        let home = tempfile::tempdir().unwrap();
        let name =
            String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let user: Username = name.trim().parse().unwrap();
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        let lines = format!("garbage\r\nfrom=\"10.0.0.1\" {key} me\n");
        std::fs::write(home.path().join(".ssh/authorized_keys"), lines).unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", &command(&user, &key, 5).to_command_line()])
            .env("HOME", home.path())
            .output()
            .unwrap();
        let seen = Examined::parse(&output.stdout).unwrap_or_else(|| {
            panic!("{} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        });
        assert!(seen.number("now").is_some_and(|now| now > 1_700_000_000));
        assert_eq!(seen.one("home"), home.path().to_str());
        assert_eq!(seen.cache(), Some(Cache::Ok));
        assert_eq!(seen.all("key-line").len(), 1);
        assert!(seen.one("key-line").unwrap().starts_with("from=\"10.0.0.1\" ssh-ed25519"));
        assert!(seen.mode("mode-ssh").is_some());
        assert!(!home.path().join(".cache/basilica").read_dir().unwrap().any(|_| true), "nothing stays");
    }

    #[test]
    fn what_a_node_says_is_bounded_and_shown_as_text() {
        let seen = Examined::parse(
            b"me \x1b[31mroot \xe2\x80\xaetoor\nX y\nsmi | Driver CUDA Version: 12.8 |\ndriver 9 no devices\nend yes\n",
        )
        .unwrap();
        assert_eq!(seen.one("me"), Some(" [31mroot  toor"), "nothing that a terminal would obey");
        assert_eq!(seen.cuda(), Some((12, 8)));
        assert_eq!(seen.driver(), Some(Said { code: 9, words: "no devices".to_owned() }));
        assert_eq!(Examined::parse(b"me root\n"), None, "cut off");
    }
}
