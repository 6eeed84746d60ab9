use std::sync::Arc;

use basilica_cuda::CudaBackend;
use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{Advance, Backend, BackendError, CpuBackend, ExactProduct, Pick, go_alone};
use basilica_proof::residency::{Cache, Region, ResidencyParams, Space, Walk, WalkParams};
use basilica_proof::seed::Seed;
use basilica_types::Digest;
use proptest::prelude::*;

use crate::host;

fn cache() -> Arc<Cache> {
    Arc::new(Cache::new([5; 32], 10))
}

fn region(seed: u8, space: Space, items: u64, parents: u16, walk: (u32, u32, u16, u16)) -> Region {
    let (lanes, steps, reads, windows) = walk;
    let barriers = u16::try_from((steps - 1).min(3)).unwrap();
    let walk = WalkParams { lanes, steps, reads, windows, barriers, picks: 4, lanes_per_pick: 2 };
    Region::new(&Seed::from_bytes([seed; 32]), ResidencyParams::new(space, items, parents, walk).unwrap())
}

/// Walks alone, past its barriers.
fn roots(backend: &mut impl Backend, walk: &mut Walk) -> Vec<Digest> {
    let mut roots = Vec::new();
    let begun = walk.clone();
    let mut step = 0..;
    let mut keep = |root| {
        roots.push(root);
        go_alone(walk, step.next().unwrap(), root)
    };
    backend.walk(&begun, &mut keep).unwrap();
    roots
}

/// Fills, walks and traces on both.
fn compare(region: &Region, nonce: [u8; 32]) {
    let mut gpu = CudaBackend::new(&host::device()).unwrap();
    let mut cpu = CpuBackend::new(ExactProduct(Kernel::detect()), 1, 64);
    let cache = cache();
    gpu.fill(region, &cache).unwrap();
    cpu.fill(region, &cache).unwrap();
    let mut walk = Walk::new(*region, &nonce);
    let found = roots(&mut gpu, &mut walk.clone());
    assert_eq!(found, roots(&mut cpu, &mut walk), "{:?}", region.params());
    let shape = region.params().walk();
    let (steps, lanes) = (shape.steps, shape.lanes);
    assert_eq!(found.len(), steps as usize);
    // Out of order, one twice, the first step (which has no step before it) and neighbours that share a tree.
    let picks = [(steps - 1, lanes - 1), (0, 0), (steps / 2, lanes / 2), (steps - 1, 0), (0, 0)]
        .map(|(step, lane)| Pick { step, lane });
    assert_eq!(gpu.trace(&walk, &picks).unwrap(), cpu.trace(&walk, &picks).unwrap());
}

#[test]
fn memory_is_filled_and_walked_as_the_cpu_does() {
    // Batches of 16 roots: fewer, as many, and more steps; trees of one and of two launches.
    for (items, parents, walk) in [
        (1_024, 64, (32, 1, 16, 1)),
        (1_057, 1, (2, 16, 1, 1)),
        (4_096, 17, (64, 17, 3, 1)),
        (2_000, 5, (1_024, 33, 2, 1)),
    ] {
        compare(&region(3, Space::Device, items, parents, walk), [8; 32]);
    }
}

#[test]
fn lanes_keep_to_their_windows_whatever_divides_what() {
    for (items, lanes, windows) in
        [(1_024, 64, 2), (1_031, 128, 3), (5_000, 4, 7), (1_500, 2, 64), (1_024, 256, 64)]
    {
        compare(&region(4, Space::Device, items, 3, (lanes, 3, 4, windows)), [1; 32]);
    }
}

#[test]
fn the_hosts_memory_is_read_by_the_device() {
    compare(&region(9, Space::Host, 1_500, 20, (16, 4, 8, 1)), [2; 32]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn random_shapes_agree(
        seed: u8, items in 1_024u64..3_000, parents in 1u16..40, lanes in 1u32..8, steps in 1u32..20, reads in 1u16..9,
        windows in 1u16..9, nonce in any::<[u8; 32]>(),
    ) {
        compare(&region(seed, Space::Device, items, parents, (1 << lanes, steps, reads, windows)), nonce);
    }
}

#[test]
fn both_spaces_are_held_at_once_and_a_walk_stops_when_told() {
    let mut gpu = CudaBackend::new(&host::device()).unwrap();
    let cache = cache();
    let device = region(1, Space::Device, 1_024, 4, (8, 40, 2, 1));
    let host = region(1, Space::Host, 1_024, 4, (8, 40, 2, 1));
    gpu.fill(&device, &cache).unwrap();
    gpu.fill(&host, &cache).unwrap();
    let (one, mut other) = (Walk::new(device, &[1; 32]), Walk::new(host, &[1; 32]));
    assert_ne!(roots(&mut gpu, &mut one.clone()), roots(&mut gpu, &mut other));
    let mut seen = 0;
    let mut stop = |_| {
        seen += 1;
        if seen < 3 { Advance::Go } else { Advance::Stop }
    };
    gpu.walk(&one, &mut stop).unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn what_does_not_fit_or_was_not_filled_is_refused_by_name() {
    let mut gpu = CudaBackend::new(&host::device()).unwrap();
    let before = host::live();
    let large = region(1, Space::Device, 1 << 34, 4, (8, 4, 2, 1));
    let BackendError::Memory { space: Space::Device, asked, available } =
        gpu.fill(&large, &cache()).unwrap_err()
    else {
        panic!("a terabyte does not fit");
    };
    assert!(asked == 1 << 40 && available < 1 << 30);
    let disk = region(1, Space::Disk, 1_024, 4, (8, 4, 2, 1));
    assert!(matches!(gpu.fill(&disk, &cache()), Err(BackendError::Memory { space: Space::Disk, .. })));
    let never = gpu.walk(&Walk::new(large, &[0; 32]), &mut |_| Advance::Go).unwrap_err();
    assert_eq!(never, BackendError::NotFilled(Space::Device));
    assert_eq!(host::live(), before, "nothing is left of what was refused");
    let small = region(1, Space::Device, 1_024, 4, (8, 4, 2, 1));
    gpu.fill(&small, &cache()).unwrap();
    let mut walk = Walk::new(small, &[0; 32]);
    roots(&mut gpu, &mut walk);
    assert!(matches!(gpu.trace(&walk, &[Pick { step: 3, lane: 8 }]), Err(BackendError::Device(_))));
    host::fail_next("walk_turn", 719);
    let failed = gpu.walk(&Walk::new(small, &[0; 32]), &mut |_| Advance::Go).unwrap_err();
    assert!(failed.to_string().contains("CUDA_ERROR_LAUNCH_FAILED"), "{failed}");
}
