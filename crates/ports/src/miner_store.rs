//! What a miner must not forget.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use basilica_types::{
    Digest, FencingToken, HostKey, Hotkey, Millis, NodeAddress, NodeId, RequestNonce, SessionId,
    SshPublicKey, Timestamp,
};

use crate::{MinerOperations, StoreError};

/// A nonce of a request whose signature verified (RULES R8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonceUse {
    /// Who used it.
    pub validator: Hotkey,
    /// The nonce.
    pub nonce: RequestNonce,
    /// When its request was signed, by its owner's clock.
    pub signed_at: Timestamp,
    /// The moment.
    pub now: Timestamp,
    /// From then on no request that carries it can be fresh.
    pub forget_at: Timestamp,
    /// Most nonces remembered of one hotkey.
    pub limit: u32,
}

/// A session to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Names it in logs and on nodes.
    pub id: SessionId,
    /// SHA-256 of the token; the token itself is never stored.
    pub token_hash: Digest,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
    /// How many a hotkey may open; none: any number.
    pub rate: Option<SessionRate>,
}

/// How many sessions a hotkey may open within a time that slides along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRate {
    /// Most sessions.
    pub most: u32,
    /// The time.
    pub within: Millis,
}

/// How a discovery request proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryProof {
    /// A V2 signature, and what it covers beside key and time.
    V2 {
        /// SHA-256 of the token.
        token_hash: Digest,
        /// The fencing token; above the last accepted one, or equal with a later time.
        epoch: FencingToken,
    },
    /// A V1 signature of a hotkey that the operator listed: the hotkey's newest session is meant. It covers no fencing
    /// token, so none is believed.
    V1,
}

impl DiscoveryProof {
    /// The fencing token that is proven; 0 where none is.
    pub const fn epoch(&self) -> FencingToken {
        match self {
            Self::V2 { epoch, .. } => *epoch,
            Self::V1 => FencingToken(0),
        }
    }

    /// SHA-256 of the token of the session that is meant; none where it is the hotkey's newest.
    pub const fn token_hash(&self) -> Option<&Digest> {
        match self {
            Self::V2 { token_hash, .. } => Some(token_hash),
            Self::V1 => None,
        }
    }
}

/// A discovery request whose signature verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryUse {
    /// How it proved itself.
    pub proof: DiscoveryProof,
    /// Its time in seconds.
    pub timestamp_secs: i64,
    /// The key to keep with the session; none where the validator is not the assigned one.
    pub public_key: Option<SshPublicKey>,
    /// Most sessions of one hotkey that may have a key at the same time; the oldest is ended for a new one.
    pub keyed_sessions: u32,
    /// Another key in the place of the session's counts as a new session towards this limit; none: any number.
    pub rate: Option<SessionRate>,
}

/// A session as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Names it in logs and on nodes.
    pub id: SessionId,
    /// Whose it is.
    pub validator: Hotkey,
    /// Since then it is open.
    pub opened_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
    /// What it deploys, once a discovery named it.
    pub public_key: Option<SshPublicKey>,
}

/// Why a verified request changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Inadmissible {
    /// The nonce was used before.
    #[error("nonce was used before")]
    Replayed,
    /// It was signed before the miner forgot what it was asked: whether it was answered is not known.
    #[error("what this miner was asked when the request was signed is not known any more")]
    Forgotten {
        /// One that is signed after that, by its owner's clock, can be admitted.
        sign_after: Timestamp,
    },
    /// The hotkey's nonces fill its share; none is forgotten early for a new one.
    #[error("too many requests of this hotkey are remembered")]
    Full,
    /// The hotkey has opened as many sessions as it may for now.
    #[error("too many sessions were opened by this hotkey")]
    TooManySessions {
        /// From then on it may open another.
        again_at: Timestamp,
    },
    /// The token opens no session of this hotkey, or no more.
    #[error("no session of this hotkey has this token")]
    NoSession,
    /// A later request, or one of a later leader, was accepted before.
    #[error("a later request of this hotkey was accepted before")]
    Superseded,
    /// The hotkey has used V2 before, so a V1 request can be a replay or a forgery.
    #[error("this hotkey has used the second version before")]
    Downgrade,
}

/// A node's host keys as this miner remembers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyRecord {
    /// The node.
    pub node_id: NodeId,
    /// Where it is reached.
    pub address: NodeAddress,
    /// The key that is trusted.
    pub pinned: HostKey,
    /// Another key that the node has shown since; not trusted.
    pub offered: Option<HostKey>,
}

/// What an approval of a host key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyApproval {
    /// The offered key is the trusted one now; the record as it was before.
    Approved(HostKeyRecord),
    /// Another key is offered than the one named; nothing changed.
    OtherKey(HostKeyRecord),
    /// No other key than the trusted one is offered.
    NothingOffered,
}

/// Which validators each node belongs to. Nodes that belong to nobody have no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment(BTreeMap<NodeId, BTreeSet<Hotkey>>);

impl Assignment {
    /// Gives the node to the validator, beside those that have it already.
    pub fn insert(&mut self, node: NodeId, validator: Hotkey) {
        self.0.entry(node).or_default().insert(validator);
    }

    /// Whose the node is; none or empty: nobody's.
    pub fn of(&self, node: NodeId) -> Option<&BTreeSet<Hotkey>> {
        self.0.get(&node)
    }

