//! The light check's look at a node: one command, which tells that the node lives, which GPUs its prover sees, and whether its
//! container engine answers.
//!
//! GPUs are read by the prover's `claims` and not by `nvidia-smi`. It is the same reading that the full check begins with, so
//! that the two can be compared; the file is checked by its hash, while anything on a node may be called `nvidia-smi`; its
//! form does not change with the driver; and it reads simulated GPUs as well. Neither proves anything: a node can always print
//! what it printed before. What the look does is notice early what an honest node shows by itself, a card that fell off the bus or was taken out, and
//! have the full check look again.
//!
//! Where the prover is not on the node the look says so, and asks for the full check that brings it there; it does not fail the
//! node for a cache that its operator emptied.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

use std::collections::BTreeSet;

use basilica_proof::ClaimReport;
use basilica_types::{Digest, GpuUuid};
use codec::{Decode, Encode};
use serde::Serialize;

use super::containers::{Engine, EngineState, Listing};
use super::sections::{Section, SectionError, Wanted, sections};
use crate::Reason;

/// Exit code of the script in place of the prover's: it is not there, or does not have its hash.
pub const PROVER_MISSING: u8 = 66;

const NONCE: &str = "nonce";
const CLAIMS: &str = "claims";
const WANTED: &Wanted = &[
    (NONCE, 64),
    ("docker", 16 * 1024),
    ("podman", 16 * 1024),
    (CLAIMS, basilica_proof::claim::REPORT_BYTES_MAX),
];

/// What a light check saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Look {
    /// The container engine.
    pub engine: EngineState,
    /// Running containers that say they are rentals, and are none of ours.
    pub unknown_rentals: u8,
    /// The GPUs.
    pub gpus: GpuLook,
}

/// GPUs beside those of the last full check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuLook {
    /// The same ones.
    Same,
    /// No full check passed yet.
    NothingToCompare,
    /// The prover is not on the node: the next full check brings it there.
    ProverMissing,
    /// Others.
    Differs {
        /// Those that are gone.
        missing: BTreeSet<GpuUuid>,
        /// Those that were not there.
        additional: BTreeSet<GpuUuid>,
    },
}

/// The GPUs that a node must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No full check passed yet.
    Nothing,
    /// Those that the last full check claimed, which passed.
    Exactly(BTreeSet<GpuUuid>),
    /// Those that it was last paid for; a full check failed since.
    AtLeast(BTreeSet<GpuUuid>),
}

/// Why the output of a look tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookError {
    /// It is not of its form.
    Output(SectionError),
    /// Another nonce, or none.
    Nonce,
    /// A list of containers that is none.
    Containers,
    /// The prover failed.
    Prover,
    /// Its list of GPUs is none.
    Claims,
}

impl LookError {
    /// The reason that a verdict gives.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Output(_) | Self::Containers => Reason::ProbeOutputInvalid,
            Self::Nonce => Reason::NonceMismatch,
            Self::Prover => Reason::ProverFailed,
            Self::Claims => Reason::ClaimsInvalid,
        }
    }
}

/// A look's output, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The container engine, as far as one was asked for.
    pub engine: EngineState,
    /// Its rentals.
    pub rentals: Listing,
    /// What the prover claims; none if it is not there.
    pub claims: Option<ClaimReport>,
}

impl Seen {
    /// Reads the output; `engine_asked` as the command was given it.
    pub fn parse(output: &[u8], nonce: &[u8; 32], engine_asked: bool) -> Result<Self, LookError> {
        let all = sections(output, WANTED).map_err(LookError::Output)?;
        let find = |name| all.iter().find(|section| section.name == name);
        let echoed = find(NONCE).is_some_and(|section| {
            section.code == 0 && section.body == Digest::from_bytes(*nonce).to_string().as_bytes()
        });
        if !echoed {
            return Err(LookError::Nonce);
        }
        let claims = match find(CLAIMS) {
            None => return Err(LookError::Output(SectionError::Truncated)),
            Some(Section { code: PROVER_MISSING, .. }) => None,
            Some(Section { code: 0, body, .. }) => {
                Some(ClaimReport::parse(body).map_err(|_| LookError::Claims)?)
            }
            Some(_) => return Err(LookError::Prover),
        };
        let (engine, rentals) =
            if engine_asked { engine(&all)? } else { (EngineState::NotAsked, Listing::default()) };
        Ok(Self { engine, rentals, claims })
    }
}

