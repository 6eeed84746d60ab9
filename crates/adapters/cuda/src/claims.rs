//! What this node's devices claim (tier T1), from the driver, NVML and `/proc/driver/nvidia`.
//!
//! The three are read side by side and must agree where they say the same. That catches a library that was put in front of
//! the real one to sell one card as another; an owner who changes all of them is caught by the work, not here.

use std::io::Read;
use std::path::Path;

use basilica_proof::claim::{ComputeCapability, DeviceFacts, PciBusId, PciId};
use basilica_proof::{ClassName, DeviceReport};
use basilica_types::GpuUuid;

use crate::driver::{Attribute, CudaError, Device, Driver};
use crate::nvml::{Nvml, NvmlDevice, NvmlError};

/// Where the kernel driver describes its devices, a folder each by bus id.
const PROC: &str = "/proc/driver/nvidia/gpus";
const PROC_BYTES_MAX: u64 = 16 * 1024;

/// Why claims cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// The driver.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// NVML.
    #[error(transparent)]
    Nvml(#[from] NvmlError),
    /// NVML does not list a device that the driver does.
    #[error("nvml lists no device at pci bus id {0}, where the driver has one")]
    NotListed(PciBusId),
    /// Two sources contradict each other.
    #[error("the device at pci bus id {place} has {what} `{nvml}` by nvml and `{other}` by {source_name}")]
    Contradiction {
        /// Where.
        place: PciBusId,
        /// What they disagree about.
        what: &'static str,
        /// NVML's answer.
        nvml: String,
        /// The other's.
        other: String,
        /// Who the other is.
        source_name: &'static str,
    },
    /// A value that no device has.
    #[error("the device with nvml index {index} has an impossible {what}: `{value}`")]
    Impossible {
        /// Which device.
        index: u32,
        /// What.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// A device with what it claims.
#[derive(Debug)]
pub struct Claimed {
    /// The driver's device.
    pub device: Device,
    /// What goes into the node's report.
    pub report: DeviceReport,
}

/// The devices of this machine that this process may use; none where there is no driver or no device.
pub fn find() -> Result<Vec<Claimed>, ClaimsError> {
    match Driver::load() {
        Ok(driver) => devices(&driver, &Nvml::load()?),
        Err(error) if error.is_no_device() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// All devices that this process may use, by NVML's index.
pub fn devices(driver: &Driver, nvml: &Nvml) -> Result<Vec<Claimed>, ClaimsError> {
    read(driver, nvml, Path::new(PROC))
}

/// As [`devices`], with the kernel driver's folder elsewhere.
pub fn read(driver: &Driver, nvml: &Nvml, proc: &Path) -> Result<Vec<Claimed>, ClaimsError> {
    let version = nvml.driver_version()?;
    let listed = nvml.devices()?;
    let mut claimed = Vec::new();
    for device in driver.devices()? {
        let place = device.bus_id()?;
        let place: PciBusId = place.parse().map_err(|_| CudaError::Implausible { what: "pci bus id" })?;
        let mut found = None;
        for entry in &listed {
            if bus_id(entry)? == place {
                found = Some(entry);
            }
        }
        let entry = found.ok_or(ClaimsError::NotListed(place))?;
        let report = report(&device, entry, place, &version)?;
        cross_read(proc, &report)?;
        claimed.push(Claimed { device, report });
    }
    claimed.sort_by_key(|claimed| claimed.report.index);
    Ok(claimed)
}

fn bus_id(entry: &NvmlDevice) -> Result<PciBusId, ClaimsError> {
    let place = entry.pci()?;
    let byte =
        |value: u32| u8::try_from(value).map_err(|_| impossible(entry, "pci bus id", &format!("{place:?}")));
    Ok(PciBusId { domain: place.domain, bus: byte(place.bus)?, device: byte(place.slot)?, function: 0 })
}

fn impossible(entry: &NvmlDevice, what: &'static str, value: &str) -> ClaimsError {
    ClaimsError::Impossible { index: entry.index(), what, value: value.to_owned() }
}

fn report(
    device: &Device,
    entry: &NvmlDevice,
    place: PciBusId,
    version: &str,
) -> Result<DeviceReport, ClaimsError> {
    let (name, uuid) = (entry.name()?, entry.uuid()?);
    let class: ClassName = name.trim().parse().map_err(|_| impossible(entry, "name", &name))?;
    let parsed: GpuUuid = uuid.parse().map_err(|_| impossible(entry, "uuid", &uuid))?;
    let mig = entry.mig()?;
    let by_driver = GpuUuid::from_bytes(device.uuid()?);
    // The driver names the instance where NVML names the card.
    if by_driver != parsed && mig != Some(true) {
        let other = by_driver.to_string();
        return Err(ClaimsError::Contradiction {
            place,
            what: "uuid",
            nvml: uuid,
            other,
            source_name: "the driver",
        });
    }
    let number = |attribute, what| {
        let value = device.attribute(attribute)?;
        u32::try_from(value).map_err(|_| impossible(entry, what, &value.to_string()))
    };
    let small = |attribute, what| {
        let value = number(attribute, what)?;
        u8::try_from(value).map_err(|_| impossible(entry, what, &value.to_string()))
    };
    let [vendor_low, vendor_high, device_low, device_high] = entry.pci()?.model.to_le_bytes();
    let facts = DeviceFacts {
        memory_bytes: entry.memory()?,
        sms: number(Attribute::Multiprocessors, "number of multiprocessors")?,
        compute_capability: ComputeCapability {
            major: small(Attribute::Major, "compute capability")?,
            minor: small(Attribute::Minor, "compute capability")?,
        },
        l2_bytes: u64::from(number(Attribute::L2Bytes, "second-level cache")?),
        sm_clock_max_mhz: entry.clock_max()?,
        pci_bus: place,
        pci_id: PciId {
            vendor: u16::from_le_bytes([vendor_low, vendor_high]),
            device: u16::from_le_bytes([device_low, device_high]),
        },
        driver: version.parse().map_err(|_| impossible(entry, "driver version", version))?,
        mig,
    };
    let index = u16::try_from(entry.index()).map_err(|_| impossible(entry, "index", "beyond 65,535"))?;
    Ok(DeviceReport { index, uuid: parsed, class, facts })
}

/// Compares with what the kernel driver says of the same place, where it says anything.
fn cross_read(proc: &Path, report: &DeviceReport) -> Result<(), ClaimsError> {
    let place = report.facts.pci_bus;
    let folder = format!("{:04x}:{:02x}:{:02x}.{}", place.domain, place.bus, place.device, place.function);
    // Absent in many containers, and readable or not as the driver was set up.
    let Ok(file) = std::fs::File::open(proc.join(folder).join("information")) else { return Ok(()) };
    let mut bytes = Vec::new();
    if file.take(PROC_BYTES_MAX).read_to_end(&mut bytes).is_err() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = |name: &str| {
        let found = text
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(name)?.trim_start().strip_prefix(':'));
        found.map(str::trim)
    };
    let differs = |what, nvml: String, other: &str| {
        Err(ClaimsError::Contradiction {
            place,
            what,
            nvml,
            other: other.to_owned(),
            source_name: "/proc/driver/nvidia",
        })
    };
    // The file shows question marks until the device is first used.
    match line("GPU UUID").and_then(|text| Some((text, text.parse::<GpuUuid>().ok()?))) {
        Some((shown, uuid)) if uuid != report.uuid => differs("uuid", report.uuid.to_string(), shown),
        _ => match line("Model") {
            Some(model) if model != report.class.as_str() => differs("name", report.class.to_string(), model),
            _ => Ok(()),
        },
    }
}
