//! The broken hosts, one line of shell each.

/// Whether `--fix` claims to heal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heals {
    Yes,
    No,
}

/// Another login beside the miner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    None,
    Root,
    /// A plain user, without sudo.
    Plain,
}

/// One way to be broken.
#[derive(Debug)]
pub(crate) struct Case {
    /// Of the host, too.
    pub(crate) name: &'static str,
    /// Run by root; `$KEY` is the miner's key.
    pub(crate) script: &'static str,
    /// Lines for sshd's configuration, after which it is started anew.
    pub(crate) sshd: &'static str,
    /// As whom the miner logs in.
    pub(crate) user: &'static str,
    pub(crate) other: Other,
    pub(crate) expected: &'static [&'static str],
    pub(crate) heals: Heals,
}

const WELL: Case = Case {
    name: "well",
    script: "",
    sshd: "",
    user: "node",
    other: Other::None,
    expected: &[],
    heals: Heals::No,
};

const fn script(name: &'static str, script: &'static str, expected: &'static [&'static str]) -> Case {
    Case { name, script, expected, ..WELL }
}

/// One whose cause only another login can see.
const fn denied(
    name: &'static str,
    script: &'static str,
    expected: &'static [&'static str],
    heals: Heals,
) -> Case {
    Case { name, script, expected, heals, other: Other::Root, ..WELL }
}

const fn sshd(
    name: &'static str,
    sshd: &'static str,
    expected: &'static [&'static str],
    other: Other,
) -> Case {
    Case { name, sshd, expected, other, ..WELL }
}

