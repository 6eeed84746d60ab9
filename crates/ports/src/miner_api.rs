use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_wire::discovery::{AuthGrant, AuthRequest, DiscoverRequest, DiscoverResponse};

use crate::{BoxError, FailureClass};

/// The kind of a miner's refusal; on the wire a gRPC status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The request is malformed.
    InvalidArgument,
    /// Who asks is not who they say, or did not authenticate before.
    Unauthenticated,
    /// Who asks may not.
    PermissionDenied,
    /// Too many requests or nonces of this hotkey.
    ResourceExhausted,
    /// The miner cannot answer now.
    Unavailable,
    /// A defect or a full disk at the miner.
    Internal,
}

/// Why a call at a miner gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum MinerCallError {
    /// The miner said no. Unsigned: never evidence against a node (RULES R6).
    #[error("miner refused ({code:?}): {message}")]
    Refused {
        /// Kind.
        code: RefusalCode,
        /// The miner's words, at most 512 characters.
        message: String,
    },
    /// Nobody listens there.
    #[error("miner at {endpoint} cannot be reached")]
    Unreachable {
        /// Where it should listen.
        endpoint: SocketAddr,
        /// The transport's error.
        #[source]
        source: BoxError,
    },
    /// No answer in time.
    #[error("miner at {endpoint} did not answer in time")]
    Deadline {
        /// Where it listens.
        endpoint: SocketAddr,
    },
    /// The answer is not one.
    #[error("miner's answer has an invalid {field}")]
    Malformed {
        /// Which field.
        field: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl MinerCallError {
    /// What a caller can do about it.
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Refused { code: RefusalCode::InvalidArgument, .. } => FailureClass::Invalid,
            Self::Refused { code: RefusalCode::PermissionDenied, .. } | Self::Malformed { .. } => {
                FailureClass::Permanent
            }
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Deadline { .. } => {
                FailureClass::Transient
            }
        }
    }
}

/// The miner protocol. The miner service implements it; a client to a remote miner does so too.
#[async_trait]
pub trait MinerApi: Send + Sync + 'static {
    /// Opens a session.
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthGrant, MinerCallError>;

    /// Deploys the session's key and lists the nodes. Takes up to 20 s (RULES R6).
    async fn discover(&self, request: DiscoverRequest) -> Result<DiscoverResponse, MinerCallError>;
}

/// Reaches miners.
#[async_trait]
pub trait MinerDialer: Send + Sync + 'static {
    /// A client to the miner that listens at `endpoint`.
    async fn dial(&self, endpoint: SocketAddr) -> Result<Arc<dyn MinerApi>, MinerCallError>;
}
