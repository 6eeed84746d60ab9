//! Sessions of validators as the miner's operator sees them.

use async_trait::async_trait;
use basilica_types::{Hotkey, NodeId, SessionId, SshPublicKey, Timestamp};

use crate::StoreError;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionEnd {
    /// Its time was up.
    Expired,
    /// A newer session of the validator took its place.
    Replaced,
    /// The operator ended it.
    Revoked,
    /// The miner stopped, and ends sessions when it does.
    Shutdown,
    /// It ended before its time, and before reasons were recorded.
    Unrecorded,
}

impl SessionEnd {
    /// One word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Shutdown => "shutdown",
            Self::Unrecorded => "unrecorded",
        }
    }
}

/// A session with all that is known of it. Its token is known to the validator only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Names it in logs and on nodes.
    pub id: SessionId,
    /// Whose it is.
    pub validator: Hotkey,
    /// Its first moment.
    pub opened_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
    /// When and why it is over; none: it is open.
    pub ended: Option<(Timestamp, SessionEnd)>,
    /// The key it deploys, once a discovery named one.
    pub public_key: Option<SshPublicKey>,
    /// Nodes that may carry the key or processes of it, also after its end until they were seen without.
    pub nodes: Vec<NodeId>,
}

/// Which sessions are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChoice {
    /// This one.
    One(SessionId),
    /// All of a validator.
    Of(Hotkey),
    /// All.
    All,
}

/// The part of a miner's memory about sessions that its operator reads and changes. Every method is one transaction,
/// durable when it returns.
#[async_trait]
pub trait MinerSessions: Send + Sync + 'static {
    /// Every session remembered as of `now`, newest first: all that are open, and those that ended within a day, of which
    /// at most some thousands.
    async fn sessions(&self, now: Timestamp) -> Result<Vec<SessionView>, StoreError>;

    /// Ends those of the chosen sessions that are open at `now`, and raises the revision if there are any. From then on
    /// their tokens are refused; their keys are for the running miner to remove. The sessions that were ended.
    async fn revoke_sessions(
        &self,
        choice: SessionChoice,
        now: Timestamp,
    ) -> Result<Vec<SessionView>, StoreError>;
}
