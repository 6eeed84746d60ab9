//! What a node tells of itself beside its GPUs' proof: typed evidence, read strictly from bounded output.
//!
//! Each probe has a parser in a file of its own, and a [`Demand`]: whether a node must pass it, whether it is only written down, or
//! whether it is not asked at all. Everything here is the node's word. It is asked for because a renter needs it to be true and an
//! honest operator wants to know; what a dishonest one gains by lying is a renter who leaves. What must not be a
//! matter of trust is in the proof, in the transfer and in whether a port answers.
//!
//! All probes of one kind of check are one command with one output in [`sections`], so that a light check is one channel on
//! one connection. In a verdict they are a list, each kind at most once and in order; kinds may be added behind the last,
//! as reasons are.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

mod cards;
mod containers;
mod hardware;
mod look;
mod reach;
mod readings;
pub mod sections;
mod storage;
mod survey;
mod text;
mod told;

use basilica_proof::claim::ComputeCapability;
use codec::{Decode, Encode};
use serde::Serialize;

pub use cards::{CardRules, Cards, CudaVersion, VersionError};
pub use containers::{
    ContainerHost, ContainerRun, Engine, EngineState, Listing, RentalContainer, visible_gpus,
};
pub use hardware::Hardware;
pub use look::{Expected, GpuLook, Look, LookError, PROVER_MISSING, Seen};
pub use reach::{Reach, ReachEnd};
pub use readings::{READING_FIELDS, READINGS_BYTES, READINGS_MAX, Reading, readings};
pub use storage::Storage;
pub use survey::{Found, Survey};
pub use text::ParseError;

/// What becomes of a probe's finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Demand {
    /// A node that does not pass it fails its check.
    Required,
    /// It is asked and kept as evidence.
    Recorded,
    /// It is not asked.
    Off,
}

impl Demand {
    /// Whether it is asked.
    pub const fn is_asked(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Whether a node must pass it.
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Required)
    }

    /// The number in the policy's digest.
    const fn number(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Recorded => 1,
            Self::Required => 2,
        }
    }
}

/// What is asked of every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeRules {
    /// A container engine, docker or podman, that answers.
    pub containers: Demand,
    /// An image that can be pulled, and a container of it that sees every GPU.
    pub gpu_containers: Demand,
    /// Processor, memory and system can be read.
    pub hardware: Demand,
    /// [`CardRules`] hold of every GPU, and none is split.
    pub cards: Demand,
    /// What that means.
    pub card_rules: CardRules,
    /// [`ProbeRules::storage_bytes`] are free where the engine keeps images.
    pub storage: Demand,
    /// So many.
    pub storage_bytes: u64,
    /// A port of the node answers the validator.
    pub reachability: Demand,
}

/// 1 TiB.
const STORAGE: u64 = 1 << 40;

impl ProbeRules {
    /// Nothing but the proof.
    pub const NONE: Self = Self {
        containers: Demand::Off,
        gpu_containers: Demand::Off,
        hardware: Demand::Off,
        cards: Demand::Off,
        card_rules: CardRules {
            capability: ComputeCapability { major: 8, minor: 0 },
            cuda: CudaVersion { major: 12, minor: 8 },
        },
        storage: Demand::Off,
        storage_bytes: STORAGE,
        reachability: Demand::Off,
    };

    /// Whether a full check surveys the machine.
    pub const fn surveys(&self) -> bool {
        self.hardware.is_asked() || self.asks_containers() || self.storage.is_asked()
    }

    /// Whether a full check asks which container engine there is.
    pub const fn asks_containers(&self) -> bool {
        self.containers.is_asked() || self.gpu_containers.is_asked()
    }

    /// The same without what takes long: for checks that others wait for.
    #[must_use]
    pub const fn quick(self) -> Self {
        Self { cards: self.cards, card_rules: self.card_rules, ..Self::NONE }
    }

