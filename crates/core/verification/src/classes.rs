//! What each class of GPU is, and what is asked of it.
//!
//! Everything here is from data sheets, white papers and what `nvidia-smi` prints; nothing was measured by us, and
//! nothing here decides whether a card was in time: that takes a measured calibration ([`crate::calibration`]).
//! Deadlines must hold against a cheater whose kernel reaches the whole data-sheet peak while the honest one reaches a
//! part of it (RULES R14), so this table is the cheater's speed, not ours.
//!
//! # Work asked
//! The product takes `2·n²·k` tensor operations a round. Beside it stand `12.5·2·n·k` 32-bit operations for the
//! matrices' cells and `50·n²` for the leaves ([`basilica_proof::prf`]), that is `12.5/n + 25/k` per tensor
//! operation: below 0.12 % at n = 32,768 and k = 65,536. Counted in time it is more, because a card does 70 to 260
//! times as many tensor as 32-bit operations: [`GpuClass::hash_share_permille`] says how much, at most a quarter for
//! every class. Shapes were chosen for that, within the verifier's budget (RULES R13): a longer k halves the leaves'
//! share, a larger n the cells'. Rounds are as many as take 3 s at the peak, far above any round trip.
//!
//! How many of N claimed cards that proves: [`crate::rigs`].
//!
//! Rejected: classes from a node's own figures (SM count, clock), which a patched driver prints as asked.

use basilica_proof::residency::PARENTS_DEFAULT;
use basilica_proof::{ClassName, ParamsError, ProofParams};
use basilica_types::Millis;

use crate::rigs::Rig;

/// Version of this table; a change to any row makes a new one.
pub const TABLE_VERSION: u16 = 1;
/// Bytes of one resident item.
pub const ITEM_BYTES: u64 = 64;
/// Serial parents of an item: what it takes to make a missing one again.
pub const PARENTS: u16 = PARENTS_DEFAULT;
/// Seconds that a walk takes at the card's peak. RULES R15 wants two; what a deadline must leave to the network and to hosts, most of a
/// second, would there be half of a walk, in which a card could fetch or make a tenth of the memory that it lacks.
pub const WALK_SECONDS: u64 = 10;
/// Barriers of a walk: segments of 100 ms at the peak, in which what is missing of a region cannot be brought in over the host's links.
pub const BARRIERS: u16 = 100;
/// The cache that items are made from (RULES R15: above any L2).
pub const CACHE_MIB: u64 = 256;
/// 32-bit operations to make one item: two compressions of 800 and a round of 100 per parent.
pub(crate) const ITEM_OPS: u64 = 2 * 800 + PARENTS as u64 * 100;
/// 32-bit integer results per SM and clock, for every class listed (CUDA C++ Programming Guide, "Arithmetic
/// Instructions", compute capability 8.0 to 10.0).
pub(crate) const INT_LANES: u64 = 64;
pub(crate) const PPM: u64 = 1_000_000;

/// One class of GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuClass {
    /// Our name.
    pub name: &'static str,
    /// The names that NVML gives its cards, exactly.
    pub nvml_names: &'static [&'static str],
    /// Memory as NVML reports it, in MiB.
    pub memory_mib: u64,
    /// Streaming multiprocessors.
    pub sms: u16,
    /// L2 cache in MiB.
    pub l2_mib: u16,
    /// Highest clock in MHz.
    pub boost_mhz: u16,
    /// Dense int8 peak in 10¹² operations a second, without sparsity.
    pub int8_tops: u32,
    /// Memory bandwidth in 10⁹ bytes a second.
    pub bandwidth_gbs: u32,
    /// Host link, one direction, in 10⁹ bytes a second: PCIe 4.0 x16 has 32, PCIe 5.0 x16 has 64 (PCI-SIG).
    pub host_link_gbs: u32,
    /// Side n and inner dimension k of the product.
    pub shape: (u32, u32),
    /// Share of the memory that must be resident, in thousandths; the rest, above a gigabyte, is for driver, cache and kernels.
    pub resident_permille: u16,
}

const WIDE: (u32, u32) = (32_768, 65_536);
const HUGE: (u32, u32) = (65_536, 65_536);
const SQUARE: (u32, u32) = (32_768, 32_768);

