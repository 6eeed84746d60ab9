//! What the machine's NVIDIA devices do: that they agree with the CPU, and how fast they are.
//!
//! Times of rounds and fills are the device's own (events between kernels), those of walks this process'. Peaks are the
//! data sheet's, from the validators' table of classes; a device without a row gets none.

use std::sync::Arc;

use anyhow::{Context, ensure};
use basilica_cuda::claims::Claimed;
use basilica_cuda::{CudaBackend, RoundTimes};
use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{Advance, Backend, CpuBackend, ExactProduct, Pick, go_alone};
use basilica_proof::residency::{
    CACHE_LOG2_DEFAULT, Cache, Region, ResidencyParams, Space, Walk, WalkParams,
};
use basilica_proof::seed::Seed;
use basilica_proof::{DeviceReport, ProofParams};
use basilica_verification::asked::device_region;
use basilica_verification::classes::{self, GpuClass, Known};

use crate::measure::timed;

const SEED: Seed = Seed::from_bytes([0x42; 32]);
/// Steps of the walk that is timed: 137 GB in 2^17 lanes.
const STEPS: u32 = 1_024;
/// Random sizes that each device is compared on.
const CASES: u32 = 8;

type Print<'a> = &'a mut dyn FnMut(&str) -> anyhow::Result<()>;

/// What is measured; the defaults are what validators ask of a class.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    side: u32,
    inner: u32,
    cache_log2: u8,
    items: u64,
    lanes: u32,
    steps: u32,
    windows: u16,
}

impl Sizes {
    /// For a device of this class with this many bytes to fill.
    fn of(class: Option<&GpuClass>, fillable: u64) -> Self {
        let (side, inner) = class.map_or((16_384, 32_768), |class| class.shape);
        let items = class.map_or(u64::MAX, GpuClass::resident_items).min(fillable / 64);
        let asked = class.and_then(|class| device_region(class).ok());
        let (lanes, windows) =
            asked.map_or((1 << 17, 1), |region| (region.walk().lanes, region.walk().windows));
        Self { side, inner, cache_log2: CACHE_LOG2_DEFAULT, items, lanes, steps: STEPS, windows }
    }
}

/// Compares every device with the CPU on random small sizes.
pub(crate) fn self_test(devices: &[Claimed], print: Print<'_>) -> anyhow::Result<()> {
    for Claimed { device, report } in devices {
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy).context("draw random sizes")?;
        compare(&mut CudaBackend::new(device)?, &entropy, CASES)
            .with_context(|| format!("device {}: {}", report.index, report.uuid))?;
        print(&format!("{}\n  {CASES} random sizes: equal to the CPU", title(report)))?;
    }
    Ok(())
}

fn title(report: &DeviceReport) -> String {
    let facts = &report.facts;
    let (mib, sms) = (facts.memory_bytes >> 20, facts.sms);
    let capability = facts.compute_capability;
    format!(
        "device {}: {} {} ({sms} multiprocessors, {capability}, {mib} MiB)",
        report.index, report.class, report.uuid
    )
}