    /// For the policy's digest.
    pub(crate) fn encode_to(&self, bytes: &mut Vec<u8>) {
        let ComputeCapability { major, minor } = self.card_rules.capability;
        let demands = [
            self.containers,
            self.gpu_containers,
            self.hardware,
            self.cards,
            self.storage,
            self.reachability,
        ];
        demands.map(Demand::number).encode_to(bytes);
        (major, minor, self.card_rules.cuda, self.storage_bytes).encode_to(bytes);
    }
}

impl Default for ProbeRules {
    /// What the main network asks.
    fn default() -> Self {
        Self {
            containers: Demand::Required,
            gpu_containers: Demand::Required,
            hardware: Demand::Required,
            cards: Demand::Required,
            card_rules: CardRules::default(),
            storage: Demand::Required,
            storage_bytes: STORAGE,
            reachability: Demand::Required,
        }
    }
}

/// What was found by one check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probes {
    /// A light check's look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look: Option<Look>,
    /// The GPUs' driver and abilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cards: Option<Cards>,
    /// The machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Found<Hardware>>,
    /// The container engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Found<ContainerHost>>,
    /// Room for images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Found<Storage>>,
    /// A container with GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_run: Option<ContainerRun>,
    /// A port of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
}

/// One kind of finding in a verdict. Numbers are never used again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Probed {
    #[codec(index = 0)]
    Look(Look),
    #[codec(index = 1)]
    Cards(Cards),
    #[codec(index = 2)]
    Hardware(Found<Hardware>),
    #[codec(index = 3)]
    Containers(Found<ContainerHost>),
    #[codec(index = 4)]
    Storage(Found<Storage>),
    #[codec(index = 5)]
    ContainerRun(ContainerRun),
    #[codec(index = 6)]
    Reach(Reach),
}

impl Probes {
    /// One line for a person for each finding.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.look.iter().flat_map(Look::lines).chain(told::lines(self))
    }

    /// All words of the node's.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let cards = self.cards.iter().map(|cards| &cards.driver);
        let hardware = self.hardware.iter().filter_map(Found::read);
        let machine = hardware.flat_map(|told| [&told.cpu_model, &told.os, &told.kernel]);
        let engines = self.containers.iter().filter_map(Found::read);
        let engine = engines.flat_map(|told| [&told.version, &told.storage_driver]);
        cards.chain(machine).chain(engine).map(String::as_str)
    }

    fn list(&self) -> Vec<Probed> {
        let all = [
            self.look.clone().map(Probed::Look),
            self.cards.clone().map(Probed::Cards),
            self.hardware.clone().map(Probed::Hardware),
            self.containers.clone().map(Probed::Containers),
            self.storage.clone().map(Probed::Storage),
            self.container_run.map(Probed::ContainerRun),
            self.reach.map(Probed::Reach),
        ];
        all.into_iter().flatten().collect()
    }
}

impl Encode for Probes {
    fn encode_to<T: codec::Output + ?Sized>(&self, dest: &mut T) {
        self.list().encode_to(dest);
    }
}

impl codec::EncodeLike for Probes {}

impl Decode for Probes {
    /// Reads what [`Encode`] writes: each kind at most once, in order.
    fn decode<I: codec::Input>(input: &mut I) -> Result<Self, codec::Error> {
        let list = Vec::<Probed>::decode(input)?;
        let mut probes = Self::default();
        for probed in list.iter().cloned() {
            match probed {
                Probed::Look(look) => probes.look = Some(look),
                Probed::Cards(cards) => probes.cards = Some(cards),
                Probed::Hardware(hardware) => probes.hardware = Some(hardware),
                Probed::Containers(containers) => probes.containers = Some(containers),
                Probed::Storage(storage) => probes.storage = Some(storage),
                Probed::ContainerRun(run) => probes.container_run = Some(run),
                Probed::Reach(reach) => probes.reach = Some(reach),
            }
        }
        if probes.list() != list {
            return Err("verdict tells a probe twice or out of order".into());
        }
        if !probes.texts().all(text::is_shown) {
            return Err("verdict tells a text that a terminal would not show as it is".into());
        }
        Ok(probes)
    }
}
