//! The whole miner in this process: real gRPC, real SQLite, real sshd; only the chain is a stand-in.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod admission;
mod assignment;
mod health;
mod keys;
mod log;
mod python;
mod stale;
mod view;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use basilica_miner_service::assignment::AssignmentConfig;
use basilica_miner_service::config::{AdmissionConfig, FleetConfig, NodeConfig, SubnetConfig};
use basilica_miner_service::{Fleet, Miner, MinerPorts, StatusView};
use basilica_ports::{
    Axon, AxonOutcome, Chain, ChainError, ChainIdentity, Clock, Dial, Entropy, EntropyRng, HotkeySigner,
    Identity, Metagraph, MinerApi, MinerCallError, MinerDialer as _, Neuron, NodeShell as _, PreparedWeights,
    RefusalCode, SessionRate, WeightRules, WeightsOrder, WeightsOutcome,
};
use basilica_rpc::{GrpcMinerDialer, MinerListener, ServerLimits};
use basilica_runtime_service::{Metrics, Readiness, Supervisor};
use basilica_ssh::RusshShell;
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, OpenOptions};
use basilica_system::{HostDisks, OsEntropy, SystemClock};
use basilica_testkit::Nodes;
use basilica_types::{
    BlockHash, BlockNumber, Coldkey, DatabasePath, FencingToken, Hotkey, MechanismId, Millis, NetUid,
    Network, Rao, RequestNonce, SshPublicKey, Timestamp, Uid, UsdMicros, Weight,
};
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverClaim, DiscoverRequest, DiscoverResponse, NodeReport,
};
use basilica_wire::{Keypair, Signature};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

const NETUID: NetUid = NetUid(39);

fn now_secs() -> i64 {
    SystemClock::new().now().as_secs()
}

fn nonce() -> RequestNonce {
    let entropy: &dyn Entropy = &OsEntropy;
    RequestNonce::from_random(entropy.array())
}

/// A chain with a metagraph that tests change.
struct TestChain {
    metagraph: Mutex<Option<Metagraph>>,
    metagraph_calls: AtomicU64,
    /// Whether it takes questions and never answers.
    hangs: AtomicBool,
}

fn unreachable() -> ChainError {
    ChainError::Unreachable { endpoint: "test".to_owned(), source: "the test's chain is down".into() }
}

#[async_trait]
impl Chain for TestChain {
    async fn identity(&self) -> Result<ChainIdentity, ChainError> {
        Err(unreachable())
    }
    async fn head(&self) -> Result<BlockNumber, ChainError> {
        Err(unreachable())
    }
    async fn block_hash(&self, _: BlockNumber) -> Result<BlockHash, ChainError> {
        Err(unreachable())
    }
    async fn metagraph(&self, _: NetUid) -> Result<Metagraph, ChainError> {
        self.metagraph_calls.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.metagraph.lock().unwrap().clone().ok_or_else(unreachable)
    }
    async fn serve_axon(&self, _: NetUid, _: Axon) -> Result<AxonOutcome, ChainError> {
        Err(unreachable())
    }
    async fn weight_rules(&self, _: NetUid, _: MechanismId) -> Result<WeightRules, ChainError> {
        Err(unreachable())
    }
    async fn prepare_weights(&self, _: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        Err(unreachable())
    }
    async fn conclude_weights(&self, _: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
        Err(unreachable())
    }
    async fn weights_of(
        &self,
        _: NetUid,
        _: MechanismId,
        _: &Hotkey,
    ) -> Result<(BlockNumber, Option<Vec<(Uid, Weight)>>), ChainError> {
        Err(unreachable())
    }
}

/// A hotkey of the test.
struct Party(Keypair);

impl Party {
    fn new(seed: u8) -> Self {
        Self(Keypair::from_seed(&[seed; 32]).unwrap())
    }
    fn hotkey(&self) -> Hotkey {
        self.0.hotkey()
    }
    fn signature(&self, payload: &[u8]) -> Signature {
        self.0.sign(payload, EntropyRng(&OsEntropy))
    }
}

impl HotkeySigner for Party {
    fn hotkey(&self) -> Hotkey {
        self.0.hotkey()
    }
    fn sign(&self, payload: &[u8]) -> Signature {
        self.signature(payload)
    }
}

/// A validator as the miner meets it.
struct Validator {
    party: Party,
    /// The key that it deploys.
    identity: Identity,
    epoch: AtomicU64,
}

impl Validator {
    fn new(seed: u8) -> Self {
        let identity = Identity::Ephemeral(Zeroizing::new([seed; 32]));
        Self { party: Party::new(seed), identity, epoch: AtomicU64::new(1) }
    }

    fn key(&self) -> SshPublicKey {
        RusshShell.public_key(&self.identity).unwrap()
    }

    fn auth_request(&self, target: Hotkey) -> AuthRequest {
        self.auth_request_at(target, now_secs())
    }

