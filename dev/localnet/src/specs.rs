//! The nodes: three honest ones, and those of each cheater.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use basilica_ports::Entropy;
use basilica_system::OsEntropy;
use basilica_types::GpuUuid;

use crate::accounts::Role;
use crate::cheat::Cheat;
use crate::nodes::{NodeFile, NodeSpec, Place};
use crate::operator::Operator;
use crate::programs::Programs;

/// Whose the honest nodes are: both miners have one, so that both are paid whoever cheats.
const HONEST: [Role; 3] = [Role::Miner1, Role::Miner1, Role::Miner2];
/// Where the prover looks for the devices that it plays (see `basilica-prover --help`).
const SIMULATED_GPUS: &str = ".config/basilica/simulated-gpus.json";
/// Name of a dishonest owner's program on the node.
const TAMPERED: &str = "nvidia-persistence-helper";

/// One node before it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Whose it is.
    pub owner: Role,
    /// How its owner cheats; none for an honest one.
    pub cheat: Option<Cheat>,
    gpu: GpuUuid,
}

impl Planned {
    /// What kind of node this is, for the progress line.
    pub(crate) fn in_words(&self) -> String {
        self.cheat.map_or("honest".to_owned(), |cheat| format!("{}: {}", cheat.name(), cheat.in_words()))
    }
}

/// Who has which node, in their order: `gpu-node-1` and so on.
pub(crate) fn plan(cheaters: &[Cheat]) -> Vec<Planned> {
    let entropy: &dyn Entropy = &OsEntropy;
    let fresh = || GpuUuid::from_bytes(entropy.array());
    let mut nodes: Vec<Planned> =
        HONEST.into_iter().map(|owner| Planned { owner, cheat: None, gpu: fresh() }).collect();
    for cheat in cheaters {
        let gpu = fresh();
        // The second node is the other miner's: within one miner a double registration would be easy to see.
        for owner in [Role::Miner2, Role::Miner1].into_iter().take(cheat.nodes()) {
            nodes.push(Planned { owner, cheat: Some(*cheat), gpu });
        }
    }
    nodes
}

/// The specs of all nodes.
pub(crate) fn nodes(
    plan: &[Planned],
    programs: &Programs,
    operator: &Operator,
) -> anyhow::Result<Vec<NodeSpec>> {
    plan.iter().zip(1..).map(|(planned, number)| node(planned, number, programs, operator)).collect()
}

fn node(
    planned: &Planned,
    number: u32,
    programs: &Programs,
    operator: &Operator,
) -> anyhow::Result<NodeSpec> {
    let mut spec = NodeSpec::new(format!("gpu-node-{number}"), operator.public());
    let card = planned.cheat.map_or("simulated-H100", Cheat::card);
    spec.files.push(simulated_gpu(planned.gpu, card)?);
    if let Some(cheat) = planned.cheat.filter(|cheat| cheat.tampers()) {
        spec.files.extend(tampering(&programs.tampered_prover(), cheat)?);
    }
    Ok(spec)
}

/// One card, in a machine of its own: where nodes share this machine, they would share its id.
fn simulated_gpu(uuid: GpuUuid, class: &str) -> anyhow::Result<NodeFile> {
    let entropy: &dyn Entropy = &OsEntropy;
    let machine = basilica_types::Digest::from_bytes(entropy.array());
    let device = serde_json::json!({ "index": 0, "uuid": uuid, "class": class });
    let claims = serde_json::json!({ "version": 2, "machine": machine, "devices": [device] });
    let bytes = serde_json::to_vec(&claims)?;
    Ok(NodeFile { place: Place::Home(PathBuf::from(SIMULATED_GPUS)), mode: 0o644, bytes })
}

/// What a dishonest owner puts on the node: the other prover, and a shell that runs it in place of the uploaded one.
fn tampering(path: &Path, cheat: Cheat) -> anyhow::Result<[NodeFile; 2]> {
    let prover = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let shim = Command::new(path)
        .args(["--as", cheat.name(), "shim"])
        .output()
        .with_context(|| format!("run {}", path.display()))?;
    if !shim.status.success() {
        bail!("{} shim failed: {}", path.display(), String::from_utf8_lossy(&shim.stderr).trim());
    }
    // The shim names the program where it lies here; on the node it is found by its name.
    let here = path.canonicalize().with_context(|| format!("resolve {}", path.display()))?;
    let shim =
        String::from_utf8(shim.stdout).context("read the shim")?.replace(&*here.to_string_lossy(), TAMPERED);
    let program = |name: &str, bytes| NodeFile { place: Place::Program(name.to_owned()), mode: 0o755, bytes };
    Ok([program(TAMPERED, prover), program("sh", shim.into_bytes())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_miners_have_an_honest_node_and_a_shared_gpu_is_one() {
        let nodes = plan(&Cheat::ALL);
        assert_eq!(nodes.len(), 3 + Cheat::ALL.iter().map(|cheat| cheat.nodes()).sum::<usize>());
        for role in [Role::Miner1, Role::Miner2] {
            assert!(nodes.iter().any(|node| node.owner == role && node.cheat.is_none()));
        }
        let shared: Vec<_> = nodes.iter().filter(|node| node.cheat == Some(Cheat::ShareGpu)).collect();
        assert_eq!(shared.len(), 2);
        assert!(shared[0].gpu == shared[1].gpu && shared[0].owner != shared[1].owner);
        let mut gpus: Vec<_> = nodes.iter().map(|node| node.gpu).collect();
        gpus.sort_unstable();
        gpus.dedup();
        assert_eq!(gpus.len(), nodes.len() - 1);
    }
}
