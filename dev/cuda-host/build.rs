//! Compiles the kernels of `crates/adapters/cuda` and the host's driver into one shared library.

use std::path::{Path, PathBuf};

fn main() {
    let own = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let (host, kernels) = (own.join("host"), own.join("../../crates/adapters/cuda/kernels"));
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed={}", host.display());
    println!("cargo::rerun-if-changed={}", kernels.display());
    build(
        &[&host.join("fibers.cpp"), &host.join("driver.cpp")],
        &[&host, &kernels],
        &out.join("libcuda.so.1"),
    );
    build(&[&host.join("nvml.cpp")], &[&host], &out.join("libnvidia-ml.so.1"));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn build(sources: &[&Path], includes: &[&Path], library: &Path) {
    let compiler = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .debug(false)
        .pic(true)
        .flag("-fvisibility=hidden")
        .flag("-Wall")
        .flag("-Wextra")
        // Kernels of the same file that this library does not enter.
        .flag("-Wno-unused-function")
        .includes(includes)
        .get_compiler();
    let mut command = compiler.to_command();
    command.arg("-shared").args(sources).arg("-o").arg(library);
    let status = command.status().unwrap_or_else(|error| {
        panic!(
            "cannot start {}: {error}; the tests of the GPU's kernels need a C++ compiler (Debian: g++)",
            compiler.path().display()
        )
    });
    assert!(status.success(), "the C++ compiler does not accept the kernels");
}