/// Every class with a row, see the module. Memory is what `nvidia-smi` prints as the total.
pub const CLASSES: &[GpuClass] = &[
    // NVIDIA A100 data sheet (624 TOPS int8; 1,555 GB/s) and GA100 white paper (108 SMs, 40 MB L2, 1,410 MHz).
    GpuClass {
        name: "a100-40gb",
        nvml_names: &["NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB"],
        memory_mib: 40_960,
        sms: 108,
        l2_mib: 40,
        boost_mhz: 1_410,
        int8_tops: 624,
        bandwidth_gbs: 1_555,
        host_link_gbs: 32,
        shape: SQUARE,
        resident_permille: 950,
    },
    // As above; 2,039 GB/s is the SXM card, the PCIe one has 1,935.
    GpuClass {
        name: "a100-80gb",
        nvml_names: &["NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"],
        memory_mib: 81_920,
        sms: 108,
        l2_mib: 40,
        boost_mhz: 1_410,
        int8_tops: 624,
        bandwidth_gbs: 2_039,
        host_link_gbs: 32,
        shape: SQUARE,
        resident_permille: 965,
    },
    // NVIDIA H100 data sheet: 3,026 TOPS with sparsity, 2 TB/s; Hopper white paper: 114 SMs, 50 MB L2, 1,755 MHz.
    GpuClass {
        name: "h100-pcie",
        nvml_names: &["NVIDIA H100 PCIe"],
        memory_mib: 81_559,
        sms: 114,
        l2_mib: 50,
        boost_mhz: 1_755,
        int8_tops: 1_513,
        bandwidth_gbs: 2_000,
        host_link_gbs: 64,
        shape: WIDE,
        resident_permille: 965,
    },
    // NVIDIA H100 data sheet: 3,958 TOPS with sparsity, 3.35 TB/s; white paper: 132 SMs, 50 MB L2; 1,980 MHz by NVML.
    GpuClass {
        name: "h100-sxm",
        nvml_names: &["NVIDIA H100 80GB HBM3"],
        memory_mib: 81_559,
        sms: 132,
        l2_mib: 50,
        boost_mhz: 1_980,
        int8_tops: 1_979,
        bandwidth_gbs: 3_350,
        host_link_gbs: 64,
        shape: WIDE,
        resident_permille: 965,
    },
    // NVIDIA H200 data sheet: as the H100 with 141 GB at 4.8 TB/s.
    GpuClass {
        name: "h200",
        nvml_names: &["NVIDIA H200"],
        memory_mib: 143_771,
        sms: 132,
        l2_mib: 50,
        boost_mhz: 1_980,
        int8_tops: 1_979,
        bandwidth_gbs: 4_800,
        host_link_gbs: 64,
        shape: WIDE,
        resident_permille: 970,
    },
    // NVIDIA HGX B200 data sheet: 9 POPS int8 with sparsity, 8 TB/s; 148 SMs and 1,965 MHz as the driver reports them;
    // L2 126 MB (NVIDIA Blackwell tuning guide). PCIe 5.0 in HGX systems.
    GpuClass {
        name: "b200",
        nvml_names: &["NVIDIA B200"],
        memory_mib: 183_359,
        sms: 148,
        l2_mib: 126,
        boost_mhz: 1_965,
        int8_tops: 4_500,
        bandwidth_gbs: 8_000,
        host_link_gbs: 64,
        shape: HUGE,
        resident_permille: 970,
    },
    // NVIDIA Ada white paper: 660.6 TOPS int8 dense, 128 SMs, 72 MB L2, 2,520 MHz, 1,008 GB/s.
    GpuClass {
        name: "rtx-4090",
        nvml_names: &["NVIDIA GeForce RTX 4090"],
        memory_mib: 24_564,
        sms: 128,
        l2_mib: 72,
        boost_mhz: 2_520,
        int8_tops: 661,
        bandwidth_gbs: 1_008,
        host_link_gbs: 32,
        shape: SQUARE,
        resident_permille: 945,
    },
    // NVIDIA L40S data sheet: 733 TOPS int8 dense, 864 GB/s; Ada white paper: 142 SMs, 96 MB L2; 2,520 MHz.
    GpuClass {
        name: "l40s",
        nvml_names: &["NVIDIA L40S"],
        memory_mib: 46_068,
        sms: 142,
        l2_mib: 96,
        boost_mhz: 2_520,
        int8_tops: 733,
        bandwidth_gbs: 864,
        host_link_gbs: 32,
        shape: SQUARE,
        resident_permille: 955,
    },
];

