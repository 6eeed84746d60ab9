//! What can be wrong: every code with its cause and its effect, and one finding of it.

use std::fmt;

use basilica_types::NodeAddress;
use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It could not be looked at, or is nothing that the operator can change.
    Note,
    /// It may cost something, or will later.
    Warning,
    /// Validators fail the node, or the miner cannot work.
    Error,
}

/// How far one gets with a node before this shows. What shows at one stage hides what it causes at the later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// On this machine.
    Here,
    /// No login.
    Login,
    /// A login, and no shell that commands can be run in.
    Shell,
    /// No place for a validator's program.
    Files,
    /// No driver that shows GPUs.
    Driver,
    /// No containers with GPUs.
    Containers,
    /// What only the validators' own checks show.
    Proof,
    /// Settings and margins; they hide nothing and are hidden by nothing but a missing login.
    Settings,
}

macro_rules! codes {
    ($($variant:ident $code:literal $severity:ident $stage:ident $cause:literal, $effect:literal;)+) => {
        /// Names one cause. Codes are never renamed or given another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $cause] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// Where it shows.
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage),+ }
            }

            /// The cause, one sentence without a full stop.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause),+ }
            }

            /// What it does to the node's score.
            pub const fn effect(self) -> &'static str {
                match self { $(Self::$variant => $effect),+ }
            }
        }
    };
}

