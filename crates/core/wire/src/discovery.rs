//! The miner protocol's messages and the bytes that are signed in it (RULES R6–R8, seed 001).
//!
//! A validator authenticates at a miner, gets a session token, and asks for the miner's nodes with a fresh SSH
//! key; the miner deploys the key and answers with a signed list. All checks that need no state are here and
//! pure: who signed what, for whom and when. What needs memory (nonces, sessions, assignment) is the miner
//! service's. Times on the wire are whole seconds, as the seeds have them.

use basilica_types::{
    FencingToken, HostKey, Hotkey, NodeAddress, NodeId, RequestNonce, SessionToken, SshPublicKey, Timestamp,
    UsdMicros,
};
use sha2::{Digest as _, Sha256};

use crate::Signature;

/// Greatest distance between a message's time and the receiver's clock, both ways, in seconds.
pub const FRESHNESS_SECS: u64 = 300;
/// How long a nonce must be remembered: the window before and after, and a minute for the clock to move (R8).
pub const NONCE_MEMORY_SECS: u64 = 2 * FRESHNESS_SECS + 60;
/// Life of a session, in seconds (seed 001).
pub const SESSION_SECS: i64 = 3600;
/// Most nodes in one response.
pub const MAX_NODES: usize = 4096;

const RESPONSE_TAG: &[u8] = b"BASILICA_DISCOVER_RESP_V1";

/// Why a message is not to be believed, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Zero, absent, or further from our clock than 300 s.
    #[error("timestamp is more than 300 seconds from this clock")]
    Stale,
    /// Signed by someone else, or over other bytes.
    #[error("invalid signature")]
    Signature,
    /// Meant for another miner.
    #[error("request names miner {0} as its target")]
    Target(Hotkey),
    /// An answer by another hotkey than the one asked.
    #[error("answer comes from {0}, not from the miner that was asked")]
    Responder(Hotkey),
}

/// Refuses a time further from `now` than the window, and the zero that the original took as "no check".
pub fn check_fresh(timestamp_secs: i64, now: Timestamp) -> Result<(), Untrusted> {
    let fresh = timestamp_secs > 0 && now.as_secs().abs_diff(timestamp_secs) <= FRESHNESS_SECS;
    if fresh { Ok(()) } else { Err(Untrusted::Stale) }
}

/// A validator's request for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequest {
    /// Who asks.
    pub validator: Hotkey,
    /// The miner that is meant.
    pub target: Hotkey,
    /// Used once within the freshness window.
    pub nonce: RequestNonce,
    /// Seconds since the epoch.
    pub timestamp_secs: i64,
    /// The validator's, over [`AuthRequest::payload`].
    pub signature: Signature,
}

impl AuthRequest {
    /// `BASILICA_AUTH_V1:{nonce}:{target}:{ts}` (seed 001).
    pub fn payload(target: &Hotkey, nonce: &RequestNonce, timestamp_secs: i64) -> Vec<u8> {
        format!("BASILICA_AUTH_V1:{nonce}:{target}:{timestamp_secs}").into_bytes()
    }

    /// Checks target, freshness and signature, in this order: the cheap ones first.
    pub fn check(&self, own: &Hotkey, now: Timestamp) -> Result<(), Untrusted> {
        if self.target != *own {
            return Err(Untrusted::Target(self.target));
        }
        check_fresh(self.timestamp_secs, now)?;
        let payload = Self::payload(&self.target, &self.nonce, self.timestamp_secs);
        if self.signature.verifies(&self.validator, &payload) { Ok(()) } else { Err(Untrusted::Signature) }
    }
}

/// A miner's answer: a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthGrant {
    /// Who answers.
    pub miner: Hotkey,
    /// To be shown with every later request.
    pub session_token: SessionToken,
    /// Seconds since the epoch.
    pub expires_at_secs: i64,
    /// The miner's own nonce.
    pub response_nonce: RequestNonce,
    /// Over [`AuthGrant::payload`] (seed 001).
    pub signature: Signature,
    /// Over [`AuthGrant::payload_v2`]: binds request and expiry too (R6).
    pub signature_v2: Signature,
}