    fn auth_request_at(&self, target: Hotkey, timestamp_secs: i64) -> AuthRequest {
        let nonce = nonce();
        let signature = self.party.signature(&AuthRequest::payload(&target, &nonce, timestamp_secs));
        AuthRequest { validator: self.party.hotkey(), target, nonce, timestamp_secs, signature }
    }

    fn claim(&self, grant: &AuthGrant) -> DiscoverClaim {
        DiscoverClaim {
            validator: self.party.hotkey(),
            target: grant.miner,
            nonce: nonce(),
            timestamp_secs: now_secs(),
            epoch: FencingToken(self.epoch.fetch_add(1, Ordering::SeqCst)),
            session_token: grant.session_token.clone(),
            public_key: self.key(),
        }
    }

    fn signed(&self, claim: DiscoverClaim) -> DiscoverRequest {
        let signature_v2 = Some(self.party.signature(&claim.payload_v2()));
        DiscoverRequest { claim, signature_v1: None, signature_v2 }
    }

    fn discover_request(&self, grant: &AuthGrant) -> DiscoverRequest {
        self.signed(self.claim(grant))
    }

    /// How it logs in on a node that a miner reported.
    fn dial(&self, node: &NodeReport) -> Dial {
        Dial {
            address: node.address.clone(),
            identity: self.identity.clone(),
            host_keys: basilica_ports::HostKeyPolicy::Pinned(node.host_keys.clone()),
            addresses: basilica_ports::AddressPolicy::Any,
            deadline: Millis::from_secs(10),
        }
    }

    async fn authenticate(&self, site: &Site) -> AuthGrant {
        let request = self.auth_request(site.miner.hotkey());
        let grant = site.client().await.authenticate(request.clone()).await.expect("a session");
        grant.check(&request).expect("the miner's own answer");
        grant
    }

    async fn discover(&self, site: &Site, grant: &AuthGrant) -> DiscoverResponse {
        let request = self.discover_request(grant);
        let response = site.client().await.discover(request.clone()).await.expect("a list of nodes");
        response.check(&request.claim, SystemClock::new().now()).expect("the miner's own answer");
        response
    }
}

/// What a test chooses.
struct Settings {
    session_lifetime: Millis,
    assignment: AssignmentConfig,
    accept_discover_v1: Vec<Hotkey>,
    nonces_per_validator: u32,
    max_sessions: NonZeroU32,
    session_rate: Option<SessionRate>,
    /// Between two rounds on a node.
    interval: Millis,
    timeout: Millis,
    /// Attempts after a failed one.
    retries: u32,
    auto_recovery: bool,
    remove_keys_on_shutdown: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_lifetime: Millis::from_secs(3600),
            assignment: AssignmentConfig::highest_stake(),
            accept_discover_v1: Vec::new(),
            nonces_per_validator: 1000,
            max_sessions: NonZeroU32::new(5).unwrap(),
            session_rate: None,
            interval: Millis(300),
            timeout: Millis::from_secs(5),
            retries: 0,
            auto_recovery: true,
            remove_keys_on_shutdown: false,
        }
    }
}

/// A miner with its surroundings. The validator with uid 1 has the most stake, uid 2 less, uid 3 no permit.
struct Site {
    settings: Settings,
    clock: Arc<dyn Clock>,
    miner: Arc<Party>,
    first: Validator,
    second: Validator,
    unpermitted: Validator,
    chain: Arc<TestChain>,
    directory: tempfile::TempDir,
    node_configs: Vec<NodeConfig>,
    operator: Identity,
    running: Option<Running>,
}

struct Running {
    address: SocketAddr,
    supervisor: Supervisor,
    ended: JoinSet<()>,
    store: MinerDatabase,
    fleet: Arc<Fleet>,
    status: StatusView,
    readiness: Readiness,
}

impl Site {
    async fn start(nodes: Option<&Nodes>, settings: Settings) -> Self {
        let mut site = Self::prepare(nodes, settings);
        site.start_miner().await;
        site
    }

    /// Everything but the running miner.
    fn prepare(nodes: Option<&Nodes>, settings: Settings) -> Self {
        let node_configs = nodes.into_iter().flat_map(Nodes::all).map(|node| NodeConfig {
            id: node.address().node_id(),
            address: node.address().clone(),
            hourly_rate_per_gpu: Some(UsdMicros(2_500_000)),
            host_key: None,
            maintenance: false,
            region: None,
        });
        let operator =
            nodes.map_or(Identity::Ephemeral(Zeroizing::new([0; 32])), |nodes| nodes.operator().clone());
        let site = Self {
            settings,
            clock: Arc::new(SystemClock::new()),
            miner: Arc::new(Party::new(100)),
            first: Validator::new(1),
            second: Validator::new(2),
            unpermitted: Validator::new(3),
            chain: Arc::new(TestChain {
                metagraph: Mutex::default(),
                metagraph_calls: AtomicU64::new(0),
                hangs: AtomicBool::new(false),
            }),
            directory: tempfile::tempdir().unwrap(),
            node_configs: node_configs.collect(),
            operator,
            running: None,
        };
        site.set_stakes(1000, 500);
        site
    }

