//! NVIDIA's management library: what the driver tells about the devices of a node.
//!
//! Its words are claims (tier T1): the library can be another one, and is on a node that lies. What it says is checked for
//! being possible, never believed.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::Arc;

use crate::library::{LibraryError, functions};

const LIBRARY: &str = "libnvidia-ml.so.1";
const NOT_SUPPORTED: c_int = 3;

type Handle = *mut c_void;

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct MemoryInfo {
    total: u64,
    free: u64,
    used: u64,
}

/// `nvmlPciInfo_t` of version 3.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    device_id: c_uint,
    subsystem_id: c_uint,
    bus_id: [c_char; 32],
}

functions! {
    struct Functions;
    init = "nvmlInit_v2" ();
    shutdown = "nvmlShutdown" ();
    driver_version = "nvmlSystemGetDriverVersion" (*mut c_char, c_uint);
    count = "nvmlDeviceGetCount_v2" (*mut c_uint);
    handle = "nvmlDeviceGetHandleByIndex_v2" (c_uint, *mut Handle);
    name = "nvmlDeviceGetName" (Handle, *mut c_char, c_uint);
    uuid = "nvmlDeviceGetUUID" (Handle, *mut c_char, c_uint);
    memory = "nvmlDeviceGetMemoryInfo" (Handle, *mut MemoryInfo);
    pci = "nvmlDeviceGetPciInfo_v3" (Handle, *mut PciInfo);
    clock = "nvmlDeviceGetMaxClockInfo" (Handle, c_int, *mut c_uint);
    mig = "nvmlDeviceGetMigMode" (Handle, *mut c_uint, *mut c_uint);
}

/// Why NVML cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NvmlError {
    /// The library.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A call failed.
    #[error("{call} answered code {code} (nvmlReturn_t)")]
    Call {
        /// The function.
        call: &'static str,
        /// The code.
        code: i32,
    },
    /// A text without end.
    #[error("{call} gives a text that does not end")]
    Text {
        /// The function.
        call: &'static str,
    },
}

fn check(call: &'static str, code: c_int) -> Result<(), NvmlError> {
    if code == 0 { Ok(()) } else { Err(NvmlError::Call { call, code }) }
}

/// As [`check`]; nothing where the device does not have what is asked for.
fn supported(call: &'static str, code: c_int) -> Result<Option<()>, NvmlError> {
    if code == NOT_SUPPORTED { Ok(None) } else { check(call, code).map(Some) }
}

#[derive(Debug)]
struct Initialised(Functions);

impl Drop for Initialised {
    fn drop(&mut self) {
        // SAFETY: every successful nvmlInit is followed by one of these.
        let _ = unsafe { (self.0.shutdown)() };
    }
}

/// The library, loaded and initialised.
#[derive(Clone, Debug)]
pub struct Nvml(Arc<Initialised>);

impl Nvml {
    /// Loads the system's library.
    pub fn load() -> Result<Self, NvmlError> {
        Self::named(LIBRARY.as_ref())
    }

    /// Loads the library from a file: for tests.
    pub fn load_from(library: &Path) -> Result<Self, NvmlError> {
        Self::named(library.as_os_str())
    }

    fn named(library: &OsStr) -> Result<Self, NvmlError> {
        let functions = Functions::load(library)?;
        // SAFETY: takes nothing.
        check("nvmlInit", unsafe { (functions.init)() })?;
        Ok(Self(Arc::new(Initialised(functions))))
    }

    /// Version of the kernel driver.
    pub fn driver_version(&self) -> Result<String, NvmlError> {
        let function = self.0.0.driver_version;
        // SAFETY: the pointer is to as many bytes as the length says.
        text("nvmlSystemGetDriverVersion", |bytes, length| unsafe { function(bytes, length) })
    }

