//! The machine's NVIDIA devices, and the backend that answers for a challenged device.

use anyhow::Context;
use basilica_cuda::CudaBackend;
use basilica_cuda::claims::{self, Claimed};
use basilica_proof::DeviceChallenge;
use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{BackendError, CpuBackend, ExactProduct};

use crate::session::Device;

/// The devices that this process may use; none on a machine without.
pub(crate) fn find() -> anyhow::Result<Vec<Claimed>> {
    claims::find().context("read this machine's NVIDIA devices")
}

/// The device that is challenged: the CPU for simulated classes, and for others the NVIDIA device of that UUID.
pub fn honest_device(challenge: &DeviceChallenge, threads: usize) -> Result<Device, BackendError> {
    if challenge.claim.class.is_simulated() {
        let product = ExactProduct(Kernel::detect());
        let limit = CpuBackend::<ExactProduct>::LIMIT_DEFAULT;
        return Ok(Box::new(CpuBackend::new(product, threads, limit)));
    }
    let found = claims::find().map_err(|error| BackendError::Device(error.to_string()))?;
    let uuid = challenge.claim.uuid;
    let claimed = found.into_iter().find(|claimed| claimed.report.uuid == uuid);
    let claimed =
        claimed.ok_or_else(|| BackendError::Device(format!("the driver lists no device {uuid}")))?;
    Ok(Box::new(CudaBackend::new(&claimed.device)?))
}
