//! A session at a miner: authenticate, ask for the nodes, check every signature of the answers (RULES R6).
//!
//! The key of a session is made here, lives in memory and dies with the process: after a restart the validator opens
//! new sessions, and the miners replace the keys. A session is used again for the next discovery while more than a
//! quarter of its life is left.

use std::net::SocketAddr;
use std::sync::Arc;

use basilica_ports::{
    AddressPolicy, BoxError, Identity, MinerApi, MinerCallError, RefusalCode, SeenMiner, ShellError,
};
use basilica_types::{
    FencingToken, Host, Hotkey, Millis, NodeId, RequestNonce, SessionToken, SshPublicKey, Timestamp,
};
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverClaim, DiscoverRequest, DiscoverResponse, MAX_NODES, NodeReport,
    SESSION_SECS, Untrusted,
};
use zeroize::Zeroizing;

use crate::shared::Shared;

/// How far a node's clock may be ahead when it says that a key has run out.
const CLOCK_SKEW: Millis = Millis::from_secs(30);

/// What logs into a miner's nodes.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) identity: Identity,
    /// Tells connections of one session from those of the next.
    pub(crate) public_key: SshPublicKey,
    expires: Timestamp,
}

impl Access {
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires
    }

    /// Whether a node may already see the key as run out: its clock may be ahead of ours by [`CLOCK_SKEW`].
    pub(crate) fn may_be_over(&self, now: Timestamp) -> bool {
        !self.is_valid(now + CLOCK_SKEW)
    }

    #[cfg(test)]
    pub(crate) fn of_test(public_key: SshPublicKey, expires: Timestamp) -> Self {
        Self { identity: Identity::Ephemeral(Zeroizing::new([1; 32])), public_key, expires }
    }
}

#[cfg(test)]
impl Access {
    /// A key that logs in nowhere, for a session with this end.
    pub(crate) fn until(expires: Timestamp) -> Self {
        Self::with_seed([7; 32], expires)
    }

    /// The same, by which it is told from others.
    pub(crate) fn with_seed(seed: [u8; 32], expires: Timestamp) -> Self {
        let public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let identity = Identity::Ephemeral(Zeroizing::new(seed));
        Self { identity, public_key: public_key.parse().expect("a well-formed key"), expires }
    }
}

/// An open session.
pub(crate) struct Session {
    api: Arc<dyn MinerApi>,
    endpoint: SocketAddr,
    token: SessionToken,
    opened: Timestamp,
    last_ts_secs: i64,
    pub(crate) access: Arc<Access>,
}

impl Session {
    /// Whether a discovery should go on with it.
    pub(crate) fn is_fresh(&self, endpoint: SocketAddr, now: Timestamp) -> bool {
        let life = self.access.expires.since(self.opened);
        let left = self.access.expires.since(now);
        self.endpoint == endpoint && left.0.saturating_mul(4) > life.0
    }
}

