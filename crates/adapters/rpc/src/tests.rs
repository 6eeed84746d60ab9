//! Server and client against each other and against what a stranger may send, over real loopback connections.

mod hostile;
mod reflection;
mod tls;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use basilica_ports::{MinerApi, MinerCallError, MinerDialer as _, RefusalCode};
use basilica_types::{
    FencingToken, HostKey, Hotkey, Millis, NodeAddress, RequestNonce, SessionToken, UsdMicros,
};
use basilica_wire::Signature;
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverClaim, DiscoverRequest, DiscoverResponse, NodeReport, NodeStatus,
};
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::protocol::miner::miner_discovery_client::MinerDiscoveryClient;
use crate::protocol::{DESCRIPTORS, miner, spelt};
use crate::{
    ClientLimits, GrpcMinerDialer, MinerListener, PeerRate, ServeError, ServerLimits, Transport, convert,
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn nonce() -> RequestNonce {
    "3f2504e0-4f89-41d3-9a0c-0305e82c3301".parse().unwrap()
}

fn auth_request() -> AuthRequest {
    AuthRequest {
        validator: Hotkey::from_bytes([1; 32]),
        target: Hotkey::from_bytes([2; 32]),
        nonce: nonce(),
        timestamp_secs: 1_800_000_000,
        signature: Signature::from_bytes([3; 64]),
    }
}

fn auth_grant() -> AuthGrant {
    AuthGrant {
        miner: Hotkey::from_bytes([2; 32]),
        session_token: SessionToken::from_random([4; 32]),
        expires_at_secs: 1_800_003_600,
        response_nonce: nonce(),
        signature: Signature::from_bytes([5; 64]),
        signature_v2: Signature::from_bytes([6; 64]),
    }
}

fn discover_request() -> DiscoverRequest {
    DiscoverRequest {
        claim: DiscoverClaim {
            validator: Hotkey::from_bytes([1; 32]),
            target: Hotkey::from_bytes([2; 32]),
            nonce: nonce(),
            timestamp_secs: 1_800_000_000,
            epoch: FencingToken(7),
            session_token: SessionToken::from_random([4; 32]),
            public_key: KEY.parse().unwrap(),
        },
        signature_v1: Some(Signature::from_bytes([7; 64])),
        signature_v2: Some(Signature::from_bytes([8; 64])),
    }
}

fn node(address: &str, status: NodeStatus, rate: Option<u64>) -> NodeReport {
    let address: NodeAddress = address.parse().unwrap();
    let host_keys: Vec<HostKey> = vec![KEY.parse().unwrap()];
    let hourly_rate_per_gpu = rate.map(UsdMicros);
    NodeReport { node_id: address.node_id(), address, status, hourly_rate_per_gpu, host_keys }
}

fn discover_response() -> DiscoverResponse {
    DiscoverResponse {
        nodes: vec![
            node("root@198.51.100.7:22", NodeStatus::Available, Some(2_500_001)),
            node("gpu@[2001:db8::1]:2222", NodeStatus::KeyPending, None),
        ],
        response_nonce: nonce(),
        timestamp_secs: 1_800_000_001,
        signature: Signature::from_bytes([9; 64]),
    }
}

/// Answers with the values above, and refuses what is not exactly the request above.
struct Recorded {
    calls: AtomicUsize,
    hold: Option<Millis>,
}

#[async_trait]
impl MinerApi for Recorded {
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthGrant, MinerCallError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if request == auth_request() {
            return Ok(auth_grant());
        }
        let message = format!("Validator not authorized\u{7}{}", "x".repeat(600));
        Err(MinerCallError::Refused { code: RefusalCode::PermissionDenied, message })
    }

    async fn discover(&self, request: DiscoverRequest) -> Result<DiscoverResponse, MinerCallError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(hold) = self.hold {
            tokio::time::sleep(hold.as_duration()).await;
        }
        assert_eq!(request, discover_request());
        Ok(discover_response())
    }
}

struct Running {
    address: SocketAddr,
    api: Arc<Recorded>,
    stop: Option<oneshot::Sender<()>>,
    tasks: JoinSet<Result<(), ServeError>>,
}

impl Running {
    async fn start(hold: Option<Millis>, limits: ServerLimits) -> Self {
        Self::speaking(Transport::Plain, hold, limits).await
    }