    fn set_stakes(&self, first: u64, second: u64) {
        let parties = [
            (self.miner.hotkey(), 0, false),
            (self.first.party.hotkey(), first, true),
            (self.second.party.hotkey(), second, true),
            (self.unpermitted.party.hotkey(), 9999, false),
        ];
        let neurons = (0u16..).zip(parties).map(|(uid, (hotkey, stake, validator_permit))| Neuron {
            uid: Uid(uid),
            hotkey,
            coldkey: Coldkey::from_bytes([0; 32]),
            stake: Rao(stake),
            validator_permit,
            axon: None,
            last_update: BlockNumber(0),
        });
        let neurons = neurons.collect();
        let metagraph = Metagraph {
            netuid: NETUID,
            block: BlockNumber(1),
            at: Timestamp(0),
            tempo: 10,
            owner_hotkey: None,
            neurons,
        };
        *self.chain.metagraph.lock().unwrap() = Some(metagraph);
    }

    fn fleet_config(&self) -> FleetConfig {
        FleetConfig {
            nodes: self.node_configs.clone(),
            ssh_key: "unused".into(),
            interval: self.settings.interval,
            timeout: self.settings.timeout,
            retries: self.settings.retries,
            auto_recovery: self.settings.auto_recovery,
            remove_keys_on_shutdown: self.settings.remove_keys_on_shutdown,
        }
    }

    fn database(&self) -> DatabasePath {
        format!("sqlite://{}", self.directory.path().join("miner.db").display()).parse().unwrap()
    }

    async fn start_miner(&mut self) {
        let database = Database::open(&self.database(), &MINER_SCHEMA, OpenOptions::default()).await.unwrap();
        let store = MinerDatabase::new(database);
        let (clock, entropy): (_, Arc<dyn Entropy>) = (Arc::clone(&self.clock), Arc::new(OsEntropy));
        let ports = MinerPorts {
            chain: self.chain.clone(),
            shell: Arc::new(RusshShell),
            operator: self.operator.clone(),
            store: Arc::new(store.clone()),
            disks: Arc::new(HostDisks::of(Vec::new())),
            signer: self.miner.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        let fleet = self.fleet_config();
        let admission = AdmissionConfig {
            accept_discover_v1: self.settings.accept_discover_v1.clone(),
            nonces_per_validator: self.settings.nonces_per_validator,
            session_lifetime: self.settings.session_lifetime,
            max_sessions: self.settings.max_sessions,
            session_rate: self.settings.session_rate,
            metagraph_max_age: Millis::from_secs(60),
        };
        let subnet = SubnetConfig {
            network: Network::Local,
            endpoints: Vec::new(),
            netuid: NETUID,
            axon: None,
            assignment: self.settings.assignment.clone(),
            refresh_interval: Millis(100),
        };
        let readiness = Readiness::new();
        let miner = Miner::new(ports, fleet, admission, &subnet, (&readiness, &Metrics::new()));
        let listener = MinerListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let supervisor = Supervisor::new(clock, entropy);
        let (api, fleet, status) = (miner.api(), miner.fleet(), miner.status());
        miner.start(&supervisor);
        supervisor.spawn_once("grpc", move |stop| async move {
            let stopped = async move { stop.requested().await };
            listener.serve(api, ServerLimits::default(), stopped).await.map_err(Into::into)
        });
        let mut ended = JoinSet::new();
        let running = supervisor.clone();
        ended.spawn(async move { running.run_until_stopped(Millis::from_secs(10)).await.unwrap() });
        self.running = Some(Running { address, supervisor, ended, store, fleet, status, readiness });
        let metagraph_is_known = self.chain.metagraph.lock().unwrap().is_some();
        if metagraph_is_known {
            self.until_admitting().await;
        }
    }

    /// Waits until the miner knows the metagraph.
    async fn until_admitting(&self) {
        let probe = self.unpermitted.auth_request(self.miner.hotkey());
        let client = self.client().await;
        let known = async {
            while code(client.authenticate(probe.clone()).await) == RefusalCode::Unavailable {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), known).await.expect("a known metagraph");
    }

    async fn stop_miner(&mut self) {
        let mut running = self.running.take().expect("a running miner");
        running.supervisor.stop().request();
        while let Some(ended) = running.ended.join_next().await {
            ended.unwrap();
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a running miner")
    }

    async fn client(&self) -> Arc<dyn MinerApi> {
        GrpcMinerDialer::default().dial(self.running().address).await.expect("the miner listens")
    }
}

/// The kind of a refusal, or a panic.
fn code<T: std::fmt::Debug>(result: Result<T, MinerCallError>) -> RefusalCode {
    refusal(result).0
}

fn refusal<T: std::fmt::Debug>(result: Result<T, MinerCallError>) -> (RefusalCode, String) {
    match result {
        Err(MinerCallError::Refused { code, message }) => (code, message),
        other => panic!("expected a refusal, got {other:?}"),
    }
}
