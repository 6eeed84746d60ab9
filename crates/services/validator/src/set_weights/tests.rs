//! A validator that can be killed, and a chain that outlives it.

mod crashes;

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use basilica_ports::{
    AddressPolicy, Ask, Axon, AxonOutcome, Chain, ChainIdentity, CheckEntry, Consensus, Dial, Effect,
    Entropy, EntropyRng, EpochClock, Expiry, FleetStore as _, HotkeySigner, Identity, ImageRegistry,
    Metagraph, MinerApi, MinerCallError, MinerDialer, Neuron, NodeKey, NodeShell, OwnNeuron, PreparedWeights,
    RegistryError, SeenMiner, Shell, ShellError, StoredStanding, VerdictStore as _, VerdictSummary,
    WeightsOrder,
};
use basilica_probing_service::ProverFile;
use basilica_runtime_service::testing::{SeededEntropy, VirtualClock};
use basilica_runtime_service::{ConfigSource, Metrics, Readiness, load};
use basilica_scoring::weights::upscale;
use basilica_store::{Database, OpenOptions, VALIDATOR_SCHEMA, ValidatorDatabase};
use basilica_types::{
    BasisPoints, BlockHash, Category, Coldkey, Digest, GpuUuid, Hotkey, ImageName, MechanismId, NetUid,
    NodeAddress, Ppm, Rao, SshPublicKey, Timestamp,
};
use basilica_verification::{CheckKind, Due, GpuRules, ImageOffer, Outcome, ProvenGpu};
use basilica_wire::discovery::{NodeReport, NodeStatus};
use basilica_wire::{Keypair, Signature};
use tokio::sync::Notify;

use basilica_ports::WeightStore as _;

use super::*;
use crate::metrics::ValidatorMetrics;
use crate::settings::Settings;
use crate::shared::{ChainView, Ports};

const OWN: Uid = Uid(1);
pub(crate) const MINER: Hotkey = Hotkey::from_bytes([7; 32]);
/// What the judged node proved to have.
pub(crate) const GPU: GpuUuid = GpuUuid::from_bytes([1; 16]);
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// A chain that outlives the validator: one account, whose nonce each extrinsic uses up.
#[derive(Default)]
pub(crate) struct Laptop {
    state: Mutex<State>,
    blown: Notify,
}

#[derive(Default)]
struct State {
    head: u64,
    nonce: u64,
    included: Vec<(Vec<u8>, BlockNumber)>,
    weights: Vec<(Uid, Weight)>,
    orders: Vec<(Vec<u8>, WeightsOrder)>,
    /// Steps until the process dies; none: never.
    fuse: Option<u32>,
    /// Uid 2 belongs to somebody else since the shared view was read.
    taken_over: bool,
    /// The own hotkey has lost its uid.
    deregistered: bool,
    /// No endpoint answers.
    silent: bool,
    /// When the newest finalised block was made; weights do not ask.
    block_time: Option<Timestamp>,
}

