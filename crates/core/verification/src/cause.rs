//! What can end a try, as the service reports it: no error types of any client get this far.

use basilica_types::Digest;

use crate::classes::Limits;
use crate::{Measured, Reason};

/// Why a step could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Break {
    /// The host name has no address.
    Unresolved,
    /// The address may not be dialled (RULES R11).
    ForbiddenAddress,
    /// Nobody listens, or the network says no.
    Unreachable,
    /// The deadline of connecting passed.
    ConnectDeadline,
    /// sshd shuts us out before the handshake.
    LockedOut,
    /// Another host key than the pinned ones.
    HostKey,
    /// The key is not accepted.
    Denied,
    /// The connection broke in use.
    Lost,
    /// A command's deadline passed.
    CommandDeadline,
    /// More output than the bound.
    TooMuchOutput,
    /// Our own key is unusable.
    OwnKey,
    /// The node's gate (RULES R9) says that the session's key has run out.
    SessionOver,
    /// There is no session with the node's miner.
    NoSession,
    /// A defect of ours.
    Internal,
}

impl Break {
    /// Whether it may be the connection that broke, which is then not used again.
    pub const fn spoils_connection(self) -> bool {
        !matches!(self, Self::Internal | Self::OwnKey | Self::NoSession)
    }

    /// The reason that a verdict gives.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Unresolved => Reason::AddressUnresolved,
            Self::ForbiddenAddress => Reason::AddressForbidden,
            Self::Unreachable => Reason::ConnectionFailed,
            Self::ConnectDeadline => Reason::ConnectionTimeout,
            Self::LockedOut => Reason::LockedOut,
            Self::HostKey => Reason::HostKeyChanged,
            Self::Denied => Reason::LoginDenied,
            Self::Lost => Reason::ConnectionLost,
            Self::CommandDeadline => Reason::CommandTimeout,
            Self::TooMuchOutput => Reason::OutputTooLarge,
            Self::OwnKey => Reason::KeyUnusable,
            Self::SessionOver => Reason::SessionExpired,
            Self::NoSession => Reason::NoSession,
            Self::Internal => Reason::Internal,
        }
    }
}

/// How the talk with the prover ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofEnd {
    /// Every opening of a complete transcript verified.
    Verified {
        /// Hash of all bytes exchanged.
        transcript: Digest,
        /// The deadlines that were met: they tell how many cards it took (see [`crate::counted`]).
        limits: Limits,
        /// Bytes and times of the run.
        measured: Box<Measured>,
    },
    /// The verifier does not accept what was sent, or what was not sent in time.
    Rejected {
        /// One of the proof's reasons, see [`Reason::of_rejection`].
        reason: Reason,
        /// Hash of all bytes exchanged up to the rejection.
        transcript: Digest,
        /// The prover knew already which cells it had to open, see [`crate::aborted`].
        after_nonce: bool,
    },
    /// The prover ended with an error and an incomplete answer.
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blame, Fault};

    #[test]
    fn what_is_no_matter_of_the_connection_leaves_it_open_and_blames_no_node() {
        for cause in [Break::Internal, Break::OwnKey, Break::NoSession] {
            assert!(!cause.spoils_connection(), "{cause:?}");
            let blame = cause.reason().blame();
            assert!(matches!(blame, Blame::Elsewhere(Fault::Validator | Fault::Network)), "{cause:?}");
        }
        assert!(Break::Lost.spoils_connection() && Break::CommandDeadline.spoils_connection());
    }
}
