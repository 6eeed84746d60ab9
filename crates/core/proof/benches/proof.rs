//! What the proof costs: the verifier at full size, its PRF share, and the CPU prover's product.
//!
//! The verifier's bench opens real leaves of a 32,768² product with k = 32,768 under arbitrary sibling subtrees (RULES
//! R13): paths of full depth are hashed and compared, and each selected cell is checked against the exact
//! product. Roots differ per opening, because the siblings do; the cost is the same.

#![expect(missing_docs, reason = "criterion's macro makes a public function without any")]
#![expect(clippy::print_stdout, reason = "a bench prints")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use basilica_proof::gemm::Kernel;
use basilica_proof::merkle::{Leaf, climb};
use basilica_proof::prf::{Matrix, fill_row, fill_rows};
use basilica_proof::prover::{Backend, CpuBackend, ExactProduct};
use basilica_proof::residency::{
    CACHE_LOG2_DEFAULT, Cache, LightItems, PARENTS_DEFAULT, READS_DEFAULT, Region, ResidencyParams, Space,
    Walk, WalkParams, lane_hash,
};
use basilica_proof::seed::Seed;
use basilica_proof::wire::{LaneState, Message, Opening, WalkOpening};
use basilica_proof::{Checker, LEAF_CELLS, ProofParams, WalkChecker};
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
    let root = climb(cells.hash(), leaf.into(), &siblings);
    let body = Message::Opening(Opening { device: 0, round: 0, leaf, cells, siblings }).encode();
    Opened { body, cell: number % 256, root }
}

fn check_all(checker: &Checker, openings: &[Opened], params: ProofParams, seed: &Seed) {
    for Opened { body, cell, root } in openings {
        let Ok(Message::Opening(opening)) = Message::decode(black_box(body)) else { panic!("an opening") };
        checker.check(&opening, *cell, params, seed, root).expect("a real leaf");
    }
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
                b.iter(|| check_all(&checker, &openings, params, &seed));
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

/// Steps of a card's walk as the class table asks for them: 256 of 16 reads, items of 128 parents, a cache of 256 MiB.
fn residency(c: &mut Criterion) {
    let mut group = c.benchmark_group("proof::residency");
    group.sample_size(10);
    group.bench_function("cache_of_256_MiB", |b| b.iter(|| Cache::new([1; 32], CACHE_LOG2_DEFAULT)));
    let cache = Arc::new(Cache::new([1; 32], CACHE_LOG2_DEFAULT));
    let shape = WalkParams {
        lanes: 1 << 17,
        steps: 50_000,
        reads: READS_DEFAULT,
        windows: 3,
        barriers: 100,
        picks: 64,
        lanes_per_pick: 4,
    };
    let params = ResidencyParams::new(Space::Device, 1 << 30, PARENTS_DEFAULT, shape).expect("in bounds");
    let mut walk = Walk::new(Region::new(&Seed::from_bytes([9; 32]), params), &[2; 32]);
    (0..shape.barriers).for_each(|_| {
        walk.pass(&Digest::from_bytes([3; 32]));
    });
    let checker = WalkChecker::new(walk.clone(), Arc::clone(&cache));
    let openings: Vec<_> = (0..params.openings()).map(|number| walked(&walk, &cache, number)).collect();
    group.bench_function("verify_256_steps", |b| {
        b.iter(|| {
            for (opening, before, after) in &openings {
                checker.check(black_box(opening), (Some(before), after)).expect("a real step");
            }
        });
    });
    group.finish();
}

/// A real step between two states, with siblings that hash to some roots.
fn walked(walk: &Walk, cache: &Cache, number: u32) -> (WalkOpening, Digest, Digest) {
    let (lane, step) = (number.wrapping_mul(2_654_435_761) % (1 << 17), number * 97 + 1);
    let siblings: Vec<Digest> = (0..walk.region().params().path())
        .map(|level| {
            let bytes = [number.to_le_bytes(), level.to_le_bytes()].concat();
            Digest::from_bytes(*blake3::hash(&bytes).as_bytes())
        })
        .collect();
    let shape = walk.region().params().walk();
    let before = LaneState { state: walk.start(lane ^ 1), siblings: siblings.clone() };
    let mut state = before.state;
    let Ok(()) = walk.step(&LightItems { region: walk.region(), cache }, lane, step, &mut state);
    let after = LaneState { state, siblings };
    let root = |lane_state: &LaneState, step: u32| {
        let position = u64::from(step - shape.segment_start(shape.segment(step)));
        let leaf = position << walk.region().params().depth() | u64::from(lane);
        climb(lane_hash(&lane_state.state), leaf, &lane_state.siblings)
    };
    let roots = (root(&before, step - 1), root(&after, step));
    (
        WalkOpening { device: 0, space: Space::Device, step, lane, before: Some(before), after },
        roots.0,
        roots.1,
    )
}

/// What checking costs beside doing, on this core: printed, since criterion compares no two benches.
fn ratio(_: &mut Criterion) {
    let seed = Seed::from_bytes([9; 32]);
    let params = ProofParams::new(32_768, 32_768, 1, OPENINGS).expect("in bounds");
    let openings: Vec<Opened> = (0..OPENINGS).map(|number| opened(&seed, params, number)).collect();
    let checker = Checker::new(Kernel::detect());
    let check = shortest(5, || check_all(&checker, &openings, params, &seed));
    let inner = 2_048usize;
    let (mut a, mut b, mut out) = (vec![0; 64 * inner], vec![0; inner * inner], vec![0; 64 * inner]);
    fill_rows(Kernel::detect(), &seed, Matrix::A, 0, inner, &mut a);
    fill_rows(Kernel::detect(), &seed, Matrix::B, 0, inner, &mut b);
    let part = shortest(5, || Kernel::detect().multiply(black_box(&a), &b, inner, &mut out));
    let naive = part.mul_f64(32_768f64.powi(3) / (64.0 * 2_048f64.powi(2)));
    println!(
        "proof::ratio: checking n = k = 32,768 with {OPENINGS} openings takes {check:.2?} and computing the product {naive:.1?} \
         on this core ({:?}): 1 to {:.0}",
        Kernel::detect(),
        naive.as_secs_f64() / check.as_secs_f64()
    );
}

#[expect(clippy::disallowed_methods, reason = "a stopwatch for a bench")]
fn shortest(times: usize, mut work: impl FnMut()) -> Duration {
    let timed = |_| {
        let start = std::time::Instant::now();
        work();
        start.elapsed()
    };
    (0..times).map(timed).min().expect("at least one")
}

criterion_group!(benches, verify, prf, prover, residency, ratio);
criterion_main!(benches);
