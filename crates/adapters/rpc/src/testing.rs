//! The conversions without a server, for the fuzzer (feature `testing`).

use basilica_types::{
    FencingToken, Hotkey, NodeAddress, RequestNonce, SessionToken, SshPublicKey, UsdMicros,
};
use basilica_wire::Signature;
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverClaim, DiscoverRequest, DiscoverResponse, NodeReport, NodeStatus,
};
use prost::Message;

use crate::codec::Bounded as _;
use crate::convert;
use crate::protocol::miner;

/// Reads `bytes` as each of the protocol's messages; what is accepted is written again, and must read as the same.
///
/// # Panics
/// If it does not.
pub fn every_message(bytes: &[u8]) {
    if let Ok(message) = miner::ValidatorAuthRequest::decode(bytes)
        && let Ok(read) = convert::auth_request(message)
    {
        let again = convert::auth_request(convert::auth_request_message(&read));
        assert_eq!(again.expect("what is written reads back"), read);
    }
    if let Ok(message) = miner::MinerAuthResponse::decode(bytes)
        && let Ok(read) = convert::auth_grant(&message)
    {
        let again = convert::auth_grant(&convert::auth_grant_message(&read));
        assert_eq!(again.expect("what is written reads back"), read);
    }
    if let Ok(message) = miner::DiscoverNodesRequest::decode(bytes)
        && let Ok(read) = convert::discover_request(message)
    {
        let again = convert::discover_request(convert::discover_request_message(&read));
        assert_eq!(again.expect("what is written reads back"), read);
    }
    if let Ok(message) = miner::ListNodeConnectionDetailsResponse::decode(bytes)
        && let Ok(read) = convert::discover_response(message)
    {
        assert!(
            miner::ListNodeConnectionDetailsResponse::check(bytes).is_ok(),
            "what is accepted has few entries"
        );
        let again = convert::discover_response(convert::discover_response_message(&read));
        assert_eq!(again.expect("what is written reads back"), read);
    }
}

/// One message of each kind, as its sender writes it.
pub fn messages() -> Vec<Vec<u8>> {
    let (validator, target) = (Hotkey::from_bytes([1; 32]), Hotkey::from_bytes([2; 32]));
    let signature = Signature::from_bytes([3; 64]);
    let nonce = || RequestNonce::from_random([4; 16]);
    let token = || SessionToken::from_random([5; 32]);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let key: SshPublicKey = key.parse().expect("a key");
    let address: NodeAddress = "root@10.91.33.10:22".parse().expect("an address");
    let request = AuthRequest { validator, target, nonce: nonce(), timestamp_secs: 1_763_762_400, signature };
    let grant = AuthGrant {
        miner: target,
        session_token: token(),
        expires_at_secs: 1_763_766_000,
        response_nonce: nonce(),
        signature,
        signature_v2: signature,
    };
    let claim = DiscoverClaim {
        target,
        validator,
        nonce: nonce(),
        timestamp_secs: 1_763_762_400,
        epoch: FencingToken(1),
        session_token: token(),
        public_key: key.clone(),
    };
    let discover = DiscoverRequest { claim, signature_v1: Some(signature), signature_v2: Some(signature) };
    let node = NodeReport {
        node_id: address.node_id(),
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: Some(UsdMicros(2_505_000)),
        host_keys: vec![key],
    };
    let response = DiscoverResponse {
        response_nonce: nonce(),
        timestamp_secs: 1_763_762_401,
        signature,
        nodes: vec![node],
    };
    vec![
        convert::auth_request_message(&request).encode_to_vec(),
        convert::auth_grant_message(&grant).encode_to_vec(),
        convert::discover_request_message(&discover).encode_to_vec(),
        convert::discover_response_message(&response).encode_to_vec(),
    ]
}
