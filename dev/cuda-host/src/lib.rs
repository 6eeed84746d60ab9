//! The GPU kernels of `basilica-cuda` on this machine's CPU, for tests where there is no GPU.
//!
//! [`driver`] is a library with the interface of NVIDIA's `libcuda.so.1` as far as `basilica-cuda` calls it. Behind it
//! are the very same kernel sources, compiled by the system's C++ compiler against `host/shim.h`: a block's threads are
//! fibers, and the instructions that C cannot spell (`mma`, `ldmatrix`, `cp.async`, shuffles, barriers) are functions that follow
//! the PTX ISA's layouts and check what hardware leaves undefined. So the crate above it is tested whole and unchanged:
//! its kernels, its launches, its memory, bit for bit against the CPU's code. [`nvml`] is the same for
//! `libnvidia-ml.so.1`, with the same devices.
//!
//! What it cannot show: that the PTX which NVRTC makes of the same sources does the same (the `ptxas` test shows that
//! it assembles), that the hardware's instructions are as the ISA says, and anything about time.
//!
//! Environment: `BASILICA_HOST_GPUS` devices (default 1) of `BASILICA_HOST_GPU_BYTES` each (default 512 MiB).
//!
//! Rejected: an emulator of PTX (thousands of lines, and it would still not be hardware), and a `Device` trait in the
//! product with an implementation for tests (the driver's calls would go untested).

use std::path::Path;

/// The driver's library.
pub fn driver() -> &'static Path {
    Path::new(concat!(env!("OUT_DIR"), "/libcuda.so.1"))
}

/// NVML's library.
pub fn nvml() -> &'static Path {
    Path::new(concat!(env!("OUT_DIR"), "/libnvidia-ml.so.1"))
}

/// The folder of both, for `LD_LIBRARY_PATH`.
pub fn folder() -> &'static Path {
    Path::new(env!("OUT_DIR"))
}
