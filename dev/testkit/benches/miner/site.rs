//! A running miner with its nodes, and the validators that ask it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use basilica_localnet::nodes::{Isolation, NodeHosts, NodeSpec, Reach};
use basilica_miner_service::assignment::AssignmentConfig;
use basilica_miner_service::config::{AdmissionConfig, FleetConfig, NodeConfig, SubnetConfig};
use basilica_miner_service::{Miner, MinerPorts};
use basilica_ports::{
    Axon, AxonOutcome, Chain, ChainError, ChainIdentity, Clock, Entropy, EntropyRng, HotkeySigner, Identity,
    Metagraph, MinerApi, MinerDialer as _, Neuron, NodeShell as _, PreparedWeights, WeightRules,
    WeightsOrder, WeightsOutcome,
};
use basilica_rpc::{GrpcMinerDialer, MinerListener, ServerLimits};
use basilica_runtime_service::{Metrics, Readiness, Supervisor};
use basilica_ssh::RusshShell;
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, OpenOptions};
use basilica_system::{HostDisks, OsEntropy, SystemClock};
use basilica_types::{
    BlockHash, BlockNumber, Coldkey, FencingToken, Hotkey, MechanismId, Millis, NetUid, Network, Rao,
    RequestNonce, SessionToken, SshPublicKey, Timestamp, Uid, Weight,
};
use basilica_wallet::WalletSigner;
use basilica_wire::Keypair;
use basilica_wire::discovery::{AuthRequest, DiscoverClaim, DiscoverRequest, NodeStatus};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

pub(crate) const CONNECTIONS: usize = 4;
pub(crate) const VALIDATORS: u8 = 64;

/// A metagraph of validators, the first with the most stake; nothing else is asked of a chain here.
struct Validators(Vec<Hotkey>);

fn down() -> ChainError {
    ChainError::Unreachable { endpoint: "bench".to_owned(), source: "there is no chain in this bench".into() }
}

#[async_trait]
impl Chain for Validators {
    async fn identity(&self) -> Result<ChainIdentity, ChainError> {
        Err(down())
    }
    async fn head(&self) -> Result<BlockNumber, ChainError> {
        Err(down())
    }
    async fn block_hash(&self, _: BlockNumber) -> Result<BlockHash, ChainError> {
        Err(down())
    }
    async fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, ChainError> {
        let neurons = (0u16..).zip(&self.0).map(|(uid, hotkey)| Neuron {
            uid: Uid(uid),
            hotkey: *hotkey,
            coldkey: Coldkey::from_bytes([0; 32]),
            stake: Rao(u64::from(u16::MAX - uid)),
            validator_permit: true,
            axon: None,
            last_update: BlockNumber(0),
        });
        let neurons = neurons.collect();
        Ok(Metagraph {
            netuid,
            block: BlockNumber(1),
            at: Timestamp(0),
            tempo: 360,
            owner_hotkey: None,
            neurons,
        })
    }
    async fn serve_axon(&self, _: NetUid, _: Axon) -> Result<AxonOutcome, ChainError> {
        Err(down())
    }
    async fn weight_rules(&self, _: NetUid, _: MechanismId) -> Result<WeightRules, ChainError> {
        Err(down())
    }
    async fn prepare_weights(&self, _: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        Err(down())
    }
    async fn conclude_weights(&self, _: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
        Err(down())
    }
    async fn weights_of(
        &self,
        _: NetUid,
        _: MechanismId,
        _: &Hotkey,
    ) -> Result<(BlockNumber, Option<Vec<(Uid, Weight)>>), ChainError> {
        Err(down())
    }
}

/// Signs requests, each later than the one before.
pub(crate) struct Author {
    pub(crate) keypair: Keypair,
    pub(crate) target: Hotkey,
    key: SshPublicKey,
    epoch: AtomicU64,
    pub(crate) client: Arc<dyn MinerApi>,
}

