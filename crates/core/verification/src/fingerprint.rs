//! What a GPU showed first, and what it may never show differently (tier T7).
//!
//! A UUID belongs to one chip, and a chip does not change its multiprocessors, its cache, its memory or its model. So what
//! a node first tells of a UUID, together with a proof that passes, is kept as that GPU's fingerprint on that node (trust on
//! first use). A later telling that differs in any of it is a drift: the node puts another card behind a UUID that it was
//! paid for, or its owner types numbers. Everything here is the node's own word, so a drift is never a confirmed fault
//! (RULES R10): the node is on hold and unpaid until it shows what it showed first, or until the fingerprint, no longer shown,
//! is forgotten with the rest of the node's history. A card that moves to another slot, a driver that is renewed
//! and a system that is installed anew (its machine id) are noted and kept up with.
//!
//! The same numbers are compared with the class that the node claims: a `simulated-H100` with the multiprocessors of an
//! A100 contradicts itself, and is not even challenged. That is no confirmed fault either: the table of cards is
//! ours, and a variant that it lacks must not ban an honest node.
//!
//! Fingerprints are kept for each node apart. One table for all nodes would let whoever types a UUID first decide what its
//! true owner must show.

use std::fmt;
use std::ops::RangeInclusive;

use basilica_proof::claim::{ClassName, ComputeCapability, DeviceFacts};
use basilica_types::{Digest, GpuUuid};

use crate::cards::plays_a_card;
use crate::classes::{self, Known};

/// Sizes that drivers tell differently: of memory they reserve a part that grew with their versions (A100 80 GB: 81,920 or
/// 81,251 MiB), error correction takes 1/16 of cards without HBM, and data sheets round caches.
const SIZE_TOLERANCE_PERCENT: u64 = 7;

/// One thing that a driver tells of a GPU, by its name in the claim report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `memory_bytes`.
    Memory,
    /// `sms`.
    Sms,
    /// `compute_capability`.
    ComputeCapability,
    /// `l2_bytes`.
    L2,
    /// `sm_clock_max_mhz`.
    SmClockMax,
    /// `pci_id`.
    PciId,
    /// `mig`.
    Mig,
    /// `pci_bus`.
    PciBus,
    /// `driver`.
    Driver,
    /// `machine`, of the whole report.
    Machine,
}

impl Field {
    /// The name in the claim report, in logs and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory_bytes",
            Self::Sms => "sms",
            Self::ComputeCapability => "compute_capability",
            Self::L2 => "l2_bytes",
            Self::SmClockMax => "sm_clock_max_mhz",
            Self::PciId => "pci_id",
            Self::Mig => "mig",
            Self::PciBus => "pci_bus",
            Self::Driver => "driver",
            Self::Machine => "machine",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is remembered of a GPU on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Which GPU.
    pub uuid: GpuUuid,
    /// What NVML and the driver told.
    pub facts: DeviceFacts,
    /// The machine that it was in, if the node told.
    pub machine: Option<Digest>,
}

/// In what a GPU differs from what it must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which GPU.
    pub uuid: GpuUuid,
    /// In what, without repetition.
    pub fields: Vec<Field>,
}

/// How a GPU differs from its fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// What a GPU cannot change: puts its node on hold.
    pub held: Vec<Field>,
    /// What an operator may change.
    pub noted: Vec<Field>,
}

impl Drift {
    /// Compares what is shown now with what was shown first. What one of them does not tell does not differ.
    pub fn between(before: &Fingerprint, shown: &Fingerprint) -> Self {
        let (first, now) = (&before.facts, &shown.facts);
        let told_apart = |first: Option<u32>, now: Option<u32>| first.zip(now).is_some_and(|(a, b)| a != b);
        let held = [
            (!is_near(first.memory_bytes, now.memory_bytes), Field::Memory),
            (first.sms != now.sms, Field::Sms),
            (first.compute_capability != now.compute_capability, Field::ComputeCapability),
            (first.l2_bytes != now.l2_bytes, Field::L2),
            (told_apart(first.sm_clock_max_mhz, now.sm_clock_max_mhz), Field::SmClockMax),
            (first.pci_id != now.pci_id, Field::PciId),
            (told_apart(first.mig.map(u32::from), now.mig.map(u32::from)), Field::Mig),
        ];
        let noted = [
            (first.pci_bus != now.pci_bus, Field::PciBus),
            (first.driver != now.driver, Field::Driver),
            (before.machine.zip(shown.machine).is_some_and(|(a, b)| a != b), Field::Machine),
        ];
        Self { held: named(&held), noted: named(&noted) }
    }
}

