//! What a full check measured beside its finding (tier T4): how fast bytes were moved, and how long each stage took.
//!
//! Everything here is bytes and times by the validator's clock; nothing is a number that the node reported. Bytes per
//! second are not kept but follow from both, so that a verdict cannot contradict itself; what they bound is written in
//! [`basilica_proof::bandwidth`]. The bytes of walks stand in the transcript's challenge, and [`crate::audit()`] compares them; times,
//! and everything about the network transfer, are the validator's word.
//!
//! None of it decides whether a check passes. A policy may ask for a least speed one day; until then a slow node is
//! known to be slow, and nothing else.

use std::time::Duration;

use basilica_proof::bandwidth::bytes_per_second;
use basilica_proof::residency::Space;
use basilica_proof::{Outcome, ProvenDevice};
use basilica_types::{GpuUuid, Millis};
use codec::{Decode, Encode};
use serde::{Serialize, Serializer};

use crate::calibration::StageTimes;

/// The measurements of one full check; nothing in it where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// How long the stages of a proof that holds took; of walking the longest of all spaces, as its deadline is.
    pub stages: Option<StageTimes>,
    /// What each device read, by space and then in the order of the challenge.
    pub memory: Vec<MemoryRead>,
    /// The transfer from the node to the validator.
    pub network: Option<Transfer>,
}

/// A walk that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRead {
    /// The device.
    pub uuid: GpuUuid,
    /// What it read.
    pub space: Space,
    /// How many bytes.
    pub bytes: u64,
    /// From the walk's nonce to its last root, in microseconds.
    pub took_us: u64,
}

/// A transfer over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transfer {
    /// How many bytes were asked for.
    pub asked: u64,
    /// How many came, all of them right.
    pub received: u64,
    /// From the request to the last byte, or to where it was given up, in microseconds.
    pub took_us: u64,
    /// How it ended.
    pub end: TransferEnd,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum TransferEnd {
    /// Everything came.
    #[codec(index = 0)]
    Complete,
    /// The deadline passed; what came is counted.
    #[codec(index = 1)]
    TooSlow,
    /// The node stopped sending.
    #[codec(index = 2)]
    CutShort,
    /// The node sent other bytes than those asked for.
    #[codec(index = 3)]
    WrongBytes,
    /// The node sent more than it was asked for.
    #[codec(index = 4)]
    TooMany,
    /// The connection broke, on whichever side.
    #[codec(index = 5)]
    Broken,
}

impl TransferEnd {
    /// The word in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::TooSlow => "too_slow",
            Self::CutShort => "cut_short",
            Self::WrongBytes => "wrong_bytes",
            Self::TooMany => "too_many",
            Self::Broken => "broken",
        }
    }
}

impl MemoryRead {
    /// Bytes per second at least.
    pub fn bytes_per_second(&self) -> Option<u64> {
        bytes_per_second(self.bytes, Duration::from_micros(self.took_us))
    }
}

impl Transfer {
    /// Bytes per second at least: of what came and was right.
    pub fn bytes_per_second(&self) -> Option<u64> {
        bytes_per_second(self.received, Duration::from_micros(self.took_us))
    }
}

impl Measured {
    /// What a proof that holds shows; without a transfer.
    pub fn of_proof(outcome: &Outcome) -> Self {
        let work = outcome.rounds.iter().filter_map(|times| times.last()).max();
        let walk = outcome.walks.iter().map(|walk| walk.took).max();
        let stages = StageTimes {
            work: Millis::from(work.copied().unwrap_or_default()),
            fill: Millis::from(outcome.fill.unwrap_or_default()),
            walk: Millis::from(walk.unwrap_or_default()),
            openings: Millis::from(outcome.openings),
        };
        let read = outcome.walks.iter().filter_map(|walk| {
            let device: &ProvenDevice = outcome.devices.get(usize::from(walk.device))?;
            Some(MemoryRead {
                uuid: device.claim.uuid,
                space: walk.params.space(),
                bytes: walk.params.bytes_read(),
                took_us: micros(walk.took),
            })
        });
        Self { stages: Some(stages), memory: read.collect(), network: None }
    }
}

