//! The numbers that a simulated device shows: those of the card whose name it borrows.

use super::{ClassName, ComputeCapability, DeviceFacts, PciBusId, PciId};

/// NVIDIA on the PCI bus.
const NVIDIA: u16 = 0x10de;
const DRIVER: &str = "570.124.06";

/// Memory in MiB, SMs, compute capability, L2 in MiB, highest clock in MHz, PCI device.
type Card = (u64, u32, (u8, u8), u64, u32, u16);

/// What NVML and the driver of 570 tell of one card of each kind (data sheets; the SXM variant where there are several).
const CARDS: [(&str, Card); 4] = [
    ("A100", (81_920, 108, (8, 0), 40, 1_410, 0x20b2)),
    ("H100", (81_559, 132, (9, 0), 50, 1_980, 0x2330)),
    ("H200", (143_771, 132, (9, 0), 50, 1_980, 0x2335)),
    ("B200", (183_359, 148, (10, 0), 126, 1_965, 0x2901)),
];

/// Of any other name.
const OTHER: Card = (24_564, 128, (8, 9), 72, 2_520, 0x2684);

impl DeviceFacts {
    /// Plausible facts for a device of `class` at `index` of a node that simulates it.
    pub fn simulated(class: &ClassName, index: u16) -> Self {
        let words = || class.as_str().split(|c: char| !c.is_ascii_alphanumeric());
        let named = CARDS.iter().find(|(name, _)| words().any(|word| word.eq_ignore_ascii_case(name)));
        let (memory, sms, (major, minor), l2, clock, device) = named.map_or(OTHER, |(_, card)| *card);
        let [domain, bus] = index.to_be_bytes();
        Self {
            memory_bytes: memory << 20,
            sms,
            compute_capability: ComputeCapability { major, minor },
            l2_bytes: l2 << 20,
            sm_clock_max_mhz: Some(clock),
            pci_bus: PciBusId { domain: u32::from(domain), bus, device: 0, function: 0 },
            pci_id: PciId { vendor: NVIDIA, device },
            driver: DRIVER.parse().expect("the constant is a version"),
            mig: (major != 8 || minor == 0).then_some(false),
        }
    }
}
