//! What a node says it has (tier T1). Claims choose the work that is asked; they prove nothing.
//!
//! A report names each device ([`DeviceClaim`], which the challenge repeats and every seed binds) and adds what NVML and the
//! driver tell of it ([`DeviceFacts`]), which validators compare with the class and with what they were told before
//! (tier T7). The node's owner can print anything here: a report that contradicts itself convicts, one that does not proves
//! nothing. Unknown fields are refused, so that a report means the same to everyone who reads it.

mod facts;
mod simulated;

use std::fmt;
use std::str::FromStr;

use basilica_types::{Digest, GpuUuid};
use serde::{Deserialize, Serialize};

pub use facts::{ComputeCapability, DeviceFacts, DriverVersion, FactError, PciBusId, PciId};

/// Most devices of one node.
pub const DEVICES_MAX: usize = 64;
/// Most bytes of a claim report as JSON.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;
/// Version of the claim report that this crate reads and writes.
pub const REPORT_VERSION: u32 = 2;
/// Class names of devices that the CPU backend plays start with this.
pub const SIMULATED_PREFIX: &str = "simulated-";

const CLASS_NAME_MAX: usize = 64;

/// A device's class, for instance `simulated-H100` or `NVIDIA H100 80GB HBM3`: 1 to 64 printable ASCII
/// characters without a space at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassName(String);

/// A text that names no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("class name is not 1 to {CLASS_NAME_MAX} printable ascii characters")]
pub struct ClassNameError;

impl ClassName {
    /// True for a class that a CPU plays. Validators accept such a class on a development chain only.
    pub fn is_simulated(&self) -> bool {
        self.0.starts_with(SIMULATED_PREFIX)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClassName {
    type Err = ClassNameError;

    fn from_str(text: &str) -> Result<Self, ClassNameError> {
        let printable = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let sized = (1..=CLASS_NAME_MAX).contains(&text.len());
        if printable && sized && text.trim() == text {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClassNameError)
        }
    }
}

impl TryFrom<String> for ClassName {
    type Error = ClassNameError;

    fn try_from(text: String) -> Result<Self, ClassNameError> {
        text.parse()
    }
}

impl From<ClassName> for String {
    fn from(name: ClassName) -> Self {
        name.0
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One device by name: what a challenge repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceClaim {
    /// Index on the node, ascending in every list.
    pub index: u16,
    /// The device's UUID.
    pub uuid: GpuUuid,
    /// The device's class.
    pub class: ClassName,
}

/// One device as its node describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceReport {
    /// Index on the node, ascending in every list.
    pub index: u16,
    /// The device's UUID.
    pub uuid: GpuUuid,
    /// The device's class.
    pub class: ClassName,
    /// What NVML and the driver tell of it.
    pub facts: DeviceFacts,
}

impl DeviceReport {
    /// What a challenge to this device repeats.
    pub fn claim(&self) -> DeviceClaim {
        DeviceClaim { index: self.index, uuid: self.uuid, class: self.class.clone() }
    }
}

/// What `basilica-prover claims` prints: one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimReport {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// [`machine_id`] of the node; absent where the system has none, as in many containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Digest>,
    /// The devices by ascending index.
    pub devices: Vec<DeviceReport>,
}

/// The identity of a machine as reports show it: a hash of `/etc/machine-id`, which itself is to stay on its machine
/// (machine-id(5)). None if the file holds no identity.
pub fn machine_id(file: &[u8]) -> Option<Digest> {
    let id = file.trim_ascii();
    let valid = id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit);
    valid.then(|| {
        Digest::from_bytes(blake3::derive_key("basilica-proof/v2/machine-id", &id.to_ascii_lowercase()))
    })
}

/// A claim report that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Longer than [`REPORT_BYTES_MAX`].
    #[error("claim report of {0} bytes exceeds {REPORT_BYTES_MAX}")]
    TooLarge(usize),
    /// Not the JSON that is expected.
    #[error("claim report is not valid json of its form")]
    Json(#[source] serde_json::Error),
    /// Another version.
    #[error("claim report has version {0}, expected {REPORT_VERSION}")]
    Version(u32),
    /// Too many devices.
    #[error("claim report lists {0} devices, at most {DEVICES_MAX} are allowed")]
    Count(usize),
    /// Indexes do not ascend.
    #[error("claim report lists device {0} out of order or twice")]
    Order(u16),
    /// A UUID appears twice.
    #[error("claim report lists {0} twice")]
    Repeated(GpuUuid),
    /// Two devices in one place.
    #[error("claim report puts two devices at pci bus id {0}")]
    SamePlace(PciBusId),
    /// A number that no card has.
    #[error("claim report gives device {index} an impossible {field}")]
    Implausible {
        /// Of which device.
        index: u16,
        /// The number's name in the report.
        field: &'static str,
    },
}

/// Version alone, so that a report of another one is named so and not for its first unknown field.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl ClaimReport {
    /// A report over devices, checked.
    pub fn new(machine: Option<Digest>, devices: Vec<DeviceReport>) -> Result<Self, ClaimError> {
        let report = Self { version: REPORT_VERSION, machine, devices };
        report.check()?;
        Ok(report)
    }

    /// Reads a node's report; the bytes are hostile.
    pub fn parse(json: &[u8]) -> Result<Self, ClaimError> {
        if json.len() > REPORT_BYTES_MAX {
            return Err(ClaimError::TooLarge(json.len()));
        }
        let Versioned { version } = serde_json::from_slice(json).map_err(ClaimError::Json)?;
        if version != REPORT_VERSION {
            return Err(ClaimError::Version(version));
        }
        let report: Self = serde_json::from_slice(json).map_err(ClaimError::Json)?;
        report.check()?;
        Ok(report)
    }

    /// The devices by name, as a challenge lists them.
    pub fn claims(&self) -> impl Iterator<Item = DeviceClaim> {
        self.devices.iter().map(DeviceReport::claim)
    }

    /// The report on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has no maps and no floats, so it always serialises")
    }

    fn check(&self) -> Result<(), ClaimError> {
        if self.devices.len() > DEVICES_MAX {
            return Err(ClaimError::Count(self.devices.len()));
        }
        check_devices(&self.claims().collect::<Vec<_>>())?;
        for (position, device) in self.devices.iter().enumerate() {
            if let Some(field) = device.facts.implausible() {
                return Err(ClaimError::Implausible { index: device.index, field });
            }
            let place = device.facts.pci_bus;
            let earlier = self.devices.get(..position).unwrap_or(&[]);
            if earlier.iter().any(|other| other.facts.pci_bus == place) {
                return Err(ClaimError::SamePlace(place));
            }
        }
        Ok(())
    }
}

/// At most [`DEVICES_MAX`], ascending indexes, no UUID twice.
pub(crate) fn check_devices(devices: &[DeviceClaim]) -> Result<(), ClaimError> {
    if devices.len() > DEVICES_MAX {
        return Err(ClaimError::Count(devices.len()));
    }
    for (position, device) in devices.iter().enumerate() {
        let earlier = devices.get(..position).unwrap_or(&[]);
        if earlier.last().is_some_and(|last| last.index >= device.index) {
            return Err(ClaimError::Order(device.index));
        }
        if earlier.iter().any(|other| other.uuid == device.uuid) {
            return Err(ClaimError::Repeated(device.uuid));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
