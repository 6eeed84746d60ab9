//! A validator's REST API over a real store with a fleet in it: the real service and the real server, without a chain.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_http::{Api, ApiKey, ApiOptions, RateLimit};
use basilica_ports::{
    CheckEntry, Clock, Entropy, FleetStore as _, HotkeySigner, NodeKey, Recorded, SeenMiner,
    VerdictStore as _, VerdictSummary,
};
use basilica_probing_service::ProverFile;
use basilica_registry::OciRegistry;
use basilica_rpc::GrpcMinerDialer;
use basilica_runtime_service::{
    ConfigSource, HttpLimits, HttpListener, Metrics, OwnThreads, Readiness, Supervisor, load,
};
use basilica_ssh::RusshShell;
use basilica_store::{OpenOptions, ValidatorDatabase};
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{Category, Digest, GpuUuid, Hotkey, Millis, NodeAddress, Timestamp, Uid};
use basilica_validator_service::{Ports, Settings, Validator, ValidatorConfig};
use basilica_verification::{
    CheckKind, Due, Evidence, Fault, Measured, Outcome, Probes, ProvenGpu, Reason, Verdict,
};
use basilica_wallet::WalletSigner;
use basilica_wire::discovery::{NodeReport, NodeStatus};
use basilica_wire::{Keypair, Signed};
use codec::Encode as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// As many as the program takes of two processors.
const FACE_THREADS: usize = 1;
/// After it, checks would be due; storing a million verdicts takes longer than any real interval.
const A_YEAR: Millis = Millis::from_secs(365 * 24 * 60 * 60);
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// What is in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) miners: u16,
    /// Of all miners together.
    pub(crate) nodes: u32,
    /// Of each node.
    pub(crate) verdicts: u32,
}

pub(crate) fn miner(uid: u16) -> Hotkey {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&uid.to_le_bytes());
    Keypair::from_seed(&seed).unwrap().hotkey()
}

/// On this machine, where nobody listens: nothing here is ever due for a check, and none would leave the machine.
fn report(node: u32) -> NodeReport {
    let [_, a, b, c] = node.to_be_bytes();
    let address: NodeAddress = format!("root@127.{a}.{b}.{c}:1").parse().unwrap();
    NodeReport {
        node_id: address.node_id(),
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: None,
        host_keys: vec![HOST_KEY.parse().unwrap()],
    }
}

/// The identity of a node of the fleet.
pub(crate) fn key(fleet: Fleet, node: u32) -> NodeKey {
    let uid = u16::try_from(node % u32::from(fleet.miners)).unwrap();
    NodeKey { miner: miner(uid), node: report(node).node_id }
}

/// Signs verdicts and stores them, ten minutes apart up to now; the last full one of each node passes.
pub(crate) async fn fill(store: &ValidatorDatabase, fleet: Fleet, validator: &Keypair, now: Timestamp) {
    let seen = |uid| SeenMiner { hotkey: miner(uid), uid: Uid(uid), axon: "127.0.0.1:1".parse().unwrap() };
    store.observe_miners(&(0..fleet.miners).map(seen).collect::<Vec<_>>(), now).await.unwrap();
    for uid in 0..fleet.miners {
        let nodes: Vec<u32> =
            (0..fleet.nodes).filter(|node| node % u32::from(fleet.miners) == u32::from(uid)).collect();
        let reports: Vec<NodeReport> = nodes.iter().map(|node| report(*node)).collect();
        store.record_discovery(miner(uid), &reports, now).await.unwrap();
        for node in nodes {
            let key = key(fleet, node);
            let mut previous = None;
            for turn in (0..fleet.verdicts).rev() {
                let at = now - Millis(600_000 * u64::from(turn) + 1_000);
                let entry = check(key, node, turn, at, previous, validator);
                previous = Some(entry.digest);
                assert_eq!(store.record_check(&entry).await.unwrap(), Recorded::Stored);
            }
        }
    }
}

