//! The prover: one file that a validator uploads to a node, runs and removes.

use std::process::ExitCode;

use basilica_proof::gemm::Kernel;
use basilica_proof::prover::ExactProduct;
use basilica_prover::Identity;

fn main() -> ExitCode {
    basilica_prover::run(std::env::args_os().skip(1), Identity::Checked, ExactProduct(Kernel::detect()))
}