    /// All devices, by index.
    pub fn devices(&self) -> Result<Vec<NvmlDevice>, NvmlError> {
        let mut count = 0;
        // SAFETY: the pointer is to a number that outlives the call.
        check("nvmlDeviceGetCount", unsafe { (self.0.0.count)(&raw mut count) })?;
        (0..count)
            .map(|index| {
                let mut handle = std::ptr::null_mut();
                // SAFETY: the pointer is to a pointer that outlives the call.
                check("nvmlDeviceGetHandleByIndex", unsafe { (self.0.0.handle)(index, &raw mut handle) })?;
                Ok(NvmlDevice { library: Arc::clone(&self.0), index, handle })
            })
            .collect()
    }
}

fn text(call: &'static str, read: impl FnOnce(*mut c_char, c_uint) -> c_int) -> Result<String, NvmlError> {
    const LENGTH: c_uint = 128;
    let mut bytes = [0u8; LENGTH as usize];
    check(call, read(bytes.as_mut_ptr().cast(), LENGTH))?;
    let text = CStr::from_bytes_until_nul(&bytes).map_err(|_| NvmlError::Text { call })?;
    Ok(text.to_string_lossy().into_owned())
}

/// A device as NVML lists it.
#[derive(Debug)]
pub struct NvmlDevice {
    library: Arc<Initialised>,
    index: u32,
    handle: Handle,
}

/// Where a device sits on the bus, and what it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciPlace {
    /// Domain.
    pub domain: u32,
    /// Bus.
    pub bus: u32,
    /// Slot.
    pub slot: u32,
    /// The bus' number for the model: the device in the upper half, the vendor in the lower.
    pub model: u32,
}

impl NvmlDevice {
    /// Its index on the node.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The product's name.
    pub fn name(&self) -> Result<String, NvmlError> {
        let function = self.library.0.name;
        // SAFETY: the handle is alive; the pointer is to as many bytes as the length says.
        text("nvmlDeviceGetName", |bytes, length| unsafe { function(self.handle, bytes, length) })
    }

    /// `GPU-…`.
    pub fn uuid(&self) -> Result<String, NvmlError> {
        let function = self.library.0.uuid;
        // SAFETY: as above.
        text("nvmlDeviceGetUUID", |bytes, length| unsafe { function(self.handle, bytes, length) })
    }

    /// Bytes of memory in all.
    pub fn memory(&self) -> Result<u64, NvmlError> {
        let mut info = MemoryInfo::default();
        // SAFETY: the handle is alive; the struct is the header's and outlives the call.
        check("nvmlDeviceGetMemoryInfo", unsafe { (self.library.0.memory)(self.handle, &raw mut info) })?;
        Ok(info.total)
    }

    /// Where it sits.
    pub fn pci(&self) -> Result<PciPlace, NvmlError> {
        let mut info = PciInfo {
            bus_id_legacy: [0; 16],
            domain: 0,
            bus: 0,
            device: 0,
            device_id: 0,
            subsystem_id: 0,
            bus_id: [0; 32],
        };
        // SAFETY: as above.
        check("nvmlDeviceGetPciInfo", unsafe { (self.library.0.pci)(self.handle, &raw mut info) })?;
        Ok(PciPlace { domain: info.domain, bus: info.bus, slot: info.device, model: info.device_id })
    }

    /// Highest clock of the multiprocessors in MHz, where the driver tells.
    pub fn clock_max(&self) -> Result<Option<u32>, NvmlError> {
        const SM: c_int = 1;
        let mut mhz = 0;
        // SAFETY: as above.
        let code = unsafe { (self.library.0.clock)(self.handle, SM, &raw mut mhz) };
        Ok(supported("nvmlDeviceGetMaxClockInfo", code)?.map(|()| mhz))
    }

    /// Whether the card is split into instances; nothing for cards that cannot be.
    pub fn mig(&self) -> Result<Option<bool>, NvmlError> {
        let (mut current, mut pending) = (0, 0);
        // SAFETY: as above.
        let code = unsafe { (self.library.0.mig)(self.handle, &raw mut current, &raw mut pending) };
        Ok(supported("nvmlDeviceGetMigMode", code)?.map(|()| current != 0))
    }
}
