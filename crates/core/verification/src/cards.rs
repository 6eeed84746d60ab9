//! Which card shares in which category: a table of exact names and of the memory that a card of this name has.
//!
//! The table says what a GPU that counts is paid as, and nothing else. Whether it counts is decided before, by what its class is
//! asked for ([`crate::classes`]) within a measured time ([`crate::calibration`]): a name that an operator adds here
//! brings nothing until the class has both. The name is the node's word, and so is the memory; both are held to the
//! class's row in [`crate::fingerprint::Card`], and the memory is then walked. So nobody gets into a category by typing.
//!
//! An entry of the configuration takes the place of the built-in row of the same name. What no row fits is OTHER: unknown
//! names, and known ones with too little or too much memory. Verdicts name the table by the policy's digest.
//!
//! Rejected: categories by a word of the name, which every variant that is still to come would enter unseen (a `H100` of half the
//! memory); by a substring, as the original did it, which pays an A1000 as an A100; several rows of one name, of which an
//! order would have to decide.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use basilica_proof::{ClassName, DeviceFacts};
use basilica_types::Category;
use codec::Encode;

use crate::classes::{self, Known};
use crate::fingerprint::{Card, tolerated};

/// Most entries that a configuration may have.
pub const CARDS_MAX: usize = 256;
/// What a card may have, in MiB: from 1 GiB to 4 TiB. Outside of it, somebody took another unit.
const MEMORY_MIB: RangeInclusive<u64> = 1_024..=4 << 20;

/// The built-in rows, by the name that NVML gives: memory in MiB as `nvidia-smi` prints it, from which drivers differ a
/// little. Two of them have no class yet, and count for nothing until they do.
const BUILT_IN: &[(&str, Category, u64)] = &[
    ("NVIDIA A100-PCIE-40GB", Category::A100, 40_960),
    ("NVIDIA A100-SXM4-40GB", Category::A100, 40_960),
    ("NVIDIA A100 80GB PCIe", Category::A100, 81_920),
    ("NVIDIA A100-SXM4-80GB", Category::A100, 81_920),
    ("NVIDIA H100 80GB HBM3", Category::H100, 81_559),
    ("NVIDIA H100 PCIe", Category::H100, 81_559),
    ("NVIDIA H100 NVL", Category::H100, 95_830),
    ("NVIDIA H200", Category::H200, 143_771),
    ("NVIDIA H200 NVL", Category::H200, 143_771),
    ("NVIDIA B200", Category::B200, 183_359),
];

/// What a CPU plays, on development chains only: the cards of which it borrows the numbers.
const SIMULATED: &[(&str, Category)] = &[
    ("simulated-A100", Category::A100),
    ("simulated-H100", Category::H100),
    ("simulated-H200", Category::H200),
    ("simulated-B200", Category::B200),
];

static BUILT_IN_TABLE: LazyLock<CardTable> = LazyLock::new(|| {
    let real = BUILT_IN.iter().map(|(name, category, mib)| (class_of(name), *category, mib << 20));
    let played = SIMULATED.iter().map(|(name, category)| {
        let class = class_of(name);
        let bytes = DeviceFacts::simulated(&class, 0).memory_bytes;
        (class, *category, bytes)
    });
    let row = |(name, category, bytes)| {
        let near = tolerated(bytes);
        // Whole MiB around what is tolerated.
        let memory_mib = near.start() >> 20..=near.end().div_ceil(1 << 20);
        CardRow { name, category, memory_mib, configured: false }
    };
    CardTable::of(real.chain(played).map(row))
});

/// Whether it is a card whose numbers a CPU borrows.
pub(crate) fn plays_a_card(class: &ClassName) -> bool {
    SIMULATED.iter().any(|(name, _)| *name == class.as_str())
}

fn class_of(name: &str) -> ClassName {
    name.parse().expect("the constant is a class name")
}

/// Cards of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRow {
    /// What NVML calls them, exactly.
    pub name: ClassName,
    /// Where they belong.
    pub category: Category,
    /// The memory that they may show, in MiB.
    pub memory_mib: RangeInclusive<u64>,
    /// An entry of the configuration, and no built-in row.
    pub configured: bool,
}

/// An entry that could never be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// No card is so small or so large.
    #[error(
        "{mib} MiB is no card's memory; it is given in MiB, as nvidia-smi prints it, from {} to {}",
        MEMORY_MIB.start(),
        MEMORY_MIB.end()
    )]
    Memory {
        /// What was given.
        mib: u64,
    },
    /// The least is above the most.
    #[error("no memory is at least {min} MiB and at most {max} MiB")]
    Empty {
        /// The least, in MiB.
        min: u64,
        /// The most, in MiB.
        max: u64,
    },
    /// Cards of this name are known, and have another size.
    #[error("{name} has {mib} MiB, which is outside of {min} to {max} MiB: no card would fit")]
    OfNoCard {
        /// The name.
        name: ClassName,
        /// What its cards have, in MiB.
        mib: u64,
        /// The least, in MiB.
        min: u64,
        /// The most, in MiB.
        max: u64,
    },
    /// Names are compared to the letter.
    #[error("drivers report this card as `{known}`; names are compared exactly")]
    Spelling {
        /// The built-in name that it is but for capitals and spaces.
        known: ClassName,
    },
    /// Only one of them could count.
    #[error("{0} is listed twice")]
    Twice(ClassName),
    /// More than [`CARDS_MAX`].
    #[error("{0} cards are listed, and at most {CARDS_MAX} may be")]
    TooMany(usize),
}