codes! {
    KeyMissing "key-missing" Error Here "the miner's SSH key is not there", "no node gets a validator's key: all score 0";
    KeyUnreadable "key-unreadable" Error Here "the miner's SSH key cannot be read by this user", "no node gets a validator's key: all score 0";
    KeyTooOpen "key-too-open" Error Here "others on this machine can read the miner's SSH key", "the miner refuses to use it: all nodes score 0";
    KeyPassphrase "key-passphrase" Error Here "the miner's SSH key has a passphrase, which a service cannot type", "no node gets a validator's key: all score 0";
    KeyInvalid "key-invalid" Error Here "the file is no private key that SSH knows", "no node gets a validator's key: all score 0";
    WalletUnreadable "wallet-unreadable" Error Here "the hotkey cannot be loaded", "the miner does not start";
    DatabaseUnwritable "database-unwritable" Error Here "the miner's database cannot be opened and written", "the miner does not start, or loses its sessions";
    DatabaseDamaged "database-damaged" Error Here "the file of the miner's database is damaged, or no database", "the miner does not start, and what runs refuses validators once it meets the damage";
    DatabaseGone "database-gone" Error Here "the miner runs and the file of its database is gone", "what it remembers ends with it: sessions, drained nodes, the keys that are on nodes";
    DatabaseForeign "database-foreign" Error Here "database.url names a database of another program", "the miner does not start";
    DatabaseNewer "database-newer" Error Here "the miner's database was migrated by a newer version", "the miner does not start";
    DatabaseOutdated "database-outdated" Error Here "the miner's database is not at this version's schema, and database.run_migrations = false", "the miner does not start";
    DiskFullHere "disk-full-here" Error Here "the disk of the miner's database is nearly full", "once it is full, sessions cannot be stored: validators are refused";
    AuditDiskFullHere "audit-disk-full-here" Warning Here "the disk of the miner's audit log is nearly full", "none: the miner goes on working, and lines are missing in its audit log once the disk is full";
    ClockHere "clock-here" Error Here "this machine's clock is wrong", "validators' requests are refused as too old or too new";
    ChainUnreachable "chain-unreachable" Error Here "no endpoint of the chain answers", "validators cannot be told from strangers, and nobody is admitted";
    NotRegistered "not-registered" Error Here "the hotkey has no uid on the subnet", "validators do not see this miner";
    AxonMissing "axon-missing" Error Here "the chain has no address of this miner", "validators do not find this miner";
    AxonDiffers "axon-differs" Warning Here "the chain has another address of this miner than the configuration", "validators may ask at the wrong place until the miner publishes it";
    AxonUnreachable "axon-unreachable" Error Here "the advertised address does not answer", "validators get no session: all nodes score 0";
    AxonUnknown "axon-unknown" Note Here "whether the advertised address answers from outside cannot be told from here", "none by itself";
    PortTaken "port-taken" Error Here "another program has a port that the miner listens on", "the miner does not start";
    NotRunning "not-running" Warning Here "no miner runs with this configuration", "validators get no session: all nodes score 0";
    NoNodes "no-nodes" Warning Here "the configuration names no nodes", "there is nothing to score";
    ConfigNotice "config-notice" Note Here "the configuration has a key that is worth a second look", "none by itself";
    NoProver "no-prover" Warning Here "the prover is not beside this program, so no proof was run", "what only the validators' proof shows stays unknown";

    AddressUnresolved "address-unresolved" Error Login "the node's host name has no address", "validators do not find the node: score 0";
    AddressIpv6Only "address-ipv6-only" Error Login "the node has only an IPv6 address, which this machine cannot reach", "validators without IPv6 cannot reach it: score 0";
    AddressIpv6 "address-ipv6" Warning Settings "the node has only an IPv6 address", "validators without IPv6 cannot reach it";
    AddressNotPublic "address-not-public" Error Settings "the node's address is not public", "validators refuse it (address_forbidden): score 0";
    PortClosed "port-closed" Error Login "nobody listens on the node's SSH port", "validators cannot log in (ssh_connection_failed): score 0";
    HostUnreachable "host-unreachable" Error Login "the network has no way to the node", "validators cannot log in (ssh_connection_failed): score 0";
    PortFiltered "port-filtered" Error Login "the node's SSH port does not answer: a firewall drops it, or the machine is off", "validators cannot log in (ssh_connection_timeout): score 0";
    NotSsh "not-ssh" Error Login "something else than SSH answers on the node's SSH port", "validators cannot log in (ssh_connection_failed): score 0";
    SshdSilent "sshd-silent" Error Login "the node accepts connections and then says nothing", "validators cannot log in (ssh_connection_timeout): score 0";
    SshdLocksOut "sshd-locks-out" Error Login "the node's sshd shuts this address out for a while (PerSourcePenalties, MaxStartups or a ban)", "validators may be shut out too (ssh_locked_out)";
    SshdIncompatible "sshd-incompatible" Error Login "the node's sshd offers only algorithms that are too old to be safe", "validators cannot log in: score 0";
    ConnectionLost "connection-lost" Error Login "the connection broke during the login", "validators cannot log in: score 0";
    HostKeyChanged "host-key-changed" Error Login "the node shows another host key than the one it is known by", "validators do not log in (host_key_changed): score 0";
    PublickeyOff "publickey-off" Error Login "the node's sshd takes no keys (PubkeyAuthentication no)", "no login is possible: score 0";
    LoginDenied "login-denied" Error Login "the node does not accept the miner's key for this user", "no validator's key can be placed: score 0";
    UserMissing "user-missing" Error Login "the login user does not exist on the node", "no login is possible: score 0";
    UserLocked "user-locked" Error Login "the login user's account is locked", "no login is possible: score 0";
    HomeMode "home-permissions" Error Login "others may write to the user's home, so sshd ignores its keys", "no login is possible: score 0";
    SshDirMode "ssh-dir-permissions" Error Login "others may write to ~/.ssh, so sshd ignores the keys in it", "no login is possible: score 0";
    KeysFileMode "keys-file-permissions" Error Login "others may write to authorized_keys, or its user cannot read it, so sshd ignores it", "no login is possible: score 0";
    KeysFileOwner "keys-file-owner" Error Login "authorized_keys, ~/.ssh or the home belongs to another user, so sshd ignores it", "no login is possible: score 0";
    KeyNotInstalled "key-not-installed" Error Login "the miner's key is not in the user's authorized_keys", "no login is possible: score 0";
    KeyGarbled "key-garbled" Error Login "the line with the miner's key is broken", "no login is possible: score 0";
    KeyOptions "key-options" Error Login "options before the miner's key in authorized_keys keep it out or run something else", "no validator's key can be placed: score 0";
    SshdAllowUsers "sshd-allow-users" Error Login "the node's sshd does not let this user in (AllowUsers, DenyUsers, AllowGroups or DenyGroups)", "no login is possible: score 0";
    SshdRootLogin "sshd-root-login" Error Login "the node's sshd does not let root in (PermitRootLogin)", "no login is possible: score 0";
    SshdKeysFile "sshd-keys-file" Error Login "the node's sshd reads keys from another file (AuthorizedKeysFile)", "no validator's key works: score 0";

    LoginShell "login-shell" Error Shell "the user's login shell does not run commands as a POSIX shell does", "validators' commands fail (command_failed): score 0";
    ForcedCommand "forced-command" Error Shell "the node runs another command than it is asked to (ForceCommand, or command= before the key)", "validators' commands fail (nonce_challenge_failed): score 0";
    ShellNoise "shell-noise" Error Shell "the login shell prints text before every command (.bashrc or the like)", "validators read it as the answer (nonce_challenge_failed): score 0";
    SshdMaxSessions "sshd-max-sessions" Error Shell "the node's sshd runs too few commands at a time on one connection (MaxSessions)", "validators' commands are refused (ssh_connection_lost)";
    NodeSlow "node-slow" Error Shell "a command that needs no time took longer than validators wait", "checks end with command_timeout: score 0";
    ToolsMissing "tools-missing" Error Shell "programs that every node needs are not installed", "keys cannot be placed, or probes fail (command_failed): score 0";
    ClockNode "clock-node" Error Shell "the node's clock is wrong", "the miner places no keys on it, because they would end at the wrong time: score 0";

    HomeFull "home-full" Error Files "the disk of the user's home is full", "the prover cannot be stored (prover_upload_failed): score 0";
    HomeUnwritable "home-unwritable" Error Files "the user cannot write to the home's .cache/basilica", "the prover cannot be stored (prover_upload_failed): score 0";
    HomeNoexec "home-noexec" Error Files "programs in the user's home cannot be run (noexec)", "the prover does not start (prover_failed): score 0";
    KeysUnwritable "keys-unwritable" Error Files "the miner cannot write ~/.ssh/authorized_keys", "no validator's key can be placed: score 0";

    DriverMissing "driver-missing" Error Driver "there is no NVIDIA driver (nvidia-smi)", "the node has nothing to prove (no_gpu_claimed): score 0";
    DriverBroken "driver-broken" Error Driver "the NVIDIA driver does not answer", "the node has nothing to prove (no_gpu_claimed): score 0";
    NoGpu "no-gpu" Error Driver "the NVIDIA driver shows no GPU", "the node has nothing to prove (no_gpu_claimed): score 0";
    CudaTooOld "cuda-too-old" Error Driver "CUDA version check failed: the driver runs an older CUDA than validators ask for", "every full check fails (cuda_too_old): score 0";

    DockerMissing "docker-missing" Error Containers "there is neither docker nor podman", "every check fails (container_runtime_missing): score 0";
    DockerDenied "docker-denied" Error Containers "the login user may not use docker", "every check fails (container_runtime_down): score 0";
    DockerDown "docker-down" Error Containers "docker or podman does not answer", "every check fails (container_runtime_down): score 0";
    DockerNoGpu "docker-no-gpu" Error Containers "Docker GPU access denied: the NVIDIA container toolkit is not set up", "every full check fails (container_gpu_unavailable): score 0";
    ImagePull "image-pull" Error Containers "the node cannot pull the validators' image", "every full check fails (image_pull_failed): score 0";
    StorageSmall "storage-small" Error Containers "too little room where the container engine keeps images", "every full check fails (storage_too_small): score 0";
    PortsBlocked "ports-blocked" Error Proof "a port that the node listened on did not answer from here", "every full check fails (port_unreachable): score 0";
    CheckFailed "check-failed" Error Proof "the validators' own check fails", "validators will see the same: see docs/reasons.md";
    CheckOpen "check-open" Note Proof "the validators' own check cannot pass for a reason that is not the node's", "as docs/reasons.md says of the reason";

    SshdMaxStartups "sshd-max-startups" Warning Settings "the node's sshd drops logins while few others are under way (MaxStartups)", "validators may be turned away (ssh_locked_out)";
    SshdPenalties "sshd-penalties" Note Settings "the node's sshd shuts addresses out that fail to log in (PerSourcePenalties)", "a validator whose key is late may be shut out for minutes";
    SshdForwarding "sshd-forwarding" Note Settings "the node's sshd forwards TCP connections (AllowTcpForwarding), which nothing here needs", "none by itself: validators' keys cannot forward, whatever sshd allows; other logins reach the node's network through it";
    SshdUnknown "sshd-unknown" Note Settings "sshd's settings cannot be read by this login", "none by itself";
    OpensshOld "openssh-old" Warning Settings "the node's OpenSSH is older than 7.7 and knows no expiry-time", "none; keys of validators end by their forced command and by the miner alone";
    RootLogin "root-login" Note Settings "the miner logs in as root", "none; tenants' safety rests on the container engine alone";
    HomeSmall "home-small" Warning Settings "less than 1 GiB is free in the user's home", "the prover may not fit later";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A change that `--fix` can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// `chmod 600` on the key file here.
    KeyFileMode,
    /// Take from others the right to write to home, `.ssh` and `authorized_keys`.
    Modes,
    /// Make the home's `.cache/basilica`, and `.ssh`.
    Directories,
    /// Write the miner's own line into `authorized_keys`; needs another login.
    OwnLine,
    /// Have sshd allow more logins and sessions at a time; needs root on the node, and consent of its own.
    Sshd,
}

