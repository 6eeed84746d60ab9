//! The prover: one file that a validator uploads to a node, runs and removes.

use std::process::ExitCode;

use basilica_proof::DeviceChallenge;
use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{BackendError, CpuBackend, ExactProduct};
use basilica_prover::{Device, Identity};

fn main() -> ExitCode {
    let device = |_: &DeviceChallenge, threads| -> Result<Device, BackendError> {
        let product = ExactProduct(Kernel::detect());
        Ok(Box::new(CpuBackend::new(product, threads, CpuBackend::<ExactProduct>::LIMIT_DEFAULT)))
    };
    basilica_prover::run(std::env::args_os().skip(1), Identity::Checked, &device)
}
