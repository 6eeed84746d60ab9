//! Which claimed GPUs count, and as what.
//!
//! A class counts only with deadlines that were measured for it and for its driver ([`crate::calibration`], RULES R14): the class is a
//! text that anybody can type, and without a deadline nothing tells a card from a slower one. So of a node's devices
//! - those with a calibration are asked to prove, and count if they do;
//! - where there is none of them, those whose class is known are asked with that class's work and memory, which shows
//!   that they could, and count for nothing (`gpu_class_uncalibrated`, whatever they answer): no kernel of ours has been
//!   measured on such a card, so neither its time nor an error of ours is held against its node;
//! - those that nothing is known of (a display card), and simulated ones on a real chain, are left out.
//!
//! Only if nothing is left is the whole node turned away, for the reason of its first device, without a fault of its own. What
//! contradicts its class is turned away always: that is no card of another class but a typed name.

use std::collections::BTreeSet;
use std::str::FromStr;

use basilica_proof::claim::{ClaimReport, ClassName, DeviceReport};
use basilica_types::{BlockHash, Category, GpuUuid};

use crate::Reason;
use crate::calibration::{CALIBRATIONS, Calibration, find};
use crate::cards::CardTable;
use crate::classes::{Known, known};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuRules {
    /// Accept GPUs that a CPU plays: config allows it **and** the chain carries the development marker (RULES R18).
    simulated: bool,
    /// By which table they count.
    calibrations: &'static [Calibration],
    /// By which table they are paid.
    cards: CardTable,
}

/// What becomes of one device of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It counts if it proves what is asked.
    Counts(Category),
    /// It can be asked, and nothing tells whether it was in time.
    Uncalibrated,
    /// Nothing is known to ask of it, or it is not accepted here.
    Refused(Reason),
}

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The devices that are challenged; at least one.
    pub asked: Vec<DeviceReport>,
    /// What they stand for if their proof holds; nothing if they are uncalibrated.
    pub gpus: Vec<ProvenGpu>,
}

impl GpuRules {
    /// Simulated GPUs count only where both agree; `allowed` alone, on any real chain, changes nothing (RULES R18).
    pub fn new(allowed: bool, development_chain: bool, genesis: &BlockHash) -> Self {
        let real = REAL_CHAINS.contains(&genesis.to_string().as_str());
        let simulated = allowed && development_chain && !real;
        Self { simulated, calibrations: CALIBRATIONS, cards: CardTable::built_in() }
    }

    /// The same rules by other calibrations.
    #[must_use]
    pub fn with_calibrations(self, calibrations: &'static [Calibration]) -> Self {
        Self { calibrations, ..self }
    }

    /// The same rules by another table of cards.
    #[must_use]
    pub fn with_cards(self, cards: CardTable) -> Self {
        Self { cards, ..self }
    }

    /// Whether simulated GPUs count.
    pub const fn accepts_simulated(&self) -> bool {
        self.simulated
    }

    /// Which card shares in which category.
    pub const fn cards(&self) -> &CardTable {
        &self.cards
    }

    fn use_of(&self, device: &DeviceReport) -> Use {
        let DeviceReport { class, facts, .. } = device;
        if class.is_simulated() && !self.simulated {
            return Use::Refused(Reason::SimulatedGpuRefused);
        }
        match (known(class), find(self.calibrations, class, facts.driver.major())) {
            (Known::Unknown, _) => Use::Refused(Reason::GpuClassUncalibrated),
            (Known::Card(_) | Known::Simulated, Some(_)) => {
                Use::Counts(self.cards.category(class, facts.memory_bytes))
            }
            (Known::Card(_) | Known::Simulated, None) => Use::Uncalibrated,
        }
    }

    /// The GPUs of a report that a full check would ask; of one that it would turn away, all.
    pub fn shown(&self, report: &ClaimReport) -> BTreeSet<GpuUuid> {
        let uuids = |devices: &[DeviceReport]| devices.iter().map(|device| device.uuid).collect();
        self.judge(report).map_or_else(|_| uuids(&report.devices), |judged| uuids(&judged.asked))
    }