/// [`Measured`] as JSON: the bytes and times that are signed, and the bytes per second that follow. Names are stable.
impl Serialize for Measured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stages = self.stages.map(|stages| StagesReport {
            work_ms: stages.work.0,
            fill_ms: stages.fill.0,
            walk_ms: stages.walk.0,
            openings_ms: stages.openings.0,
        });
        let memory = self.memory.iter().map(|read| MemoryReport {
            uuid: read.uuid,
            space: read.space.as_str(),
            bytes: read.bytes,
            took_us: read.took_us,
            bytes_per_second: read.bytes_per_second(),
        });
        let network = self.network.map(|transfer| NetworkReport {
            asked: transfer.asked,
            received: transfer.received,
            took_us: transfer.took_us,
            end: transfer.end.as_str(),
            bytes_per_second: transfer.bytes_per_second(),
        });
        Report { stages, memory: memory.collect(), network }.serialize(serializer)
    }
}

#[derive(Serialize)]
struct Report {
    stages: Option<StagesReport>,
    memory: Vec<MemoryReport>,
    network: Option<NetworkReport>,
}

#[derive(Serialize)]
struct StagesReport {
    work_ms: u64,
    fill_ms: u64,
    walk_ms: u64,
    openings_ms: u64,
}

#[derive(Serialize)]
struct MemoryReport {
    uuid: GpuUuid,
    space: &'static str,
    bytes: u64,
    took_us: u64,
    bytes_per_second: Option<u64>,
}

#[derive(Serialize)]
struct NetworkReport {
    asked: u64,
    received: u64,
    took_us: u64,
    end: &'static str,
    bytes_per_second: Option<u64>,
}

/// Whole microseconds, rounded up, so that no rate is overstated.
pub fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// The layout in a verdict.
#[derive(Encode, Decode)]
pub(crate) struct Layout {
    /// Milliseconds: work, fill, walk, openings.
    stages: Option<[u64; 4]>,
    /// UUID, space, bytes, microseconds.
    memory: Vec<([u8; 16], u8, u64, u64)>,
    network: Option<Transfer>,
}

impl From<&Measured> for Layout {
    fn from(measured: &Measured) -> Self {
        let stages = measured.stages.map(|s| [s.work.0, s.fill.0, s.walk.0, s.openings.0]);
        let read = |m: &MemoryRead| (*m.uuid.as_bytes(), m.space as u8, m.bytes, m.took_us);
        Self { stages, memory: measured.memory.iter().map(read).collect(), network: measured.network }
    }
}

impl TryFrom<Layout> for Measured {
    type Error = codec::Error;

    fn try_from(layout: Layout) -> Result<Self, codec::Error> {
        let read = |(uuid, space, bytes, took_us): ([u8; 16], u8, u64, u64)| {
            let named = Space::ALL.into_iter().find(|named| *named as u8 == space);
            let space = named.ok_or("verdict names an unknown space of memory")?;
            Ok::<_, codec::Error>(MemoryRead { uuid: GpuUuid::from_bytes(uuid), space, bytes, took_us })
        };
        let stages = layout.stages.map(|[work, fill, walk, openings]| StageTimes {
            work: Millis(work),
            fill: Millis(fill),
            walk: Millis(walk),
            openings: Millis(openings),
        });
        Ok(Self {
            stages,
            memory: layout.memory.into_iter().map(read).collect::<Result<_, _>>()?,
            network: layout.network,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rate_is_overstated_by_rounding() {
        assert_eq!(micros(Duration::from_nanos(1_001)), 2);
        assert_eq!(micros(Duration::from_micros(7)), 7);
        assert_eq!(micros(Duration::ZERO), 0);
        let read = MemoryRead {
            uuid: GpuUuid::from_bytes([1; 16]),
            space: Space::Device,
            bytes: 3_000_000,
            took_us: micros(Duration::from_nanos(1_500)),
        };
        assert!(
            read.bytes_per_second()
                < basilica_proof::bandwidth::bytes_per_second(3_000_000, Duration::from_nanos(1_500))
        );
        assert_eq!(MemoryRead { took_us: 0, ..read }.bytes_per_second(), None);
    }
}