impl CardRow {
    /// A row of a configuration.
    ///
    /// # Errors
    /// If no card could have this memory, or none of this name.
    pub fn new(name: ClassName, category: Category, min_mib: u64, max_mib: u64) -> Result<Self, CardError> {
        if let Some(mib) = [min_mib, max_mib].into_iter().find(|mib| !MEMORY_MIB.contains(mib)) {
            return Err(CardError::Memory { mib });
        }
        if min_mib > max_mib {
            return Err(CardError::Empty { min: min_mib, max: max_mib });
        }
        let table = CardTable::built_in();
        if let Some(known) = table.rows().find(|row| row.name != name && is_alike(&row.name, &name)) {
            return Err(CardError::Spelling { known: known.name.clone() });
        }
        let row = Self { name, category, memory_mib: min_mib..=max_mib, configured: true };
        match Card::of(&row.name) {
            Some(card) if !row.fits(card.memory_bytes) => {
                let mib = card.memory_bytes >> 20;
                Err(CardError::OfNoCard { name: row.name, mib, min: min_mib, max: max_mib })
            }
            _ => Ok(row),
        }
    }

    /// The class that says what these cards are asked for; none: they count for nothing here.
    pub fn class(&self) -> Option<&'static str> {
        match classes::known(&self.name) {
            Known::Card(class) => Some(class.name),
            Known::Simulated => Some("simulated"),
            Known::Unknown => None,
        }
    }

    fn fits(&self, bytes: u64) -> bool {
        (self.memory_mib.start() << 20..=self.memory_mib.end() << 20).contains(&bytes)
    }

    /// Whether every device that may pass for this card fits.
    fn fits_all(&self) -> bool {
        let near = Card::of(&self.name).map(|card| tolerated(card.memory_bytes));
        near.is_some_and(|near| self.fits(*near.start()) && self.fits(*near.end()))
    }
}

/// The same but for capitals and spaces.
fn is_alike(one: &ClassName, other: &ClassName) -> bool {
    let letters = |name: &ClassName| {
        let kept = name.as_str().chars().filter(|c| !matches!(c, ' ' | '-' | '_'));
        kept.map(|c| c.to_ascii_lowercase()).collect::<String>()
    };
    letters(one) == letters(other)
}

/// All rows; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardTable(Arc<BTreeMap<String, CardRow>>);

impl CardTable {
    /// Without a configuration.
    pub fn built_in() -> Self {
        BUILT_IN_TABLE.clone()
    }

    /// The built-in table with the entries of a configuration, each in place of the row of its name.
    ///
    /// # Errors
    /// If a name is listed twice, or too many are; with the position of the entry.
    pub fn with(entries: Vec<CardRow>) -> Result<Self, (usize, CardError)> {
        if entries.len() > CARDS_MAX {
            return Err((CARDS_MAX, CardError::TooMany(entries.len())));
        }
        let mut rows = BTreeMap::clone(&BUILT_IN_TABLE.0);
        rows.extend(unique(entries)?);
        Ok(Self(Arc::new(rows)))
    }

    /// A table as a validator tells it: these rows and no built-in ones.
    ///
    /// # Errors
    /// If a name is listed twice; with the position of the row.
    pub fn only(rows: Vec<CardRow>) -> Result<Self, (usize, CardError)> {
        unique(rows).map(|rows| Self(Arc::new(rows)))
    }

    fn of(rows: impl Iterator<Item = CardRow>) -> Self {
        Self(Arc::new(rows.map(|row| (row.name.as_str().to_owned(), row)).collect()))
    }

    /// Every row, by name.
    pub fn rows(&self) -> impl Iterator<Item = &CardRow> {
        self.0.values()
    }

    /// The row of a name.
    pub fn row(&self, class: &ClassName) -> Option<&CardRow> {
        self.0.get(class.as_str())
    }

    /// Where a device of a class belongs that shows so much memory.
    pub fn category(&self, class: &ClassName, memory_bytes: u64) -> Category {
        let row = self.row(class).filter(|row| row.fits(memory_bytes));
        row.map_or(Category::Other, |row| row.category)
    }

    /// The categories that a device of a class can be in, where nothing is known of its memory but that it passes for the class:
    /// the one of its row, and whether OTHER is possible beside it.
    pub(crate) fn possible(&self, class: &ClassName) -> (Category, bool) {
        self.row(class).map_or((Category::Other, true), |row| (row.category, !row.fits_all()))
    }

    /// What decides, for the policy's digest.
    pub(crate) fn encode_to(&self, bytes: &mut Vec<u8>) {
        let rows = self.rows().map(|row| {
            let memory = (*row.memory_mib.start(), *row.memory_mib.end());
            (row.name.as_str().to_owned(), row.category.as_str().to_owned(), memory)
        });
        rows.collect::<Vec<_>>().encode_to(bytes);
    }
}

fn unique(entries: Vec<CardRow>) -> Result<BTreeMap<String, CardRow>, (usize, CardError)> {
    let mut rows = BTreeMap::new();
    for (position, entry) in entries.into_iter().enumerate() {
        let name = entry.name.clone();
        if rows.insert(name.as_str().to_owned(), entry).is_some() {
            return Err((position, CardError::Twice(name)));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
