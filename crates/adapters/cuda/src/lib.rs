//! The proof's work on NVIDIA devices.
#![expect(unsafe_code, reason = "a C interface and kernels behind it; every use says why it is sound")]

mod backend;
pub mod claims;
pub mod driver;
mod environment;
mod kernels;
mod library;
mod memory;
pub mod nvml;
mod work;

pub use backend::CudaBackend;
pub use environment::keep_no_compiled_kernels;
pub use library::LibraryError;
pub use memory::FillTime;
pub use work::RoundTimes;