/// Rounds, openings, fills, walks and traces of random sizes, all of which follow from `entropy`.
fn compare(gpu: &mut CudaBackend, entropy: &[u8; 32], cases: u32) -> anyhow::Result<()> {
    let mut stream = blake3::Hasher::new_keyed(entropy).finalize_xof();
    let mut draw = || {
        let mut word = [0; 4];
        stream.fill(&mut word);
        u32::from_le_bytes(word)
    };
    let mut cpu = CpuBackend::new(ExactProduct(Kernel::detect()), 1, 2_048);
    let cache = Arc::new(Cache::new(*entropy, 10));
    for case in 0..cases {
        let seed = Seed::from_bytes(*blake3::hash(&draw().to_le_bytes()).as_bytes());
        let params = ProofParams::new(64 << (draw() % 4), 64 * (1 + draw() % 12), 1, 1)?;
        let leaf = draw() % params.leaves();
        let failed = || format!("{params:?}, leaf {leaf}, seed {seed:?}");
        ensure!(gpu.commit(&seed, &params)? == cpu.commit(&seed, &params)?, "another root: {}", failed());
        ensure!(gpu.open(case, leaf)? == cpu.open(case, leaf)?, "another leaf: {}", failed());
        let steps = 1 + draw() % 20;
        let walk = WalkParams {
            lanes: 2 << (draw() % 7),
            steps,
            reads: small(draw(), 16),
            windows: small(draw(), 4),
            barriers: small(draw(), 5).min(u16::try_from(steps)?) - 1,
            picks: 1,
            lanes_per_pick: 1,
        };
        let items = 1_024 + u64::from(draw() % 2_048);
        let params = ResidencyParams::new(Space::Device, items, small(draw(), 64), walk)?;
        let pick = Pick { step: draw() % walk.steps, lane: draw() % walk.lanes };
        let walk = Walk::new(Region::new(&seed, params), entropy);
        let (one, other) = (walked(gpu, &walk, &cache, pick)?, walked(&mut cpu, &walk, &cache, pick)?);
        ensure!(one == other, "another walk: {params:?}, {pick:?}, seed {seed:?}");
    }
    Ok(())
}

fn small(word: u32, most: u16) -> u16 {
    let [low, high, ..] = word.to_le_bytes();
    1 + u16::from_le_bytes([low, high]) % most
}

type Walked = (Vec<basilica_types::Digest>, Vec<basilica_proof::prover::Traced>);

fn walked(backend: &mut impl Backend, walk: &Walk, cache: &Arc<Cache>, pick: Pick) -> anyhow::Result<Walked> {
    backend.fill(walk.region(), cache)?;
    let (mut roots, mut step, mut passed) = (Vec::new(), 0.., walk.clone());
    backend.walk(walk, &mut |root| {
        roots.push(root);
        step.next().map_or(Advance::Stop, |step| go_alone(&mut passed, step, root))
    })?;
    Ok((roots, backend.trace(&passed, &[pick])?))
}

/// Measures every device, one after another.
pub(crate) fn bench(devices: &[Claimed], print: Print<'_>) -> anyhow::Result<()> {
    for Claimed { device, report } in devices {
        let class = match classes::known(&report.class) {
            Known::Card(class) => Some(class),
            Known::Simulated | Known::Unknown => None,
        };
        let mut gpu = CudaBackend::new(device)?;
        let sizes = Sizes::of(class, gpu.fillable(64 << CACHE_LOG2_DEFAULT)?);
        print(&title(report))?;
        let lines = work(&mut gpu, &sizes, class)?;
        print(&lines)?;
        print(&memory(&mut gpu, &sizes, class)?)?;
    }
    Ok(())
}

/// A round, by its parts.
fn work(gpu: &mut CudaBackend, sizes: &Sizes, class: Option<&GpuClass>) -> anyhow::Result<String> {
    let Sizes { side, inner, .. } = *sizes;
    let whole = best_round(gpu, &ProofParams::new(side, inner, 1, 1)?)?;
    let half = best_round(gpu, &ProofParams::new(side, inner / 2, 1, 1)?)?;
    // The product's time is that of its multiplications, which halve with k, and that of its leaves, which does not.
    let leaves = (2.0 * half.product - whole.product).max(0.0);
    let total = whole.rows + whole.product + whole.tree;
    let share = 100.0 * (whole.rows + leaves + whole.tree) / total;
    let operations = 2.0 * f64::from(side) * f64::from(side) * f64::from(inner);
    let rate = operations / (f64::from(whole.product) / 1e3) / 1e12;
    let of_peak = class.map_or(String::new(), |class| {
        format!(
            ", {:.1} % of the data sheet's {}",
            100.0 * rate / f64::from(class.int8_tops),
            class.int8_tops
        )
    });
    Ok(format!(
        "  round (n = {side}, k = {inner}): {total:.2} ms = rows {:.2} + product and leaves {:.2} + tree {:.2}\n  \
         hashing: {share:.1} % of it (leaves {leaves:.2} ms, from the product at k / 2)\n  \
         int8: {rate:.1} TOPS with the leaves{of_peak}",
        whole.rows, whole.product, whole.tree
    ))
}

