//! The signed bytes of the miner protocol, frozen. `vectors/wire/discovery.json` is the contract with every other
//! implementation: the payload of each message byte for byte, and a signature that must verify (signatures are
//! randomised, so none is ever compared; RULES R21).
//!
//! After a deliberate change of a payload, print the new file with `BASILICA_PRINT_VECTORS=1` and explain the change.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::Path;

use basilica_types::{
    FencingToken, Hotkey, NodeAddress, RequestNonce, SessionToken, SshPublicKey, Timestamp, UsdMicros,
};
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverClaim, DiscoverResponse, NodeReport, NodeStatus, Untrusted, nodes_digest,
};
use basilica_wire::{Keypair, Signature};
use serde_json::{Value, json};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const TIME: i64 = 1_800_000_000;
const EXPIRES: i64 = TIME + 3600;

/// Counts up, so that the signatures of a printed file repeat.
struct Counter(u8);

impl rand_core::RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for byte in dest {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}
impl rand_core::CryptoRng for Counter {}

fn validator() -> Keypair {
    Keypair::from_seed(&[1; 32]).unwrap()
}

fn miner() -> Keypair {
    Keypair::from_seed(&[2; 32]).unwrap()
}

fn nonce(last: u8) -> RequestNonce {
    format!("3f2504e0-4f89-41d3-9a0c-0305e82c33{last:02x}").parse().unwrap()
}

fn token() -> SessionToken {
    SessionToken::from_random([0xab; 32])
}

fn claim() -> DiscoverClaim {
    DiscoverClaim {
        validator: validator().hotkey(),
        target: miner().hotkey(),
        nonce: nonce(2),
        timestamp_secs: TIME,
        epoch: FencingToken(7),
        session_token: token(),
        public_key: KEY.parse::<SshPublicKey>().unwrap(),
    }
}

fn nodes() -> Vec<NodeReport> {
    let node = |address: &str, status, rate: Option<u64>, keys: &[&str]| {
        let address: NodeAddress = address.parse().unwrap();
        NodeReport {
            node_id: address.node_id(),
            address,
            status,
            hourly_rate_per_gpu: rate.map(UsdMicros),
            host_keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
        }
    };
    vec![
        node("root@198.51.100.7:22", NodeStatus::Available, Some(2_500_000), &[KEY]),
        node("gpu@[2001:db8::1]:2222", NodeStatus::Unreachable, None, &[]),
        node("gpu@node.example:22", NodeStatus::KeyPending, Some(0), &[KEY, KEY]),
        node("gpu@node2.example:22", NodeStatus::Maintenance, Some(1), &[KEY]),
    ]
}

/// Name, signer and payload of every signed message.
fn payloads() -> Vec<(&'static str, Keypair, Vec<u8>)> {
    let (v, m, claim) = (validator().hotkey(), miner().hotkey(), claim());
    vec![
        ("auth_request", validator(), AuthRequest::payload(&m, &nonce(1), TIME)),
        ("auth_grant_v1", miner(), AuthGrant::payload(&v, &nonce(3), &token())),
        ("auth_grant_v2", miner(), AuthGrant::payload_v2(&v, &nonce(1), &nonce(3), EXPIRES, &token())),
        ("discover_v1", validator(), claim.payload_v1()),
        ("discover_v2", validator(), claim.payload_v2()),
        ("discover_response", miner(), DiscoverResponse::payload(&claim, &nonce(4), TIME, &nodes())),
        ("discover_response_empty", miner(), DiscoverResponse::payload(&claim, &nonce(4), TIME, &[])),
    ]
}

fn printed() -> Value {
    let vector = |(name, signer, payload): (&str, Keypair, Vec<u8>)| {
        let signature = signer.sign(&payload, Counter(0)).to_string();
        let text = String::from_utf8(payload.clone()).ok();
        json!({
            "name": name,
            "signer": signer.hotkey().to_string(),
            "payload_text": text,
            "payload_hex": hex::encode(payload),
            "signature": signature,
        })
    };
    json!({
        "about": "sr25519, context \"substrate\", over the raw payload; keys from seeds 01..01 (validator) and 02..02 (miner)",
        "validator": validator().hotkey().to_string(),
        "miner": miner().hotkey().to_string(),
        "nodes_sha256": hex::encode(nodes_digest(&nodes())),
        "messages": payloads().into_iter().map(vector).collect::<Vec<_>>(),
    })
}

fn frozen() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../vectors/wire/discovery.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn frozen_message(name: &str) -> (Hotkey, Vec<u8>, Signature) {
    let file = frozen();
    let message = file["messages"].as_array().unwrap().iter().find(|m| m["name"] == name).unwrap();
    let text = |field: &str| message[field].as_str().unwrap();
    let payload = hex::decode(text("payload_hex")).unwrap();
    (text("signer").parse().unwrap(), payload, text("signature").parse().unwrap())
}

#[test]
fn payloads_are_the_frozen_ones() {
    if std::env::var_os("BASILICA_PRINT_VECTORS").is_some() {
        println!("{:#}", printed());
    }
    let file = frozen();
    assert_eq!(file["nodes_sha256"], hex::encode(nodes_digest(&nodes())));
    assert_eq!(file["messages"].as_array().unwrap().len(), payloads().len());
    for (name, signer, payload) in payloads() {
        let (frozen_signer, frozen_payload, signature) = frozen_message(name);
        assert_eq!(frozen_signer, signer.hotkey(), "{name}");
        assert_eq!(hex::encode(frozen_payload), hex::encode(&payload), "{name}");
        assert!(signature.verifies(&frozen_signer, &payload), "{name}");
    }
}

#[test]
fn a_changed_bit_of_a_frozen_payload_breaks_its_signature() {
    for (name, _, _) in payloads() {
        let (signer, payload, signature) = frozen_message(name);
        for at in [0, payload.len() / 2, payload.len() - 1] {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            assert!(!signature.verifies(&signer, &changed), "{name} at {at}");
        }
    }
}

#[test]
fn messages_made_of_frozen_signatures_pass_the_protocols_checks() {
    let (m, v) = (miner().hotkey(), validator().hotkey());
    let signature = |name| frozen_message(name).2;
    let request = AuthRequest {
        validator: v,
        target: m,
        nonce: nonce(1),
        timestamp_secs: TIME,
        signature: signature("auth_request"),
    };
    assert_eq!(request.check(&m, Timestamp::from_secs(TIME + 300)), Ok(()));
    let grant = AuthGrant {
        miner: m,
        session_token: token(),
        expires_at_secs: EXPIRES,
        response_nonce: nonce(3),
        signature: signature("auth_grant_v1"),
        signature_v2: signature("auth_grant_v2"),
    };
    assert_eq!(grant.check(&request), Ok(()));
    let longer = AuthGrant { expires_at_secs: EXPIRES + 1, ..grant };
    assert_eq!(longer.check(&request), Err(Untrusted::Signature));
    let mut response = DiscoverResponse {
        nodes: nodes(),
        response_nonce: nonce(4),
        timestamp_secs: TIME,
        signature: signature("discover_response"),
    };
    assert_eq!(response.check(&claim(), Timestamp::from_secs(TIME)), Ok(()));
    response.nodes.swap(0, 1);
    assert_eq!(response.check(&claim(), Timestamp::from_secs(TIME)), Err(Untrusted::Signature));
}
