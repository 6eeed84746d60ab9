use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_types::{Argv, HostKey, Millis, NodeAddress, SshPublicKey};
use zeroize::Zeroizing;

use crate::BoxError;

/// With what to log in.
#[derive(Clone, PartialEq, Eq)]
pub enum Identity {
    /// A key that lives in memory only: the 32-byte Ed25519 seed.
    Ephemeral(Zeroizing<[u8; 32]>),
    /// An OpenSSH private key file without passphrase.
    File(PathBuf),
    /// An account's password: for an operator's first login on a node of its own, on a pinned host key. Also answers a server that asks
    /// for it by keyboard-interactive.
    Password(Zeroizing<String>),
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ephemeral(_) => f.write_str("Ephemeral(redacted)"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Password(_) => f.write_str("Password(redacted)"),
        }
    }
}

/// Which servers to believe (decision D9; there is no "any").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// One of these keys, nothing else.
    Pinned(Vec<HostKey>),
    /// First contact of an operator with a node of its own: the caller records [`Shell::host_key`] and pins it.
    Learn,
}

/// Which addresses may be dialled (RULES R11). Checked after name resolution; the checked address is the dialled one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// The address came from a stranger: public unicast only.
    PublicOnly,
    /// The address is our own operator's, or the network is a laptop's.
    Any,
}

/// A connection to make.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where to.
    pub address: NodeAddress,
    /// As whom.
    pub identity: Identity,
    /// To whom.
    pub host_keys: HostKeyPolicy,
    /// Which addresses are allowed.
    pub addresses: AddressPolicy,
    /// For resolution, connection, key exchange and login together.
    pub deadline: Millis,
}

/// A question to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of which node; for errors.
    pub address: NodeAddress,
    /// Where to.
    pub at: SocketAddr,
    /// Which addresses are allowed.
    pub addresses: AddressPolicy,
    /// What is said.
    pub question: Vec<u8>,
    /// Most bytes that are read.
    pub most: usize,
    /// For all of it.
    pub deadline: Millis,
}

/// How much output is read, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Until the command has ended.
    pub deadline: Millis,
    /// Bytes of standard output; more is an error.
    pub stdout: usize,
    /// Bytes of standard error that are kept; more is dropped.
    pub stderr: usize,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this code.
    Code(u32),
    /// By this signal, such as `KILL`.
    Signal(String),
    /// The channel closed without telling.
    Unknown,
}

impl ExitStatus {
    /// Exit code 0.
    pub const fn success(&self) -> bool {
        matches!(self, Self::Code(0))
    }
}

/// What a finished command left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

const fn denial(wants_more: bool) -> &'static str {
    if wants_more {
        "it accepts the key, and asks for something besides (AuthenticationMethods of its sshd)"
    } else {
        "Permission denied (publickey)"
    }
}

/// Why a node could not be used. The variant carries what is known about where the cause lies; blame is the caller's.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The key file cannot be read or is not a usable private key.
    #[error("ssh key {path} cannot be used")]
    Identity {
        /// The file, or `ephemeral`.
        path: PathBuf,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The host name has no address.
    #[error("resolve {address}")]
    Resolve {
        /// What was to be dialled.
        address: NodeAddress,
        /// The resolver's error.
        #[source]
        source: BoxError,
    },
    /// The host resolves to an address that a stranger may not send us to (RULES R11).
    #[error("{address} resolves to {ip}, which is not a public address")]
    ForbiddenAddress {
        /// What was to be dialled.
        address: NodeAddress,
        /// What it resolved to.
        ip: IpAddr,
    },
    /// Nobody listens, or the network says no.
    #[error("connect to {address}")]
    Connect {
        /// What was dialled.
        address: NodeAddress,
        /// The system's error.
        #[source]
        source: BoxError,
    },
    /// The server's brute-force protection (OpenSSH >= 9.8 `PerSourcePenalties`) shut us out before the handshake.
    /// Not a sign of a dead node.
    #[error("{address} refuses connections from here for a while (sshd's PerSourcePenalties or MaxStartups)")]
    LockedOut {
        /// What was dialled.
        address: NodeAddress,
    },
    /// The server shows another key than the pinned ones.
    #[error("host key of {address} is {found}, not the pinned one; its operator must approve the change")]
    HostKey {
        /// What was dialled.
        address: NodeAddress,
        /// Fingerprint of the key shown.
        found: String,
        /// The key shown, for the approval; absent where it is of a type that we do not know.
        key: Option<Box<HostKey>>,
    },
    /// The server does not accept our key for this user.
    #[error("{address} denied the login: {}", denial(*wants_more))]
    Denied {
        /// What was dialled.
        address: NodeAddress,
        /// Whether the server takes keys at all.
        takes_keys: bool,
        /// Whether it did accept ours, and asks for something besides (RFC 4252, section 5.1: partial success).
        wants_more: bool,
    },
    /// No answer in time.
    #[error("{step} took longer than {limit}")]
    Deadline {
        /// What was being done.
        step: &'static str,
        /// The limit.
        limit: Millis,
    },
    /// The connection broke while in use.
    #[error("connection lost during {step}")]
    Lost {
        /// What was being done.
        step: &'static str,
        /// The protocol's error.
        #[source]
        source: BoxError,
    },
    /// More output than allowed; reading stopped.
    #[error("command printed more than {limit} bytes")]
    TooMuchOutput {
        /// The limit.
        limit: usize,
    },
}

/// Opens shells on nodes.
#[async_trait]
pub trait NodeShell: Send + Sync + 'static {
    /// The public half of an identity.
    fn public_key(&self, identity: &Identity) -> Result<SshPublicKey, ShellError>;

    /// What an address stands for now, without what the policy forbids (RULES R11): at least one, at most four.
    async fn resolve(
        &self,
        address: &NodeAddress,
        addresses: AddressPolicy,
        deadline: Millis,
    ) -> Result<Vec<SocketAddr>, ShellError>;

    /// Connects to a port of a node without SSH, says `question` and reads to the end of the answer, `most` bytes at the most. The
    /// address is one that [`Self::resolve`] gave under the same policy.
    async fn ask(&self, ask: &Ask) -> Result<Vec<u8>, ShellError>;

    /// Connects and logs in.
    async fn connect(&self, dial: &Dial) -> Result<Arc<dyn Shell>, ShellError>;
}

/// One authenticated connection to one node; commands run side by side on it.
#[async_trait]
pub trait Shell: Send + Sync {
    /// The key by which the server proved itself in this connection.
    fn host_key(&self) -> &HostKey;

    /// Whether the connection can still be used, as far as is known.
    fn is_open(&self) -> bool;

    /// Runs a command to its end, feeding it `input`.
    async fn run(&self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, ShellError>;

    /// Starts a command to talk with. Dropping the process closes its channel.
    async fn start(&self, command: &Argv) -> Result<Box<dyn Process>, ShellError>;

    /// Ends the connection.
    async fn close(&self);
}

/// A running command.
#[async_trait]
pub trait Process: Send {
    /// Writes all of `bytes` to standard input; waits where the peer does not read.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ShellError>;

    /// The next piece of standard output, at most 256 KiB; none at its end. Cancel-safe.
    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError>;

    /// What standard error held so far, at most 16 KiB.
    fn stderr(&self) -> &[u8];

    /// Closes standard input and waits for the end.
    async fn finish(self: Box<Self>) -> Result<ExitStatus, ShellError>;
}
