//! Messages of the wire into domain types and back. Total: every message gives a value or the name of a bad field.

use basilica_ports::BoxError;
use basilica_types::{
    FencingToken, HostKey, Hotkey, NodeAddress, NodeId, RequestNonce, SessionToken, UsdMicros,
};
use basilica_wire::Signature;
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverClaim, DiscoverRequest, DiscoverResponse, MAX_NODES, NodeReport,
    NodeStatus,
};

use crate::protocol::{common, miner};

/// Most host keys of one node.
const MAX_HOST_KEYS: usize = 8;
/// One dollar cent in micro-dollars.
const CENT: u64 = 10_000;

/// A field that is not what it must be. The text is what the caller of the service sees.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// Needed and empty.
    #[error("{field} is required")]
    Missing {
        /// Name in the proto file.
        field: &'static str,
    },
    /// A hotkey that is not SS58 (seed 001's words).
    #[error("Invalid hotkey: {field}: {source}")]
    Hotkey {
        /// Name in the proto file.
        field: &'static str,
        /// Why not.
        source: basilica_types::Ss58Error,
    },
    /// No key to deploy (seed 001's words).
    #[error("Validator must provide SSH public key")]
    NoKey,
    /// Something to deploy that is not a key (seed 001's words).
    #[error("Invalid SSH public key format: {0}")]
    Key(basilica_types::SshKeyError),
    /// Any other field.
    #[error("{field} is invalid: {source}")]
    Invalid {
        /// Name in the proto file.
        field: &'static str,
        /// Why.
        source: BoxError,
    },
    /// A list that is too long.
    #[error("{field} has {found} entries, at most {limit} are accepted")]
    TooMany {
        /// Name in the proto file.
        field: &'static str,
        /// How many came.
        found: usize,
        /// How many are accepted.
        limit: usize,
    },
}

impl FieldError {
    /// Name of the field in the proto file.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Missing { field }
            | Self::Hotkey { field, .. }
            | Self::Invalid { field, .. }
            | Self::TooMany { field, .. } => field,
            Self::NoKey | Self::Key(_) => "validator_public_key",
        }
    }
}

