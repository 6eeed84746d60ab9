//! What a driver tells of one device, within the bounds of any card that could exist.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Serde by `Display` and `FromStr`, so that a value has one spelling.
macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// A text that is none of the values of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct FactError(&'static str);

/// The instruction set of a device, `9.0` for Hopper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    /// 1 to 99.
    pub major: u8,
    /// 0 to 9.
    pub minor: u8,
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ComputeCapability {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        const WANTED: FactError = FactError("a compute capability such as 9.0");
        let (major, minor) = text.split_once('.').ok_or(WANTED)?;
        let number = |text: &str| decimal(text).and_then(|n| u8::try_from(n).ok()).ok_or(WANTED);
        let read = Self { major: number(major)?, minor: number(minor)? };
        if (1..=99).contains(&read.major) && read.minor <= 9 { Ok(read) } else { Err(WANTED) }
    }
}

as_text!(ComputeCapability);

/// A number without sign, leading zeros or anything else around it.
fn decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

/// Where a device sits: `00000000:3b:00.0`, NVML's bus id in lower case. The kernel's `0000:3b:00.0` and capital digits
/// are read as the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciBusId {
    /// PCI domain.
    pub domain: u32,
    /// Bus in the domain.
    pub bus: u8,
    /// Slot on the bus, 0 to 31.
    pub device: u8,
    /// Function in the slot, 0 to 7.
    pub function: u8,
}

impl fmt::Display for PciBusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for PciBusId {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        const WANTED: FactError = FactError("a pci bus id such as 00000000:3b:00.0");
        let (rest, function) = text.split_once('.').ok_or(WANTED)?;
        let mut parts = rest.split(':');
        let mut part = |widths: &[usize]| {
            let text = parts.next().filter(|text| widths.contains(&text.len())).ok_or(WANTED)?;
            hexadecimal(text).ok_or(WANTED)
        };
        let (domain, bus, device) = (part(&[4, 8])?, part(&[2])?, part(&[2])?);
        let function = hexadecimal(function).filter(|_| function.len() == 1).ok_or(WANTED)?;
        if parts.next().is_some() || device > 31 || function > 7 {
            return Err(WANTED);
        }
        let byte = |number: u32| u8::try_from(number).map_err(|_| WANTED);
        Ok(Self { domain, bus: byte(bus)?, device: byte(device)?, function: byte(function)? })
    }
}

as_text!(PciBusId);

fn hexadecimal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { u32::from_str_radix(text, 16).ok() } else { None }
}

/// Vendor and model as the bus knows them: `10de:2330`, as `lspci -n` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciId {
    /// 0x10de is NVIDIA.
    pub vendor: u16,
    /// The vendor's number for the model.
    pub device: u16,
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

impl FromStr for PciId {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        const WANTED: FactError = FactError("a pci vendor and device such as 10de:2330");
        let (vendor, device) = text.split_once(':').ok_or(WANTED)?;
        let number = |text: &str| {
            let number = hexadecimal(text).filter(|_| text.len() == 4).ok_or(WANTED)?;
            u16::try_from(number).map_err(|_| WANTED)
        };
        Ok(Self { vendor: number(vendor)?, device: number(device)? })
    }
}

as_text!(PciId);

const DRIVER_MAX: usize = 32;

/// Version of the kernel driver, for instance `570.124.06`: 1 to 32 digits and dots, a digit at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverVersion(String);

impl DriverVersion {
    /// The version.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its branch, such as 570: what calibrations hold for. None if no driver has such a number.
    pub fn major(&self) -> Option<u16> {
        self.0.split('.').next()?.parse().ok()
    }
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DriverVersion {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        let parts = text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        if parts && text.len() <= DRIVER_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(FactError("a driver version such as 570.124.06"))
        }
    }
}

as_text!(DriverVersion);

/// What NVML and the driver tell of one device. Every word of it is the node's (see [`crate::claim`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceFacts {
    /// Total device memory (`nvmlDeviceGetMemoryInfo`), in bytes.
    pub memory_bytes: u64,
    /// Streaming multiprocessors (`CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`).
    pub sms: u32,
    /// `nvmlDeviceGetCudaComputeCapability`.
    pub compute_capability: ComputeCapability,
    /// Level-2 cache (`CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE`), in bytes.
    pub l2_bytes: u64,
    /// Highest clock of the multiprocessors (`nvmlDeviceGetMaxClockInfo`), in MHz; absent under a vGPU driver, which does not
    /// tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_max_mhz: Option<u32>,
    /// `nvmlDeviceGetPciInfo`: the place.
    pub pci_bus: PciBusId,
    /// `nvmlDeviceGetPciInfo`: the model.
    pub pci_id: PciId,
    /// `nvmlSystemGetDriverVersion`.
    pub driver: DriverVersion,
    /// Whether the card is split (`nvmlDeviceGetMigMode`, the current one); absent for cards that cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<bool>,
}

impl DeviceFacts {
    /// The name of the first number that no card has, if there is one. The bounds keep arithmetic on the numbers exact; they
    /// are far beyond any card.
    pub(crate) fn implausible(&self) -> Option<&'static str> {
        let clock = self.sm_clock_max_mhz.is_none_or(|mhz| (1..=20_000).contains(&mhz));
        let within = [
            ((1 << 20..=1 << 42).contains(&self.memory_bytes), "memory_bytes"),
            ((1..=4_096).contains(&self.sms), "sms"),
            ((1 << 10..=1 << 34).contains(&self.l2_bytes), "l2_bytes"),
            (clock, "sm_clock_max_mhz"),
        ];
        within.into_iter().find(|(holds, _)| !holds).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_have_one_spelling_whoever_told_them() {
        let nvml: PciBusId = "00000000:3B:00.0".parse().unwrap();
        let kernel: PciBusId = "0000:3b:00.0".parse().unwrap();
        assert_eq!((nvml, nvml.to_string().as_str()), (kernel, "00000000:3b:00.0"));
        for bad in
            ["", "3b:00.0", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00.0.0", "0000:+b:00.0", "0:3b:00.0"]
        {
            assert!(bad.parse::<PciBusId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_that_are_no_facts_are_refused() {
        for bad in ["", "9", "9.", ".0", "09.0", "9.00", "9.10", "0.9", "+9.0", "9.0 ", "256.0"] {
            assert!(bad.parse::<ComputeCapability>().is_err(), "{bad}");
        }
        for bad in ["", "10de", "10de:233", "10de:23301", "0x10de:2330", "10de:233g"] {
            assert!(bad.parse::<PciId>().is_err(), "{bad}");
        }
        for bad in
            ["", ".", "570.", ".124", "570..06", "570.124.06-beta", "1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7"]
        {
            assert!(bad.parse::<DriverVersion>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn facts_read_back(domain: u32, bus: u8, device in 0u8..32, function in 0u8..8, vendor: u16, model: u16,
                           major in 1u8..100, minor in 0u8..10) {
            let place = PciBusId { domain, bus, device, function };
            prop_assert_eq!(place.to_string().parse(), Ok(place));
            let id = PciId { vendor, device: model };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let capability = ComputeCapability { major, minor };
            prop_assert_eq!(capability.to_string().parse(), Ok(capability));
        }

        #[test]
        fn no_text_upsets_the_parsers(text in ".{0,40}") {
            let _ = text.parse::<PciBusId>();
            let _ = text.parse::<PciId>();
            let _ = text.parse::<ComputeCapability>();
            let _ = text.parse::<DriverVersion>();
        }
    }
}