/// What a class name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// A row of [`CLASSES`].
    Card(&'static GpuClass),
    /// A class that a CPU plays, on development chains only (RULES R18).
    Simulated,
    /// A card without a row: uncalibrated, never failed for it.
    Unknown,
}

/// Looks a claimed class up by the exact name that NVML gives.
pub fn known(class: &ClassName) -> Known {
    if class.is_simulated() {
        return Known::Simulated;
    }
    let named = |card: &&GpuClass| card.nvml_names.contains(&class.as_str());
    CLASSES.iter().find(named).map_or(Known::Unknown, Known::Card)
}

/// How the walks of several cards hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walks {
    /// Each for itself: one may be walked after the other.
    Apart,
    /// Each segment needs the roots of all walks' segments before it, so that all regions are needed in every one.
    InStep {
        /// Segments of a walk.
        segments: u16,
    },
}

/// How the walks that are asked for hang together.
pub const WALKS: Walks = Walks::InStep { segments: BARRIERS + 1 };

/// The longest a stage may take, by the validator's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the start nonce to the last root.
    pub work: Millis,
    /// From the walk's nonce to its last root; none where residency is not asked for.
    pub walk: Option<Millis>,
}

impl GpuClass {
    /// Products in a row that take 3 s at the card's peak.
    pub fn rounds(&self) -> u32 {
        const LEAST_MS: u64 = 3_000;
        let rounds = (LEAST_MS * 1_000).div_ceil(self.round_at_peak_us());
        u32::try_from(rounds).expect("a round takes more than a microsecond")
    }

    /// The work asked, with `openings` openings.
    ///
    /// # Errors
    /// If the number of openings is out of bounds.
    pub fn work(&self, openings: u32) -> Result<ProofParams, ParamsError> {
        ProofParams::new(self.shape.0, self.shape.1, self.rounds(), openings)
    }

    /// Items of [`ITEM_BYTES`] that must be resident.
    pub const fn resident_items(&self) -> u64 {
        self.memory_mib * 1_048_576 / 1_000 * self.resident_permille as u64 / ITEM_BYTES
    }

    /// Bytes that the walk reads: as many as take [`WALK_SECONDS`] at the card's peak.
    pub const fn walk_bytes(&self) -> u64 {
        WALK_SECONDS * self.bandwidth_gbs as u64 * 1_000_000_000
    }

    /// Shortest time for the work, at the data-sheet peak.
    pub fn work_at_peak(&self) -> Millis {
        Millis(u64::from(self.rounds()) * self.round_at_peak_us() / 1_000)
    }

    /// Shortest time for the walk, at the data-sheet bandwidth.
    pub const fn walk_at_peak(&self) -> Millis {
        Millis(self.walk_bytes() / (self.bandwidth_gbs as u64 * 1_000_000))
    }

    /// Time of the hashing beside the product, in thousandths of the product's, both at the card's peak.
    pub const fn hash_share_permille(&self) -> u64 {
        let (n, k) = (self.shape.0 as u64, self.shape.1 as u64);
        // 12.5 operations for each of 2·n·k cells, 50 for each of n² committed ones.
        let operations = n * (25 * k + 50 * n);
        let micros = operations / self.int_operations_per_us();
        micros * 1_000 / self.round_at_peak_us()
    }

    /// The share of its memory that a card needs at the least to walk within `walk`, in thousandths: the rest it can make or fetch in
    /// time. A cheater reads at the peak, and the deadline follows an honest card, which does not: hence the loss.
    pub fn enforced_permille(&self, walk: Millis) -> u64 {
        let card = Rig::of([self]);
        let within = |missing: &u64| self.walk_at_peak().0 * card.slowdown_ppm(*missing) / PPM <= walk.0;
        let missing = (0..=PPM).step_by(500).take_while(within).last().unwrap_or(0);
        u64::from(self.resident_permille) * (PPM - missing) / PPM
    }

    const fn round_at_peak_us(&self) -> u64 {
        let (n, k) = (self.shape.0 as u64, self.shape.1 as u64);
        2 * n * n / 1_000 * k / (self.int8_tops as u64 * 1_000)
    }

    const fn int_operations_per_us(&self) -> u64 {
        self.sms as u64 * INT_LANES * self.boost_mhz as u64
    }
}

#[cfg(test)]
mod tests;