impl AuthGrant {
    /// `MINER_AUTH_RESPONSE:{validator}:{response_nonce}:{session_token}` (seed 001).
    pub fn payload(validator: &Hotkey, response_nonce: &RequestNonce, token: &SessionToken) -> Vec<u8> {
        format!("MINER_AUTH_RESPONSE:{validator}:{response_nonce}:{}", token.reveal()).into_bytes()
    }

    /// `MINER_AUTH_RESPONSE_V2:{validator}:{request_nonce}:{response_nonce}:{expires_at}:{session_token}`.
    pub fn payload_v2(
        validator: &Hotkey,
        request_nonce: &RequestNonce,
        response_nonce: &RequestNonce,
        expires_at_secs: i64,
        token: &SessionToken,
    ) -> Vec<u8> {
        let token = token.reveal();
        format!(
            "MINER_AUTH_RESPONSE_V2:{validator}:{request_nonce}:{response_nonce}:{expires_at_secs}:{token}"
        )
        .into_bytes()
    }

    /// Whether this is `request.target`'s own answer to `request`.
    pub fn check(&self, request: &AuthRequest) -> Result<(), Untrusted> {
        if self.miner != request.target {
            return Err(Untrusted::Responder(self.miner));
        }
        let v1 = Self::payload(&request.validator, &self.response_nonce, &self.session_token);
        let v2 = Self::payload_v2(
            &request.validator,
            &request.nonce,
            &self.response_nonce,
            self.expires_at_secs,
            &self.session_token,
        );
        let valid = self.signature.verifies(&self.miner, &v1) && self.signature_v2.verifies(&self.miner, &v2);
        if valid { Ok(()) } else { Err(Untrusted::Signature) }
    }
}

/// What a V2 discovery signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoverClaim {
    /// Who asks.
    pub validator: Hotkey,
    /// The miner that is meant.
    pub target: Hotkey,
    /// Used once within the freshness window.
    pub nonce: RequestNonce,
    /// Seconds since the epoch.
    pub timestamp_secs: i64,
    /// The sender's fencing token; 0 without high availability.
    pub epoch: FencingToken,
    /// From the session.
    pub session_token: SessionToken,
    /// The key to deploy, for this session only.
    pub public_key: SshPublicKey,
}

impl DiscoverClaim {
    /// `BASILICA_DISCOVER_V2:{validator}:{target}:{nonce}:{ts}:{epoch}:{token}:{sha256hex(key)}` (R6). The key
    /// is hashed in its canonical text, without a comment.
    pub fn payload_v2(&self) -> Vec<u8> {
        let key = hex::encode(Sha256::digest(self.public_key.to_string()));
        format!(
            "BASILICA_DISCOVER_V2:{}:{}:{}:{}:{}:{}:{key}",
            self.validator,
            self.target,
            self.nonce,
            self.timestamp_secs,
            self.epoch,
            self.session_token.reveal(),
        )
        .into_bytes()
    }

    /// `BASILICA_DISCOVER_V1:{validator}:{nonce}:{ts}`: what seed 001's validators sign. It covers neither key nor
    /// target, so a miner takes it only from hotkeys that its operator listed.
    pub fn payload_v1(&self) -> Vec<u8> {
        format!("BASILICA_DISCOVER_V1:{}:{}:{}", self.validator, self.nonce, self.timestamp_secs).into_bytes()
    }
}

/// A validator's request for the miner's nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoverRequest {
    /// All that V2 signs.
    pub claim: DiscoverClaim,
    /// Over [`DiscoverClaim::payload_v1`], for miners of the seeds; absent from ours if empty on the wire.
    pub signature_v1: Option<Signature>,
    /// Over [`DiscoverClaim::payload_v2`].
    pub signature_v2: Option<Signature>,
}