pub(crate) const HOSTS: &[Case] = &[
    WELL,
    // Permissions and owners.
    denied("home-mode", "chmod 777 /home/node", &["home-permissions"], Heals::Yes),
    denied("ssh-mode", "chmod 777 /home/node/.ssh", &["ssh-dir-permissions"], Heals::Yes),
    denied("keys-mode", "chmod 666 /home/node/.ssh/authorized_keys", &["keys-file-permissions"], Heals::Yes),
    denied(
        "keys-unreadable",
        "chmod 000 /home/node/.ssh/authorized_keys",
        &["keys-file-permissions"],
        Heals::Yes,
    ),
    denied("keys-owner", "chown 4243 /home/node/.ssh/authorized_keys", &["keys-file-owner"], Heals::Yes),
    denied("ssh-owner", "chown 4243 /home/node/.ssh", &["keys-file-owner"], Heals::Yes),
    script("denied-unseen", "chmod 777 /home/node", &["login-denied"]),
    // The key.
    denied("no-key", ": >/home/node/.ssh/authorized_keys", &["key-not-installed"], Heals::Yes),
    denied("no-ssh-dir", "rm -r /home/node/.ssh", &["key-not-installed"], Heals::Yes),
    denied(
        "key-wrapped",
        "echo \"$KEY\" | fold -w 60 >/home/node/.ssh/authorized_keys",
        &["key-garbled"],
        Heals::Yes,
    ),
    denied("key-commented", "echo \"# $KEY\" >/home/node/.ssh/authorized_keys", &["key-garbled"], Heals::Yes),
    denied(
        "key-from",
        "echo \"from=\\\"192.0.2.1\\\" $KEY\" >/home/node/.ssh/authorized_keys",
        &["key-options"],
        Heals::No,
    ),
    denied(
        "key-command",
        "echo \"command=\\\"echo no\\\" $KEY\" >/home/node/.ssh/authorized_keys",
        &["key-options"],
        Heals::No,
    ),
    denied(
        "key-expired",
        "echo \"expiry-time=\\\"20200101\\\" $KEY\" >/home/node/.ssh/authorized_keys",
        &["key-options"],
        Heals::No,
    ),
    script("key-restrict", "echo \"restrict $KEY\" >/home/node/.ssh/authorized_keys", &[]),
    script(
        "key-symlink",
        "mv /home/node/.ssh/authorized_keys /home/node/keys; ln -s ../keys /home/node/.ssh/authorized_keys",
        &[],
    ),
    script(
        "key-garbage-crlf",
        "{ printf 'garbage\\r\\n\\001\\002\\n'; printf '%s x\\r\\n' \"$KEY\"; } >/home/node/.ssh/authorized_keys",
        &[],
    ),
    // The account.
    Case { name: "no-user", user: "nobody-here", other: Other::Root, expected: &["user-missing"], ..WELL },
    denied("locked", "sed -i 's/^node:[*]:/node:!:/' /etc/shadow", &["user-locked"], Heals::No),
    script("nologin", "sed -i '/^node:/s#/bin/bash#/usr/sbin/nologin#' /etc/passwd", &["login-shell"]),
    script("false", "sed -i '/^node:/s#/bin/bash#/bin/false#' /etc/passwd", &["login-shell"]),
    script("csh-like", "sed -i '/^node:/s#/bin/bash#/usr/local/bin/csh-like#' /etc/passwd", &["login-shell"]),
    script("noisy", "echo 'echo welcome to this node' >/home/node/.bashrc", &["shell-noise"]),
    script("slow", "echo 'sleep 600' >/home/node/.bashrc", &["node-slow"]),
    // sshd.
    sshd(
        "force-command",
        "Match User node\n  ForceCommand echo this account runs one program",
        &["forced-command"],
        Other::None,
    ),
    sshd("no-pubkey", "Match User node\n  PubkeyAuthentication no", &["publickey-off"], Other::Root),
    sshd("allow-users", "AllowUsers root someb?dy", &["sshd-allow-users"], Other::Root),
    sshd("deny-groups", "DenyGroups no*", &["sshd-allow-users"], Other::Root),
    sshd(
        "keys-elsewhere",
        "Match User node\n  AuthorizedKeysFile /etc/keys/%u",
        &["sshd-keys-file"],
        Other::Root,
    ),
    Case {
        name: "no-root-login",
        script: "chmod 644 /etc/ssh/basilica_sshd_config",
        sshd: "Match User root\n  PermitRootLogin no",
        user: "root",
        other: Other::Plain,
        expected: &["sshd-root-login"],
        ..WELL
    },
    Case {
        name: "root-forced-only",
        script: "chmod 644 /etc/ssh/basilica_sshd_config",
        sshd: "Match User root\n  PermitRootLogin forced-commands-only",
        user: "root",
        other: Other::Plain,
        expected: &["sshd-root-login"],
        ..WELL
    },
    sshd("old-algorithms", "KexAlgorithms diffie-hellman-group1-sha1", &["sshd-incompatible"], Other::None),
    sshd("max-sessions", "MaxSessions 1", &["sshd-max-sessions"], Other::None),
    Case {
        name: "max-startups",
        sshd: "MaxStartups 2:50:10",
        user: "root",
        expected: &["sshd-max-startups"],
        ..WELL
    },
    // The system.
    script(
        "clock",
        "printf '#!/bin/sh\\n[ \"$*\" = +%%s ] && exec /bin/date -d \"2 hours ago\" +%%s\\nexec /bin/date \"$@\"\\n' >/usr/local/bin/date; chmod 755 /usr/local/bin/date",
        &["clock-node"],
    ),
    script(
        "no-tools",
        "rm -f /usr/bin/sha256sum /bin/sha256sum /usr/bin/mktemp /bin/mktemp",
        &["tools-missing"],
    ),
    script("no-grep", "rm -f /usr/bin/grep /bin/grep", &["tools-missing"]),
    script(
        "disk-full",
        "mkdir /home/node/.cache; mount -t tmpfs -o size=16k,uid=4242,mode=700 tmpfs /home/node/.cache",
        &["home-full"],
    ),
    script(
        "noexec",
        "mkdir /home/node/.cache; mount -t tmpfs -o noexec,uid=4242,mode=700 tmpfs /home/node/.cache",
        &["home-noexec"],
    ),
    script(
        "read-only",
        "mount --bind /home/node /home/node; mount -o remount,bind,ro /home/node",
        &["home-unwritable"],
    ),
    Case {
        other: Other::Root,
        heals: Heals::Yes,
        ..script("cache-of-root", "mkdir -m 755 /home/node/.cache", &["home-unwritable"])
    },
    // Driver and containers.
    script("no-driver", "rm /usr/local/bin/nvidia-smi", &["driver-missing"]),
    script(
        "driver-broken",
        "printf '#!/bin/sh\\necho NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.\\nexit 9\\n' >/usr/local/bin/nvidia-smi",
        &["driver-broken"],
    ),
    script(
        "no-devices",
        "printf '#!/bin/sh\\necho No devices were found\\nexit 6\\n' >/usr/local/bin/nvidia-smi",
        &["no-gpu"],
    ),
    script(
        "old-cuda",
        "sed -i 's/12[.]8/12.2/; s/570[.]86[.]15/535.104.05/' /usr/local/bin/nvidia-smi",
        &["cuda-too-old"],
    ),
    script("no-docker", "rm /usr/local/bin/docker", &["docker-missing"]),
    script(
        "docker-denied",
        "printf '#!/bin/sh\\necho permission denied while trying to connect to the Docker daemon socket >&2\\nexit 1\\n' >/usr/local/bin/docker",
        &["docker-denied"],
    ),
    script(
        "docker-down",
        "printf '#!/bin/sh\\necho Cannot connect to the Docker daemon at unix:///var/run/docker.sock. >&2\\nexit 1\\n' >/usr/local/bin/docker",
        &["docker-down"],
    ),
    script("no-runtime", "sed -i 's/nvidia runc/runc/' /usr/local/bin/docker", &["docker-no-gpu"]),
];