impl Laptop {
    /// One step before and one after every call: at the last one the caller never runs again.
    async fn step(&self) {
        let dies = {
            let mut state = self.state.lock().unwrap();
            match &mut state.fuse {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        if dies {
            self.blown.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// From now on no endpoint answers.
    pub(crate) fn fall_silent(&self) {
        self.with(|state| state.silent = true);
    }

    /// The newest finalised block is of this time.
    pub(crate) fn date(&self, block: Timestamp) {
        self.with(|state| state.block_time = Some(block));
    }

    /// One more finalised block.
    pub(crate) fn advance(&self) {
        self.with(|state| state.head += 1);
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }
}

#[async_trait]
impl Chain for Laptop {
    async fn identity(&self) -> Result<ChainIdentity, ChainError> {
        Ok(ChainIdentity {
            genesis: BlockHash::from_bytes([9; 32]),
            spec_name: "laptop".into(),
            spec_version: 1,
            development: false,
        })
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        self.step().await;
        if self.with(|state| state.silent) {
            return Err(ChainError::Deadline { call: "head" });
        }
        let head = self.with(|state| BlockNumber(state.head));
        self.step().await;
        Ok(head)
    }

    async fn block_hash(&self, number: BlockNumber) -> Result<BlockHash, ChainError> {
        Ok(BlockHash::from_bytes(*blake3::hash(&number.0.to_le_bytes()).as_bytes()))
    }

    async fn metagraph(&self, _: NetUid) -> Result<Metagraph, ChainError> {
        Ok(metagraph(self.with(|state| state.block_time).expect("the test dates the block")))
    }

    async fn serve_axon(&self, _: NetUid, _: Axon) -> Result<AxonOutcome, ChainError> {
        unreachable!("a validator serves no axon")
    }

    async fn weight_rules(&self, netuid: NetUid, mechanism: MechanismId) -> Result<WeightRules, ChainError> {
        self.step().await;
        let block = self.with(|state| BlockNumber(state.head));
        self.step().await;
        let mut rules = open_rules(block, netuid, mechanism);
        if self.with(|state| state.taken_over) {
            rules.uids.remove(&MINER);
            rules.uids.insert(Hotkey::from_bytes([6; 32]), Uid(2));
        }
        Ok(rules)
    }

    async fn prepare_weights(&self, order: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        self.step().await;
        let prepared = self.with(|state| {
            // Each signature differs, so that two built extrinsics are never the same bytes.
            let count = u8::try_from(state.orders.len()).unwrap();
            let extrinsic = vec![count, u8::try_from(state.nonce).unwrap()];
            state.orders.push((extrinsic.clone(), order.clone()));
            PreparedWeights {
                hash: Digest::from_bytes([count; 32]),
                extrinsic,
                nonce: state.nonce,
                netuid: order.netuid,
                mechanism: order.mechanism,
                effect: Effect::from(&order.call),
                genesis: BlockHash::from_bytes([9; 32]),
                born: BlockNumber(state.head),
                born_hash: BlockHash::from_bytes([8; 32]),
                dies: BlockNumber(state.head + 8),
            }
        });
        self.step().await;
        Ok(prepared)
    }

    async fn conclude_weights(&self, prepared: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
        self.step().await;
        let outcome = self.with(|state| {
            if let Some((_, block)) = state.included.iter().find(|(bytes, _)| *bytes == prepared.extrinsic) {
                return WeightsOutcome::Set { block: *block };
            }
            if prepared.nonce != state.nonce || state.head > prepared.dies.0 {
                return WeightsOutcome::Expired(Expiry::EraOver);
            }
            state.head += 1;
            state.nonce += 1;
            let block = BlockNumber(state.head);
            let order =
                state.orders.iter().find(|(bytes, _)| *bytes == prepared.extrinsic).unwrap().1.clone();
            let WeightsCall::Set { weights, .. } = order.call else {
                unreachable!("weights are set in the open")
            };
            state.weights = upscale(&weights);
            state.included.push((prepared.extrinsic.clone(), block));
            WeightsOutcome::Set { block }
        });
        self.step().await;
        Ok(outcome)
    }

    async fn weights_of(
        &self,
        _: NetUid,
        _: MechanismId,
        hotkey: &Hotkey,
    ) -> Result<(BlockNumber, Option<Vec<(Uid, Weight)>>), ChainError> {
        self.step().await;
        assert_eq!(*hotkey, signer().hotkey());
        let stored = |state: &State| (!state.deregistered).then(|| state.weights.clone());
        let answer = self.with(|state| (BlockNumber(state.head), stored(state)));
        self.step().await;
        Ok(answer)
    }
}

/// Nothing forbids setting weights in the open.
fn open_rules(block: BlockNumber, netuid: NetUid, mechanism: MechanismId) -> WeightRules {
    WeightRules {
        block,
        netuid,
        mechanism,
        mechanism_exists: true,
        neurons: 3,
        uids: [(Hotkey::from_bytes([9; 32]), Uid(0)), (signer().hotkey(), OWN), (MINER, Uid(2))].into(),
        own: Some(OwnNeuron {
            uid: OWN,
            stake: Some(Rao(1)),
            is_owner: false,
            permit: true,
            last_update: BlockNumber(0),
        }),
        stake_threshold: Rao(1),
        version_key: 0,
        rate_limit: 0,
        min_weights: 1,
        max_weight: u16::MAX,
        consensus: Consensus::Yuma,
        commit_reveal: None,
        reveal_period: 1,
        open_commits: Vec::new(),
        epochs: EpochClock::Modular { tempo: 10 },
        beacon: None,
        block_time: Millis::from_secs(12),
    }
}

pub(super) struct Nobody;

#[async_trait]
impl MinerDialer for Nobody {
    async fn dial(&self, _: std::net::SocketAddr) -> Result<Arc<dyn MinerApi>, MinerCallError> {
        unreachable!("weights dial no miner")
    }
}

#[async_trait]
impl ImageRegistry for Nobody {
    async fn offer(&self, _: &ImageName, _: Millis) -> Result<ImageOffer, RegistryError> {
        unreachable!("weights run no image")
    }
}

#[async_trait]
impl NodeShell for Nobody {
    fn public_key(&self, _: &Identity) -> Result<SshPublicKey, ShellError> {
        unreachable!("weights log in nowhere")
    }

    async fn resolve(
        &self,
        _: &NodeAddress,
        _: AddressPolicy,
        _: Millis,
    ) -> Result<Vec<std::net::SocketAddr>, ShellError> {
        unreachable!("weights log in nowhere")
    }

    async fn ask(&self, _: &Ask) -> Result<Vec<u8>, ShellError> {
        unreachable!("weights ask nobody")
    }

    async fn connect(&self, _: &Dial) -> Result<Arc<dyn Shell>, ShellError> {
        unreachable!("weights log in nowhere")
    }
}

pub(super) struct Signer(Keypair);

impl HotkeySigner for Signer {
    fn hotkey(&self) -> Hotkey {
        self.0.hotkey()
    }

    fn sign(&self, payload: &[u8]) -> Signature {
        let entropy: Arc<dyn Entropy> = SeededEntropy::new(2);
        self.0.sign(payload, EntropyRng(entropy.as_ref()))
    }
}

pub(super) fn signer() -> Signer {
    Signer(Keypair::from_seed(&[1; 32]).unwrap())
}

pub(super) fn settings() -> Settings {
    let toml = |text: &str| toml_value(text);
    let source = ConfigSource {
        overrides: vec![
            ("emission.gpu_allocations".into(), toml("{ H100 = 100 }")),
            ("emission.burn_uid".into(), toml("0")),
            ("emission.burn_percentage".into(), toml("10")),
            ("emission.weight_set_interval_blocks".into(), toml("10")),
        ],
        ..ConfigSource::default()
    };
    Settings::new(&load(&source).unwrap()).unwrap()
}

fn toml_value(text: &str) -> toml::Value {
    format!("v = {text}").parse::<toml::Table>().unwrap().remove("v").unwrap()
}

fn neuron(uid: Uid, hotkey: Hotkey) -> Neuron {
    Neuron {
        uid,
        hotkey,
        coldkey: Coldkey::from_bytes([3; 32]),
        stake: Rao(1),
        validator_permit: uid == OWN,
        axon: None,
        last_update: BlockNumber(0),
    }
}

/// The subnet at a block of this time.
pub(crate) fn metagraph(at: Timestamp) -> Metagraph {
    Metagraph {
        netuid: NetUid(39),
        block: BlockNumber(1),
        at,
        tempo: 10,
        owner_hotkey: None,
        neurons: vec![
            neuron(Uid(0), Hotkey::from_bytes([9; 32])),
            neuron(OWN, signer().hotkey()),
            neuron(Uid(2), MINER),
        ],
    }
}

/// Disk and chain: what survives the validator.
pub(crate) struct World {
    pub(crate) chain: Arc<Laptop>,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) readiness: Readiness,
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let chain = Arc::new(Laptop::default());
        chain.with(|state| state.head = 100);
        let (clock, readiness) = (VirtualClock::new(), Readiness::new());
        Self { chain, clock, readiness, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn store(&self) -> ValidatorDatabase {
        let url = format!("sqlite:{}", self.directory.path().join("validator.db").display()).parse().unwrap();
        ValidatorDatabase::new(Database::open(&url, &VALIDATOR_SCHEMA, OpenOptions::default()).await.unwrap())
    }

    /// A validator that knows nothing but what is on disk and on chain.
    pub(crate) async fn boot(&self) -> Shared {
        let store = Arc::new(self.store().await);
        let ports = Ports {
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            miners: Arc::new(Nobody),
            nodes: Arc::new(Nobody),
            registry: Arc::new(Nobody),
            shown: Arc::clone(&store) as _,
            store,
            signer: Arc::new(signer()),
            clock: Arc::clone(&self.clock) as _,
            entropy: SeededEntropy::new(1),
        };
        let metrics = ValidatorMetrics::register(&Metrics::new());
        let shared = Shared::new(ports, settings(), ProverFile::new(vec![1]), metrics, &self.readiness);
        let gpus = GpuRules::new(true, true, &BlockHash::from_bytes([9; 32]));
        shared.set_chain_view(ChainView {
            gpus,
            metagraph: Arc::new(metagraph(shared.now())),
            keeps_time: true,
        });
        shared
    }

    /// Puts down a verdict and a score, as the other reconcilers do.
    pub(crate) async fn judge_a_node(&self) -> NodeKey {
        let store = self.store().await;
        let now = basilica_ports::Clock::now(self.clock.as_ref());
        let axon = "198.51.100.1:50051".parse().unwrap();
        store.observe_miners(&[SeenMiner { hotkey: MINER, uid: Uid(2), axon }], now).await.unwrap();
        let address: NodeAddress = "root@198.51.100.7:22".parse().unwrap();
        let key = NodeKey { miner: MINER, node: address.node_id() };
        let report = NodeReport {
            node_id: key.node,
            address,
            status: NodeStatus::Available,
            hourly_rate_per_gpu: None,
            host_keys: vec![HOST_KEY.parse().unwrap()],
        };
        store.record_discovery(MINER, &[report], now).await.unwrap();
        store.record_check(&passed(key, now)).await.unwrap();
        let standing = StoredStanding {
            gate: "ok".into(),
            score: BasisPoints::ONE,
            multiplier: Ppm::ONE,
            banned_until: None,
            at: now,
        };
        store.record_standings(&[(key, standing)]).await.unwrap();
        key
    }

    /// Runs passes until a window is read back; dies where the fuse says. Returns whether it lived.
    async fn live(&self, shared: &Shared) -> bool {
        let passes = async {
            loop {
                if let Report::ReadBack(as_expected) = reconcile(shared).await.unwrap() {
                    assert!(as_expected, "what is read back is what was predicted");
                    return;
                }
            }
        };
        tokio::select! {
            () = passes => true,
            () = self.chain.blown.notified() => false,
        }
    }
}

fn passed(key: NodeKey, now: Timestamp) -> CheckEntry {
    let digest = Digest::from_bytes([5; 32]);
    CheckEntry {
        key,
        verdict: vec![1],
        digest,
        previous: None,
        started: now,
        host_keys: vec![HOST_KEY.parse().unwrap()],
        prover: ProverFile::new(vec![1]).name(),
        summary: VerdictSummary { digest, kind: CheckKind::Full, outcome: Outcome::Passed, finished: now },
        gpus: vec![ProvenGpu { uuid: GPU, category: Category::H100 }],
        fingerprints: Vec::new(),
        identities: BTreeSet::new(),
        held_by: None,
        apart_from: BTreeSet::new(),
        gpus_stale_before: now,
        deadlines: None,
        transcript: None,
        due: Due::at_once(now),
    }
}