impl Remedy {
    /// Whether it is made only for who asks for it by name.
    pub const fn needs_consent(self) -> bool {
        matches!(self, Self::Sshd)
    }
}

/// One thing that is wrong, with all that its reader needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which cause.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// On which node; none: on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeAddress>,
    /// What was seen, in the words of whoever said it.
    pub seen: String,
    /// Why that is, one sentence.
    pub cause: &'static str,
    /// What it does to the score.
    pub effect: &'static str,
    /// What to do: commands, each on a line of its own, with a word where they are to be run.
    pub fix: Vec<String>,
    /// What `--fix` would do about it, or `--fix-sshd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixable: Option<Remedy>,
}

impl Finding {
    /// One without a remedy of ours.
    pub fn new(code: Code, seen: impl Into<String>, fix: &[&str]) -> Self {
        Self {
            code,
            severity: code.severity(),
            node: None,
            seen: seen.into(),
            cause: code.cause(),
            effect: code.effect(),
            fix: fix.iter().map(|line| (*line).to_owned()).collect(),
            fixable: None,
        }
    }

    /// The same, which `--fix` can heal.
    #[must_use]
    pub fn healed_by(self, remedy: Remedy) -> Self {
        Self { fixable: Some(remedy), ..self }
    }

    /// The same, on a node.
    #[must_use]
    pub fn on(self, node: &NodeAddress) -> Self {
        Self { node: Some(node.clone()), ..self }
    }

    /// Whether something is wrong, and not merely unknown.
    pub const fn is_wrong(&self) -> bool {
        !matches!(self.severity, Severity::Note)
    }
}

/// Hides what is a consequence: without a login or a shell nothing else can be seen rightly, without a driver containers have no GPUs,
/// and the validators' own check says last what was said before.
pub fn root_causes(mut findings: Vec<Finding>) -> Vec<Finding> {
    let stopped: Vec<Stage> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.code.stage())
        .collect();
    let is_hidden = |code: Code| match code.stage() {
        Stage::Here | Stage::Login => false,
        Stage::Shell => stopped.contains(&Stage::Login),
        _ if stopped.iter().any(|stage| matches!(stage, Stage::Login | Stage::Shell)) => true,
        Stage::Containers => code == Code::DockerNoGpu && stopped.contains(&Stage::Driver),
        Stage::Proof => {
            stopped.iter().any(|stage| matches!(stage, Stage::Files | Stage::Driver | Stage::Containers))
        }
        Stage::Files | Stage::Driver | Stage::Settings => false,
    };
    findings.retain(|finding| !is_hidden(finding.code));
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code.stage()));
    findings.dedup_by(|one, other| one.code == other.code && one.seen == other.seen);
    findings
}