/// The fingerprint to keep after a pass: what a GPU cannot change stays as it was first, however slowly it is moved; the
/// rest is kept up with.
#[must_use]
pub fn renewed(before: &Fingerprint, shown: &Fingerprint) -> Fingerprint {
    let (first, now) = (&before.facts, &shown.facts);
    let facts = DeviceFacts {
        sm_clock_max_mhz: first.sm_clock_max_mhz.or(now.sm_clock_max_mhz),
        mig: first.mig.or(now.mig),
        pci_bus: now.pci_bus,
        driver: now.driver.clone(),
        ..first.clone()
    };
    Fingerprint { uuid: before.uuid, facts, machine: shown.machine.or(before.machine) }
}

fn named(differs: &[(bool, Field)]) -> Vec<Field> {
    differs.iter().filter(|(differs, _)| *differs).map(|(_, field)| *field).collect()
}

fn is_near(one: u64, other: u64) -> bool {
    one.abs_diff(other).saturating_mul(100) <= one.max(other).saturating_mul(SIZE_TOLERANCE_PERCENT)
}

/// What passes for a card of so much memory, both ends included, and at most a byte more.
pub(crate) fn tolerated(bytes: u64) -> RangeInclusive<u64> {
    let near = 100_u64.saturating_sub(SIZE_TOLERANCE_PERCENT);
    bytes.saturating_mul(near) / 100..=bytes.saturating_mul(100).div_ceil(near)
}

/// What a card's data sheet says, as far as it tells one from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Device memory, in bytes.
    pub memory_bytes: u64,
    /// Multiprocessors that are switched on.
    pub sms: u32,
    /// Instruction set; none where our table has none.
    pub compute_capability: Option<ComputeCapability>,
    /// Level-2 cache, in bytes.
    pub l2_bytes: u64,
}

impl Card {
    /// The card that a class is named after; none if the name is of no card that we know.
    pub fn of(class: &ClassName) -> Option<Self> {
        match classes::known(class) {
            Known::Card(card) => Some(Self {
                memory_bytes: card.memory_mib << 20,
                sms: u32::from(card.sms),
                compute_capability: None,
                l2_bytes: u64::from(card.l2_mib) << 20,
            }),
            Known::Simulated if plays_a_card(class) => {
                let facts = DeviceFacts::simulated(class, 0);
                Some(Self {
                    memory_bytes: facts.memory_bytes,
                    sms: facts.sms,
                    compute_capability: Some(facts.compute_capability),
                    l2_bytes: facts.l2_bytes,
                })
            }
            Known::Simulated | Known::Unknown => None,
        }
    }