impl Author {
    /// Opens the standing session, as soon as the miner has read the metagraph.
    pub(crate) async fn open(&self) -> SessionToken {
        loop {
            match self.client.authenticate(self.authentication()).await {
                Ok(grant) => return grant.session_token,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn nonce() -> RequestNonce {
        let entropy: &dyn Entropy = &OsEntropy;
        RequestNonce::from_random(entropy.array())
    }

    pub(crate) fn authentication(&self) -> AuthRequest {
        let (nonce, timestamp_secs) = (Self::nonce(), SystemClock::new().now().as_secs());
        let payload = AuthRequest::payload(&self.target, &nonce, timestamp_secs);
        let signature = self.keypair.sign(&payload, EntropyRng(&OsEntropy));
        AuthRequest {
            validator: self.keypair.hotkey(),
            target: self.target,
            nonce,
            timestamp_secs,
            signature,
        }
    }

    pub(crate) fn discovery(&self, session_token: &SessionToken) -> DiscoverRequest {
        let claim = DiscoverClaim {
            validator: self.keypair.hotkey(),
            target: self.target,
            nonce: Self::nonce(),
            timestamp_secs: SystemClock::new().now().as_secs(),
            epoch: FencingToken(self.epoch.fetch_add(1, Ordering::SeqCst)),
            session_token: session_token.clone(),
            public_key: self.key.clone(),
        };
        let signature_v2 = Some(self.keypair.sign(&claim.payload_v2(), EntropyRng(&OsEntropy)));
        DiscoverRequest { claim, signature_v1: None, signature_v2 }
    }
}

/// A running miner with its nodes.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    _directory: tempfile::TempDir,
    pub(crate) nodes: NodeHosts,
    _tasks: JoinSet<()>,
    pub(crate) authors: Vec<(Arc<Author>, SessionToken)>,
}

/// With every limit off (RULES R27).
fn admission() -> AdmissionConfig {
    AdmissionConfig {
        accept_discover_v1: Vec::new(),
        nonces_per_validator: u32::MAX,
        session_lifetime: Millis::from_secs(3600),
        max_sessions: std::num::NonZeroU32::MIN,
        session_rate: None,
        metagraph_max_age: Millis::from_secs(900),
    }
}

impl Site {
    /// With so many nodes; what validators do is done by `callers`, as they are other programs.
    pub(crate) async fn start(count: usize, callers: &Handle) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let operator = Identity::Ephemeral(Zeroizing::new([5; 32]));
        let key = RusshShell.public_key(&operator).unwrap();
        let specs = (1..=count).map(|at| NodeSpec::new(format!("gpu-{at}"), &key)).collect();
        let nodes = NodeHosts::start(Isolation::Shared, Reach::Entrants, specs).await.unwrap();
        let keypair = |at: u8| Keypair::from_seed(&[at + 10; 32]).unwrap();
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
            (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
        let signer = WalletSigner::new(Keypair::from_seed(&[2; 32]).unwrap(), Arc::clone(&entropy));
        let target = signer.hotkey();
        let url = format!("sqlite://{}", directory.path().join("miner.db").display()).parse().unwrap();
        let database = Database::open(&url, &MINER_SCHEMA, OpenOptions::default()).await.unwrap();
        let ports = MinerPorts {
            chain: Arc::new(Validators((0..VALIDATORS).map(|at| keypair(at).hotkey()).collect())),
            shell: Arc::new(RusshShell),
            operator,
            store: Arc::new(MinerDatabase::new(database)),
            disks: Arc::new(HostDisks::of(Vec::new())),
            signer: Arc::new(signer),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        let configs = nodes.nodes().iter().map(|node| NodeConfig {
            id: node.address().node_id(),
            address: node.address().clone(),
            hourly_rate_per_gpu: None,
            host_key: None,
            maintenance: false,
            region: None,
        });
        let fleet = FleetConfig {
            nodes: configs.collect(),
            ssh_key: "unused".into(),
            interval: Millis::from_secs(60),
            timeout: Millis::from_secs(10),
            retries: 3,
            auto_recovery: true,
            remove_keys_on_shutdown: false,
        };
        let admission = admission();
        let subnet = SubnetConfig {
            network: Network::Local,
            endpoints: Vec::new(),
            netuid: NetUid(39),
            axon: None,
            assignment: AssignmentConfig::highest_stake(),
            refresh_interval: Millis::from_secs(60),
        };
        let miner = Miner::new(ports, fleet, admission, &subnet, (&Readiness::new(), &Metrics::new()));
        let listener = MinerListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (address, api) = (listener.local_addr().unwrap(), miner.api());
        let supervisor = Supervisor::new(clock, entropy);
        miner.start(&supervisor);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            listener.serve(api, ServerLimits::default(), std::future::pending()).await.unwrap();
        });
        let mut dialled = JoinSet::new();
        for _ in 0..CONNECTIONS {
            dialled.spawn_on(async move { GrpcMinerDialer::default().dial(address).await.unwrap() }, callers);
        }
        let clients = dialled.join_all().await;
        let key = RusshShell.public_key(&Identity::Ephemeral(Zeroizing::new([6; 32]))).unwrap();
        let mut authors = Vec::new();
        for at in 0..VALIDATORS {
            let client = Arc::clone(&clients[usize::from(at) % CONNECTIONS]);
            let author =
                Author { keypair: keypair(at), target, key: key.clone(), epoch: AtomicU64::new(1), client };
            let session = author.open().await;
            let answer = author.client.discover(author.discovery(&session)).await.unwrap();
            let deployed: Vec<NodeStatus> = answer.nodes.iter().map(|node| node.status).collect();
            assert_eq!(deployed, if at == 0 { vec![NodeStatus::Available; count] } else { vec![] });
            authors.push((Arc::new(author), session));
        }
        Self { address, _directory: directory, nodes, _tasks: tasks, authors }
    }

    /// A new session whose key no node carries yet.
    pub(crate) async fn deploy(&self) {
        let (author, _) = &self.authors[0];
        let session = author.open().await;
        let answer = author.client.discover(author.discovery(&session)).await.unwrap();
        assert!(answer.nodes.iter().all(|node| node.status == NodeStatus::Available));
    }
}
