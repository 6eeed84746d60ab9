//! What a node tells of itself beside its GPUs' proof: typed evidence, read strictly from bounded output.
//!
//! Each probe has a parser in a file of its own, and a [`Demand`]: whether a node must pass it, whether it is only written down, or
//! whether it is not asked at all. Everything here is the node's word. It is asked for because a renter needs it to be true and an
//! honest operator wants to know; what a dishonest one gains by lying is a renter who leaves. What must not be a
//! matter of trust is in the proof, in the transfer and in whether a port answers.
//!
//! All probes of one kind of check are one command with one output in [`sections`], so that a light check is one channel on
//! one connection. In a verdict they are a list of [`Probed`], each kind at most once and in order; kinds may be added behind the last,
//! as reasons are.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

mod containers;
mod look;
pub mod sections;

use codec::{Decode, Encode};
use serde::Serialize;

pub use containers::{Engine, EngineState, Listing, RentalContainer};
pub use look::{Expected, GpuLook, Look, LookError, PROVER_MISSING, Seen};

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
}

impl ProbeRules {
    /// Nothing but the proof.
    pub const NONE: Self = Self { containers: Demand::Off };

    /// For the policy's digest.
    pub(crate) fn encode_to(&self, bytes: &mut Vec<u8>) {
        self.containers.number().encode_to(bytes);
    }
}

impl Default for ProbeRules {
    /// What the main network asks.
    fn default() -> Self {
        Self { containers: Demand::Required }
    }
}

/// What was found by one check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probes {
    /// A light check's look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look: Option<Look>,
}

/// One kind of finding in a verdict. Numbers are never used again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Probed {
    #[codec(index = 0)]
    Look(Look),
}

impl Probes {
    /// One line for a person for each finding.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.look.iter().flat_map(Look::lines)
    }

    fn list(&self) -> Vec<Probed> {
        self.look.clone().map(Probed::Look).into_iter().collect()
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
            }
        }
        if probes.list() == list {
            Ok(probes)
        } else {
            Err("verdict tells a probe twice or out of order".into())
        }
    }
}
