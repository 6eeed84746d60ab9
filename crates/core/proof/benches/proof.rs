//! What the proof costs: the verifier at full size, its PRF share, and the CPU prover's product.
//!
//! The verifier's bench opens real leaves of a 32,768² product with k = 32,768 under arbitrary sibling subtrees (RULES
//! R13): paths of full depth are hashed and compared, and each selected cell is checked against the exact
//! product. Roots differ per opening, because the siblings do; the cost is the same.

#![expect(missing_docs, reason = "criterion's macro makes a public function without any")]

use std::hint::black_box;
use std::time::Duration;

use basilica_proof::gemm::Kernel;
use basilica_proof::merkle::{Leaf, climb};
use basilica_proof::prf::{Matrix, fill_row, fill_rows};
use basilica_proof::prover::{Backend, CpuBackend, ExactProduct};
use basilica_proof::seed::Seed;
use basilica_proof::wire::{Message, Opening};
use basilica_proof::{Checker, LEAF_CELLS, ProofParams};
use basilica_types::Digest;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const OPENINGS: u32 = 256;

struct Opened {
    body: Vec<u8>,
    cell: u32,
    root: Digest,
}

/// A real leaf with siblings that hash to some root.
fn opened(seed: &Seed, params: ProofParams, number: u32) -> Opened {
    let leaf = number.wrapping_mul(2_654_435_761) % params.leaves();
    let inner = params.inner() as usize;
    let (row, column) = params.position(leaf, 0);
    let (mut a, mut b) = (vec![0; inner], vec![0; LEAF_CELLS * inner]);
    fill_row(Kernel::detect(), seed, Matrix::A, row, 0, &mut a);
    fill_rows(Kernel::detect(), seed, Matrix::B, column, inner, &mut b);
    let mut cells = [0; LEAF_CELLS];
    Kernel::detect().multiply(&a, &b, inner, &mut cells);
    let sibling = |level: u32| {
        Digest::from_bytes(*blake3::hash(&[number.to_le_bytes(), level.to_le_bytes()].concat()).as_bytes())
    };
    let siblings: Vec<Digest> = (0..params.depth()).map(sibling).collect();
    let cells = Leaf(cells);
    let root = climb(cells.hash(), leaf, &siblings);
    let body = Message::Opening(Opening { device: 0, round: 0, leaf, cells, siblings }).encode();
    Opened { body, cell: number % 256, root }
}

fn verify(c: &mut Criterion) {
    let mut group = c.benchmark_group("proof::verify");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    let seed = Seed::from_bytes([9; 32]);
    for side in [16_384u32, 32_768, 65_536] {
        let params = ProofParams::new(side, side, 1, OPENINGS).expect("in bounds");
        let openings: Vec<Opened> = (0..OPENINGS).map(|number| opened(&seed, params, number)).collect();
        for kernel in Kernel::supported().filter(|kernel| *kernel != Kernel::Scalar) {
            group.bench_function(BenchmarkId::new(format!("{kernel:?}"), side), |b| {
                let checker = Checker::new(kernel);
                b.iter(|| {
                    for Opened { body, cell, root } in &openings {
                        let Ok(Message::Opening(opening)) = Message::decode(black_box(body)) else {
                            panic!("an opening");
                        };
                        checker.check(&opening, *cell, params, &seed, root).expect("a real leaf");
                    }
                });
            });
        }
    }
    group.finish();
}

fn prf(c: &mut Criterion) {
    let mut group = c.benchmark_group("proof::prf");
    group.sample_size(20);
    let mut row = vec![0; 32_768];
    group.throughput(Throughput::Bytes(512 * 32_768));
    for kernel in Kernel::supported().filter(|kernel| matches!(kernel, Kernel::Avx2 | Kernel::Avx512)) {
        group.bench_function(BenchmarkId::new(format!("{kernel:?}"), "512_rows_of_32768"), |b| {
            b.iter(|| {
                for number in 0..512 {
                    let seed = Seed::from_bytes([9; 32]);
                    fill_row(kernel, &seed, Matrix::A, number, 0, black_box(&mut row));
                }
            });
        });
    }
    group.finish();
}

fn prover(c: &mut Criterion) {
    let mut group = c.benchmark_group("proof::prover");
    group.sample_size(10);
    let seed = Seed::from_bytes([9; 32]);
    for side in [1_024u32, 2_048] {
        let params = ProofParams::new(side, side, 1, OPENINGS).expect("in bounds");
        let inner = side as usize;
        let (mut a, mut b) = (vec![0; inner * inner], vec![0; inner * inner]);
        let mut out = vec![0; inner * inner];
        fill_rows(Kernel::detect(), &seed, Matrix::A, 0, inner, &mut a);
        fill_rows(Kernel::detect(), &seed, Matrix::B, 0, inner, &mut b);
        group.throughput(Throughput::Elements(params.multiplications()));
        for kernel in Kernel::supported().filter(|kernel| *kernel != Kernel::Scalar) {
            // In blocks of 64 rows, as the backend does.
            group.bench_function(BenchmarkId::new(format!("gemm_{kernel:?}_1_thread"), side), |bench| {
                bench.iter(|| {
                    for (a, out) in a.chunks(64 * inner).zip(out.chunks_mut(64 * inner)) {
                        kernel.multiply(black_box(a), &b, inner, out);
                    }
                });
            });
        }
        group.bench_function(BenchmarkId::new("round_1_thread", side), |bench| {
            let product = ExactProduct(Kernel::detect());
            bench.iter(|| CpuBackend::new(product, 1, side).commit(&seed, &params).expect("in bounds"));
        });
    }
    group.finish();
}

criterion_group!(benches, verify, prf, prover);
criterion_main!(benches);
