//! Which claimed GPUs count, and as what.
//!
//! A class counts only with work whose size and deadline were measured for it (RULES R14): a proof sized for a CPU says
//! nothing about a card, and the class is a text that anybody can type. In this version only the simulated class has
//! such a calibration, so every other one is turned away without a fault of its node, until calibration exists. The
//! shipped prover claims nothing but simulated GPUs; to refuse those on a real chain is likewise our limit, not
//! the node's fault.

use std::str::FromStr;

use basilica_proof::claim::{ClaimReport, ClassName, DeviceReport};
use basilica_types::{BlockHash, Category, GpuUuid};

use crate::Reason;
use crate::fingerprint::{Card, Difference};

/// Genesis hashes of finney and of the test network: no simulated GPU counts there, whatever else they carry.
const REAL_CHAINS: [&str; 2] = [
    "2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03",
    "8f9cf856bf558a14440e75569c9e58594757048d7b3a84b5d25f6bd978263105",
];

/// One GPU as its node describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedGpu {
    /// Index on the node.
    pub index: u16,
    /// The device's UUID: a claim (RULES R10).
    pub uuid: GpuUuid,
    /// The device's class, such as `NVIDIA H100 80GB HBM3`.
    pub class: ClassName,
}

/// A GPU that a passed full check stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProvenGpu {
    /// The device.
    pub uuid: GpuUuid,
    /// Which slice of the emission it shares in.
    pub category: Category,
}

/// Which classes are accepted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuRules {
    /// Accept GPUs that a CPU plays: config allows it **and** the chain carries the development marker (RULES R18).
    simulated: bool,
}

impl GpuRules {
    /// Simulated GPUs count only where both agree; `allowed` alone, on any real chain, changes nothing (RULES R18).
    pub fn new(allowed: bool, development_chain: bool, genesis: &BlockHash) -> Self {
        let real = REAL_CHAINS.contains(&genesis.to_string().as_str());
        Self { simulated: allowed && development_chain && !real }
    }

    /// Whether simulated GPUs count.
    pub const fn accepts_simulated(self) -> bool {
        self.simulated
    }

    /// The category that a class belongs to, if proofs of that class count here.
    pub fn category(self, class: &ClassName) -> Result<Category, UnacceptableGpu> {
        let refused = |reason| Err(UnacceptableGpu { class: class.clone(), reason, difference: None });
        match (class.is_simulated(), self.simulated) {
            (true, true) => Ok(category_of(class.as_str())),
            (true, false) => refused(Reason::SimulatedGpuRefused),
            (false, _) => refused(Reason::GpuClassUncalibrated),
        }
    }

    /// All claims of a report with their categories, or the first that does not count.
    pub fn judge(self, report: &ClaimReport) -> Result<Vec<ProvenGpu>, UnacceptableGpu> {
        let judged = report.devices.iter().map(|device| {
            let category = self.category(&device.class);
            // Of a card that we know, the contradiction says more than that it is not calibrated.
            if category.is_ok() || !device.class.is_simulated() {
                is_its_class(device)?;
            }
            Ok(ProvenGpu { uuid: device.uuid, category: category? })
        });
        judged.collect()
    }
}

/// Whether what a device shows can be the card that its class names.
fn is_its_class(device: &DeviceReport) -> Result<(), UnacceptableGpu> {
    let fields = Card::of(&device.class).map_or_else(Vec::new, |card| card.contradictions(&device.facts));
    if fields.is_empty() {
        return Ok(());
    }
    Err(UnacceptableGpu {
        class: device.class.clone(),
        reason: Reason::GpuClaimsContradictClass,
        difference: Some(Difference { uuid: device.uuid, fields }),
    })
}

/// A claimed GPU that does not count here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gpu class {class}: {reason}")]
pub struct UnacceptableGpu {
    /// What was claimed.
    pub class: ClassName,
    /// Why it does not count.
    pub reason: Reason,
    /// In what it contradicts its class, if that is why.
    pub difference: Option<Difference>,
}

/// The first category whose name is a word of the class name: `NVIDIA H100 80GB HBM3` and `simulated-H100` are H100.
///
/// Whole words only: the original looked for substrings, which lets `NVIDIA A1000` pass for an A100.
pub(crate) fn category_of(class: &str) -> Category {
    let words = || class.split(|c: char| !c.is_ascii_alphanumeric());
    let named = |category: &Category| words().any(|word| word.eq_ignore_ascii_case(category.as_str()));
    Category::ALL.into_iter().filter(|c| *c != Category::Other).find(named).unwrap_or(Category::Other)
}

/// A category by the name that config and wire use.
pub(crate) fn category_by_name(name: &str) -> Option<Category> {
    Category::ALL.into_iter().find(|category| category.as_str() == name)
}

/// A class name that this program wrote before.
pub(crate) fn class_by_name(name: &str) -> Option<ClassName> {
    ClassName::from_str(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blame, Fault};

    const LAPTOP: BlockHash = BlockHash::from_bytes([9; 32]);

    fn class(name: &str) -> ClassName {
        name.parse().unwrap()
    }

    #[test]
    fn names_of_cards_find_their_category() {
        for (name, category) in [
            ("NVIDIA H100 80GB HBM3", Category::H100),
            ("NVIDIA H100 PCIe", Category::H100),
            ("NVIDIA H200", Category::H200),
            ("NVIDIA A100-SXM4-80GB", Category::A100),
            ("NVIDIA B200", Category::B200),
            ("NVIDIA A1000", Category::Other),
            ("NVIDIA GeForce RTX 4090", Category::Other),
        ] {
            assert_eq!(category_of(name), category, "{name}");
        }
    }

    #[test]
    fn a_typed_class_name_without_calibration_counts_nowhere_and_is_no_fault() {
        for allowed in [false, true] {
            let rules = GpuRules::new(allowed, allowed, &LAPTOP);
            for name in ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 4090"] {
                assert_eq!(rules.category(&class(name)).unwrap_err().reason, Reason::GpuClassUncalibrated);
            }
        }
        for reason in [Reason::GpuClassUncalibrated, Reason::SimulatedGpuRefused] {
            assert_eq!(reason.blame(), Blame::Elsewhere(Fault::Validator));
        }
    }

    #[test]
    fn a_simulated_gpu_counts_only_where_config_and_chain_agree() {
        let simulated = class("simulated-H100");
        assert_eq!(GpuRules::new(true, true, &LAPTOP).category(&simulated), Ok(Category::H100));
        for (allowed, development) in [(false, false), (true, false), (false, true)] {
            let refused = GpuRules::new(allowed, development, &LAPTOP).category(&simulated).unwrap_err();
            assert_eq!(refused.reason, Reason::SimulatedGpuRefused);
        }
        for real in REAL_CHAINS {
            assert!(!GpuRules::new(true, true, &real.parse().unwrap()).accepts_simulated());
        }
    }
}
