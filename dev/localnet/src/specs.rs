//! The four nodes: three honest, one whose owner runs a prover that skips work.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use basilica_ports::Entropy;
use basilica_system::OsEntropy;
use basilica_types::GpuUuid;

use crate::nodes::{NodeFile, NodeHost, NodeSpec, Place};
use crate::operator::Operator;
use crate::programs::Programs;

/// Names in order; two nodes for each miner.
const NAMES: [&str; 4] = ["gpu-node-1", "gpu-node-2", "gpu-node-3", "gpu-node-4"];
/// The dishonest one.
const TAMPERED: &str = "gpu-node-4";
/// Where the prover looks for the devices that it plays (see `basilica-prover --help`).
const SIMULATED_GPUS: &str = ".config/basilica/simulated-gpus.json";
/// Name of the dishonest owner's program on the node.
const CHEAT: &str = "nvidia-persistence-helper";

/// The specs of all nodes.
pub(crate) fn nodes(programs: &Programs, operator: &Operator) -> anyhow::Result<Vec<NodeSpec>> {
    NAMES.iter().map(|name| node(name, programs, operator)).collect()
}

fn node(name: &str, programs: &Programs, operator: &Operator) -> anyhow::Result<NodeSpec> {
    let mut spec = NodeSpec::new(name, operator.public());
    spec.files.push(simulated_gpu());
    if name == TAMPERED {
        spec.files.extend(tampering(programs)?);
    }
    Ok(spec)
}

/// One `simulated-H100` with a UUID of its own.
fn simulated_gpu() -> NodeFile {
    let entropy: &dyn Entropy = &OsEntropy;
    let uuid = GpuUuid::from_bytes(entropy.array());
    let claims =
        format!(r#"{{"version":2,"devices":[{{"index":0,"uuid":"{uuid}","class":"simulated-H100"}}]}}"#);
    NodeFile { place: Place::Home(PathBuf::from(SIMULATED_GPUS)), mode: 0o644, bytes: claims.into_bytes() }
}

/// What the dishonest owner puts on the node: the other prover, and a shell that runs it in place of the uploaded one.
fn tampering(programs: &Programs) -> anyhow::Result<[NodeFile; 2]> {
    let path = programs.tampered_prover();
    let prover = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let shim = Command::new(&path).arg("shim").output().with_context(|| format!("run {}", path.display()))?;
    if !shim.status.success() {
        bail!("{} shim failed: {}", path.display(), String::from_utf8_lossy(&shim.stderr).trim());
    }
    // The shim names the program where it lies here; on the node it is found by its name.
    let here = path.canonicalize().with_context(|| format!("resolve {}", path.display()))?;
    let shim =
        String::from_utf8(shim.stdout).context("read the shim")?.replace(&*here.to_string_lossy(), CHEAT);
    let program = |name: &str, bytes| NodeFile { place: Place::Program(name.to_owned()), mode: 0o755, bytes };
    Ok([program(CHEAT, prover), program("sh", shim.into_bytes())])
}

/// What kind of node this is, for the progress line.
pub(crate) fn in_words(name: &str) -> &'static str {
    if name == TAMPERED { "tampered: its prover skips work" } else { "honest" }
}

/// The nodes of the miner with this index, 0 or 1.
pub(crate) fn of_miner(nodes: &[NodeHost], miner: usize) -> &[NodeHost] {
    let half = nodes.len() / 2;
    if miner == 0 { &nodes[..half] } else { &nodes[half..] }
}