/// Why a miner could not be discovered. Never evidence against its nodes.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// RULES R11.
    #[error("miner's axon {0} is not a public address, and verification.allow_private_hosts is off")]
    AxonNotPublic(SocketAddr),
    /// Our own session key.
    #[error("make the session's key")]
    Key(#[source] ShellError),
    /// The miner could not be reached.
    #[error("dial miner")]
    Dial(#[source] MinerCallError),
    /// No session.
    #[error("authenticate at miner")]
    Authenticate(#[source] MinerCallError),
    /// The grant is not the miner's own.
    #[error("miner's session grant")]
    Grant(#[source] Untrusted),
    /// The grant has run out already or never will.
    #[error("miner's session expires at {expires_at_secs}, which is not within two hours")]
    Lifetime {
        /// As granted, in seconds.
        expires_at_secs: i64,
    },
    /// No answer to discovery.
    #[error("discover nodes")]
    Discover(#[source] MinerCallError),
    /// The answer is not the miner's own, fresh one.
    #[error("miner's list of nodes")]
    Response(#[source] Untrusted),
    /// The answer is too long.
    #[error("miner lists {0} nodes, at most {MAX_NODES} are accepted")]
    TooMany(usize),
    /// A node's id does not follow from its address.
    #[error("miner calls a node {0}, which is not the id of its address")]
    NodeId(NodeId),
    /// Our own store.
    #[error("keep what was discovered")]
    Store(#[source] BoxError),
}

impl DiscoveryError {
    /// The miner no longer knows the session, as after its restart.
    pub(crate) const fn session_is_unknown(&self) -> bool {
        matches!(self, Self::Discover(MinerCallError::Refused { code: RefusalCode::Unauthenticated, .. }))
    }
}

/// Opens a session with a fresh key.
pub(crate) async fn open(shared: &Shared, miner: &SeenMiner) -> Result<Session, DiscoveryError> {
    if shared.settings.probing.addresses == AddressPolicy::PublicOnly
        && !Host::is_public_address(miner.axon.ip())
    {
        return Err(DiscoveryError::AxonNotPublic(miner.axon));
    }
    let identity = Identity::Ephemeral(Zeroizing::new(shared.ports.entropy.array()));
    let public_key = shared.ports.nodes.public_key(&identity).map_err(DiscoveryError::Key)?;
    let api = shared.ports.miners.dial(miner.axon).await.map_err(DiscoveryError::Dial)?;
    let request = auth_request(shared, miner.hotkey);
    let grant = api.authenticate(request.clone()).await.map_err(DiscoveryError::Authenticate)?;
    grant.check(&request).map_err(DiscoveryError::Grant)?;
    let opened = shared.now();
    let expires = lifetime(&grant, opened)?;
    let access = Arc::new(Access { identity, public_key, expires });
    Ok(Session { api, endpoint: miner.axon, token: grant.session_token, opened, last_ts_secs: 0, access })
}

fn auth_request(shared: &Shared, target: Hotkey) -> AuthRequest {
    let nonce = RequestNonce::from_random(shared.ports.entropy.array());
    let timestamp_secs = shared.now().as_secs();
    let payload = AuthRequest::payload(&target, &nonce, timestamp_secs);
    let signature = shared.ports.signer.sign(&payload);
    AuthRequest { validator: shared.ports.signer.hotkey(), target, nonce, timestamp_secs, signature }
}

fn lifetime(grant: &AuthGrant, now: Timestamp) -> Result<Timestamp, DiscoveryError> {
    let expires = Timestamp::from_secs(grant.expires_at_secs);
    let longest = now + Millis::from_secs(2 * SESSION_SECS.unsigned_abs());
    if expires > now && expires <= longest {
        Ok(expires)
    } else {
        Err(DiscoveryError::Lifetime { expires_at_secs: grant.expires_at_secs })
    }
}

/// Has the session's key deployed and returns the verified list of nodes.
pub(crate) async fn discover(
    shared: &Shared,
    session: &mut Session,
    target: Hotkey,
    epoch: FencingToken,
) -> Result<Vec<NodeReport>, DiscoveryError> {
    // A miner refuses a second discovery in the same second (RULES R6); its clock decides, ours must go on.
    while shared.now().as_secs() <= session.last_ts_secs {
        shared.ports.clock.sleep(Millis(100)).await;
    }
    let timestamp_secs = shared.now().as_secs();
    session.last_ts_secs = timestamp_secs;
    let claim = DiscoverClaim {
        validator: shared.ports.signer.hotkey(),
        target,
        nonce: RequestNonce::from_random(shared.ports.entropy.array()),
        timestamp_secs,
        epoch,
        session_token: session.token.clone(),
        public_key: session.access.public_key.clone(),
    };
    let request = DiscoverRequest {
        signature_v1: None,
        signature_v2: Some(shared.ports.signer.sign(&claim.payload_v2())),
        claim: claim.clone(),
    };
    let response = session.api.discover(request).await.map_err(DiscoveryError::Discover)?;
    verified(response, &claim, shared.now())
}

/// The nodes of a response that is the miner's own, fresh and well-formed; nothing of any other is used.
fn verified(
    response: DiscoverResponse,
    claim: &DiscoverClaim,
    now: Timestamp,
) -> Result<Vec<NodeReport>, DiscoveryError> {
    if response.nodes.len() > MAX_NODES {
        return Err(DiscoveryError::TooMany(response.nodes.len()));
    }
    response.check(claim, now).map_err(DiscoveryError::Response)?;
    match response.nodes.iter().find(|node| node.node_id != node.address.node_id()) {
        Some(wrong) => Err(DiscoveryError::NodeId(wrong.node_id)),
        None => Ok(response.nodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_ports::{Entropy, EntropyRng};
    use basilica_runtime_service::testing::SeededEntropy;
    use basilica_types::NodeAddress;
    use basilica_wire::Keypair;
    use basilica_wire::discovery::NodeStatus;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn keypair(seed: u8) -> Keypair {
        Keypair::from_seed(&[seed; 32]).unwrap()
    }

    fn nonce(byte: u8) -> RequestNonce {
        RequestNonce::from_random([byte; 16])
    }

    fn claim() -> DiscoverClaim {
        DiscoverClaim {
            validator: keypair(1).hotkey(),
            target: keypair(2).hotkey(),
            nonce: nonce(3),
            timestamp_secs: NOW.as_secs(),
            epoch: FencingToken(0),
            session_token: SessionToken::from_random([4; 32]),
            public_key: KEY.parse().unwrap(),
        }
    }

    fn node() -> NodeReport {
        let address: NodeAddress = "root@198.51.100.7:22".parse().unwrap();
        NodeReport {
            node_id: address.node_id(),
            address,
            status: NodeStatus::Available,
            hourly_rate_per_gpu: None,
            host_keys: vec![KEY.parse().unwrap()],
        }
    }

    fn response(signer: u8, nodes: Vec<NodeReport>) -> DiscoverResponse {
        let payload = DiscoverResponse::payload(&claim(), &nonce(5), NOW.as_secs(), &nodes);
        let entropy: Arc<dyn Entropy> = SeededEntropy::new(1);
        let signature = keypair(signer).sign(&payload, EntropyRng(entropy.as_ref()));
        DiscoverResponse { nodes, response_nonce: nonce(5), timestamp_secs: NOW.as_secs(), signature }
    }

    #[test]
    fn only_the_miners_own_fresh_answer_is_used() {
        assert_eq!(verified(response(2, vec![node()]), &claim(), NOW).unwrap(), [node()]);
        let forged = verified(response(9, vec![node()]), &claim(), NOW);
        assert!(matches!(forged, Err(DiscoveryError::Response(Untrusted::Signature))));
        let late = verified(response(2, vec![node()]), &claim(), NOW + Millis::from_secs(301));
        assert!(matches!(late, Err(DiscoveryError::Response(Untrusted::Stale))));
        let mut swapped = response(2, vec![node()]);
        swapped.nodes[0].host_keys.clear();
        let swapped = verified(swapped, &claim(), NOW);
        assert!(matches!(swapped, Err(DiscoveryError::Response(Untrusted::Signature))));
    }

    #[test]
    fn a_node_under_a_foreign_id_and_too_many_nodes_are_refused() {
        let foreign = NodeReport { node_id: NodeId::from_bytes([1; 16]), ..node() };
        let refused = verified(response(2, vec![foreign]), &claim(), NOW);
        assert!(matches!(refused, Err(DiscoveryError::NodeId(_))));
        let many = verified(response(2, vec![node(); MAX_NODES + 1]), &claim(), NOW);
        assert!(matches!(many, Err(DiscoveryError::TooMany(_))));
    }
}
