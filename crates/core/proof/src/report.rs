//! What a replayed transcript shows, as plain data for people and programs: one form, whoever prints it.
//!
//! The command line (`basilica proof verify --json`) and the WebAssembly module answer with this value; neither adds to
//! it. Names and codes are stable. A file that is no transcript has no report: it neither holds nor fails.

use basilica_types::{Digest, GpuUuid, HostKey, NodeId};
use serde::Serialize;

use crate::challenge::DeviceChallenge;
use crate::residency::ResidencyParams;
use crate::transcript::Transcript;
use crate::{ProvenDevice, Rejection};

/// The share of the work that [`DeviceReport::evasion_at_5_percent`] supposes to be skipped.
const SKIPPED: f64 = 0.05;
/// The share of the memory that [`MemoryReport::evasion_at_1_percent`] supposes to be missing.
const MISSING: f64 = 0.01;

/// What a transcript is bound to, what was asked, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every check passed.
    pub holds: bool,
    /// [`Rejection::code`] of the check that failed.
    pub reason: Option<&'static str>,
    /// The same in words.
    pub explanation: Option<String>,
    /// [`Transcript::hash`], as verdicts name it.
    pub transcript: Digest,
    /// The node.
    pub node: NodeId,
    /// The SSH host key as `ssh-keygen -l` shows it, or `not a key`: a transcript binds bytes, which may be none.
    pub host_key: String,
    /// The validator's nonce, as 64 hexadecimal digits.
    pub validator_nonce: String,
    /// The devices by ascending index.
    pub devices: Vec<DeviceReport>,
}

/// What was asked of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// Index on the node.
    pub index: u16,
    /// The claimed UUID.
    pub uuid: GpuUuid,
    /// The claimed class.
    pub class: String,
    /// Side of each product.
    pub side: u32,
    /// Length of each dot product.
    pub inner: u32,
    /// Products in the chain.
    pub rounds: u32,
    /// Cells opened after the last.
    pub openings: u32,
    /// Multiplications in all.
    pub multiplications: u64,
    /// [`crate::ProofParams::evasion`] of a prover that skips 5 %, to two digits.
    pub evasion_at_5_percent: String,
    /// The memory, by space.
    pub memory: Vec<MemoryReport>,
}

/// What was asked of a device's memory in one space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// Where it lies: `device`, `host` or `disk`.
    pub space: &'static str,
    /// Bytes that must be resident.
    pub bytes: u64,
    /// Bytes that the walk reads.
    pub bytes_read: u64,
    /// Lanes of the walk.
    pub lanes: u32,
    /// Steps of each.
    pub steps: u32,
    /// Steps of single lanes that were opened.
    pub openings: u32,
    /// [`ResidencyParams::evasion`] of a device that lacks 1 %, to two digits.
    pub evasion_at_1_percent: String,
}

impl Report {
    /// The report over `replay`, which [`Transcript::verify`] gave for `transcript`.
    pub fn new(transcript: &Transcript, replay: &Result<Vec<ProvenDevice>, Rejection>) -> Self {
        let binding = transcript.challenge().binding();
        let rejection = replay.as_ref().err();
        Self {
            holds: rejection.is_none(),
            reason: rejection.map(Rejection::code),
            explanation: rejection.map(ToString::to_string),
            transcript: transcript.hash(),
            node: binding.node,
            host_key: fingerprint(&binding.host_key),
            validator_nonce: hex::encode(binding.validator_nonce),
            devices: transcript.challenge().devices().iter().map(DeviceReport::new).collect(),
        }
    }
}

impl DeviceReport {
    fn new(device: &DeviceChallenge) -> Self {
        let (claim, params) = (&device.claim, &device.params);
        Self {
            index: claim.index,
            uuid: claim.uuid,
            class: claim.class.as_str().to_owned(),
            side: params.side(),
            inner: params.inner(),
            rounds: params.rounds(),
            openings: params.openings(),
            multiplications: params.multiplications(),
            evasion_at_5_percent: format!("{:.1e}", params.evasion(SKIPPED)),
            memory: device.residency.iter().map(MemoryReport::new).collect(),
        }
    }
}

impl MemoryReport {
    fn new(region: &ResidencyParams) -> Self {
        Self {
            space: region.space().as_str(),
            bytes: region.bytes(),
            bytes_read: region.bytes_read(),
            lanes: region.walk().lanes,
            steps: region.walk().steps,
            openings: region.openings(),
            evasion_at_1_percent: format!("{:.1e}", region.evasion(MISSING)),
        }
    }
}

fn fingerprint(blob: &[u8]) -> String {
    HostKey::from_blob(blob).map_or_else(|_| "not a key".to_owned(), |key| key.fingerprint())
}