    /// What to ask of the devices of a report, or why nothing is.
    pub fn judge(&self, report: &ClaimReport) -> Result<Judged, UnacceptableGpu> {
        let (mut counting, mut gpus, mut uncalibrated) = (Vec::new(), Vec::new(), Vec::new());
        let mut refused = None;
        for device in &report.devices {
            let its_use = self.use_of(device);
            // Of a card that we know, the contradiction says more than that it is not calibrated.
            if its_use != Use::Refused(Reason::SimulatedGpuRefused) {
                is_its_class(device)?;
            }
            match its_use {
                Use::Counts(category) => {
                    counting.push(device.clone());
                    gpus.push(ProvenGpu { uuid: device.uuid, category });
                }
                Use::Uncalibrated => uncalibrated.push(device.clone()),
                Use::Refused(reason) => {
                    let class = device.class.clone();
                    refused = refused.or(Some(UnacceptableGpu { class, reason, difference: None }));
                }
            }
        }
        match refused {
            Some(refused) if counting.is_empty() && uncalibrated.is_empty() => Err(refused),
            _ if counting.is_empty() => Ok(Judged { asked: uncalibrated, gpus }),
            _ => Ok(Judged { asked: counting, gpus }),
        }
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
    use crate::calibration::Subject;
    use crate::{Blame, Fault};
    use basilica_proof::DeviceFacts;

    const LAPTOP: BlockHash = BlockHash::from_bytes([9; 32]);

    fn class(name: &str) -> ClassName {
        name.parse().unwrap()
    }

    /// One device of each class, in this order, under driver 570.
    fn report(classes: &[&str]) -> ClaimReport {
        let device = |(index, name): (u16, &&str)| {
            let class = class(name);
            let facts = DeviceFacts::simulated(&class, index);
            let uuid = GpuUuid::from_bytes([u8::try_from(index).unwrap(); 16]);
            DeviceReport { index, uuid, class, facts }
        };
        ClaimReport::new(None, (0..).zip(classes).map(device).collect()).unwrap()
    }

    fn rules(simulated: bool) -> GpuRules {
        GpuRules::new(simulated, simulated, &LAPTOP)
    }

    /// Indexes of what is asked, and how many of them count.
    fn judged(rules: &GpuRules, classes: &[&str]) -> Result<(Vec<u16>, usize), Reason> {
        let judged = rules.judge(&report(classes)).map_err(|refused| refused.reason)?;
        Ok((judged.asked.iter().map(|device| device.index).collect(), judged.gpus.len()))
    }

    const H100: &str = "NVIDIA H100 80GB HBM3";
    const DISPLAY: &str = "NVIDIA T400 4GB";

    /// A table in which the H100 has a row, for the driver that [`report`] shows.
    fn with_a_row() -> GpuRules {
        const ROWS: &[Calibration] = &[
            CALIBRATIONS[0],
            Calibration {
                subject: Subject::Card { class: "h100-sxm", driver_major: 570 },
                ..CALIBRATIONS[0]
            },
        ];
        rules(true).with_calibrations(ROWS)
    }

    #[test]
    fn a_class_without_calibration_is_asked_and_counts_for_nothing() {
        for rules in [&rules(false), &rules(true)] {
            for name in [H100, "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 4090"] {
                assert_eq!(judged(rules, &[name]), Ok((vec![0], 0)), "{name}");
            }
            assert_eq!(judged(rules, &[DISPLAY]), Err(Reason::GpuClassUncalibrated), "nothing to ask");
        }
        for reason in [Reason::GpuClassUncalibrated, Reason::SimulatedGpuRefused] {
            assert_eq!(reason.blame(), Blame::Elsewhere(Fault::Validator));
        }
    }

    #[test]
    fn a_row_in_the_table_makes_its_class_count_under_its_driver() {
        assert_eq!(report(&[H100]).devices[0].facts.driver.major(), Some(570));
        assert_eq!(judged(&with_a_row(), &[H100, H100]), Ok((vec![0, 1], 2)));
        assert_eq!(judged(&with_a_row(), &["NVIDIA H200"]), Ok((vec![0], 0)));
    }

    #[test]
    fn a_card_that_cannot_count_does_not_void_those_that_do() {
        assert_eq!(judged(&with_a_row(), &[DISPLAY, H100, "NVIDIA H200"]), Ok((vec![1], 1)));
        assert_eq!(judged(&rules(true), &[DISPLAY, "simulated-H100"]), Ok((vec![1], 1)));
        assert_eq!(judged(&rules(false), &["simulated-H100", H100]), Ok((vec![1], 0)));
        assert_eq!(judged(&rules(false), &[DISPLAY, "simulated-H100"]), Err(Reason::GpuClassUncalibrated));
    }

    #[test]
    fn a_simulated_gpu_counts_only_where_config_and_chain_agree() {
        assert_eq!(judged(&rules(true), &["simulated-H100"]), Ok((vec![0], 1)));
        for (allowed, development) in [(false, false), (true, false), (false, true)] {
            let refused = judged(&GpuRules::new(allowed, development, &LAPTOP), &["simulated-H100"]);
            assert_eq!(refused, Err(Reason::SimulatedGpuRefused));
        }
        for real in REAL_CHAINS {
            assert!(!GpuRules::new(true, true, &real.parse().unwrap()).accepts_simulated());
        }
    }
}