/// The shortest of three.
fn best_round(gpu: &mut CudaBackend, params: &ProofParams) -> anyhow::Result<RoundTimes> {
    let sum = |times: &RoundTimes| times.rows + times.product + times.tree;
    let mut best = gpu.time_round(&SEED, params)?;
    for _ in 0..2 {
        let times = gpu.time_round(&SEED, params)?;
        if sum(&times) < sum(&best) {
            best = times;
        }
    }
    Ok(best)
}

/// Filling and reading memory.
fn memory(gpu: &mut CudaBackend, sizes: &Sizes, class: Option<&GpuClass>) -> anyhow::Result<String> {
    let cache = Arc::new(Cache::new([0x42; 32], sizes.cache_log2));
    let walk = WalkParams {
        lanes: sizes.lanes,
        steps: sizes.steps,
        reads: 16,
        windows: sizes.windows,
        barriers: 0,
        picks: 1,
        lanes_per_pick: 1,
    };
    let parents = classes::PARENTS;
    let params = ResidencyParams::new(Space::Device, sizes.items, parents, walk)?;
    let region = Region::new(&SEED, params);
    let filled = gpu.time_fill(&region, &cache)?;
    let seconds = f64::from(filled.items) / 1e3;
    let gigabytes = params.bytes() as f64 / 1e9;
    let mut steps = 0;
    let mut result = Ok(());
    let walk = Walk::new(region, &[0x42; 32]);
    let took = timed(&mut || {
        result = gpu.walk(&walk, &mut |_| {
            steps += 1;
            Advance::Go
        });
    });
    result?;
    ensure!(steps == sizes.steps, "the walk ended after {steps} steps of {}", sizes.steps);
    let read = params.bytes_read() as f64 / 1e9 / took.as_secs_f64().max(1e-9);
    let of_peak = class.map_or(String::new(), |class| {
        let peak = class.bandwidth_gbs;
        format!(", {:.1} % of the data sheet's {peak}", 100.0 * read / f64::from(peak))
    });
    Ok(format!(
        "  fill: {gigabytes:.1} GB in {seconds:.2} s, {:.1} GB/s of items, {:.0} GB/s of the cache ({parents} parents)\n  \
         walk: {read:.0} GB/s in reads of 64 bytes at random places ({} lanes, 16 reads a step, windows: {}){of_peak}",
        gigabytes / seconds.max(1e-9),
        gigabytes * f64::from(parents) / seconds.max(1e-9),
        sizes.lanes,
        sizes.windows,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu() -> CudaBackend {
        let driver = basilica_cuda::driver::Driver::load_from(basilica_cuda_host::driver()).unwrap();
        CudaBackend::new(&driver.devices().unwrap()[0]).unwrap()
    }

    #[test]
    fn a_device_is_compared_with_the_cpu() {
        compare(&mut gpu(), &[3; 32], 3).unwrap();
    }

    #[test]
    fn every_figure_is_there_and_is_named() {
        let sizes =
            Sizes { side: 256, inner: 128, cache_log2: 10, items: 2_048, lanes: 64, steps: 4, windows: 2 };
        let class = &classes::CLASSES[0];
        let said = work(&mut gpu(), &sizes, Some(class)).unwrap()
            + &memory(&mut gpu(), &sizes, Some(class)).unwrap();
        for name in
            ["round (n = 256, k = 128)", "hashing: ", "int8: ", "fill: ", "walk: ", "% of the data sheet's"]
        {
            assert!(said.contains(name), "{said}");
        }
        assert!(
            !work(&mut gpu(), &sizes, None).unwrap().contains("data sheet"),
            "no peak for an unknown class"
        );
    }

    #[test]
    fn a_class_is_measured_as_it_is_asked() {
        let class = &classes::CLASSES[0];
        let sizes = Sizes::of(Some(class), u64::MAX);
        assert_eq!((sizes.side, sizes.inner), class.shape);
        assert_eq!(sizes.items, class.resident_items());
        assert_eq!(Sizes::of(None, 1 << 30).items, 1 << 24, "what is free, where no class says more");
    }
}