fn check(
    key: NodeKey,
    node: u32,
    turn: u32,
    at: Timestamp,
    previous: Option<Digest>,
    validator: &Keypair,
) -> CheckEntry {
    let kind = if turn.is_multiple_of(36) { CheckKind::Full } else { CheckKind::Light };
    let failed = turn % 50 == 7;
    let outcome = if failed {
        Outcome::Failed { reason: Reason::ConnectionFailed, fault: Fault::Network }
    } else {
        Outcome::Passed
    };
    let mut uuid = [1; 16];
    uuid[..4].copy_from_slice(&node.to_le_bytes());
    let category = Category::ALL[node as usize % Category::ALL.len()];
    let gpus = match (kind, failed) {
        (CheckKind::Full, false) => vec![ProvenGpu { uuid: GpuUuid::from_bytes(uuid), category }],
        _ => Vec::new(),
    };
    let prover = Digest::from_bytes([1; 32]);
    let verdict = Verdict {
        miner: key.miner,
        node: key.node,
        validator: validator.hotkey(),
        previous,
        kind,
        started: at - Millis(1_000),
        finished: at,
        outcome,
        gpus: gpus.clone(),
        policy: Digest::from_bytes([2; 32]),
        evidence: Evidence {
            host_key: Some(Digest::from_bytes([3; 32])),
            tries: 1,
            claims: Vec::new(),
            transcript: None,
            prover,
            measured: Measured::default(),
            probes: Probes::default(),
        },
    };
    let seed = u64::from(node) << 32 | u64::from(turn);
    let signed = Signed::new(verdict, validator, ChaCha20Rng::seed_from_u64(seed));
    let digest = signed.digest();
    CheckEntry {
        key,
        verdict: signed.encode(),
        digest,
        previous,
        started: at - Millis(1_000),
        host_keys: report(node).host_keys,
        prover,
        summary: VerdictSummary { digest, kind, outcome, finished: at },
        gpus,
        fingerprints: Vec::new(),
        identities: BTreeSet::new(),
        held_by: None,
        apart_from: BTreeSet::new(),
        gpus_stale_before: at,
        deadlines: None,
        transcript: None,
        due: Due { light: at + A_YEAR, full: at + A_YEAR },
    }
}

/// A running API.
pub(crate) struct ApiHost {
    pub(crate) address: SocketAddr,
    pub(crate) validator: Hotkey,
    supervisor: Supervisor,
}

impl ApiHost {
    /// Fills a store in `folder`, unless there is one already, and serves it.
    pub(crate) async fn start(folder: &Path, fleet: Fleet, rate_limit: Option<RateLimit>) -> Self {
        let validator = Keypair::from_seed(&[42; 32]).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let hotkey = validator.hotkey();
        let url = format!("sqlite://{}", folder.join("validator.db").display()).parse().unwrap();
        let store = ValidatorDatabase::open(&url, OpenOptions::default()).await.unwrap();
        let filled = folder.join("filled");
        if !filled.exists() {
            fill(&store, fleet, &validator, clock.now()).await;
            std::fs::write(&filled, "").unwrap();
        }
        let signer: Arc<dyn HotkeySigner> = Arc::new(WalletSigner::new(validator, Arc::clone(&entropy)));
        let nobody = ChainOptions::new(vec!["ws://127.0.0.1:1".parse().unwrap()]);
        let ports = Ports {
            chain: Arc::new(
                SubtensorChain::new(nobody, None, Arc::clone(&clock), Arc::clone(&entropy)).unwrap(),
            ),
            miners: Arc::new(GrpcMinerDialer::default()),
            nodes: Arc::new(RusshShell),
            registry: Arc::new(OciRegistry::new()),
            store: Arc::new(store.clone()),
            shown: Arc::new(store.with_own_readers(4)),
            signer,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        let config = load::<ValidatorConfig>(&ConfigSource::default()).unwrap();
        let settings = Settings::new(&config).unwrap();
        let prover = ProverFile::new(b"\x7fELF\x02".to_vec());
        let service = Validator::new(ports, settings, prover, &Metrics::new(), &Readiness::new());
        let supervisor = Supervisor::new(Arc::clone(&clock), entropy);
        let options = ApiOptions {
            version: "0.0.0",
            config: serde_json::to_value(config.value.without_secrets()).unwrap(),
            api_key: Some(ApiKey::new(KEY).unwrap()),
            hotkeys: BTreeSet::new(),
            proxies: BTreeSet::new(),
            rate_limit,
            at_once: 64,
            deadline: Millis::from_secs(30),
        };
        let api = Api::new(Arc::new(service.queries()), options);
        // On threads of its own, as the program has it.
        let faces = OwnThreads::start("faces", FACE_THREADS).unwrap();
        let bound = faces.run(HttpListener::bind((Ipv4Addr::LOCALHOST, 0).into())).await;
        let listener = bound.unwrap().unwrap();
        let address = listener.local_addr();
        let ticking = Arc::clone(&clock);
        supervisor.spawn_once("api", move |stop| async move {
            let serve = async move {
                listener.serve(|peer| api.for_peer(peer), HttpLimits::default(), ticking, stop).await;
            };
            Ok(faces.run(serve).await?)
        });
        service.start(&supervisor, Arc::new(store), "here".to_owned());
        Self { address, validator: hotkey, supervisor }
    }

    /// Ends it.
    pub(crate) async fn end(self) {
        self.supervisor.stop().request();
        self.supervisor.run_until_stopped(Millis::from_secs(10)).await.unwrap();
    }
}
