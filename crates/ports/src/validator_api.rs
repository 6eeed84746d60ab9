//! What a miner asks a validator about its own nodes. Everything that comes back is a stranger's word: bounded and typed
//! here, believed by nobody; what counts are the signed verdicts.

use std::fmt;

use async_trait::async_trait;
use basilica_types::{BasisPoints, Digest, Host, Hotkey, NodeId, Ppm, Timestamp};

use crate::{AddressPolicy, BoxError};

/// Where a validator's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorPlace {
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// Which addresses the host may have (RULES R11): any if the operator named it, public ones if the chain did.
    pub addresses: AddressPolicy,
}

impl fmt::Display for ValidatorPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(std::net::IpAddr::V6(ip)) => write!(f, "http://[{ip}]:{}", self.port),
            host => write!(f, "http://{host}:{}", self.port),
        }
    }
}

/// What a validator tells of one node, unsigned. Texts are at most 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedNode {
    /// Which.
    pub node: NodeId,
    /// As what it is listed.
    pub listed: String,
    /// Why its score is what it is, by a code.
    pub gate: Option<String>,
    /// The same in words.
    pub gate_explanation: Option<String>,
    /// Its score.
    pub score: Option<BasisPoints>,
    /// Of the uptime ramp.
    pub ramp: Option<Ppm>,
    /// End of the running ban.
    pub banned_until: Option<Timestamp>,
    /// When it is checked next.
    pub next_check: Option<Timestamp>,
    /// Names the newest verdict.
    pub last: Option<Digest>,
    /// Names the newest verdict of a full check.
    pub last_full: Option<Digest>,
}

/// What a validator tells of a miner's nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedNodes {
    /// At most 4,096.
    pub nodes: Vec<JudgedNode>,
    /// Of which moment that is, by the validator's clock.
    pub at: Timestamp,
}

/// Why a validator gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum ValidatorApiError {
    /// The name has no address, or only ones that a stranger may not send us to.
    #[error("{place} is at no address that may be asked")]
    Address {
        /// Where.
        place: ValidatorPlace,
        /// The resolver's error, if there was one.
        #[source]
        source: Option<BoxError>,
    },
    /// Nobody answers there, or not in time.
    #[error("ask {place}")]
    Unreachable {
        /// Where.
        place: ValidatorPlace,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// It says no.
    #[error("{place} answers {status}")]
    Refused {
        /// Where.
        place: ValidatorPlace,
        /// The HTTP status.
        status: u16,
    },
    /// It answers with something else than what was asked for.
    #[error("{place} gives an answer that is none: {what}")]
    Malformed {
        /// Where.
        place: ValidatorPlace,
        /// What is wrong.
        what: &'static str,
    },
}

/// Asks validators.
#[async_trait]
pub trait ValidatorApi: Send + Sync + 'static {
    /// What the validator there tells of this miner's nodes; nothing if it does not know the miner.
    async fn nodes(&self, at: &ValidatorPlace, miner: Hotkey) -> Result<JudgedNodes, ValidatorApiError>;

    /// The bytes of a signed verdict, at most 1 MiB; none if it is not kept.
    async fn verdict(
        &self,
        at: &ValidatorPlace,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, ValidatorApiError>;
}