/// Whether a node can be used now, as its miner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeStatus {
    /// The validator's key is confirmed on the node.
    Available,
    /// The miner could not reach the node.
    Unreachable,
    /// Taken out by its operator.
    Maintenance,
    /// Reachable, but the key is not confirmed (yet).
    KeyPending,
}

impl NodeStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Unreachable => "unreachable",
            Self::Maintenance => "maintenance",
            Self::KeyPending => "key_pending",
        }
    }

    /// The status of a word on the wire; an unknown word is none.
    pub fn from_wire(word: &str) -> Option<Self> {
        [Self::Available, Self::Unreachable, Self::Maintenance, Self::KeyPending]
            .into_iter()
            .find(|s| s.as_str() == word)
    }
}

/// One node as its miner reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// What the miner calls it; the receiver derives the true id from the address.
    pub node_id: NodeId,
    /// Where to log in.
    pub address: NodeAddress,
    /// Whether it can be used.
    pub status: NodeStatus,
    /// Price per GPU and hour; none means verified and scored, but not for rent.
    pub hourly_rate_per_gpu: Option<UsdMicros>,
    /// The keys by which the node's SSH server is known, at most 8.
    pub host_keys: Vec<HostKey>,
}

/// A miner's signed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoverResponse {
    /// Every node of the miner, whatever its status.
    pub nodes: Vec<NodeReport>,
    /// The miner's own nonce.
    pub response_nonce: RequestNonce,
    /// Seconds since the epoch.
    pub timestamp_secs: i64,
    /// Over [`DiscoverResponse::payload`].
    pub signature: Signature,
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    // Every field is far below 4 GiB: the caps on nodes, keys and names see to that.
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field);
}

/// SHA-256 over all nodes in the order sent, every field length-prefixed, lists preceded by their count.
pub fn nodes_digest(nodes: &[NodeReport]) -> [u8; 32] {
    let mut bytes = Vec::new();
    put(&mut bytes, &(nodes.len() as u64).to_be_bytes());
    for node in nodes {
        put(&mut bytes, node.node_id.to_string().as_bytes());
        put(&mut bytes, node.address.to_string().as_bytes());
        put(&mut bytes, node.status.as_str().as_bytes());
        put(&mut bytes, node.hourly_rate_per_gpu.map(|r| r.to_string()).unwrap_or_default().as_bytes());
        put(&mut bytes, &(node.host_keys.len() as u64).to_be_bytes());
        for key in &node.host_keys {
            put(&mut bytes, key.to_string().as_bytes());
        }
    }
    Sha256::digest(&bytes).into()
}