    async fn speaking(transport: Transport, hold: Option<Millis>, limits: ServerLimits) -> Self {
        let listener = MinerListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap().speaking(transport);
        let address = listener.local_addr().unwrap();
        let api = Arc::new(Recorded { calls: AtomicUsize::new(0), hold });
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        let served: Arc<dyn MinerApi> = api.clone();
        tasks.spawn(listener.serve(served, limits, async move {
            // A dropped sender means the same as a sent word.
            let _ = stopped.await;
        }));
        Self { address, api, stop: Some(stop), tasks }
    }

    async fn client(&self) -> Arc<dyn MinerApi> {
        GrpcMinerDialer::default().dial(self.address).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn raw(&self) -> MinerDiscoveryClient<Channel> {
        MinerDiscoveryClient::new(self.channel().await)
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn every_field_survives_the_wire_in_both_directions() {
    let running = Running::start(None, ServerLimits::default()).await;
    let client = running.client().await;
    assert_eq!(client.authenticate(auth_request()).await.unwrap(), auth_grant());
    assert_eq!(client.discover(discover_request()).await.unwrap(), discover_response());
}

#[tokio::test]
async fn the_correct_spelling_is_served_too() {
    let running = Running::start(None, ServerLimits::default()).await;
    let mut client = spelt::miner_discovery_client::MinerDiscoveryClient::new(running.channel().await);
    let answer = client.discover_nodes(convert::discover_request_message(&discover_request())).await.unwrap();
    let nodes = answer.into_inner().nodes;
    assert_eq!((nodes[0].hourly_rate_cents, nodes[0].hourly_rate_usd_micros), (250, Some(2_500_001)));
    assert_eq!((nodes[1].hourly_rate_cents, nodes[1].hourly_rate_usd_micros), (0, None));
    assert_eq!((nodes[1].host.as_str(), nodes[1].port.as_str()), ("2001:db8::1", "2222"));
}

#[test]
fn both_packages_describe_the_same_messages_with_the_networks_numbers() {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let find = |package: &str| files.iter().find(|f| f.package() == package).unwrap();
    let (network, correct) = (find("basilca.miner.v1"), find("basilica.miner.v1"));
    let numbers = |file: &prost_types::FileDescriptorProto| -> Vec<String> {
        let fields = |m: &prost_types::DescriptorProto| -> Vec<String> {
            m.field
                .iter()
                .map(|f| format!("{}.{} {} {:?}", m.name(), f.name(), f.number(), f.r#type()))
                .collect()
        };
        file.message_type.iter().flat_map(fields).collect()
    };
    assert_eq!(numbers(network), numbers(correct));
    for field in [
        "ValidatorAuthRequest.target_miner_hotkey 5 String",
        "MinerAuthResponse.response_nonce 7 String",
        "MinerAuthResponse.miner_signature_v2 8 String",
        "DiscoverNodesRequest.target_miner_hotkey 6 String",
        "DiscoverNodesRequest.session_token 7 String",
        "DiscoverNodesRequest.signature_v2 8 String",
        "DiscoverNodesRequest.epoch 9 Uint64",
        "NodeConnectionDetails.port 3 String",
        "NodeConnectionDetails.hourly_rate_cents 8 Uint32",
        "NodeConnectionDetails.host_keys 9 String",
        "NodeConnectionDetails.hourly_rate_usd_micros 10 Uint64",
        "ListNodeConnectionDetailsResponse.response_nonce 2 String",
        "ListNodeConnectionDetailsResponse.miner_signature 3 String",
        "ListNodeConnectionDetailsResponse.timestamp 4 Message",
    ] {
        assert!(numbers(network).iter().any(|f| f == field), "{field}");
    }
}

#[tokio::test]
async fn a_malformed_field_is_named_and_never_reaches_the_service() {
    let running = Running::start(None, ServerLimits::default()).await;
    let mut client = running.raw().await;
    let good = convert::auth_request_message(&auth_request());
    type Change = fn(&mut miner::ValidatorAuthRequest);
    let cases: [(&str, Change); 8] = [
        ("target_miner_hotkey is required", |m| m.target_miner_hotkey.clear()),
        ("Invalid hotkey: target_miner_hotkey", |m| m.target_miner_hotkey = "5Grw".into()),
        ("Invalid hotkey: validator_hotkey", |m| m.validator_hotkey = "x".repeat(10_000)),
        ("validator_hotkey is required", |m| m.validator_hotkey.clear()),
        ("nonce is invalid", |m| m.nonce = "a:b".into()),
        ("nonce is required", |m| m.nonce.clear()),
        ("signature is invalid", |m| m.signature = "zz".repeat(64)),
        ("signature is required", |m| m.signature.clear()),
    ];
    for (text, change) in cases {
        let mut message = good.clone();
        change(&mut message);
        let (code, found) = refusal(client.authenticate_validator(message).await);
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(found.starts_with(text), "{found:?} should start with {text:?}");
    }
    let good = convert::discover_request_message(&discover_request());
    type DiscoverChange = fn(&mut miner::DiscoverNodesRequest);
    let cases: [(&str, DiscoverChange); 6] = [
        ("Validator must provide SSH public key", |m| m.validator_public_key.clear()),
        ("Invalid SSH public key format", |m| m.validator_public_key = "ssh-ed25519 AAAA\nroot".into()),
        ("session_token is required", |m| m.session_token.clear()),
        ("session_token is invalid", |m| m.session_token = "AB".repeat(32)),
        ("signature_v2 is required", |m| {
            m.signature.clear();
            m.signature_v2.clear()
        }),
        ("signature_v2 is invalid", |m| m.signature_v2 = "é".into()),
    ];
    for (text, change) in cases {
        let mut message = good.clone();
        change(&mut message);
        let (code, found) = refusal(client.discover_nodes(message).await);
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(found.starts_with(text), "{found:?} should start with {text:?}");
    }
    assert_eq!(running.api.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn an_absent_timestamp_reads_as_zero_which_no_freshness_check_accepts() {
    let mut message = convert::auth_request_message(&auth_request());
    message.timestamp = None;
    assert_eq!(convert::auth_request(message).unwrap().timestamp_secs, 0);
}

#[test]
fn a_request_of_the_first_protocol_is_understood_so_that_it_can_be_refused() {
    let mut message = convert::discover_request_message(&discover_request());
    message.session_token.clear();
    message.signature_v2.clear();
    let request = convert::discover_request(message).unwrap();
    assert!(request.signature_v2.is_none() && request.signature_v1.is_some());
}

#[tokio::test]
async fn an_oversized_request_is_refused() {
    let running = Running::start(None, ServerLimits::default()).await;
    let mut message = convert::auth_request_message(&auth_request());
    message.nonce = "x".repeat(70 * 1024);
    let (code, _) = refusal(running.raw().await.authenticate_validator(message).await);
    assert_eq!(code, Code::OutOfRange);
    assert_eq!(running.api.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_oversized_answer_is_refused_by_the_client() {
    let running = Running::start(None, ServerLimits::default()).await;
    let limits = ClientLimits { response_bytes: 64, ..ClientLimits::default() };
    let client = GrpcMinerDialer::new(limits).dial(running.address).await.unwrap();
    let error = client.discover(discover_request()).await.unwrap_err();
    assert!(matches!(error, MinerCallError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_miners_words_are_bounded_and_without_control_characters() {
    let running = Running::start(None, ServerLimits::default()).await;
    let request = AuthRequest { timestamp_secs: 1, ..auth_request() };
    let error = running.client().await.authenticate(request).await.unwrap_err();
    let MinerCallError::Refused { code: RefusalCode::PermissionDenied, message } = error else {
        panic!("{error:?}");
    };
    assert_eq!(message.chars().count(), 512);
    assert!(message.starts_with("Validator not authorized x"), "{message}");
}

#[tokio::test]
async fn a_silent_miner_costs_its_caller_the_deadline_only() {
    let running = Running::start(Some(Millis(60_000)), ServerLimits::default()).await;
    let limits = ClientLimits { discover: Millis(50), ..ClientLimits::default() };
    let client = GrpcMinerDialer::new(limits).dial(running.address).await.unwrap();
    let error = client.discover(discover_request()).await.unwrap_err();
    assert!(matches!(error, MinerCallError::Deadline { .. }), "{error:?}");
}

#[tokio::test]
async fn a_listener_that_never_speaks_costs_the_connect_deadline_only() {
    let mute = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let limits = ClientLimits { connect: Millis(100), authenticate: Millis(100), ..ClientLimits::default() };
    let dialer = GrpcMinerDialer::new(limits);
    let failed = match dialer.dial(mute.local_addr().unwrap()).await {
        Err(error) => error,
        Ok(client) => client.authenticate(auth_request()).await.unwrap_err(),
    };
    assert!(matches!(failed, MinerCallError::Deadline { .. }), "{failed:?}");
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let address = MinerListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap().local_addr().unwrap();
    let error = GrpcMinerDialer::default().dial(address).await.err().unwrap();
    assert!(
        matches!(error, MinerCallError::Unreachable { endpoint, .. } if endpoint == address),
        "{error:?}"
    );
}

#[tokio::test]
async fn requests_above_the_bound_are_refused_at_once() {
    let limits = ServerLimits { concurrent_requests: 1, ..ServerLimits::default() };
    let running = Running::start(Some(Millis(60_000)), limits).await;
    let client = running.client().await;
    let mut held = JoinSet::new();
    held.spawn({
        let client = Arc::clone(&client);
        async move { client.discover(discover_request()).await.map(drop) }
    });
    while running.api.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let error = client.authenticate(auth_request()).await.unwrap_err();
    assert!(
        matches!(error, MinerCallError::Refused { code: RefusalCode::ResourceExhausted, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_again_whatever_it_asks_for() {
    let rate = PeerRate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(2).unwrap() };
    let running = Running::start(None, ServerLimits { rate: Some(rate), ..ServerLimits::default() }).await;
    let mut client = running.raw().await;
    for _ in 0..2 {
        client.authenticate_validator(convert::auth_request_message(&auth_request())).await.unwrap();
    }
    let told = "Too many requests from this address: 1 per second are allowed; come again in 1 s";
    let garbage = client.authenticate_validator(miner::ValidatorAuthRequest::default()).await;
    assert_eq!(refusal(garbage), (Code::ResourceExhausted, told.to_owned()));
    // Another connection of the same address makes no difference.
    let mut health = tonic_health::pb::health_client::HealthClient::new(running.channel().await);
    let asked = health.check(tonic_health::pb::HealthCheckRequest::default()).await;
    assert_eq!(refusal(asked).0, Code::ResourceExhausted);
}

/// A connection from this address of loopback that never says anything.
async fn silent(from: [u8; 4], target: SocketAddr) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(target).await.unwrap()
}

#[tokio::test]
async fn strangers_who_hold_all_places_keep_nobody_out() {
    let limits = ServerLimits { connections: 4, connections_per_address: 2, ..ServerLimits::default() };
    let miner = Running::start(None, limits).await;
    let known = miner.client().await;
    known.authenticate(auth_request()).await.unwrap();
    let mut strangers = Vec::new();
    for last in 2..=9 {
        strangers.push(silent([127, 0, 2, last], miner.address).await);
    }
    let newcomer = miner.client().await;
    newcomer.authenticate(auth_request()).await.unwrap();
    known.authenticate(auth_request()).await.expect("who has proved itself makes way for nobody");
    // The server speaks first; what counts is that it ends.
    let mut heard = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut strangers[0], &mut heard);
    let limit = std::time::Duration::from_secs(20);
    assert!(tokio::time::timeout(limit, ended).await.is_ok(), "the one that was there longest is closed");
}

#[tokio::test]
async fn an_occupied_port_is_named_with_what_to_do() {
    let first = MinerListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = first.local_addr().unwrap();
    let error = MinerListener::bind(address).await.unwrap_err();
    assert!(matches!(error, ServeError::InUse { .. }));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn stopping_ends_the_server() {
    let mut running = Running::start(None, ServerLimits::default()).await;
    running.client().await.authenticate(auth_request()).await.unwrap();
    running.stop.take().unwrap().send(()).unwrap();
    running.tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(MinerListener::bind(running.address).await.is_ok());
}

/// A stop must not wait for peers; the bound is far below a connection's maximal age and only ends a hung test.
async fn stops(running: &mut Running) {
    running.stop.take().unwrap().send(()).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), running.tasks.join_next());
    ended.await.expect("the server stops").unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_silent_peer_does_not_hold_up_the_stop() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut running = Running::start(None, ServerLimits::default()).await;
    let mut silent = tokio::net::TcpStream::connect(running.address).await.unwrap();
    // The preface and an empty SETTINGS frame: a connection of HTTP/2 that never says anything again.
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    silent.read_u8().await.unwrap();
    stops(&mut running).await;
}

#[tokio::test]
async fn watchers_of_the_health_learn_of_the_stop_and_do_not_hold_it_up() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let mut running = Running::start(None, ServerLimits::default()).await;
    let service = "basilca.miner.v1.MinerDiscovery".to_owned();
    let watch = HealthClient::new(running.channel().await).watch(HealthCheckRequest { service }).await;
    let mut states = watch.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    stops(&mut running).await;
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn a_call_in_work_is_answered_before_the_server_stops() {
    let mut running = Running::start(Some(Millis(1500)), ServerLimits::default()).await;
    let client = running.client().await;
    let mut calls = JoinSet::new();
    calls.spawn(async move { client.discover(discover_request()).await });
    while running.api.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    stops(&mut running).await;
    assert_eq!(calls.join_next().await.unwrap().unwrap().unwrap(), discover_response());
}