    /// In what a device that claims to be this card is not it. A card that is split is not the card.
    pub fn contradictions(&self, facts: &DeviceFacts) -> Vec<Field> {
        named(&[
            (!is_near(self.memory_bytes, facts.memory_bytes), Field::Memory),
            (self.sms != facts.sms, Field::Sms),
            (
                self.compute_capability.is_some_and(|expected| expected != facts.compute_capability),
                Field::ComputeCapability,
            ),
            (!is_near(self.l2_bytes, facts.l2_bytes), Field::L2),
            (facts.mig == Some(true), Field::Mig),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_proof::claim::{PciBusId, PciId};

    fn class(name: &str) -> ClassName {
        name.parse().unwrap()
    }

    fn h100() -> DeviceFacts {
        DeviceFacts::simulated(&class("simulated-H100"), 0)
    }

    fn print(facts: DeviceFacts) -> Fingerprint {
        Fingerprint { uuid: GpuUuid::from_bytes([1; 16]), facts, machine: Some(Digest::from_bytes([2; 32])) }
    }

    fn drift(first: &DeviceFacts, now: &DeviceFacts) -> Drift {
        Drift::between(&print(first.clone()), &print(now.clone()))
    }

    fn renewed(first: &DeviceFacts, now: &DeviceFacts) -> DeviceFacts {
        super::renewed(&print(first.clone()), &print(now.clone())).facts
    }

    /// A change that somebody could make to what a GPU shows.
    type Change = fn(&mut DeviceFacts);

    const HELD: [(Field, Change); 7] = [
        (Field::Memory, |f| f.memory_bytes /= 2),
        (Field::Sms, |f| f.sms -= 1),
        (Field::ComputeCapability, |f| f.compute_capability.minor += 1),
        (Field::L2, |f| f.l2_bytes += 1),
        (Field::SmClockMax, |f| f.sm_clock_max_mhz = Some(1)),
        (Field::PciId, |f| f.pci_id = PciId { vendor: 0x10de, device: 1 }),
        (Field::Mig, |f| f.mig = Some(true)),
    ];
    const NOTED: [(Field, Change); 2] = [
        (Field::PciBus, |f| f.pci_bus = PciBusId { bus: 9, ..f.pci_bus }),
        (Field::Driver, |f| f.driver = "999.1".parse().unwrap()),
    ];

    #[test]
    fn whatever_a_chip_cannot_change_is_held_and_named() {
        for (field, change) in HELD {
            let mut now = h100();
            change(&mut now);
            assert_eq!(drift(&h100(), &now), Drift { held: vec![field], noted: vec![] });
            assert_eq!(drift(&now, &h100()).held, [field], "in both directions");
        }
        let other = DeviceFacts::simulated(&class("simulated-A100"), 0);
        assert!(drift(&h100(), &other).held.len() > 4, "another card differs in nearly all");
    }

    #[test]
    fn what_an_operator_may_change_is_noted_and_kept_up_with() {
        for (field, change) in NOTED {
            let mut now = h100();
            change(&mut now);
            assert_eq!(drift(&h100(), &now), Drift { held: vec![], noted: vec![field] });
            assert_eq!(drift(&renewed(&h100(), &now), &now), Drift::default(), "noted once");
        }
    }

    #[test]
    fn another_machine_is_noted_and_no_machine_is_no_other() {
        let first = print(h100());
        let moved = Fingerprint { machine: Some(Digest::from_bytes([3; 32])), ..first.clone() };
        assert_eq!(Drift::between(&first, &moved), Drift { held: vec![], noted: vec![Field::Machine] });
        let silent = Fingerprint { machine: None, ..first.clone() };
        assert_eq!(Drift::between(&first, &silent), Drift::default());
        assert_eq!(super::renewed(&moved, &silent).machine, moved.machine);
        assert_eq!(super::renewed(&first, &moved).machine, moved.machine);
    }

    #[test]
    fn silence_is_no_change_and_does_not_forget() {
        let silent = DeviceFacts { sm_clock_max_mhz: None, mig: None, ..h100() };
        assert_eq!(drift(&h100(), &silent), Drift::default());
        assert_eq!(renewed(&h100(), &silent), h100());
        assert_eq!(renewed(&silent, &h100()), h100());
    }

    #[test]
    fn what_passes_for_a_cards_memory_is_within_what_is_tolerated() {
        for bytes in [40_960_u64 << 20, 81_559 << 20, 183_359 << 20] {
            let near = tolerated(bytes);
            let (least, most) = (*near.start(), *near.end());
            assert!(is_near(bytes, least + 1) && is_near(bytes, most - 1), "tight");
            assert!(!is_near(bytes, least - 1) && !is_near(bytes, most + 1), "and wide enough");
        }
    }

    #[test]
    fn memory_cannot_be_moved_in_small_steps() {
        let mut kept = h100();
        let mut shown = h100();
        let mut steps = 0;
        while drift(&kept, &shown).held.is_empty() {
            kept = renewed(&kept, &shown);
            shown.memory_bytes = shown.memory_bytes / 100 * 98;
            steps += 1;
            assert!(steps < 10, "the fingerprint moved along");
        }
    }

    #[test]
    fn every_simulated_card_is_what_it_says_and_not_another() {
        let names = ["simulated-A100", "simulated-H100", "simulated-H200", "simulated-B200"];
        for name in names {
            let card = Card::of(&class(name)).unwrap();
            for other in names {
                let facts = DeviceFacts::simulated(&class(other), 0);
                assert_eq!(card.contradictions(&facts).is_empty(), name == other, "{name} {other}");
            }
        }
        assert_eq!(Card::of(&class("simulated-abacus")), None);
    }

    #[test]
    fn what_a_cpu_plays_are_the_cards_of_the_table() {
        for (simulated, real) in [
            ("simulated-A100", "NVIDIA A100-SXM4-80GB"),
            ("simulated-H100", "NVIDIA H100 80GB HBM3"),
            ("simulated-H200", "NVIDIA H200"),
            ("simulated-B200", "NVIDIA B200"),
        ] {
            let card = Card::of(&class(real)).unwrap();
            assert_eq!(card.contradictions(&DeviceFacts::simulated(&class(simulated), 0)), [], "{real}");
            let other = DeviceFacts::simulated(&class("simulated-abacus"), 0);
            assert!(card.contradictions(&other).len() > 1, "{real}");
        }
    }

    #[test]
    fn a_slice_of_a_card_is_not_the_card() {
        let card = Card::of(&class("simulated-H100")).unwrap();
        let split = DeviceFacts { mig: Some(true), ..h100() };
        assert_eq!(card.contradictions(&split), [Field::Mig]);
        let half = DeviceFacts { memory_bytes: h100().memory_bytes / 2, ..h100() };
        assert_eq!(card.contradictions(&half), [Field::Memory]);
    }
}