    /// Whether the node belongs to the validator.
    pub fn has(&self, node: NodeId, validator: &Hotkey) -> bool {
        self.of(node).is_some_and(|validators| validators.contains(validator))
    }

    /// Whether any node belongs to the validator.
    pub fn has_any(&self, validator: &Hotkey) -> bool {
        self.0.values().any(|validators| validators.contains(validator))
    }

    /// How many nodes each validator has; validators without any do not occur.
    pub fn counts(&self) -> BTreeMap<Hotkey, usize> {
        let mut counts = BTreeMap::new();
        for validator in self.0.values().flatten() {
            *counts.entry(*validator).or_default() += 1;
        }
        counts
    }

    /// Every pair, by node.
    pub fn pairs(&self) -> impl Iterator<Item = (NodeId, Hotkey)> {
        self.0.iter().flat_map(|(node, validators)| validators.iter().map(|validator| (*node, *validator)))
    }
}

impl FromIterator<(NodeId, Hotkey)> for Assignment {
    fn from_iter<I: IntoIterator<Item = (NodeId, Hotkey)>>(pairs: I) -> Self {
        let mut assignment = Self::default();
        for (node, validator) in pairs {
            assignment.insert(node, validator);
        }
        assignment
    }
}

/// The miner's memory. Every method is one transaction, which outlives the process when it returns, and the machine too, but for sessions
/// that have no key yet and nonces of requests that are refused if they come again ([`Inadmissible::Forgotten`]).
#[async_trait]
pub trait MinerStore: MinerOperations {
    /// Records the nonce and opens the session, both or neither.
    async fn open_session(
        &self,
        nonce: &NonceUse,
        session: &NewSession,
    ) -> Result<Result<(), Inadmissible>, StoreError>;

    /// Records nonce and request and gives the key to the session; all or nothing.
    async fn admit_discovery(
        &self,
        nonce: &NonceUse,
        discovery: &DiscoveryUse,
    ) -> Result<Result<SessionRecord, Inadmissible>, StoreError>;

    /// Sessions that have a key and are neither ended nor expired at `now`, oldest first.
    async fn keyed_sessions(&self, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError>;

    /// Ends all sessions before their time.
    async fn end_sessions(&self, now: Timestamp) -> Result<(), StoreError>;

    /// How many sessions are open at `now`.
    async fn open_sessions(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// How long the sessions lasted that ended after the one moment and not after the other, by expiry or otherwise.
    async fn session_lives(&self, after: Timestamp, until: Timestamp) -> Result<Vec<Millis>, StoreError>;

    /// Notes, before they are written, that the node may carry these sessions' keys. Only those that are returned may be
    /// written: none where the node is in maintenance at that very moment, and none whose session is over at `now` or has no key.
    async fn record_deployments(
        &self,
        node: NodeId,
        sessions: &[SessionId],
        now: Timestamp,
    ) -> Result<BTreeSet<SessionId>, StoreError>;

    /// Sessions whose key is not worthless by itself yet at `now`, open or not, with their validators: who finds one of them on
    /// a node knows it as this miner's.
    async fn unexpired_keys(&self, now: Timestamp) -> Result<Vec<(SessionId, Hotkey)>, StoreError>;

    /// Sessions whose key the node may carry, with their validators.
    async fn deployments(&self, node: NodeId) -> Result<Vec<(SessionId, Hotkey)>, StoreError>;

    /// Notes that the node was seen without these keys and without their processes.
    async fn forget_deployments(&self, node: NodeId, sessions: &[SessionId]) -> Result<(), StoreError>;

    /// Which validators each node belonged to last.
    async fn assignment(&self) -> Result<Assignment, StoreError>;

    /// Remembers which validators each node belongs to in place of what was remembered before.
    async fn remember_assignment(&self, assignment: &Assignment) -> Result<(), StoreError>;

    /// What is remembered of a node's host key.
    async fn host_key(&self, node: NodeId) -> Result<Option<HostKeyRecord>, StoreError>;

    /// All host keys, by address.
    async fn host_keys(&self) -> Result<Vec<HostKeyRecord>, StoreError>;

    /// Trusts the key of a first contact. A key that is pinned already stays.
    async fn pin_host_key(
        &self,
        node: NodeId,
        address: &NodeAddress,
        key: &HostKey,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Notes that a node shows another key than the pinned one; true if that is news.
    async fn offer_host_key(&self, node: NodeId, key: &HostKey, now: Timestamp) -> Result<bool, StoreError>;

    /// Forgets the offered key of a node that shows its pinned one, `pinned`, again. Nothing changes where another key has
    /// been pinned since.
    async fn withdraw_host_key(&self, node: NodeId, pinned: &HostKey) -> Result<(), StoreError>;

    /// Trusts the offered key in place of the pinned one if its fingerprint is `fingerprint` at that very moment.
    async fn approve_host_key(
        &self,
        node: NodeId,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<HostKeyApproval, StoreError>;

    /// Forgets what can no longer matter at `now`: old nonces, and sessions whose keys are gone from every node and that an
    /// operator need not look up any more.
    async fn prune(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Reads all that is kept, as it is on disk now, and not what is still known by heart. Takes as long as that: a second for some hundred
    /// megabytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]; others where it cannot be read at all, as when it is gone.
    async fn check_whole(&self) -> Result<(), StoreError>;
}