/// The first engine that answers with a list; where none does, the first that is there.
fn engine(all: &[Section<'_>]) -> Result<(EngineState, Listing), LookError> {
    let (mut state, mut unreadable) = (EngineState::Absent, false);
    for engine in Engine::ALL {
        match all.iter().find(|section| section.name == engine.program()) {
            Some(section) if section.code == 0 => match Listing::parse(section.body) {
                Ok(rentals) => return Ok((EngineState::Answers(engine), rentals)),
                Err(_) => unreadable = true,
            },
            Some(_) if state == EngineState::Absent => state = EngineState::Silent(engine),
            _ => {}
        }
    }
    if unreadable { Err(LookError::Containers) } else { Ok((state, Listing::default())) }
}

impl Look {
    /// For a person.
    pub fn lines(&self) -> Vec<String> {
        let engine = match self.engine {
            EngineState::NotAsked => None,
            EngineState::Absent => Some("neither docker nor podman is there".to_owned()),
            EngineState::Silent(engine) => Some(format!("{} does not answer", engine.program())),
            EngineState::Answers(engine) => Some(format!("{} answers", engine.program())),
        };
        let rentals = (self.unknown_rentals > 0).then(|| {
            format!("{} containers call themselves rentals that nobody knows", self.unknown_rentals)
        });
        engine.into_iter().chain(rentals).chain(self.gpus.lines()).collect()
    }
}

impl GpuLook {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Same => vec!["the gpus are those that were proved".to_owned()],
            Self::NothingToCompare => Vec::new(),
            Self::ProverMissing => {
                vec!["the prover is not on the node: the next full check brings it there".to_owned()]
            }
            Self::Differs { missing, additional } => {
                let gone = missing.iter().map(|uuid| format!("{uuid} is gone"));
                gone.chain(additional.iter().map(|uuid| format!("{uuid} is new"))).collect()
            }
        }
    }

    /// Compares what is shown with what must be.
    pub fn compare(shown: Option<&BTreeSet<GpuUuid>>, expected: &Expected) -> Self {
        let (Some(shown), Expected::Exactly(wanted) | Expected::AtLeast(wanted)) = (shown, expected) else {
            return if shown.is_none() { Self::ProverMissing } else { Self::NothingToCompare };
        };
        let missing: BTreeSet<GpuUuid> = wanted.difference(shown).copied().collect();
        let additional: BTreeSet<GpuUuid> = match expected {
            Expected::Exactly(_) => shown.difference(wanted).copied().collect(),
            _ => BTreeSet::new(),
        };
        if missing.is_empty() && additional.is_empty() {
            Self::Same
        } else {
            Self::Differs { missing, additional }
        }
    }

    /// Why the look fails its node for this, if it does. One that is gone says more than one that was added.
    pub fn failure(&self) -> Option<Reason> {
        match self {
            Self::Differs { missing, .. } if !missing.is_empty() => Some(Reason::GpuMissing),
            Self::Differs { .. } => Some(Reason::GpuAdditional),
            _ => None,
        }
    }
}

/// The layout in a verdict.
#[derive(Encode, Decode)]
enum GpuLayout {
    #[codec(index = 0)]
    Same,
    #[codec(index = 1)]
    NothingToCompare,
    #[codec(index = 2)]
    ProverMissing,
    #[codec(index = 3)]
    Differs { missing: Vec<[u8; 16]>, additional: Vec<[u8; 16]> },
}

#[derive(Encode, Decode)]
struct Layout {
    engine: EngineState,
    unknown_rentals: u8,
    gpus: GpuLayout,
}

fn bytes(uuids: &BTreeSet<GpuUuid>) -> Vec<[u8; 16]> {
    uuids.iter().map(|uuid| *uuid.as_bytes()).collect()
}

fn uuids(list: &[[u8; 16]]) -> Result<BTreeSet<GpuUuid>, codec::Error> {
    let set: BTreeSet<GpuUuid> = list.iter().map(|bytes| GpuUuid::from_bytes(*bytes)).collect();
    if bytes(&set) == list { Ok(set) } else { Err("verdict lists gpus twice or out of order".into()) }
}

impl Encode for Look {
    fn encode_to<T: codec::Output + ?Sized>(&self, dest: &mut T) {
        let gpus = match &self.gpus {
            GpuLook::Same => GpuLayout::Same,
            GpuLook::NothingToCompare => GpuLayout::NothingToCompare,
            GpuLook::ProverMissing => GpuLayout::ProverMissing,
            GpuLook::Differs { missing, additional } => {
                GpuLayout::Differs { missing: bytes(missing), additional: bytes(additional) }
            }
        };
        Layout { engine: self.engine, unknown_rentals: self.unknown_rentals, gpus }.encode_to(dest);
    }
}

impl codec::EncodeLike for Look {}

impl Decode for Look {
    fn decode<I: codec::Input>(input: &mut I) -> Result<Self, codec::Error> {
        let Layout { engine, unknown_rentals, gpus } = Layout::decode(input)?;
        let gpus = match gpus {
            GpuLayout::Same => GpuLook::Same,
            GpuLayout::NothingToCompare => GpuLook::NothingToCompare,
            GpuLayout::ProverMissing => GpuLook::ProverMissing,
            GpuLayout::Differs { missing, additional } => {
                GpuLook::Differs { missing: uuids(&missing)?, additional: uuids(&additional)? }
            }
        };
        Ok(Self { engine, unknown_rentals, gpus })
    }
}

#[cfg(test)]
mod tests;
