use basilica_proof::residency::Space;

use crate::library::LibraryError;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// The driver's library.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A call failed.
    #[error("{call} answered {name} ({code})")]
    Call {
        /// The function of the driver API.
        call: &'static str,
        /// The driver's name for the code, for instance `CUDA_ERROR_ILLEGAL_ADDRESS`.
        name: String,
        /// The code.
        code: i32,
    },
    /// The driver cannot make a program of our PTX.
    #[error("the driver does not accept the kernels: {log}")]
    Kernels {
        /// What its compiler says.
        log: String,
        /// The failed call.
        #[source]
        source: Box<Self>,
    },
    /// The device is older than our kernels.
    #[error("compute capability {major}.{minor} is below 8.0, for which the kernels are made")]
    Capability {
        /// Major.
        major: i32,
        /// Minor.
        minor: i32,
    },
    /// The driver gave something that cannot be.
    #[error("the driver gives an impossible {what}")]
    Implausible {
        /// What.
        what: &'static str,
    },
    /// How much memory the host has left cannot be read.
    #[error("read the host's free memory from /proc/meminfo")]
    HostMemory(#[source] std::io::Error),
    /// Refused before anything was allocated.
    #[error("{needed} bytes of {space} memory are needed, and {available} are free")]
    Memory {
        /// Whose memory.
        space: Space,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// Recomputing an opened leaf does not lead to what was committed: the device computes wrongly, or its memory
    /// has changed.
    #[error("leaf {leaf} of round {round} comes out differently a second time: this device is faulty")]
    Inconsistent {
        /// Round.
        round: u32,
        /// Leaf.
        leaf: u32,
    },
}

impl CudaError {
    /// Whether there is no driver, or a driver without any device: a machine without a GPU, which is no failure.
    pub const fn is_no_device(&self) -> bool {
        const NO_DEVICE: i32 = 100;
        matches!(self, Self::Library(LibraryError::Open { .. }) | Self::Call { code: NO_DEVICE, .. })
    }
}
