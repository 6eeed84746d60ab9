//! `bench` and `--selftest`: what this machine does, in a few lines.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::ensure;
use basilica_proof::ProofParams;
use basilica_proof::gemm::Kernel;
use basilica_proof::prf::{Matrix, fill_rows};
use basilica_proof::prover::{Backend, CpuBackend, ExactProduct};
use basilica_proof::seed::Seed;

const SEED: Seed = Seed::from_bytes([0x42; 32]);

/// Every kernel against the scalar one on random operands of odd shapes, and equal roots for any kernel.
pub(crate) fn self_test() -> anyhow::Result<String> {
    let mut lines = String::new();
    let (rows, columns, inner) = (9, 22, 1_088);
    let (mut a, mut b) = (vec![0; rows * inner], vec![0; columns * inner]);
    fill_rows(Kernel::detect(), &SEED, Matrix::A, 0, inner, &mut a);
    fill_rows(Kernel::detect(), &SEED, Matrix::B, 0, inner, &mut b);
    let mut expected = vec![0; rows * columns];
    Kernel::Scalar.multiply(&a, &b, inner, &mut expected);
    let params = ProofParams::new(128, 256, 1, 1)?;
    let root = CpuBackend::new(ExactProduct(Kernel::Scalar), 1, 128 * 2).commit(&SEED, &params)?;
    for kernel in Kernel::supported() {
        let mut out = vec![0; rows * columns];
        kernel.multiply(&a, &b, inner, &mut out);
        ensure!(out == expected, "kernel {kernel:?} differs from the scalar product on this machine");
        let other = CpuBackend::new(ExactProduct(kernel), 2, 128 * 2).commit(&SEED, &params)?;
        ensure!(other == root, "kernel {kernel:?} commits to another root on this machine");
        writeln!(lines, "kernel {kernel:?}: exact")?;
    }
    writeln!(lines, "root {root}")?;
    Ok(lines)
}

/// Multiplications a second by kernel, and one full round of the simulated class.
pub(crate) fn bench(threads: usize) -> anyhow::Result<String> {
    let mut lines = String::new();
    let side = 1_024;
    let (mut a, mut b, mut out) = (vec![0; side * side], vec![0; side * side], vec![0; side * side]);
    fill_rows(Kernel::detect(), &SEED, Matrix::A, 0, side, &mut a);
    fill_rows(Kernel::detect(), &SEED, Matrix::B, 0, side, &mut b);
    for kernel in Kernel::supported() {
        let took = best(|| kernel.multiply(&a, &b, side, &mut out));
        let giga = rate(side as u128 * side as u128 * side as u128, took);
        writeln!(lines, "kernel {kernel:?}: {giga} G multiplications/s on 1 thread (n = k = {side})")?;
    }
    let params = ProofParams::SIMULATED;
    let mut backend = CpuBackend::new(ExactProduct(Kernel::detect()), threads, params.side());
    let mut result = Ok(());
    let took = best(|| result = backend.commit(&SEED, &params).map(|_| ()));
    result?;
    let (n, k) = (params.side(), params.inner());
    writeln!(lines, "round: {} ms with {threads} threads (n = {n}, k = {k})", took.as_millis())?;
    Ok(lines)
}

/// Billions a second, rounded down.
fn rate(operations: u128, took: Duration) -> u128 {
    operations / took.as_nanos().max(1)
}

/// The shortest of three runs.
fn best(mut work: impl FnMut()) -> Duration {
    (0..3).map(|_| timed(&mut work)).min().expect("three runs")
}

#[expect(clippy::disallowed_methods, reason = "a stopwatch for the user; no decision hangs on it")]
pub(crate) fn timed(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