fn parse<T>(field: &'static str, text: &str) -> Result<T, FieldError>
where
    T: std::str::FromStr,
    T::Err: Into<BoxError>,
{
    if text.is_empty() {
        return Err(FieldError::Missing { field });
    }
    text.parse().map_err(|e: T::Err| FieldError::Invalid { field, source: e.into() })
}

const fn few(field: &'static str, found: usize, limit: usize) -> Result<(), FieldError> {
    if found > limit { Err(FieldError::TooMany { field, found, limit }) } else { Ok(()) }
}

/// That an answer has no more nodes than are accepted.
pub(crate) const fn few_nodes(found: usize) -> Result<(), FieldError> {
    few("nodes", found, MAX_NODES)
}

/// That a node has no more host keys than are accepted.
pub(crate) const fn few_host_keys(found: usize) -> Result<(), FieldError> {
    few("host_keys", found, MAX_HOST_KEYS)
}

fn hotkey(field: &'static str, text: &str) -> Result<Hotkey, FieldError> {
    if text.is_empty() {
        return Err(FieldError::Missing { field });
    }
    text.parse().map_err(|source| FieldError::Hotkey { field, source })
}

fn optional_signature(field: &'static str, text: &str) -> Result<Option<Signature>, FieldError> {
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

/// Whole seconds; 0 where absent, which no freshness check accepts.
fn seconds(timestamp: Option<common::Timestamp>) -> i64 {
    timestamp.and_then(|t| t.value).map_or(0, |value| value.seconds)
}

const fn timestamp(seconds: i64) -> Option<common::Timestamp> {
    Some(common::Timestamp { value: Some(prost_types::Timestamp { seconds, nanos: 0 }) })
}

pub(crate) fn auth_request(message: miner::ValidatorAuthRequest) -> Result<AuthRequest, FieldError> {
    Ok(AuthRequest {
        target: hotkey("target_miner_hotkey", &message.target_miner_hotkey)?,
        validator: hotkey("validator_hotkey", &message.validator_hotkey)?,
        nonce: parse::<RequestNonce>("nonce", &message.nonce)?,
        timestamp_secs: seconds(message.timestamp),
        signature: parse("signature", &message.signature)?,
    })
}

pub(crate) fn auth_request_message(request: &AuthRequest) -> miner::ValidatorAuthRequest {
    miner::ValidatorAuthRequest {
        validator_hotkey: request.validator.to_string(),
        signature: request.signature.to_string(),
        nonce: request.nonce.to_string(),
        timestamp: timestamp(request.timestamp_secs),
        target_miner_hotkey: request.target.to_string(),
    }
}

pub(crate) fn auth_grant(message: &miner::MinerAuthResponse) -> Result<AuthGrant, FieldError> {
    Ok(AuthGrant {
        miner: hotkey("miner_hotkey", &message.miner_hotkey)?,
        session_token: parse::<SessionToken>("session_token", &message.session_token)?,
        expires_at_secs: seconds(message.expires_at),
        response_nonce: parse::<RequestNonce>("response_nonce", &message.response_nonce)?,
        signature: parse("miner_signature", &message.miner_signature)?,
        signature_v2: parse("miner_signature_v2", &message.miner_signature_v2)?,
    })
}

pub(crate) fn auth_grant_message(grant: &AuthGrant) -> miner::MinerAuthResponse {
    miner::MinerAuthResponse {
        authenticated: true,
        session_token: grant.session_token.reveal(),
        expires_at: timestamp(grant.expires_at_secs),
        error: None,
        miner_hotkey: grant.miner.to_string(),
        miner_signature: grant.signature.to_string(),
        response_nonce: grant.response_nonce.to_string(),
        miner_signature_v2: grant.signature_v2.to_string(),
    }
}

pub(crate) fn discover_request(message: miner::DiscoverNodesRequest) -> Result<DiscoverRequest, FieldError> {
    if message.validator_public_key.is_empty() {
        return Err(FieldError::NoKey);
    }
    let signature_v1 = optional_signature("signature", &message.signature)?;
    let signature_v2 = optional_signature("signature_v2", &message.signature_v2)?;
    if signature_v1.is_none() && signature_v2.is_none() {
        return Err(FieldError::Missing { field: "signature_v2" });
    }
    let token = message.session_token.as_str();
    let session_token = if token.is_empty() && signature_v2.is_none() {
        // Requests of the first protocol have no token; the service decides whether to take them, and never by this one.
        SessionToken::from_random([0; 32])
    } else {
        parse("session_token", token)?
    };
    Ok(DiscoverRequest {
        claim: DiscoverClaim {
            target: hotkey("target_miner_hotkey", &message.target_miner_hotkey)?,
            validator: hotkey("validator_hotkey", &message.validator_hotkey)?,
            nonce: parse::<RequestNonce>("nonce", &message.nonce)?,
            timestamp_secs: seconds(message.timestamp),
            epoch: FencingToken(message.epoch),
            session_token,
            public_key: message.validator_public_key.parse().map_err(FieldError::Key)?,
        },
        signature_v1,
        signature_v2,
    })
}

pub(crate) fn discover_request_message(request: &DiscoverRequest) -> miner::DiscoverNodesRequest {
    let claim = &request.claim;
    let hex = |signature: Option<Signature>| signature.map_or_else(String::new, |s| s.to_string());
    miner::DiscoverNodesRequest {
        validator_hotkey: claim.validator.to_string(),
        signature: hex(request.signature_v1),
        nonce: claim.nonce.to_string(),
        validator_public_key: claim.public_key.to_string(),
        timestamp: timestamp(claim.timestamp_secs),
        target_miner_hotkey: claim.target.to_string(),
        session_token: claim.session_token.reveal(),
        signature_v2: hex(request.signature_v2),
        epoch: claim.epoch.0,
    }
}

fn node_message(node: &NodeReport) -> miner::NodeConnectionDetails {
    // A price above 42 million dollars an hour does not fit the old field; the exact one carries it.
    let cents = node.hourly_rate_per_gpu.map_or(0, UsdMicros::to_cents_half_up);
    miner::NodeConnectionDetails {
        node_id: node.node_id.to_string(),
        host: node.address.host.to_string(),
        port: node.address.port().to_string(),
        username: node.address.user.to_string(),
        additional_opts: String::new(),
        gpu_spec: None,
        status: node.status.as_str().to_owned(),
        hourly_rate_cents: u32::try_from(cents).unwrap_or(u32::MAX),
        host_keys: node.host_keys.iter().map(ToString::to_string).collect(),
        hourly_rate_usd_micros: node.hourly_rate_per_gpu.map(|rate| rate.0),
    }
}

fn node(message: miner::NodeConnectionDetails) -> Result<NodeReport, FieldError> {
    few_host_keys(message.host_keys.len())?;
    let rate = match (message.hourly_rate_usd_micros, message.hourly_rate_cents) {
        (Some(micros), _) => Some(UsdMicros(micros)),
        (None, 0) => None,
        (None, cents) => Some(UsdMicros(u64::from(cents) * CENT)),
    };
    let port = parse("port", &message.port)?;
    let address =
        NodeAddress::new(parse("username", &message.username)?, parse("host", &message.host)?, port)
            .map_err(|e| FieldError::Invalid { field: "port", source: e.into() })?;
    let keys: Result<Vec<HostKey>, FieldError> =
        message.host_keys.iter().map(|line| parse("host_keys", line)).collect();
    Ok(NodeReport {
        node_id: parse::<NodeId>("node_id", &message.node_id)?,
        address,
        status: NodeStatus::from_wire(&message.status)
            .ok_or_else(|| FieldError::Invalid { field: "status", source: "unknown status".into() })?,
        hourly_rate_per_gpu: rate,
        host_keys: keys?,
    })
}

pub(crate) fn discover_response(
    message: miner::ListNodeConnectionDetailsResponse,
) -> Result<DiscoverResponse, FieldError> {
    few_nodes(message.nodes.len())?;
    Ok(DiscoverResponse {
        response_nonce: parse::<RequestNonce>("response_nonce", &message.response_nonce)?,
        timestamp_secs: seconds(message.timestamp),
        signature: parse("miner_signature", &message.miner_signature)?,
        nodes: message.nodes.into_iter().map(node).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn discover_response_message(
    response: &DiscoverResponse,
) -> miner::ListNodeConnectionDetailsResponse {
    miner::ListNodeConnectionDetailsResponse {
        nodes: response.nodes.iter().map(node_message).collect(),
        response_nonce: response.response_nonce.to_string(),
        miner_signature: response.signature.to_string(),
        timestamp: timestamp(response.timestamp_secs),
    }
}
