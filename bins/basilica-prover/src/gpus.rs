//! The machine's NVIDIA devices, and the backend that answers for a challenged device.

use std::sync::Arc;

use anyhow::Context;
use basilica_cuda::CudaBackend;
use basilica_cuda::claims::{self, Claimed};
use basilica_proof::gemm::Kernel;
use basilica_proof::merkle::Leaf;
use basilica_proof::prover::{Advance, Backend, BackendError, CpuBackend, ExactProduct, Pick, Traced};
use basilica_proof::residency::{Cache, Region, Space, Walk};
use basilica_proof::seed::Seed;
use basilica_proof::{DeviceChallenge, ProofParams};
use basilica_types::Digest;

use crate::disk::NodeMemory;
use crate::session::Device;

type Cpu = CpuBackend<ExactProduct, NodeMemory>;

/// The devices that this process may use; none on a machine without.
pub(crate) fn find() -> anyhow::Result<Vec<Claimed>> {
    claims::find().context("read this machine's NVIDIA devices")
}

/// The device that is challenged: the CPU for simulated classes, and for others the NVIDIA device of that UUID.
pub fn honest_device(challenge: &DeviceChallenge, threads: usize) -> Result<Device, BackendError> {
    let memory = NodeMemory::of_this_program();
    let memory =
        memory.map_err(|error| BackendError::Device(format!("find this program's folder: {error}")))?;
    let limit = CpuBackend::<ExactProduct>::LIMIT_DEFAULT;
    let cpu = Cpu::with_memory(ExactProduct(Kernel::detect()), memory, threads, limit);
    if challenge.claim.class.is_simulated() {
        return Ok(Box::new(cpu));
    }
    let found = claims::find().map_err(|error| BackendError::Device(error.to_string()))?;
    let uuid = challenge.claim.uuid;
    let claimed = found.into_iter().find(|claimed| claimed.report.uuid == uuid);
    let claimed =
        claimed.ok_or_else(|| BackendError::Device(format!("the driver lists no device {uuid}")))?;
    Ok(Box::new(GpuOfNode { gpu: CudaBackend::new(&claimed.device)?, disk: cpu }))
}

/// A GPU, with the node's disk, which the CPU fills and reads.
#[derive(Debug)]
struct GpuOfNode {
    gpu: CudaBackend,
    disk: Cpu,
}

impl GpuOfNode {
    fn holding(&mut self, region: &Region) -> &mut dyn Backend {
        match region.params().space() {
            Space::Device | Space::Host => &mut self.gpu,
            Space::Disk => &mut self.disk,
        }
    }
}

impl Backend for GpuOfNode {
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError> {
        self.gpu.commit(seed, params)
    }

    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError> {
        self.gpu.open(round, leaf)
    }

    fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError> {
        self.holding(region).fill(region, cache)
    }

    fn walk(&mut self, walk: &Walk, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError> {
        self.holding(walk.region()).walk(walk, on_root)
    }

    fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
        self.holding(walk.region()).trace(walk, picks)
    }
}
