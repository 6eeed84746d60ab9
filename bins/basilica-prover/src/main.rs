//! The prover: one file that a validator uploads to a node, runs and removes.

use std::process::ExitCode;

use basilica_prover::{Identity, honest_device};

fn main() -> ExitCode {
    // Before any thread: see there. Where it takes no effect, a few hundred KiB stay behind, and nothing else changes.
    let _ = basilica_cuda::keep_no_compiled_kernels();
    basilica_prover::run(std::env::args_os().skip(1), Identity::Checked, &honest_device)
}
