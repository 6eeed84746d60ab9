//! The nodes.

use std::sync::Arc;

use basilica_localnet::nodes::{Isolation, NodeFile, NodeHosts, NodeSpec, Place, Reach};
use basilica_ports::Entropy;
use basilica_probing_service::ProverFile;
use basilica_system::OsEntropy;
use basilica_testkit::{Manner, SshNode};
use basilica_types::{Digest, GpuUuid, HostKey, NodeAddress, SshPublicKey};
use basilica_wire::discovery::{NodeReport, NodeStatus};
use serde_json::json;

use crate::plan::Plan;
use crate::report::Kind;

/// Where the prover looks for the devices that it plays.
const SIMULATED_GPUS: &str = ".config/basilica/simulated-gpus.json";
/// Who is let in nowhere.
const STRANGER: &str = "stranger";

/// A node as the run knows it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) kind: Kind,
    pub(crate) address: NodeAddress,
    pub(crate) host_key: HostKey,
    pub(crate) gpu: GpuUuid,
    /// Its full result is in the database before the run.
    pub(crate) seeded: bool,
}

impl Listed {
    pub(crate) fn report(&self) -> NodeReport {
        NodeReport {
            node_id: self.address.node_id(),
            address: self.address.clone(),
            status: NodeStatus::Available,
            hourly_rate_per_gpu: None,
            host_keys: vec![self.host_key.clone()],
        }
    }
}

/// Real OpenSSH servers, and what the miner and the validator know of them.
pub(crate) struct RealNodes {
    pub(crate) hosts: NodeHosts,
    pub(crate) listed: Vec<Listed>,
}

/// Starts them on loopback addresses; the prover lies on each but those that are to get it uploaded.
pub(crate) async fn real(plan: &Plan, operator: &SshPublicKey, prover: &Prover) -> RealNodes {
    let entropy: &dyn Entropy = &OsEntropy;
    let gpus: Vec<GpuUuid> = (0..plan.real).map(|_| GpuUuid::from_bytes(entropy.array())).collect();
    let spec = |(number, gpu): (usize, &GpuUuid)| {
        let mut spec = NodeSpec::new(format!("gpu-{number}"), operator);
        spec.files.push(simulated_gpu(*gpu));
        spec
    };
    // On a machine of its own each would take namespaces, a disk and an interface besides.
    let specs = gpus.iter().enumerate().map(spec).collect();
    let hosts = NodeHosts::start(Isolation::Shared, Reach::Entrants, specs).await.unwrap();
    let mut listed = Vec::new();
    for ((number, host), gpu) in hosts.nodes().iter().enumerate().zip(gpus) {
        let seeded = number >= plan.proved;
        if seeded {
            prover.link_into(host.home());
        }
        let (address, host_key) = (host.address().clone(), host.host_key().clone());
        listed.push(Listed { kind: Kind::Real, address, host_key, gpu, seeded });
    }
    RealNodes { hosts, listed }
}

fn simulated_gpu(uuid: GpuUuid) -> NodeFile {
    let entropy: &dyn Entropy = &OsEntropy;
    // They share this machine, and would share its id.
    let machine = Digest::from_bytes(entropy.array());
    let device = json!({ "index": 0, "uuid": uuid, "class": "simulated-H100" });
    let claims = json!({ "version": 2, "machine": machine, "devices": [device] });
    NodeFile {
        place: Place::Home(SIMULATED_GPUS.into()),
        mode: 0o644,
        bytes: claims.to_string().into_bytes(),
    }
}

/// The prover that is tested with.
pub(crate) struct Prover {
    pub(crate) path: std::path::PathBuf,
    pub(crate) file: ProverFile,
}

impl Prover {
    pub(crate) fn at(path: std::path::PathBuf) -> Self {
        let file = ProverFile::new(std::fs::read(&path).unwrap());
        Self { path, file }
    }

    /// One file for all homes: its bytes are what a validator checks.
    fn link_into(&self, home: &std::path::Path) {
        let cache = home.join(".cache/basilica");
        std::fs::create_dir_all(&cache).unwrap();
        std::os::unix::fs::symlink(&self.path, cache.join(format!("prover-{}", self.file.name()))).unwrap();
    }
}

/// SSH servers of this process.
pub(crate) struct SimulatedNodes {
    pub(crate) servers: Arc<Vec<SshNode>>,
    pub(crate) listed: Vec<Listed>,
    /// The same as some of them, under a name that lets nobody in.
    pub(crate) strangers: Vec<Listed>,
}

pub(crate) async fn simulated(plan: &Plan) -> SimulatedNodes {
    let garbage = [Manner::Noise, Manner::Endless, Manner::Terminal];
    let manner = |number: usize| {
        let (slow, loud) = (plan.black_holes + plan.slow, plan.black_holes + plan.slow + plan.garbage);
        match number {
            n if n < plan.black_holes => (Kind::BlackHole, Manner::BlackHole),
            n if n < slow => (Kind::Slow, Manner::Slow(plan.slowness())),
            n if n < loud => (Kind::Garbage, garbage[n % garbage.len()]),
            n if n < loud + plan.strangers => (Kind::Claimed, Manner::Honest),
            _ => (Kind::Honest, Manner::Honest),
        }
    };
    let (mut servers, mut listed, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..plan.simulated {
        let (kind, manner) = manner(number);
        let server = SshNode::start(manner).await;
        let (address, host_key, gpu) = (server.address().clone(), server.host_key().clone(), server.gpu());
        if kind == Kind::Claimed {
            let mut address = address.clone();
            address.user = STRANGER.parse().unwrap();
            let host_key = host_key.clone();
            strangers.push(Listed { kind: Kind::Stranger, address, host_key, gpu, seeded: false });
        }
        listed.push(Listed { kind, address, host_key, gpu, seeded: true });
        servers.push(server);
    }
    SimulatedNodes { servers: Arc::new(servers), listed, strangers }
}