impl DiscoverResponse {
    /// `BASILICA_DISCOVER_RESP_V1` ‖ miner ‖ validator ‖ sha256(V2 request payload) ‖ response nonce ‖ timestamp ‖
    /// hash(nodes), each length-prefixed (R6).
    pub fn payload(
        request: &DiscoverClaim,
        response_nonce: &RequestNonce,
        timestamp_secs: i64,
        nodes: &[NodeReport],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, RESPONSE_TAG);
        put(&mut bytes, request.target.to_string().as_bytes());
        put(&mut bytes, request.validator.to_string().as_bytes());
        put(&mut bytes, &Sha256::digest(request.payload_v2()));
        put(&mut bytes, response_nonce.as_str().as_bytes());
        put(&mut bytes, timestamp_secs.to_string().as_bytes());
        put(&mut bytes, &nodes_digest(nodes));
        bytes
    }

    /// Whether this is the target's own, fresh answer to `request`.
    pub fn check(&self, request: &DiscoverClaim, now: Timestamp) -> Result<(), Untrusted> {
        check_fresh(self.timestamp_secs, now)?;
        let payload = Self::payload(request, &self.response_nonce, self.timestamp_secs, &self.nodes);
        if self.signature.verifies(&request.target, &payload) { Ok(()) } else { Err(Untrusted::Signature) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Keypair;
    use rand_core::{CryptoRng, RngCore};

    /// Counts up: signatures of tests repeat.
    pub(crate) struct Counter(pub(crate) u64);

    impl RngCore for Counter {
        fn next_u32(&mut self) -> u32 {
            rand_core::impls::next_u32_via_fill(self)
        }
        fn next_u64(&mut self) -> u64 {
            rand_core::impls::next_u64_via_fill(self)
        }
        fn fill_bytes(&mut self, dest: &mut [u8]) {
            for byte in dest {
                self.0 += 1;
                *byte = self.0.to_le_bytes()[0];
            }
        }
        fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
            self.fill_bytes(dest);
            Ok(())
        }
    }
    impl CryptoRng for Counter {}

    pub(crate) fn keypair(seed: u8) -> Keypair {
        Keypair::from_seed(&[seed; 32]).unwrap()
    }

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn auth() -> AuthRequest {
        let (validator, target) = (keypair(1), keypair(2).hotkey());
        let nonce: RequestNonce = "3f2504e0-4f89-41d3-9a0c-0305e82c3301".parse().unwrap();
        let payload = AuthRequest::payload(&target, &nonce, NOW.as_secs());
        let signature = validator.sign(&payload, Counter(0));
        AuthRequest { validator: validator.hotkey(), target, nonce, timestamp_secs: NOW.as_secs(), signature }
    }

    fn claim() -> DiscoverClaim {
        DiscoverClaim {
            validator: keypair(1).hotkey(),
            target: keypair(2).hotkey(),
            nonce: "3f2504e0-4f89-41d3-9a0c-0305e82c3302".parse().unwrap(),
            timestamp_secs: NOW.as_secs(),
            epoch: FencingToken(0),
            session_token: SessionToken::from_random([0xab; 32]),
            public_key: KEY.parse().unwrap(),
        }
    }

    fn node() -> NodeReport {
        let address: NodeAddress = "root@198.51.100.7:22".parse().unwrap();
        NodeReport {
            node_id: address.node_id(),
            address,
            status: NodeStatus::Available,
            hourly_rate_per_gpu: Some(UsdMicros(2_500_000)),
            host_keys: vec![KEY.parse().unwrap()],
        }
    }

    #[test]
    fn an_honest_request_passes() {
        assert_eq!(auth().check(&keypair(2).hotkey(), NOW), Ok(()));
    }

    #[test]
    fn stale_misdirected_and_altered_requests_are_refused() {
        let own = keypair(2).hotkey();
        for late in [301, -301] {
            assert_eq!(auth().check(&own, Timestamp::from_secs(NOW.as_secs() + late)), Err(Untrusted::Stale));
        }
        assert_eq!(auth().check(&own, Timestamp::from_secs(NOW.as_secs() + 300)), Ok(()));
        assert_eq!(auth().check(&keypair(3).hotkey(), NOW), Err(Untrusted::Target(own)));
        let zero = AuthRequest { timestamp_secs: 0, ..auth() };
        assert_eq!(zero.check(&own, Timestamp(0)), Err(Untrusted::Stale));
        let moved = AuthRequest { timestamp_secs: NOW.as_secs() + 1, ..auth() };
        assert_eq!(moved.check(&own, NOW), Err(Untrusted::Signature));
        let stolen = AuthRequest { validator: keypair(9).hotkey(), ..auth() };
        assert_eq!(stolen.check(&own, NOW), Err(Untrusted::Signature));
    }

    #[test]
    fn a_grant_is_bound_to_request_and_expiry() {
        let (request, miner) = (auth(), keypair(2));
        let response_nonce: RequestNonce = "3f2504e0-4f89-41d3-9a0c-0305e82c3303".parse().unwrap();
        let session_token = SessionToken::from_random([0xcd; 32]);
        let expires_at_secs = NOW.as_secs() + SESSION_SECS;
        let v1 = AuthGrant::payload(&request.validator, &response_nonce, &session_token);
        let v2 = AuthGrant::payload_v2(
            &request.validator,
            &request.nonce,
            &response_nonce,
            expires_at_secs,
            &session_token,
        );
        let grant = AuthGrant {
            miner: miner.hotkey(),
            session_token,
            expires_at_secs,
            response_nonce,
            signature: miner.sign(&v1, Counter(0)),
            signature_v2: miner.sign(&v2, Counter(0)),
        };
        assert_eq!(grant.check(&request), Ok(()));
        let longer = AuthGrant { expires_at_secs: expires_at_secs + 1, ..grant.clone() };
        assert_eq!(longer.check(&request), Err(Untrusted::Signature));
        let other_request = AuthRequest { nonce: "another-nonce-1".parse().unwrap(), ..request };
        assert_eq!(grant.check(&other_request), Err(Untrusted::Signature));
        let impostor = AuthGrant { miner: keypair(5).hotkey(), ..grant };
        assert_eq!(impostor.check(&other_request), Err(Untrusted::Responder(keypair(5).hotkey())));
    }

    #[test]
    fn every_field_of_a_discovery_changes_its_payload() {
        let base = claim().payload_v2();
        let other_key = KEY.replace("HR4f", "HR4e");
        let variants = [
            DiscoverClaim { validator: keypair(7).hotkey(), ..claim() },
            DiscoverClaim { target: keypair(7).hotkey(), ..claim() },
            DiscoverClaim { nonce: "other-nonce-1234".parse().unwrap(), ..claim() },
            DiscoverClaim { timestamp_secs: 1, ..claim() },
            DiscoverClaim { epoch: FencingToken(1), ..claim() },
            DiscoverClaim { session_token: SessionToken::from_random([0; 32]), ..claim() },
            DiscoverClaim { public_key: other_key.parse().unwrap(), ..claim() },
        ];
        for variant in variants {
            assert_ne!(variant.payload_v2(), base, "{variant:?}");
        }
    }

    #[test]
    fn every_field_of_a_response_changes_its_digest() {
        let base = nodes_digest(&[node()]);
        let variants = [
            vec![],
            vec![node(), node()],
            vec![NodeReport { node_id: NodeId::from_bytes([1; 16]), ..node() }],
            vec![NodeReport { address: "root@198.51.100.8:22".parse().unwrap(), ..node() }],
            vec![NodeReport { status: NodeStatus::KeyPending, ..node() }],
            vec![NodeReport { hourly_rate_per_gpu: None, ..node() }],
            vec![NodeReport { host_keys: vec![], ..node() }],
        ];
        for variant in variants {
            assert_ne!(nodes_digest(&variant), base, "{variant:?}");
        }
    }

    #[test]
    fn a_response_answers_one_request_of_one_validator() {
        let nonce: RequestNonce = "3f2504e0-4f89-41d3-9a0c-0305e82c3304".parse().unwrap();
        let payload = DiscoverResponse::payload(&claim(), &nonce, NOW.as_secs(), &[node()]);
        let response = DiscoverResponse {
            nodes: vec![node()],
            response_nonce: nonce,
            timestamp_secs: NOW.as_secs(),
            signature: keypair(2).sign(&payload, Counter(0)),
        };
        assert_eq!(response.check(&claim(), NOW), Ok(()));
        let other = DiscoverClaim { validator: keypair(8).hotkey(), ..claim() };
        assert_eq!(response.check(&other, NOW), Err(Untrusted::Signature));
        let late = Timestamp::from_secs(NOW.as_secs() + 301);
        assert_eq!(response.check(&claim(), late), Err(Untrusted::Stale));
        let fewer = DiscoverResponse { nodes: vec![], ..response };
        assert_eq!(fewer.check(&claim(), NOW), Err(Untrusted::Signature));
    }
}
