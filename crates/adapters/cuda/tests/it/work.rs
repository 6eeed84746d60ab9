use basilica_cuda::CudaBackend;
use basilica_proof::ProofParams;
use basilica_proof::gemm::Kernel;
use basilica_proof::merkle::climb;
use basilica_proof::prover::{Backend, BackendError, CpuBackend, ExactProduct};
use basilica_proof::seed::Seed;
use proptest::prelude::*;

use crate::host;

fn cpu() -> CpuBackend {
    CpuBackend::new(ExactProduct(Kernel::detect()), 1, 4_096)
}

fn params(side: u32, inner: u32) -> ProofParams {
    ProofParams::new(side, inner, 2, 4).unwrap()
}

/// Commits two rounds on both and opens `leaves` of each.
fn compare(params: ProofParams, seed: [u8; 32], leaves: &[u32]) {
    let (mut gpu, mut cpu) = (CudaBackend::new(&host::device()).unwrap(), cpu());
    let mut seed = Seed::from_bytes(seed);
    let mut roots = Vec::new();
    for round in 1..=2 {
        let root = gpu.commit(&seed, &params).unwrap();
        assert_eq!(root, cpu.commit(&seed, &params).unwrap(), "{params:?}");
        seed = seed.next(round, &root);
        roots.push(root);
    }
    for (round, root) in (0..).zip(&roots) {
        for leaf in leaves.iter().map(|leaf| leaf % params.leaves()) {
            let (cells, siblings) = gpu.open(round, leaf).unwrap();
            assert_eq!((cells.clone(), siblings.clone()), cpu.open(round, leaf).unwrap(), "leaf {leaf}");
            assert_eq!(climb(cells.hash(), leaf.into(), &siblings), *root);
        }
    }
}

#[test]
fn every_side_commits_and_opens_as_the_cpu_does() {
    for (side, inner) in [(64, 64), (64, 192), (128, 320), (256, 64), (256, 128), (256, 448), (512, 192)] {
        compare(params(side, inner), [7; 32], &[0, 33, params(side, inner).leaves() - 1]);
    }
}

#[test]
fn inner_dimensions_of_fewer_steps_than_stages_and_of_many_are_exact() {
    // Four stages: one to five steps pass through every state of the pipeline, seventeen through its wrap.
    for steps in [1, 2, 3, 4, 5, 17] {
        compare(params(256, steps * 64), [9; 32], &[100]);
    }
}

#[test]
fn several_groups_of_tiles_cover_the_product() {
    // More than 16 tiles down: the second group's tiles lie elsewhere in the product.
    let params = params(4_096, 64);
    let (mut gpu, mut cpu) = (CudaBackend::new(&host::device()).unwrap(), cpu());
    let seed = Seed::from_bytes([3; 32]);
    assert_eq!(gpu.commit(&seed, &params).unwrap(), cpu.commit(&seed, &params).unwrap());
    let leaf = params.leaves() / 2 + 77;
    assert_eq!(gpu.open(0, leaf).unwrap(), cpu.open(0, leaf).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn random_sizes_and_seeds_agree(
        log2 in 6u32..10, steps in 1u32..9, seed in any::<[u8; 32]>(), leaf in any::<u32>(),
    ) {
        compare(params(1 << log2, steps * 64), seed, &[leaf]);
    }
}

#[test]
fn the_seed_that_fills_a_tile_with_extremes_is_exact_too() {
    // Sums of the longest rows that are quick here; overflow would need 131,072 cells.
    compare(params(256, 4_096), [0xff; 32], &[7]);
}

#[test]
fn work_that_does_not_fit_is_refused_before_anything_is_allocated() {
    let mut gpu = CudaBackend::new(&host::device()).unwrap();
    let before = host::live();
    let refused = gpu.commit(&Seed::from_bytes([1; 32]), &params(16_384, 65_536)).unwrap_err();
    assert!(matches!(refused, BackendError::Memory { .. }), "{refused}");
    assert_eq!(host::live(), before);
    // The device is as good as before.
    gpu.commit(&Seed::from_bytes([1; 32]), &params(64, 64)).unwrap();
}

#[test]
fn nothing_is_left_behind() {
    let before = host::live();
    {
        let mut gpu = CudaBackend::new(&host::device()).unwrap();
        for side in [64, 256, 128] {
            gpu.commit(&Seed::from_bytes([1; 32]), &params(side, 64)).unwrap();
        }
        gpu.open(1, 3).unwrap();
        gpu.time_round(&Seed::from_bytes([1; 32]), &params(256, 64)).unwrap();
        host::fail_next("cells", 719);
        gpu.open(0, 0).unwrap_err();
    }
    assert_eq!(host::live(), before);
}

#[test]
fn a_failed_launch_is_named_by_the_drivers_own_word() {
    let mut gpu = CudaBackend::new(&host::device()).unwrap();
    host::fail_next("product_leaves", 700);
    let error = gpu.commit(&Seed::from_bytes([1; 32]), &params(256, 64)).unwrap_err();
    assert!(error.to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS (700)"), "{error}");
    assert!(matches!(error, BackendError::Device(_)));
    let missing = gpu.open(0, 0).unwrap_err();
    assert_eq!(missing, BackendError::NotCommitted { round: 0, leaf: 0 });
}

#[test]
fn a_device_that_contradicts_itself_opens_nothing() {
    let mut gpu = CudaBackend::new(&host::device()).unwrap();
    let params = params(256, 64);
    gpu.commit(&Seed::from_bytes([1; 32]), &params).unwrap();
    assert_eq!(
        gpu.open(0, params.leaves()).unwrap_err(),
        BackendError::NotCommitted { round: 0, leaf: params.leaves() }
    );
    // What is kept of 256 leaves: 8 nodes and those above them, 16 with the unused one.
    assert_eq!(host::damage(16 * 32), 1);
    let error = gpu.open(0, 9).unwrap_err();
    assert!(error.to_string().contains("this device is faulty"), "{error}");
}
